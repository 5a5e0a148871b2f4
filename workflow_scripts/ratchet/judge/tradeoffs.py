"""Metric against size: prices of lines and memory, the memory ceiling, the Pareto front.

:class:`Prices` gives the gain that a change must bring for its lines and its memory,
and :class:`Tariff` applies them to the candidates of one round.  :func:`efficiency`
says which configurations are efficient in metric and memory, given the noise, and
:func:`efficiency_bounds` where a candidate stands among those that a session has kept.
:class:`Ceiling` refuses what needs too much memory, or charges more for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ratchet.base.errors import ConfigError, DataError
from ratchet.base.structs import Frozen, asdict, field
from ratchet.base.text import plural
from ratchet.records.records import RunSummary, mean_memory

EFFICIENT_PROBABILITY = 0.5
"""A configuration is called efficient when more likely so than not."""

MEMORY_TOLERANCE = 0.005
"""A rival may use this share more memory and still count as no larger: reported
peaks of equal code differ by that much."""

SMALLER = 0.995
"""A configuration below this share of the incumbent's memory is a rival of its
own; another one has lost to the incumbent already."""

MOST_RIVALS = 20
"""Rivals that count, the best ones: ``low`` is a product over all of them, and
many that are surely worse would bring it down together."""

EFFICIENT, DOMINATED = "EFFICIENT", "DOMINATED"

HARD = "hard"
"""Kind of memory ceiling that refuses; a ``soft`` one charges."""

LINE_SHARE = 5e-5
"""Price of a line, as a share of the metric's magnitude: at a metric near 1, twenty lines
for a gain of 0.001 are "probably not worth it", as upstream's program.md has it."""

EXCESS_SHARE = 0.02
"""Price of memory above a soft ceiling, as a share of the metric's magnitude and per unit
of ln(memory): twice the ceiling must bring 1.4 % of the metric, more than most edits do."""

EXCESS_FACTOR = 3.0
"""The same as a multiple of a price that the user names: memory costs four times as much
above the ceiling."""

SURCHARGE_TOLERANCE = 0.02
"""Growth above a soft ceiling that is free: it is the allocator's, not the change's."""


class Prices(Frozen):
    """Prices of complexity, in the metric's unit; the defaults are those of a metric near 1."""

    # Per net added line.
    per_line: float = LINE_SHARE
    # Per unit of ln(memory ratio).  Free: the Pareto front shows what memory buys.
    per_log_memory: float = 0.0
    # Per unit of ln(memory), further, for what lies above a soft ceiling.
    per_log_excess: float = EXCESS_SHARE
    # Memory differences of up to 2 % are the allocator's, not the change's.
    memory_tolerance: float = 0.02
    # A simplification may cost at most this many noise sds of metric in one step,
    step_credit: float = 0.5
    # and all simplifications of a session together at most this many; else a
    # session could trade the metric away in steps that are each too small to see.
    session_credit: float = 2.0

    def __post_init__(self) -> None:
        """Refuse negative or non-finite prices with :class:`ConfigError`."""
        for name, value in asdict(self).items():
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"price {name}: expected a number of at least 0, found {value!r}")

    @classmethod
    def for_metric(
        cls, magnitude: float, per_line: float | None = None, per_log_memory: float | None = None
    ) -> Prices:
        """Prices for a metric of this magnitude; ``None`` is the default.

        Noise has no say in them: what a line is worth does not depend on how
        often a metric is measured.  A metric near 0 has prices near 0.
        """
        memory = per_log_memory
        return cls(
            per_line=LINE_SHARE * magnitude if per_line is None else per_line,
            per_log_memory=0.0 if memory is None else memory,
            per_log_excess=EXCESS_SHARE * magnitude if memory is None else EXCESS_FACTOR * memory,
        )

    def memory_charge(self, ratio: float | None) -> float:
        """Charge for candidate over incumbent memory; ``None``, unknown, is free.

        Raises :class:`DataError` for a ratio that is not positive.
        """
        if ratio is None:
            return 0.0
        if not (math.isfinite(ratio) and ratio > 0):
            raise DataError(f"memory ratio: expected a positive number, found {ratio!r}")
        growth = math.log(ratio)
        return self.per_log_memory * growth if abs(growth) > self.memory_tolerance else 0.0

    def threshold(
        self,
        net_lines: int,
        noise_sd: float,
        memory_ratio: float | None = None,
        credit_used: float = 0.0,
    ) -> float:
        """Gain that a candidate must exceed, in the metric's unit.

        Negative for a simplification: it may cost that much.  ``credit_used`` is
        the sum of :func:`credit` over the session's keeps.
        """
        price = self.per_line * net_lines + self.memory_charge(memory_ratio)
        left = max(0.0, self.session_credit * noise_sd - credit_used)
        return max(price, -min(self.step_credit * noise_sd, left))


def credit(threshold: float) -> float:
    """Credit that keeping a candidate judged at ``threshold`` uses up."""
    return max(0.0, -threshold)


class Efficiency(Frozen):
    """Bounds on the probability that no rival of the same memory is better."""

    low: float
    high: float

    @property
    def efficient(self) -> bool:
        """Whether even the lower bound is at least one half."""
        return self.low >= EFFICIENT_PROBABILITY

    @property
    def status(self) -> str:
        """``EFFICIENT`` or ``DOMINATED``."""
        return EFFICIENT if self.efficient else DOMINATED


