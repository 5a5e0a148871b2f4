"""Figures as Vega-Lite specifications: plain dictionaries made from the facts.

Pure, and testable without drawing.  Text that came from candidates enters as
data, never as an expression.  All positions are fixed (no automatic sizing),
so that a label can be known to fit before it is drawn.
"""

from __future__ import annotations

import math
from typing import Any

from ratchet.report import tips
from ratchet.report.frames import (
    CHARACTER_WIDTH,
    Frame,
    Row,
    Spec,
    base,
    layer,
    shortened,
    ticks,
    title,
)
from ratchet.report.inputs import Facts
from ratchet.report.palette import LIGHT
from ratchet.report.scales import Anchor, Range, integer_ticks, place_labels, robust_range

CROSS = (
    "M-1,-0.68L-0.68,-1L0,-0.32L0.68,-1L1,-0.68L0.32,0"
    "L1,0.68L0.68,1L0,0.32L-0.68,1L-1,0.68L-0.32,0Z"
)
# Name, shape, colour and area (None: depends on their number), in drawing order.
CLASSES = (
    ("discarded", "circle", "discard", None),
    ("no result", CROSS, "crash", 60),
    ("off the scale, higher", "triangle-up", "discard", 60),
    ("off the scale, lower", "triangle-down", "discard", 60),
    ("baseline run", "square", "baseline", 42),
    ("kept", "circle", "keep", 76),
    ("baseline, fresh seeds", "cross", "baseline", 110),
    ("champion, fresh seeds", "diamond", "champion", 130),
)
LABEL_ANGLE = 30
LABEL_CHARACTERS = 28

WIDE = Frame(width=940, height=360, top=36)
NARROW = Frame(width=292, height=280, left=60, right=8, top=84, labels=4, legend_columns=2)
SHARED = Frame(width=706, height=300, right=24, top=104, bottom=46, legend_columns=4, title=True)


def progress(facts: Facts, frame: Frame = WIDE) -> Spec:
    """Every experiment, what was believed of the incumbent, and what was confirmed."""
    view = _View(facts, frame)
    layers = [_noise_band(view), *_best(view), *_incumbent(view), *_confirmed_bars(view)]
    layers += [_points(view)]
    layers += _clipped_values(view) + _kept_labels(view)
    return {
        **base(frame),
        **({"title": title(facts)} if frame.title else {}),
        "layer": [each for each in layers if each["data"]["values"]],
    }


