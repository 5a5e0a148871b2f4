"""The page of a comparison: its table, its two figures of progress, and what each session found."""

from collections.abc import Mapping, Sequence
from typing import Any

from ratchet.base.colours import LIGHT
from ratchet.base.text import format_number, shorten
from ratchet.report.comparison import answer, elsewhere_words, hours_words, reached_words
from ratchet.report.figure_style import (
    FigureTable,
    Frame,
    Range,
    Row,
    Spec,
    base_spec,
    fitted,
    haloed_words,
    mark_layer,
    metric_title,
    robust_range,
    value_axis,
)
from ratchet.report.inputs import Facts
from ratchet.report.render import draw_figures, fill_page, page_scripts, unbroken

WIDE = Frame(width=820, height=330, left=70, right=120, top=16, bottom=44)
NARROW = Frame(width=230, height=260, left=58, right=84, top=16, bottom=44, font=11)

# Told apart by colour, by dash and by the name at the end of each line.
LOOKS: tuple[tuple[str, Sequence[int]], ...] = (
    ("baseline", (1, 0)),
    ("orange", (6, 3)),
    ("teal", (2, 2)),
    ("magenta", (9, 3, 2, 3)),
    ("ink", (1, 0)),
    ("discard", (4, 2)),
)

LABEL_CHARACTERS = 16
"""Characters of a session's name at the end of its line."""


def runs_figure(facts: Facts, frame: Frame = WIDE) -> Spec | None:
    """The incumbents of all sessions over the runs that were made."""
    return _progress(facts, frame, "runs", "runs of the session, each counted once")


def hours_figure(facts: Facts, frame: Frame = WIDE) -> Spec | None:
    """The incumbents of all sessions over the wall hours of their runs."""
    longest = max((p["hours"] or 0.0 for p in _points(facts)), default=0.0)
    small = longest < 2
    unit = "minutes" if small else "hours"
    return _progress(facts, frame, "hours", f"{unit} of runs", 60.0 if small else 1.0)


def _points(facts: Facts) -> list[Facts]:
    return [point for points in facts["trajectories"].values() for point in points]


def _progress(
    facts: Facts, frame: Frame, field: str, title: str, scale: float = 1.0
) -> Spec | None:
    """Steps of every session on one pair of axes, with the noise of a run around the baseline."""
    lines = {
        name: _line(points, field, scale, facts)
        for name, points in facts["trajectories"].items()
        if points and all(point[field] is not None for point in points)
    }
    lines = {name: line for name, line in lines.items() if line}
    if not lines:
        return None
    values = [row["y"] for line in lines.values() for row in line]
    ends = [row[end] for line in lines.values() for row in line for end in ("low", "high")]
    over = robust_range([*values, *ends], values)
    last = max(row["x"] for line in lines.values() for row in line) or 1.0
    x = {
        "field": "x",
        "type": "quantitative",
        "scale": {"domain": [0, last], "nice": False, "zero": True},
        "axis": {"title": title, "tickCount": 6},
    }
    places = {"x": x, "y": value_axis("y", over, metric_title(facts))}
    looks = dict(zip(facts["trajectories"], LOOKS, strict=False))
    layers = [_noise_band(facts, places, over, last)]
    for name, line in lines.items():
        role, _ = looks[name]
        band = {"type": "area", "interpolate": "step-after", "color": LIGHT[role], "opacity": 0.12}
        rows = [
            {"x": r["x"], "y": max(r["low"], over.low), "y2": min(r["high"], over.high)}
            for r in line
        ]
        layers.append(mark_layer(rows, band, {**places, "y2": {"field": "y2"}}))
    for name, line in lines.items():
        role, dash = looks[name]
        drawn = {
            "type": "line",
            "interpolate": "step-after",
            "strokeWidth": 2,
            "color": LIGHT[role],
        }
        layers.append(mark_layer(line, {**drawn, "strokeDash": list(dash)}, places))
        kept = [row for row in line if row["change"]]
        mark = {"type": "point", "filled": True, "size": 34, "opacity": 1, "color": LIGHT[role]}
        layers.append(mark_layer(kept, mark, places))
    layers += _names(lines, looks, frame, over, last, places)
    return {**base_spec(frame), "layer": layers}


