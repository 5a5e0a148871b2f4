"""A stricter test of the keeps, what more seeds buy, the front of metric and memory."""

import functools

import pytest

from helpers.report_records import SD, session
from ratchet.base.structs import replace
from ratchet.judge.settings import Settings
from ratchet.records.records import Verdict
from ratchet.report.inputs import Facts
from ratchet.report.statistics import (
    disagreement,
    front_facts,
    holm_survivors,
    more_seeds,
    strict_keeps,
)
from ratchet.simulation.power import detectable


def entry(number, delta, sd=0.01, status="keep", gain=0.02, n=1):
    return {
        "number": number, "delta": delta, "delta_sd": sd, "status": status, "gain": gain, "n": n,
    }  # fmt: skip


def test_holm_counts_every_measured_experiment_and_stops_at_the_first_that_fails():
    """By hand: p of z = 2.5 is 0.0062, so it passes among 8 experiments and not among 9."""
    lone = entry(1, -0.025)
    others = [entry(number, 0.03, status="discard") for number in range(2, 9)]
    assert holm_survivors([lone, *others], 1) == {1}
    assert holm_survivors([lone, *others, entry(9, 0.03, status="discard")], 1) == set()
    # p: 0.0013, 0.0228, 0.0139 against 0.0167, 0.025, 0.05 once ordered.
    tried = [entry(1, -0.03), entry(2, -0.02), entry(3, -0.022)]
    assert holm_survivors(tried, 1) == {1, 2, 3}
    assert holm_survivors([entry(1, -0.02), entry(2, -0.02), entry(3, -0.02)], 1) == set()


def test_direction_and_missing_measurements():
    crash = {**entry(3, None), "delta_sd": None, "status": "crash"}
    assert holm_survivors([entry(1, 0.05), entry(2, -0.05), crash], -1) == {1}
    assert holm_survivors([entry(1, 0.05), entry(2, -0.05), crash], 1) == {2}
    tried = [entry(1, -0.05), entry(2, -0.001), crash]
    found = strict_keeps(tried, 1)
    assert (found["survive"], found["kept"], found["tested"], found["numbers"]) == (1, 2, 2, [1])
    assert [e["survives"] for e in tried] == [True, False, None]


def test_what_more_seeds_buy_is_what_ratchet_power_says():
    found = more_seeds(0.01, 300.0, [entry(1, -0.02, gain=0.01), entry(2, -0.1, gain=0.09)])
    rows = {row["seeds"]: row for row in found["rows"]}
    for count, row in rows.items():
        exact = detectable(count, found["alpha"], found["power"], known=True)
        assert row["effect"] == pytest.approx(0.01 * exact, rel=1e-9)
        assert row["noise_sds"] == pytest.approx(exact, rel=1e-9)
    assert rows[4]["effect"] == pytest.approx(rows[1]["effect"] / 2)
    assert rows[4]["half_width"] == pytest.approx(1.959964 * 0.01 * 0.5**0.5)
    assert rows[3]["seconds"] == 900.0 and found["below"] == 1
    assert more_seeds(None, 1.0, [])["rows"] == [] and more_seeds(0.0, 1.0, [])["rows"] == []
    assert more_seeds(0.01, None, [])["rows"][0]["seconds"] is None


def point(number, mean, memory, status="keep"):
    return {"number": number, "mean": mean, "memory_mb": memory, "status": status}


BASE = {"mean": 3.0, "runs": [{"memory_mb": 10.0}, {"memory_mb": 12.0}, {"memory_mb": None}]}


def test_the_front_and_what_dominates_the_rest():
    tried = [
        *(point(1, 2.9, 11.0), point(2, 2.5, 20.0, "discard"), point(3, 2.95, 5.0)),
        *(point(4, 2.6, 25.0), point(5, None, 4.0, "crash"), point(6, 2.4, None)),
    ]
    found = front_facts(tried, BASE, 1)
    assert found["front"] == [3, 1, 2]
    by = {p["number"]: p["by"] for p in found["points"]}
    assert by == {0: 1, 1: None, 2: None, 3: None, 4: 2}
    assert found["points"][0] == {
        "number": 0, "metric": 3.0, "memory_mb": 11.0, "status": "baseline", "by": 1,
    }  # fmt: skip


def test_higher_is_better_and_ties():
    found = front_facts([point(1, 0.5, 8.0), point(2, 0.5, 8.0), point(3, 0.4, 8.0)], BASE, -1)
    assert found["front"] == [1, 0]
    assert [p["by"] for p in found["points"]] == [None, None, 1, 1]


made_up = functools.cache(lambda seed: session(seed=seed))


def confirmed(seed: int, moved: float) -> Facts | None:
    """Disagreement of a made-up session whose confirmation is off by ``moved`` noise sds."""
    records = made_up(seed)
    found = records.history.confirmation
    sides = {
        name: tuple(replace(run, value=run.value + moved * SD) for run in getattr(found, name))
        for name in ("baseline_runs", "champion_runs")
    }
    past = replace(records.history, confirmation=replace(found, **sides))
    return disagreement(past, 1, Settings.for_session("gain", scale=SD))


def test_a_confirmation_is_rarely_said_to_disagree_where_nothing_changed():
    seeds = range(20)
    assert sum(confirmed(seed, 0.0) is not None for seed in seeds) <= 1
    assert sum(confirmed(seed, 5.0) is not None for seed in seeds) >= 15


def test_the_noise_of_all_runs_judges_again():
    """A confirmation that is far off: what was kept by little would not be kept again."""
    found = confirmed(1, 60.0)
    assert found is not None
    assert {side["code"] for side in found["sides"]} == {"baseline", "champion"}
    assert 10 * SD < found["noise_sd"] < 60 * SD
    past = session(seed=1).history
    words = {trial.number: trial.word for trial in past.judged}
    assert found["verdicts"]
    for changed in found["verdicts"]:
        assert changed["was"] == words[changed["number"]]
        assert changed["was"] != changed["now"]
    strong = {trial.number for trial in past.kept if trial.verdict is Verdict.STRONG_KEEP}
    assert strong & {changed["number"] for changed in found["verdicts"]}
