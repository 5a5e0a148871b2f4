"""ratchet compare: sessions of one task side by side.

    ratchet compare monday tuesday
    ratchet compare monday tuesday -o compare.html
    ratchet compare monday ../other/results/tuesday --reach 1.05

Gains, the runs and hours to reach a value, and what each session found that the
others did not.  With -o it is a page too, with progress on the same axes.
Metric, direction, budget and evaluation data must agree; what else differs is
said.  Nothing of a session is written.

Exit codes: 0, or 64 usage, 65 data, 66 no session, 70 internal error, 74
output.
"""

import argparse
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from urllib.parse import quote

from ratchet.base.errors import UsageError
from ratchet.base.terminal import align_columns, cut_line, terminal_width, text_width, wrap_text
from ratchet.base.text import DASH, format_number, one_line, plural, shorten
from ratchet.cli.main import (
    CommandParser,
    make_command,
    may_write,
    print_json,
    tell,
    write_output,
)
from ratchet.cli.sessions import add_options, place_of, session_of
from ratchet.records.history import History
from ratchet.report.comparison import (
    MOST_SESSIONS,
    ComparedSession,
    answer,
    compare_sessions,
    hours_words,
    reached_words,
)
from ratchet.report.inputs import Facts
from ratchet.session import Session

NAME = "ratchet compare"
_LABEL = 20
"""Columns of a session's name in a table."""
_COLUMNS = 4
"""Values to be reached in one table of 80 columns."""
_FINDS = 8
"""Kept changes of a session in the terminal; the page and --json have all."""


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(NAME, __doc__)
    add = parser.add_argument
    add("sessions", nargs="*", metavar="SESSION", help="names, or folders CLONE/results/NAME")
    add(
        "--reach",
        type=float,
        action="append",
        default=[],
        metavar="VALUE",
        help="a value of the metric to be reached (repeatable)",
    )
    add("-o", "--output", type=Path, metavar="FILE", help="write it as one page")
    add("--force", action="store_true", help="replace a file that is no page of this program")
    add("--json", action="store_true", help="one JSON object")
    add_options(parser)
    options = parser.parse_args(argv)
    given = len(options.sessions)
    if not 2 <= given <= MOST_SESSIONS:
        raise UsageError(f"expected 2 to {MOST_SESSIONS} sessions, found {given or 'none'}")
    for value in options.reach:
        if not math.isfinite(value):
            raise UsageError(f"--reach: expected a number, found {value}")
    if options.force and options.output is None:
        raise UsageError("--force needs a file to replace: add -o FILE")
    return options


def _run(options: argparse.Namespace) -> int:
    output: Path | None = options.output
    if output is not None:
        may_write(output, options.force, ())
    places = [place_of(word, options.root) for word in options.sessions]
    if len({(name, root.resolve()) for name, root in places}) < len(places):
        raise UsageError(f"expected different sessions, found {' '.join(options.sessions)}")
    found = [session_of(name, root, options.config) for name, root in places]
    names = session_labels(found)
    facts = compare_sessions(
        [compared(session, name) for session, name in zip(found, names, strict=True)],
        options.reach,
    )
    if options.json:
        print_json(facts)
    else:
        print("\n".join(comparison_lines(facts, terminal_width())))
    if output is not None:
        from ratchet.report.comparison_page import render_comparison

        links = dict(zip(names, (_link(s, output) for s in found), strict=True))
        write_output(output, render_comparison(facts, links))
        tell(NAME, f"the page is {output}")
    elif not options.json:
        tell(NAME, f"as a page: {NAME} {' '.join(options.sessions)} -o compare.html")
    return 0


def session_labels(sessions: Sequence[Session]) -> list[str]:
    """Names that tell sessions apart: of equal ones in different clones with their folder."""
    names = [session.manifest.session for session in sessions]
    return [
        name
        if names.count(name) == 1
        else f"{shorten(one_line(session.paths.root.resolve().name), 12) or '/'}/{name}#{place}"
        for place, (name, session) in enumerate(zip(names, sessions, strict=True), start=1)
    ]


def compared(session: Session, name: str) -> ComparedSession:
    """A session's records as a comparison needs them."""
    history = History.read(session.paths)
    metric, budget = session.task.metric, session.budget
    keys = dict.fromkeys(run.key for run in history.runs)
    records = {key: session.store.peek(key) for key in keys}

    @cache
    def text(file: str, sha: str) -> str:
        return session.texts({file: sha})[file]

    def texts(sources: Mapping[str, str]) -> dict[str, str]:
        return {file: text(file, sha) for file, sha in sources.items()}

    return ComparedSession(
        name=name,
        manifest=session.manifest,
        metric=metric.name,
        unit=metric.unit,
        direction=metric.direction,
        mode=session.config.mode,
        budget={"seconds": budget["seconds"], "steps": budget["steps"]},
        history=history,
        walls={key: record.wall_seconds for key, record in records.items() if record},
        texts=texts,
        ended="confirmed" if history.confirmation else f"{plural(history.last, 'round')} so far",
    )


