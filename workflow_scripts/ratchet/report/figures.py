"""Figures of a session as Vega-Lite specifications: plain dictionaries made from the facts.

Pure, and testable without drawing.  Text that came from candidates enters as
data, never as an expression.  All positions are fixed (no automatic sizing),
so that a label can be known to fit before it is drawn.
"""

import math

from ratchet.base.colours import LIGHT
from ratchet.base.structs import replace
from ratchet.base.text import format_duration, format_number, format_percent, shorten
from ratchet.records.records import chance_name
from ratchet.report.figure_style import (
    CHARACTER_WIDTH,
    Anchor,
    FigureTable,
    Frame,
    Range,
    Row,
    Spec,
    base_spec,
    class_encodings,
    figure_title,
    haloed_words,
    mark_layer,
    metric_title,
    place_labels,
    robust_range,
    value_axis,
)
from ratchet.report.inputs import Facts
from ratchet.report.intervals import NARROW, WIDE, forest_figure


def experiment_tip(e: Facts, facts: Facts) -> str:
    """Number, description, verdict and measurement of an experiment."""
    decimals = facts["metric"]["decimals"]
    lines = [f"#{e['number']} {e['description'] or ''}".rstrip()]
    verdict = (e["verdict"] or "not judged").replace("_", " ")
    if e["confidence"] is not None:
        verdict += f", {chance_name(e['price'])} {format_percent(e['confidence'])}"
    lines.append(verdict)
    if e["mean"] is not None:
        runs = f", {e['n']} runs" if e["n"] and e["n"] > 1 else ""
        lines.append(f"{_named(facts)} {format_number(e['mean'], decimals)}{runs}")
    if e["delta"] is not None:
        interval = ""
        if e["delta_low"] is not None:
            low = format_number(e["delta_low"], decimals, signed=True)
            interval = f" ({low} to {format_number(e['delta_high'], decimals, signed=True)})"
        lines.append(f"Δ {format_number(e['delta'], decimals, signed=True)}{interval}")
    return "\n".join(lines)


def value_tip(name: str, value: float, facts: Facts) -> str:
    """A measurement that belongs to no experiment."""
    return f"{name}\n{_named(facts)} {format_number(value, facts['metric']['decimals'])}"


def _named(facts: Facts) -> str:
    return str(facts["metric"]["name"])[:40]


LANES = (
    ("agent", "muted"),
    ("baseline", "baseline"),
    ("experiments", "discard"),
    ("incumbent", "keep"),
    ("certification", "champion"),
    ("confirmation", "champion"),
    ("transfer", "champion"),
)
LANE_HEIGHT = 24
SCHEDULE_WIDE = Frame(width=880, height=0, left=104, right=34, top=10, bottom=44)
SCHEDULE_NARROW = Frame(width=236, height=0, left=100, right=24, top=10, bottom=44)
UNITS = (("hours", 3600.0, 2 * 3600.0), ("minutes", 60.0, 120.0), ("seconds", 1.0, 0.0))


def schedule_figure(facts: Facts, frame: Frame = SCHEDULE_WIDE) -> Spec | None:
    """Runs, and calls of an agent, as bars over time since the start; ``None`` without a run."""
    found = facts["timeline"]
    if found is None:
        return None
    unit, size, _ = next(each for each in UNITS if found["seconds"] >= each[2])
    bars = [*found["runs"], *found["calls"]]
    lanes = [lane for lane, _ in LANES if any(run["lane"] == lane for run in bars)]
    rows = [_bar(run, size, lanes) for run in bars]
    sized = replace(frame, height=LANE_HEIGHT * len(lanes))
    scale = {"domain": [0, found["seconds"] / size], "nice": False, "zero": True}
    x = {"field": "from", "type": "quantitative", "scale": scale}
    x["axis"] = {"title": f"{unit} since the start", "tickCount": 6}
    tall = {"domain": [0, len(lanes)], "nice": False, "reverse": True}
    y = {"field": "top", "type": "quantitative", "scale": tall, "axis": None}
    colours = {"domain": lanes, "range": [LIGHT[role] for lane, role in LANES if lane in lanes]}
    mark = {"type": "rect", "opacity": 1, "stroke": LIGHT["surface"], "strokeWidth": 0.4}
    places = {
        "x": x,
        "x2": {"field": "to"},
        "y": y,
        "y2": {"field": "bottom"},
        "color": {"field": "lane", "type": "nominal", "scale": colours, "legend": None},
    }
    words = [{"top": place + 0.5, "text": lane} for place, lane in enumerate(lanes)]
    label = {"type": "text", "align": "right", "dx": -10, "fontSize": frame.font - 1}
    return {
        **base_spec(sized),
        "layer": [
            mark_layer(rows, mark, places),
            mark_layer(
                words,
                {**label, "color": LIGHT["ink"]},
                {"x": {"value": 0}, "y": y, "text": {"field": "text", "type": "nominal"}},
            ),
        ],
    }


