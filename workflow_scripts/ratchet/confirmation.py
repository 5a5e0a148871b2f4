"""The final comparison of champion and baseline, from fresh runs alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ratchet.codec import Frozen


class Comparison(Frozen):
    """``gain`` is mean(baseline) - mean(champion); lower metrics are better."""

    gain: float
    low: float | None
    high: float | None


def compare(baseline: Sequence[float], champion: Sequence[float], level: float) -> Comparison:
    """Welch's interval for the difference of two means.

    Assumes independent runs with roughly normal noise; the two noise levels
    may differ.  Without two runs on each side there is no interval.
    Source: B. L. Welch, Biometrika 34 (1947); degrees of freedom after
    Satterthwaite.
    """
    from scipy.special import stdtrit  # slow to import, needed once a session

    a, b = np.asarray(baseline, float), np.asarray(champion, float)
    gain = float(a.mean() - b.mean())
    if len(a) < 2 or len(b) < 2:
        return Comparison(gain, None, None)
    va, vb = float(a.var(ddof=1)) / len(a), float(b.var(ddof=1)) / len(b)
    if va + vb == 0:
        return Comparison(gain, gain, gain)
    freedom = (va + vb) ** 2 / (va**2 / (len(a) - 1) + vb**2 / (len(b) - 1))
    half = float(stdtrit(freedom, (1 + level) / 2)) * math.sqrt(va + vb)
    return Comparison(gain, gain - half, gain + half)
