"""Colours, sizes, scales and axes that all figures share."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import quantiles
from typing import Any

from ratchet.base.colours import LIGHT
from ratchet.base.structs import Frozen
from ratchet.base.text import shorten
from ratchet.report.inputs import Facts

# Tukey's fence: further than this many interquartile ranges outside the
# quartiles a point says nothing that "far off" does not say as well.
FENCE = 1.5
MARGIN = 0.08


class Range(Frozen):
    """An axis from ``low`` to ``high`` with room at both ends for edge marks."""

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether a value can be drawn where it belongs."""
        margin = self.margin / 2
        return self.low + margin <= value <= self.high - margin

    @property
    def margin(self) -> float:
        """Height of the strip at either end."""
        return (self.high - self.low) * MARGIN

    def edge(self, *, top: bool) -> float:
        """Middle of the strip where values beyond the axis are marked."""
        return self.high - self.margin / 4 if top else self.low + self.margin / 4


def robust_range(values: Iterable[float], essential: Iterable[float]) -> Range:
    """An axis that shows all ``essential`` values and every other one that is not wild."""
    needed = list(essential)
    pool = sorted([*values, *needed])
    if not pool:
        return Range(0.0, 1.0)
    first, _, third = quantiles(pool, n=4, method="inclusive") if len(pool) > 1 else pool * 3
    reach = FENCE * (third - first)
    shown = [v for v in pool if first - reach <= v <= third + reach] + needed
    low, high = min(shown), max(shown)
    if low == high:
        half = abs(low) / 100 or 0.5
        low, high = low - half, high + half
    pad = (high - low) * MARGIN / (1 - 2 * MARGIN)
    return Range(low - pad, high + pad)


class Anchor(Frozen):
    """A point in pixels (y downwards) that would like a label of ``length`` pixels."""

    x: float
    y: float
    length: float
    weight: float


def place_labels(
    anchors: Sequence[Anchor], angle: float, line_height: float, most: int
) -> list[int]:
    """Indexes of the labels to draw: the weightiest that do not touch each other.

    Every label starts at its point and runs at ``angle`` degrees (negative is
    upwards); two of them touch when they are less than a line apart.
    """
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))

    def along(a: Anchor) -> float:
        return a.x * cos + a.y * sin

    def across(a: Anchor) -> float:
        return a.y * cos - a.x * sin

    chosen: list[int] = []
    order = sorted(range(len(anchors)), key=lambda i: (-anchors[i].weight, i))
    for i in order:
        new = anchors[i]
        clear = all(
            abs(across(new) - across(old)) >= line_height
            or along(new) > along(old) + old.length
            or along(old) > along(new) + new.length
            for old in (anchors[j] for j in chosen)
        )
        if clear and len(chosen) < most:
            chosen.append(i)
    return sorted(chosen)


Spec = dict[str, Any]
Row = dict[str, Any]
SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"

# Comes with the renderer, so pictures look alike on a machine without fonts.
FONT = "Liberation Sans, Arial, Helvetica, sans-serif"

# Average width of a character of the font, as a share of its size.
CHARACTER_WIDTH = 0.52

# From here on a number with its separators is broader than the room beside an axis.
LARGE = 1e6


class Frame(Frozen):
    """Size of a figure in pixels: the plot itself and the paddings around it."""

    width: int
    height: int
    left: int = 70
    right: int = 16
    top: int = 34
    bottom: int = 44
    font: int = 12
    labels: int = 14
    legend_columns: int = 8
    title: bool = False


FigureTable = Mapping[str, tuple[Callable[[Facts, Frame], Spec | None], Frame, Frame]]
"""Figures of a page, each with its frames for wide and for narrow windows."""


