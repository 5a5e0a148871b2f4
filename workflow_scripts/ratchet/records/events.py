"""Append-only log of what happened in a session: events.jsonl."""

import datetime
import fcntl
import itertools
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ratchet.base.structs import to_json_values
from ratchet.base.text import median
from ratchet.records.records import Role

Event = dict[str, Any]
Listener = Callable[[Event], None]


def utc_now() -> datetime.datetime:
    """The clock of the journal."""
    return datetime.datetime.now(datetime.UTC)


class Journal:
    """Appends events durably and tells a listener of each."""

    def __init__(
        self,
        path: Path,
        listener: Listener | None = None,
        clock: Callable[[], datetime.datetime] = utc_now,
    ) -> None:
        self.path = path
        self._listener = listener
        self._clock = clock

    def append(self, event: str, **facts: Any) -> None:
        """Write one event; it is on the disk when this returns."""
        line = self.line(event, **facts)
        append_line(self.path, json.dumps(line, ensure_ascii=False, allow_nan=False))
        self.tell(line)

    def line(self, event: str, **facts: Any) -> Event:
        """An event of now, as it is written."""
        stamp = self._clock().isoformat(timespec="milliseconds")
        return {"time": stamp, "event": event, **to_json_values(facts)}

    def tell(self, line: Event) -> None:
        """Have the listener hear of an event."""
        if self._listener is not None:
            self._listener(line)


def append_line(path: Path, line: str) -> None:
    """Append one line and fsync; a torn line before it stays torn, alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        size = os.fstat(handle).st_size
        torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
        os.write(handle, (("\n" if torn else "") + line + "\n").encode())
        os.fsync(handle)
    finally:
        os.close(handle)


def read_events(path: Path) -> Iterator[Event]:
    """Every whole event; a line that a crash cut short is passed over."""
    yield from Follower(path).new()


class Follower:
    """Reads a journal that grows: each call of :meth:`new` gives what was added.

    Where the file has become another one, or shorter, it is read from its
    beginning and ``anew`` is true until the next call.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.anew = False
        self._file: tuple[int, int] | None = None
        self._place = 0

    def new(self) -> list[Event]:
        """The whole events since the last call; none where there is no file."""
        self.anew = False
        try:
            with self.path.open("rb") as stream:
                now = os.fstat(stream.fileno())
                file = now.st_dev, now.st_ino
                if self._file is not None and (file != self._file or now.st_size < self._place):
                    self._place, self.anew = 0, True
                self._file = file
                stream.seek(self._place)
                data = stream.read()
        except FileNotFoundError:
            return []
        # A line without its end is torn, or being written.
        whole = data[: data.rfind(b"\n") + 1]
        self._place += len(whole)
        # Not `splitlines`: a description may hold other characters that end lines.
        lines = whole.decode("utf-8", errors="replace").split("\n")
        try:  # all at once takes half the time
            parsed = json.loads(f"[{','.join(line for line in lines if line)}]")
        except (ValueError, RecursionError):
            parsed = [_event(line) for line in lines]
        return [event for event in parsed if isinstance(event, dict) and "event" in event]


def _event(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def each_listener(*listeners: Listener) -> Listener:
    """One listener that tells all of these, in order."""

    def tell(event: Event) -> None:
        for listener in listeners:
            listener(event)

    return tell


def event_seconds(event: Mapping[str, Any]) -> float:
    """Time of an event in seconds since the epoch."""
    return datetime.datetime.fromisoformat(event["time"]).timestamp()


_STARTED = frozenset({"run_started", "guard_started", "run_finished", "guard_finished"})


def own_runs(events: Iterable[Mapping[str, Any]]) -> set[str]:
    """Keys of the runs that a session made, since it was last forced to make runs again."""
    found: set[str] = set()
    for event in events:
        if event["event"] == "resumed" and event.get("forced"):
            found.clear()
        elif event["event"] in _STARTED and event.get("key"):
            found.add(event["key"])
    return found


def replayed_runs(events: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Times at which runs were made that a session took from the store, by key."""
    return {
        str(e["key"]): str(e["made"])
        for e in events
        if e["event"] == "run_replayed" and "key" in e and "made" in e
    }


def store_words(made: str, now: str = "") -> str:
    """Where a run is from that was made at a time, with the day unless that is today's."""
    time = made[11:16] if made[:10] == now[:10] else made[:16].replace("T", " ")
    return f"from the store, of {time}"


def waited_seconds(events: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """How long runs of a session waited for a device before they began, by their keys.

    Compiling before a run is no wait.  What was stopped while it waited counts anew.
    """
    since, found = dict[tuple[Any, ...], float](), dict[str, float]()
    for e in events:
        name = tuple(e.get(part) for part in ("number", "role", "replicate", "seed"))
        try:
            if e["event"] == "resumed":
                since.clear()
            elif e["event"] == "run_waiting":
                since.setdefault(name, event_seconds(e))
            elif e["event"] == "warm_up" and name in since:
                since[name] += float(e["wall_seconds"])
            elif e["event"] == "run_started" and name in since:
                found[e["key"]] = max(0.0, event_seconds(e) - since.pop(name))
            elif e["event"] == "run_replayed":
                since.pop(name, None)
        except (KeyError, TypeError, ValueError):  # a damaged line
            continue
    return found


def warm_up_seconds(events: Iterable[Mapping[str, Any]]) -> float:
    """Mean time in which a session compiled code that was new; 0 where that leaves nothing."""
    made = [e for e in events if e["event"] == "warm_up" and e.get("wall_seconds") is not None]
    # Where the baseline compiles nothing, no other code is compiled before its runs.
    if not any(e.get("files") for e in made):
        return 0.0
    return math.fsum(float(e["wall_seconds"]) for e in made) / len(made)


def search_walls(events: Sequence[Mapping[str, Any]]) -> list[float]:
    """Wall-clock seconds of the finished runs at the scale of the search."""
    return [
        float(e["wall_seconds"])
        for e in events
        if e["event"] == "run_finished" and e.get("role") != Role.TRANSFER
    ]


def time_left(events: Sequence[Mapping[str, Any]], now: Mapping[str, Any]) -> float | None:
    """Seconds to the end of the session at a verdict, from the pace of its rounds.

    The median of the rounds' lengths counts, so that a night between two legs
    does not.
    """
    try:
        ends = {e["round"]: event_seconds(e) for e in events if e["event"] == "verdict"}
        start = [event_seconds(e) for e in events if e["event"] == "baseline"][-1:]
        lengths = [b - a for a, b in itertools.pairwise([*start, *ends.values()]) if b > a]
        runs = search_walls(events)
        if not lengths or not runs:
            return None
        closing = 2.0 * now["confirm_replicates"] + now.get("transfer_weight", 0.0)
        return float((now["rounds"] - now["round"]) * median(lengths) + closing * median(runs))
    except (KeyError, TypeError, ValueError):  # a damaged line
        return None
