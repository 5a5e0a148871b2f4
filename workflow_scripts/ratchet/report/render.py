"""Facts made visible: one self-contained page and two pictures.

The same facts give the same bytes: no clock, no random names, and the renderer
brings its own font.  The page needs no network and runs no script but its own; a
content security policy says so to the browser too.  Without scripts everything in it
can be read: each figure stands there as a drawing, which the script's replaces.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import vl_convert
from markupsafe import Markup

from ratchet.report import columns, figures, forest, pareto, remarks, schedule, scripts, text, tips
from ratchet.report.answer import interval_name
from ratchet.report.drawn import shared, svg, themed
from ratchet.report.frames import Frame, Spec
from ratchet.report.inputs import Facts
from ratchet.report.interactive import interactive
from ratchet.report.page import fill

# Twice the logical pixels: 1600 wide, sharp on any screen.
PNG_SCALE = 2
# A page is to open at once, also over a slow line: under 2 MB for 200 experiments
# and under 5 MB for 1,000.
SMALL_SESSION, SMALL_PAGE, PER_EXPERIMENT = 200, 1_990_000, 3_750
# About what the page weighs without diffs and logs, by itself and per experiment; what
# is left is theirs, and cut again, so many times at most, where the page is too large.
FRAME, ROW, CUTS = 720_000, 3_000, 4
# From here on figures are drawn once, not for narrow windows too.
MANY = 300
# Logs give way first: a diff says what was tried, a log only how it went.
STEPS = (
    ("log_tail", 2_000),
    ("log_tail", 500),
    ("diff", 8_000),
    ("diff", 3_000),
    ("log_tail", 0),
    ("diff", 1_000),
    ("hypothesis", 300),
    ("diff", 300),
    ("hypothesis", 0),
)
GLYPHS = {"keep": "●", "discard": "○", "crash": "✕", None: "…"}
ANSWER_GLYPHS = {
    "confirmed": "✓",
    "unfinished": "…",
    "nothing_kept": "○",
    "no_interval": "?",
    "estimated": "≈",
}

Drawn = dict[str, list[tuple[Markup, Spec]]]


def render_svg(facts: Facts) -> str:
    """The picture for sharing as SVG, in light colours."""
    return svg(figures.progress(facts, figures.SHARED))


def render_png(facts: Facts) -> bytes:
    """The picture for sharing, 1600 pixels wide."""
    spec = figures.progress(facts, figures.SHARED)
    png: bytes = vl_convert.vegalite_to_png(spec, scale=PNG_SCALE, allowed_base_urls=[])
    return png


def render_html(facts: Facts) -> str:
    """The whole report as one page, cut to what a page of so many experiments may weigh."""
    drawn, tried = _figures(facts), len(facts["experiments"])
    most = page_limit(tried)
    allowed = most - FRAME - ROW * tried
    for _ in range(CUTS):
        shown, notes = fit(facts, allowed)
        page = _page(facts, shown, notes, drawn)
        excess = len(page.encode()) - most
        if excess <= 0:
            break
        allowed = max(0, min(allowed, _detail_bytes(shown["experiments"])) - excess)
    return page


def page_limit(experiments: int) -> int:
    """Bytes that a page of so many experiments may have."""
    return SMALL_PAGE + PER_EXPERIMENT * max(0, experiments - SMALL_SESSION)


def _page(facts: Facts, shown: Facts, notes: list[str], drawn: Drawn) -> str:
    decimals, chosen = facts["metric"]["decimals"], columns.of(facts)
    filters: dict[str, Callable[..., Any]] = {
        "duration": text.duration,
        "words": lambda value: str(value).replace("_", " "),
        "flat": _flat,
        "hunks": hunks,
        "remarks": lambda e: remarks.remarks(e, decimals),
        "alarm": lambda check: remarks.alarm(check, decimals),
        "cells": lambda e: columns.cells(e, decimals, chosen),
    }
    return fill(
        "report.html",
        decimals,
        filters,
        scripts.scripts(),
        facts=shown,
        notes=notes,
        figures={
            name: [still for still, _ in pair[: 1 if len(facts["experiments"]) > MANY else 2]]
            for name, pair in drawn.items()
        },
        plots=Markup(_plots(facts, drawn)),
        sections=_sections(facts, drawn),
        columns=chosen,
        worded=columns.WORDED,
        ranks=columns.RANKS,
        chosen=Markup(columns.style(chosen)),
        forest_rows=forest.forest_rows(facts),
        glyphs=GLYPHS,
        answer_glyph=ANSWER_GLYPHS.get(facts["answer"]["kind"], "!"),
        interval_name=interval_name,
    )


def fit(facts: Facts, allowed: int) -> tuple[Facts, list[str]]:
    """Facts with logs, then diffs, cut to about so many bytes, and what was cut."""
    tried = facts["experiments"]
    shown = {**facts, "experiments": [copy.copy(e) for e in tried]}
    limits: dict[str, int] = {}
    for field, limit in STEPS:
        if _detail_bytes(shown["experiments"]) <= allowed:
            break
        limits[field] = limit
        cut = text.tail if field == "log_tail" else text.head
        for e, whole in zip(shown["experiments"], tried, strict=True):
            e[field] = cut(whole[field], limit) if whole[field] and limit else None
    names = {"log_tail": "log tails", "diff": "diffs", "hypothesis": "hypotheses"}
    notes = [
        f"{names[field]} {f'to {limit:,} bytes' if limit else 'altogether'}"
        for field, limit in limits.items()
    ]
    return shown, notes


def hunks(lines: list[str]) -> list[tuple[str, str]]:
    """Lines of a diff that stand together and are of one kind: ``+``, ``-`` or none."""
    grouped = itertools.groupby(lines, key=lambda line: line[:1] if line[:1] in ("+", "-") else "")
    return [(kind, "\n".join(some)) for kind, some in grouped]


def _detail_bytes(tried: list[Facts]) -> int:
    """Size of the long texts once escaped, with the mark-up around a diff's lines."""
    size = 0
    for e in tried:
        for field in ("diff", "log_tail", "hypothesis"):
            value = e[field] or ""
            size += len(value.encode()) + sum(4 * value.count(c) for c in "<>&\"'")
        size += 11 * len(hunks((e["diff"] or "").split("\n")))
    return size


