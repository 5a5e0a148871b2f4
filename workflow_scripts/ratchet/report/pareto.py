"""The Pareto plot: metric against memory, the front and what it dominates named."""

from __future__ import annotations

import math

from ratchet.report import tips
from ratchet.report.frames import CHARACTER_WIDTH, Frame, Row, Spec, base, layer, shortened, ticks
from ratchet.report.inputs import Facts
from ratchet.report.palette import LIGHT
from ratchet.report.scales import Anchor, Range, place_labels, robust_range
from ratchet.report.text import number

WIDE = Frame(width=900, height=320, top=40, right=40, labels=12)
NARROW = Frame(width=276, height=260, left=60, right=20, top=64, labels=5, legend_columns=2)
# Name, shape, colour and area, in drawing order.
CLASSES = (
    ("not kept", "circle", "discard", 34),
    ("kept, dominated", "square", "keep", 60),
    ("baseline, dominated", "triangle-up", "baseline", 80),
    ("on the front", "diamond", "champion", 110),
)
LABEL_CHARACTERS = 24


def pareto(facts: Facts, frame: Frame = WIDE) -> Spec | None:
    """Every measured configuration; ``None`` when memory was not measured of two."""
    found = facts["front"]["points"]
    if len(found) < 2:
        return None
    shown = [p for p in found if p["by"] is None or p["status"] in ("keep", "baseline")]
    x = _range([p["memory_mb"] for p in found], [p["memory_mb"] for p in shown])
    y = _range([p["metric"] for p in found], [p["metric"] for p in shown])
    rows = _rows(facts, x, y)
    scales = _axes(facts, x, y)
    columns = frame.legend_columns
    lines = math.ceil(len({row["class"] for row in rows}) / columns)
    point = {**scales, **_looks(rows, columns, -8 - 15 * lines)}
    names = _names(facts, rows, frame, x, y)
    layers = [
        layer(_steps(facts), _LINE, scales),
        layer(rows, {"type": "point", "filled": True, "opacity": 1}, point),
    ]
    halo = {"stroke": LIGHT["surface"], "strokeWidth": 3, "strokeJoin": "round"}
    words = {**scales, "text": {"field": "text", "type": "nominal"}}
    for align, dx in (("left", 7), ("right", -7)):
        text = {"type": "text", "align": align, "baseline": "bottom", "dx": dx, "dy": -4}
        text |= {"fontSize": frame.font - 1}
        some = [row for row in names if row["align"] == align]
        layers.append(layer(some, {**text, **halo, "color": LIGHT["surface"]}, words))
        layers.append(layer(some, {**text, "color": LIGHT["ink"]}, words))
    return {**base(frame), "layer": [each for each in layers if each["data"]["values"]]}


_LINE = {"type": "line", "color": LIGHT["champion"], "strokeWidth": 1.4, "strokeDash": [4, 3]}


def _range(values: list[float], essential: list[float]) -> Range:
    return robust_range(values, essential)


def _name(number_: int, facts: Facts) -> str:
    if number_ == 0:
        return "baseline"
    found = next(e for e in facts["experiments"] if e["number"] == number_)
    return f"#{number_} {found['description'] or ''}".rstrip()


def _rows(facts: Facts, x: Range, y: Range) -> list[Row]:
    """Every point that fits the axes, those of the front last."""
    order = {name: i for i, (name, *_) in enumerate(CLASSES)}
    rows = []
    for p in facts["front"]["points"]:
        if not (x.low <= p["memory_mb"] <= x.high and y.low <= p["metric"] <= y.high):
            continue
        lines = [] if p["number"] else [tips.of_value("baseline", p["metric"], facts)]
        lines.append(f"memory {number(p['memory_mb'], 1)} MB")
        if p["by"] is not None:
            lines.append(f"dominated by {shortened(_name(p['by'], facts), 40)}")
        rows.append(
            {"number": p["number"] or None, "x": p["memory_mb"], "y": p["metric"],
             "class": _class(p), "tip": "\n".join(lines)}
        )  # fmt: skip
    return sorted(rows, key=lambda row: order[row["class"]])


def _class(point: Facts) -> str:
    if point["by"] is None:
        return "on the front"
    named = {"keep": "kept, dominated", "baseline": "baseline, dominated"}
    return named.get(str(point["status"]), "not kept")


def _steps(facts: Facts) -> list[Row]:
    """The front as stairs: with so much memory nothing better was measured."""
    known = {p["number"]: p for p in facts["front"]["points"]}
    rows: list[Row] = []
    for place, number_ in enumerate(facts["front"]["front"]):
        point = known[number_]
        if rows:
            rows.append({"x": point["memory_mb"], "y": rows[-1]["y"], "order": 2 * place - 1})
        rows.append({"x": point["memory_mb"], "y": point["metric"], "order": 2 * place})
    return rows if len(rows) > 1 else []


def _axes(facts: Facts, x: Range, y: Range) -> Spec:
    metric = facts["metric"]
    unit = f" ({metric['unit']})" if metric["unit"] else ""
    name = shortened(f"{metric['name']}{unit}", 36)

    def axis(field: str, over: Range, title: str) -> Spec:
        scale = {"domain": [over.low, over.high], "nice": False, "zero": False}
        return {
            "field": field,
            "type": "quantitative",
            "scale": scale,
            "axis": ticks(title, over.low, over.high),
        }

    return {
        "x": axis("x", x, "memory (MB), left is better"),
        "y": axis("y", y, f"{name}, {metric['better']} is better"),
    }


def _looks(rows: list[Row], columns: int, top: int) -> Spec:
    present = {row["class"] for row in rows}
    legend = {
        "title": None, "orient": "none", "legendX": 0, "legendY": top, "direction": "horizontal",
        "columns": columns, "columnPadding": 20, "rowPadding": 2,
        "values": [name for name, *_ in CLASSES if name in present],
    }  # fmt: skip
    domain = [name for name, *_ in CLASSES]

    def scaled(values: list[object]) -> Spec:
        scale = {"domain": domain, "range": values}
        return {"field": "class", "type": "nominal", "scale": scale, "legend": legend}

    return {
        "shape": scaled([shape for _, shape, *_ in CLASSES]),
        "color": scaled([LIGHT[role] for _, _, role, _ in CLASSES]),
        "size": scaled([size for *_, size in CLASSES]),
    }


def _names(facts: Facts, rows: list[Row], frame: Frame, x: Range, y: Range) -> list[Row]:
    """Names of the front and of what it dominates among the kept, where there is room."""
    per_character = (frame.font - 1) * CHARACTER_WIDTH
    named, anchors = [], []
    for row in rows:
        if row["class"] == "not kept":
            continue
        left = (row["x"] - x.low) / (x.high - x.low) * frame.width
        down = (1 - (row["y"] - y.low) / (y.high - y.low)) * frame.height
        name = shortened(_name(row["number"] or 0, facts), LABEL_CHARACTERS)
        length = len(name) * per_character + 10
        # Where there is no room to the right of a point its name stands to the left.
        beyond = left + length > frame.width + frame.right - 10
        align = "right" if beyond and left > length else "left"
        named.append({"x": row["x"], "y": row["y"], "text": name, "align": align})
        weight = 2.0 if row["class"] == "on the front" else 1.0
        anchors.append(Anchor(left - (length if align == "right" else 0), down, length, weight))
    chosen = place_labels(anchors, 0, (frame.font - 1) * 1.3, frame.labels)
    return [named[i] for i in chosen]
