"""A report as one self-contained page and a picture, from its facts.

The same facts give the same bytes: no clock, no random names, and the renderer brings
its own font.  The page needs no network; without scripts everything in it can be read,
since each figure stands there as a drawing, which the script's replaces.  A content
security policy allows the page's own scripts by their hashes, and nothing else.
"""

import base64
import copy
import hashlib
import itertools
import json
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import vl_convert
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from ratchet import __version__
from ratchet.base.colours import DARK, LIGHT, css_variables
from ratchet.base.text import (
    DASH,
    format_duration,
    format_number,
    format_percent,
    head_text,
    plural,
    tail_text,
)
from ratchet.records.confirmed import NO_UNSEEN_DATA
from ratchet.records.transferred import transfer_sentence
from ratchet.report import curves, figures, influence
from ratchet.report.answer import alarm_remark, experiment_remarks
from ratchet.report.figure_style import FigureTable, Frame, Spec
from ratchet.report.figures import SHARED, experiment_tip, progress_figure
from ratchet.report.inputs import Facts
from ratchet.report.intervals import forest_rows
from ratchet.report.machine import sparklines

Cell = tuple[str, float | int | None]
"""Text and, where the text is not what is sorted by, the number that is."""


class Column(NamedTuple):
    """A column: ``shown`` unless somebody chooses otherwise, ``worded`` if aligned left.

    ``logged``: whether logs of others can fill it; where no row of theirs has
    ``needs``, the column is left out.
    """

    key: str
    heading: str
    shown: bool
    cell: Callable[[Facts, int], Cell]
    worded: bool = False
    logged: bool = True
    needs: str = ""


def _order(value: float | int | None) -> float | int:
    """Sort key of a value: a missing one comes below all others, seven digits suffice."""
    return -1e99 if value is None else float(f"{value:.7g}") if isinstance(value, float) else value


def _metric(name: str, finer: int = 0, *, signed: bool = False) -> Callable[[Facts, int], Cell]:
    return lambda e, decimals: (
        format_number(e[name], decimals + finer, signed=signed), _order(e[name])
    )  # fmt: skip


def _tenths(name: str) -> Callable[[Facts, int], Cell]:
    return lambda e, _: (format_number(e[name], 1), _order(e[name]))


def _memory(e: Facts, _: int) -> Cell:
    value = e["memory_mb"]
    return format_number(value, int(value is not None and value < 1000)), _order(value)


def _count(name: str) -> Callable[[Facts, int], Cell]:
    return lambda e, _: (DASH if e[name] is None else f"{e[name]}", _order(e[name]))


def _words(name: str, most: int | None = None) -> Callable[[Facts, int], Cell]:
    return lambda e, _: ((e[name] or DASH)[:most], None)


def _interval(e: Facts, decimals: int) -> Cell:
    if e["delta_low"] is None:
        return DASH, _order(None)
    ends = (format_number(e[end], decimals, signed=True) for end in ("delta_low", "delta_high"))
    return " to ".join(ends), _order(e["delta_low"])


def _lines(e: Facts, _: int) -> Cell:
    if e["lines_added"] is None:
        return DASH, _order(e["net_lines"])
    net = e["lines_added"] - e["lines_removed"] if e["net_lines"] is None else e["net_lines"]
    return f"+{e['lines_added']} −{e['lines_removed']}", _order(net)


def _standing(e: Facts, _: int) -> Cell:
    """Standing of a kept change by fresh runs."""
    found = e["contribution"]
    return (DASH if found is None else found["standing"]), None


