"""``live.html``: how a session stands, for a browser, while it runs.

Made anew after every event, from the events alone.  It is a view: not sealed, no
output of a step, and whatever keeps it from being written stops nothing.  It runs
no script, asks nothing of a network and loads itself again every few seconds
until the session has ended.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from ratchet import status
from ratchet.journal import Event, read_events
from ratchet.paths import SessionPaths
from ratchet.report.palette import DARK, LIGHT, css_variables
from ratchet.report.text import DASH, decimals_for, label, number, percent
from ratchet.status.text import current, decision, progress, tried

Facts = Mapping[str, Any]

REFRESH_SECONDS = 5
SHOWN_VERDICTS = 20
# No page follows an event that says nothing to people.
_SILENT = {"audit_read", "agent_answered", "notify_failed"}
_GLYPHS = {"keep": "●", "discard": "○", "crash": "✕"}

STYLE = """
* { box-sizing: border-box; } html { color-scheme: light dark; }
body { margin: 0; background: var(--page); color: var(--ink); overflow-wrap: anywhere;
  font: 16px/1.5 ui-sans-serif, system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif;
  font-variant-numeric: tabular-nums; }
main { max-width: 52rem; margin: 0 auto; padding: 2rem 1.25rem 3rem; }
h1 { font-size: 1rem; font-weight: 600; margin: 0; } h1 span, .muted { color: var(--muted); }
h1 span { font-weight: 400; } h2 { font-size: 1.05rem; margin: 1.8rem 0 .5rem; }
.state { font-size: 1.6rem; line-height: 1.25; font-weight: 650; margin: .6rem 0 1rem; }
.failed .state, .alarm, .v.crash { color: var(--crash); } .v.keep { color: var(--keep); }
.finished .state { font-size: 1.25rem; } a { color: var(--baseline); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem; margin: 0; }
dt { color: var(--muted); } dd { margin: 0; }
.box { overflow-x: auto; background: var(--surface); border: 1px solid var(--line);
  border-radius: 10px; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { padding: .4rem .7rem; text-align: left; vertical-align: baseline; }
th { font-size: .8rem; font-weight: 500; color: var(--muted); }
tr + tr > td, thead + tbody td { border-top: 1px solid var(--line); }
.n { text-align: right; white-space: nowrap; } .v { white-space: nowrap; font-weight: 600; }
.v.discard { color: var(--muted); }
progress { width: 100%; height: .5rem; margin: 0 0 1rem; accent-color: var(--baseline); }
@media (max-width: 36rem) {
  thead { display: none; } tr { display: grid; grid-template-columns: 2.6rem 1fr auto auto; }
  tr td:last-child { grid-column: 2 / -1; border-top: 0; padding-top: 0; }
  tbody tr:first-child > td { border-top: 0; }
}
"""


class Page:
    """Listens to a journal and keeps the page up to date; never raises."""

    def __init__(self, paths: SessionPaths) -> None:
        self.paths = paths

    def __call__(self, event: Event) -> None:
        """Make the page anew, unless the event changes nothing on it."""
        if event["event"] in _SILENT:
            return
        # A view is never worth a session: the disk may be full or read-only, a
        # line of the journal damaged.
        with contextlib.suppress(Exception):
            page = render(facts(list(read_events(self.paths.events)), time.time()))
            replace(self.paths.live_html, page.encode("utf-8", "replace"))


def facts(events: list[Event], now: float) -> Facts:
    """What the page shows; whoever makes it is the session, so that it lives."""
    standing = status.fold(events)
    found = status.state(standing, now, owned=True)
    return status.facts(standing, now, found, status.seconds_left(events, standing, now))


def replace(path: Path, data: bytes) -> None:
    """Write so that nobody sees half of it; a power cut may cost it, unlike a record."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


def render(found: Facts) -> str:
    """The whole page."""
    state = found["state"]
    over = state_is_over(found)
    refresh = "" if over else f'<meta http-equiv="refresh" content="{REFRESH_SECONDS}">\n'
    title = f"{label(found['session'])} · {state}"
    parts = [_head(found), _numbers(found), _verdicts(found), _foot(found, over)]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">\n"
        f'{refresh}<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n<style>\n:root {{ {css_variables(LIGHT)} }}\n"
        f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {css_variables(DARK)} }} }}"
        f'{STYLE}</style>\n</head>\n<body>\n<main class="{escape(state)}">\n'
        f"{''.join(part for part in parts if part)}</main>\n</body>\n</html>\n"
    )


