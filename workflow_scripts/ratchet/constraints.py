"""Bounds on other numbers than the metric: what breaks one is never kept.

The numbers are those that a run printed, by their names, and those that the harness
measured: ``wall_seconds``, ``cpu_seconds`` and ``peak_memory_mb`` (of the GPU where one
was watched, else of the processes).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ratchet.codec import Frozen

MEASURED = ("wall_seconds", "cpu_seconds", "peak_memory_mb")


class Constraint(Frozen):
    """Bounds on one number, both inclusive; ``None`` is no bound."""

    name: str
    min: float | None = None
    max: float | None = None

    @property
    def words(self) -> str:
        """``num_params_M at most 60``."""
        parts = [] if self.min is None else [f"at least {self.min:g}"]
        parts += [] if self.max is None else [f"at most {self.max:g}"]
        return f"{self.name} {' and '.join(parts)}"

    def fault(self, value: float | None) -> str | None:
        """How a value breaks it; a number that is not known, or none, breaks it too."""
        if value is None or math.isnan(value):
            return f"{self.name} is not known, expected {self.words}"
        low = self.min is not None and value < self.min
        high = self.max is not None and value > self.max
        return f"{self.name} is {value:g}, expected {self.words}" if low or high else None


def broken(constraints: Sequence[Constraint], runs: Sequence[Mapping[str, float | None]]) -> str:
    """The first constraint that any of some runs breaks, in words; empty if there is none."""
    for constraint in constraints:
        for values in runs:
            found = constraint.fault(values.get(constraint.name))
            if found is not None:
                return found
    return ""
