"""Metric against memory: which measured configurations nothing beats in both."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from ratchet.report.inputs import Facts


def front(tried: Sequence[Facts], baseline: Facts, sign: int) -> Facts:
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