def base_spec(frame: Frame) -> Spec:
    """A specification without layers: fixed size, quiet axes."""
    axis = {
        "labelColor": LIGHT["muted"],
        "titleColor": LIGHT["muted"],
        "titlePadding": 10,
        "titleFontWeight": "normal",
        "domainColor": LIGHT["line"],
        "tickColor": LIGHT["line"],
        "gridColor": LIGHT["line"],
        "gridOpacity": 0.7,
        "labelFontSize": frame.font - 1,
        "titleFontSize": frame.font - 1,
    }
    return {
        "$schema": SCHEMA,
        "autosize": "none",
        "width": frame.width,
        "height": frame.height,
        "padding": {
            "left": frame.left,
            "right": frame.right,
            "top": frame.top,
            "bottom": frame.bottom,
        },
        "background": LIGHT["surface"],
        "config": {
            "aria": False,
            "font": FONT,
            "view": {"stroke": None},
            "axis": axis,
            "legend": {"labelColor": LIGHT["ink"], "labelFontSize": frame.font - 1},
        },
    }


def tick_axis(title: str, low: float, high: float) -> Spec:
    """An axis of numbers; those that would not fit beside it in powers of ten."""
    axis: Spec = {"title": title, "tickCount": 6}
    return {**axis, "format": "~e"} if max(abs(low), abs(high)) >= LARGE else axis


def value_axis(field: str, over: Range, title: str) -> Spec:
    """Position of a measured value on an axis of its own."""
    return {
        "field": field,
        "type": "quantitative",
        "scale": {"domain": [over.low, over.high], "nice": False, "zero": False},
        "axis": tick_axis(title, over.low, over.high),
    }


def metric_title(facts: Facts) -> str:
    """Title of an axis of the metric: name, unit and which way is better."""
    metric = facts["metric"]
    unit = f" ({metric['unit']})" if metric["unit"] else ""
    return f"{shorten(metric['name'] + unit, 36)}, {metric['better']} is better"


def class_encodings(
    classes: Sequence[Sequence[Any]], rows: Sequence[Row], columns: int, padding: int
) -> Spec:
    """Shape, colour and area of points by class (name and these), with one legend above."""
    names, shapes, roles, sizes = zip(*classes, strict=True)
    present = {row["class"] for row in rows}
    legend = {
        "title": None,
        "orient": "none",
        "legendX": 0,
        "legendY": -8 - 15 * math.ceil(len(present) / columns),
        "direction": "horizontal",
        "columns": columns,
        "values": [name for name in names if name in present],
        "columnPadding": padding,
        "rowPadding": 2,
    }
    ranges = {"shape": shapes, "color": [LIGHT[role] for role in roles], "size": sizes}
    return {
        channel: {
            "field": "class",
            "type": "nominal",
            "scale": {"domain": list(names), "range": list(values)},
            "legend": legend,
        }
        for channel, values in ranges.items()
    }


def haloed_words(rows: list[Row], mark: Spec, encoding: Spec, role: str) -> list[Spec]:
    """Words over points: a halo of the ground's colour below them."""
    halo = {"stroke": LIGHT["surface"], "strokeWidth": 3, "strokeJoin": "round"}
    return [
        mark_layer(rows, {**mark, **halo, "color": LIGHT["surface"]}, encoding),
        mark_layer(rows, {**mark, "color": LIGHT[role]}, encoding),
    ]


def mark_layer(values: list[Row], mark: Spec, encoding: Spec) -> Spec:
    """One mark over its own data."""
    return {"data": {"values": values}, "mark": mark, "encoding": encoding}


def figure_title(facts: Facts) -> Spec:
    """Session, task and answer above a picture that stands alone."""
    counts, totals = facts["counts"], facts["totals"]
    numbers = (
        f"{counts['kept']:,} of {counts['judged']:,} experiments kept, {totals['runs']:,} runs"
    )
    return {
        "text": shorten(f"{facts['session']} · {facts['task']}", 80),
        "subtitle": shorten(f"{facts['answer']['headline']}; {numbers}", 116),
        "anchor": "start",
        "frame": "group",
        "offset": 14,
        "fontSize": 18,
        "color": LIGHT["ink"],
        "subtitleColor": LIGHT["muted"],
        "subtitleFontSize": 13,
        "subtitlePadding": 5,
    }
