"""Improvements too large to be believed on one run."""

from __future__ import annotations

from collections.abc import Iterable

NOISE_MULTIPLE = 20.0
"""A jump of so many noise sds is no luck, so it is an idea, a mistake or a trick."""

SEEN_MULTIPLE = 3.0
"""... and implausible if nothing tried so far moved the metric a third as far."""

AGREEMENT = 6.0
"""Noise sds by which a fresh run may differ from the first and still confirm it;
the difference of two runs has a sd of 1.4."""


def implausible(improvement: float, noise_sd: float, seen: Iterable[float]) -> bool:
    """Whether an improvement must wait for a fresh run to confirm it.

    ``improvement`` is positive when better, ``seen`` are the differences that
    earlier experiments made, of either sign; all in the metric's unit.
    """
    largest = max((abs(difference) for difference in seen), default=0.0)
    return improvement > max(NOISE_MULTIPLE * noise_sd, SEEN_MULTIPLE * largest)


def confirms(first: float, fresh: float, noise_sd: float, improvement: float) -> bool:
    """Whether a fresh run shows the jump too: close to the first run, or most of it.

    A change so large may well have a noise of its own, hence the second way.
    """
    difference = abs(fresh - first)
    return difference <= max(AGREEMENT * noise_sd, 0.25 * abs(improvement))
