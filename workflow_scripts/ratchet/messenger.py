"""Runs one command that tells somebody something, with a limit on its time.

Run by path, as a process of its own (``python messenger.py``): it reads its order
as JSON from standard input.  Whoever started it does not wait.  A command that
fails or hangs leaves one event in the session's journal and nothing else.
It imports the standard library only, and modules that do the same.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

if not __package__:
    # Run by path: modules of the package must not shadow the standard library's.
    sys.path[:1] = []
    sys.path.append(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))  # noqa: PTH120

from ratchet.journal import Journal
from ratchet.processes import adopt_orphans, kill_descendants

SAID_CHARACTERS = 300
"""So much of what a failed command printed is enough to see why."""


def fault(order: dict[str, Any]) -> str | None:
    """Run the command; gives what went wrong, in words."""
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


def main() -> None:
    """Carry out one order; a failure becomes an event of the session that still exists."""
    order = json.loads(sys.stdin.buffer.read())
    adopt_orphans()
    found = fault(order)
    events = Path(order["events"])
    if found is not None and events.exists():
        Journal(events).append("notify_failed", about=order["about"], reason=found)


if __name__ == "__main__":
    main()