def _link(session: Session, output: Path) -> str:
    """The report's address as seen from a page; empty while there is none."""
    page = session.paths.report_html
    if not page.is_file():
        return ""
    return quote(os.path.relpath(page.resolve(), output.resolve().parent))


def comparison_lines(facts: Facts, width: int) -> Iterator[str]:
    """The comparison for a terminal of so many columns."""
    metric, decimals = facts["metric"], facts["metric"]["decimals"]
    name = one_line(metric["name"])
    yield from wrap_text(answer(facts), width)
    yield ""
    yield cut_line(f"{name}, {metric['better']} is better; {_budget(facts)} a run", width)
    yield from (cut_line(line, width) for line in _table(facts, decimals))
    yield ""
    yield "runs and time to reach"
    yield from (cut_line(line, width) for line in _reach(facts, decimals, width))
    for session, finds in facts["found"].items():
        yield ""
        yield cut_line(f"kept in {session}: {len(finds) or 'nothing'}", width)
        rows = [
            (
                f"#{e['number']}",
                _signed(e["gain"] if e["fresh_gain"] is None else e["fresh_gain"], decimals),
                e["standing"] or "",
                _others(e),
                e["description"],
            )
            for e in finds[:_FINDS]
        ]
        if rows:
            lines = align_columns(rows, left=(2, 3, 4))
            yield from (cut_line(f"  {line}", width) for line in lines)
        if len(finds) > _FINDS:
            yield f"  and {len(finds) - _FINDS} more"
    if facts["differ"]:
        yield ""
        yield "what else differs"
        for line in facts["differ"]:
            yield from wrap_text(line, width, "  ", "    ")


def _budget(facts: Facts) -> str:
    budget = facts["budget"]
    if budget["steps"] is not None:
        return f"{budget['steps']:,} steps"
    return "no budget" if budget["seconds"] is None else f"{budget['seconds']:g} s"


def _signed(value: float | None, decimals: int) -> str:
    return format_number(value, decimals, signed=True)


def _table(facts: Facts, decimals: int) -> list[str]:
    head = ("session", "gain", "interval", "search", "best", "kept", "runs", "time")
    rows = [head]
    for s in facts["sessions"]:
        found = s["confirmed"] or {}
        low, high = found.get("low"), found.get("high")
        ends = f"{_signed(low, decimals)} to {_signed(high, decimals)}" if low is not None else DASH
        kept = f"{s['kept']}/{s['experiments']}"
        rows.append(
            (
                cut_line(s["name"], _LABEL),
                _signed(found.get("gain"), decimals),
                ends,
                _signed(s["search_gain"], decimals),
                format_number(s["best"], decimals),
                kept,
                str(s["runs"]),
                hours_words(s["hours"]),
            )
        )
    return align_columns(rows, left=(0, 2))


def _reach(facts: Facts, decimals: int, width: int) -> Iterator[str]:
    """Tables of at most :data:`_COLUMNS` values each, a row for every session."""
    columns: list[tuple[str, Mapping[str, str]]] = []
    for level in facts["levels"]:
        value = format_number(level["value"], decimals)
        told = {name: reached_words(found) for name, found in level["reached"].items()}
        columns.append((f"{value}, by all" if level["of"] == "all" else value, told))
    for place, what in enumerate(("¼ of its gain", "½ of its gain", "its gain")):
        own = facts["own_gain"].items()
        words = {n: reached_words(some[place]["reached"]) if some else "no gain" for n, some in own}
        columns.append((what, words))
    names = [session["name"] for session in facts["sessions"]]
    for first in range(0, len(columns), _COLUMNS):
        chosen = columns[first : first + _COLUMNS]
        rows = [[heading for heading, _ in chosen]]
        rows += [[told[name] for _, told in chosen] for name in names]
        lines = align_columns(rows, left=range(len(chosen)))
        room = max(8, min(_LABEL, width - max(map(text_width, lines)) - 2))
        labels = align_columns([[cut_line(name, room)] for name in ["", *names]], left=[0])
        most = max(map(text_width, labels))
        yield from (f"{label:<{most}}  {line}" for label, line in zip(labels, lines, strict=True))


def _others(found: Facts) -> str:
    """What became of a change in all other sessions, in one word."""
    others = [other for other in found["elsewhere"].values() if other]
    if not others:
        return "only here"
    nearest = min(others, key=lambda other: (other["how"] != "same", not other["kept"]))
    what = "same" if nearest["how"] == "same" else "alike"
    return f"{what} {'kept' if nearest['kept'] else 'tried'}"


main = make_command(NAME, _parse, _run)
