"""Curves of a session's runs: a candidate's training loss over that of what it was built on.

Curves are compared at equal steps and at equal seconds: a change may learn more from each
step and take longer for it.  The facts have a short curve of every run; the page draws those
of one experiment when its details are opened, and a small picture of them stands there for
readers without scripts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from ratchet.base.colours import LIGHT
from ratchet.base.text import shorten
from ratchet.records.records import Outcome
from ratchet.records.series import CurvePoint
from ratchet.report.figure_style import (
    MARGIN,
    FigureTable,
    Frame,
    Row,
    Spec,
    base_spec,
    mark_layer,
    tick_axis,
)
from ratchet.report.inputs import Facts, SessionRecords

POINTS = 8_000
"""Points of all curves of a page together: some 150 KB."""

LARGEST = 250
"""Experiments whose curves a page has at most."""

FEWEST, MOST = 12, 64
"""Points of one curve, by how many curves there are."""

BEGINNING = 0.2
"""Part of a run in which its loss falls so fast that an axis that shows it shows little else."""

DECADE = 10.0
"""Losses whose largest is more than so many times the smallest have a logarithmic axis."""

HUGE = 1e100
"""Losses from here on are as good as infinite: their sums would be."""


def curve_facts(records: SessionRecords) -> Facts:
    """A short curve of each run that printed losses, by the run's key.

    ``step``, ``loss`` and ``seconds`` are columns; ``seconds`` is ``None`` where the times are
    not known.  ``ended`` says how a run ended that did not end well: ``diverged`` where its
    last loss was no number, or the outcome.
    """
    history = records.history
    runs = [*history.baseline.runs, *(run for t in history.trials for run in t.runs)]
    curves = {run.key: records.curves.get(run.key) for run in runs}
    known = {key: points for key, points in curves.items() if points}
    most = min(MOST, max(FEWEST, POINTS // max(1, len(known))))
    outcomes = {run.key: run.outcome for run in runs}
    found = {key: _columns(points, outcomes[key], most) for key, points in known.items()}
    return {key: columns for key, columns in found.items() if columns["step"]}


def _columns(points: Sequence[CurvePoint], outcome: Outcome, most: int) -> Facts:
    finite = [point for point in points if abs(point.loss) < HUGE]
    rows = _averaged(finite, most)
    timed = all(seconds is not None for _, _, seconds in rows)
    diverged = not abs(points[-1].loss) < HUGE
    ended = "diverged" if diverged else None if outcome is Outcome.OK else outcome.value
    return {
        "step": [step for step, _, _ in rows],
        "loss": [float(f"{loss:.5g}") for _, loss, _ in rows],
        "seconds": [float(f"{seconds:.4g}") for _, _, seconds in rows] if timed else None,
        "ended": ended,
    }


def _averaged(points: Sequence[CurvePoint], most: int) -> list[tuple[int, float, float | None]]:
    """Step, mean loss and seconds of at most so many stretches; the first point is its own.

    A loss is that of one batch and moves up and down: one of many would be chosen by chance.
    """
    first, rest = points[:1], points[1:]
    count = min(len(rest), most - 1)
    ends = [round((i + 1) * len(rest) / count) for i in range(count)]
    stretches = [first] if first else []
    stretches += [rest[a:b] for a, b in zip([0, *ends], ends, strict=False)]
    return [
        (some[-1].step, math.fsum(p.loss for p in some) / len(some), some[-1].seconds)
        for some in stretches
    ]


class _Curve:
    """A run's curve with its name, and whether it is the candidate's."""

    def __init__(self, key: str, columns: Facts, name: str, label: str) -> None:
        self.key, self.columns, self.name, self.label = key, columns, name, label

    def points(self, over: str) -> list[tuple[float, float]]:
        """Places on the horizontal axis, ``step`` or ``seconds``, and losses."""
        at = self.columns[over]
        return [] if at is None else [*zip(at, self.columns["loss"], strict=True)]


def _curves(facts: Facts, e: Facts | None, label: str = "") -> list[_Curve]:
    """Curves of the runs of an experiment, or of the baseline."""
    runs, name = (e["runs"], f"#{e['number']}") if e else (facts["baseline"]["runs"], "baseline")
    known = facts["curves"]
    return [_Curve(r["key"], known[r["key"]], name, label) for r in runs if r["key"] in known]


def _axis(curves: Sequence[_Curve]) -> tuple[float, float, bool]:
    """Ends of the axis of losses and whether it is logarithmic.

    All losses after the beginning of their run fit; those before may lie above.
    """
    pool: list[float] = []
    for curve in curves:
        points = curve.points("step")
        begin = points[0][0] + BEGINNING * (points[-1][0] - points[0][0])
        pool += [loss for step, loss in points if step >= begin]
    low, high = min(pool), max(pool)
    if low > 0 and high / low > DECADE:
        return low / 1.1, high * 1.1, True
    pad = (high - low) * MARGIN or abs(low) / 100 or 0.5
    return low - pad, high + pad, False


def experiment_curves(facts: Facts, drawn: Sequence[Facts]) -> dict[str, Any]:
    """What the page's script draws the curves of these experiments from.

    ``runs`` has the curves, and ``steps`` those that many of them share; ``of`` by number of an
    experiment the places of its ``own`` runs among them and of those it is compared ``with``,
    their name, and the axis of losses.
    """
    found: dict[str, Any] = {}
    places: dict[str, int] = {}
    steps: dict[tuple[int, ...], int] = {}
    runs: list[Facts] = []
    tried = {e["number"]: e for e in facts["experiments"]}

    def placed(curves: Iterable[_Curve]) -> list[int]:
        for curve in curves:
            if curve.key not in places:
                places[curve.key] = len(runs)
                at = steps.setdefault(tuple(curve.columns["step"]), len(steps))
                runs.append({**curve.columns, "step": at})
        return [places[curve.key] for curve in curves]

    for e in _chosen(drawn) if facts.get("curves") else ():
        own = _curves(facts, e)
        other = _curves(facts, tried.get(e["parent"]))
        if own:
            low, high, log = _axis([*own, *other])
            found[str(e["number"])] = {
                "own": placed(own),
                "with": placed(other),
                "name": other[0].name if other else "",
                "axis": [float(f"{low:.6g}"), float(f"{high:.6g}"), int(log)],
            }
    return {"runs": runs, "steps": [*steps], "of": found} if found else {}


def _chosen(drawn: Sequence[Facts]) -> list[Facts]:
    """Experiments whose curves a page has: of many the kept ones and the last."""
    ordered = sorted(drawn, key=lambda e: (e["status"] == "keep", e["number"]))
    return sorted(ordered[-LARGEST:], key=lambda e: int(e["number"]))


PANEL = Frame(width=340, height=190, left=52, right=12, top=10, bottom=46)
TITLES = {"step": "step", "seconds": "seconds since the start"}


def curve_panel(over: str) -> Spec:
    """The figure over ``step`` or ``seconds`` that the script fills with an experiment's curves."""
    # One row of each kind, so that the figure can be compiled; the script replaces them.
    line = {"x": 0.0, "y": 1.0, "side": "this experiment", "run": "r", "tip": "t"}
    end = {"x": 0.0, "y": 1.0, "end": "e", "tip": "t"}
    sides = {"compared with": "discard", "this experiment": "keep"}
    layers = _line_layers([line], [end], sides, TITLES[over], (0.0, 1.0), (0.0, 1.0, False))
    return {**_still(PANEL), "layer": layers}


