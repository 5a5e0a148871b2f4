"""Page of an audit: what a log's kept changes are worth, and which hold when run again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from ratchet.base.colours import LIGHT
from ratchet.base.io import write_bytes, write_json
from ratchet.base.structs import Frozen, replace, to_json_values
from ratchet.base.text import (
    decimals_for,
    format_percent,
    one_line_label,
    plural,
    safe_json,
)
from ratchet.logs.audit import CHANCE, CREDIBLE, MOST_SEEDS, OVERTURNED, TESTS
from ratchet.logs.rerun import audit_plan_of, audit_verdicts
from ratchet.logs.rerun_plan import AUDIT_LEVEL
from ratchet.logs.smoothing import LEVEL
from ratchet.report.figure_style import (
    Frame,
    Range,
    Row,
    Spec,
    base_spec,
    mark_layer,
    robust_range,
    shorten_label,
    tick_axis,
)
from ratchet.report.figures import (
    FOREST_NARROW,
    FOREST_WIDE,
    ROW_HEIGHT,
    SPAN,
    TICK,
    fit_rows,
    interval_channels,
    side_words,
)
from ratchet.report.inputs import Facts, method_entries, metric_text
from ratchet.report.render import (
    data_block,
    figure_svg,
    fill_page,
    interactive_figure,
    page_scripts,
    share_rows,
    themed_svg,
)
from ratchet.session import Session


def audit_answer(facts: Facts) -> Facts:
    """The audit in one sentence; ``kind``, ``headline`` and ``rest``."""
    count = len(facts["changes"])
    if not count:
        headline = "Nothing was kept after the baseline"
        return {"kind": "none", "headline": headline, "rest": "There is nothing to audit."}
    expected = (
        f"by the whole log {facts['expected_true']:.1f} of {plural(count, 'kept change')} are "
        f"better ({facts['least_true']} to {facts['most_true']}) and "
        f"{facts['expected_false_keeps']:.1f} are false keeps"
    )
    total = _between(facts, *(facts[name] for name in ("total", "total_low", "total_high")))
    gain = f"gain {total}, printed {_show(facts, facts['printed'])}"
    floor = f"noise floor ± {metric_text(facts, facts['noise']['sd'])}, {facts['noise']['source']}"
    reruns = facts["reruns"]
    if reruns is None:
        headline = f"{facts['expected_false_keeps']:.1f} of {plural(count, 'kept change')} are "
        return {
            "kind": "log",
            "headline": headline + "expected to be no improvement",
            "rest": f"{expected.capitalize()}; {gain}; {floor}. Nothing was run again.",
        }
    counts = reruns["counts"]
    kind = "holds"
    if counts["does not hold"] or counts["not run"]:
        kind = "fails"
    elif counts["undecided"]:
        kind = "undecided"
    rest = (
        f"Run again here, {plural(reruns['runs'], 'run')} of {reruns['task']}; {expected}; {gain}."
    )
    return {"kind": kind, "headline": reruns["sentence"], "rest": rest}


def _show(facts: Facts, value: float | None) -> str:
    return metric_text(facts, value, signed=True)


def audit_method(facts: Facts) -> list[dict[str, str]]:
    """How to read the page and what it cannot say; ``term`` and ``text``."""
    return method_entries(
        "audit_method.md", facts=facts, level=LEVEL, audit_level=AUDIT_LEVEL, chance=CHANCE,
        credible=CREDIBLE, overturned=OVERTURNED, most_seeds=MOST_SEEDS,
    )  # fmt: skip


KINDS = {
    "log": ("circle", LIGHT["baseline"]),
    "holds": ("diamond", LIGHT["keep"]),
    "does not hold": ("cross", LIGHT["crash"]),
    "undecided": ("square", LIGHT["discard"]),
    "then": ("triangle-up", LIGHT["discard"]),
    "stated": ("square", LIGHT["muted"]),
    "here": ("diamond", LIGHT["keep"]),
}
"""Shape and colour of a point by what it is."""


class Axis(Frozen):
    """Title and limits of the horizontal axis, and where upright rules stand on it."""

    title: str
    range: Range
    rules: Sequence[float] = ()
    heading: str = ""


def _row(
    kind: str, label: str, value: float, ends: tuple[float | None, float | None], right: str,
    tip: str, **more: Any,
) -> Row:  # fmt: skip
    """A point of a kind with its interval, the point itself where there is none."""
    low, high = (value if end is None else end for end in ends)
    return {
        "label": label,
        **more,
        "value": value,
        "low": low,
        "high": high,
        "kind": kind,
        "mark": None,
        "right": right,
        "tip": tip,
    }


def gains_figure(facts: Facts, frame: Frame) -> Spec | None:
    """Each change's gain by the log, and where it was run again by the fresh runs."""
    rows: list[Row] = []

    def add(kind: str, label: str, found: Facts, tip: str) -> None:
        ends, right = (found["low"], found["high"]), format_percent(found["better"])
        rows.append(_row(kind, label, found["gain"], ends, right, tip))

    for change in facts["changes"]:
        label = f"line {change['line']} {change['description']}"
        gain = f"gain {_between(facts, change['gain'], change['low'], change['high'])}"
        sure = f"{format_percent(change['better'])}, when kept {format_percent(change['then'])}"
        printed = f"printed {_show(facts, change['step'])}"
        add("log", label, change, f"{label}\n{printed}\n{gain}\nP(better) {sure}")
        rows[-1]["mark"] = change["step"]
        again = change["again"]
        if again is not None and again["gain"] is not None:
            standing = again["standing"]
            tip = (
                f"line {again['line']} run again, {again['seeds']} seeds a side: {standing}\n"
                f"gain {_between(facts, again['gain'], again['low'], again['high'])}\n"
                f"P(better) {format_percent(again['better'])}"
            )
            add(standing, f"↳ {standing}", again, tip)
    if not rows:
        return None
    ends = [row[end] for row in rows for end in ("low", "high")]
    points = [row["value"] for row in rows]
    name = shorten_label(facts["metric"]["name"], 36)
    title = f"gain of {name}, right is better" if frame.width > 400 else "gain"
    return _intervals(rows, Axis(title, robust_range(ends, [0.0, *points]), (0.0,)), frame)


