"""A log as steering needs it: its experiments with category, gain and probability."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from ratchet import steer
from ratchet.advice import Suggestion
from ratchet.attempts import Attempt, Note, crashes, exhausted
from ratchet.categories import category_of, classify
from ratchet.cli.session import Experiments
from ratchet.codec import Frozen
from ratchet.dialects import LogRow, RowStatus
from ratchet.errors import RatchetError
from ratchet.steer import CategoryScore, Mode, Pull
from ratchet.suggestions import suggest
from ratchet.vocabulary import CATEGORIES

if TYPE_CHECKING:
    from ratchet.judge import Replay

Sources = Callable[[str], tuple[Mapping[str, str], Mapping[str, str]] | None]
"""Texts before and after a commit, by its hash."""

UNNAMED = ("other",)
"""Categories that say nothing of what to try."""

RELATIVE_GAIN = 5e-4
"""Gain worth having, as a share of the metric, where no noise floor is known."""


class Judged(Frozen):
    """What the judge makes of a log; ``confidence`` and ``gain`` are by row."""

    noise_sd: float | None = None
    keep_probability: float = 0.7
    confidence: tuple[float | None, ...] = ()
    gain: tuple[float | None, ...] = ()
    notes: tuple[str, ...] = ()


class Steered(Frozen):
    """The analysis of one log.

    ``baseline`` and ``best`` are in the metric's unit and direction; ``worth`` is
    the expected gain of one try by category, in the metric's unit.
    """

    attempts: tuple[Attempt, ...]
    scores: tuple[CategoryScore, ...]
    ranking: tuple[str, ...]
    suggestions: tuple[Suggestion, ...]
    crashes: tuple[Note, ...]
    exhausted: tuple[Note, ...]
    worth: Mapping[str, float]
    baseline: float | None
    best: float | None
    judged: Judged


def judge(every: Experiments) -> Judged:
    """Replay the log with its own decisions, as ``autojudge --all`` does.

    A log that cannot be judged (no metric at all) can still be steered by.
    """
    from ratchet.cli import judging  # numpy comes with it

    try:
        settings, notes = judging.settings_for(every, len(every.rows), judging.Rules())
        done = judging.replayed(every, settings)
    except RatchetError as error:
        return Judged(notes=(f"no noise floor: {error}",))
    return judged_by(done, notes)


def judged_by(done: Replay, notes: Sequence[str] = ()) -> Judged:
    """The same from a log that was replayed already."""
    found = done.assessments
    return Judged(
        noise_sd=done.judge.noise_sd,
        keep_probability=done.judge.settings.keep_probability,
        confidence=tuple(None if a is None else a.confidence for a in found),
        gain=tuple(None if a is None else a.gain for a in found),
        notes=tuple(notes),
    )


def attempts_of(
    every: Experiments, judged: Judged, sources: Sources | None = None
) -> list[Attempt]:
    """The rows that tried a change, in order: no baseline, no re-run."""
    found = []
    for place, (row, number) in enumerate(zip(every.rows, every.numbers, strict=True)):
        if every.again[place] or row.status is RowStatus.BASELINE:
            continue
        if place == every.first and _is_start(row):
            continue
        texts = sources(row.commit) if sources is not None and row.commit else None
        old, new = texts if texts is not None else (None, None)
        crashed = row.status is RowStatus.CRASH or every.values[place] is None
        kept = row.status is RowStatus.KEEP
        found.append(
            Attempt(
                number=number,
                category=classify(row.description, old, new),
                description=row.description,
                kept=kept,
                crashed=crashed and not kept,
                gain=judged.gain[place] if judged.gain else None,
                confidence=judged.confidence[place] if judged.confidence else None,
                memory_gb=row.memory_gb,
            )
        )
    return found


def _is_start(row: LogRow) -> bool:
    """Whether the first row is the start; a log cut off before may open with a change."""
    return category_of(row.description) in (None, *UNNAMED)


def pulls_of(every: Experiments, attempts: list[Attempt]) -> list[Pull]:
    """What steering learns; gains the judge's, else the step down from the incumbent."""
    steps: dict[int, float] = {}
    incumbent: float | None = None
    for value, kept, number in zip(every.values, every.kept, every.numbers, strict=True):
        if value is not None and (kept or incumbent is None):
            steps[number] = 0.0 if incumbent is None else max(incumbent - value, 0.0)
            incumbent = value
    return [
        Pull(a.category, a.kept, steps.get(a.number, 0.0) if a.gain is None else max(a.gain, 0.0))
        for a in attempts
    ]


def analyze(
    every: Experiments,
    mode: Mode,
    count: int,
    seed: int,
    sources: Sources | None = None,
    judged: Judged | None = None,
) -> Steered:
    """Steer by a log; the same log, mode and seed give the same answer.

    ``judged`` spares the replay of a log that was judged already.
    """
    judged = judge(every) if judged is None else judged
    attempts = attempts_of(every, judged, sources)
    pulls = pulls_of(every, attempts)
    values = [value for value in every.values if value is not None]
    scale = judged.noise_sd or RELATIVE_GAIN * abs(values[0] if values else 1.0)
    known = tuple(name for name in CATEGORIES if name not in UNNAMED)
    ranking = [name for name in steer.rank(pulls, seed, scale, mode, known) if name not in UNNAMED]
    scores = steer.score(pulls)
    kept = [v for v, k in zip(every.values, every.kept, strict=True) if k and v is not None]
    sign = every.table.direction.sign
    return Steered(
        attempts=tuple(attempts),
        scores=scores,
        ranking=tuple(ranking),
        suggestions=tuple(
            suggest(attempts, ranking, scores, count, judged.keep_probability, judged.noise_sd)
        ),
        crashes=tuple(crashes(attempts)),
        exhausted=tuple(exhausted(attempts)),
        worth=steer.expected_gains(pulls, scale),
        baseline=sign * values[0] if values else None,
        best=sign * min(kept) if kept else None,
        judged=judged,
    )