COLUMNS = (
    Column("category", "Category", True, _words("category"), worded=True),
    Column("mean", "Mean", True, _metric("mean")),
    Column("runs", "Runs", False, _count("n"), logged=False),
    Column("delta", "Δ", True, _metric("delta", signed=True)),
    Column("interval", "95 % interval", False, _interval, worded=True),
    Column("gain", "Gain", False, _metric("gain", signed=True)),
    Column(
        "confidence", "P(better)", True,
        lambda e, _: (format_percent(e["confidence"]), _order(e["confidence"])),
    ),
    Column("standing", "Certified", True, _standing, worded=True, logged=False),
    Column(
        "strict", "Stricter test", False,
        lambda e, _: ({None: DASH, True: "survives", False: "does not"}[e["survives"]], None),
        worded=True,
    ),
    # Prices are often smaller than what is measured.
    Column("price", "Price", False, _metric("price", 1, signed=True), logged=False),
    Column("memory", "Memory MiB", True, _memory, needs="memory_mb"),
    Column(
        "pareto", "Pareto", False, lambda e, _: ((e["pareto"] or DASH).lower(), None),
        worded=True, logged=False,
    ),
    Column("seconds", "Training s", False, _tenths("seconds"), logged=False),
    Column("wall", "Wall s", False, _tenths("wall_seconds"), logged=False),
    Column("lines", "Lines ±", True, _lines, needs="lines_added"),
    Column("changes", "Changes", False, _count("changes"), needs="changes"),
    Column("round", "Round", False, _count("round"), logged=False),
    Column("commit", "Commit", False, _words("commit", 10), worded=True, needs="commit"),
)  # fmt: skip
LOGGED = (
    Column("logged", "Logged", True, _words("logged"), worded=True),
    Column("agent", "Agent", False, _words("agent"), worded=True, needs="agent"),
    Column("line", "Line", False, _count("line")),
)
"""Further columns of a log that Ratchet did not write."""

RANKS = {
    verdict: place
    for place, verdict in enumerate(
        (
            "STRONG_KEEP",
            "KEEP",
            "MARGINAL",
            "RETEST",
            "DISCARD",
            "CRASH",
            "TAMPERED",
            "GUARD_FAILED",
        )
    )
}
"""The order of verdicts."""


def experiment_columns(facts: Facts) -> tuple[Column, ...]:
    """The columns of a report: all of a session's, of a log those that it can fill.

    What decided is shown: the price of a change where one has a price that can be seen, and
    the gain beside it; what fresh runs say where they were asked.
    """
    rows, decimals = facts["experiments"], facts["metric"]["decimals"]
    if facts["log"] is None:
        priced = any(abs(e["price"] or 0.0) >= 10.0**-decimals for e in rows)
        certified = any(e["contribution"] for e in rows)
        asked = {"gain": priced, "price": priced, "standing": certified}
        if priced and certified:
            # With all of these the table would be wider than a page.
            asked |= {"category": False, "lines": False}
        return tuple(
            column._replace(shown=asked.get(column.key, column.shown)) for column in COLUMNS
        )
    first, *others = COLUMNS
    return tuple(
        column
        for column in (LOGGED[0], first, *others, *LOGGED[1:])
        if column.logged
        and (not column.needs or any(e[column.needs] not in (None, "") for e in rows))
    )


def column_cells(
    e: Facts, decimals: int, chosen: Sequence[Column] = COLUMNS
) -> list[tuple[str, str, float | int | None]]:
    """Key, text and what is sorted by, of each column for one experiment."""
    return [(column.key, *column.cell(e, decimals)) for column in chosen]


def column_style(chosen: Sequence[Column] = COLUMNS) -> str:
    """Rules that show the columns whose boxes are ticked; they work without any script."""
    return "".join(
        f"main:has(#c-{key}:checked) .c-{key}{{display:table-cell}}" for key, *_ in chosen
    )


_DRAWN = re.compile(r'(fill|stroke)="(#[0-9a-f]{6}|white)"')
_SIZE = re.compile(r'^(<svg [^>]*?)width="\d+(?:\.\d+)?" height="\d+(?:\.\d+)?"')
_LONG = re.compile(r"(?<![#\w])(-?\d+\.\d\d)\d+")
_MARK = re.compile(r"<[^>]*>")
_ROLES = {colour: name for name, colour in LIGHT.items()}


def figure_svg(spec: Spec) -> str:
    """A figure as SVG, in light colours."""
    drawn: str = vl_convert.vegalite_to_svg(spec, allowed_base_urls=[])
    return drawn


def figure_png(spec: Spec) -> bytes:
    """A figure of twice its size in pixels, sharp on any screen."""
    png: bytes = vl_convert.vegalite_to_png(spec, scale=2, allowed_base_urls=[])
    return png


