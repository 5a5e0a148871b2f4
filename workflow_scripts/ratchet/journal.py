"""``events.jsonl``: the append-only log of what happened, and when.

Each line is one JSON object with ``time`` (UTC, ISO 8601) and ``event``.  It
is the only record with times of day in it, and nothing is decided from it.
"""

from __future__ import annotations

import datetime
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ratchet.codec import encode

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
        stamp = self._clock().isoformat(timespec="milliseconds")
        line: Event = {"time": stamp, "event": event, **encode(facts)}
        append_line(self.path, json.dumps(line, ensure_ascii=False, allow_nan=False))
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
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return
    for line in text.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and "event" in event:
            yield event
