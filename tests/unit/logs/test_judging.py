"""Which values of a log are evidence, and what follows for its noise floor."""

from collections.abc import Sequence

import numpy as np
import pytest

from helpers.autojudge_logs import HEADER
from ratchet.logs.experiments import LogExperiments, log_experiments
from ratchet.logs.judging import (
    REPEATED,
    Rules,
    evidence_values,
    noise_source,
    repeat_notes,
    repeating_rows,
    replay_rows,
    settings_for,
)
from ratchet.logs.reader import read_table

Row = tuple[float, str]


def experiments(rows: Sequence[Row], about: str = "change") -> LogExperiments:
    lines = [f"c{n}\t{v:.9g}\t1\t{status}\t{about} {n}\n" for n, (v, status) in enumerate(rows)]
    return log_experiments(read_table((HEADER + "".join(lines)).encode(), "log.tsv"))


def greedy(values: Sequence[float]) -> list[Row]:
    """Rows of an author who keeps whatever is lower."""
    best, rows = float("inf"), list[Row]()
    for value in values:
        rows.append((value, "keep" if value < best else "discard"))
        best = min(best, value)
    return rows


def noisy(seed: int, count: int, sd: float, decimals: int) -> list[Row]:
    rng = np.random.default_rng(seed)
    return greedy([round(float(v), decimals) for v in 0.5 + sd * rng.standard_normal(count)])


FINE = [0.912345, 0.923456, 0.901234]


@pytest.mark.parametrize(
    ("rows", "repeating"),
    [
        (greedy([*FINE, 0.901234]), 1),
        (greedy([*FINE, 0.912345]), 0),  # of a code that is no incumbent any more
        (greedy([0.91, 0.92, 0.9, 0.9]), 0),  # of a coarse metric one may be an accident
        (greedy([0.91, 0.52, 0.4, 0.4, 0.7, 0.4, 0.4]), 3),
        (greedy([3.0, 5.0, 1.0, 1.0, 2.0, 1.0, 1.5]), 2),
        (noisy(1, 300, 3e-2, 2), 0),
        (noisy(2, 300, 7e-3, 2), 0),
        (noisy(3, 3000, 4e-4, 5), 0),
    ],
)
def test_values_repeat_beyond_accident(rows: list[Row], repeating: int) -> None:
    assert sum(repeating_rows(experiments(rows))) == repeating


def test_what_repeats_does_not_move_the_noise_floor() -> None:
    """Most edits of a deterministic program change nothing."""
    few = greedy([0.257714, 0.392475, 0.196740, 0.235398, 0.156822, 0.140094, 0.151234])
    rows = [each for row in few for each in (row, *[(row[0], "discard")] * 5) if row[1] == "keep"]
    rows += [(0.140094, "keep")]
    floors = []
    for every in (experiments(few), experiments(rows)):
        done = replay_rows(every, settings_for(every, 60, Rules()))
        floors.append(done.judge.noise_sd)
    assert floors[1] > 1e-4
    assert [a is None for a in done.assessments] == [
        v is None or n == 0 for n, v in enumerate(evidence_values(every))
    ]
    (note,) = repeat_notes(every)
    assert REPEATED in note and note.endswith("1 kept change among them, not audited")


def test_runs_of_one_candidate_that_repeat_are_one() -> None:
    rows = [(0.912345, "keep"), (0.901234, "retest"), (0.901234, "keep")]
    text = "".join(f"{'ab'[n > 0]}\t{v}\t1\t{s}\tx\n" for n, (v, s) in enumerate(rows))
    every = log_experiments(read_table((HEADER + text).encode(), "log.tsv"))
    assert every.undecided == [False, True, False]
    assert evidence_values(every) == [0.912345, None, 0.901234]


def test_the_source_of_the_noise_says_that_reruns_repeat() -> None:
    every = experiments([(0.912345, "keep"), (0.912345, "discard")], "re-run")
    source, _ = noise_source(every, settings_for(every, 2, Rules()), stated=False)
    assert source.startswith("assumed from the metric's magnitude alone, as line 3 only repeats")