def themed_svg(drawn: str) -> str:
    """A drawing with the page's colours instead of its own, scaling with its box."""

    def variable(match: re.Match[str]) -> str:
        name = "surface" if match[2] == "white" else _ROLES.get(match[2])
        return f'{match[1]}="var(--{name})"' if name else match[0]

    def mark(match: re.Match[str]) -> str:
        # A hundredth of a pixel cannot be seen, and a thousand points have many digits.
        return _DRAWN.sub(variable, _LONG.sub(r"\1", match[0])).replace(' opacity="1"', "")

    return _MARK.sub(mark, _SIZE.sub(r"\1", drawn))


def share_rows(plots: list[Spec]) -> list[Spec]:
    """Plots of the same rows, the rows only once: later plots say ``same: i`` for them."""
    plots = copy.deepcopy(plots)
    for plot in plots[1:]:
        known = [data.get("values") for data in plots[0]["spec"]["data"]]
        for data in plot["spec"]["data"]:
            if data.get("values") and data["values"] in known:
                data["same"] = known.index(data.pop("values"))
    return plots


FOLDER = Path(__file__).parent
VENDOR = FOLDER / "vendor"
GENERATOR = "Ratchet report"
"""Generator named in the head of every page."""


def fill_page(
    template: str,
    decimals: int,
    filters: Mapping[str, Callable[..., Any]],
    inline: Sequence[str],
    **values: Any,
) -> str:
    """A template filled with ``values``; metrics have ``decimals``, scripts are ``inline``."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        {
            "metric": lambda value: format_number(value, decimals),
            "signed": lambda value: format_number(value, decimals, signed=True),
            "number": format_number,
            "transferred": lambda gain: transfer_sentence(
                gain, lambda value: format_number(value, decimals)
            ),
            "percent": format_percent,
            "plural": plural,
            "dash": lambda value: DASH if value is None or value == "" else value,
            **filters,
        }
    )
    return environment.get_template(template).render(
        scripts=[Markup(code) for code in inline],
        policy=Markup(content_policy(inline)),
        style=Markup(_read(FOLDER / "report.css")),
        light=Markup(css_variables(LIGHT)),
        dark=Markup(css_variables(DARK)),
        generator=GENERATOR,
        version=__version__,
        **values,
    )


ZOOM = "zoom"
"""Name of the selection that moves and scales the horizontal axis."""

# Only with Ctrl, so that the wheel still scrolls the page.
WHEEL = "wheel![event.ctrlKey]"
_COLOUR = re.compile(r'"(#[0-9a-f]{6})"')


def interactive_figure(spec: Spec, frame: Frame) -> Spec:
    """A figure for the page's script, with zoom and tips.

    ``spec`` for Vega, ``aside`` the paddings beside the plot, ``zoom`` the signal that
    sets what part of the horizontal axis is shown.  Colours are the style sheet's
    variables, and expressions are syntax trees: nothing in the page needs ``eval``.

    Layers whose rows have a ``tip`` show it when they are pointed at, below what is said
    of the experiment of their ``number``.  All layers but words are clipped to the plot,
    and words leave it when their points do.  A figure that is marked so does not zoom.
    """
    layers = [_layer(each) for each in spec["layer"]]
    first = next(i for i, each in enumerate(layers) if _is_horizontal(each))
    select = {"type": "interval", "encodings": ["x"], "zoom": WHEEL}
    zooms = spec.get("usermeta", {}).get("zoom", True)
    if zooms:
        zoom = {"name": ZOOM, "select": select, "bind": "scales"}
        layers[first] = {**layers[first], "params": [zoom]}
    plain = {key: value for key, value in spec.items() if key != "title"}
    compiled = vl_convert.vegalite_to_vega({**plain, "layer": layers, "background": None})
    for data in compiled["data"]:
        if "values" in data:
            data["values"] = [_rounded(row) for row in data["values"]]
    return {
        "spec": json.loads(_COLOUR.sub(_variable, json.dumps(compiled))),
        "aside": frame.left + frame.right,
        "zoom": f"{ZOOM}_{layers[first]['encoding']['x']['field']}" if zooms else None,
    }


def _rounded(row: Spec) -> Spec:
    """Eight digits are more than a screen can show."""
    return {
        key: float(f"{value:.8g}") if isinstance(value, float) else value
        for key, value in row.items()
        if value is not None and value != ""
    }


def _layer(layer: Spec) -> Spec:
    mark, encoding = dict(layer["mark"]), {**layer["encoding"]}
    rows = layer["data"]["values"]
    if "x" in encoding:
        encoding["x"] = _free(encoding["x"])
    mark["clip"] = mark["type"] != "text"
    if mark["type"] == "text" and _is_horizontal(layer):
        field = encoding["x"]["field"]
        inside = f"inrange(datum[{json.dumps(field)}], domain('x'))"
        encoding["opacity"] = {"condition": {"test": inside, "value": 1}, "value": 0}
    if rows and "tip" in rows[0]:
        # Only marks that there is a tip; the page's script finds its text.
        encoding["tooltip"] = {"value": "tip"}
        mark["cursor"] = "pointer"
    return {**layer, "mark": mark, "encoding": encoding}


def _free(x: Mapping[str, Any]) -> Spec:
    """An axis whose domain can change: values outside of it are not moved to its ends."""
    scale = x.get("scale", {})
    return {**x, "scale": {**scale, "clamp": False}} if "clamp" in scale else dict(x)


def _is_horizontal(layer: Spec) -> bool:
    return "field" in layer["encoding"].get("x", {})


def _variable(match: re.Match[str]) -> str:
    role = _ROLES.get(match[1])
    return f'"var(--{role})"' if role else match[0]


_IMPORT = re.compile(r"^import \{([^}]*)\} from 'vega-util';$", re.MULTILINE)
_EXPORT = re.compile(r"^export \{ (\w+) as (\w+) \};$", re.MULTILINE)
_MAP = re.compile(r"^//# sourceMappingURL=.*$", re.MULTILINE)


@cache
def vendored_scripts() -> tuple[Mapping[str, str], ...]:
    """Libraries of others in the order in which the page needs them."""
    return tuple(json.loads(_read(VENDOR / "vendored.json")))


@cache
def page_scripts() -> tuple[str, ...]:
    """Every script of the page in order, as it stands between its tags."""
    return (*(_library(entry) for entry in vendored_scripts()), _read(FOLDER / "report.js"))


def _library(entry: Mapping[str, str]) -> str:
    """A library with its licence above it, as its licence asks."""
    code = _read(VENDOR / entry["file"])
    licence = _read(VENDOR / entry["licence_file"])
    if entry["name"] == "vega-interpreter":
        code = _as_classic(code)
    return f"/*! {entry['name']} {entry['version']}\n\n{licence}*/\n{_MAP.sub('', code).strip()}\n"


def _as_classic(code: str) -> str:
    """A module of Vega's as a plain script: it takes from and adds to ``vega``."""
    code = _IMPORT.sub(r"const {\1} = globalThis.vega;", code)
    code = _EXPORT.sub(r"globalThis.vegaInterpreter = {\2: \1};", code)
    return f"(() => {{\n{code}\n}})();"


