"""All sessions of a folder as one page: ``results/index.html``, and one small row of each.

A session writes its own row when it starts, after each round and when it ends, then the page
from everybody's rows; nobody's events are read but its own.  Page and rows are views: not
sealed, and made again by the next event.
"""

import contextlib
import json
import time
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

from ratchet.base.colours import DARK, LIGHT, css_variables
from ratchet.base.io import lock_file
from ratchet.base.text import (
    DASH,
    decimals_for,
    finite_number,
    format_number,
    iso_time,
    one_line_label,
)
from ratchet.monitor.progress import SessionStanding, fold_events, phase_line, standing_facts
from ratchet.monitor.progress import session_state as state_of
from ratchet.monitor.views import REFRESH_SECONDS, replace_file
from ratchet.records.confirmed import GainStanding
from ratchet.records.events import Event, read_events
from ratchet.records.ownership import owns_session, tournament_of
from ratchet.records.paths import SessionPaths, index_page

PAGE = Path(__file__).with_name("overview.html")

MOST_BYTES = 20_000
"""A longer row is none of ours."""

RUNNING, STOPPED = "running", "stopped"

_TELLING = frozenset(
    {
        *("session_started", "prepared", "resumed"),
        *("baseline", "round_finished", "stopped", "confirmed"),
        *("transferred", "reported", "evolved", "audited", "pollinated", "leg_finished", "failed"),
    }
)
"""Events that change a row; between them only the live page moves."""

_STANDINGS: Mapping[str, str] = {
    GainStanding.CONFIRMED: "confirmed",
    GainStanding.NOT_CONFIRMED: "not confirmed",
    GainStanding.NOT_CARRIED_OVER: "does not carry over",
    GainStanding.WORSE: "worse",
    GainStanding.NO_INTERVAL: "single measurements",
    GainStanding.FAILED: "confirmation failed",
    GainStanding.NOTHING_KEPT: "nothing kept",
}

Row = dict[str, Any]


class Overview:
    """Listens to a journal and keeps row and page up to date; never raises."""

    def __init__(self, paths: SessionPaths) -> None:
        self.paths = paths

    def __call__(self, event: Event) -> None:
        """Write the session's row and the page, if the event changes them."""
        if event["event"] not in _TELLING:
            return
        # A view is never worth a session: the disk may be full or read-only.
        with contextlib.suppress(Exception):
            write_overview(self.paths, time.time())


def write_overview(paths: SessionPaths, now: float, running: bool = True) -> None:
    """Write a session's row, then the page with the rows of all sessions beside it."""
    row = session_row(fold_events(read_events(paths.events)), now, running)
    replace_file(paths.summary, json.dumps(row, ensure_ascii=False).encode())
    page = index_page(paths.root)
    # Whoever comes last has the rows of all: each wrote its own before it waited.
    with lock_file(page.with_name(f".{page.name}.lock")):
        rows = read_rows(page.parent, paths.session if running else "")
        replace_file(page, render_overview(rows).encode("utf-8", "replace"))


def session_row(standing: SessionStanding, now: float, running: bool = True) -> Row:
    """Facts of one session for its row, which it writes itself; at its end it runs no more."""
    found = state_of(standing, now, owned=running)
    facts = standing_facts(standing, now, found, None)
    state = facts["state"]
    return {
        "session": standing.session,
        "task": standing.task,
        "metric": standing.metric,
        "state": state if state in ("finished", "failed") else RUNNING if running else STOPPED,
        "doing": phase_line(facts),
        "started": facts["started"],
        "written": iso_time(now),
        "experiments": facts["counts"]["experiments"],
        "kept": facts["counts"]["keep"],
        "certified": facts["certified"],
        "baseline": standing.baseline,
        "best": standing.best,
        "estimate": standing.estimate,
        "noise": standing.noise,
        "confirmed": standing.confirmed
        and {name: standing.confirmed.get(name) for name in ("standing", "gain", "low", "high")},
        "page": standing.page,
    }