def doubts_figure(facts: Facts, frame: Frame) -> Spec | None:
    """P(better) of each change when it was kept and by the whole log, and when run again."""
    rows = []
    for change in facts["changes"]:
        line, again = change["line"], change["again"]
        shown = {"log": change["better"], "then": change["then"]}
        if again is not None and again["better"] is not None:
            shown[again["standing"]] = again["better"]
        label, right = f"line {line} {change['description']}", format_percent(change["better"])
        ends = min(shown.values()), max(shown.values())
        for kind, value in shown.items():
            when = {"log": "by the whole log", "then": "when it was kept"}.get(kind, "run again")
            tip = f"line {line}\nP(better) {format_percent(value)}, {when}"
            rows.append(_row(kind, label, value, ends, right, tip, group=line))
    if not rows:
        return None
    axis = Axis("P(better)", Range(-0.03, 1.03), (OVERTURNED, CREDIBLE))
    return _intervals(rows, axis, frame)


def noise_figure(facts: Facts, frame: Frame) -> Spec | None:
    """The noise floor with its interval, beside what was stated and what was seen here."""
    noise, reruns = facts["noise"], facts["reruns"]
    found = [("log", "by the whole log", noise)]
    if noise["stated"] is not None:
        name = "as stated" if noise["kind"] == "stated" else "by the replicates"
        found.append(("stated", name, noise["stated"]))
    if reruns is not None and reruns["noise_sd"] is not None:
        here = {"sd": reruns["noise_sd"], "low": None, "high": None}
        found.append(("here", "by the re-runs here", here))
    rows = [
        _bar(facts, kind, label, sd["sd"], (sd["low"], sd["high"]), signed=False)
        for kind, label, sd in found
    ]
    range_ = Range(0.0, 1.06 * max(row["high"] for row in rows))
    return _intervals(rows, Axis("sd of one run", range_, heading="sd"), frame)


def totals_figure(facts: Facts, frame: Frame) -> Spec | None:
    """The whole gain as printed, without its luck, and from end to end by fresh runs."""
    whole = facts["reruns"]["whole"] if facts["reruns"] is not None else None
    total = facts["total_low"], facts["total_high"]
    rows = [
        _bar(facts, "stated", "as printed, selected", facts["printed"], (None, None)),
        _bar(facts, "log", "by the whole log", facts["total"], total),
    ]
    if whole is not None:
        ends = whole["low"], whole["high"]
        rows.append(_bar(facts, "here", "from end to end here", whole["gain"], ends))
    values = [row[end] for row in rows for end in ("low", "high")]
    title = "total gain, right is better" if frame.width > 400 else "total gain"
    axis = Axis(title, robust_range(values, [0.0, *values]), (0.0,), "gain")
    return _intervals(rows, axis, frame)


