"""A session while it runs: one line per event in the terminal, live.html in a browser."""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from string import Template
from typing import Any, TextIO

from ratchet.base.colours import DARK, LIGHT, css_variables
from ratchet.base.terminal import CLEAR_LINE, GREEN, RED, YELLOW, coloured, use_colour
from ratchet.base.text import (
    DASH,
    decimals_for,
    format_number,
    format_percent,
    one_line,
    one_line_label,
    shorten,
    spoken_duration,
)
from ratchet.monitor.progress import (
    best_words,
    current_work,
    decision_word,
    fold_events,
    progress_line,
    seconds_left,
    session_state,
    standing_facts,
    standing_rows,
    work_name,
)
from ratchet.records.confirmed import gain_sentence
from ratchet.records.events import Event, append_line, read_events, store_words, time_left
from ratchet.records.history import NO_SEED_EFFECT, NOISE_UNKNOWN, SEED_HINT
from ratchet.records.paths import SessionPaths
from ratchet.records.transferred import transfer_sentence

_COLOURS = {
    "STRONG_KEEP": GREEN,
    "KEEP": GREEN,
    "MARGINAL": YELLOW,
    "CRASH": RED,
    "TAMPERED": RED,
    "GUARD_FAILED": RED,
    "remeasured": RED,  # of these only an alarm is shown
}
_WIDTH = 44


class Progress:
    """Listens to a journal; prints each event and appends it to the log file."""

    def __init__(self, log: Path, stream: TextIO | None = None, who: str = "") -> None:
        """``who`` stands before each line: the competitor, where several share a terminal."""
        self.log = log
        self.who = f"{who:<12} " if who else ""
        self.stream = stream or sys.stderr
        self.colour = self.stream.isatty() and "NO_COLOR" not in os.environ

    def __call__(self, event: Event) -> None:
        """Show one event; those that say nothing to people are passed over."""
        text = event_line(event)
        if text is None:
            return
        left = self._time_left(event)
        text = f"{event['time'][11:19]}  {self.who}{text}{left}"
        append_line(self.log, text)
        code = _COLOURS.get(str(event.get("verdict", event["event"])))
        # Over the line that shows a run at work, if there is one.
        start = CLEAR_LINE if use_colour(self.stream) else ""
        text = coloured(text, code if self.colour else None)
        print(f"{start}{text}", file=self.stream, flush=True)

    def _time_left(self, event: Event) -> str:
        if event["event"] != "verdict" or self.who:
            return ""
        seconds = time_left(list(read_events(self.log.with_name("events.jsonl"))), event)
        return "" if seconds is None else f" | about {spoken_duration(seconds)} left"


def event_line(event: Mapping[str, Any]) -> str | None:
    """Words of an event for people, without its time; ``None`` for none."""
    speak = _SPEAK.get(event["event"])
    said = speak(event) if speak else None
    return None if said is None else one_line(said)


def _name(event: Mapping[str, Any]) -> str:
    """An experiment by its number and description; of the baseline the latter alone."""
    number = f"#{event['number']} " if event["number"] else ""
    return shorten(f"{number}{event['description']}", _WIDTH)


def _run_finished(event: Mapping[str, Any]) -> str:
    searched = event["role"] == "search"
    role = f"run {event['replicate'] + 1}" if searched else event["role"]
    value = event["outcome"] if event["value"] is None else f"{event['value']:.6f}"
    name = _name(event) if searched else shorten(event["description"], _WIDTH)
    # As wide as the place of a verdict, so that the columns agree.
    text = f"{role:<11}  {name:<{_WIDTH}} {value:>10}  {event['wall_seconds']:.1f} s"
    for earlier in event.get("earlier_tries") or ():
        text += f"; tried twice, the first was {earlier}"
    slowed = (event.get("pace") or {}).get("slowed")
    if slowed:
        text += f"; busy machine, {slowed}"
    if event.get("again"):
        return f"{text}; it is run again"
    return f"{text}; it counts all the same" if slowed else text


def _run_replayed(event: Mapping[str, Any]) -> str:
    text = _run_finished({**event, "wall_seconds": 0.0})
    return f"{text.removesuffix('0.0 s')}{store_words(event['made'], event['time'])}"


