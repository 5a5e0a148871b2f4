"""Whether a change holds, by fresh runs of both sides."""

from __future__ import annotations

import numpy as np
import pytest

from ratchet.confirmation import compare
from ratchet.holding import judged, pooled
from ratchet.reruns import LEVEL, Held, Standing

SD = 3e-4
CHANGE = Held(3, "abc", "wider", Standing.UNDECIDED, 3)


def runs(rng: np.random.Generator, mean: float, count: int = 3) -> list[float]:
    return [float(mean + SD * x) for x in rng.standard_normal(count)]


def share(effect: float, known: bool) -> dict[Standing, float]:
    """How changes of this effect, in noise sds, stand after three runs of each side."""
    rng = np.random.default_rng(7)
    found = []
    for _ in range(60):
        others = [runs(rng, 1.0) for _ in range(4)] if known else []
        parent, child = runs(rng, 1.0), runs(rng, 1.0 - effect * SD)
        found.append(judged(CHANGE, parent, child, others).standing)
    return {standing: found.count(standing) / 60 for standing in Standing}


def test_what_helps_holds_and_what_does_not_does_not() -> None:
    assert share(6, known=True)[Standing.HOLDS] > 0.95
    for known in (True, False):
        assert share(0, known)[Standing.HOLDS] == 0
        assert share(0, known)[Standing.FAILS] > 0.8
        assert share(-5, known)[Standing.FAILS] == 1


def test_runs_of_other_codes_tell_the_noise_floor() -> None:
    assert share(4, known=True)[Standing.HOLDS] > share(4, known=False)[Standing.HOLDS] + 0.1


def test_the_gain_is_the_difference_of_the_means_with_welchs_interval() -> None:
    parent, child = [1.0, 1.0002, 1.0001], [0.998, 0.9983, 0.9981]
    found = judged(CHANGE, parent, child)
    wanted = compare(parent, child, LEVEL)
    assert (found.gain, found.low, found.high) == (wanted.gain, wanted.low, wanted.high)
    assert found.better is not None and found.expected is not None and found.gain is not None
    assert found.standing is Standing.HOLDS and found.better > 0.95
    assert 0 < found.expected < found.gain
    assert (found.line, found.commit, found.seeds) == (3, "abc", 3)


def test_codes_without_noise() -> None:
    equal = judged(CHANGE, [1.0] * 3, [1.0] * 3, [[1.0] * 3])
    assert equal.standing is Standing.FAILS and equal.gain == 0
    assert judged(CHANGE, [1.0] * 3, [0.9] * 3, [[1.0] * 3]).standing is Standing.HOLDS


def test_pooled_noise() -> None:
    assert pooled([]) == (None, 0) == pooled([[1.0], [2.0]])
    sd, freedom = pooled([[0.0, 2.0], [5.0, 5.0, 8.0], [1.0]])
    assert freedom == 3
    assert sd == pytest.approx(np.sqrt((2.0 + 6.0) / 3))
