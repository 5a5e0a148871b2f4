"""Tells people what happened, by a command of theirs."""

from __future__ import annotations

import contextlib
import enum
import itertools
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ratchet.base.errors import FixedInputChangedError
from ratchet.base.structs import Frozen
from ratchet.base.text import one_line, shorten
from ratchet.monitor.progress import START, best_words
from ratchet.records.events import Journal, read_events
from ratchet.records.records import Verdict
from ratchet.runs.process import adopt_orphans, kill_descendants, let_last

if TYPE_CHECKING:
    from ratchet.config import Config
    from ratchet.records.paths import SessionPaths


if not __package__:
    # Run by path: modules of the package must not shadow the standard library's.
    _PACKAGE = next(p for p in Path(__file__).resolve().parents if p.name == "ratchet")
    sys.path[:1] = []
    sys.path.append(str(_PACKAGE.parent))


Event = Mapping[str, Any]
SECONDS = 60.0
"""A message that is not sent after so long will not be."""

MOST_CHARACTERS = 500
"""Longer messages are cut: some ways of sending refuse them, nobody reads them."""

LONGEST_REASON = 2000
SAID_CHARACTERS = 300
"""Characters of a failed command's output; they are enough to see why."""


class Kind(enum.StrEnum):
    """Kind of a message."""

    ENDED = "ended"
    FAILED = "failed"
    CHAMPION = "champion"
    ALARM = "alarm"
    FAILURES = "failures"


class Notice(Frozen):
    """One message; ``event`` is the journal's."""

    kind: Kind
    session: str
    message: str
    event: Event


def notices(event: Event, earlier: Sequence[Event], session: str, failures: int) -> list[Notice]:
    """Messages about ``event`` to people, given all events before it.

    ``failures``: so many failed experiments or proposals in a row are told once.
    """
    find = _FIND.get(str(event.get("event")))
    try:
        if find is None or not _is_news(event, earlier):
            return []
        found = [*find(event, earlier), *_in_a_row(event, earlier, failures)]
    except (KeyError, TypeError, ValueError):  # a damaged line of the journal
        return []
    return [Notice(kind, session, _said(session, text), event) for kind, text in found]


def _said(session: str, text: str) -> str:
    line = one_line(f"session {session}: {text}")
    # Half of a surrogate pair cannot be handed to a program.
    return shorten(line.encode("utf-8", "replace").decode(), MOST_CHARACTERS)


def _is_news(event: Event, earlier: Sequence[Event]) -> bool:
    kind = event["event"]
    if kind == "failed":  # the same failure is news once anything was done
        idle = itertools.takewhile(lambda old: old["event"] not in _WORK, reversed(earlier))
        said = ("step", "message")
        return not any(old["event"] == "failed" and _same(event, old, said) for old in idle)
    if not any(old["event"] == "run_finished" for old in earlier):
        return False
    same = _SAME[kind]
    before: Iterable[Event] = earlier
    if kind in _ENDS:  # the same answer is news once a run was executed
        before = itertools.takewhile(lambda old: old["event"] != "run_finished", reversed(earlier))
    return not any(old["event"] == kind and _same(event, old, same) for old in before)


_SAME = {
    "verdict": ("number", "verdict"),
    "remeasured": ("round", "number"),
    "agent_refused": ("round", "slot", "attempt"),
    "reported": ("answer",),
    "evolved": ("answer",),
    "audited": ("answer",),
}
_ENDS = ("reported", "evolved", "audited")
_WORK = ("run_finished", "verdict", "round_finished", "prepared", "baseline", "confirmed")


def _same(event: Event, old: Event, names: Sequence[str]) -> bool:
    return all(event.get(name) == old.get(name) for name in names)


Found = Iterator[tuple[Kind, str]]


def _verdict(event: Event, earlier: Sequence[Event]) -> Found:
    verdict, name = Verdict(event["verdict"]), event["description"]
    executed = any(
        old["event"] == "run_finished" and old.get("number") == event["number"] for old in earlier
    )
    if verdict.is_keep and executed:
        sure = "" if event.get("confidence") is None else f", P {event['confidence']:.3f}"
        yield (
            Kind.CHAMPION,
            f"new champion in round {event['round']}/{event['rounds']}: #{event['number']} {name} "
            f"(best {best_words(event)}{sure}, {event['kept']} kept)",
        )
    if verdict is Verdict.TAMPERED:
        yield (
            Kind.ALARM,
            f"experiment {event['number']} is tampered with: {name}: {event['reason']}",
        )


def _remeasured(event: Event, _earlier: Sequence[Event]) -> Found:
    if event["alarm"]:
        yield (
            Kind.ALARM,
            f"the incumbent moved: expected {event['expected']:.4f} ± {event['sd']:.4f}, measured "
            f"{event['value']:.4f}; the machine or the data may have changed",
        )


def _ended(event: Event, earlier: Sequence[Event]) -> Found:
    # An early end counts unless an experiment came after it.
    stop = ""
    for old in earlier:
        if old["event"] == "stopped":
            stop = f"; no more experiments: {old['detail']}"
        elif old["event"] == "verdict":
            stop = ""
    yield Kind.ENDED, f"ended: {event['answer']}{stop}"


def _failed(event: Event, _earlier: Sequence[Event]) -> Found:
    alarm = event.get("error") == FixedInputChangedError.__name__
    yield Kind.ALARM if alarm else Kind.FAILED, f"stopped in {event['step']}: {event['message']}"