FIGURES: dict[str, tuple[Callable[[Facts, Frame], Spec | None], Frame, Frame]] = {
    "gains": (gains_figure, FOREST_WIDE, FOREST_NARROW),
    "doubts": (doubts_figure, FOREST_WIDE, FOREST_NARROW),
    "noise": (noise_figure, FOREST_WIDE, FOREST_NARROW),
    "totals": (totals_figure, FOREST_WIDE, FOREST_NARROW),
}


def _bar(
    facts: Facts, kind: str, label: str, value: float, ends: tuple[float | None, float | None],
    *, signed: bool = True,
) -> Row:  # fmt: skip
    """A row whose value stands beside it."""
    shown = metric_text(facts, value, signed=signed)
    tip = f"{label}\n{_between(facts, value, *ends, signed=signed)}"
    return _row(kind, label, value, ends, shown, tip)


def _between(
    facts: Facts, value: float, low: float | None, high: float | None, *, signed: bool = True
) -> str:
    """``+0.010 (+0.009 to +0.011)``; the value alone where there is no interval."""
    shown = metric_text(facts, value, signed=signed)
    if low is None or high is None or low == high:
        return shown
    ends = (metric_text(facts, end, signed=signed) for end in (low, high))
    return f"{shown} ({' to '.join(ends)})"


def _intervals(rows: list[Row], axis: Axis, frame: Frame) -> Spec:
    """A line for each row, or for each ``group``: interval, point, words on both sides."""
    places = {key: i for i, key in enumerate(dict.fromkeys(_key(r, i) for i, r in enumerate(rows)))}
    over = axis.range
    fit_rows(rows, frame, over)
    for i, row in enumerate(rows):
        row["row"], row["shape"] = places[_key(row, i)], row["kind"]
        if not over.low <= row["value"] <= over.high:
            row["shape"] = "further right" if row["value"] > over.high else "further left"
    sized = replace(frame, height=ROW_HEIGHT * len(places))
    return {**base_spec(sized), "layer": _layers(rows, axis, sized, len(places))}


def _key(row: Row, place: int) -> Any:
    return row.get("group", f"row {place}")


def _layers(rows: list[Row], axis: Axis, frame: Frame, count: int) -> list[Spec]:
    low, high = axis.range.low, axis.range.high
    usual = tick_axis(axis.title, low, high)
    marked = usual if frame.width > 400 else {**usual, "tickCount": 3}
    x, y, colour, shape = interval_channels(marked, axis.range, count, "kind", KINDS)
    marks = [row for row in rows if row["mark"] is not None and low <= row["mark"] <= high]
    first = [row for i, row in enumerate(rows) if row["row"] not in {r["row"] for r in rows[:i]}]
    spans = [row for row in rows if "group" not in row]
    joined = [row for row in first if "group" in row]
    span = {"x": {**x, "field": "from"}, "x2": {"field": "to"}, "y": y}
    dashed = {"type": "rule", "color": LIGHT["muted"], "strokeDash": [3, 3]}
    joint = {"type": "rule", "strokeWidth": 1.2, "color": LIGHT["line"]}
    point = {"type": "point", "filled": True, "size": 56, "opacity": 1}
    place = {"x": {**x, "field": "value"}, "y": y, "color": colour, "shape": shape}
    layers = [
        mark_layer([{"at": at} for at in axis.rules], dashed, {"x": {**x, "field": "at"}}),
        mark_layer(spans, SPAN, {**span, "color": colour}),
        mark_layer(joined, joint, span),
        mark_layer(marks, TICK, {"x": {**x, "field": "mark"}, "y": y}),
        mark_layer(rows, point, place),
        *side_words(first, y, frame, "right", axis.heading or "P(better)"),
    ]
    return [each for each in layers if each["data"]["values"]]


MOST_PROBLEMS = 50
MARKS = {"holds": "✓", "fails": "!", "undecided": "?", "log": "≈", "none": "○"}
CHIPS = {
    "holds": ("keep", "●"),
    "does not hold": ("crash", "✕"),
    "undecided": ("pending", "?"),
    "not run": ("discard", "○"),
}


