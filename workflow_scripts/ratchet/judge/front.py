"""Where a candidate stands among the configurations that a session has kept."""

from __future__ import annotations

from collections.abc import Sequence

from ratchet.codec import Frozen
from ratchet.judge.pareto import MEMORY_TOLERANCE, Efficiency, efficiency

SMALLER = 0.995
"""A configuration below this share of the incumbent's memory is a rival of its
own; another one has lost to the incumbent already."""

MOST_RIVALS = 20
"""Rivals that count, the best ones: ``low`` is a product over all of them, and
many that are surely worse would bring it down together."""

EFFICIENT, DOMINATED = "EFFICIENT", "DOMINATED"


class Configuration(Frozen):
    """What is known of one code: its true metric, lower being better, and memory.

    ``mean`` and ``sd`` are a posterior in the metric's unit; ``memory`` is in
    any unit, ``None`` if it is unknown.
    """

    mean: float
    sd: float
    memory: float | None


def standing(
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


def status(found: Efficiency | None) -> str | None:
    """The word for it; ``None`` where nothing is known."""
    if found is None:
        return None
    return EFFICIENT if found.efficient else DOMINATED
