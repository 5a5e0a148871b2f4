"""What a candidate's lines and memory cost in one round."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ratchet.ceiling import Ceiling
from ratchet.codec import Frozen, field
from ratchet.judge import Prices
from ratchet.records import RunSummary
from ratchet.stages.memory import mean_memory


class Tariff(Frozen):
    """Prices as they apply to the candidates of one round.

    ``noise_sd`` bounds the credit of simplifications and ``credit_used`` is
    what earlier ones have used up, both in the metric's unit; ``memory_mb`` is
    the incumbent's, and ``ceiling`` may add to the price of more.  They are of the
    round's start, so that all candidates and all assessments of one are charged alike.
    """

    prices: Prices
    noise_sd: float
    credit_used: float
    memory_mb: float | None
    ceiling: Ceiling = field(default_factory=Ceiling)

    def ratio(self, runs: Sequence[RunSummary]) -> float | None:
        """Memory of a candidate over that of the incumbent; ``None`` if unknown."""
        ours = mean_memory(tuple(runs))
        if not ours or not self.memory_mb or ours < 0 or self.memory_mb < 0:
            return None
        return ours / self.memory_mb

    def threshold(self, net_lines: int, ratio: float | None) -> float:
        """Gain that the candidate must exceed, in the metric's unit."""
        price = self.prices.threshold(net_lines, self.noise_sd, ratio, self.credit_used)
        return price + self._surcharge(ratio) + 0.0  # no -0.0 in records

    def _surcharge(self, ratio: float | None) -> float:
        if ratio is None or self.memory_mb is None:
            return 0.0
        per_log = self.prices.per_log_memory
        return self.ceiling.surcharge(ratio * self.memory_mb, self.memory_mb, per_log)

    def words(self, price: float, net_lines: int, ratio: float | None) -> str:
        """``needs 0.0012 for 20 more lines and 1.10x memory``; empty for a price of 0."""
        if price == 0:
            return ""
        causes = []
        if net_lines and self.prices.per_line:
            kind = "more" if net_lines > 0 else "fewer"
            causes.append(f"{abs(net_lines)} {kind} line{'' if abs(net_lines) == 1 else 's'}")
        grown = math.log(ratio) if ratio is not None else 0.0
        if not self.prices.memory_credit:
            grown = max(grown, 0.0)
        if self.prices.per_log_memory and abs(grown) > self.prices.memory_tolerance:
            causes.append(f"{ratio:.2f}x memory")
        verb = "needs" if price > 0 else "may cost"
        return f"{verb} {abs(price):.2g} for {' and '.join(causes)}"