def content_policy(inline: Sequence[str]) -> str:
    """A content security policy that allows these scripts, by hash, and inline styles."""
    hashes = (hashlib.sha256(code.encode()).digest() for code in inline)
    allowed = " ".join(f"'sha256-{base64.b64encode(sha).decode()}'" for sha in hashes) or "'none'"
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        "base-uri 'none'; form-action 'none'"
    )


def data_block(value: Any) -> str:
    """JSON that can stand in a script element: it cannot end it or open a comment."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), sort_keys=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


# A page is to open at once, also over a slow line: under 2 MB for 200 experiments
# and under 5 MB for 1,000.
SMALL_SESSION, SMALL_PAGE, PER_EXPERIMENT = 200, 1_990_000, 3_750
# Bytes by which a text says that it was cut.
CUT_NOTE = 70
LONG_LOG_PAGE = 2_990_000
"""Bytes of a log's page, however long the log is."""

MOST_ROWS = 700, 300, 100
"""Experiments in the table of a log's page; fewer where their texts are long."""

STRETCHES = 250
"""Stretches of a long log of which a figure shows the ends: more points would cover each other."""

NAMED, NAMED_CRASHES = 40, 20
"""Experiments that a list of the page names before it says how many more there are."""

FOLDED = 12
"""Experiments that were tried on one code and are listed without being asked for."""

CONSTANTS = 10
"""Constants, the most important ones, that are listed without being asked for."""

