"""The rolling-window rule of the autojudge article, for comparison only.

The noise floor is the standard deviation of the steps between consecutive kept
results in a window; the improvement over the best kept result is measured in
multiples of it.  Kept results are lucky ones, so this floor is too low, and
what the rule calls confidence is no probability.  Thresholds and confidences
are those of the released ``autojudge`` 1.0.1.
"""

from __future__ import annotations

import math
import statistics
from itertools import pairwise

from ratchet.cli.answer import Answer
from ratchet.cli.session import Candidate, Experiments
from ratchet.vocabulary import Verdict

RULE = "legacy rolling window"
MIN_WINDOW = 3
"""Kept results from which two steps, and so a standard deviation, exist."""

_NO_FLOOR = 1e-10


def judge_candidate(every: Experiments, candidate: Candidate, window: int) -> Answer:
    """Judge a candidate by the last ``window`` kept results up to its own row."""
    sign = every.table.direction.sign
    past = every.before(candidate.since + 1)
    kept = [v for v, k in zip(past.values, past.kept, strict=True) if k and v is not None]
    own = every.before(candidate.number + 1)
    shown = [v for v, k in zip(own.values, own.kept, strict=True) if k and v is not None]
    noise = _noise(shown[-window:])
    if not candidate.values:
        return Answer(candidate, Verdict.CRASH, "no valid metric", RULE, 1.0, noise_sd=noise)
    value = candidate.values[-1]
    if not kept:
        why = "the baseline: there is no earlier run to compare it with"
        return Answer(candidate, Verdict.KEEP, why, RULE, 1.0, value, noise_sd=noise)
    best = min(kept)
    delta = sign * value - best
    percent = 100 * delta / abs(best) if best else 0.0
    verdict, confidence = _verdict(delta, percent, noise)
    multiple = "no noise floor yet"
    if noise is not None and noise > _NO_FLOOR:
        multiple = f"{abs(delta) / noise:.1f} times the window's noise floor"
    better = "better" if delta <= 0 else "worse"
    return Answer(
        candidate,
        verdict,
        f"{abs(percent):.2f} % {better} than the best kept result, {multiple}",
        f"{RULE} of {window} kept results",
        confidence,
        value,
        incumbent=sign * best,
        best=sign * best,
        delta=sign * delta,
        noise_sd=noise,
    )


def _noise(kept: list[float]) -> float | None:
    """Sd of the steps between kept results; ``None`` for fewer than two steps."""
    steps = [b - a for a, b in pairwise(kept)]
    return statistics.stdev(steps) if len(steps) >= 2 else None


def _verdict(delta: float, percent: float, noise: float | None) -> tuple[Verdict, float]:
    if delta > 0:
        if noise is not None and delta < noise:
            return Verdict.DISCARD, min(0.6 + 0.3 * delta / noise, 0.9)
        return Verdict.DISCARD, min(0.80 + 0.15 * min(abs(percent), 5.0) / 5.0, 0.99)
    if noise is None or noise < _NO_FLOOR:
        return _by_percent(abs(percent))
    multiple = abs(delta) / noise
    if multiple >= 3.0:
        return Verdict.STRONG_KEEP, min(0.90 + 0.08 * min(multiple, 10.0) / 10.0, 0.99)
    if multiple >= 1.5:
        return Verdict.KEEP, 0.70 + 0.15 * (multiple - 1.5) / 1.5
    if multiple >= 0.5:
        return Verdict.MARGINAL, 0.50 + 0.15 * (multiple - 0.5)
    return Verdict.RETEST, 0.40


def _by_percent(percent: float) -> tuple[Verdict, float]:
    """Without a noise floor the rule goes by the size of the improvement."""
    steps = (
        (1.0, Verdict.STRONG_KEEP, 0.85),
        (0.3, Verdict.KEEP, 0.70),
        (0.1, Verdict.MARGINAL, 0.55),
    )
    for least, verdict, confidence in steps:
        if not math.isnan(percent) and percent >= least:
            return verdict, confidence
    return Verdict.RETEST, 0.40