def _line(points: Sequence[Facts], field: str, scale: float, facts: Facts) -> list[Row]:
    """Rows of one session; ``change`` marks those where another code became the incumbent."""
    decimals, found = facts["metric"]["decimals"], list[Row]()
    for before, point in zip([None, *points], points, strict=False):
        sd = point["sd"] or 0.0
        change = before is None or before["number"] != point["number"]
        name = f"experiment {point['number']}" if point["number"] else "baseline"
        value = format_number(point["value"], decimals)
        tip = f"{name}: {value} after {point['runs']} runs"
        ends = {"low": point["value"] - sd, "high": point["value"] + sd}
        row = {"x": point[field] * scale, "y": point["value"], **ends, "change": change}
        found.append({**row, "tip": tip})
    return found


def _noise_band(facts: Facts, places: Spec, over: Range, last: float) -> Spec:
    """The baselines' mean with the noise of one run around it."""
    mean, sd, rows = facts["baseline"], facts["noise_sd"], list[Row]()
    if mean is not None and sd is not None:
        low, high = max(mean - sd, over.low), min(mean + sd, over.high)
        rows = [{"x": 0, "x2": last, "y": low, "y2": high}] if low < high else []
    mark = {"type": "rect", "color": LIGHT["discard"], "opacity": 0.18}
    return mark_layer(rows, mark, {**places, "x2": {"field": "x2"}, "y2": {"field": "y2"}})


def _names(
    lines: Mapping[str, list[Row]],
    looks: Mapping[str, tuple[str, Sequence[int]]],
    frame: Frame,
    over: Range,
    last: float,
    places: Spec,
) -> list[Spec]:
    """Each session's name at the right of the plot, as near to its end as others allow."""
    height, gap = frame.height, frame.font * 1.25
    per_value = height / (over.high - over.low)
    order = sorted(lines, key=lambda name: -lines[name][-1]["y"])
    tops = [(over.high - lines[name][-1]["y"]) * per_value for name in order]
    for place in range(1, len(tops)):
        tops[place] = max(tops[place], tops[place - 1] + gap)
    beyond = max(0.0, tops[-1] - (height - gap / 2))
    for place in reversed(range(len(tops))):
        limit = tops[place + 1] - gap if place + 1 < len(tops) else tops[place] - beyond
        tops[place] = min(tops[place], limit)
    room = frame.right - 14
    found: list[Spec] = []
    for name, top in zip(order, tops, strict=True):
        role, _ = looks[name]
        end = lines[name][-1]
        y = over.high - top / per_value
        leader = {"type": "line", "strokeWidth": 1, "opacity": 0.6, "color": LIGHT[role]}
        rows = [{"x": end["x"], "y": end["y"]}, {"x": last, "y": y}]
        found.append(mark_layer(rows, {**leader, "strokeDash": [1, 3]}, places))
        mark = {
            "type": "text",
            "align": "left",
            "baseline": "middle",
            "dx": 7,
            "fontSize": frame.font,
        }
        text = {**places, "text": {"field": "text", "type": "nominal"}}
        words = [
            {"x": last, "y": y, "text": fitted(shorten(name, LABEL_CHARACTERS), room, frame.font)}
        ]
        found += haloed_words(words, {**mark, "fontWeight": 600}, text, role)
    return found


FIGURES: FigureTable = {
    "by_runs": (runs_figure, WIDE, NARROW),
    "by_hours": (hours_figure, WIDE, NARROW),
}


def _unsaid(find: Facts) -> list[str]:
    """Names that a change touches and its description does not have."""
    said = find["description"].replace("-", " ").replace("_", " ").lower()
    names: list[str] = find["names"]
    return [name for name in names if name.replace("-", " ").replace("_", " ").lower() not in said]


def render_comparison(facts: Facts, links: Mapping[str, str]) -> str:
    """The whole page; ``links`` are addresses of the sessions' reports, by session."""
    facts = unbroken(facts)
    decimals = facts["metric"]["decimals"]
    stills, plots = draw_figures(FIGURES, facts, {})
    filters: dict[str, Any] = {
        "elsewhere": lambda found: elsewhere_words(found, decimals),
        "reached": reached_words,
        "hours": hours_words,
        "unsaid": _unsaid,
    }
    return fill_page(
        "compare.html",
        decimals,
        filters,
        page_scripts(),
        facts=facts,
        answer=answer(facts),
        figures=stills,
        plots=plots,
        links=links,
        looks=dict(zip(facts["trajectories"], (role for role, _ in LOOKS), strict=False)),
    )