CODES = 10
"""The last kept changes of a line, before which it is folded once more."""

# From here on figures are drawn once, not for narrow windows too.
MANY = 300
# What long texts share, where a page is too large: a diff says what was tried, a log only
# how it went.
SHARES = {"log tails": ("log_tail", 0.3), "diffs": ("diff", 0.5), "hypotheses": ("hypothesis", 0.2)}
GLYPHS = {"keep": "●", "discard": "○", "crash": "✕", None: "…"}
ANSWER_GLYPHS = {
    "confirmed": "✓",
    "unfinished": "…",
    "nothing_kept": "○",
    "not_asked": "○",
    "no_interval": "?",
    "estimated": "≈",
}
FIGURES: FigureTable = {**figures.FIGURES, **curves.FIGURES, **influence.FIGURES}
Stills = dict[str, list[Markup]]
"""Drawings of each figure, for wide and for narrow windows."""


def render_svg(facts: Facts) -> str:
    """The picture for sharing as SVG, in light colours."""
    return figure_svg(progress_figure(unbroken(facts), SHARED))


def render_png(facts: Facts) -> bytes:
    """The picture for sharing, 1600 pixels wide."""
    return figure_png(progress_figure(unbroken(facts), SHARED))


_ARROW = re.compile(r"(?<= )->(?= )")
_UNIT = re.compile(r"(?<=\d) (?=%)|(?<=±) (?=\d)")
_VERBATIM = frozenset(("code", "commands", "diff", "log_tail", "preparation", "program"))
"""Facts that are code, or what a program printed."""


def unbroken(value: Any) -> Any:
    """Facts in which no line breaks within ``->``, ``5 %`` or ``± 0.1``; code stays as it is."""
    if isinstance(value, str):
        return _UNIT.sub("\u00a0", _ARROW.sub("→", value))
    if isinstance(value, Mapping):
        return {key: each if key in _VERBATIM else unbroken(each) for key, each in value.items()}
    return [unbroken(each) for each in value] if isinstance(value, list) else value


def render_html(facts: Facts) -> str:
    """The whole report as one page, cut to what a page of so many experiments may weigh.

    Of a long log it shows a part, and says so; the facts have all of it.
    """
    facts = unbroken(facts)
    log, page = facts["log"] is not None, ""
    for most in MOST_ROWS if log else (len(facts["experiments"]),):
        shown = abridged(facts, most)
        page = _fitting_page(facts, shown, LONG_LOG_PAGE if log else None)
        if not log or len(page.encode()) <= LONG_LOG_PAGE:
            break
    return page


def _fitting_page(facts: Facts, shown: Facts, most: int | None) -> str:
    tried = len(shown["experiments"])
    judged = [e for e in shown["drawn"]["experiments"] if e["verdict"] is not None]
    tips = {str(e["number"]): experiment_tip(e, facts) for e in judged}
    found = curves.experiment_curves(facts, shown["experiments"])
    more = _curve_plots(found)
    drawn = draw_figures(FIGURES, shown["drawn"], tips, narrow=tried <= MANY, more=more)
    page = _page(facts, shown, [], drawn, found)
    excess = len(page.encode()) - min(page_limit(tried), most or math.inf)
    return page if excess <= 0 else _page(facts, *fit_texts(shown, int(excess)), drawn, found)


def _curve_plots(shown: Mapping[str, Any]) -> dict[str, Any]:
    """Curves of experiments, and the figures that the script draws them with."""
    if not shown:
        return {}
    plots = {
        f"curve_{over}": [interactive_figure(curves.curve_panel(over), curves.PANEL)]
        for over in curves.TITLES
    }
    return {**plots, "curves": shown}


def abridged(facts: Facts, most: int) -> Facts:
    """Facts with at most so many experiments: those that the page names, and the last ones.

    ``drawn`` are those that the figures show and ``left_out`` counts the experiments that are not
    in the table.
    """
    tried = facts["experiments"]
    if len(tried) <= most:
        return {**facts, "drawn": facts, "left_out": 0}
    numbers = dict.fromkeys(named := _named_numbers(facts)[:most])
    for e in reversed(tried):
        if len(numbers) == most:
            break
        numbers[e["number"]] = None
    drawn = _thinned(facts, named)
    shown = [e for e in tried if e["number"] in numbers]
    return {**facts, "experiments": shown, "drawn": drawn, "left_out": len(tried) - len(shown)}


