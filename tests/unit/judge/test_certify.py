"""Contributions of kept changes."""

import numpy as np
import pytest

from ratchet.judge.certify import (
    Change,
    VariantRun,
    contributions,
    plan_leave_outs,
)
from ratchet.judge.settings import certification_budget
from ratchet.records.records import Standing

SPREAD = (0.3, -0.4, 0.1, 0.6, -0.2, 0.2)


def changes(count: int, needs: dict[int, tuple[int, ...]] | None = None) -> list[Change]:
    return [Change(n, (needs or {}).get(n, ()), 0.8) for n in range(count)]


def fresh_runs(gains: list[float], runs: int, seed: int = 1) -> list[VariantRun]:
    noise = np.random.default_rng(seed).normal(size=runs)
    plan = plan_leave_outs(changes(len(gains)), runs)
    return [
        VariantRun(out, 100 + sum(gains[place] for place in out) + off)
        for out, off in zip(plan, noise.tolist(), strict=True)
    ]


@pytest.mark.parametrize(("runs", "budget"), [(1, 6), (30, 6), (31, 7), (100, 20)])
def test_a_fifth_of_the_session_is_the_budget(runs: int, budget: int) -> None:
    assert certification_budget(runs) == budget


def test_several_changes_are_left_out_at_once() -> None:
    plan = plan_leave_outs(changes(5), 12)
    x = np.array([[1.0, *(place in out for place in range(5))] for out in plan])
    sds = np.sqrt(np.diag(np.linalg.inv(x.T @ x))[1:])
    assert len(plan) == 12
    assert sds.max() < 1.15 * 2 / np.sqrt(12)


def test_what_needs_a_change_goes_with_it() -> None:
    plan = plan_leave_outs(changes(4, {1: (0,), 2: (1,)}), 8)
    assert all(1 in out for out in plan if 0 in out)
    assert all(2 in out for out in plan if 1 in out)
    assert any(out == {2} or out == {2, 3} for out in plan)


def test_runs_go_where_doubt_is() -> None:
    doubtful = [Change(n, (), 0.999 if n else 0.5) for n in range(6)]
    plan = plan_leave_outs(doubtful, 3)
    assert 0 < sum(0 in out for out in plan) < 3


def test_an_equal_question_has_an_equal_answer() -> None:
    assert plan_leave_outs(changes(7), 6) == plan_leave_outs(changes(7), 6)
    runs = fresh_runs([3.0, 0.0], 6)
    assert contributions(changes(2), runs) == contributions(changes(2), runs)


def test_real_changes_are_certified_and_others_are_passengers() -> None:
    gains = [4.0, 0.0, 4.0, -1.0]
    found = contributions(changes(4), fresh_runs(gains, 12))
    standings = [each.standing for each in found]
    assert standings[0] == standings[2] == Standing.CERTIFIED
    assert standings[1] is not Standing.CERTIFIED
    assert standings[3] is Standing.PASSENGER
    assert found[0].low < found[0].gain < found[0].high


def test_without_fresh_runs_nothing_is_certified() -> None:
    kept = [Change(n, (), 0.999) for n in range(3)]
    search = [
        VariantRun(frozenset(range(there, 3)), 100 - 9.0 * there + off, occasion=1)
        for there in range(4)
        for off in SPREAD[:3]
    ]
    found = contributions(kept, search)
    assert all(each.confidence > 0.9 for each in found)
    assert {each.standing for each in found} == {Standing.UNCERTIFIED}
    assert contributions([], []) == ()


def test_one_slowed_run_condemns_no_change() -> None:
    runs = fresh_runs([4.0, 4.0], 12)
    spoiled = next(n for n, run in enumerate(runs) if not run.left_out)
    runs[spoiled] = VariantRun(runs[spoiled].left_out, runs[spoiled].value + 9)
    found = contributions(changes(2), runs)
    assert [each.standing for each in found] == [Standing.CERTIFIED] * 2