def read_rows(results: Path, writer: str = "") -> list[Row]:
    """Rows of all sessions in a folder, the newest first.

    One other than the ``writer`` that was running, and that no living process holds, has
    stopped; competitors end with their tournament.  Sessions of older versions have no row;
    of them the name is told.
    """
    root, rows = results.parent, list[Row]()

    def family(name: str) -> str:
        """A tournament's name, of it and of its competitors' sessions."""
        return tournament_of(root, name) or name

    for manifest in results.glob("*/manifest.json"):
        name = manifest.parent.name
        row = _read_row(SessionPaths(name, root)) or {}
        row |= {"session": name, "page": _page(manifest.parent, row.get("page"))}
        if row.get("state") == RUNNING and family(name) != family(writer):
            held = owns_session(root, name) or owns_session(root, family(name))
            row["state"] = RUNNING if held else STOPPED
        if row["page"] == "report.html":
            row.setdefault("state", "finished")
        rows.append(row)
    known = {row["session"]: row for row in rows}
    for row in rows:
        tournament = known.get(family(row["session"]))
        if tournament is None or tournament is row:
            continue
        row |= {name: row.get(name) or tournament.get(name) for name in ("task", "metric")}
        ran = row.get("state") in (RUNNING, STOPPED)
        if ran and tournament.get("state") in ("finished", "failed"):
            row["state"] = tournament["state"]
    rows.sort(key=lambda row: row["session"])
    rows.sort(key=lambda row: str(row.get("started") or ""), reverse=True)
    return rows


def _read_row(paths: SessionPaths) -> Row | None:
    try:
        with paths.summary.open("rb") as stream:
            found = json.loads(stream.read(MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _page(folder: Path, named: Any) -> str:
    """The page to open: the report that the row names, any other, or the live view."""
    known = ("report.html", "evolve.html", "audit.html", "live.html")
    order = sorted(known, key=lambda name: (name != named, known.index(name)))
    return next((name for name in order if (folder / name).is_file()), "")


def render_overview(rows: Iterable[Row]) -> str:
    """The whole page."""
    rows = list(rows)
    running = any(row.get("state") == RUNNING for row in rows)
    refresh = f'<meta http-equiv="refresh" content="{6 * REFRESH_SECONDS}">\n'
    # No Jinja: every round writes this page, and would wait for its import.
    return Template(PAGE.read_text(encoding="utf-8")).substitute(
        refresh=refresh if running else "",
        light=css_variables(LIGHT),
        dark=css_variables(DARK),
        count=f"{len(rows):,} session{'' if len(rows) == 1 else 's'}",
        rows="".join(map(_row, rows)),
    )


def _row(row: Row) -> str:
    name, page = row["session"], row["page"]
    shown = _text(name)
    if page:
        shown = f'<a href="{escape(quote(f"{name}/{page}", errors="surrogateescape"))}">{shown}</a>'
    state = row.get("state")
    word = state if state in (RUNNING, STOPPED, "finished", "failed") else "unknown"
    doing = row.get("doing") if word == RUNNING else None
    tried, kept = _count(row.get("experiments")), _count(row.get("kept"))
    started = str(row.get("started") or "").replace("T", " ")[:16]
    digits = decimals_for(finite_number(row.get("noise")), finite_number(row.get("best")))
    best = format_number(finite_number(row.get("best")), digits)
    metric = _text(row.get("metric") or "", 40)
    said = f" <small>{_text(doing)}</small>" if doing else ""
    return (
        f'<tr><th scope="row">{shown}<td class="s {word}">{word}{said}<td>{_text(started or DASH)}'
        f"<td>{_text(row.get('task') or DASH, 60)}"
        f'<td class="n">{tried}<td class="n">{kept}'
        f'<td class="n">{best} <small>{metric}</small><td>{_gain(row, digits)}</tr>\n'
    )


def _gain(row: Row, digits: int) -> str:
    """The confirmed gain, or what the judge believes of the search."""
    found = row.get("confirmed")
    if isinstance(found, Mapping):
        gain, low, high = (finite_number(found.get(name)) for name in ("gain", "low", "high"))
        word = _STANDINGS.get(str(found.get("standing")), "")
        text = format_number(gain, digits, signed=True)
        if low is not None and high is not None:
            text += f" <small>{format_number(low, digits)} to {format_number(high, digits)}</small>"
        return f"{text} <small>{word}</small>"
    start, end = finite_number(row.get("baseline")), finite_number(row.get("estimate"))
    if start is None or end is None or not row.get("kept"):
        return DASH
    shown = format_number(abs(start - end), digits, signed=True)
    return f"{shown} <small>estimate, not confirmed</small>"


def _count(value: Any) -> str:
    return str(value) if isinstance(value, int) else DASH


def _text(value: Any, limit: int = 120) -> str:
    return escape(one_line_label(str(value), limit))
