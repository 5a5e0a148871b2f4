"""Figures of a session as Vega-Lite specifications: plain dictionaries made from the facts.

Pure, and testable without drawing.  Text that came from candidates enters as
data, never as an expression.  All positions are fixed (no automatic sizing),
so that a label can be known to fit before it is drawn.
"""

import itertools

from ratchet.base.colours import LIGHT
from ratchet.base.structs import replace
from ratchet.base.text import format_duration, format_number, format_percent, shorten
from ratchet.records.records import chance_name
from ratchet.report.figure_style import (
    Anchor,
    FigureTable,
    Frame,
    Label,
    Plane,
    Range,
    Row,
    Spec,
    base_spec,
    broken_range,
    class_encodings,
    figure_title,
    fitted,
    haloed_words,
    mark_layer,
    metric_title,
    place_labels,
    robust_range,
    text_length,
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
LANE_HEIGHT = 26
SCHEDULE_WIDE = Frame(width=870, height=0, left=114, right=34, top=10, bottom=48)
SCHEDULE_NARROW = Frame(width=226, height=0, left=110, right=24, top=10, bottom=48)
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


PARETO_WIDE = Frame(width=890, height=320, top=44, right=40, bottom=50, labels=12)
PARETO_NARROW = Frame(
    width=262, height=260, left=70, right=24, top=64, bottom=50, labels=5, legend_columns=2
)

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
        "x": value_axis("x", x, "memory (MiB), left is better"),
        "y": value_axis("y", y, metric_title(facts)),
    }
    point = {**scales, **class_encodings(PARETO_CLASSES, rows, frame, 20)}
    steps = _steps(facts)
    names = _names(known, rows, steps, frame, x, y)
    layers = [
        mark_layer(steps, _LINE, scales),
        mark_layer(rows, {"type": "point", "filled": True, "opacity": 1}, point),
    ]
    words = {**scales, "text": {"field": "text", "type": "nominal"}}
    text = {"type": "text", "baseline": "middle", "fontSize": frame.font - 1}
    for align in ("left", "right"):
        chosen = [r for r in names if r["align"] == align]
        layers += haloed_words(chosen, {**text, "align": align}, words, "ink")
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
        lines.append(f"memory {format_number(p['memory_mb'], 1)} MiB")
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


def _names(
    known: dict[int, str], rows: list[Row], steps: list[Row], frame: Frame, x: Range, y: Range
) -> list[Row]:
    """Names of the front and of what it dominates among the kept, where there is room."""
    size, anchors, texts = frame.font - 1, list[Anchor](), list[str]()
    plane = Plane(0, frame.width + frame.right - 4, frame.height)
    for row in rows:
        across, down = x.place(row["x"]) * frame.width, (1 - y.place(row["y"])) * frame.height
        plane.take((across - 6, down - 6, across + 6, down + 6))
        if row["class"] == "not kept":
            continue
        text = shorten(known[row["number"] or 0], PARETO_LABEL_CHARACTERS)
        weight = 2.0 if row["class"] == "on the front" else 1.0
        texts.append(text)
        anchors.append(Anchor(across, down, text_length(text, size), weight))
    stairs = [(s["x"], s["y"]) for s in steps]
    for here, there in itertools.pairwise(stairs):
        ends = [
            (x.place(a) * frame.width, (1 - y.place(b)) * frame.height) for a, b in (here, there)
        ]
        (left, right), (top, bottom) = (sorted(values) for values in zip(*ends, strict=True))
        plane.take((left - 1, top - 1, right + 1, bottom + 1))
    # Without lines to the points a name must stand beside its own.
    found = place_labels(anchors, plane, size, frame.labels, up=True, reach=size + 6)
    return [_word(label, texts[label.index], frame, x, y) for label in found]


def _word(label: Label, text: str, frame: Frame, x: Range, y: Range) -> Row:
    """A placed label in the units of the axes."""
    return {
        "x": x.value(label.x / frame.width),
        "y": y.value(1 - label.y / frame.height),
        "text": text,
        "align": "left" if label.left else "right",
    }