def _in_a_row(event: Event, earlier: Sequence[Event], failures: int) -> Found:
    """The last of exactly so many failures; a longer row was told already."""
    if not _has_failed(event):
        return
    row = dict[tuple[Any, ...], bool]()
    for old in (*earlier, event):
        if old["event"] == "verdict":
            row.pop(("verdict", old["number"]), None)
            row["verdict", old["number"]] = _has_failed(old)
        elif old["event"] == "agent_refused" and not old["again"]:
            row["agent", old["round"], old.get("slot")] = True
    length = 0
    for failed in reversed(row.values()):
        if not failed:
            break
        length += 1
    if length == failures:
        last = event.get("description") or event.get("agent")
        row_of = f"{failures} failures in a row, the last" if failures > 1 else "failed"
        yield Kind.FAILURES, f"{row_of}: {last}: {event['reason']}"


def _has_failed(event: Event) -> bool:
    if event["event"] == "verdict":
        return Verdict(event["verdict"]).is_failure
    return event["event"] == "agent_refused" and not event["again"]


_FIND: dict[str, Callable[[Event, Sequence[Event]], Found]] = {
    "verdict": _verdict,
    "remeasured": _remeasured,
    "reported": _ended,
    "evolved": _ended,
    "audited": _ended,
    "failed": _failed,
    "agent_refused": lambda _event, _earlier: iter(()),  # only a row of them is told
}


class Notifier:
    """Listens to a journal and has the command run for what is news."""

    def __init__(self, config: Config, paths: SessionPaths) -> None:
        self.config = config
        self.paths = paths

    def __call__(self, event: Event) -> None:
        """Tell of an event, if there is anything to tell; never raises."""
        command = self.config.notify_command
        if command is None or event.get("event") not in _FIND:  # no need to read the journal
            return
        try:
            earlier: list[Event] = list(read_events(self.paths.events))
            if event in earlier:
                earlier = earlier[: len(earlier) - 1 - earlier[::-1].index(event)]
            for notice in notices(event, earlier, self.paths.session, self.config.notify_failures):
                send_notice(notice, command, self.paths)
        except Exception as error:  # a message is never worth a session
            print(f"ratchet: nobody could be told: {error}", file=sys.stderr, flush=True)


def send_notice(notice: Notice, command: Sequence[str], paths: SessionPaths) -> None:
    """Have one message sent by a process of its own, without waiting for it."""
    import subprocess  # slow to import, and seldom needed

    root = paths.root.resolve()
    about, session, message = notice.kind.value, notice.session, notice.message
    told = {"event": about, "session": session, "message": message, "details": notice.event}
    order = {
        "command": [sys.executable if command[0] == "python" else command[0], *command[1:]],
        "input": json.dumps(told),
        "folder": str(root),
        "environment": user_environment(os.environ, notice),
        "seconds": SECONDS,
        "events": str(paths.events.resolve()),
        "about": about,
    }
    process = subprocess.Popen(
        [sys.executable, "-E", __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=root,
        start_new_session=True,
    )
    let_last(process.pid)
    assert process.stdin is not None
    with contextlib.suppress(OSError), process.stdin:
        process.stdin.write(json.dumps(order).encode())


def user_environment(variables: Mapping[str, str], notice: Notice) -> dict[str, str]:
    """The user's own variables with the message's in place of the workflow's."""
    own = {name: text for name, text in variables.items() if not name.startswith("RATCHET_")}
    return own | {
        "RATCHET_EVENT": notice.kind.value,
        "RATCHET_SESSION": notice.session,
        "RATCHET_MESSAGE": notice.message,
    }


@contextlib.contextmanager
def watch_inputs(config: Config, paths: SessionPaths, owner: bool) -> Iterator[None]:
    """While frozen inputs are checked: whoever is to be told hears of a changed one."""
    if owner and config.notify_command is not None:
        program = config.notify_command[0]
        if program != "python" and shutil.which(program) is None:
            print(
                f"ratchet: notify_command: no program {program!r} here; nobody will be told",
                file=sys.stderr,
            )
    try:
        yield
    except FixedInputChangedError as error:
        if owner and paths.events.exists():
            step_failed(Journal(paths.events, Notifier(config, paths)), START, error)
        raise


def step_failed(journal: Journal, step: str, error: Exception) -> None:
    """Note that a step failed, and tell of it; the disk may be why, so nothing is raised."""
    facts = {"error": type(error).__name__, "message": f"{error}"[:LONGEST_REASON]}
    try:
        journal.append("failed", step=step, **facts)
    except OSError:
        journal.tell(journal.line("failed", step=step, **facts))


def _run_command(order: dict[str, Any]) -> str | None:
    """Run the command; gives what went wrong, in words."""
    import subprocess
    import tempfile

    # Files and no pipes: neither a command that reads nothing nor one whose
    # children hold its output can make anybody wait.
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said:
        given.write(order["input"].encode())
        given.seek(0)
        try:
            process = subprocess.Popen(
                order["command"],
                stdin=given,
                stdout=said,
                stderr=said,
                cwd=order["folder"],
                env=order["environment"],
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            return f"cannot be started: {error}"
        try:
            code = process.wait(order["seconds"])
        except subprocess.TimeoutExpired:
            kill_descendants()
            return f"was ended after {order['seconds']:g} s"
        if code == 0:
            return None
        said.seek(max(0, said.seek(0, os.SEEK_END) - SAID_CHARACTERS))
        text = " ".join(said.read().decode("utf-8", errors="replace").split())
        return f"ended with status {code}" + (f": {text}" if text else "")


def _main() -> None:
    """Carry out one order; a failure becomes an event of the session that still exists."""
    order = json.loads(sys.stdin.buffer.read())
    adopt_orphans()
    found = _run_command(order)
    events = Path(order["events"])
    if found is not None and events.exists():
        Journal(events).append("notify_failed", about=order["about"], reason=found)


if __name__ == "__main__":
    _main()
