"""The timeline: when each run was at work, by what it was for."""

from __future__ import annotations

from ratchet.codec import replace
from ratchet.report.frames import Frame, Row, Spec, base, layer
from ratchet.report.inputs import Facts
from ratchet.report.palette import LIGHT
from ratchet.report.text import duration

LANES = (
    ("baseline", "baseline"),
    ("experiments", "discard"),
    ("incumbent", "keep"),
    ("confirmation", "champion"),
)
LANE_HEIGHT = 24
WIDE = Frame(width=880, height=0, left=104, right=34, top=10, bottom=44)
NARROW = Frame(width=236, height=0, left=100, right=24, top=10, bottom=44)
UNITS = (("hours", 3600.0, 2 * 3600.0), ("minutes", 60.0, 120.0), ("seconds", 1.0, 0.0))


def schedule(facts: Facts, frame: Frame = WIDE) -> Spec | None:
    """Runs as bars over time since the session's start; ``None`` without any."""
    found = facts["timeline"]
    if found is None:
        return None
    unit, size, _ = next(each for each in UNITS if found["seconds"] >= each[2])
    lanes = [lane for lane, _ in LANES if any(run["lane"] == lane for run in found["runs"])]
    rows = [_bar(run, size, lanes) for run in found["runs"]]
    sized = replace(frame, height=LANE_HEIGHT * len(lanes))
    scale = {"domain": [0, found["seconds"] / size], "nice": False, "zero": True}
    x = {"field": "from", "type": "quantitative", "scale": scale}
    x["axis"] = {"title": f"{unit} since the start", "tickCount": 6}
    tall = {"domain": [0, len(lanes)], "nice": False, "reverse": True}
    y = {"field": "top", "type": "quantitative", "scale": tall, "axis": None}
    colours = {"domain": lanes, "range": [LIGHT[role] for lane, role in LANES if lane in lanes]}
    mark = {"type": "rect", "opacity": 1, "stroke": LIGHT["surface"], "strokeWidth": 0.4}
    bars = {
        "x": x,
        "x2": {"field": "to"},
        "y": y,
        "y2": {"field": "bottom"},
        "color": {"field": "lane", "type": "nominal", "scale": colours, "legend": None},
    }
    words = [{"top": place + 0.5, "text": lane} for place, lane in enumerate(lanes)]
    label = {"type": "text", "align": "right", "dx": -10, "fontSize": frame.font - 1}
    return {
        **base(sized),
        "layer": [
            layer(rows, mark, bars),
            layer(
                words,
                {**label, "color": LIGHT["ink"]},
                {"x": {"value": 0}, "y": y, "text": {"field": "text", "type": "nominal"}},
            ),
        ],
    }


def _bar(run: Facts, size: float, lanes: list[str]) -> Row:
    place = lanes.index(run["lane"])
    took = duration(run["end"] - run["start"])
    return {
        "number": run["number"] or None,
        "lane": run["lane"],
        "from": round(run["start"] / size, 6),
        "to": round(run["end"] / size, 6),
        "top": place + 0.15,
        "bottom": place + 0.85,
        "tip": f"{run['lane']}, {run['outcome'].replace('_', ' ')}, {took}",
    }