def _named_numbers(facts: Facts) -> list[int]:
    """Experiments of a log that the page speaks of, by number."""
    log, front = facts["log"], facts["front"]
    beaten = [p for p in front["points"] if p["by"] is not None and p["status"] == "keep"]
    crashed = (e for group in facts["crashes"] for e in group["experiments"][:NAMED_CRASHES])
    found = itertools.chain(
        (row["number"] for row in forest_rows(facts)),
        *(log["differ"][kind][:NAMED] for kind in ("doubted", "missed")),
        front["front"][:NAMED],
        (number for p in beaten[:NAMED] for number in (p["number"], p["by"])),
        (run["number"] for run in log["again"][:NAMED]),
        (number for number in (log["run_of"], (log["best"] or {}).get("number")) if number),
        itertools.islice((e["number"] for e in crashed), 2 * NAMED),
    )
    return list(dict.fromkeys(found))


def _thinned(facts: Facts, named: Sequence[int]) -> Facts:
    """What figures show of a long log: of each stretch the ends of every class, and all named."""
    tried = facts["experiments"]
    size = math.ceil(len(tried) / STRETCHES)
    chosen = {tried[0]["number"], tried[-1]["number"], *named}
    for begin in range(0, len(tried), size):
        classes: dict[str, list[Facts]] = {}
        for e in tried[begin : begin + size]:
            classes.setdefault(e["status"] if e["mean"] is not None else "crash", []).append(e)
        for some in classes.values():
            key = operator.itemgetter("mean") if some[0]["mean"] is not None else None
            ends = (min(some, key=key), max(some, key=key)) if key else some[:1]
            chosen |= {e["number"] for e in ends}
    held, front = facts["incumbents"], facts["front"]
    known = {0, *front["front"], *chosen}
    return {
        **facts,
        "experiments": [e for e in tried if e["number"] in chosen or e["number"] in known],
        "incumbents": [*held[:: math.ceil(len(held) / STRETCHES)], *held[-1:]],
        "front": {**front, "points": [p for p in front["points"] if p["number"] in known]},
    }


def page_limit(experiments: int) -> int:
    """Bytes that a page of so many experiments may have."""
    return SMALL_PAGE + PER_EXPERIMENT * max(0, experiments - SMALL_SESSION)


def _page(
    facts: Facts,
    shown: Facts,
    notes: list[str],
    drawn: tuple[Stills, Markup],
    found: Mapping[str, Any],
) -> str:
    stills, plots = drawn
    decimals, chosen = facts["metric"]["decimals"], experiment_columns(facts)
    filters: dict[str, Callable[..., Any]] = {
        "duration": format_duration,
        "words": lambda value: str(value).replace("_", " "),
        "flat": _flat,
        "hunks": diff_hunks,
        "remarks": lambda e: experiment_remarks(e, decimals),
        "alarm": lambda check: alarm_remark(check, decimals),
        "sparklines": sparklines,
        "cells": lambda e: column_cells(e, decimals, chosen),
        "seek": lambda number, known: known.get(number),
        "stubs": _stub_counts,
        "pictured": lambda e: curves.small_picture(found, e["number"]),
    }
    return fill_page(
        "report.html",
        decimals,
        filters,
        page_scripts(),
        facts=shown,
        notes=notes,
        figures=stills,
        plots=plots,
        named=NAMED,
        sections=_sections(facts, stills),
        slices=[name for name in influence.FIGURES if stills.get(name)],
        numbered={e["number"]: e for e in facts["experiments"]},
        folded=FOLDED,
        codes=CODES,
        compared=found.get("of", {}),
        most_curves=curves.LARGEST,
        pictured=len(shown["experiments"]) <= MANY,
        listed=CONSTANTS,
        widest=_widest_gain(facts),
        columns=chosen,
        worded={column.key for column in chosen if column.worded},
        ranks=RANKS,
        chosen=Markup(column_style(chosen)),
        forest_rows=forest_rows(facts),
        glyphs=GLYPHS,
        code=Markup(data_block(facts["code"])) if facts["code"] else None,
        answer_glyph=ANSWER_GLYPHS.get(facts["answer"]["kind"], "!"),
        no_unseen_data=NO_UNSEEN_DATA,
    )


