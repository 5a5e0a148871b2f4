"""Which category to try next: Beta-Binomial success and Thompson sampling.

Success rates of the categories are shrunk towards the session's own keep rate
and discounted, since what worked at the start stops working; expected gain is
shrunk towards the session's mean gain per keep.  Ranking by a sample from
both posteriors keeps exploring, where taking the largest mean does not.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ratchet.records import CATEGORIES, CategoryScore

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


class Mode(enum.StrEnum):
    """How suggestions trade learning for earning."""

    AUTO = "auto"
    EXPLORE = "explore"
    EXPLOIT = "exploit"


class Label(enum.StrEnum):
    """What the record of a category suggests."""

    EXPLOIT = "EXPLOIT"
    NEUTRAL = "NEUTRAL"
    AVOID = "AVOID"
    EXPLORE = "EXPLORE"


@dataclass(frozen=True)
class Trial:
    """One judged experiment as steering sees it; ``gain`` counts if kept."""

    category: str
    kept: bool
    gain: float


def categories_of(trials: Iterable[Trial], known: Sequence[str] = CATEGORIES) -> tuple[str, ...]:
    """The known categories and any others that were tried, in a fixed order."""
    extra = sorted({trial.category for trial in trials} - set(known))
    return (*known, *extra)


def score(trials: Sequence[Trial], known: Sequence[str] = CATEGORIES) -> tuple[CategoryScore, ...]:
    """Record and label of every category over the last :data:`WINDOW` trials.

    With N trials and K keeps in all, n and k in a category and the base rate
    m = (K+1)/(N+3), the label rests on Pr[Beta(4m+k, 4(1-m)+n-k) > m].
    """
    window = list(trials)[-WINDOW:]
    kept_in_all = sum(trial.kept for trial in window)
    base = (kept_in_all + 1) / (len(window) + 3)
    scores = []
    for category in categories_of(window, known):
        tried = sum(trial.category == category for trial in window)
        kept = sum(trial.category == category and trial.kept for trial in window)
        if tried < EXPLORE_BELOW:
            scores.append(CategoryScore(category, tried, kept, Label.EXPLORE.value, None))
            continue
        a = PRIOR_EXPERIMENTS * base + kept
        b = PRIOR_EXPERIMENTS * (1 - base) + tried - kept
        probability = _beats(base, a, b)
        scores.append(CategoryScore(category, tried, kept, _label(probability).value, probability))
    return tuple(scores)


def _beats(base: float, a: float, b: float) -> float:
    """Pr[Beta(a, b) > base]."""
    from scipy.special import betaincc  # costs more to import than all the rest

    return float(betaincc(a, b, base))


def _label(probability: float) -> Label:
    if probability >= EXPLOIT_ABOVE:
        return Label.EXPLOIT
    return Label.AVOID if probability <= AVOID_BELOW else Label.NEUTRAL


def rank(
    trials: Sequence[Trial],
    seed: int,
    gain_scale: float,
    mode: Mode = Mode.AUTO,
    known: Sequence[str] = CATEGORIES,
) -> tuple[str, ...]:
    """All categories, the one to try next first; reproducible from ``seed``.

    ``gain_scale`` is a gain worth having, in the metric's unit (the noise
    floor serves); it is the prior of the gain per keep.
    """
    names = categories_of(trials, known)
    rng = np.random.default_rng(seed)
    tried, kept, gains = _discounted(trials, names)
    base = (kept.sum() + 1) / (tried.sum() + 3)
    a = PRIOR_EXPERIMENTS * base + kept
    b = PRIOR_EXPERIMENTS * (1 - base) + tried - kept
    mean_gain = (gains.sum() + gain_scale) / (kept.sum() + 1)
    if mode is Mode.EXPLORE:
        value = np.sqrt(a * b / ((a + b) ** 2 * (a + b + 1)))
    elif mode is Mode.EXPLOIT:
        value = a / (a + b) * (PRIOR_KEEPS * mean_gain + gains) / (PRIOR_KEEPS + kept)
    else:
        amount = (PRIOR_KEEPS * mean_gain + gains) / np.maximum(rng.gamma(PRIOR_KEEPS + kept), 1e-3)
        value = rng.beta(a, b) * amount
        if rng.random() < UNIFORM_SHARE:
            value = rng.random(len(names))
    # Ties (every category at the start) fall by lot, not by the alphabet.
    order = np.lexsort((rng.random(len(names)), -value))
    return tuple(names[i] for i in order)


def _discounted(
    trials: Sequence[Trial], names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tries, keeps and summed gains by category, older ones weighing less."""
    tried, kept, gains = (np.zeros(len(names)) for _ in range(3))
    index = {name: i for i, name in enumerate(names)}
    for age, trial in enumerate(reversed(trials)):
        weight = DISCOUNT**age
        at = index[trial.category]
        tried[at] += weight
        if trial.kept:
            kept[at] += weight
            gains[at] += weight * max(trial.gain, 0.0)
    return tried, kept, gains