def _still(frame: Frame) -> Spec:
    """A figure of a row of small ones: it has no buttons of its own."""
    return {**base_spec(frame), "usermeta": {"zoom": False}}


def _line_layers(
    rows: list[Row],
    ends: list[Row],
    sides: Mapping[str, str],
    title: str,
    over: tuple[float, float],
    axis: tuple[float, float, bool],
    legend: Spec | None = None,
) -> list[Spec]:
    """A line for each run, coloured by its side, and crosses where runs did not end well."""
    low, high, log = axis
    scale: Spec = {"domain": [low, high], "nice": False, "zero": False}
    if log:
        scale = {**scale, "type": "log"}
    x = {
        "field": "x",
        "type": "quantitative",
        "scale": {"domain": list(over), "nice": False, "zero": False},
        "axis": {**tick_axis(title, *over), "grid": False},
    }
    y = {
        "field": "y",
        "type": "quantitative",
        "scale": scale,
        "axis": {**tick_axis("training loss", low, high), "tickCount": 5},
    }
    colours = {"domain": [*sides], "range": [LIGHT[role] for role in sides.values()]}
    colour = {"field": "side", "type": "nominal", "scale": colours, "legend": legend}
    lines = {"x": x, "y": y, "color": colour}
    if "run" in rows[0]:
        lines["detail"] = {"field": "run", "type": "nominal"}
    cross = {"type": "point", "shape": "cross", "angle": 45, "size": 70, "filled": True}
    return [
        mark_layer(rows, {"type": "line", "strokeWidth": 1.6, "clip": True}, lines),
        mark_layer(ends, {**cross, "color": LIGHT["crash"], "opacity": 1}, {"x": x, "y": y}),
    ]


