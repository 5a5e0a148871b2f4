"""Page of an audit: what a log's kept changes are worth, and which hold when run again."""

import operator
from collections.abc import Mapping, Sequence
from typing import Any

from ratchet.base.io import write_bytes, write_json
from ratchet.base.structs import to_json_values
from ratchet.base.text import format_percent, one_line_label, plural, safe_json, shorten
from ratchet.logs.audit import (
    CHANCE,
    CREDIBLE,
    GIVEN_LOG,
    GIVEN_RUNS,
    MOST_SEEDS,
    OVERTURNED,
    TESTS,
)
from ratchet.logs.rerun import audit_plan_of, audit_verdicts
from ratchet.logs.rerun_plan import AUDIT_LEVEL
from ratchet.logs.smoothing import LEVEL
from ratchet.logs.table import first_of
from ratchet.records.records import Direction
from ratchet.report.figure_style import (
    FigureTable,
    Frame,
    Range,
    Row,
    Spec,
    robust_range,
)
from ratchet.report.inputs import Facts, method_entries, metric_facts, metric_text
from ratchet.report.intervals import NARROW, WIDE, Axis, interval_figure, interval_row
from ratchet.report.render import draw_figures, fill_page, page_scripts, unbroken
from ratchet.session import Session

RIGHT = "P | log"
"""Heading of the probabilities beside the lines."""


def audit_answer(facts: Facts) -> Facts:
    """The audit in one sentence; ``kind``, ``headline`` and ``rest``."""
    count = len(facts["changes"])
    if not count:
        headline = "Nothing was kept after the baseline"
        if facts.get("repeats"):
            headline = "No kept change differs from its incumbent"
        return {"kind": "none", "headline": headline, "rest": "There is nothing to audit."}
    expected = (
        f"by the whole log {facts['expected_true']:.1f} of {plural(count, 'kept change')} are "
        f"better ({facts['least_true']} to {facts['most_true']}) and "
        f"{facts['expected_false_keeps']:.1f} are false keeps"
    )
    total = _between(facts, *(facts[name] for name in ("total", "total_low", "total_high")))
    gain = f"gain {total}, printed {metric_text(facts, facts['printed'], signed=True)}"
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


def audit_method(facts: Facts) -> list[dict[str, str]]:
    """Method and limits of an audit: ``term`` and ``text`` of each entry."""
    return method_entries(
        "audit_method.md", facts=facts, level=LEVEL, audit_level=AUDIT_LEVEL, chance=CHANCE,
        credible=CREDIBLE, overturned=OVERTURNED, most_seeds=MOST_SEEDS,
    )  # fmt: skip


def gains_figure(facts: Facts, frame: Frame) -> Spec | None:
    """Each change's gain by the log, and where it was run again by the fresh runs."""
    rows: list[Row] = []

    def add(kind: str, label: str, found: Facts, sure: float, tip: str) -> None:
        ends, right = (found["low"], found["high"]), format_percent(sure)
        rows.append(interval_row(kind, label, found["gain"], ends, right, tip))

    for change in _largest(facts["changes"], MOST_DRAWN):
        label = f"#{change['index']} {change['description']}"
        gain = f"gain {_between(facts, change['gain'], change['low'], change['high'])}"
        sure = f"{GIVEN_LOG} {format_percent(change['given_log'])}"
        sure += f", P(better) {format_percent(change['confidence'])}"
        printed = f"printed {metric_text(facts, change['step'], signed=True)}"
        add("log", label, change, change["given_log"], f"{label}\n{printed}\n{gain}\n{sure}")
        rows[-1]["mark"] = change["step"]
        again = change["again"]
        if again is not None and again["gain"] is not None:
            standing = again["standing"]
            tip = (
                f"#{change['index']} run again, {again['seeds']} seeds a side: {standing}\n"
                f"gain {_between(facts, again['gain'], again['low'], again['high'])}\n"
                f"{GIVEN_RUNS} {format_percent(again['given_runs'])}"
            )
            add(standing, f"↳ {standing}", again, again["given_runs"], tip)
    ends = [row[end] for row in rows for end in ("low", "high")]
    over = robust_range(ends, [0.0, *(row["value"] for row in rows)])
    title = f"gain of {shorten(facts['metric']['name'], 36)}, right is better"
    return interval_figure(rows, Axis(title, "gain", over, right=RIGHT), frame)