def _verdict(event: Mapping[str, Any]) -> str:
    best = f"best {best_words(event)} | {event['kept']} kept"
    sure = "" if event["confidence"] is None else f" P {event['confidence']:.3f}"
    rounds, name = str(event["rounds"]), _name(event)
    place = f"round {event['round']:>{len(rounds)}}/{rounds}  {name:<{_WIDTH}}"
    said = ""
    if event.get("near_miss"):
        said = ", will be tried again"
    elif event["verdict"] in ("KEEP", "STRONG_KEEP") and (event.get("price") or 0.0) < 0:
        said = ", simpler"
    said += ", diverged" if event.get("diverged") else ""
    if (event.get("changes") or 0) > 1:
        said += f", {event['changes']} changes at once"
    return f"{place} {event['verdict']}{sure}{said} | {best}"


def _noise(event: Mapping[str, Any]) -> str:
    return "" if event["noise"] is None else f" ± {event['noise']:.4f}"


def _baseline(event: Mapping[str, Any]) -> str:
    if event["noise"] is None:
        return (
            f"baseline {event['mean']:.4f} in each of {event['n']} runs: {NO_SEED_EFFECT} "
            f"({SEED_HINT}); {NOISE_UNKNOWN}"
        )
    source = f"noise floor from {event['n']} runs" if event.get("measured", True) else NOISE_UNKNOWN
    return f"baseline {event['mean']:.4f}{_noise(event)} ({source})"


def _remeasured(event: Mapping[str, Any]) -> str | None:
    """A regular check of the incumbent says something only if it is alarming."""
    if event.get("anew") and event["value"] is not None:
        return (
            f"incumbent measured anew, since the machine became busy or quiet: {event['value']:.4f}"
        )
    if not event["alarm"]:
        return None
    return (
        f"incumbent moved: expected {event['expected']:.4f} ± {event['sd']:.4f}, measured "
        f"{event['value']:.4f} (z = {event['z']:.1f}); the machine or the data may have changed"
    )


def _confirmed(event: Mapping[str, Any]) -> str:
    if "standing" not in event:  # of an older session, which told one gain
        return f"confirmation: gain in the search {format_number(event['gain'])}"
    return gain_sentence(event, format_number)


def _certified(event: Mapping[str, Any]) -> str:
    text = f"certified by fresh runs: {event['certified']} of {event['kept']} kept"
    return text + (f"; removed: {', '.join(event['removed'])}" if event["removed"] else "")


def _agent_waiting(event: Mapping[str, Any]) -> str:
    said = f" (“{event['words']}”)" if event["words"] else ""
    pause, left = (spoken_duration(event[name]) for name in ("seconds", "left_seconds"))
    place = f"{event['agent']}, round {event['round']}: {event['why']}{said}"
    return f"waiting      {place}; asked again in {pause}, for {left} at most"


def _run_waiting(event: Mapping[str, Any]) -> str:
    return f"waiting      {_name(event)} {event['why']}"


def _sharing(event: Mapping[str, Any]) -> str | None:
    """A run says something at its start only if it shares its GPU."""
    pids = event.get("shared_with") or ()
    if not pids:
        return None
    others = f"process{'' if len(pids) == 1 else 'es'} {', '.join(map(str, pids))}"
    return f"sharing      {_name(event)}: {others} of others stay on {event['device']['name']}"


def _transferring(event: Mapping[str, Any]) -> str:
    return f"champion and baseline once more {event['scale']}, {event['runs']} runs"


