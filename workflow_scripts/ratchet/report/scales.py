"""Where things go in a figure: ranges that outliers cannot blow up, ticks, labels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import quantiles

from ratchet.codec import Frozen

# Tukey's fence: further than this many interquartile ranges outside the
# quartiles a point says nothing that "far off" does not say as well.
FENCE = 1.5
MARGIN = 0.08


class Range(Frozen):
    """An axis from ``low`` to ``high`` with room at both ends for edge marks."""

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether a value can be drawn where it belongs."""
        margin = self.margin / 2
        return self.low + margin <= value <= self.high - margin

    @property
    def margin(self) -> float:
        """Height of the strip at either end."""
        return (self.high - self.low) * MARGIN

    def edge(self, *, top: bool) -> float:
        """Middle of the strip where values beyond the axis are marked."""
        return self.high - self.margin / 4 if top else self.low + self.margin / 4


def robust_range(values: Iterable[float], essential: Iterable[float]) -> Range:
    """An axis that shows all ``essential`` values and every other one that is not wild."""
    needed = list(essential)
    pool = sorted([*values, *needed])
    if not pool:
        return Range(0.0, 1.0)
    first, _, third = quantiles(pool, n=4, method="inclusive") if len(pool) > 1 else pool * 3
    reach = FENCE * (third - first)
    shown = [v for v in pool if first - reach <= v <= third + reach] + needed
    low, high = min(shown), max(shown)
    if low == high:
        half = abs(low) / 100 or 0.5
        low, high = low - half, high + half
    pad = (high - low) * MARGIN / (1 - 2 * MARGIN)
    return Range(low - pad, high + pad)


def integer_ticks(last: int, most: int) -> list[int]:
    """At most about ``most`` round numbers from 0 to ``last``."""
    for step in (s * 10**e for e in range(7) for s in (1, 2, 5)):
        if last // step < most:
            return list(range(0, last + 1, step))
    return [0, last]


class Anchor(Frozen):
    """A point in pixels (y downwards) that would like a label of ``length`` pixels."""

    x: float
    y: float
    length: float
    weight: float


def place_labels(
    anchors: Sequence[Anchor], angle: float, line_height: float, most: int
) -> list[int]:
    """Indexes of the labels to draw: the weightiest that do not touch each other.

    Every label starts at its point and runs at ``angle`` degrees (negative is
    upwards); two of them touch when they are less than a line apart.
    """
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))

    def along(a: Anchor) -> float:
        return a.x * cos + a.y * sin

    def across(a: Anchor) -> float:
        return a.y * cos - a.x * sin

    chosen: list[int] = []
    order = sorted(range(len(anchors)), key=lambda i: (-anchors[i].weight, i))
    for i in order:
        new = anchors[i]
        clear = all(
            abs(across(new) - across(old)) >= line_height
            or along(new) > along(old) + old.length
            or along(old) > along(new) + new.length
            for old in (anchors[j] for j in chosen)
        )
        if clear and len(chosen) < most:
            chosen.append(i)
    return sorted(chosen)
