"""Interval plots: a line for each change, with its interval, point and words on both sides.

Rows go from top to bottom, values to the right.  A row has a ``label`` at the left, a
``value`` with ``low`` and ``high``, the ``kind`` that says how its point looks, the place
of an upright ``mark`` (or ``None``), P(better) at the ``right``, and a ``tip``.  Rows of
one ``group`` share a line.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ratchet.base.colours import LIGHT
from ratchet.base.structs import Frozen, replace
from ratchet.base.text import format_percent, shorten
from ratchet.report.figure_style import (
    Frame,
    Range,
    Row,
    Spec,
    base_spec,
    fitted,
    haloed_words,
    mark_layer,
    robust_range,
    tick_axis,
)
from ratchet.report.inputs import Facts

LINE_HEIGHT, STACKED_HEIGHT = 22, 40
"""Pixels of a row, and of one whose label stands above its line."""

MOST_ROWS = 40

NEAR_MISSES = 12
"""Changes that were not kept, beside the kept ones: enough to see the boundary."""

WIDE = Frame(width=640, height=0, left=300, right=80, top=26, bottom=48)
NARROW = Frame(width=276, height=0, left=10, right=74, top=26, bottom=48)

LOOKS = {
    "kept": ("circle", LIGHT["keep"]),
    "discarded": ("square", LIGHT["discard"]),
    "log": ("circle", LIGHT["baseline"]),
    "holds": ("diamond", LIGHT["keep"]),
    "does not hold": ("cross", LIGHT["crash"]),
    "undecided": ("square", LIGHT["discard"]),
    "then": ("triangle-up", LIGHT["discard"]),
}
"""Shape and colour of a point by its kind."""

BEYOND = {"further left": "triangle-left", "further right": "triangle-right"}
"""Shapes of points beyond the axis."""


class Axis(Frozen):
    """Horizontal axis: titles for wide and narrow frames, limits, and where dashed rules stand."""

    title: str
    short: str
    range: Range
    rules: Sequence[float] = (0.0,)
    right: str = "P(better)"


def interval_row(
    kind: str,
    label: str,
    value: float,
    ends: tuple[float | None, float | None],
    right: str,
    tip: str,
    **more: Any,
) -> Row:
    """A row with its interval; the point itself where there is none."""
    low, high = (value if end is None else end for end in ends)
    row = {"label": label, "mark": None, **more, "value": value, "low": low, "high": high}
    return {**row, "kind": kind, "right": right, "tip": tip}


def interval_figure(rows: list[Row], axis: Axis, frame: Frame) -> Spec | None:
    """A figure of these rows, which it completes; ``None`` without any."""
    if not rows:
        return None
    over = axis.range
    keys = [row.get("group", f"row {place}") for place, row in enumerate(rows)]
    places = {key: line for line, key in enumerate(dict.fromkeys(keys))}
    room = frame.left - 14 if is_wide(frame) else frame.width
    for key, row in zip(keys, rows, strict=True):
        row["label"] = fitted(row["label"], room, frame.font - 1)
        row["from"], row["to"] = max(row["low"], over.low), min(row["high"], over.high)
        row["row"], row["shape"] = places[key], row["kind"]
        if not over.low <= row["value"] <= over.high:
            row["shape"] = "further right" if row["value"] > over.high else "further left"
    height = LINE_HEIGHT if is_wide(frame) else STACKED_HEIGHT
    sized = replace(frame, height=height * len(places))
    layers = _layers(rows, axis, sized, len(places))
    return {**base_spec(sized), "layer": [each for each in layers if each["data"]["values"]]}


def is_wide(frame: Frame) -> bool:
    """Whether labels stand beside their lines; in a narrow frame they stand above."""
    return frame.left > 100


def _layers(rows: list[Row], axis: Axis, frame: Frame, count: int) -> list[Spec]:
    over, wide = axis.range, is_wide(frame)
    ticks = tick_axis(axis.title if wide else axis.short, over.low, over.high)
    scale = {"domain": [over.low, over.high], "nice": False, "zero": False, "clamp": True}
    x = {
        "type": "quantitative",
        "scale": scale,
        "axis": ticks if wide else {**ticks, "tickCount": 3},
    }
    y = {"field": "row", "type": "ordinal", "axis": None, "scale": {"domain": list(range(count))}}
    looks = {row["kind"]: LOOKS[row["kind"]] for row in rows}
    shapes = {**{kind: shape for kind, (shape, _) in looks.items()}, **BEYOND}
    colour = _nominal("kind", {kind: colour for kind, (_, colour) in looks.items()})
    marks = [r for r in rows if r["mark"] is not None and over.low <= r["mark"] <= over.high]
    first = list({row["row"]: row for row in reversed(rows)}.values())[::-1]
    span = {"x": {**x, "field": "from"}, "x2": {"field": "to"}, "y": y}
    dashed = {"type": "rule", "color": LIGHT["muted"], "strokeDash": [3, 3]}
    joint = {"type": "rule", "strokeWidth": 1.2, "color": LIGHT["line"]}
    tick = {"type": "tick", "thickness": 2, "size": 13, "color": LIGHT["ink"]}
    point = {"type": "point", "filled": True, "size": 56, "opacity": 1}
    place = {"x": {**x, "field": "value"}, "y": y, "color": colour}
    return [
        mark_layer([{"at": at} for at in axis.rules], dashed, {"x": {**x, "field": "at"}}),
        mark_layer(
            [row for row in rows if "group" not in row],
            {"type": "rule", "strokeWidth": 1.6},
            {**span, "color": colour},
        ),
        mark_layer([row for row in first if "group" in row], joint, span),
        mark_layer(rows, point, {**place, "shape": _nominal("shape", shapes)}),
        mark_layer(marks, tick, {"x": {**x, "field": "mark"}, "y": y}),
        *_words(first, y, frame, axis.right),
    ]


def _nominal(field: str, looks: Mapping[str, str]) -> Spec:
    """A channel that shows each word of a field in its own way."""
    scale = {"domain": list(looks), "range": list(looks.values())}
    return {"field": field, "type": "nominal", "scale": scale, "legend": None}


def _words(rows: list[Row], y: Spec, frame: Frame, heading: str) -> list[Spec]:
    """Labels left of the lines, probabilities right of them, and their heading above."""
    ink = {"type": "text", "fontSize": frame.font - 1, "color": LIGHT["ink"]}
    after = {**ink, "align": "left", "dx": 10}
    edge = {"x": {"value": "width"}, "y": y}
    label = {"x": {"value": 0}, "y": y, "text": {"field": "label", "type": "nominal"}}
    side = {"align": "right", "dx": -10} if is_wide(frame) else {"align": "left", "dy": -17}
    named = [mark_layer(rows, {**ink, **side}, label)]
    return [
        # Where labels stand above the lines, the axis's rules run through them.
        *(named if is_wide(frame) else haloed_words(rows, {**ink, **side}, label, "ink")),
        mark_layer(rows, after, {**edge, "text": {"field": "right", "type": "nominal"}}),
        mark_layer(
            [{"text": heading}],
            {**after, "color": LIGHT["muted"]},
            {**edge, "y": {"value": -12}, "text": {"field": "text"}},
        ),
    ]


def forest_rows(facts: Facts) -> list[Row]:
    """Kept experiments and near misses with an interval, by number.

    A value is positive when the candidate measured better, whatever the metric's
    direction; the mark is the gain that the judge believes in.
    """
    sign = -1 if facts["metric"]["direction"] == "minimize" else 1
    able = [e for e in facts["experiments"] if e["delta"] is not None and e["delta_sd"] is not None]
    kept = [e for e in able if e["status"] == "keep"]
    kept = sorted(kept, key=lambda e: (-(e["gain"] or 0.0), e["number"]))[:MOST_ROWS]
    missed = [e for e in able if e["status"] == "discard"]
    missed = sorted(missed, key=lambda e: (-(e["confidence"] or 0.0), e["number"]))
    missed = missed[: min(NEAR_MISSES, MOST_ROWS - len(kept))]
    return [
        interval_row(
            "kept" if e["status"] == "keep" else "discarded",
            f"#{e['number']} {e['description'] or ''}",
            sign * e["delta"],
            (min(ends), max(ends)),
            format_percent(e["confidence"]),
            "",
            number=e["number"],
            mark=e["gain"],
        )
        for e in sorted(kept + missed, key=lambda e: e["number"])
        for ends in ((sign * e["delta_low"], sign * e["delta_high"]),)
    ]


def forest_figure(facts: Facts, frame: Frame = WIDE) -> Spec | None:
    """Improvements with 95 % intervals; ``None`` when there is nothing to show."""
    rows = forest_rows(facts)
    ends = [row[end] for row in rows for end in ("low", "high")]
    # The kept ones must be visible.
    essential = [0.0, *(row["value"] for row in rows if row["kind"] == "kept")]
    name = shorten(facts["metric"]["name"], 36)
    title = f"measured improvement of {name}, right is better"
    return interval_figure(rows, Axis(title, "improvement", robust_range(ends, essential)), frame)