def doubts_figure(facts: Facts, frame: Frame) -> Spec | None:
    """The chance of each change when it was kept and by the whole log, and when run again."""
    rows = []
    for change in _largest(facts["changes"], MOST_DRAWN):
        line, again = change["line"], change["again"]
        shown = {"log": change["given_log"], "then": change["confidence"]}
        if again is not None and again["given_runs"] is not None:
            shown[again["standing"]] = again["given_runs"]
        label = f"#{change['index']} {change['description']}"
        right = format_percent(change["given_log"])
        ends = min(shown.values()), max(shown.values())
        for kind, value in shown.items():
            name = {"log": GIVEN_LOG, "then": "P(better)"}.get(kind, GIVEN_RUNS)
            tip = f"#{change['index']}\n{name} {format_percent(value)}"
            rows.append(interval_row(kind, label, value, ends, right, tip, group=line))
    rules = OVERTURNED, CREDIBLE
    axis = Axis("probability of being better", "P(better)", Range(-0.03, 1.03), rules, RIGHT)
    return interval_figure(rows, axis, frame)


def _largest(changes: Sequence[Facts], most: int) -> list[Facts]:
    """The changes that were run again and those of the largest effect, in the log's order."""
    if len(changes) <= most:
        return list(changes)
    order = sorted(changes, key=lambda c: (c["again"] is None, -abs(c["gain"]), c["line"]))
    return sorted(order[:most], key=operator.itemgetter("line"))


FIGURES: FigureTable = {
    "gains": (gains_figure, WIDE, NARROW),
    "doubts": (doubts_figure, WIDE, NARROW),
}


def _between(facts: Facts, value: float, low: float | None, high: float | None) -> str:
    """``+0.010 (+0.009 to +0.011)``; the value alone where there is no interval."""
    shown = metric_text(facts, value, signed=True)
    if low is None or high is None:
        return shown
    ends = (metric_text(facts, end, signed=True) for end in (low, high))
    return f"{shown} ({' to '.join(ends)})"


MOST_PROBLEMS = 50
MOST_TABLED, MOST_DRAWN, MOST_LISTED = 1000, 60, 40
"""Changes in the table, in each figure and in each list of a page, those of the largest
effect first; a page stays readable, and below 3 MB."""

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
    """Facts of the page, made from those that ``ratchet audit --json`` prints."""
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
    shown: Facts = {
        **facts,
        "log": one_line_label(str(facts["log"]).replace("\\", "/").rsplit("/", 1)[-1], 120),
        "metric": metric_facts(
            facts["metric"], None, Direction(facts["direction"]), facts["noise"]["sd"], value
        ),
        "noise": {**facts["noise"], "source": one_line_label(facts["noise"]["source"], 600)},
        "changes": changes,
        "tabled": _largest(changes, MOST_TABLED),
        "with_code": bool(changes) and "lines" in changes[0],
        "advised": sorted(
            (c for c in changes if c["seeds"]), key=lambda c: (c["seeds"], c["line"])
        ),
        "overturned": [c["line"] for c in changes if c["given_log"] < OVERTURNED],
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
    shown = unbroken(audit_facts(facts))
    stills, plots = draw_figures(FIGURES, shown, {})
    return fill_page(
        "audited.html",
        shown["metric"]["decimals"],
        {"listed": lambda lines: first_of(lines, MOST_LISTED)},
        page_scripts(),
        facts=shown,
        figures=stills,
        plots=plots,
        mark=MARKS[shown["answer"]["kind"]],
        chips=CHIPS,
        tests=TESTS,
        credible=CREDIBLE,
        overturned=OVERTURNED,
        numbers={change["line"]: change["index"] for change in shown["changes"]},
        most_seeds=MOST_SEEDS,
        most_listed=MOST_LISTED,
        most_drawn=MOST_DRAWN,
        level=LEVEL,
    )
