"""The page of an audit: what a log's kept changes are worth, and which hold when run again.

Self-contained, and safe in the same way as other pages: texts of the log are cleaned
and escaped, and a policy allows the page's own scripts alone.  Equal facts give equal
bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from ratchet import files
from ratchet.audit import CREDIBLE, MOST_SEEDS, OVERTURNED, TESTS
from ratchet.codec import encode
from ratchet.report import scripts, text
from ratchet.report.audited_figures import FIGURES
from ratchet.report.audited_words import answer, method
from ratchet.report.drawn import shared, svg, themed
from ratchet.report.inputs import Facts
from ratchet.report.interactive import interactive
from ratchet.report.page import fill
from ratchet.session import Session
from ratchet.smoothing import LEVEL
from ratchet.stages import rejudging, rerun

MOST_PROBLEMS = 50
MARKS = {"holds": "✓", "fails": "!", "undecided": "?", "log": "≈", "none": "○"}
CHIPS = {
    "holds": ("keep", "●"),
    "does not hold": ("crash", "✕"),
    "undecided": ("pending", "?"),
    "not run": ("discard", "○"),
}


def run(session: Session) -> None:
    """Judge all re-runs of an audit; write ``audit.json`` and its page."""
    found = rejudging.verdicts(session)
    facts = dict(rerun.plan(session).facts)
    facts["reruns"] = {**encode(found), "sentence": found.sentence}
    files.write_json(session.paths.audit_json, facts)
    files.write_bytes(session.paths.audit_html, render(facts).encode())
    session.journal.append("audited", answer=found.sentence)


def build(facts: Mapping[str, Any]) -> Facts:
    """What the page shows, of the facts that ``ratchet audit --json`` prints."""
    reruns = facts.get("reruns")
    again = {change["line"]: change for change in (reruns or {"changes": ()})["changes"]}
    value = next((change["value"] for change in facts["changes"]), None)
    changes = [
        {
            **change,
            "description": text.label(change["description"]),
            "commit": text.label(change["commit"], 64),
            "again": _again(again.get(change["line"])),
        }
        for change in facts["changes"]
    ]
    problems = [text.label(line, 600) for line in facts.get("problems", ())]
    direction = facts["direction"]
    shown: Facts = {
        **{key: facts[key] for key in _PASSED},
        "log": text.label(str(facts["log"]).replace("\\", "/").rsplit("/", 1)[-1], 120),
        "metric": {
            "name": text.label(facts["metric"], 80),
            "direction": direction,
            "better": "lower" if direction == "minimize" else "higher",
            "decimals": text.decimals_for(facts["noise"]["sd"], value),
        },
        "noise": {**facts["noise"], "source": text.label(facts["noise"]["source"], 600)},
        "changes": changes,
        "with_code": bool(changes) and "lines" in changes[0],
        "advised": sorted((c for c in changes if c["seeds"]), key=_by_seeds),
        "overturned": [c["line"] for c in changes if c["better"] < OVERTURNED],
        "too_small": [c["line"] for c in changes if c["seeds"] is None],
        "assumed": [text.label(note, 600) for note in facts.get("assumptions", ())],
        "problems": problems[:MOST_PROBLEMS],
        "problems_in_all": len(problems),
        "reruns": None if reruns is None else _reruns(reruns),
    }
    shown["answer"] = answer(shown)
    shown["method"] = method(shown)
    safe: Facts = text.safe_json(shown)
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
        "description": text.label(found["description"]),
        "reason": text.label(found["reason"], 600),
        "notes": [text.label(note, 600) for note in found["notes"]],
        "runs": [
            {**run, "side": side, "reason": text.label(run["reason"], 200)}
            for pair in zip(found["parent_runs"], found["child_runs"], strict=False)
            for side, run in zip(("incumbent", "change"), pair, strict=True)
        ],
    }


def _reruns(found: Facts) -> Facts:
    names = ("session", "task", "hardware", "metric")
    cleaned = {name: text.label(found[name], 120) for name in names}
    return {**found, **cleaned, "chosen": len(found["changes"]), "changes": None}


def render(facts: Mapping[str, Any]) -> str:
    """The page."""
    shown = build(facts)
    drawn = {
        name: [(spec, frame) for frame in frames if (spec := make(shown, frame)) is not None]
        for name, (make, *frames) in FIGURES.items()
    }
    plots = {
        name: shared([interactive(spec, frame) for spec, frame in pair])
        for name, pair in drawn.items()
    }
    return fill(
        "audited.html",
        shown["metric"]["decimals"],
        {"listed": _listed},
        scripts.scripts(),
        facts=shown,
        figures={
            name: [Markup(themed(svg(spec))) for spec, _ in pair] for name, pair in drawn.items()
        },
        plots=Markup(scripts.data_block({**plots, "tips": {}})),
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
