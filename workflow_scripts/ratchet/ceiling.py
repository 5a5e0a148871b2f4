"""The memory ceiling of a session: what is above it is refused, or costs more."""

from __future__ import annotations

import math

from ratchet.codec import Frozen

HARD = "hard"

SURCHARGE = 3.0
"""Times the price of memory that is added above a soft ceiling, so that it costs four
times as much there: a metric must improve a lot, but may."""

TOLERANCE = 0.02
"""Growth above a soft ceiling that is free: it is the allocator's, not the change's."""


class Ceiling(Frozen):
    """Most memory that a run should need; ``megabytes`` is ``None`` without one."""

    megabytes: float | None = None
    hard: bool = False

    def exceeded(self, memory_mb: float | None) -> bool:
        """Whether so much memory is more; memory that nobody knows is not."""
        return self.megabytes is not None and memory_mb is not None and memory_mb > self.megabytes

    def refuses(self, memory_mb: float | None) -> bool:
        """Whether an experiment with so much memory can never be kept."""
        return self.hard and self.exceeded(memory_mb)

    def surcharge(self, memory_mb: float, before_mb: float, per_log_memory: float) -> float:
        """Further gain that a change must bring whose memory grows above a soft ceiling.

        In the unit of ``per_log_memory``, the price of one unit of ln(memory);
        ``before_mb`` is the incumbent's memory.
        """
        if self.hard or not self.exceeded(memory_mb) or min(memory_mb, before_mb) <= 0:
            return 0.0
        assert self.megabytes is not None
        growth = math.log(memory_mb / max(self.megabytes, before_mb))
        return SURCHARGE * per_log_memory * growth if growth > TOLERANCE else 0.0

    def reason(self, memory_mb: float | None) -> str:
        """What to say of an experiment with so much memory; empty if it is within."""
        if not self.exceeded(memory_mb):
            return ""
        kind = "" if self.hard else "soft "
        text = f"needs {memory_mb:,.4g} MiB, above the {kind}ceiling of {self.megabytes:,.4g} MiB"
        return f"{text}, and cannot be kept" if self.hard else text

    @property
    def words(self) -> str:
        """The constraint as proposers are told it; empty without one."""
        if self.megabytes is None:
            return ""
        limit = f"Memory: at most {self.megabytes:,.6g} MiB in each run"
        if self.hard:
            return f"{limit}; what needs more is never kept"
        return f"{limit}; what needs more must improve the metric by more"
