"""What mattered in a session: the line of kept changes, and the constants that were set.

The line of codes says what was built on what, and what each kept change is worth.  Where
enough settings of constants were measured, slices show the metric against one constant, and
parallel coordinates the settings as a whole.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import partial
from math import ceil, log
from statistics import median
from typing import Any, NamedTuple

from ratchet.base.colours import LIGHT
from ratchet.base.text import finite_number, one_line_label, shorten
from ratchet.records.history import History
from ratchet.report.figure_style import (
    FigureTable,
    Frame,
    Range,
    Row,
    Spec,
    base_spec,
    class_encodings,
    haloed_words,
    mark_layer,
    robust_range,
    tick_axis,
    value_axis,
)
from ratchet.report.inputs import Facts, SessionRecords

AXES = 7
"""Constants that parallel coordinates show beside the metric, and whose values facts have."""

POINTS = 100
"""Settings of each kind, kept and not, that a slice shows: the last kept ones, and evenly
chosen ones of the others."""

LINES = 120
"""Settings that parallel coordinates show."""

SLICES = 4
"""Constants, the leading ones, of which a slice is drawn."""

VALUE_LIMIT = 40


def parents(history: History) -> dict[int, int]:
    """Number of the code that each trial was built on, 0 for the unchanged one."""
    kept = [history.start, *history.kept]
    found = {}
    for trial in history.trials:
        before = [t.number for t in kept if t.number < trial.number]
        same = [
            t.number
            for t in kept
            if t.number < trial.number and t.proposal.source == trial.proposal.parent
        ]
        found[trial.number] = (same or before)[-1]
    return found


def lineage_facts(history: History) -> list[Facts]:
    """Codes from the baseline to the incumbent, with what was tried on each and not kept."""
    on = parents(history)
    return [
        {
            "number": code.number,
            "tried": [
                t.number for t in history.trials if on[t.number] == code.number and not t.kept
            ],
            "origin": one_line_label(code.proposal.origin, 80) or None,
        }
        for code in (history.start, *history.kept)
    ]


def constant_facts(records: SessionRecords) -> Facts | None:
    """Constants by importance, and their measured settings; ``None`` with too few of these."""
    found = records.landscape
    if found is None:
        return None
    from ratchet.proposers.landscape import BEST_PART, RESAMPLES  # and with it the session

    rows = [
        {
            "name": one_line_label(each.name, 60),
            "importance": each.importance,
            "low": each.low,
            "high": each.high,
            "way": each.way,
            "choices": each.choices,
            "log": each.log,
            "perhaps_chance": not each.clear,
            "best": [_written(value) for value in each.best],
            "now": _written(each.now),
        }
        for each in found.constants
    ]
    shown = sorted(found.constants, key=lambda each: not each.clear)[:AXES]
    sign = records.direction.sign
    return {
        "points": found.points,
        "failed": found.failed,
        "resamples": RESAMPLES,
        "best_part": BEST_PART,
        "rows": rows,
        "axes": [one_line_label(each.name, 60) for each in shown],
        "settings": [
            {
                "number": each.number,
                "value": None if each.value is None else sign * each.value,
                "at": [
                    _written(each.point[of.name])
                    if of.choices
                    else finite_number(each.point[of.name])
                    for of in shown
                ],
            }
            for each in found.measured
        ],
    }


def _written(value: Any) -> str:
    return one_line_label(str(value), VALUE_LIMIT)


class _Constants:
    """Constants and settings of a report, by place among those whose values are known."""

    def __init__(self, facts: Facts) -> None:
        self.facts, found = facts, facts["constants"]
        by_name = {row["name"]: row for row in found["rows"]}
        self.rows = [by_name[name] for name in found["axes"]]
        self.best_part = found["best_part"]
        self.settings = [
            each for each in found["settings"] if None not in (each["value"], *each["at"])
        ]
        self.status = {e["number"]: e["status"] for e in facts["experiments"]}
        self.best = (facts["best"] or {}).get("number")

    def levels(self, place: int) -> list[str]:
        """Values of a choice in order; of a number none."""
        if not self.rows[place]["choices"]:
            return []
        return sorted({each["at"][place] for each in self.settings})

    def position(self, setting: Facts, place: int) -> float:
        """Place of a setting on the axis of a constant: its number, or that of its choice."""
        value = setting["at"][place]
        return self.levels(place).index(value) if self.rows[place]["choices"] else float(value)

    def logarithmic(self, place: int) -> bool:
        """Whether the axis of a constant is logarithmic."""
        return self.rows[place]["log"] and all(each["at"][place] > 0 for each in self.settings)


TICKS = 6
"""Values of a constant that are named on its axis one by one."""

SLICE_CLASSES = (
    ("tried", "circle", "discard", 34),
    ("further up", "triangle-up", "discard", 50),
    ("further down", "triangle-down", "discard", 50),
    ("kept", "circle", "keep", 70),
    ("incumbent", "diamond", "champion", 110),
)
SLICE = Frame(width=390, height=190, left=66, right=16, top=30, bottom=46)


def slice_figure(facts: Facts, frame: Frame, place: int) -> Spec | None:
    """The metric against one of the leading constants; ``None`` without so many."""
    if not facts.get("constants"):
        return None
    found = _Constants(facts)
    if place >= min(SLICES, len(found.rows)) or not found.settings:
        return None
    values = [each["value"] for each in found.settings]
    kept = [each["value"] for each in found.settings if _class(each, found) != "tried"]
    y = robust_range(values, [*kept, median(values)])
    tried = [each for each in found.settings if _class(each, found) == "tried"]
    some = [*tried[:: ceil(len(tried) / POINTS) or 1]]
    some += [each for each in found.settings if _class(each, found) != "tried"][-POINTS:]
    rows = [_slice_row(each, place, found, y) for each in some]
    order = [name for name, *_ in SLICE_CLASSES]
    rows.sort(key=lambda row: order.index(row["class"]))
    scales = {
        "x": _constant_axis(found, place, rows, frame),
        "y": value_axis("y", y, _metric(facts)),
    }
    point = {**scales, **class_encodings(SLICE_CLASSES, rows, frame, 14)}
    layers = [
        _noise_band(facts, scales, y),
        mark_layer(rows, {"type": "point", "filled": True, "opacity": 1}, point),
    ]
    layers = [each for each in layers if each["data"]["values"]]
    return {**base_spec(frame), "usermeta": {"zoom": False}, "layer": layers}


def _metric(facts: Facts) -> str:
    """Title of the axis of a figure that is not high."""
    metric = facts["metric"]
    return f"{shorten(metric['name'], 14)}, {metric['better']} is better"


def _class(setting: Facts, found: _Constants) -> str:
    if setting["number"] == found.best:
        return "incumbent"
    return "kept" if found.status.get(setting["number"]) == "keep" else "tried"


def _slice_row(setting: Facts, place: int, found: _Constants, y: Range) -> Row:
    kind, value = _class(setting, found), setting["value"]
    if not y.low <= value <= y.high:
        kind = "further up" if value > y.high else "further down"
        value = y.edge(top=value > y.high)
    name = found.rows[place]["name"]
    tip = f"{name} = {setting['at'][place]}"
    if not setting["number"]:
        tip = f"baseline\n{tip}"
    return {
        "number": setting["number"] or None,
        "x": found.position(setting, place),
        "y": value,
        "class": kind,
        "tip": tip,
    }


def _constant_axis(found: _Constants, place: int, rows: Sequence[Row], frame: Frame) -> Spec:
    """Horizontal axis of a constant; choices stand at whole numbers."""
    title, levels = shorten(found.rows[place]["name"], 40), found.levels(place)
    low, high = min(row["x"] for row in rows), max(row["x"] for row in rows)
    if levels:
        scale: Spec = {"domain": [-0.6, len(levels) - 0.4]}
        named = ", ".join(shorten(level, 12) for level in levels)
        axis = {
            "title": shorten(f"{title}: {named}", frame.width // 7),
            "labels": False,
            "values": [*range(len(levels))],
        }
    elif found.logarithmic(place):
        scale = {"type": "log", "domain": [low / 1.15, high * 1.15]}
        axis = {
            **tick_axis(title, low, high),
            "tickCount": 4,
            "format": "~g" if high < 1e4 else "~s",
        }
    else:
        pad = (high - low) * 0.06 or abs(low) / 10 or 0.5
        scale = {"domain": [low - pad, high + pad]}
        axis = {**tick_axis(title, low, high), "tickCount": 5, "format": "~g"}
    seen = sorted({row["x"] for row in rows})
    if not levels and len(seen) <= TICKS:
        # A size that is doubled is read by its values.
        apart = log if found.logarithmic(place) else float
        width = apart(high) - apart(low)
        if all(apart(b) - apart(a) >= width / TICKS for a, b in itertools.pairwise(seen)):
            axis["values"] = seen
    scale = {**scale, "nice": False, "zero": False}
    return {"field": "x", "type": "quantitative", "scale": scale, "axis": {**axis, "grid": False}}


def _noise_band(facts: Facts, scales: Spec, y: Range) -> Spec:
    """The judge's estimate of the incumbent ± 1 noise sd, over all values of the constant."""
    sd, held = facts["noise"]["sd"], facts["best"]
    values: list[Row] = []
    if sd is not None and held is not None and held["estimate"] is not None:
        low, high = max(y.low, held["estimate"] - sd), min(y.high, held["estimate"] + sd)
        domain = scales["x"]["scale"]["domain"]
        if low < high:
            values = [{"x": domain[0], "x2": domain[1], "y": low, "y2": high}]
    mark = {"type": "rect", "color": LIGHT["champion"], "opacity": 0.14}
    return mark_layer(values, mark, {**scales, "x2": {"field": "x2"}, "y2": {"field": "y2"}})


