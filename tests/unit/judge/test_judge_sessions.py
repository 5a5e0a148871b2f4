"""Simulated sessions with known truth and fixed seeds."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pytest

from ratchet.judge.judge import Judge, replay
from ratchet.judge.settings import Settings, scale_from
from ratchet.records.records import Verdict


@dataclass
class World:
    """Proposals that improve, change nothing or harm; sizes are lognormal."""

    noise_sd: float
    improving: float
    null: float
    gain: float
    harm: float
    start: float = 1.0
    spread: float = 1.0

    def draw(self, rng: np.random.Generator) -> float:
        u, size = rng.random(), math.exp(self.spread * rng.standard_normal())
        if u < self.improving:
            return self.gain * size
        return 0.0 if u < self.improving + self.null else -self.harm * size


@dataclass
class Session:
    """What happened: (confidence, truly better, kept) per candidate."""

    noise_sd: float
    rows: list[tuple[float, bool, bool]] = field(default_factory=list)
    runs: int = 0

    @property
    def false_keeps(self) -> int:
        return sum(kept and not better for _, better, kept in self.rows)


def judged(world: World, seed: int, settings: Settings | None, count: int, base: int) -> Session:
    rng = np.random.default_rng(seed)
    theta = world.start
    first = [theta + world.noise_sd * rng.standard_normal() for _ in range(base)]
    judge = Judge(settings or Settings.for_session("auto", 2 * count, scale_from(first)))
    for y in first:
        judge.incumbent(y)
    session = Session(0.0, runs=base)
    for _ in range(count):
        gain, ys = world.draw(rng), list[float]()
        while True:
            ys.append(theta - gain + world.noise_sd * rng.standard_normal())
            found = judge.assess(ys)
            if found.verdict is not Verdict.RETEST:
                break
        judge.commit(found.keep)
        session.rows.append((found.confidence, gain > 0, found.keep))
        session.runs += len(ys)
        theta -= gain if found.keep else 0.0
    session.noise_sd = judge.noise_sd
    return session


def greedy(world: World, seed: int, count: int) -> tuple[list[float], list[bool], int]:
    """Values, decisions and false keeps of keeping every lower value."""
    rng = np.random.default_rng(seed)
    theta = world.start
    values, kept, false = [theta + world.noise_sd * rng.standard_normal()], [True], 0
    for _ in range(count):
        gain = world.draw(rng)
        y = theta - gain + world.noise_sd * rng.standard_normal()
        kept.append(y < min(v for v, k in zip(values, kept, strict=True) if k))
        values.append(y)
        false += kept[-1] and gain <= 0
        theta -= gain if kept[-1] else 0.0
    return values, kept, false


TYPICAL = World(noise_sd=5e-4, improving=0.2, null=0.25, gain=7e-4, harm=2e-3, spread=1.2)
PLATEAU = World(noise_sd=5e-4, improving=0.0, null=0.5, gain=0.0, harm=2e-3, spread=1.2)


def test_fewer_false_keeps_than_greedy_where_nothing_improves() -> None:
    sessions = [judged(PLATEAU, seed, Settings(), 60, 2) for seed in range(40)]
    ours = sum(session.false_keeps for session in sessions)
    strict = Settings(keep_probability=0.8)
    ours_strict = sum(judged(PLATEAU, seed, strict, 60, 2).false_keeps for seed in range(40))
    theirs = sum(greedy(PLATEAU, seed, 60)[2] for seed in range(40))
    assert ours < theirs
    assert ours_strict < 0.6 * theirs


def test_confidence_is_calibrated() -> None:
    rows = [row for seed in range(60) for row in judged(TYPICAL, seed, Settings(), 60, 2).rows]
    confidence = np.array([row[0] for row in rows])
    better = np.array([row[1] for row in rows], dtype=float)
    bins = np.minimum((confidence * 10).astype(int), 9)
    error = sum(
        abs(float(confidence[bins == b].mean() - better[bins == b].mean()))
        * float((bins == b).mean())
        for b in np.unique(bins)
    )
    assert error < 0.06
    assert np.mean((confidence - better) ** 2) < 0.8 * better.mean() * (1 - better.mean())


def test_noise_floor_is_learned() -> None:
    ratios = [judged(TYPICAL, seed, Settings(), 60, 2).noise_sd / 5e-4 for seed in range(30)]
    assert 0.85 < math.exp(float(np.mean(np.log(ratios)))) < 1.2


def test_noise_floor_from_a_greedy_log_without_replicates() -> None:
    ratios = []
    for seed in range(25):
        values, kept, _ = greedy(TYPICAL, seed, 125)
        result = replay(values, kept, [False] * len(values), Settings())
        assert all(a is None or a.verdict is not Verdict.RETEST for a in result.assessments)
        ratios.append(result.judge.noise_sd / TYPICAL.noise_sd)
    assert 0.8 < math.exp(float(np.mean(np.log(ratios)))) < 1.3


# A small task: metric near 2, noise 0.01, effects of 2 to 30 noise sds.
SMALL = World(0.01, improving=0.3, null=0.35, gain=0.08, harm=0.1, start=2.0, spread=0.8)


def test_a_plain_gain_in_a_small_task_needs_one_run() -> None:
    strong = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        first = [2 + 0.01 * rng.standard_normal() for _ in range(3)]
        judge = Judge(Settings.for_session("auto", 40, scale_from(first)))
        for y in first:
            judge.incumbent(y)
        found = judge.assess([1.75 + 0.01 * rng.standard_normal()])
        assert found.verdict.is_keep
        assert found.gain == pytest.approx(0.25, abs=0.1)
        strong += found.verdict is Verdict.STRONG_KEEP
    assert strong >= 95


def test_a_null_in_a_small_task_is_seldom_kept() -> None:
    verdicts: Counter[bool] = Counter()
    for seed in range(60):
        rng = np.random.default_rng(seed)
        first = [2 + 0.01 * rng.standard_normal() for _ in range(3)]
        judge = Judge(Settings.for_session("strict", 40, scale_from(first)))
        for y in first:
            judge.incumbent(y)
        for _ in range(5):
            found = judge.assess([2 + 0.01 * rng.standard_normal()])
            judge.commit(False)
            verdicts[found.verdict.is_keep] += 1
    assert verdicts[True] / verdicts.total() < 0.05


@pytest.mark.parametrize(("base", "within"), [(3, 0.5), (5, 0.75)])
def test_small_tasks_are_judged_sensibly(base: int, within: float) -> None:
    sessions = [judged(SMALL, seed, None, 15, base) for seed in range(100)]
    ratios = np.array([session.noise_sd / SMALL.noise_sd for session in sessions])
    rows = [row for session in sessions for row in session.rows]
    kept = [row for row in rows if row[2]]
    improving = [row for row in rows if row[1]]
    # Fifteen candidates hold about five effects of 0, hence with the baseline some
    # seven degrees of freedom; knowing the scale beforehand does little better.
    assert np.mean((ratios > 1 / 1.5) & (ratios < 1.5)) > within
    assert 0.85 < math.exp(float(np.mean(np.log(ratios)))) < 1.2
    assert sum(not better for _, better, _ in kept) < 0.15 * len(kept)
    assert sum(keep for _, _, keep in improving) > 0.85 * len(improving)
    assert sum(session.runs for session in sessions) < (1.3 * 15 + base) * len(sessions)
