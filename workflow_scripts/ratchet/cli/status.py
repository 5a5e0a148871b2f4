"""ratchet status: how a session stands, from any shell, also after a reboot.

    ratchet status
    ratchet status night --watch
    ratchet status --all
    ratchet status --json

Reads the session's events.jsonl and nothing else of it, so it needs no
configuration and harms nothing.  Whether anybody still runs the session is told
by the workflow's lock on this machine, and by how long ago the last event was;
what waits in Slurm's queue, by squeue.

Exit codes: 0 running, waiting for an edit, or finished (and with --all);
1 stale or failed; 64 usage, 66 no session, 70 internal error.
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from glob import escape
from pathlib import Path
from typing import Any

from ratchet.base.errors import InputMissingError, RatchetError, UsageError
from ratchet.base.io import read_json
from ratchet.base.structs import asdict
from ratchet.base.terminal import (
    GREEN,
    RED,
    YELLOW,
    align_columns,
    coloured,
    cut_line,
    is_terminal,
    terminal_width,
    text_width,
    use_colour,
    wrap_text,
)
from ratchet.base.text import (
    DASH,
    clean_text,
    decimals_for,
    format_number,
    iso_time,
    one_line_label,
    plural,
    safe_json,
    spoken_duration,
)
from ratchet.cli.main import CommandParser, make_command, print_json
from ratchet.cli.sessions import add_root, bare_name, harness_folder
from ratchet.config import workflow_command
from ratchet.monitor.live_curve import curve_words, with_curves
from ratchet.monitor.progress import (
    DAMAGED,
    RUN,
    WAITING,
    SessionRunState,
    SessionStanding,
    current_work,
    decision_word,
    fold_events,
    phase_line,
    progress_line,
    seconds_left,
    session_state,
    standing_facts,
    standing_rows,
    work_name,
)
from ratchet.monitor.views import event_line
from ratchet.records.events import Event, Follower, event_seconds
from ratchet.records.ownership import Owner, owns_session, running_sessions, tournament_of
from ratchet.records.paths import SessionPaths
from ratchet.runs.devices import VISIBLE_GPUS, allowed_gpus, list_gpus
from ratchet.runs.hardware import GpuSample, describe_machine, nvml_library, sample_gpu

Facts = Mapping[str, Any]
NAME = "ratchet status"
_WAITS = re.compile(r"waits for (?:an? |session )?(another session|processor core|[\w.-]+)")
EXIT_NOT_WELL = 1
EVERY_SECONDS = 1.0

NARROWEST = 40
"""Below so many columns lines are as long as for these, and wrap."""

FIRST_EVENTS = 10
"""Lines of the past that ``--watch`` begins with where it writes to no terminal."""

QUEUE_SECONDS = 30.0
"""How often a cluster is asked for its queue, and how long its answer may take."""

LONGEST_LINE = 300
_STATE_COLOURS = {"running": GREEN, "waiting": YELLOW, "stale": RED, "failed": RED}
_COLOURS = {"keep": GREEN, "crash": RED}
_NAME = 8
_SHOWN = 6
_HOME, _END_LINE, _END_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"
_OPEN, _CLOSE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(NAME, __doc__)
    add = parser.add_argument
    add(
        "session",
        nargs="?",
        type=bare_name,
        help="its name (default: the one that runs, or was last at work)",
    )
    add("--watch", action="store_true", help="until it ends; one line per event in a pipe")
    add("--json", action="store_true", help="one JSON object; with --watch one per event")
    add("--all", action="store_true", help="all sessions here, one line each")
    add_root(parser)
    options = parser.parse_args(argv)
    if options.all and (options.session or options.watch):
        parser.error("--all: expected neither a session nor --watch")
    return options


def _run(options: argparse.Namespace) -> int:
    if options.all:
        return _tell_all(options)
    view = View(choose_session(options.session, options.root))
    if options.watch and (options.json or not is_terminal()):
        _follow(view, options.json)
    elif options.watch:
        _redraw(view)
    elif options.json:
        print_json(safe_json(view.facts(time.time())))
    else:
        print("\n".join(frame(view.facts(time.time()), terminal_width(), None, use_colour())))
    return 0 if view.state not in (SessionRunState.STALE, SessionRunState.FAILED) else EXIT_NOT_WELL


def choose_session(name: str | None, root: Path) -> SessionPaths:
    """The session that is meant; :class:`InputMissingError` if there is none."""
    there = {
        path.parent.name: path.stat().st_mtime
        for path in (root / "results").glob("*/events.jsonl")
        if path.is_file()
    }
    if name is None:
        running = [each for each in running_sessions(root) if each in there]
        if len(running) > 1:
            raise UsageError(
                f"expected the name of a session, since {len(running)} are running here: "
                f"{', '.join(running)}; see all of them with: ratchet status --all"
            )
        name = running[0] if running else None
    if name is None and there:
        name = max(there, key=lambda each: there[each])
    if name not in there:
        place = root / "results" / (name or "")
        todo = workflow_command(SessionPaths(name or "default", root), harness=harness_folder(root))
        known = (
            f"there are: {', '.join(sorted(there))}"
            if there
            else f"name the folder with the results by --root FOLDER, or run one: {todo}"
        )
        raise InputMissingError(f"{place}: expected a session with events, found none; {known}")
    return SessionPaths(str(name), root)


class View:
    """A session as its events tell it, kept up to date by reading what was added."""

    def __init__(self, paths: SessionPaths, nvml: Callable[[], Any | None] = nvml_library) -> None:
        self.paths = paths
        self._library = nvml
        self.follower = Follower(paths.events)
        self.events: list[Event] = []
        self.standing = SessionStanding()
        self.state = SessionRunState.RUNNING
        self.goes_on = True
        self._nvml: Any | None = None
        self.machine = ""
        self._queue: list[str] = []
        self._queue_asked = float("-inf")
        self.update()

    def update(self) -> list[Event]:
        """Read what was added; gives the new events."""
        new = self.follower.new()
        if self.follower.anew:
            self.events, self.standing = [], SessionStanding()
        self.events += new
        self.standing = fold_events(new, self.standing)
        return new

    def facts(self, now: float) -> dict[str, Any]:
        """All facts that are shown, disk and GPUs of this machine included."""
        root, name = self.paths.root, self.paths.session
        target = "audit" if self.paths.rerun_plan.is_file() else ""
        target = "evolve" if self.paths.tournament.is_file() else target
        again = workflow_command(self.paths, words=target, harness=harness_folder(root))
        for path in (root / "results").glob(f"{escape(name)}.*/events.jsonl"):
            if tournament_of(root, path.parent.name) == name:
                self.standing.elsewhere(path.stat().st_mtime)
        owned = owns_session(root, name)
        told = session_state(self.standing, now, owned, again)
        self.state = told[0]
        running = self.state is SessionRunState.RUNNING
        self.goes_on = running or (self.state is SessionRunState.STALE and bool(owned))
        left = seconds_left(self.events, self.standing, now)
        facts = standing_facts(self.standing, now, told, left)
        facts["session"] = self.standing.session or name
        gpus = self._gpus() if running and self.standing.device != "cpu" else []
        facts = with_curves(facts, self.paths) if running else facts
        self.machine = self.machine or _machine(self.paths)
        # A session that runs on another machine is stale to this one.
        open_ = self.state in (SessionRunState.RUNNING, SessionRunState.STALE)
        if open_ and now - self._queue_asked >= QUEUE_SECONDS:
            self._queue_asked, self._queue = now, slurm_queue(root)
        queue = self._queue if open_ else []
        here = {"machine": self.machine, "disk_free_bytes": _free(root), "gpus": gpus}
        return {**facts, **here, "queue": queue}

    def _gpus(self) -> list[dict[str, Any]]:
        """Load of this machine's GPUs; none without a driver."""
        nvml = self._nvml = self._nvml or self._library()
        samples = []
        for one in allowed_gpus(list_gpus(nvml), os.environ.get(VISIBLE_GPUS)):
            assert nvml is not None
            handle = one.handle(nvml)
            sample = sample_gpu(nvml, handle, 0.0)
            values = {name: getattr(sample, name) for name in GpuSample.NUMBERS}
            try:
                total = nvml.nvmlDeviceGetMemoryInfo(handle).total / 2**20
            except (nvml.NVMLError, AttributeError):
                total = None
            samples.append({**asdict(one), **values, "memory_total_mb": total})
        return samples