PARALLEL_CLASSES = (
    ("others", "discard", (1.0, 0.45)),
    ("best third", "keep", (1.4, 0.8)),
    ("incumbent", "champion", (3.0, 1.0)),
)
"""Name, colour, and width and opacity of the lines, in drawing order."""

PARALLEL_WIDE = Frame(width=880, height=260, left=60, right=66, top=66, bottom=26, labels=AXES)
PARALLEL_NARROW = Frame(width=262, height=240, left=46, right=48, top=66, bottom=26, labels=2)


def parallel_figure(facts: Facts, frame: Frame) -> Spec | None:
    """Settings as lines over the axes of constants, the metric last; ``None`` with less than two.

    Every axis goes from the smallest to the largest value, that of the metric from worse to
    better.
    """
    if not facts.get("constants"):
        return None
    found = _Constants(facts)
    count = min(frame.labels, len(found.rows))
    if count < 2 or not found.settings:
        return None
    axes = [*_shares(found, count)]
    lines = [*_lines(found, axes)]
    places = {"domain": [0, count], "nice": False, "zero": False}
    x = {"field": "x", "type": "quantitative", "scale": places, "axis": None}
    y = {
        "field": "y",
        "type": "quantitative",
        "scale": {"domain": [0, 1], "nice": False, "zero": False},
        "axis": None,
    }
    colours = {name: LIGHT[role] for name, role, _ in PARALLEL_CLASSES}
    legend = {
        "title": None, "orient": "none", "legendX": 0, "legendY": -60, "direction": "horizontal",
        "symbolType": "stroke", "symbolStrokeWidth": 2, "symbolOpacity": 1, "columnPadding": 14,
    }  # fmt: skip
    colour = {
        "field": "class",
        "type": "nominal",
        "scale": {"domain": [*colours], "range": [*colours.values()]},
        "legend": legend,
    }
    rules = [{"x": place, "y": 0.0, "y2": 1.0} for place in range(count + 1)]
    detail = {"field": "number", "type": "nominal"}
    layers = [
        *(
            mark_layer(
                [row for row in lines if row["class"] == name],
                {"type": "line", "opacity": opacity, "strokeWidth": width, "strokeJoin": "round"},
                {"x": x, "y": y, "color": colour, "detail": detail},
            )
            for name, _, (width, opacity) in PARALLEL_CLASSES
        ),
        mark_layer(
            rules,
            {"type": "rule", "color": LIGHT["muted"], "strokeWidth": 1},
            {"x": x, "y": y, "y2": {"field": "y2"}},
        ),
        *_axis_words(axes, frame, {"x": x, "y": y}),
    ]
    layers = [each for each in layers if each["data"]["values"]]
    return {**base_spec(frame), "usermeta": {"zoom": False}, "layer": layers}


