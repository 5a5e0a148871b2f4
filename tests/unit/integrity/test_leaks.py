"""Whole windows beside cut ones: error rates and power of the comparison.

Losses are simulated as they are measured: windows differ in difficulty for all models, a
model's windows differ from the baseline's by noise with heavy tails, and a better model is
better in proportion.
"""

import numpy as np
import pytest

from ratchet.base.structs import replace
from ratchet.integrity.leaks import SESSION_LEVEL, TESTS, Leak, find_leak, leaking
from ratchet.records.records import Evaluation, PrefixScores

WHOLE, CUT, PER_GROUP = 512, 384, 3
HARD, NOISE = 0.25, 0.03
"""Bits per byte: sds between windows, and between two models on one window."""


class Session:
    """Windows of one split, and what models measure on them."""

    def __init__(self, seed: int, noise: float = NOISE) -> None:
        self.rng, self.noise = np.random.default_rng(seed), noise
        self.whole, self.cut = (self.rng.normal(1.0, HARD, n) for n in (WHOLE, CUT))

    def run(self, leak: float = 0.0, share: float = 1.0, better: float = 1.0) -> PrefixScores:
        """Scores of one run; a share of its whole windows leaks."""
        noise = [self.rng.standard_t(4, n) * self.noise / 2**0.5 for n in (WHOLE, CUT)]
        whole = better * self.whole + noise[0]
        lucky = self.rng.permutation(WHOLE)[: round(share * WHOLE)]
        whole[lucky] -= leak * WHOLE / len(lucky)
        return self.scores(whole, better * self.cut + noise[1])

    def scores(self, whole: np.ndarray, cut: np.ndarray) -> PrefixScores:
        means = cut.reshape(-1, PER_GROUP).mean(axis=1)
        return PrefixScores(float(whole.mean()), WHOLE / PER_GROUP, tuple(means.tolist()))

    def baseline(self) -> list[PrefixScores]:
        return [self.run() for _ in range(3)]


def leak_of(session: Session, runs: list[PrefixScores], level: float | None = None) -> Leak:
    found = find_leak(session.baseline(), runs, level)
    assert found is not None
    return found


@pytest.mark.parametrize("better", [1.0, 0.9, 1.05])
def test_an_honest_candidate_is_accused_as_rarely_as_it_is_said(better: float) -> None:
    level, count = 0.02, 1500
    found = [
        leak_of(session, [session.run(better=better)], level)
        for session in map(Session, range(count))
    ]
    accused = sum(leak.is_proven for leak in found)
    assert 0.3 * level * count < accused < 1.3 * level * count
    sizes = np.array([leak.size for leak in found])
    assert abs(sizes.mean()) < 4 * sizes.std() / count**0.5
    assert 0.85 < sizes.std() / np.mean([leak.sd for leak in found]) < 1.1


def test_the_level_of_a_session_is_shared_by_its_tests() -> None:
    session = Session(1)
    scores = session.run()
    own, shared = (leak_of(session, [scores], x) for x in (None, SESSION_LEVEL / TESTS))
    assert own.limit / own.sd == pytest.approx(shared.limit / shared.sd)
    assert 4.6 < own.limit / own.sd < 5.2  # Student's t with 126 degrees of freedom


@pytest.mark.parametrize("share", [1.0, 0.1, 0.02])
def test_a_leak_of_the_stated_size_is_found(share: float) -> None:
    """Even where it is in few windows, which would raise the sd of all windows."""
    size = float(np.mean([leak_of(s, [s.run()]).found_from for s in map(Session, range(20))]))
    found = [leak_of(s, [s.run(1.1 * size, share)]).is_proven for s in map(Session, range(300))]
    assert np.mean(found) >= 0.98
    small = [leak_of(s, [s.run(0.4 * size)]).is_proven for s in map(Session, range(100))]
    assert np.mean(small) < 0.1


def test_more_runs_of_a_candidate_see_more() -> None:
    session = Session(2)
    one, four = (leak_of(session, [session.run() for _ in range(n)]) for n in (1, 4))
    assert four.found_from < 0.85 * one.found_from


@pytest.mark.parametrize("spoilt", [1, 3, 10, 30, 64])
@pytest.mark.parametrize("by", [0.1, 1.0, 5.0])
def test_who_spoils_predictions_of_cut_windows_hides_nothing(spoilt: int, by: float) -> None:
    """The limit rises by less than the leak."""
    for seed in range(5):
        session = Session(seed)
        ours, honest = session.baseline(), session.run()
        cut = np.array(honest.cut)
        cut[session.rng.permutation(len(cut))[:spoilt]] += by
        before = find_leak(ours, [honest])
        after = find_leak(ours, [PrefixScores(honest.whole, honest.groups, tuple(cut.tolist()))])
        assert after.limit - before.limit < after.size - before.size + 0.1 * before.limit


def test_what_cannot_be_compared_is_not_judged() -> None:
    session = Session(3)
    ours, run = session.baseline(), session.run(leak=1.0)
    other = PrefixScores(run.whole, run.groups, run.cut[1:])
    few = PrefixScores(1.0, 5.0, (1.0, 1.1, 0.9))
    assert find_leak([], [run]) is find_leak(ours, []) is None
    assert find_leak(ours, [other]) is find_leak([few], [few]) is None
    # Equal losses everywhere, as those of a model that has learnt nothing, are no division by 0.
    flat = PrefixScores(1.0, 128.0, (1.0,) * 128)
    assert find_leak([flat], [flat]).size == 0.0 and not find_leak([flat], [flat]).is_proven


def test_validation_and_audit_data_are_both_compared() -> None:
    def run(scores: PrefixScores, audit: PrefixScores | None = None) -> Evaluation:
        usual = Evaluation(1.0, 9, 9, 1.0, 0.1, 1.0, 1.0, 0.1)
        return replace(usual, prefixes=scores, audit_prefixes=audit)

    session = Session(4)
    ours = [run(scores, scores) for scores in session.baseline()]
    good, bad = session.run(), session.run(leak=0.05)
    assert leaking(ours, [run(good, good)]) is leaking(ours, [run(good)]) is None
    for found in (run(bad), run(good, bad)):
        assert "where its windows hold what comes next" in leaking(ours, [found])
    assert leaking([replace(one, prefixes=None) for one in ours], [run(bad)]) is None
