"""Whether a change holds, by fresh runs of both sides."""

from __future__ import annotations

import numpy as np
import pytest

from ratchet.base.stats import welch_interval
from ratchet.logs.rerun import judge_kept_change, pooled_sd
from ratchet.logs.rerun_plan import AUDIT_LEVEL, HeldChange, KeptStanding

SD = 3e-4
CHANGE = HeldChange(3, "abc", "wider", KeptStanding.UNDECIDED, 3)


def runs(rng: np.random.Generator, mean: float, count: int = 3) -> list[float]:
    return [float(mean + SD * x) for x in rng.standard_normal(count)]


def share(effect: float, known: bool) -> dict[KeptStanding, float]:
    """How changes of this effect, in noise sds, stand after three runs of each side."""
    rng = np.random.default_rng(7)
    found = []
    for _ in range(60):
        others = [runs(rng, 1.0) for _ in range(4)] if known else []
        parent, child = runs(rng, 1.0), runs(rng, 1.0 - effect * SD)
        found.append(judge_kept_change(CHANGE, parent, child, others).standing)
    return {standing: found.count(standing) / 60 for standing in KeptStanding}


def test_what_helps_holds_and_what_does_not_does_not() -> None:
    assert share(6, known=True)[KeptStanding.HOLDS] > 0.95
    for known in (True, False):
        assert share(0, known)[KeptStanding.HOLDS] == 0
        assert share(0, known)[KeptStanding.FAILS] > 0.8
        assert share(-5, known)[KeptStanding.FAILS] == 1


def test_runs_of_other_codes_tell_the_noise_floor() -> None:
    assert (
        share(4, known=True)[KeptStanding.HOLDS] > share(4, known=False)[KeptStanding.HOLDS] + 0.1
    )


def test_the_gain_is_the_difference_of_the_means_with_welchs_interval() -> None:
    parent, child = [1.0, 1.0002, 1.0001], [0.998, 0.9983, 0.9981]
    found = judge_kept_change(CHANGE, parent, child)
    wanted = welch_interval(parent, child, AUDIT_LEVEL)
    assert (found.gain, found.low, found.high) == (wanted.gain, wanted.low, wanted.high)
    assert found.better is not None and found.expected is not None and found.gain is not None
    assert found.standing is KeptStanding.HOLDS and found.better > 0.95
    assert 0 < found.expected < found.gain
    assert (found.line, found.commit, found.seeds) == (3, "abc", 3)


def test_codes_without_noise() -> None:
    equal = judge_kept_change(CHANGE, [1.0] * 3, [1.0] * 3, [[1.0] * 3])
    assert equal.standing is KeptStanding.FAILS and equal.gain == 0
    assert (
        judge_kept_change(CHANGE, [1.0] * 3, [0.9] * 3, [[1.0] * 3]).standing is KeptStanding.HOLDS
    )


def test_pooled_noise() -> None:
    assert pooled_sd([]) == (None, 0) == pooled_sd([[1.0], [2.0]])
    sd, freedom = pooled_sd([[0.0, 2.0], [5.0, 5.0, 8.0], [1.0]])
    assert freedom == 3
    assert sd == pytest.approx(np.sqrt((2.0 + 6.0) / 3))
