"""The figures of an audit: each change, its doubts, the noise floor, the whole gain.

Rows from top to bottom, values to the right, as in :mod:`ratchet.report.forest`; every
point has a shape of its own and its numbers beside it or in the table below.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ratchet.audit import CREDIBLE, OVERTURNED
from ratchet.codec import Frozen, replace
from ratchet.report.forest import NARROW, ROW_HEIGHT, WIDE, WIDEST
from ratchet.report.frames import Frame, Row, Spec, base, layer, shortened, ticks
from ratchet.report.inputs import Facts
from ratchet.report.palette import LIGHT
from ratchet.report.scales import Range, robust_range
from ratchet.report.text import number, percent

Make = Callable[[Facts, Frame], Spec | None]

KINDS = {
    "log": ("circle", LIGHT["baseline"]),
    "holds": ("diamond", LIGHT["keep"]),
    "does not hold": ("cross", LIGHT["crash"]),
    "undecided": ("square", LIGHT["discard"]),
    "then": ("triangle-up", LIGHT["discard"]),
    "printed": ("stroke", LIGHT["muted"]),
    "stated": ("square", LIGHT["muted"]),
    "here": ("diamond", LIGHT["keep"]),
}
"""Shape and colour of a point by what it is."""

BEYOND = ("triangle-left", "triangle-right")


class Axis(Frozen):
    """Title and limits of the horizontal axis, and where upright rules stand on it."""

    title: str
    range: Range
    rules: Sequence[float] = ()
    heading: str = ""


def gains(facts: Facts, frame: Frame) -> Spec | None:
    """Each change's gain by the log, and where it was run again by the fresh runs."""
    decimals = facts["metric"]["decimals"]
    rows: list[Row] = []
    for change in facts["changes"]:
        rows.append(
            {
                "label": f"line {change['line']} {change['description']}",
                "value": change["gain"],
                "low": change["low"],
                "high": change["high"],
                "kind": "log",
                "mark": change["step"],
                "right": percent(change["better"]),
                "tip": _tip(change, decimals),
            }
        )
        again = change["again"]
        if again is not None and again["gain"] is not None:
            rows.append(
                {
                    "label": f"↳ {again['standing']}",
                    "value": again["gain"],
                    "low": again["gain"] if again["low"] is None else again["low"],
                    "high": again["gain"] if again["high"] is None else again["high"],
                    "kind": again["standing"],
                    "mark": None,
                    "right": percent(again["better"]),
                    "tip": _tip_again(again, decimals),
                }
            )
    if not rows:
        return None
    ends = [row[end] for row in rows for end in ("low", "high")]
    points = [row["value"] for row in rows]
    name = shortened(facts["metric"]["name"], 36)
    title = f"gain of {name}, right is better" if frame.width > 400 else "gain"
    return _intervals(rows, Axis(title, robust_range(ends, [0.0, *points]), (0.0,)), frame)


def doubts(facts: Facts, frame: Frame) -> Spec | None:
    """P(better) of each change when it was kept and by the whole log, and when run again."""
    rows = []
    for change in facts["changes"]:
        shown = {"log": change["better"], "then": change["then"]}
        again = change["again"]
        if again is not None and again["better"] is not None:
            shown[again["standing"]] = again["better"]
        for kind, value in shown.items():
            rows.append(
                {
                    "label": f"line {change['line']} {change['description']}",
                    "group": change["line"],
                    "value": value,
                    "low": min(shown.values()),
                    "high": max(shown.values()),
                    "kind": kind,
                    "mark": None,
                    "right": percent(change["better"]),
                    "tip": f"line {change['line']}\nP(better) {percent(value)}, {WORDS[kind]}",
                }
            )
    if not rows:
        return None
    axis = Axis("P(better)", Range(-0.03, 1.03), (OVERTURNED, CREDIBLE))
    return _intervals(rows, axis, frame)


WORDS = {
    "log": "by the whole log",
    "then": "when it was kept",
    "holds": "run again",
    "does not hold": "run again",
    "undecided": "run again",
}