def state_is_over(found: Facts) -> bool:
    """Whether the page will not change any more."""
    return found["state"] in ("finished", "failed")


def _head(found: Facts) -> str:
    metric = f" · {_text(found['metric'])}" if found["metric"] else ""
    head = f"<h1>{_text(found['session'])} <span>· {_text(found['task'])}{metric}</span></h1>\n"
    head += f'<p class="state">{_text(progress(found), 2000)}</p>\n'
    if found["state"] == "failed":
        head += f'<p class="alarm">{_text(found["why"], 2000)}</p>\n'
    elif state_is_over(found):
        head += f'<p><a href="{escape(found["page"])}">Read the report</a></p>\n'
    elif found["rounds"]:
        done = found["rounds"] if found["phase"] == "confirming" else max(found["round"] - 1, 0)
        head += (
            f'<progress max="{found["rounds"]}" value="{done}">'
            f"{done} of {found['rounds']} rounds</progress>\n"
        )
    return head


def _numbers(found: Facts) -> str:
    rows = [("now", _text(text)) for text in current(found)]
    digits = decimals_for(found["noise"], found["best"])
    if found["best"] is not None:
        best = f"{number(found['best'], digits)} ± {number(found['noise'], digits)}"
        rows.append(("best ± noise", f"{best}, baseline {number(found['baseline'], digits)}"))
    rows.append(("tried", escape(tried(found))))
    if found["seconds_left"] is not None and found["state"] == "running":
        rows.append(("time left", f"about {status.duration(found['seconds_left'])}"))
    if found["stop"]:
        rows.append(("ended early", _text(found["stop"]["detail"])))
    rows += [("alarm", f'<span class="alarm">{_text(text)}</span>') for text in found["alarms"]]
    return "<dl>\n" + "".join(f"<dt>{name}<dd>{text}\n" for name, text in rows) + "</dl>\n"


def _verdicts(found: Facts) -> str:
    shown = found["verdicts"][:SHOWN_VERDICTS]
    if not shown:
        return ""
    digits = decimals_for(found["noise"], found["best"])
    rows = "".join(
        f'<tr><td class="n">{entry["number"]}<td class="v {decision(entry)}">'
        f'<span aria-hidden="true">{_GLYPHS[decision(entry)]}</span> '
        f'{_text(entry["verdict"]).replace("_", " ")}<td class="n">{percent(entry["confidence"])}'
        f'<td class="n">{number(entry["value"], digits)}<td>{_text(entry["description"])}</tr>\n'
        for entry in shown
    )
    return (
        "<h2>Last verdicts</h2>\n"
        '<div class="box"><table><thead><tr><th class="n">experiment<th>verdict'
        '<th class="n">P(better)<th class="n">metric<th>edit</tr></thead>'
        f"<tbody>\n{rows}</tbody></table></div>\n"
    )


def _foot(found: Facts, over: bool) -> str:
    when = (found["last_event"]["time"] or DASH).replace("T", " ").removesuffix("+00:00")
    more = (
        "This page does not change any more."
        if over
        else "This page renews itself; if that time stands still, ask <code>ratchet status</code>."
    )
    return f'<p class="muted">As of {when} UTC. {more}</p>\n'


def _text(value: Any, limit: int = 300) -> str:
    return escape(label(str(value), limit))


__all__ = ["Page", "facts", "render", "replace"]