def _bar(run: Facts, size: float, lanes: list[str]) -> Row:
    place = lanes.index(run["lane"])
    took = format_duration(run["end"] - run["start"])
    return {
        "number": run["number"] or None,
        "lane": run["lane"],
        "from": round(run["start"] / size, 6),
        "to": round(run["end"] / size, 6),
        "top": place + 0.15,
        "bottom": place + 0.85,
        "tip": f"{run['lane']}, {run['outcome'].replace('_', ' ')}, {took}",
    }


PARETO_WIDE = Frame(width=900, height=320, top=40, right=40, labels=12)
PARETO_NARROW = Frame(width=276, height=260, left=60, right=20, top=64, labels=5, legend_columns=2)

# Name, shape, colour and area, in drawing order.
PARETO_CLASSES = (
    ("not kept", "circle", "discard", 34),
    ("kept, dominated", "square", "keep", 60),
    ("baseline, dominated", "triangle-up", "baseline", 80),
    ("on the front", "diamond", "champion", 110),
)
PARETO_LABEL_CHARACTERS = 24


def pareto_figure(facts: Facts, frame: Frame = PARETO_WIDE) -> Spec | None:
    """Every measured configuration; ``None`` when memory was not measured of two."""
    found = facts["front"]["points"]
    if len(found) < 2:
        return None
    shown = [p for p in found if p["by"] is None or p["status"] in ("keep", "baseline")]
    x = robust_range([p["memory_mb"] for p in found], [p["memory_mb"] for p in shown])
    y = robust_range([p["metric"] for p in found], [p["metric"] for p in shown])
    known = _named_points(facts)
    rows = _rows(facts, known, x, y)
    scales = {
        "x": value_axis("x", x, "memory (MB), left is better"),
        "y": value_axis("y", y, metric_title(facts)),
    }
    point = {**scales, **class_encodings(PARETO_CLASSES, rows, frame.legend_columns, 20)}
    names = _names(known, rows, frame, x, y)
    layers = [
        mark_layer(_steps(facts), _LINE, scales),
        mark_layer(rows, {"type": "point", "filled": True, "opacity": 1}, point),
    ]
    words = {**scales, "text": {"field": "text", "type": "nominal"}}
    for align, dx in (("left", 7), ("right", -7)):
        text = {"type": "text", "align": align, "baseline": "bottom", "dx": dx, "dy": -4}
        text |= {"fontSize": frame.font - 1}
        layers += haloed_words([r for r in names if r["align"] == align], text, words, "ink")
    return {**base_spec(frame), "layer": [each for each in layers if each["data"]["values"]]}


_LINE = {"type": "line", "color": LIGHT["champion"], "strokeWidth": 1.4, "strokeDash": [4, 3]}


def _named_points(facts: Facts) -> dict[int, str]:
    """Names of the baseline and of the experiments, by number."""
    tried = {e["number"]: f"#{e['number']} {e['description'] or ''}" for e in facts["experiments"]}
    return {**{number: name.rstrip() for number, name in tried.items()}, 0: "baseline"}


def _rows(facts: Facts, names: dict[int, str], x: Range, y: Range) -> list[Row]:
    """Every point that fits the axes, those of the front last."""
    order = {name: i for i, (name, *_) in enumerate(PARETO_CLASSES)}
    rows = []
    for p in facts["front"]["points"]:
        if not (x.low <= p["memory_mb"] <= x.high and y.low <= p["metric"] <= y.high):
            continue
        lines = [] if p["number"] else [value_tip("baseline", p["metric"], facts)]
        lines.append(f"memory {format_number(p['memory_mb'], 1)} MB")
        if p["by"] is not None:
            lines.append(f"dominated by {shorten(names[p['by']], 40)}")
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


