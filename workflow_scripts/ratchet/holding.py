"""Whether a kept change holds, by fresh runs of it and of its incumbent."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from ratchet.audit import CREDIBLE, OVERTURNED
from ratchet.codec import replace
from ratchet.confirmation import compare
from ratchet.judge import Judge, Settings, scale_from
from ratchet.reruns import LEVEL, Held, Standing

SPAN_SDS = 4.0
"""Half-width of the noise grid, in sds of what other runs leave open about ln s."""

LEAST_SPAN, MOST_SPAN = 0.05, 2.4
"""In ln: as for a stated noise floor, and as without any."""


def pooled(groups: Iterable[Sequence[float]]) -> tuple[float | None, int]:
    """Sd within groups of runs of one code each, and its degrees of freedom."""
    used = [np.asarray(g, dtype=float) for g in groups if len(g) > 1]
    freedom = sum(g.size - 1 for g in used)
    if not freedom:
        return None, 0
    squares = math.fsum(float(((g - g.mean()) ** 2).sum()) for g in used)
    return math.sqrt(squares / freedom), freedom


def judged(
    held: Held,
    parent: Sequence[float],
    child: Sequence[float],
    others: Sequence[Sequence[float]] = (),
) -> Held:
    """Judge a change by fresh runs of both sides, lower is better, as many of each.

    ``others`` are runs of other codes on the same machine: together they tell the
    noise floor, which few runs of two codes hardly do.  The judge meets the change as
    it meets any proposal, with its usual belief about what proposals do; that the log
    kept it counts for nothing.
    """
    found = compare(parent, child, LEVEL)
    judge = Judge(_settings(parent, others))
    for value in parent:
        judge.incumbent(value)
    assessment = judge.assess(list(child))
    better = assessment.confidence
    standing = Standing.UNDECIDED
    if better >= CREDIBLE:
        standing = Standing.HOLDS
    elif better < OVERTURNED:
        standing = Standing.FAILS
    return replace(
        held,
        standing=standing,
        gain=found.gain,
        low=found.low,
        high=found.high,
        better=better,
        expected=assessment.gain,
        noise_sd=assessment.noise_sd,
    )


def _settings(parent: Sequence[float], others: Sequence[Sequence[float]]) -> Settings:
    """The judge's settings, around the noise floor of the other codes' runs."""
    sd, freedom = pooled(others)
    size = max((abs(value) for value in parent), default=0.0)
    if sd is None or sd <= 1e-12 * size:
        return Settings.for_session(scale=scale_from(parent))
    # As many values with this sd: what the judge's own guess of a scale is made for.
    places = np.arange(freedom + 1, dtype=float)
    values = float(np.mean(parent)) + sd * (places - places.mean()) / places.std(ddof=1)
    open_by = 1 / math.sqrt(2 * freedom)
    span = min(max(SPAN_SDS * open_by, LEAST_SPAN), MOST_SPAN)
    settings = Settings.for_session(scale=scale_from(values.tolist()))
    return replace(settings, noise_span=span, noise_prior_sd=open_by)