class _Axis(NamedTuple):
    """An axis: places of the settings from 0 to 1, and what stands at its ends."""

    name: str
    shares: list[float]
    low: str
    high: str


def _shares(found: _Constants, count: int) -> Iterator[_Axis]:
    """Name, places from 0 to 1 and words for both ends of each axis, that of the metric last."""
    for place in range(count):
        levels = found.levels(place)
        values = [found.position(each, place) for each in found.settings]
        low, high = min(values), max(values)
        if found.logarithmic(place):
            shares = [_log_share(value, low, high) for value in values]
        else:
            shares = [(value - low) / (high - low) if high > low else 0.5 for value in values]
        ends = (levels[0], levels[-1]) if levels else (f"{low:.4g}", f"{high:.4g}")
        yield _Axis(found.rows[place]["name"], shares, *ends)
    metrics = [each["value"] for each in found.settings]
    seen = robust_range(metrics, [median(metrics)])
    low, high = max(min(metrics), seen.low), min(max(metrics), seen.high)
    inside = [min(max(value, low), high) for value in metrics]
    shares = [(value - low) / (high - low) if high > low else 0.5 for value in inside]
    name, ends = found.facts["metric"]["name"], (f"{low:.4g}", f"{high:.4g}")
    if found.facts["metric"]["direction"] == "minimize":
        shares, ends = [1 - share for share in shares], (ends[1], ends[0])
    yield _Axis(name, shares, *ends)