def _names(known: dict[int, str], rows: list[Row], frame: Frame, x: Range, y: Range) -> list[Row]:
    """Names of the front and of what it dominates among the kept, where there is room."""
    per_character = (frame.font - 1) * CHARACTER_WIDTH
    named, anchors = [], []
    for row in rows:
        if row["class"] == "not kept":
            continue
        left = (row["x"] - x.low) / (x.high - x.low) * frame.width
        down = (1 - (row["y"] - y.low) / (y.high - y.low)) * frame.height
        name = shorten(known[row["number"] or 0], PARETO_LABEL_CHARACTERS)
        length = len(name) * per_character + 10
        # Where there is no room to the right of a point its name stands to the left.
        beyond = left + length > frame.width + frame.right - 10
        align = "right" if beyond and left > length else "left"
        named.append({"x": row["x"], "y": row["y"], "text": name, "align": align})
        weight = 2.0 if row["class"] == "on the front" else 1.0
        anchors.append(Anchor(left - (length if align == "right" else 0), down, length, weight))
    chosen = place_labels(anchors, 0, (frame.font - 1) * 1.3, frame.labels)
    return [named[i] for i in chosen]


CROSS = (
    "M-1,-0.68L-0.68,-1L0,-0.32L0.68,-1L1,-0.68L0.32,0"
    "L1,0.68L0.68,1L0,0.32L-0.68,1L-1,0.68L-0.32,0Z"
)