_SPEAK: dict[str, Callable[[Mapping[str, Any]], str | None]] = {
    "session_started": lambda e: f"session {e['session']}: task {e['task']}",
    "prepared": lambda e: (
        f"inputs hashed, {len(e['data'])} data files ready; isolation of runs: {e['isolation']}"
        + (f" ({e['holds']})" if e.get("holds") else "")
        + (f"; {e['stronger']}" if e.get("stronger") else "")
        + (f"; preset {e['preset']}" if e.get("preset") else "")
    ),
    "refused": lambda e: f"not run      {shorten(e['description'], _WIDTH)}: {e['reason']}",
    "agent_asked": lambda e: (
        f"asking       {e['agent']}, round {e['round']}{', once more' if e['attempt'] > 1 else ''} "
        f"(at most {e['minutes']:g} min)"
    ),
    "agent_waiting": _agent_waiting,
    "agent_unusable": lambda e: f"no proposal  {e['detail']}",
    "agent_refused": lambda e: (
        f"{'sent back' if e['again'] else 'no proposal':<11}  {e['agent']}, round {e['round']}: "
        f"{e['reason']}"
    ),
    "set_aside": lambda e: (
        f"kept aside   {e['agent']}, round {e['round']}: {shorten(e['description'], _WIDTH)}: "
        f"{e['reason']}"
    ),
    "guard_finished": lambda e: (
        None
        if e["outcome"] == "ok"
        else f"{'guard':<11}  {_name(e):<{_WIDTH}} {'failed':>10}  {e['wall_seconds']:.1f} s"
    ),
    "run_waiting": _run_waiting,
    "warm_up_started": lambda e: f"compiling    {_name(e)}: before its first run",
    "run_started": _sharing,
    "run_finished": _run_finished,
    "run_replayed": _run_replayed,
    "baseline": _baseline,
    "verdict": _verdict,
    "remeasured": _remeasured,
    "stopped": lambda e: f"no more experiments: {e['detail']}",
    "confirmed": _confirmed,
    "certified": _certified,
    "transferring": _transferring,
    "transferred": lambda e: transfer_sentence(e, format_number),
    "grafted": lambda e: (
        None if e["fate"] == "offered" else f"not offered  win {e['origin']}: {e['detail']}"
    ),
    "leg_finished": lambda e: (
        f"leg {e['number']} done   best {e['best']:.4f} (estimate {e['mean']:.4f} ± "
        f"{e['sd']:.4f}) | {e['kept']} kept, "
        f"{e['runs']} runs"
    ),
    "pollinated": lambda e: (
        f"round {e['number']} over: {e['leader']} leads, {e['offers']} wins offered to others"
    ),
    "worktree": lambda e: f"worktree     {e['path']}: {e['detail']}",
    "mirror_failed": lambda e: f"mirror       {e['reason']}",
    "tracker_failed": lambda e: f"tracker      {e['tracker']}: {e['reason']}",
    "audited": lambda e: f"{e['answer']}\n",
    "evolved": lambda e: f"{e['answer']}\n",
    "reported": lambda e: f"{e['answer']}\n",
}


Facts = Mapping[str, Any]
PAGE = Path(__file__).with_name("live.html")
REFRESH_SECONDS = 5
EVERY_SECONDS = 1.0
"""Pause between two looks at a run for a terminal."""

SHARE = 200.0
"""So many times as long as a look took is the pause after it, at least: looking at a run may
take half a percent of one processor."""
SHOWN_VERDICTS = 20

# No page follows an event that says nothing to people.
_SILENT = {
    "audit_read",
    "agent_answered",
    "notify_failed",
    "tracker_works",
    "mirror_works",
    "warm_up",
}
_GLYPHS = {"keep": "●", "discard": "○", "crash": "✕"}


class LivePage:
    """Listens to a journal and keeps ``live.html`` up to date; never raises.

    A view: not sealed, no output of a step.  It runs no script, asks nothing of a network
    and loads itself again every few seconds until the session has ended.
    """

    def __init__(self, paths: SessionPaths) -> None:
        self.paths = paths

    def __call__(self, event: Event) -> None:
        """Make the page anew, unless the event changes nothing on it."""
        if event["event"] not in _SILENT:
            self.renew()

    def renew(self) -> None:
        """Make the page anew."""
        # A view is never worth a session: the disk may be full or read-only, a
        # line of the journal damaged.
        with contextlib.suppress(Exception):
            found = live_facts(list(read_events(self.paths.events)), time.time())
            if any(work.get("folder") for work in found["current"]):
                from ratchet.monitor.live_curve import with_curves  # no run, no import

                found = with_curves(found, self.paths)
            page = render_live(found)
            replace_file(self.paths.live_html, page.encode("utf-8", "replace"))


