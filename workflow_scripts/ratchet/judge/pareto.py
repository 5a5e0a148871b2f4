"""Which configurations are efficient in metric and memory, given the noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ratchet.codec import Frozen
from ratchet.judge.normal import ndtr

EFFICIENT_PROBABILITY = 0.5
"""A configuration is called efficient when more likely so than not."""

MEMORY_TOLERANCE = 0.005
"""A rival may use this share more memory and still count as no larger: reported
peaks of equal code differ by that much."""


class Efficiency(Frozen):
    """Bounds on the probability that no rival of the same memory is better."""

    low: float
    high: float

    @property
    def efficient(self) -> bool:
        """Whether even the lower bound is at least one half."""
        return self.low >= EFFICIENT_PROBABILITY


def efficiency(
    means: Sequence[float], sds: Sequence[float], memory: Sequence[float]
) -> tuple[Efficiency, ...]:
    """Judge every configuration against the rivals that need no more memory.

    Lower means are better; the true metrics are independent normals.  ``high``
    is the least pairwise probability (Frechet), ``low`` the product over the
    rivals (comparisons with one configuration are positively dependent:
    Slepian).  Raises :class:`ValueError` for sequences of unequal length.
    """
    mean, sd, size = (np.asarray(values, dtype=float) for values in (means, sds, memory))
    if not mean.shape == sd.shape == size.shape:
        raise ValueError("efficiency: means, sds and memory must have equal length")
    found = []
    for index in range(mean.size):
        rivals = size <= (1 + MEMORY_TOLERANCE) * size[index]
        rivals[index] = False
        # Two exact equals (both sds 0) do not beat each other.
        gap = mean[rivals] - mean[index]
        spread = np.hypot(sd[rivals], sd[index])
        with np.errstate(divide="ignore", invalid="ignore"):
            not_worse = np.where(spread > 0, ndtr(gap / spread), gap >= 0)
        low, high = float(not_worse.prod()), float(not_worse.min(initial=1.0))
        found.append(Efficiency(low=low, high=high))
    return tuple(found)