# Name, shape, colour and area (None: depends on their number), in drawing order.
PROGRESS_CLASSES = (
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
PROGRESS_LABEL_CHARACTERS = 28
PROGRESS_WIDE = Frame(width=940, height=360, top=36)
PROGRESS_NARROW = Frame(width=292, height=280, left=60, right=8, top=84, labels=4, legend_columns=2)
SHARED = Frame(width=706, height=300, right=24, top=104, bottom=46, legend_columns=4, title=True)


def progress_figure(facts: Facts, frame: Frame = PROGRESS_WIDE) -> Spec:
    """Every experiment, what was believed of the incumbent, and what was confirmed."""
    view = _View(facts, frame)
    layers = [_noise_band(view), *_best(view), *_incumbent(view), *_confirmed_bars(view)]
    layers += [_points(view)]
    layers += _clipped_values(view) + _kept_labels(view)
    return {
        **base_spec(frame),
        **({"title": figure_title(facts)} if frame.title else {}),
        "layer": [each for each in layers if each["data"]["values"]],
    }


class _View:
    """Facts, axes and frame that the layers of a progress figure share."""

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

    def xy(self) -> Spec:
        """Encodings of a layer's position, the axes included."""
        ticks = {"tickCount": max(3, self.frame.width // 60), "tickMinStep": 1, "format": ",d"}
        axis = {"title": "experiment", "grid": False, **ticks}
        scale = {"domain": list(self.x), "nice": False, "zero": False}
        return {
            "x": {"field": "x", "type": "quantitative", "scale": scale, "axis": axis},
            "y": value_axis("y", self.y, metric_title(self.facts)),
        }


def _noise_band(view: _View) -> Spec:
    mean, sd = view.facts["baseline"]["mean"], view.facts["noise"]["sd"]
    values = []
    if mean is not None and sd is not None:
        low, high = max(mean - sd, view.y.low), min(mean + sd, view.y.high)
        values = [{"x": view.x[0], "x2": view.x[1], "y": low, "y2": high}] if low < high else []
    encoding = {**view.xy(), "x2": {"field": "x2"}, "y2": {"field": "y2"}}
    return mark_layer(
        values, {"type": "rect", "color": LIGHT["baseline"], "opacity": 0.13}, encoding
    )


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
        mark_layer(band, {"type": "area", "opacity": 0.18, **step}, encoding),
        mark_layer(line, {"type": "line", "strokeWidth": 1.8, **step}, view.xy()),
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
        mark_layer(line, {**drawn, "strokeWidth": 1.2, "strokeDash": [2, 3]}, view.xy()),
        mark_layer(
            named,
            {**words, "color": LIGHT["muted"]},
            {**view.xy(), "text": {"field": "text", "type": "nominal"}},
        ),
    ]


def _confirmed_bars(view: _View) -> list[Spec]:
    bars = [
        {
            "x": view.confirmed_at,
            "y": max(side["mean"] - side["sd"], view.y.low),
            "y2": min(side["mean"] + side["sd"], view.y.high),
        }
        for _, side in view.confirmed
        if side["sd"] is not None
    ]
    edge = [{"x": view.confirmed_at - (view.confirmed_at - view.last) / 2}]
    separator = {"type": "rule", "color": LIGHT["line"], "strokeDash": [3, 3]}
    return [
        mark_layer(edge if view.confirmed else [], separator, {"x": view.xy()["x"]}),
        mark_layer(
            bars,
            {"type": "rule", "color": LIGHT["muted"], "strokeWidth": 1.5},
            {**view.xy(), "y2": {"field": "y2"}},
        ),
    ]


def point_classes(view: _View) -> list[Row]:
    """Every point with its class and, where it does not fit the axis, at the edge."""
    facts = view.facts

    def plain(x: float, y: float, name: str) -> Row:
        return {"x": x, "y": y, "class": name, "tip": value_tip(name, y, facts)}

    rows = [plain(0, value, "baseline run") for value in facts["baseline"]["values"]]
    for e in view.tried:
        about = {"number": e["number"], "tip": ""}
        rows.append({"x": e["number"], "value": e["mean"], **_position(e, view), **about})
    rows += [plain(view.confirmed_at, side["mean"], name) for name, side in view.confirmed]
    order = {name: i for i, (name, *_) in enumerate(PROGRESS_CLASSES)}
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
    rows = point_classes(view)
    # So that a thousand points do not merge into one.
    plain = 42 if view.last <= 60 else 26 if view.last <= 300 else 12
    classes = [(*look, size or plain) for *look, size in PROGRESS_CLASSES]
    padding = 24 if view.frame.width > 400 else 12
    looks = class_encodings(classes, rows, view.frame.legend_columns, padding)
    mark = {"type": "point", "filled": True, "opacity": 1}
    return mark_layer(rows, mark, {**view.xy(), **looks})


def _clipped_values(view: _View) -> list[Spec]:
    """The values of points off the scale, while there are few of them."""
    rows = [row for row in point_classes(view) if row["class"].startswith("off")]
    rows = (
        [{**row, "text": f"{row['value']:.4g}".replace("-", "−")} for row in rows]
        if len(rows) <= 5
        else []
    )
    mark = {"type": "text", "align": "right", "dx": -7, "fontSize": view.frame.font - 2}
    encoding = {**view.xy(), "text": {"field": "text", "type": "nominal"}}
    return [mark_layer(rows, {**mark, "color": LIGHT["muted"]}, encoding)]


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
        text = shorten(e["description"] or f"#{e['number']}", PROGRESS_LABEL_CHARACTERS)
        text = shorten(text, int(_room(view, x, y) / per_character))
        if len(text) >= 6:
            rows.append({"x": e["number"], "y": e["mean"], "text": text})
            anchors.append(Anchor(x, y, len(text) * per_character + 14, e["gain"] or 0.0))
    angle = -LABEL_ANGLE if view.worse_is_up else LABEL_ANGLE
    chosen = place_labels(anchors, angle, size * 1.25, view.frame.labels)
    rows = [rows[i] for i in chosen]
    mark = {"type": "text", "align": "left", "baseline": "middle", "angle": angle % 360, "dx": 8}
    mark |= {"fontSize": size}
    encoding = {**view.xy(), "text": {"field": "text", "type": "nominal"}}
    return haloed_words(rows, mark, encoding, "keep")


def _room(view: _View, x: float, y: float) -> float:
    """Pixels that a slanted label can run before it leaves the picture."""
    frame, slant = view.frame, math.radians(LABEL_ANGLE)
    right = (frame.width + frame.right - x) / math.cos(slant)
    beyond = y if view.worse_is_up else frame.height - y
    return max(0.0, min(right, beyond / math.sin(slant)) - 16)


FIGURES: FigureTable = {
    "progress": (progress_figure, PROGRESS_WIDE, PROGRESS_NARROW),
    "forest": (forest_figure, WIDE, NARROW),
    "pareto": (pareto_figure, PARETO_WIDE, PARETO_NARROW),
    "schedule": (schedule_figure, SCHEDULE_WIDE, SCHEDULE_NARROW),
}