class _View:
    """What the layers of one progress figure share."""

    def __init__(self, facts: Facts, frame: Frame) -> None:
        self.facts, self.frame = facts, frame
        self.tried = [e for e in facts["experiments"] if e["verdict"] is not None]
        self.last = max((e["number"] for e in self.tried), default=0)
        found = facts["confirmation"] or {}
        sides = (("baseline", "baseline, fresh seeds"), ("challenger", "champion, fresh seeds"))
        self.confirmed = [(name, found[side]) for side, name in sides if found and found[side]["n"]]
        gap = max(0.6, 0.035 * self.last)
        self.confirmed_at = self.last + gap
        self.x = (-gap / 2, self.last + (2 * gap if self.confirmed else gap / 2))
        self.y = self._range()
        self.worse_is_up = facts["metric"]["direction"] == "minimize"
        self.scales = {
            "x": {"domain": list(self.x), "nice": False, "zero": False},
            "y": {"domain": [self.y.low, self.y.high], "nice": False, "zero": False},
        }

    def _range(self) -> Range:
        facts = self.facts
        essential = list(facts["baseline"]["values"])
        essential += [e["mean"] for e in self.tried if e["status"] == "keep"]
        for held in facts["incumbents"]:
            sd = held["sd"] or 0.0
            essential += [held["mean"] - sd, held["mean"] + sd]
        essential += [side["mean"] for _, side in self.confirmed]
        others = [e["mean"] for e in self.tried if e["status"] == "discard"]
        return robust_range(
            [v for v in others if v is not None], [v for v in essential if v is not None]
        )

    def pixel(self, x: float, y: float) -> tuple[float, float]:
        """Position within the plot, y downwards."""
        share = (y - self.y.low) / (self.y.high - self.y.low)
        return (
            (x - self.x[0]) / (self.x[1] - self.x[0]) * self.frame.width,
            (1 - share) * self.frame.height,
        )

    def xy(self, x: str = "x", y: str = "y") -> Spec:
        """Encodings of a layer's position, the axes included."""
        metric = self.facts["metric"]
        unit = f" ({metric['unit']})" if metric["unit"] else ""
        name = shortened(f"{metric['name']}{unit}", 36)
        most = max(3, self.frame.width // 60)
        return {
            "x": {
                "field": x,
                "type": "quantitative",
                "scale": self.scales["x"],
                "axis": {
                    "title": "experiment",
                    "values": integer_ticks(self.last, most),
                    "grid": False,
                    "format": ",d",
                },
            },
            "y": {
                "field": y,
                "type": "quantitative",
                "scale": self.scales["y"],
                "axis": ticks(f"{name}, {metric['better']} is better", self.y.low, self.y.high),
            },
        }


def _noise_band(view: _View) -> Spec:
    mean, sd = view.facts["baseline"]["mean"], view.facts["noise"]["sd"]
    values = []
    if mean is not None and sd is not None:
        low, high = max(mean - sd, view.y.low), min(mean + sd, view.y.high)
        values = [{"x": view.x[0], "x2": view.x[1], "y": low, "y2": high}] if low < high else []
    encoding = {**view.xy(), "x2": {"field": "x2"}, "y2": {"field": "y2"}}
    return layer(values, {"type": "rect", "color": LIGHT["baseline"], "opacity": 0.13}, encoding)


def _incumbent(view: _View) -> list[Spec]:
    line = [
        {"x": held["from"], "y": held["mean"], "sd": held["sd"] or 0.0}
        for held in view.facts["incumbents"]
    ]
    if line:
        line.append({**line[-1], "x": max(view.last, line[-1]["x"])})
    band = [{"x": p["x"], "y": p["y"] - p["sd"], "y2": p["y"] + p["sd"]} for p in line]
    step = {"interpolate": "step-after", "color": LIGHT["keep"]}
    encoding = {**view.xy(), "y2": {"field": "y2"}}
    return [
        layer(band, {"type": "area", "opacity": 0.18, **step}, encoding),
        layer(line, {"type": "line", "strokeWidth": 1.8, **step}, view.xy()),
    ]


def _best(view: _View) -> list[Spec]:
    """The best kept measurement so far: what a naive log would call progress."""
    mean, up = view.facts["baseline"]["mean"], view.worse_is_up
    line = [{"x": 0, "y": mean}] if mean is not None else []
    for e in view.tried:
        if e["status"] != "keep" or e["mean"] is None:
            continue
        if not line or (e["mean"] < line[-1]["y"]) == up:
            line.append({"x": e["number"], "y": e["mean"]})
    if len(line) < 2:
        return []
    line.append({"x": view.last, "y": line[-1]["y"]})
    drawn = {"type": "line", "interpolate": "step-after", "color": LIGHT["muted"]}
    side = {"baseline": "top", "dy": 5} if up else {"baseline": "bottom", "dy": -5}
    words = {"type": "text", "align": "right", "fontSize": view.frame.font - 1, **side}
    named = [{**line[-1], "text": "best kept so far: selected, optimistic"}]
    return [
        layer(line, {**drawn, "strokeWidth": 1.2, "strokeDash": [2, 3]}, view.xy()),
        layer(
            named,
            {**words, "color": LIGHT["muted"]},
            {**view.xy(), "text": {"field": "text", "type": "nominal"}},
        ),
    ]


def _confirmed_bars(view: _View) -> list[Spec]:
    bars = [
        {"x": view.confirmed_at, "y": side["mean"] - side["sd"], "y2": side["mean"] + side["sd"]}
        for _, side in view.confirmed
        if side["sd"] is not None
    ]
    bars = [
        {**bar, "y": max(bar["y"], view.y.low), "y2": min(bar["y2"], view.y.high)} for bar in bars
    ]
    edge = [{"x": view.confirmed_at - (view.confirmed_at - view.last) / 2}]
    separator = {"type": "rule", "color": LIGHT["line"], "strokeDash": [3, 3]}
    return [
        layer(edge if view.confirmed else [], separator, {"x": view.xy()["x"]}),
        layer(
            bars,
            {"type": "rule", "color": LIGHT["muted"], "strokeWidth": 1.5},
            {**view.xy(), "y2": {"field": "y2"}},
        ),
    ]


def points(view: _View) -> list[Row]:
    """Every point with its class and, where it does not fit the axis, at the edge."""
    facts = view.facts

    def plain(x: float, y: float, name: str) -> Row:
        return {"x": x, "y": y, "class": name, "tip": tips.of_value(name, y, facts)}

    rows = [plain(0, value, "baseline run") for value in facts["baseline"]["values"]]
    for e in view.tried:
        about = {"number": e["number"], "tip": ""}
        rows.append({"x": e["number"], "value": e["mean"], **_position(e, view), **about})
    rows += [plain(view.confirmed_at, side["mean"], name) for name, side in view.confirmed]
    order = {name: i for i, (name, *_) in enumerate(CLASSES)}
    return sorted(rows, key=lambda row: order[row["class"]])


def _position(e: Facts, view: _View) -> Row:
    if e["mean"] is None or e["status"] == "crash":
        return {"y": view.y.edge(top=view.worse_is_up), "class": "no result"}
    if not view.y.holds(e["mean"]):
        high = e["mean"] > view.y.low + (view.y.high - view.y.low) / 2
        name = "off the scale, higher" if high else "off the scale, lower"
        return {"y": view.y.edge(top=high), "class": name}
    return {"y": e["mean"], "class": "kept" if e["status"] == "keep" else "discarded"}


def _points(view: _View) -> Spec:
    rows = points(view)
    present = {row["class"] for row in rows}
    # So that a thousand points do not merge into one.
    plain = 42 if view.last <= 60 else 26 if view.last <= 300 else 12
    shown = [name for name, *_ in CLASSES if name in present]
    columns = view.frame.legend_columns
    lines = math.ceil(len(shown) / columns)
    legend = {
        "title": None,
        "orient": "none",
        "legendX": 0,
        "legendY": -8 - 15 * lines,
        "direction": "horizontal",
        "columns": columns,
        "values": shown,
        "columnPadding": 24 if view.frame.width > 400 else 12,
        "rowPadding": 2,
    }

    def scaled(ranges: list[Any]) -> Spec:
        scale = {"domain": [name for name, *_ in CLASSES], "range": ranges}
        return {"field": "class", "type": "nominal", "scale": scale, "legend": legend}

    encoding = {
        **view.xy(),
        "shape": scaled([shape for _, shape, _, _ in CLASSES]),
        "color": scaled([LIGHT[role] for _, _, role, _ in CLASSES]),
        "size": scaled([size or plain for *_, size in CLASSES]),
    }
    return layer(rows, {"type": "point", "filled": True, "opacity": 1}, encoding)


def _clipped_values(view: _View) -> list[Spec]:
    """The values of points off the scale, while there are few of them."""
    rows = [row for row in points(view) if row["class"].startswith("off")]
    rows = (
        [{**row, "text": f"{row['value']:.4g}".replace("-", "−")} for row in rows]
        if len(rows) <= 5
        else []
    )
    mark = {"type": "text", "align": "right", "dx": -7, "fontSize": view.frame.font - 2}
    encoding = {**view.xy(), "text": {"field": "text", "type": "nominal"}}
    return [layer(rows, {**mark, "color": LIGHT["muted"]}, encoding)]


def _kept_labels(view: _View) -> list[Spec]:
    """Slanted descriptions of the kept, on the side where the worse ones are."""
    size = view.frame.font - 1
    per_character = size * CHARACTER_WIDTH
    rows: list[Row] = []
    anchors: list[Anchor] = []
    for e in view.tried:
        if e["status"] != "keep" or e["mean"] is None:
            continue
        x, y = view.pixel(e["number"], e["mean"])
        text = shortened(e["description"] or f"#{e['number']}", LABEL_CHARACTERS)
        text = shortened(text, int(_room(view, x, y) / per_character))
        if len(text) >= 6:
            rows.append({"x": e["number"], "y": e["mean"], "text": text})
            anchors.append(Anchor(x, y, len(text) * per_character + 14, e["gain"] or 0.0))
    angle = -LABEL_ANGLE if view.worse_is_up else LABEL_ANGLE
    chosen = place_labels(anchors, angle, size * 1.25, view.frame.labels)
    rows = [rows[i] for i in chosen]
    mark = {"type": "text", "align": "left", "baseline": "middle", "angle": angle % 360, "dx": 8}
    mark |= {"fontSize": size}
    halo = {"stroke": LIGHT["surface"], "strokeWidth": 3, "strokeJoin": "round"}
    encoding = {**view.xy(), "text": {"field": "text", "type": "nominal"}}
    return [
        layer(rows, {**mark, **halo, "color": LIGHT["surface"]}, encoding),
        layer(rows, {**mark, "color": LIGHT["keep"]}, encoding),
    ]


def _room(view: _View, x: float, y: float) -> float:
    """Pixels that a slanted label can run before it leaves the picture."""
    frame, slant = view.frame, math.radians(LABEL_ANGLE)
    right = (frame.width + frame.right - x) / math.cos(slant)
    beyond = y if view.worse_is_up else frame.height - y
    return max(0.0, min(right, beyond / math.sin(slant)) - 16)