def _log_share(value: float, low: float, high: float) -> float:
    return log(value / low) / log(high / low) if high > low else 0.5


def _lines(found: _Constants, axes: Sequence[_Axis]) -> Iterator[Row]:
    """Points of the lines with their class."""
    last = axes[-1].shares
    ordered = sorted(range(len(last)), key=lambda i: -last[i])
    best = set(ordered[: ceil(found.best_part * len(last))])
    number = found.best
    # Of many lines, evenly chosen ones by rank: more would hide each other.
    shown = ordered[:: ceil(len(ordered) / LINES)]
    shown += [i for i in ordered if _is(found, i, number) and i not in shown]
    for i in shown:
        setting = found.settings[i]
        kind = "incumbent" if _is(found, i, number) else "best third" if i in best else "others"
        words = [
            f"{row['name']} = {value}" for row, value in zip(found.rows, setting["at"], strict=True)
        ]
        tip = "\n".join(words if setting["number"] else ["baseline", *words])
        for place, axis in enumerate(axes):
            at = {"number": setting["number"], "x": place, "y": round(axis.shares[i], 3)}
            # The tip of a line is its first point's.
            yield {**at, "class": kind, **({} if place else {"tip": tip})}


def _is(found: _Constants, i: int, number: int | None) -> bool:
    return bool(found.settings[i]["number"] == number)


def _axis_words(
    axes: Sequence[_Axis],
    frame: Frame,
    scales: Spec,
) -> list[Spec]:
    """Names above the axes, in turn on two lines, and their ends."""
    room = int(1.9 * frame.width / (len(axes) - 1) / (0.55 * frame.font))
    words = {"type": "text", "fontSize": frame.font - 1}
    names = [
        {"x": place, "y": 1.0, "text": shorten(axis.name, room), "line": place % 2}
        for place, axis in enumerate(axes)
    ]
    layers: list[Spec] = []
    text = {**scales, "text": {"field": "text", "type": "nominal"}}
    for line in (0, 1):
        some = [row for row in names if row["line"] == line]
        layers.append(
            mark_layer(some, {**words, "dy": -34 + 14 * line, "color": LIGHT["ink"]}, text)
        )
    for end, dy, share in (("high", -8, 1.0), ("low", 12, 0.0)):
        rows = [
            {"x": place, "y": share, "text": shorten(getattr(axis, end), 12)}
            for place, axis in enumerate(axes)
        ]
        layers += haloed_words(rows, {**words, "dy": dy}, text, "muted")
    return layers


FIGURES: FigureTable = {
    **{f"slice_{place}": (partial(slice_figure, place=place), SLICE) for place in range(SLICES)},
    "parallel": (parallel_figure, PARALLEL_WIDE, PARALLEL_NARROW),
}