def noise(facts: Facts, frame: Frame) -> Spec | None:
    """The noise floor with its interval, beside what was stated and what was seen here."""
    found, decimals = facts["noise"], facts["metric"]["decimals"]
    rows = [_bar("by the whole log", found["sd"], found["low"], found["high"], "log", decimals)]
    stated = found["stated"]
    if stated is not None:
        name = "as stated" if found["kind"] == "stated" else "by the replicates"
        low, high = (stated["sd"] if stated[e] is None else stated[e] for e in ("low", "high"))
        rows.append(_bar(name, stated["sd"], low, high, "stated", decimals))
    reruns = facts["reruns"]
    if reruns is not None and reruns["noise_sd"] is not None:
        sd = reruns["noise_sd"]
        rows.append(_bar("by the re-runs here", sd, sd, sd, "here", decimals))
    most = max(row["high"] for row in rows)
    range_ = Range(0.0, 1.06 * most)
    return _intervals(rows, Axis("sd of one run", range_, heading="sd"), frame)


def totals(facts: Facts, frame: Frame) -> Spec | None:
    """The whole gain as printed, without its luck, and from end to end by fresh runs."""
    decimals = facts["metric"]["decimals"]
    printed = facts["printed"]
    rows = [
        _bar("as printed, selected", printed, printed, printed, "stated", decimals, signed=True),
        _bar(
            "by the whole log", facts["total"], facts["total_low"], facts["total_high"], "log",
            decimals, signed=True,
        ),
    ]  # fmt: skip
    whole = facts["reruns"]["whole"] if facts["reruns"] is not None else None
    if whole is not None:
        low, high = (whole["gain"] if whole[end] is None else whole[end] for end in ("low", "high"))
        said = "from end to end here"
        rows.append(_bar(said, whole["gain"], low, high, "here", decimals, signed=True))
    ends = [row[end] for row in rows for end in ("low", "high")]
    title = "total gain, right is better" if frame.width > 400 else "total gain"
    return _intervals(rows, Axis(title, robust_range(ends, [0.0, *ends]), (0.0,), "gain"), frame)


FIGURES: dict[str, tuple[Make, Frame, Frame]] = {
    name: (make, WIDE, NARROW)
    for name, make in (("gains", gains), ("doubts", doubts), ("noise", noise), ("totals", totals))
}


def _bar(
    label: str, value: float, low: float, high: float, kind: str, decimals: int,
    *, signed: bool = False,
) -> Row:  # fmt: skip
    shown = number(value, decimals, signed=signed)
    between = ""
    if low != high:
        ends = (number(end, decimals, signed=signed) for end in (low, high))
        between = f" ({' to '.join(ends)})"
    return {
        "label": label,
        "value": value,
        "low": low,
        "high": high,
        "kind": kind,
        "mark": None,
        "right": shown,
        "tip": f"{label}\n{shown}{between}",
    }


def _tip(change: Facts, decimals: int) -> str:
    low, high = (number(change[end], decimals, signed=True) for end in ("low", "high"))
    return (
        f"line {change['line']} {change['description']}\n"
        f"printed {number(change['step'], decimals, signed=True)}\n"
        f"gain {number(change['gain'], decimals, signed=True)} ({low} to {high})\n"
        f"P(better) {percent(change['better'])}, when kept {percent(change['then'])}"
    )


def _tip_again(again: Facts, decimals: int) -> str:
    between = ""
    if again["low"] is not None:
        low, high = (number(again[end], decimals, signed=True) for end in ("low", "high"))
        between = f" ({low} to {high})"
    return (
        f"line {again['line']} run again, {again['seeds']} seeds a side: {again['standing']}\n"
        f"gain {number(again['gain'], decimals, signed=True)}{between}\n"
        f"P(better) {percent(again['better'])}"
    )


