"""Choice of the next category: Beta-Binomial success and Thompson sampling.

Success rates of the categories are shrunk towards the session's own keep rate
and discounted, since what worked at the start stops working; expected gain is
shrunk towards the session's mean gain per keep.  Ranking by a sample from
both posteriors keeps exploring, where taking the largest mean does not.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import TypeVar

from ratchet.base.structs import Frozen, Struct
from ratchet.records.records import CATEGORIES

Ranked = TypeVar("Ranked")
# Labels look at this many last experiments: older ones met another incumbent.
WINDOW = 50
# Fewer tries than this say nothing about a category yet.
EXPLORE_BELOW = 5
# Probability that a category beats the session's keep rate, for a label.
EXPLOIT_ABOVE = 0.85
AVOID_BELOW = 0.15
# The prior of a category weighs as much as this many experiments.
PRIOR_EXPERIMENTS = 4.0
# The prior of a category's gain weighs as much as this many keeps.
PRIOR_KEEPS = 2.0
# Each experiment makes all earlier ones count this much less.
DISCOUNT = 0.98
# Share of rankings that ignore what was learned, so that nothing is starved.
UNIFORM_SHARE = 0.05


class SteeringMode(enum.StrEnum):
    """Modes of ranking: how suggestions trade learning for earning."""

    AUTO = "auto"
    EXPLORE = "explore"
    EXPLOIT = "exploit"


class Label(enum.StrEnum):
    """Advice that the record of a category gives."""

    EXPLOIT = "EXPLOIT"
    NEUTRAL = "NEUTRAL"
    AVOID = "AVOID"
    EXPLORE = "EXPLORE"


class BanditPull(Frozen):
    """One judged trial as the bandit sees it: its arm is the category; ``gain`` counts if kept."""

    category: str
    kept: bool
    gain: float


class CategoryScore(Frozen):
    """Record of one category over the window that steering looks at."""

    category: str
    tried: int
    kept: int
    label: str
    probability: float | None


def categories_of(
    pulls: Iterable[BanditPull], known: Sequence[str] = CATEGORIES
) -> tuple[str, ...]:
    """The known categories and any others that were tried, in a fixed order."""
    extra = sorted({pull.category for pull in pulls} - set(known))
    return (*known, *extra)


def score_categories(
    pulls: Sequence[BanditPull], known: Sequence[str] = CATEGORIES
) -> tuple[CategoryScore, ...]:
    """Record and label of every category over the last :data:`WINDOW` pulls.

    With N pulls and K keeps in all, n and k in a category and the base rate
    m = (K+1)/(N+3), the label rests on Pr[Beta(4m+k, 4(1-m)+n-k) > m].
    """
    window = list(pulls)[-WINDOW:]
    kept_in_all = sum(pull.kept for pull in window)
    base = (kept_in_all + 1) / (len(window) + 3)
    scores = []
    for category in categories_of(window, known):
        tried = sum(pull.category == category for pull in window)
        kept = sum(pull.category == category and pull.kept for pull in window)
        if tried < EXPLORE_BELOW:
            scores.append(CategoryScore(category, tried, kept, Label.EXPLORE.value, None))
            continue
        a = PRIOR_EXPERIMENTS * base + kept
        b = PRIOR_EXPERIMENTS * (1 - base) + tried - kept
        # Pr[Beta(a, b) > base] is the incomplete beta integral I(1-base; b, a).
        probability = incomplete_beta(b, a, 1.0 - base)
        scores.append(CategoryScore(category, tried, kept, _label(probability).value, probability))
    return tuple(scores)


def incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularized incomplete beta integral I(x; a, b), to about 1e-12.

    For 0 <= x <= 1 and positive ``a`` and ``b``.  Source: the continued fraction
    of the NIST Digital Library of Mathematical Functions, 8.17.22, evaluated by
    Lentz's method.  Written out because importing SciPy for it takes longer than
    all the rest of a short command.
    """
    if x <= 0.0 or x >= 1.0:
        return float(x >= 1.0)
    if x > (a + 1.0) / (a + b + 2.0):  # where the fraction of the complement converges
        return 1.0 - incomplete_beta(b, a, 1.0 - x)
    value, up, down = 1.0, 1.0, 0.0
    for n in range(1, _MOST_TERMS):
        term = _fraction_term(n, a, b, x)
        down = 1.0 / _nonzero(1.0 + term * down)
        up = _nonzero(1.0 + term / up)
        value *= up * down
        if abs(up * down - 1.0) < 1e-15:
            break
    front = a * math.log(x) + b * math.log1p(-x) - math.log(a)
    return math.exp(front + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)) / value


