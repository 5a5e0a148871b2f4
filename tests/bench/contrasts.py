"""One rule minus another over the same simulated sessions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ratchet.simulation.measures import Estimate, column, false_keeps_of, mean_estimate, signed
from ratchet.simulation.session import SimulatedSession

MEASURES: dict[str, Callable[[SimulatedSession], float]] = {
    "true gain": lambda record: record.true_gain,
    "false keeps": false_keeps_of,
    "|claimed-true|": lambda record: abs(record.claimed_gain - record.true_gain),
    "|ln noise/true|": lambda record: abs(math.log(record.noise_ratio or math.nan)),
}


def contrast(
    records: Sequence[SimulatedSession], against: Sequence[SimulatedSession]
) -> dict[str, Estimate]:
    """Paired differences by measure; noise only where both rules estimate it."""
    found = {}
    for name, measure in MEASURES.items():
        ours, theirs = (column([measure(one) for one in some]) for some in (records, against))
        difference = mean_estimate(ours - theirs)
        if not math.isnan(difference.value):
            found[name] = difference
    return found


def contrast_line(name: str, against: str, found: dict[str, Estimate]) -> str:
    """One rule against another; gains and errors of gains in thousandths."""
    factors = {"false keeps": 1.0, "|ln noise/true|": 1.0}
    shown = [f"{key} {signed(one, 3, factors.get(key, 1e3))}" for key, one in found.items()]
    return f"{name} minus {against}: {', '.join(shown)}"
