"""One rule minus another over the same simulated sessions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ratchet.simulation.measures import Estimate, column, false_keeps_of, mean_estimate, signed
from ratchet.simulation.session import SimulatedSession


@dataclass(frozen=True)
class Contrast:
    """One rule minus another, session by session."""

    true_gain: Estimate
    false_keeps: Estimate
    bias: Estimate
    noise_error: Estimate | None


def contrast(records: Sequence[SimulatedSession], against: Sequence[SimulatedSession]) -> Contrast:
    """Paired differences; ``bias`` and ``noise_error`` are differences in size.

    ``bias`` is |claimed - true gain| and ``noise_error`` |ln noise ratio|, so
    that less is better in both.
    """

    def paired(one: list[float], other: list[float]) -> Estimate:
        return mean_estimate(column(one) - column(other))

    def off(some: Sequence[SimulatedSession]) -> list[float]:
        return [abs(r.claimed_gain - r.true_gain) for r in some]

    def noise(some: Sequence[SimulatedSession]) -> list[float]:
        return [abs(math.log(r.noise_ratio)) for r in some if r.noise_ratio]

    both = len(noise(records)) == len(noise(against)) == len(records)
    return Contrast(
        true_gain=paired([r.true_gain for r in records], [r.true_gain for r in against]),
        false_keeps=paired(
            [float(false_keeps_of(r)) for r in records], [float(false_keeps_of(r)) for r in against]
        ),
        bias=paired(off(records), off(against)),
        noise_error=paired(noise(records), noise(against)) if both else None,
    )


def contrast_lines(name: str, against: str, found: Contrast) -> list[str]:
    """One rule against another, in two lines."""
    second = f"  |claimed-true| {signed(found.bias, 3)}"
    if found.noise_error is not None:
        second += f", |ln noise/true| {signed(found.noise_error, 3, 1.0)}"
    return [
        f"{name} minus {against}: true gain {signed(found.true_gain, 3)}, "
        f"false keeps {signed(found.false_keeps, 2, 1.0)}",
        second,
    ]
