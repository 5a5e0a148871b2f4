"""Strength of a session's evidence: a stricter test, more seeds, the Pareto front,
and whether its confirmation agrees with its search."""

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from statistics import NormalDist, fmean

from ratchet.base.structs import replace
from ratchet.judge.judge import Assessment, Judge
from ratchet.judge.settings import Settings
from ratchet.logs.judging import LEAST_SPAN
from ratchet.logs.rerun import pooled_sd
from ratchet.records.history import History, SeedEffect, evidence
from ratchet.records.records import Ruling, RunSummary, incumbent_runs
from ratchet.report.inputs import Facts
from ratchet.steering.suggestions import ALPHA, POWER, detectable_gain
from ratchet.steps.judge import ALARM_SDS

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
    steps = [point["memory_mb"] for point in best]
    return {
        "front": [point["number"] for point in best],
        "points": [
            {**p, "by": None if p["number"] in on_front else _dominator(p, best, steps)}
            for p in points
        ],
    }


def disagreement(history: History, sign: int, settings: Settings) -> Facts | None:
    """How a confirmation disagrees with its search; ``None`` where it does not.

    ``sides`` are the baseline (its runs at the start and at the end) and the champion
    (what the judge believed of it, free of its luck, and its runs at the end), if they
    differ by more than :data:`ALARM_SDS` sds with the noise floor at the upper end of
    its 90 % interval.  In simulated sessions where nothing changed 0 to 5 in 100 have such
    a side; where machine or data moved by five noise sds, 25 to 68, and where one run of
    the baseline made the judge believe in a tenth of the noise, 65 to 100.
    ``noise_sd`` is the sd within all runs of equal code, and ``verdicts`` are those that
    the judge would have given otherwise, had it known it.
    """
    found = history.confirmation
    if found is None or not found.champion or history.seed_effect is SeedEffect.NONE:
        return None
    # Where all runs of the search repeated each other, the scale that the judge assumed.
    floors = (v.noise_high for v in reversed(history.verdicts) if v.noise_high)
    noise = next(floors, settings.noise_center)
    held = history.state.incumbent
    before, after = _values(history.baseline.runs), _values(found.baseline_runs)
    sides = [("baseline", before, noise / math.sqrt(len(before)), after)]
    if held.number == found.champion:
        sides.append(("champion", [held.mean], held.sd, _values(found.champion_runs)))
    differing = [
        {"code": code, "before": fmean(first), "after": fmean(last), "z": z}
        for code, first, sd, last in sides
        if first and last
        for z in [(fmean(last) - fmean(first)) / math.hypot(sd, noise / math.sqrt(len(last)))]
        if abs(z) > ALARM_SDS
    ]
    if not differing:
        return None
    noise_sd, _ = pooled_sd(history.replicates.values())
    changed = []
    if noise_sd:
        other = replace(settings, noise_center=noise_sd, noise_span=LEAST_SPAN)
        was, now = (rejudged(history, sign, each) for each in (settings, other))
        changed = [
            {"number": n, "was": trial.word, "now": now[n].verdict.value}
            for trial in history.judged
            for n in [trial.number]
            if n in now and was[n].verdict is trial.verdict is not now[n].verdict
        ]
    return {"sides": differing, "noise_sd": noise_sd, "verdicts": changed}


def rejudged(history: History, sign: int, settings: Settings) -> dict[int, Assessment]:
    """Assessments of all measured trials, by number, under other settings of the judge.

    It is fed the session's runs and decisions as they were; no run is asked for.
    """
    judge, found = Judge(settings), {}
    for value in evidence(_values(history.baseline.runs)):
        judge.incumbent(sign * value)
    for verdict in history.verdicts:
        for value in _values(incumbent_runs(verdict)):
            judge.incumbent(sign * value)
        for ruling in verdict.rulings:
            if ruling.mean is not None:
                assessment = _assess(judge, ruling, sign)
                found[ruling.number] = assessment.without_retest(settings)
        for ruling in sorted(verdict.rulings, key=lambda r: r.number == verdict.kept):
            if ruling.mean is None:
                judge.crash()
            else:
                _assess(judge, ruling, sign)
                judge.commit(keep=ruling.number == verdict.kept)
    return found


def _assess(judge: Judge, ruling: Ruling, sign: int) -> Assessment:
    values = [sign * value for value in evidence(_values(ruling.runs))]
    return judge.assess(values, ruling.price or 0.0, others_tested=ruling.candidate)


def _values(runs: Iterable[RunSummary]) -> list[float]:
    return [run.value for run in runs if run.value is not None]


def _dominator(point: Facts, best: Sequence[Facts], steps: Sequence[float]) -> int:
    """The best point of the front that needs no more memory: the last one, as each is better."""
    return int(best[bisect_right(steps, point["memory_mb"]) - 1]["number"])
