"""Strength of a session's evidence: a stricter test, more seeds, the Pareto front."""

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean

from ratchet.report.inputs import Facts
from ratchet.steering.suggestions import ALPHA, POWER, detectable_gain

STRICT_LEVEL = 0.05
"""Chance of even one false survivor in a session where nothing improves."""

SEEDS = (1, 2, 3, 4, 6, 8, 10, 20)
"""Runs per side in the table of what more of them would buy."""

# Two-sided 95 % of a normal distribution.
NORMAL_95 = 1.959964


def holm_survivors(tried: Sequence[Facts], sign: int) -> set[int]:
    """Experiments whose measured delta passes Holm's test over all that were measured.

    One-sided z tests of delta over its sd, with a chance of at most
    :data:`STRICT_LEVEL` of a single false survivor among all; no model of usual
    effects enters.  ``sign`` is 1 where a lower metric is better.  Runs that were
    made because the first looked good are taken as any other: a little optimistic.
    """
    normal = NormalDist()
    tested = sorted(
        (1 - normal.cdf(-sign * e["delta"] / e["delta_sd"]), e["number"])
        for e in tried
        if e["delta"] is not None and e["delta_sd"]
    )
    passed = set()
    for place, (p, number) in enumerate(tested):
        if p > STRICT_LEVEL / (len(tested) - place):
            break
        passed.add(number)
    return passed


def strict_keeps(tried: Sequence[Facts], sign: int) -> Facts:
    """The test of :func:`holm_survivors`: ``survives`` of each experiment, and of the kept.

    Of an experiment without a measured delta it is ``None``.
    """
    passed = holm_survivors(tried, sign)
    for e in tried:
        e["survives"] = e["number"] in passed if e["delta_sd"] else None
    kept = [e["number"] for e in tried if e["status"] == "keep"]
    survivors = [number for number in kept if number in passed]
    return {
        "survive": len(survivors),
        "kept": len(kept),
        "numbers": survivors,
        "level": STRICT_LEVEL,
        "tested": sum(e["delta"] is not None and bool(e["delta_sd"]) for e in tried),
    }


def more_seeds(noise_sd: float | None, run_seconds: float | None, tried: Sequence[Facts]) -> Facts:
    """Gains that comparisons with more runs per side would show, and their cost.

    ``effect`` is the smallest improvement that is shown with probability ``power``
    at the one-sided level ``alpha``, ``half_width`` half of the 95 % interval of a
    difference, both in the metric's unit and for the noise floor as it is believed.
    ``below`` counts the kept changes whose believed gain is smaller than what their
    own number of runs shows.
    """
    if not noise_sd:
        return {"rows": [], "alpha": ALPHA, "power": POWER, "below": None}
    rows = [
        {
            "seeds": count,
            "effect": detectable_gain(noise_sd, count),
            "noise_sds": detectable_gain(1.0, count),
            "half_width": NORMAL_95 * noise_sd * math.sqrt(2 / count),
            "seconds": None if run_seconds is None else count * run_seconds,
        }
        for count in SEEDS
    ]
    kept = [e for e in tried if e["status"] == "keep" and e["gain"] is not None and e["n"]]
    below = sum(e["gain"] < detectable_gain(noise_sd, e["n"]) for e in kept)
    return {"rows": rows, "alpha": ALPHA, "power": POWER, "below": below}


def front_facts(tried: Sequence[Facts], baseline: Facts, sign: int) -> Facts:
    """The Pareto front of measured means, and what dominates every other point.

    ``points`` are the baseline (number 0) and every experiment with metric and
    memory; ``by`` names the point of the front that dominates one, ``None`` on the
    front.  ``sign`` is 1 where a lower metric is better.  Means are taken as they
    were measured: a single lucky run can lie on the front.
    """
    points = [
        {"number": e["number"], "metric": e["mean"], "memory_mb": e["memory_mb"],
         "status": e["status"]}
        for e in tried
        if e["mean"] is not None and e["memory_mb"] is not None
    ]  # fmt: skip
    memory = [run["memory_mb"] for run in baseline["runs"] if run["memory_mb"] is not None]
    if baseline["mean"] is not None and memory:
        start = {"metric": baseline["mean"], "memory_mb": fmean(memory)}
        points.insert(0, {"number": 0, **start, "status": "baseline"})
    best: list[Facts] = []
    for point in sorted(points, key=lambda p: (p["memory_mb"], sign * p["metric"], p["number"])):
        if not best or sign * point["metric"] < sign * best[-1]["metric"]:
            best.append(point)
    on_front = {point["number"] for point in best}
    return {
        "front": [point["number"] for point in best],
        "points": [
            {**p, "by": None if p["number"] in on_front else _dominator(p, best, sign)}
            for p in points
        ],
    }


def _dominator(point: Facts, best: Sequence[Facts], sign: int) -> int:
    """The best point of the front that needs no more memory."""
    fitting = [p for p in best if p["memory_mb"] <= point["memory_mb"]]
    return int(min(fitting, key=lambda p: (sign * p["metric"], p["number"]))["number"])
