"""The gain that a change must bring to pay for its lines and its memory."""

from __future__ import annotations

import math

from ratchet.codec import Frozen, asdict, replace
from ratchet.errors import ConfigError, DataError
from ratchet.judge.settings import REFERENCE_SCALE


class Prices(Frozen):
    """What complexity costs, as judgement; ``per_*`` in the metric's unit."""

    # Per net added line: twenty lines must bring 0.001 bits per byte.
    per_line: float = 5e-5
    # Per unit of ln(memory ratio): twice the memory must bring 0.0035.
    per_log_memory: float = 5e-3
    # Memory differences of up to 2 % are the allocator's, not the change's.
    memory_tolerance: float = 0.02
    # Whether less memory may cost some of the metric, as fewer lines may.
    memory_credit: bool = True
    # A simplification may cost at most this many noise sds of metric in one step,
    step_credit: float = 0.5
    # and all simplifications of a session together at most this many; else a
    # session could trade the metric away in steps that are each too small to see.
    session_credit: float = 2.0

    def __post_init__(self) -> None:
        """Refuse negative or non-finite prices with :class:`ConfigError`."""
        for name, value in asdict(self).items():
            if name != "memory_credit" and not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"price {name}: expected a number of at least 0, found {value!r}")

    def scaled(self, scale: float) -> Prices:
        """The same prices for a metric whose noise and effects have this scale."""
        factor = scale / REFERENCE_SCALE
        return replace(
            self,
            per_line=self.per_line * factor,
            per_log_memory=self.per_log_memory * factor,
        )

    def threshold(
        self,
        net_lines: int,
        noise_sd: float,
        memory_ratio: float | None = None,
        credit_used: float = 0.0,
    ) -> float:
        """Gain that a candidate must exceed, in the metric's unit.

        Negative for a simplification: it may cost that much.  ``memory_ratio``
        is candidate over incumbent (``None`` if unknown: free of charge) and
        ``credit_used`` the sum of :func:`credit` over the session's keeps.
        Raises :class:`DataError` for a ratio that is not positive.
        """
        price = self.per_line * net_lines
        if memory_ratio is not None:
            if not (math.isfinite(memory_ratio) and memory_ratio > 0):
                raise DataError(f"memory ratio: expected a positive number, found {memory_ratio!r}")
            growth = math.log(memory_ratio)
            if growth > self.memory_tolerance or (
                self.memory_credit and growth < -self.memory_tolerance
            ):
                price += self.per_log_memory * growth
        left = max(0.0, self.session_credit * noise_sd - credit_used)
        return max(price, -min(self.step_credit * noise_sd, left))


def credit(threshold: float) -> float:
    """Credit that keeping a candidate judged at ``threshold`` uses up."""
    return max(0.0, -threshold)
