"""What all figures have in common: size, axes, font, layers."""

from __future__ import annotations

from typing import Any

from ratchet.codec import Frozen
from ratchet.report.inputs import Facts
from ratchet.report.palette import LIGHT

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


def base(frame: Frame) -> Spec:
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


def shortened(text: str, limit: int) -> str:
    """The text, or its beginning with an ellipsis."""
    return text if len(text) <= limit else f"{text[: limit - 1].rstrip()}…"


def ticks(title: str, low: float, high: float) -> Spec:
    """An axis of numbers; those that would not fit beside it in powers of ten."""
    axis: Spec = {"title": title, "tickCount": 6}
    return {**axis, "format": "~e"} if max(abs(low), abs(high)) >= LARGE else axis


def layer(values: list[Row], mark: Spec, encoding: Spec) -> Spec:
    """One mark over its own data."""
    return {"data": {"values": values}, "mark": mark, "encoding": encoding}


def title(facts: Facts) -> Spec:
    """Session, task and answer above a picture that stands alone."""
    counts, totals = facts["counts"], facts["totals"]
    numbers = (
        f"{counts['kept']:,} of {counts['judged']:,} experiments kept, {totals['runs']:,} runs"
    )
    return {
        "text": shortened(f"{facts['session']} · {facts['task']}", 80),
        "subtitle": shortened(f"{facts['answer']['headline']}; {numbers}", 116),
        "anchor": "start",
        "frame": "group",
        "offset": 14,
        "fontSize": 18,
        "color": LIGHT["ink"],
        "subtitleColor": LIGHT["muted"],
        "subtitleFontSize": 13,
        "subtitlePadding": 5,
    }