def _stub_counts(tried: Sequence[Facts]) -> str:
    """Number of experiments of each status in words."""
    names = {"discard": "discarded", "crash": "crashed", "keep": "kept", None: "not judged"}
    counts = {name: sum(e["status"] == status for e in tried) for status, name in names.items()}
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)


def _widest_gain(facts: Facts) -> float:
    """The largest gain of a kept change, for the scale of its bars."""
    kept = [e for e in facts["experiments"] if e["status"] == "keep"]
    gains = [(e["contribution"] or e)["gain"] or 0.0 for e in kept]
    return max([0.0, *gains]) or 1.0


def fit_texts(facts: Facts, excess: int) -> tuple[Facts, list[str]]:
    """Facts whose logs, diffs and hypotheses weigh so many bytes less, and what was cut."""
    tried, notes = facts["experiments"], dict[str, str]()
    weights = [{field: _weight(e, field) for field, _ in SHARES.values()} for e in tried]
    allowed = sum(sum(each.values()) for each in weights) - excess
    shown = [copy.copy(e) for e in tried]
    for name, (field, share) in SHARES.items():
        limit = max(0, int(share * allowed / len(tried)) - CUT_NOTE)
        cut = tail_text if field == "log_tail" else head_text
        for e, weight in zip(shown, weights, strict=True):
            if weight[field] > limit:
                e[field] = cut(e[field], len(e[field].encode()) * limit // weight[field])
                notes[name] = f"{name} to {limit:,} bytes"
    return {**facts, "experiments": shown}, list(notes.values())


def _weight(e: Facts, field: str) -> int:
    """Bytes of a text once it is escaped, with the mark-up around a diff's lines."""
    text = e[field]
    if not text:
        return 0
    marked = 11 * len(diff_hunks(text.split("\n"))) if field == "diff" else 0
    return len(escape(text).encode()) + marked


def diff_hunks(lines: list[str]) -> list[tuple[str, str]]:
    """Lines of a diff that stand together and are of one kind: ``+``, ``-`` or none."""
    grouped = itertools.groupby(lines, key=lambda line: line[:1] if line[:1] in ("+", "-") else "")
    return [(kind, "\n".join(some)) for kind, some in grouped]


def draw_figures(
    figures: FigureTable,
    facts: Facts,
    tips: Mapping[str, str],
    narrow: bool = True,
    more: Mapping[str, Any] | None = None,
) -> tuple[Stills, Markup]:
    """Figures as drawings (for narrow windows too, if asked for), and as JSON for the script.

    ``tips`` are what is said of an experiment, by its number, and ``more`` what else the script
    needs.
    """
    stills, plots = Stills(), dict[str, list[Spec]]()
    for name, (make, *frames) in figures.items():
        specs = [(spec, frame) for frame in frames if (spec := make(facts, frame)) is not None]
        shown = specs if narrow else specs[:1]
        stills[name] = [Markup(themed_svg(figure_svg(spec))) for spec, _ in shown]
        plots[name] = share_rows([interactive_figure(spec, frame) for spec, frame in specs])
    return stills, Markup(data_block({**plots, "tips": tips, **(more or {})}))


def _sections(facts: Facts, stills: Stills) -> list[tuple[str, str]]:
    """Anchors and names of the sections that this session, or log, has."""
    own = facts["log"] is None
    found = [
        ("progress", "Progress", True),
        ("verdicts", "Verdicts", bool(stills["forest"])),
        ("lineage", "Lineage", own and bool(facts["experiments"])),
        ("experiments", "Experiments", True),
        ("curves", "Curves", bool(facts.get("curves"))),
        ("constants", "Constants", bool(facts.get("constants"))),
        ("pareto", "Memory", bool(stills["pareto"])),
        ("crashes", "Crashes", bool(facts["crashes"])),
        ("agents", "Failed proposals", bool(facts["agents"])),
        ("confirmation", "Confirmation", own),
        ("transfer", "Another scale", bool(facts["transfer"])),
        ("noise", "Noise", True),
        ("steering", "Steering", bool(facts["steering"])),
        ("timeline", "Timeline", bool(stills["schedule"])),
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