def test_a_change_that_a_contributing_one_needs_is_no_passenger() -> None:
    kept = changes(2, {1: (0,)})
    runs = [VariantRun(frozenset(out), value) for out, value in _chain_runs()]
    found = contributions(kept, runs)
    assert found[1].standing is Standing.CERTIFIED
    assert found[0].standing is Standing.UNCERTIFIED


def _chain_runs() -> list[tuple[set[int], float]]:
    """The second change carries all, the first nothing, and it cannot go alone."""
    return [(set(), 0.2), (set(), -0.2), ({1}, 5.1), ({1}, 4.9), ({0, 1}, 4.8), ({0, 1}, 5.0)]


def test_the_unit_of_the_metric_means_nothing() -> None:
    runs = fresh_runs([3.0, 0.2], 8)
    small = [VariantRun(run.left_out, 1e-3 * run.value) for run in runs]
    ours = contributions(changes(2), runs)
    theirs = contributions(changes(2), small)
    for each, other in zip(ours, theirs, strict=True):
        assert other.gain == pytest.approx(1e-3 * each.gain, rel=1e-6)
        assert other.confidence == each.confidence


def test_the_noise_is_learned_from_the_runs() -> None:
    """The same contributions are sure among quiet runs, and not beside ten times the noise."""
    quiet, loud = (
        contributions(
            changes(2),
            [
                VariantRun(frozenset(out), 100 + 2.0 * len(out) + noise * off)
                for out in [(), (0,), (1,), (0, 1)]
                for off in SPREAD[:4]
            ],
        )
        for noise in (1.0, 10.0)
    )
    assert [each.standing for each in quiet] == [Standing.CERTIFIED] * 2
    assert Standing.CERTIFIED not in [each.standing for each in loud]
    assert loud[0].high - loud[0].low > 3 * (quiet[0].high - quiet[0].low)


def test_a_diverged_proposal_hides_no_contribution() -> None:
    fresh = fresh_runs([4.0, 0.0], 10)
    search = [VariantRun(frozenset({0, 1}), 104.0 + off, occasion=1) for off in SPREAD]
    diverged = VariantRun(frozenset(), 1e5, tried=2, occasion=1)
    found = contributions(changes(2), [*fresh, *search, diverged])
    assert found[0].standing is Standing.CERTIFIED
    assert found[0].gain == pytest.approx(4, abs=1.5)
    assert found[1].standing is Standing.PASSENGER


def test_another_speed_of_the_machine_is_no_contribution() -> None:
    """The search's runs are all 50 noise floors lower than fresh ones of the same code."""
    noise = np.random.default_rng(3).normal(size=14).tolist()
    search = [
        VariantRun(frozenset(range(there, 2)), 50 - 4.0 * there + off, occasion=1)
        for there, off in zip([0, 1, 2] * 2, noise[:6], strict=True)
    ]
    fresh = [
        VariantRun(frozenset(out), 92 + 4.0 * len(out) + off)
        for out, off in zip([set[int](), {0}, {1}, {0, 1}] * 2, noise[6:], strict=True)
    ]
    found = contributions(changes(2), [*fresh, *search])
    assert [each.gain for each in found] == pytest.approx([4, 4], abs=1.5)


def test_a_lucky_keep_is_seen_in_what_came_after_it() -> None:
    """The change measured 4 better; six harmless proposals on it then measured as before it."""
    lucky = [VariantRun(frozenset({0}), 100.0, None, 1), VariantRun(frozenset(), 96.0, None, 1)]
    after = [
        VariantRun(frozenset(), 100.0 + off, 1 + n, 1) for n, off in enumerate(3 * np.array(SPREAD))
    ]
    alone = contributions(changes(1), lucky)[0]
    seen = contributions(changes(1), [*lucky, *after])[0]
    assert seen.gain < alone.gain - 0.5
    assert seen.confidence < alone.confidence
