"""Facts made visible: one self-contained page and two pictures.

The same facts give the same bytes: no clock, no random names, and the renderer
brings its own font.  The page needs no network and runs no script; a content
security policy says so to the browser too.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from importlib import resources
from typing import Any

import vl_convert
from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from ratchet.report import figures, forest, remarks, text
from ratchet.report.answer import interval_name
from ratchet.report.frames import Spec
from ratchet.report.inputs import Facts
from ratchet.report.palette import DARK, LIGHT, css_variables

# Twice the logical pixels: 1600 wide, sharp on any screen.
PNG_SCALE = 2
# What diffs and logs may add to the page: it then stays under 2 MB for 200
# experiments and under 5 MB for 1,000.
DETAIL_BYTES = 1_100_000
DETAIL_BYTES_PER_EXPERIMENT = 2_200
# Logs give way first: a diff says what was tried, a log only how it went.
STEPS = (
    ("log_tail", 2_000),
    ("log_tail", 500),
    ("diff", 8_000),
    ("diff", 3_000),
    ("log_tail", 200),
    ("diff", 1_000),
    ("hypothesis", 300),
    ("diff", 300),
)
GLYPHS = {"keep": "●", "discard": "○", "crash": "✕", None: "…"}
ANSWER_GLYPHS = {"confirmed": "✓", "unfinished": "…", "nothing_kept": "○", "no_interval": "?"}

_COLOUR = re.compile(r'(fill|stroke)="(#[0-9a-f]{6}|white)"')
_SIZE = re.compile(r'^(<svg [^>]*?)width="\d+(?:\.\d+)?" height="\d+(?:\.\d+)?"')
_ROLES = {colour: name for name, colour in LIGHT.items()}


def render_svg(facts: Facts) -> str:
    """The picture for sharing as SVG, in light colours."""
    return _svg(figures.progress(facts, figures.SHARED))


def render_png(facts: Facts) -> bytes:
    """The picture for sharing, 1600 pixels wide."""
    spec = figures.progress(facts, figures.SHARED)
    png: bytes = vl_convert.vegalite_to_png(spec, scale=PNG_SCALE, allowed_base_urls=[])
    return png


def render_html(facts: Facts) -> str:
    """The whole report as one page."""
    shown, notes = fit(facts)
    environment = Environment(
        loader=FunctionLoader(_asset),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    decimals = facts["metric"]["decimals"]
    environment.filters.update(
        metric=lambda value: text.number(value, decimals),
        signed=lambda value: text.number(value, decimals, signed=True),
        number=text.number,
        percent=text.percent,
        duration=text.duration,
        dash=lambda value: text.DASH if value is None or value == "" else value,
        words=lambda value: str(value).replace("_", " "),
        plural=text.plural,
        flat=_flat,
        remarks=lambda e: remarks.remarks(e, decimals),
        alarm=lambda check: remarks.alarm(check, decimals),
    )
    return environment.get_template("report.html").render(
        facts=shown,
        notes=notes,
        figures=_figures(facts),
        forest_rows=forest.forest_rows(facts),
        style=Markup(_asset("report.css")),
        light=Markup(css_variables(LIGHT)),
        dark=Markup(css_variables(DARK)),
        glyphs=GLYPHS,
        answer_glyph=ANSWER_GLYPHS.get(facts["answer"]["kind"], "!"),
        interval_name=interval_name,
    )


def fit(facts: Facts) -> tuple[Facts, list[str]]:
    """Facts with logs, then diffs, cut until the page is small enough, and what was cut."""
    tried = facts["experiments"]
    allowed = max(DETAIL_BYTES, DETAIL_BYTES_PER_EXPERIMENT * len(tried))
    shown = {**facts, "experiments": [copy.copy(e) for e in tried]}
    limits: dict[str, int] = {}
    for field, limit in STEPS:
        if _detail_bytes(shown["experiments"]) <= allowed:
            break
        limits[field] = limit
        cut = text.tail if field == "log_tail" else text.head
        for e, whole in zip(shown["experiments"], tried, strict=True):
            e[field] = cut(whole[field], limit) if whole[field] else whole[field]
    names = {"log_tail": "log tails", "diff": "diffs", "hypothesis": "hypotheses"}
    notes = [f"{names[field]} to {limit:,} bytes" for field, limit in limits.items()]
    return shown, notes


def _detail_bytes(tried: list[Facts]) -> int:
    """Size of the long texts once escaped, with the mark-up around a diff's lines."""
    size = 0
    for e in tried:
        for field in ("diff", "log_tail", "hypothesis"):
            value = e[field] or ""
            size += len(value.encode()) + sum(4 * value.count(c) for c in "<>&\"'")
        size += 11 * (e["diff"] or "").count("\n")
    return size


def _figures(facts: Facts) -> dict[str, Any]:
    """Each figure twice, for wide and for narrow windows, coloured by the style sheet."""
    specs = {
        "progress": (
            figures.progress(facts, figures.WIDE),
            figures.progress(facts, figures.NARROW),
        ),
        "forest": (forest.forest(facts, forest.WIDE), forest.forest(facts, forest.NARROW)),
    }
    return {
        name: [Markup(_themed(_svg(spec))) for spec in pair if spec is not None]
        for name, pair in specs.items()
    }


def _svg(spec: Spec) -> str:
    svg: str = vl_convert.vegalite_to_svg(spec, allowed_base_urls=[])
    return svg


def _themed(svg: str) -> str:
    """The same drawing with the page's colours, scaling with its box."""

    def variable(match: re.Match[str]) -> str:
        name = "surface" if match[2] == "white" else _ROLES.get(match[2])
        return f'{match[1]}="var(--{name})"' if name else match[0]

    return _COLOUR.sub(variable, _SIZE.sub(r"\1", svg))


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


def _asset(name: str) -> str:
    return resources.files("ratchet.report").joinpath(name).read_text(encoding="utf-8")
