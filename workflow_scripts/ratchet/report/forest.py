"""The forest plot: each kept change against the incumbent it was compared with."""

from __future__ import annotations

from ratchet.codec import replace
from ratchet.report.frames import Frame, Row, Spec, base, layer, shortened, ticks
from ratchet.report.inputs import Facts
from ratchet.report.palette import LIGHT
from ratchet.report.scales import Range, robust_range
from ratchet.report.text import percent

ROW_HEIGHT = 20
MOST_ROWS = 40
# Rows that were not kept, beside the kept ones: enough to see the boundary.
NEAR_MISSES = 12
# Room per character, for browsers whose font is broader than the renderer's.
WIDEST = 0.6

WIDE = Frame(width=660, height=0, left=290, right=68, top=26, bottom=44)
NARROW = Frame(width=158, height=0, left=132, right=70, top=26, bottom=44)


def forest_rows(facts: Facts) -> list[Row]:
    """Kept experiments and near misses with an interval, by number.

    ``improvement`` is positive when the candidate measured better, whatever
    the metric's direction.
    """
    sign = -1 if facts["metric"]["direction"] == "minimize" else 1
    able = [e for e in facts["experiments"] if e["delta"] is not None and e["delta_sd"] is not None]
    kept = [e for e in able if e["status"] == "keep"]
    kept = sorted(kept, key=lambda e: (-(e["gain"] or 0.0), e["number"]))[:MOST_ROWS]
    missed = [e for e in able if e["status"] == "discard"]
    missed = sorted(missed, key=lambda e: (-(e["confidence"] or 0.0), e["number"]))
    missed = missed[: min(NEAR_MISSES, MOST_ROWS - len(kept))]
    rows = []
    for e in sorted(kept + missed, key=lambda e: e["number"]):
        low, high = sorted((sign * e["delta_low"], sign * e["delta_high"]))
        rows.append(
            {
                "number": e["number"],
                "label": f"#{e['number']} {e['description'] or ''}",
                "tip": "",
                "status": "kept" if e["status"] == "keep" else "discarded",
                "improvement": sign * e["delta"],
                "low": low,
                "high": high,
                "gain": e["gain"],
                "confidence": percent(e["confidence"]),
            }
        )
    return rows


def forest(facts: Facts, frame: Frame = WIDE) -> Spec | None:
    """Improvements with 95 % intervals; ``None`` when there is nothing to show."""
    rows = forest_rows(facts)
    if not rows:
        return None
    axis = robust_range([v for r in rows for v in (r["low"], r["high"])], [0.0, *_middles(rows)])
    characters = int((frame.left - 12) / (WIDEST * (frame.font - 1)))
    for i, row in enumerate(rows):
        row["row"] = i
        row["label"] = shortened(row["label"], characters)
        row["from"], row["to"] = max(row["low"], axis.low), min(row["high"], axis.high)
        row["shape"] = _shape(row, axis)
        row["tick"] = row["gain"] if row["gain"] is not None and axis.holds(row["gain"]) else None
    sized = replace(frame, height=ROW_HEIGHT * len(rows))
    return {**base(sized), "layer": _layers(rows, facts, sized, [axis.low, axis.high])}


def _shape(row: Row, axis: Range) -> str:
    if axis.holds(row["improvement"]):
        return str(row["status"])
    return "further right" if row["improvement"] > axis.high - axis.margin else "further left"


def _middles(rows: list[Row]) -> list[float]:
    """Points that must be visible: the kept ones."""
    return [r["improvement"] for r in rows if r["status"] == "kept"]


def _layers(rows: list[Row], facts: Facts, frame: Frame, domain: list[float]) -> list[Spec]:
    title = f"measured improvement of {shortened(facts['metric']['name'], 36)}, right is better"
    scale = {"domain": domain, "nice": False, "zero": False, "clamp": True}
    x = {"type": "quantitative", "scale": scale}
    x["axis"] = ticks(title if frame.width > 400 else "improvement", *domain)
    order = {"domain": list(range(len(rows)))}
    y = {"field": "row", "type": "ordinal", "axis": None, "scale": order}
    names = ["kept", "discarded"]
    colours = {"domain": names, "range": [LIGHT["keep"], LIGHT["discard"]]}
    colour = {"field": "status", "type": "nominal", "scale": colours, "legend": None}
    shapes = {
        "domain": [*names, "further left", "further right"],
        "range": ["circle", "square", "triangle-left", "triangle-right"],
    }
    shape = {"field": "shape", "type": "nominal", "scale": shapes, "legend": None}
    believed = [row for row in rows if row["tick"] is not None]
    span = {"x": {**x, "field": "from"}, "x2": {"field": "to"}}
    layers = [
        layer(
            [{"zero": 0}], {"type": "rule", "color": LIGHT["muted"]}, {"x": {**x, "field": "zero"}}
        ),
        layer(rows, {"type": "rule", "strokeWidth": 1.6}, {**span, "y": y, "color": colour}),
        layer(
            rows,
            {"type": "point", "filled": True, "size": 52, "opacity": 1},
            {"x": {**x, "field": "improvement"}, "y": y, "color": colour, "shape": shape},
        ),
        layer(
            believed,
            {"type": "tick", "thickness": 2, "size": 13, "color": LIGHT["ink"]},
            {"x": {**x, "field": "tick"}, "y": y},
        ),
        *_words(rows, y, frame),
    ]
    return [each for each in layers if each["data"]["values"]]


def _words(rows: list[Row], y: Spec, frame: Frame) -> list[Spec]:
    """What stands left and right of the rows."""
    text = {"type": "text", "fontSize": frame.font - 1, "color": LIGHT["ink"]}
    return [
        layer(
            rows,
            {**text, "align": "right", "dx": -10},
            {"x": {"value": 0}, "y": y, "text": {"field": "label", "type": "nominal"}},
        ),
        layer(
            rows,
            {**text, "align": "left", "dx": 10},
            {"x": {"value": "width"}, "y": y, "text": {"field": "confidence"}},
        ),
        layer(
            [{"text": "P(better)"}],
            {**text, "align": "left", "dx": 10, "color": LIGHT["muted"]},
            {"x": {"value": "width"}, "y": {"value": -12}, "text": {"field": "text"}},
        ),
    ]