class RunWatch:
    """Listens to a journal and looks at each run while it lasts; never raises.

    On a terminal that wants colours it redraws one line, which the session's next line takes
    the place of; elsewhere it prints nothing.  The page is made anew while a run lasts.
    """

    def __init__(
        self,
        paths: SessionPaths,
        stream: TextIO | None = None,
        every: float = EVERY_SECONDS,
    ) -> None:
        self.paths = paths
        self.page = LivePage(paths)
        self.stream = stream or sys.stderr
        self.every = every
        self.over = threading.Event()
        self.thread: threading.Thread | None = None

    def __call__(self, event: Event) -> None:
        """Begin to look at a run that starts; any other event ends that."""
        self.close()
        if event["event"] == "run_started" and event.get("folder"):
            self.over = threading.Event()
            self.thread = threading.Thread(target=self._look, args=(self.over,), daemon=True)
            self.thread.start()

    def close(self) -> None:
        """Stop looking; nothing is drawn afterwards."""
        if self.thread is not None:
            self.over.set()
            self.thread.join()
            self.thread = None

    def _look(self, over: threading.Event) -> None:
        from ratchet.runs.probe import QUIET

        terminal = use_colour(self.stream)
        pause, page_due = (
            self.every if terminal else REFRESH_SECONDS,
            time.monotonic() + REFRESH_SECONDS,
        )
        while not over.wait(pause):
            began = time.thread_time()
            # A view is never worth a run, nor a probe of the machine.
            with contextlib.suppress(Exception), QUIET:
                if terminal:
                    from ratchet.monitor.live_curve import draw_line  # short runs need none

                    draw_line(self.paths, self.stream)
                if time.monotonic() >= page_due:
                    self.page.renew()
                    page_due = time.monotonic() + REFRESH_SECONDS
            usual = self.every if terminal else REFRESH_SECONDS
            pause = max(usual, SHARE * (time.thread_time() - began))


def live_facts(events: list[Event], now: float) -> dict[str, Any]:
    """Facts of the page; the session makes it itself, so it runs."""
    standing = fold_events(events)
    found = session_state(standing, now, owned=True)
    return standing_facts(standing, now, found, seconds_left(events, standing, now))


def replace_file(path: Path, data: bytes) -> None:
    """Write a file as a whole; unlike a record it may be lost in a power cut."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


def render_live(found: Facts) -> str:
    """The whole page."""
    over = state_is_over(found)
    parts = [_head(found), _numbers(found), _curves(found), _verdicts(found), _foot(found, over)]
    # No Jinja: every step writes this page, and would wait for its import.
    return Template(PAGE.read_text(encoding="utf-8")).substitute(
        refresh="" if over else f'<meta http-equiv="refresh" content="{REFRESH_SECONDS}">\n',
        title=escape(f"{one_line_label(found['session'])} · {found['state']}"),
        light=css_variables(LIGHT),
        dark=css_variables(DARK),
        state=escape(found["state"]),
        body="".join(parts),
    )


def state_is_over(found: Facts) -> bool:
    """Whether the page will not change any more."""
    return found["state"] in ("finished", "failed")


def _head(found: Facts) -> str:
    metric = f" · {_text(found['metric'])}" if found["metric"] else ""
    head = f"<h1>{_text(found['session'])} <span>· {_text(found['task'])}{metric}</span></h1>\n"
    head += f'<p class="state">{_text(progress_line(found), 2000)}</p>\n'
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
    rows = [*(("now", text) for text in current_work(found)), *standing_rows(found)]
    body = "".join(f'<dt>{name}<dd class="{name.lower()}">{_text(text)}\n' for name, text in rows)
    return f"<dl>\n{body}</dl>\n"


def _curves(found: Facts) -> str:
    """Training loss of the runs at work, over the incumbent's."""
    shown = [work for work in found["current"] if work.get("curve")]
    if not shown:
        return ""
    from ratchet.monitor.live_curve import curve_svg, loss_words

    parts = []
    for work in shown:
        curve = work["curve"]
        loss = loss_words(curve["loss"])
        here = "" if curve["here"] is None else f", {loss_words(curve['here'])} at this step"
        held = f' · <span class="held">incumbent{here}</span>' if curve["incumbent"] else ""
        parts.append(
            f'<figure><figcaption>{_text(work_name(work))}: <span class="own">{loss}</span> at '
            f"step {curve['step']:,}{held}</figcaption>\n{curve_svg(curve)}</figure>\n"
        )
    return f"<h2>Training loss</h2>\n{''.join(parts)}"


def _verdicts(found: Facts) -> str:
    shown = found["verdicts"][:SHOWN_VERDICTS]
    if not shown:
        return ""
    digits = decimals_for(found["noise"], found["best"])
    rows = "".join(
        f'<tr><td class="n">{entry["number"]}<td class="v {decision_word(entry)}">'
        f'<span aria-hidden="true">{_GLYPHS[decision_word(entry)]}</span> '
        f"{_text(entry['verdict']).replace('_', ' ')}"
        f'<td class="n">{_text(format_percent(entry["confidence"]))}'
        f'<td class="n">{format_number(entry["value"], digits)}'
        f"<td>{_text(entry['description'])}</tr>\n"
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
    return escape(one_line_label(str(value), limit))