OVERVIEW = Frame(width=390, height=240, left=56, right=12, top=98)
SHOWN = 3
"""Kept changes between baseline and champion that are drawn: their lines lie close together."""

# By place: baseline, kept changes, champion.
BETWEEN = ("keep", "ink", "discard")


def _overview(facts: Facts) -> list[_Curve]:
    """One curve each of the baseline, of the kept changes that gained most, and of the best."""
    best = (facts["best"] or {}).get("number") or 0
    kept = [e for e in facts["experiments"] if e["status"] == "keep" and e["number"] != best]
    kept = [e for e in kept if _curves(facts, e)]
    most = sorted(kept, key=lambda e: (-(e["gain"] or 0.0), e["number"]))[:SHOWN]
    found = _curves(facts, None, "baseline")[:1]
    for e in sorted(most, key=lambda e: e["number"]):
        found += _curves(facts, e, _label(e))[:1]
    last = next((e for e in facts["experiments"] if e["number"] == best), None)
    return found + (_curves(facts, last, f"best: {_label(last)}")[:1] if last else [])


def _label(e: Facts) -> str:
    return shorten(f"#{e['number']} {e['description'] or ''}".rstrip(), 44)


def overview_figure(facts: Facts, frame: Frame, over: str) -> Spec | None:
    """First runs of baseline, kept changes and best code on one axis; ``None`` without two."""
    if not facts.get("curves"):
        return None
    curves = [curve for curve in _overview(facts) if curve.points(over)]
    if len(curves) < 2:
        return None
    roles = ["baseline", *BETWEEN[: len(curves) - 2], "champion"]
    sides = {curve.label: role for curve, role in zip(curves, roles, strict=True)}
    if len(sides) < len(curves):
        return None
    rows: list[Row] = []
    ends: list[Row] = []
    for curve in curves:
        points = curve.points(over)
        tip = f"{curve.label}\n{points[-1][1]:.4g} at the end"
        rows += [{"x": x, "y": y, "side": curve.label} for x, y in points]
        rows[-len(points)]["tip"] = tip  # that of a line is its first point's
        if curve.columns["ended"]:
            ends.append(
                {"x": points[-1][0], "y": points[-1][1], "tip": f"{tip}, {curve.columns['ended']}"}
            )
    last = max(row["x"] for row in rows)
    legend = {
        "title": None,
        "orient": "none",
        "legendX": -40,
        "legendY": -12 - 15 * len(curves),
        "symbolType": "stroke",
        "symbolStrokeWidth": 2,
        "rowPadding": 2,
        "labelLimit": 280,
    }
    layers = _line_layers(rows, ends, sides, TITLES[over], (0.0, last), _axis(curves), legend)
    return {**_still(frame), "layer": [each for each in layers if each["data"]["values"]]}


FIGURES: FigureTable = {
    f"curves_{over}": (partial(overview_figure, over=over), OVERVIEW) for over in TITLES
}

SMALL = (220, 64)
"""Width and height of the picture of an experiment's curves for readers without scripts."""

SMALL_POINTS = 32


def small_picture(shown: Mapping[str, Any], number: int) -> list[tuple[str, str]]:
    """Role and points of each line of the small picture, at equal steps, the candidate's last."""
    found = shown.get("of", {}).get(str(number))
    if found is None:
        return []
    low, high, log = found["axis"]
    scaled = math.log if log else float
    low, high = scaled(low), scaled(high)
    runs = [("discard", place) for place in found["with"][:1]]
    runs += [("keep", place) for place in found["own"][:1]]
    curves = [(role, shown["runs"][place]) for role, place in runs]
    known = [(role, shown["steps"][one["step"]], one["loss"]) for role, one in curves]
    last = max(steps[-1] for _, steps, _ in known) or 1
    lines = []
    for role, steps, losses in known:
        pairs = [*zip(steps, losses, strict=True)]
        places = {round(i * (len(pairs) - 1) / (SMALL_POINTS - 1)) for i in range(SMALL_POINTS)}
        points = []
        for step, loss in (pairs[place] for place in sorted(places)):
            share = (scaled(max(loss, found["axis"][0])) - low) / (high - low)
            down = (1 - min(1.0, max(0.0, share))) * SMALL[1]
            points.append(f"{step / last * SMALL[0]:.0f},{down:.0f}")
        lines.append((role, " ".join(points)))
    return lines