CROSS = (
    "M-1,-0.68L-0.68,-1L0,-0.32L0.68,-1L1,-0.68L0.32,0"
    "L1,0.68L0.68,1L0,0.32L-0.68,1L-1,0.68L-0.32,0Z"
)
STAR = (
    "M0,-1L0.27,-0.37L0.95,-0.31L0.43,0.14L0.59,0.81"
    "L0,0.45L-0.59,0.81L-0.43,0.14L-0.95,-0.31L-0.27,-0.37Z"
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
    ("champion", STAR, "champion", 420),
)
PROGRESS_LABEL_CHARACTERS = 30
LABEL_REACH = 0.5
"""Share of the plot's height that a label is at most away from its point."""

PROGRESS_WIDE = Frame(width=930, height=380, top=58, bottom=50, legend_columns=5)
PROGRESS_NARROW = Frame(
    width=282, height=300, left=70, right=8, top=106, bottom=50, labels=4, legend_columns=2
)
SHARED = Frame(
    width=696, height=270, right=24, top=130, bottom=50, labels=8, legend_columns=4, title=True
)


def progress_figure(facts: Facts, frame: Frame = PROGRESS_WIDE) -> Spec:
    """Every experiment, what was believed of the incumbent, and what was confirmed."""
    view = _View(facts, frame)
    layers = [_noise_band(view), *_best(view), *_incumbent(view), *_confirmed_bars(view)]
    layers += [*_break_marks(view), _points(view), *_clipped_values(view), *_labels(view)]
    return {
        **base_spec(frame),
        **({"title": figure_title(facts, frame.width)} if frame.title else {}),
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
        self.x = Range(-gap / 2, self.last + (2 * gap if self.confirmed else gap / 2))
        self.champion = found.get("champion") or (facts.get("best") or {}).get("number") or 0
        self.y = self._range()
        self.worse_is_up = facts["metric"]["direction"] == "minimize"

    def _range(self) -> Range:
        facts, held = self.facts, self.facts["incumbents"]
        essential = list(facts["baseline"]["values"])
        essential += [e["mean"] for e in self.tried if e["status"] == "keep"]
        essential += [one["mean"] for one in held]
        if held:
            sd = held[-1]["sd"] or 0.0
            essential += [held[-1]["mean"] - sd, held[-1]["mean"] + sd]
        essential += [side["mean"] for _, side in self.confirmed]
        others = [e["mean"] for e in self.tried if e["status"] == "discard"]
        return broken_range(
            [v for v in others if v is not None], [v for v in essential if v is not None]
        )

    def pixel(self, x: float, y: float) -> tuple[float, float]:
        """Position within the plot, y downwards."""
        frame = self.frame
        return self.x.place(x) * frame.width, (1 - self.y.place(y)) * frame.height

    def xy(self) -> Spec:
        """Encodings of a layer's position, the axes included."""
        ticks = {"tickCount": max(3, self.frame.width // 60), "tickMinStep": 1, "format": ",d"}
        # Right of the last experiment stand confirmation runs.
        named = f"datum.value > {self.last} ? '' : datum.label"
        beyond = {"condition": {"test": f"datum.value > {self.last}", "value": 0}, "value": 1}
        axis = {"title": "experiment", "grid": False, **ticks, "labelExpr": named}
        axis["tickOpacity"] = beyond
        scale = {"domain": [self.x.low, self.x.high], "nice": False, "zero": False}
        return {
            "x": {"field": "x", "type": "quantitative", "scale": scale, "axis": axis},
            "y": value_axis("y", self.y, metric_title(self.facts), self.frame.height),
        }


def _noise_band(view: _View) -> Spec:
    mean, sd = view.facts["baseline"]["mean"], view.facts["noise"]["sd"]
    values = []
    if mean is not None and sd is not None:
        low, high = view.y.clip(mean - sd), view.y.clip(mean + sd)
        ends = {"x": view.x.low, "x2": view.x.high}
        values = [{**ends, "y": low, "y2": high}] if low < high else []
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
    band = [
        {"x": p["x"], "y": view.y.clip(p["y"] - p["sd"]), "y2": view.y.clip(p["y"] + p["sd"])}
        for p in line
    ]
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
    return [mark_layer(line, {**drawn, "strokeWidth": 1.2, "strokeDash": [2, 3]}, view.xy())]


def _confirmed_bars(view: _View) -> list[Spec]:
    bars = [
        {
            "x": view.confirmed_at,
            "y": view.y.clip(side["mean"] - side["sd"]),
            "y2": view.y.clip(side["mean"] + side["sd"]),
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
        high = view.y.place(e["mean"]) > 0.5
        name = "off the scale, higher" if high else "off the scale, lower"
        return {"y": view.y.edge(top=high), "class": name}
    if e["number"] == view.champion:
        return {"y": e["mean"], "class": "champion"}
    return {"y": e["mean"], "class": "kept" if e["status"] == "keep" else "discarded"}


def _points(view: _View) -> Spec:
    rows = point_classes(view)
    # So that a thousand points do not merge into one.
    plain = 42 if view.last <= 60 else 26 if view.last <= 300 else 12
    classes = [(*look, size or plain) for *look, size in PROGRESS_CLASSES]
    padding = 24 if view.frame.width > 400 else 12
    looks = class_encodings(classes, rows, view.frame, padding)
    mark = {"type": "point", "filled": True, "opacity": 1}
    return mark_layer(rows, mark, {**view.xy(), **looks})


MOST_CLIPPED = 5
"""Points off the scale whose values are written beside them."""


def _clipped_values(view: _View) -> list[Spec]:
    """The values of points off the scale, while there are few of them."""
    points = point_classes(view)
    rows = [row for row in points if row["class"].startswith("off")]
    rows = [{**row, "text": _clipped(row)} for row in rows] if len(rows) <= MOST_CLIPPED else []
    rows = [row for row in rows if not _is_crowded(row, points, view)]
    mark = {"type": "text", "align": "right", "dx": -7, "fontSize": view.frame.font - 2}
    encoding = {**view.xy(), "text": {"field": "text", "type": "nominal"}}
    return [mark_layer(rows, {**mark, "color": LIGHT["muted"]}, encoding)]


def _is_crowded(row: Row, points: list[Row], view: _View) -> bool:
    """Whether the value left of a point off the scale would lie on another point."""
    right, y = view.pixel(row["x"], row["y"])
    left = right - 12 - text_length(row["text"], view.frame.font - 2)
    places = (view.pixel(other["x"], other["y"]) for other in points)
    return any(left < x < right and abs(y - other) < view.frame.font for x, other in places)


BREAK = "scale compressed"


def _break_marks(view: _View) -> list[Spec]:
    """Dashed lines where the axis is broken, named."""
    inner = [value for value, place in view.y.knots if 0 < place < 1]
    up = [value for value in inner if view.y.place(value) > 0.5]
    lines = [{"y": value} for value in inner]
    words = [
        {"y": value, "text": f"{BREAK} {'above' if value in up else 'below'}"} for value in inner
    ]
    rule = {"type": "rule", "color": LIGHT["muted"], "strokeDash": [2, 4], "strokeWidth": 1}
    layers = [mark_layer(lines, rule, {"y": view.xy()["y"]})]
    for above in (True, False):
        text = {"type": "text", "align": "right", "fontSize": view.frame.font - 2}
        text |= {"baseline": "bottom" if above else "top", "dy": -3 if above else 3, "dx": -4}
        some = [row for row in words if (row["y"] in up) == above]
        place = {"y": view.xy()["y"], "x": {"value": "width"}}
        place["text"] = {"field": "text", "type": "nominal"}
        layers.append(mark_layer(some, {**text, "color": LIGHT["muted"]}, place))
    return layers


OPTIMISTIC = "best kept so far: selected, optimistic"


def _labels(view: _View) -> list[Spec]:
    """Names of the champion, of kept experiments and of the line of the best, tied to them."""
    frame, size, plane = view.frame, view.frame.font - 1, _taken(view)

    def name(e: Facts) -> str:
        text = shorten(e["description"] or f"#{e['number']}", PROGRESS_LABEL_CHARACTERS)
        return fitted(text, 0.6 * frame.width, size)

    def place(
        wanted: list[tuple[Facts, str]], most: int, reach: float
    ) -> list[tuple[Facts, str, Label]]:
        anchors = [
            Anchor(*view.pixel(e["number"], e["mean"]), text_length(text, size), e["gain"] or 0.0)
            for e, text in wanted
        ]
        found = place_labels(anchors, plane, size, most, up=view.worse_is_up, reach=reach)
        return [(*wanted[label.index], label) for label in found]

    kept = [e for e in view.tried if e["status"] == "keep" and e["mean"] is not None]
    own = [e for e in kept if e["number"] == view.champion]
    found = place([(e, f"champion: {name(e)}") for e in own], 1, frame.height)
    found = found or place([(e, "champion") for e in own], 1, frame.height)
    others = [(e, name(e)) for e in kept if e["number"] != view.champion]
    found += place(others, frame.labels - 1, LABEL_REACH * frame.height)
    rows, ties = list[Row](), list[Row]()
    for e, text, label in found:
        role = "champion" if e["number"] == view.champion else "keep"
        rows.append({**_word(label, text, frame, view.x, view.y), "role": role})
        _, y = view.pixel(e["number"], e["mean"])
        if abs(y - label.y) > size / 2 + 4:
            ties.append({"x": e["number"], "y": e["mean"], "y2": rows[-1]["y"]})
    tie = {"type": "rule", "color": LIGHT["muted"], "strokeWidth": 0.8, "opacity": 0.7}
    layers = [mark_layer(ties, tie, {**view.xy(), "y2": {"field": "y2"}})]
    words = {**view.xy(), "text": {"field": "text", "type": "nominal"}}
    for role, align in itertools.product(("keep", "champion"), ("left", "right")):
        mark = {"type": "text", "align": align, "baseline": "middle", "fontSize": size}
        some = [row for row in rows if (row["role"], row["align"]) == (role, align)]
        layers += haloed_words(some, mark, words, role)
    return layers + _optimistic(view, plane)


def _taken(view: _View) -> Plane:
    """The plot with its points, its lines and the words of its breaks."""
    frame, size = view.frame, view.frame.font - 1
    plane = Plane(2, frame.width + frame.right - 4, frame.height)
    for row in point_classes(view):
        x, y = view.pixel(row["x"], row["y"])
        plane.take((x - 6, y - 6, x + 6, y + 6))
        if row["class"].startswith("off") and row["value"] is not None:
            plane.take((x - 7 - text_length(_clipped(row), size), y - 8, x, y + 8))
    for _, side in view.confirmed:
        (x, y), (_, y2) = (
            view.pixel(view.confirmed_at, side["mean"] + sign * (side["sd"] or 0.0))
            for sign in (1, -1)
        )
        plane.take((x - 2, y, x + 2, y2))
    held = [(one["from"], one["mean"]) for one in view.facts["incumbents"]]
    for (start, mean), (end, later) in itertools.pairwise([*held, (view.last, None)]):
        (x, y), (x2, _) = view.pixel(start, mean), view.pixel(end, mean)
        plane.take((x, y - 2, x2, y + 2))
        if later is not None:
            ends = y, view.pixel(end, later)[1]
            plane.take((x2 - 2, min(ends), x2 + 2, max(ends)))
    for value, place in view.y.knots:
        if 0 < place < 1:
            y = view.pixel(0, value)[1]
            length = text_length(f"{BREAK} above", size) + 6
            top = y - size - 6 if place > 0.5 else y
            plane.take((frame.width - length, top, frame.width, top + size + 6))
            plane.take((0, y - 1, frame.width, y + 1))
    return plane


def _clipped(row: Row) -> str:
    return f"{row['value']:.4g}".replace("-", "−")


def _optimistic(view: _View, plane: Plane) -> list[Spec]:
    """The words at the line of the best, on its better side, where there is room."""
    (line,) = [layer["data"]["values"] for layer in _best(view)] or [[]]
    size, words = view.frame.font - 1, OPTIMISTIC
    if not line:
        return []
    x, y = view.pixel(view.last, line[-1]["y"])
    length, sign = text_length(words, size), 1 if view.worse_is_up else -1
    for away in range(0, int(max(1, x - length)), 12):
        for down in (0.5 * size + 4, 0.5 * size + 16):
            box = (
                x - away - length,
                y + sign * down - size / 2,
                x - away,
                y + sign * down + size / 2,
            )
            if plane.is_free(box):
                label = Label(0, x - away, y + sign * down, left=False)
                row = _word(label, words, view.frame, view.x, view.y)
                mark = {"type": "text", "align": "right", "baseline": "middle", "fontSize": size}
                place = {**view.xy(), "text": {"field": "text", "type": "nominal"}}
                return [mark_layer([row], {**mark, "color": LIGHT["muted"]}, place)]
    return []


FIGURES: FigureTable = {
    "progress": (progress_figure, PROGRESS_WIDE, PROGRESS_NARROW),
    "forest": (forest_figure, WIDE, NARROW),
    "pareto": (pareto_figure, PARETO_WIDE, PARETO_NARROW),
    "schedule": (schedule_figure, SCHEDULE_WIDE, SCHEDULE_NARROW),
}