def _intervals(rows: list[Row], axis: Axis, frame: Frame) -> Spec:
    """A line for each row, or for each ``group``: interval, point, words on both sides."""
    places = {key: i for i, key in enumerate(dict.fromkeys(_key(r, i) for i, r in enumerate(rows)))}
    characters = int((frame.left - 12) / (WIDEST * (frame.font - 1)))
    range_ = axis.range
    for i, row in enumerate(rows):
        row["row"] = places[_key(row, i)]
        row["label"] = shortened(row["label"], characters)
        row["from"], row["to"] = max(row["low"], range_.low), min(row["high"], range_.high)
        row["shape"] = row["kind"]
        if not range_.low <= row["value"] <= range_.high:
            row["shape"] = "further right" if row["value"] > range_.high else "further left"
    sized = replace(frame, height=ROW_HEIGHT * len(places))
    return {**base(sized), "layer": _layers(rows, axis, sized, len(places))}


def _key(row: Row, place: int) -> Any:
    return row.get("group", f"row {place}")


def _layers(rows: list[Row], axis: Axis, frame: Frame, count: int) -> list[Spec]:
    low, high = axis.range.low, axis.range.high
    scale = {"domain": [low, high], "nice": False, "zero": False, "clamp": True}
    usual = ticks(axis.title, low, high)
    marked = usual if frame.width > 400 else {**usual, "tickCount": 3}
    x = {"type": "quantitative", "scale": scale, "axis": marked}
    y = {"field": "row", "type": "ordinal", "axis": None, "scale": {"domain": list(range(count))}}
    known = {kind: look for kind, look in KINDS.items() if kind != "printed"}
    colours = {"domain": list(known), "range": [colour for _, colour in known.values()]}
    colour = {"field": "kind", "type": "nominal", "scale": colours, "legend": None}
    shapes = {
        "domain": [*known, "further left", "further right"],
        "range": [*(shape for shape, _ in known.values()), *BEYOND],
    }
    shape = {"field": "shape", "type": "nominal", "scale": shapes, "legend": None}
    marks = [row for row in rows if row["mark"] is not None and low <= row["mark"] <= high]
    first = [row for i, row in enumerate(rows) if row["row"] not in {r["row"] for r in rows[:i]}]
    spans = [row for row in rows if "group" not in row]
    joined = [row for row in first if "group" in row]
    span = {"x": {**x, "field": "from"}, "x2": {"field": "to"}}
    dashed = {"type": "rule", "color": LIGHT["muted"], "strokeDash": [3, 3]}
    layers = [
        layer([{"at": at} for at in axis.rules], dashed, {"x": {**x, "field": "at"}}),
        layer(spans, {"type": "rule", "strokeWidth": 1.6}, {**span, "y": y, "color": colour}),
        layer(
            joined,
            {"type": "rule", "strokeWidth": 1.2, "color": LIGHT["line"]},
            {**span, "y": y},
        ),
        layer(
            marks,
            {"type": "tick", "thickness": 2, "size": 13, "color": LIGHT["ink"]},
            {"x": {**x, "field": "mark"}, "y": y},
        ),
        layer(
            rows,
            {"type": "point", "filled": True, "size": 56, "opacity": 1},
            {"x": {**x, "field": "value"}, "y": y, "color": colour, "shape": shape},
        ),
        *_words(first, y, frame, axis.heading or "P(better)"),
    ]
    return [each for each in layers if each["data"]["values"]]


def _words(rows: list[Row], y: Spec, frame: Frame, heading: str) -> list[Spec]:
    """What stands left and right of the rows."""
    words = {"type": "text", "fontSize": frame.font - 1, "color": LIGHT["ink"]}
    return [
        layer(
            rows,
            {**words, "align": "right", "dx": -10},
            {"x": {"value": 0}, "y": y, "text": {"field": "label", "type": "nominal"}},
        ),
        layer(
            rows,
            {**words, "align": "left", "dx": 10},
            {"x": {"value": "width"}, "y": y, "text": {"field": "right", "type": "nominal"}},
        ),
        layer(
            [{"text": heading}],
            {**words, "align": "left", "dx": 10, "color": LIGHT["muted"]},
            {"x": {"value": "width"}, "y": {"value": -12}, "text": {"field": "text"}},
        ),
    ]