_MOST_TERMS = 10_000
"""Terms of the fraction; some tens are enough where a + b is below a thousand."""


def _fraction_term(n: int, a: float, b: float, x: float) -> float:
    """Partial numerator number ``n`` >= 1 of the continued fraction."""
    m = n // 2
    if n % 2:
        return -(a + m) * (a + b + m) * x / ((a + n - 1.0) * (a + n))
    return m * (b - m) * x / ((a + n - 1.0) * (a + n))


def _nonzero(value: float) -> float:
    return value if abs(value) > 1e-300 else 1e-300


def _label(probability: float) -> Label:
    if probability >= EXPLOIT_ABOVE:
        return Label.EXPLOIT
    return Label.AVOID if probability <= AVOID_BELOW else Label.NEUTRAL


def rank_categories(
    pulls: Sequence[BanditPull],
    seed: int,
    gain_scale: float,
    mode: SteeringMode = SteeringMode.AUTO,
    known: Sequence[str] = CATEGORIES,
) -> tuple[str, ...]:
    """All categories, the one to try next first; reproducible from ``seed``.

    None that is to be avoided comes before one that is worth exploiting, unless all is
    left to chance this time.  ``gain_scale`` is a gain worth having, in the metric's unit
    (the noise floor serves); it is the prior of the gain per keep.
    """
    names = categories_of(pulls, known)
    rng = Random(seed)
    records = _discounted(pulls, names)
    base, mean_gain = _overall(records, gain_scale)
    uniform = mode is SteeringMode.AUTO and rng.random() < UNIFORM_SHARE
    worth = {
        name: rng.random() if uniform else _worth(record, base, mean_gain, mode, rng)
        for name, record in zip(names, records, strict=True)
    }
    # Ties (every category at the start) fall by lot, not by the alphabet.
    lot = {name: rng.random() for name in names}
    ranked = sorted(names, key=lambda name: (-worth[name], lot[name]))
    scores = () if uniform else score_categories(pulls, known)
    return tuple(avoided_last(ranked, lambda name: name, scores))


class Turn(Frozen):
    """A judged trial of one proposer: its ``gain``, 0 unless kept, and what it cost.

    ``cost`` is in hours of the device.
    """

    proposer: str
    kept: bool
    gain: float
    cost: float


def rank_proposers(names: Sequence[str], turns: Sequence[Turn], seed: int) -> tuple[str, ...]:
    """The proposers, the one to ask next first; reproducible from ``seed``.

    The first one begins, and goes on until an hour of it brings less of late than over all,
    or nothing: then others may do better.  Each of them gets :data:`EXPLORE_BELOW` tries, in
    their order.  From then on they are ranked by a sample of the gain that an hour of each
    brings, as categories are.

    Source: the marginal value theorem (Charnov 1976), for when to leave what one has begun
    with; Thompson sampling for what comes after.
    """
    own = {name: [turn for turn in turns if turn.proposer == name] for name in names}
    first, *others = names
    late = own[first][-LATE:]
    untried = [name for name in others if len(own[name]) < EXPLORE_BELOW]
    spent = len(late) == LATE and (_rate(late) < _rate(own[first]) or _rate(late) == 0)
    if untried and spent:
        return (untried[0], *(name for name in names if name != untried[0]))
    if len(untried) == len(others):
        return tuple(names)
    pulls = [BanditPull(t.proposer, t.kept, t.gain) for t in turns if t.proposer in own]
    records = _discounted(pulls, names)
    gains = [pull.gain for pull in pulls if pull.kept]
    base, mean_gain = _overall(records, math.fsum(gains) / len(gains) if gains else 1.0)
    rng = Random(seed)
    worth = {}
    for name, record in zip(names, records, strict=True):
        sample = _worth(record, base, mean_gain, SteeringMode.AUTO, rng)
        worth[name] = sample / _mean_cost(own[name] or turns)
    return tuple(sorted(names, key=lambda name: -worth[name]))