def slurm_queue(root: Path) -> list[str]:
    """Why each job of this folder waits that Slurm has not started, as far as it says so."""
    squeue = shutil.which("squeue")
    if squeue is None or not (root / ".snakemake" / "slurm_logs").is_dir():
        return []
    command = [squeue, "--noheader", f"--user={os.getuid()}", "--states=PENDING", "--array"]
    try:
        done = subprocess.run(
            [*command, "--format=%r|%Z"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=QUEUE_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    own = root.resolve()
    rows = (line.partition("|") for line in done.stdout.splitlines())
    return [reason.strip() for reason, _, place in rows if Path(place.strip()).resolve() == own]


def _machine(paths: SessionPaths) -> str:
    """The machine on which a session was started, in words; empty where that is not known."""
    try:
        return describe_machine(read_json(paths.manifest).get("machine") or {})
    except (RatchetError, AttributeError):
        return ""


def _free(root: Path) -> int | None:
    try:
        return shutil.disk_usage(root).free
    except OSError:
        return None


def _tell_all(options: argparse.Namespace) -> int:
    """One line per session, those that run first."""
    found = all_sessions(options.root, time.time())
    if options.json:
        print_json(safe_json({"sessions": found}))
    elif found:
        print("\n".join(overview_lines(found, terminal_width(), use_colour())))
    else:
        print(f"{options.root / 'results'}: no session yet")
    return 0


def all_sessions(root: Path, now: float) -> list[dict[str, Any]]:
    """Facts of all sessions of a folder: those that living processes have, then the newest.

    Competitors stand within their tournament and have no line of their own.
    """
    running, found = running_sessions(root), list[dict[str, Any]]()
    paths = [path for path in (root / "results").glob("*/events.jsonl") if path.is_file()]
    for path in sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True):
        name = path.parent.name
        if tournament_of(root, name):
            continue
        facts = View(SessionPaths(name, root), lambda: None).facts(now)
        found.append(_in_short(name, facts, running.get(name)))
    return sorted(found, key=lambda each: each["session"] not in running)


def _in_short(session: str, facts: Facts, owner: Owner | None) -> dict[str, Any]:
    """What one line tells of a session; its gain is the confirmed one, or that of the search."""
    confirmed = facts["confirmed"] or {}
    start, best = facts["baseline"], facts["best"]
    known = facts["counts"]["keep"] and start is not None and best is not None
    searched = abs(start - best) if known else None
    awaited = [what for work in facts["current"] if (what := _awaited(work))]
    held = sorted({work["device"] for work in facts["current"] if work["kind"] == RUN} - {""})
    return {
        "session": session,
        **{name: facts[name] for name in ("state", "phase", "round", "rounds")},
        **{name: facts[name] for name in ("metric", "baseline", "best", "noise")},
        "device": ", ".join(held) or facts["device"],
        "gain": searched if confirmed.get("gain") is None else confirmed["gain"],
        "confirmed": confirmed.get("gain") is not None,
        "waits_for": awaited[0] if awaited else None,
        "started": facts["started"],
        "pid": None if owner is None else owner.pid,
    }


def _awaited(work: Facts) -> str:
    """The session or the kind of device that a run waits for; empty for none."""
    found = _WAITS.match(work["device"]) if work["kind"] == WAITING else None
    return found[1] if found else ""


def overview_lines(sessions: Sequence[Facts], width: int, colour: bool) -> list[str]:
    """A heading, and one line per session, within ``width`` columns."""
    for most in _NAME_WIDTHS:
        lines = align_columns([_HEADING, *(_row(each, most) for each in sessions)], (0, 1, 5))
        if max(map(text_width, lines)) <= width:
            break
    codes = [None, *(_STATE_COLOURS.get(each["state"]) for each in sessions)]
    shown = [
        coloured(cut_line(line, width), code if colour else None)
        for line, code in zip(lines, codes, strict=True)
    ]
    doubtful = any(each["gain"] is not None and not each["confirmed"] for each in sessions)
    return [*shown, "?: of the search, not confirmed"] if doubtful else shown


_HEADING = ("session", "state", "round", "best", "gain", "on", "since", "pid")
_NAME_WIDTHS = (64, 32, 20, 16, 12, 9)
"""Columns of names, from which on they are cut; the first with which all lines fit counts."""


def _row(each: Facts, most: int) -> tuple[str, ...]:
    digits = decimals_for(each["noise"], each["best"])
    gain = format_number(each["gain"], digits)
    waits = each["waits_for"]
    return (
        cut_line(one_line_label(each["session"]), most),
        each["state"],
        DASH if each["rounds"] is None else f"{each['round']}/{each['rounds']}",
        format_number(each["best"], digits),
        gain if each["confirmed"] or each["gain"] is None else f"{gain}?",
        cut_line(one_line_label(f"waits: {waits}" if waits else each["device"] or DASH), most),
        _since(each["started"]),
        DASH if each["pid"] is None else str(each["pid"]),
    )


def _since(started: str | None) -> str:
    """Day and minute at which a session began."""
    return DASH if started is None else started[5:16].replace("T", " ")


def frame(facts: Facts, width: int, height: int | None, colour: bool) -> list[str]:
    """Lines of one look at a session, within ``width`` columns and ``height`` lines."""
    width = max(width, NARROWEST)
    lines = [_head(facts, width, colour), *_what(facts, width), ""]
    for name, text in _numbers(facts):
        lines += wrap_text(text, width, f"{name:<{_NAME}}", " " * _NAME)
    room = _SHOWN if height is None else max(0, min(_SHOWN, height - len(lines) - 2))
    verdicts = facts["verdicts"][:room]
    if verdicts:
        lines += ["", *_verdicts(verdicts, facts, width, colour)]
    return lines if height is None else lines[:height]


def _head(facts: Facts, width: int, colour: bool) -> str:
    state = facts["state"]
    name = " · ".join(one_line_label(text) for text in (facts["session"], facts["task"]) if text)
    name = cut_line(name, width - len(state) - 2)
    gap = " " * (width - text_width(name) - len(state))
    return name + gap + coloured(state, _STATE_COLOURS.get(state) if colour else None)


def _what(facts: Facts, width: int) -> list[str]:
    """Present phase, or why nothing happens."""
    if facts["state"] == "finished":
        return wrap_text(one_line_label(str(facts["answer"] or "reported"), 2000), width)
    lines = [cut_line(phase_line(facts), width)]
    if facts["why"]:
        lines += wrap_text(one_line_label(facts["why"], 2000), width)
    return lines


def _numbers(facts: Facts) -> list[tuple[str, str]]:
    state = facts["state"]
    if state == "running":
        rows = []
        for work, text in zip(facts["current"], current_work(facts), strict=True):
            rows.append(("now", one_line_label(text)))
            if work.get("curve"):
                rows += zip(("loss", ""), curve_words(work["curve"]), strict=False)
    else:  # how long it went on is not known
        rows = [("was at", one_line_label(work_name(work))) for work in facts["current"]]
    if facts.get("queue"):
        reasons = ", ".join(sorted({*facts["queue"]}))
        waiting = f"{plural(len(facts['queue']), 'job')} not started by Slurm yet"
        rows.append(("queue", one_line_label(f"{waiting}: {reasons}")))
    rows += standing_rows(facts)
    if state == "running":
        silent = facts["last_event"]["seconds_ago"]
        rows.append(("heard", f"{spoken_duration(silent or 0.0)} ago"))
    if facts.get("machine"):
        rows.append(("machine", one_line_label(facts["machine"], 240)))
    if facts.get("disk_free_bytes") is not None:
        rows.append(("disk", f"{facts['disk_free_bytes'] / 2**30:,.1f} GiB free"))
    return rows + [(f"GPU {gpu['index']}", _gpu(gpu)) for gpu in facts.get("gpus") or ()]


def _gpu(gpu: Mapping[str, Any]) -> str:
    def shown(name: str, unit: str) -> str:
        return DASH if gpu[name] is None else f"{gpu[name]:.0f} {unit}"

    used, memory = gpu["memory_mb"], gpu["memory_total_mb"]
    known = used is not None and memory is not None
    gib = f"{used / 1024:.1f} of {memory / 1024:.0f} GiB" if known else DASH
    parts = (
        shown("utilisation", "%"),
        gib,
        shown("temperature_c", "°C"),
        shown("power_watts", "W"),
    )
    return f"{one_line_label(gpu['name'], 40)}: {', '.join(parts)}"


def _verdicts(verdicts: Sequence[Facts], facts: Facts, width: int, colour: bool) -> list[str]:
    """The last verdicts, the newest first, in columns."""
    digits = decimals_for(facts["noise"], facts["best"])
    rows = [("#", "verdict", "P", "metric", "edit")]
    for entry in verdicts:
        sure, value = format_number(entry["confidence"], 3), format_number(entry["value"], digits)
        edit = one_line_label(entry["description"])
        rows.append((str(entry["number"]), entry["verdict"], sure, value, edit))
    words = ["", *map(decision_word, verdicts)]
    return [
        coloured(cut_line(line, width), _COLOURS.get(word) if colour else None)
        for line, word in zip(align_columns(rows, left=(1, 4)), words, strict=True)
    ]


def _looks(view: View) -> Iterator[tuple[list[Event], dict[str, Any]]]:
    """New events and all facts, every second, until there is nothing more to wait for."""
    new = view.events[-FIRST_EVENTS:]
    while True:
        yield new, view.facts(time.time())
        if not view.goes_on:
            return
        time.sleep(EVERY_SECONDS)
        new = view.update()


def _follow(view: View, as_json: bool) -> None:
    """One line per event, and how it stands at the end; for pipes and logs."""
    facts = dict[str, Any]()
    for new, facts in _looks(view):
        if as_json and new:
            print(json.dumps(safe_json(facts), ensure_ascii=False, allow_nan=False), flush=True)
        for event in () if as_json else new:
            said = _line(event)
            if said is not None:
                print(f"{said[0]}  {said[1]}", flush=True)
    if not as_json:
        told = facts["why"] and view.state is not SessionRunState.WAITING
        why = f"; {facts['why']}" if told else ""
        print(clean_text(f"{facts['session']}: {progress_line(facts)}{why}"), flush=True)


def _line(event: Event) -> tuple[str, str] | None:
    """Time and words of an event; ``None`` if it says nothing or is damaged."""
    try:
        text = event_line(event)
        clock = iso_time(event_seconds(event))
    except DAMAGED:
        return None
    return (
        None if text is None or clock is None else (clock[11:19], clean_text(text[:LONGEST_LINE]))
    )


def _redraw(view: View) -> None:
    """Redraw one place of the terminal until the end; the last look stays on it."""
    colour, lines = use_colour(), list[str]()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    print(_OPEN, end="", flush=True)
    try:
        for _, facts in _looks(view):
            size = shutil.get_terminal_size()
            lines = frame(facts, size.columns, size.lines - 1, colour)
            body = "".join(f"{line}{_END_LINE}\r\n" for line in lines)
            print(f"{_HOME}{body}{_END_SCREEN}", end="", flush=True)
    finally:
        # Whatever ends it: the cursor and what was on the screen come back.
        print(_CLOSE, end="", flush=True)
        if lines:
            print("\n".join(lines), flush=True)


main = make_command(NAME, _parse, _run)