def write_audit_report(session: Session) -> None:
    """Judge all re-runs of an audit; write ``audit.json`` and its page."""
    found = audit_verdicts(session)
    facts = dict(audit_plan_of(session).facts)
    facts["reruns"] = {**to_json_values(found), "sentence": found.sentence}
    write_json(session.paths.audit_json, facts)
    write_bytes(session.paths.audit_html, render_audit(facts).encode())
    session.journal.append("audited", answer=found.sentence)


def audit_facts(facts: Mapping[str, Any]) -> Facts:
    """What the page shows, of the facts that ``ratchet audit --json`` prints."""
    reruns = facts.get("reruns")
    again = {change["line"]: change for change in (reruns or {"changes": ()})["changes"]}
    value = next((change["value"] for change in facts["changes"]), None)
    changes = [
        {
            **change,
            "description": one_line_label(change["description"]),
            "commit": one_line_label(change["commit"], 64),
            "again": _again(again.get(change["line"])),
        }
        for change in facts["changes"]
    ]
    problems = [one_line_label(line, 600) for line in facts.get("problems", ())]
    direction = facts["direction"]
    shown: Facts = {
        **{key: facts[key] for key in _PASSED},
        "log": one_line_label(str(facts["log"]).replace("\\", "/").rsplit("/", 1)[-1], 120),
        "metric": {
            "name": one_line_label(facts["metric"], 80),
            "direction": direction,
            "better": "lower" if direction == "minimize" else "higher",
            "decimals": decimals_for(facts["noise"]["sd"], value),
        },
        "noise": {**facts["noise"], "source": one_line_label(facts["noise"]["source"], 600)},
        "changes": changes,
        "with_code": bool(changes) and "lines" in changes[0],
        "advised": sorted((c for c in changes if c["seeds"]), key=_by_seeds),
        "overturned": [c["line"] for c in changes if c["better"] < OVERTURNED],
        "too_small": [c["line"] for c in changes if c["seeds"] is None],
        "assumed": [one_line_label(note, 600) for note in facts.get("assumptions", ())],
        "problems": problems[:MOST_PROBLEMS],
        "problems_in_all": len(problems),
        "reruns": None if reruns is None else _reruns(reruns),
    }
    shown["answer"] = audit_answer(shown)
    shown["method"] = audit_method(shown)
    safe: Facts = safe_json(shown)
    return safe


_PASSED = (
    "experiments",
    "expected_true",
    "expected_false_keeps",
    "least_true",
    "most_true",
    "all_hold",
    "surviving",
    "together",
    "together_hold",
    "total",
    "total_low",
    "total_high",
    "printed",
)


def _by_seeds(change: Facts) -> tuple[int, int]:
    return change["seeds"], change["line"]


def _again(found: Facts | None) -> Facts | None:
    if found is None:
        return None
    return {
        **found,
        "description": one_line_label(found["description"]),
        "reason": one_line_label(found["reason"], 600),
        "notes": [one_line_label(note, 600) for note in found["notes"]],
        "runs": [
            {**run, "side": side, "reason": one_line_label(run["reason"], 200)}
            for pair in zip(found["parent_runs"], found["child_runs"], strict=False)
            for side, run in zip(("incumbent", "change"), pair, strict=True)
        ],
    }


def _reruns(found: Facts) -> Facts:
    names = ("session", "task", "hardware", "metric")
    cleaned = {name: one_line_label(found[name], 120) for name in names}
    return {**found, **cleaned, "chosen": len(found["changes"]), "changes": None}


def render_audit(facts: Mapping[str, Any]) -> str:
    """The page."""
    shown = audit_facts(facts)
    drawn = {
        name: [(spec, frame) for frame in frames if (spec := make(shown, frame)) is not None]
        for name, (make, *frames) in FIGURES.items()
    }
    plots = {
        name: share_rows([interactive_figure(spec, frame) for spec, frame in pair])
        for name, pair in drawn.items()
    }
    return fill_page(
        "audited.html",
        shown["metric"]["decimals"],
        {"listed": _listed},
        page_scripts(),
        facts=shown,
        figures={
            name: [Markup(themed_svg(figure_svg(spec))) for spec, _ in pair]
            for name, pair in drawn.items()
        },
        plots=Markup(data_block({**plots, "tips": {}})),
        mark=MARKS[shown["answer"]["kind"]],
        chips=CHIPS,
        tests=TESTS,
        credible=CREDIBLE,
        overturned=OVERTURNED,
        most_seeds=MOST_SEEDS,
        level=LEVEL,
    )


def _listed(lines: Sequence[int]) -> str:
    return ", ".join(map(str, lines))