def efficiency(
    means: Sequence[float], sds: Sequence[float], memory: Sequence[float]
) -> tuple[Efficiency, ...]:
    """Judge every configuration against the rivals that need no more memory.

    Lower means are better; the true metrics are independent normals.  ``high``
    is the least pairwise probability (Frechet), ``low`` the product over the
    rivals (comparisons with one configuration are positively dependent:
    Slepian).  Raises :class:`ValueError` for sequences of unequal length.
    """
    import numpy as np  # slow to import; steps that only price candidates do without

    from ratchet.base.stats import ndtr

    mean, sd, size = (np.asarray(values, dtype=float) for values in (means, sds, memory))
    if not mean.shape == sd.shape == size.shape:
        raise ValueError("efficiency: means, sds and memory must have equal length")
    judged = []
    for index in range(mean.size):
        rivals = size <= (1 + MEMORY_TOLERANCE) * size[index]
        rivals[index] = False
        # Two exact equals (both sds 0) do not beat each other.
        gap = mean[rivals] - mean[index]
        spread = np.hypot(sd[rivals], sd[index])
        with np.errstate(divide="ignore", invalid="ignore"):
            not_worse = np.where(spread > 0, ndtr(gap / spread), gap >= 0)
        low, high = float(not_worse.prod()), float(not_worse.min(initial=1.0))
        judged.append(Efficiency(low=low, high=high))
    return tuple(judged)


class Configuration(Frozen):
    """Belief about one code: its true metric, lower being better, and its memory.

    ``mean`` and ``sd`` are a posterior in the metric's unit; ``memory`` is in
    any unit, ``None`` if it is unknown.
    """

    mean: float
    sd: float
    memory: float | None


def efficiency_bounds(
    candidate: Configuration, confidence: float, kept: Sequence[Configuration]
) -> Efficiency | None:
    """Bounds on P(no kept configuration of no more memory is better).

    ``kept`` are those before the candidate, the incumbent last; ``confidence``
    is P(candidate better than the incumbent), for which the judge has better
    reasons than two normal distributions.  An incumbent of unknown memory is
    taken for one that needs no more.  ``None`` if the candidate's memory is
    unknown or nothing was kept.
    """
    if candidate.memory is None or not kept:
        return None
    limit = (1 + MEMORY_TOLERANCE) * candidate.memory
    incumbent = kept[-1]
    reachable = incumbent.memory is None or incumbent.memory <= limit
    below = limit if incumbent.memory is None else min(limit, SMALLER * incumbent.memory)
    rivals = [(c.mean, c.sd, c.memory) for c in kept[:-1] if c.memory is not None]
    rivals = sorted(rival for rival in rivals if rival[2] <= below)[:MOST_RIVALS]
    bounds = efficiency(
        [candidate.mean, *(mean for mean, _, _ in rivals)],
        [candidate.sd, *(sd for _, sd, _ in rivals)],
        [candidate.memory, *(memory for _, _, memory in rivals)],
    )[0]
    if not reachable:
        return bounds
    return Efficiency(low=bounds.low * confidence, high=min(bounds.high, confidence))


class Ceiling(Frozen):
    """Most memory that a run should need; ``megabytes`` is ``None`` without one."""

    megabytes: float | None = None
    hard: bool = False

    def exceeded(self, memory_mb: float | None) -> bool:
        """Whether this memory is above the ceiling; unknown memory is not."""
        return self.megabytes is not None and memory_mb is not None and memory_mb > self.megabytes

    def refuses(self, memory_mb: float | None) -> bool:
        """Whether an experiment with this memory can never be kept."""
        return self.hard and self.exceeded(memory_mb)

    def surcharge(self, memory_mb: float, before_mb: float, per_log_excess: float) -> float:
        """Further gain that a change must bring whose memory grows above a soft ceiling.

        In the unit of ``per_log_excess``; ``before_mb`` is the incumbent's memory.
        """
        if self.hard or not self.exceeded(memory_mb) or min(memory_mb, before_mb) <= 0:
            return 0.0
        assert self.megabytes is not None
        growth = math.log(memory_mb / max(self.megabytes, before_mb))
        return per_log_excess * growth if growth > SURCHARGE_TOLERANCE else 0.0

    def reason(self, memory_mb: float | None) -> str:
        """Words for an experiment with this memory; empty if it is within the ceiling."""
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
        return price + self._excess(ratio) + 0.0  # no -0.0 in records

    def words(self, price: float, net_lines: int, ratio: float | None) -> str:
        """``needs 0.0012 for 20 more lines and 1.10x memory``; empty for a price of 0."""
        if price == 0:
            return ""
        causes = []
        if net_lines and self.prices.per_line:
            kind = "more" if net_lines > 0 else "fewer"
            causes.append(f"{plural(abs(net_lines), f'{kind} line')}")
        if self._memory(ratio):
            causes.append(f"{ratio:.2f}x memory")
        verb = "needs" if price > 0 else "may cost"
        return f"{verb} {abs(price):.2g} for {' and '.join(causes)}"

    def charged(self, net_lines: int, ratio: float | None) -> str:
        """What costs the candidate something: ``line``, ``memory``, both, or empty."""
        costs = {"line": self.prices.per_line * net_lines, "memory": self._memory(ratio)}
        return " and ".join(name for name, cost in costs.items() if cost > 0)

    def _memory(self, ratio: float | None) -> float:
        return self.prices.memory_charge(ratio) + self._excess(ratio)

    def _excess(self, ratio: float | None) -> float:
        """Surcharge for what grows above a soft ceiling."""
        if ratio is None or self.memory_mb is None:
            return 0.0
        here, per_log = self.memory_mb, self.prices.per_log_excess
        return self.ceiling.surcharge(ratio * here, here, per_log)
