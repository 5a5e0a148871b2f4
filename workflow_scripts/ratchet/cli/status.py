"""``ratchet status``: how a session stands, from any shell, also after a reboot.

    ratchet status
    ratchet status night --watch
    ratchet status --json

Reads the session's ``events.jsonl`` and nothing else of it, so it needs no
configuration and harms nothing.  Whether anybody still runs the session is told by
the workflow's lock on this machine, and by how long ago the last event was.

Exit codes: 0 running, waiting for an edit, or finished; 1 stale or failed; 64
usage, 66 no session, 70 internal.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from glob import escape
from pathlib import Path
from typing import Any

from ratchet import console, gpu, ownership, status
from ratchet.cli import command, status_text
from ratchet.codec import asdict
from ratchet.errors import InputMissingError
from ratchet.journal import Event, Follower
from ratchet.paths import SessionPaths
from ratchet.report.text import clean, safe_json
from ratchet.status.text import progress

NAME = "ratchet status"
EXIT_NOT_WELL = 1
EVERY_SECONDS = 1.0
FIRST_EVENTS = 10
"""Lines of the past that ``--watch`` begins with where it writes to no terminal."""

LONGEST_LINE = 300

_HOME, _END_LINE, _END_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"
_OPEN, _CLOSE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"


def main(argv: Sequence[str] | None = None) -> int:
    """Look, print, and look again with ``--watch``; returns the exit code."""
    return command.run(NAME, lambda given: _run(_parse(given)), argv)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = command.Parser(
        prog=NAME,
        description="How a session stands: from its events alone, while it runs and after.",
        epilog="exit codes: 0 running, waiting or finished; 1 stale or failed; 64 usage, "
        "66 no session, 70 internal error",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("session", nargs="?", help="its name (default: the one that runs, or was last at work)")
    add("--watch", action="store_true", help="until it ends; one line per event in a pipe")
    add("--json", action="store_true", help="one JSON object; with --watch one per event")
    add("--root", type=Path, default=Path(), help="folder with results and store (default: here)")
    return parser.parse_args(argv)


def _run(options: argparse.Namespace) -> int:
    view = View(choose(options.session, options.root))
    if not options.watch:
        _print(view, options.json)
    elif options.json or not _is_terminal():
        _follow(view, options.json)
    else:
        _redraw(view)
    return 0 if view.state not in (status.State.STALE, status.State.FAILED) else EXIT_NOT_WELL


def choose(name: str | None, root: Path) -> SessionPaths:
    """The session that is meant; :class:`InputMissingError` if there is none."""
    there = {
        path.parent.name: path.stat().st_mtime
        for path in (root / "results").glob("*/events.jsonl")
        if path.is_file()
    }
    if name is None:
        with contextlib.suppress(OSError):
            held = ownership.owner(root)
            name = held.session if held and held.session in there else None
    if name is None and there:
        name = max(there, key=lambda each: there[each])
    if name not in there:
        known = (
            f"there are: {', '.join(sorted(there))}" if there else "run one: snakemake --cores 1"
        )
        place = root / "results" / (name or "")
        raise InputMissingError(f"{place}: expected a session with events, found none; {known}")
    return SessionPaths(str(name), root)


class View:
    """A session as its events tell it, kept up to date by reading what was added."""

    def __init__(self, paths: SessionPaths) -> None:
        self.paths = paths
        self.follower = Follower(paths.events)
        self.events: list[Event] = []
        self.standing = status.Standing()
        self.state = status.State.RUNNING
        self.goes_on = True
        self._nvml: Any | None = None
        self.update()

    def update(self) -> list[Event]:
        """Read what was added; gives the new events."""
        new = self.follower.new()
        if self.follower.anew:
            self.events, self.standing = [], status.Standing()
        self.events += new
        self.standing = status.fold(new, self.standing)
        return new

    def facts(self, now: float) -> dict[str, Any]:
        """Everything that is shown, disk and GPUs of this machine included."""
        root, name = self.paths.root, self.paths.session
        again = "snakemake --cores 1" + ("" if name == "default" else f" --config session={name}")
        if self.paths.rerun_plan.is_file():
            again = f"ratchet audit --results LOG --repo CLONE --session {name} --run"
        for path in (root / "results").glob(f"{escape(name)}.*/events.jsonl"):
            self.standing.elsewhere(path.stat().st_mtime)
        owned = ownership.owns(root, name)
        found = status.state(self.standing, now, owned, again)
        self.state = found[0]
        running = self.state is status.State.RUNNING
        self.goes_on = running or (self.state is status.State.STALE and bool(owned))
        left = status.seconds_left(self.events, self.standing, now)
        facts = status.facts(self.standing, now, found, left)
        facts["session"] = self.standing.session or name
        gpus = self._gpus() if running and self.standing.device != "cpu" else []
        return {**facts, "disk_free_bytes": _free(root), "gpus": gpus}

    def _gpus(self) -> list[dict[str, Any]]:
        """What the GPUs of this machine do; none without a driver."""
        nvml = self._nvml = self._nvml or gpu.library()
        found = []
        for one in gpu.allowed(gpu.gpus(nvml), os.environ.get(gpu.VISIBLE)):
            assert nvml is not None
            handle = nvml.nvmlDeviceGetHandleByIndex(one.index)
            sample = gpu.look(nvml, handle, 0.0)
            values = {name: getattr(sample, name) for name in gpu.Sample.NUMBERS}
            try:
                total = nvml.nvmlDeviceGetMemoryInfo(handle).total / 2**20
            except (nvml.NVMLError, AttributeError):
                total = None
            found.append({**asdict(one), **values, "memory_total_mb": total})
        return found


def _free(root: Path) -> int | None:
    try:
        return shutil.disk_usage(root).free
    except OSError:
        return None


def _is_terminal() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def _colour() -> bool:
    return _is_terminal() and "NO_COLOR" not in os.environ


def _print(view: View, as_json: bool) -> None:
    facts = view.facts(time.time())
    if as_json:
        print(json.dumps(safe_json(facts), indent=2, ensure_ascii=False, allow_nan=False))
        return
    width = shutil.get_terminal_size().columns if _is_terminal() else 80
    print("\n".join(status_text.frame(facts, width, None, _colour())))


# -------------------------------------------------------------------------- watching


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
        why = f"; {facts['why']}" if facts["why"] and view.state is not status.State.WAITING else ""
        print(clean(f"{facts['session']}: {progress(facts)}{why}"), flush=True)


def _line(event: Event) -> tuple[str, str] | None:
    """Time and words of an event; ``None`` if it says nothing or is damaged."""
    try:
        text = console.line(event)
        clock = status.iso(status.seconds(event))
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
        return None
    return None if text is None or clock is None else (clock[11:19], clean(text[:LONGEST_LINE]))


def _redraw(view: View) -> None:
    """The same place of the terminal again and again; the last look stays on it."""
    colour, lines = _colour(), list[str]()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    print(_OPEN, end="", flush=True)
    try:
        for _, facts in _looks(view):
            size = shutil.get_terminal_size()
            lines = status_text.frame(facts, size.columns, size.lines - 1, colour)
            body = "".join(f"{line}{_END_LINE}\r\n" for line in lines)
            print(f"{_HOME}{body}{_END_SCREEN}", end="", flush=True)
    finally:
        # Whatever ends it: the cursor and what was on the screen come back.
        print(_CLOSE, end="", flush=True)
        if lines:
            print("\n".join(lines), flush=True)


if __name__ == "__main__":
    sys.exit(main())