LEAST_COST = 1e-6
"""Hours below which a cost is taken for none."""

LATE = 10
"""Tries of a proposer that say what it brings of late."""


def _rate(turns: Sequence[Turn]) -> float:
    """Gain per hour over these tries."""
    return math.fsum(turn.gain for turn in turns) / (len(turns) * _mean_cost(turns))


def _mean_cost(turns: Sequence[Turn]) -> float:
    """Mean cost of a try; a refused one costs next to nothing."""
    return max(math.fsum(turn.cost for turn in turns) / len(turns), LEAST_COST)


def avoided_last(
    ranked: Sequence[Ranked], category: Callable[[Ranked], str], scores: Iterable[CategoryScore]
) -> list[Ranked]:
    """The items in their order, but those of a category to avoid after all worth exploiting."""
    labels = {score.category: score.label for score in scores}
    good = [n for n, item in enumerate(ranked, 1) if labels.get(category(item)) == Label.EXPLOIT]
    end = max(good, default=0)
    first = sorted(ranked[:end], key=lambda item: labels.get(category(item)) == Label.AVOID)
    return [*first, *ranked[end:]]


def expected_gains(
    pulls: Sequence[BanditPull], gain_scale: float, known: Sequence[str] = CATEGORIES
) -> dict[str, float]:
    """Expected gain of one try of each category, in the metric's unit.

    Posterior mean of the success rate times that of the gain per keep; to be
    shown, while :func:`rank_categories` decides by samples.
    """
    names = categories_of(pulls, known)
    records = _discounted(pulls, names)
    base, mean_gain = _overall(records, gain_scale)
    return {
        name: _worth(record, base, mean_gain, SteeringMode.EXPLOIT, Random(0))
        for name, record in zip(names, records, strict=True)
    }


def _overall(records: Sequence[_Record], gain_scale: float) -> tuple[float, float]:
    """The session's own keep rate and mean gain per keep."""
    tried = sum(record.tried for record in records)
    kept = sum(record.kept for record in records)
    mean_gain = (sum(record.gain for record in records) + gain_scale) / (kept + 1)
    return (kept + 1) / (tried + 3), mean_gain


class _Record(Struct):
    """Tries, keeps and summed gain of one category, older ones weighing less."""

    tried: float = 0.0
    kept: float = 0.0
    gain: float = 0.0


def _worth(
    record: _Record, base: float, mean_gain: float, mode: SteeringMode, rng: Random
) -> float:
    """Worth of one try of a category: a sample, a mean or a spread."""
    a = PRIOR_EXPERIMENTS * base + record.kept
    b = PRIOR_EXPERIMENTS * (1 - base) + record.tried - record.kept
    if mode is SteeringMode.EXPLORE:
        return math.sqrt(a * b / ((a + b) ** 2 * (a + b + 1)))
    amount = PRIOR_KEEPS * mean_gain + record.gain
    weight = PRIOR_KEEPS + record.kept
    if mode is SteeringMode.EXPLOIT:
        return a / (a + b) * amount / weight
    return rng.betavariate(a, b) * amount / max(rng.gammavariate(weight, 1.0), 1e-3)


def _discounted(pulls: Sequence[BanditPull], names: Sequence[str]) -> list[_Record]:
    records = {name: _Record() for name in names}
    for age, pull in enumerate(reversed(pulls)):
        weight = DISCOUNT**age
        record = records[pull.category]
        record.tried += weight
        if pull.kept:
            record.kept += weight
            record.gain += weight * max(pull.gain, 0.0)
    return list(records.values())