_FIGURES: dict[str, tuple[Callable[[Facts, Frame], Spec | None], Frame, Frame]] = {
    "progress": (figures.progress, figures.WIDE, figures.NARROW),
    "forest": (forest.forest, forest.WIDE, forest.NARROW),
    "pareto": (pareto.pareto, pareto.WIDE, pareto.NARROW),
    "schedule": (schedule.schedule, schedule.WIDE, schedule.NARROW),
}


def _figures(facts: Facts) -> Drawn:
    """Each figure for wide and for narrow windows, as a drawing and for the script."""
    drawn: Drawn = {}
    for name, (make, *frames) in _FIGURES.items():
        drawn[name] = []
        for frame in frames:
            spec = make(facts, frame)
            if spec is not None:
                needed = frame is frames[0] or len(facts["experiments"]) <= MANY
                still = Markup(themed(svg(spec))) if needed else Markup()
                drawn[name].append((still, interactive(spec, frame)))
    return drawn


def _plots(facts: Facts, drawn: Drawn) -> str:
    """What the script draws, as JSON: the plots, and what is said of each experiment."""
    tried = [e for e in facts["experiments"] if e["verdict"] is not None]
    said = {str(e["number"]): tips.of_experiment(e, facts) for e in tried}
    plots = {name: shared([plot for _, plot in pair]) for name, pair in drawn.items()}
    return scripts.data_block({**plots, "tips": said})


def _sections(facts: Facts, drawn: Drawn) -> list[tuple[str, str]]:
    """Anchors and names of the sections that this session, or log, has."""
    own = facts["log"] is None
    found = [
        ("progress", "Progress", True),
        ("verdicts", "Verdicts", bool(drawn["forest"])),
        ("experiments", "Experiments", True),
        ("pareto", "Memory", bool(drawn["pareto"])),
        ("crashes", "Crashes", bool(facts["crashes"])),
        ("agents", "Failed proposals", bool(facts["agents"])),
        ("confirmation", "Confirmation", own),
        ("noise", "Noise", True),
        ("steering", "Steering", bool(facts["steering"])),
        ("timeline", "Timeline", bool(drawn["schedule"])),
        ("integrity", "Integrity", own),
        ("provenance", "Provenance", own),
        ("log", "The log", not own),
        ("method", "Method", True),
        ("program", "Next program.md", bool(facts["program"])),
    ]
    return [(anchor, name) for anchor, name, there in found if there]


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested settings as rows: ``budget.amount``, 3.0."""
    rows: list[tuple[str, Any]] = []
    for key in sorted(values):
        value = values[key]
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            rows.append((f"{prefix}{key}", ", ".join(str(item) for item in value)))
        else:
            rows.append((f"{prefix}{key}", value))
    return rows
