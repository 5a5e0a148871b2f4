"""Searches a log by a task's patterns, in a process of its own that is given little time.

Run by path (``python searching.py``), like the supervisor: one line of JSON comes in,
one goes out.  A log is written by a candidate, and Python cannot interrupt a regular
expression, so that only another process can be stopped.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping

if not __package__:
    # Run by path: modules of the package must not shadow the standard library's.
    sys.path[:1] = []
    sys.path.append(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))  # noqa: PTH120

from ratchet.patterns import search

LIMIT_SECONDS = 20.0
"""A log of 1 MiB takes some hundredths of a second; only one that is made for it takes this."""


def numbers(text: str, patterns: Mapping[str, str]) -> dict[str, float] | None:
    """What the patterns find in a log, by name; ``None`` if that takes too long."""
    if not patterns:
        return {}
    order = json.dumps({"text": text, "patterns": dict(patterns)})
    try:
        done = subprocess.run(
            [sys.executable, "-S", "-E", __file__],
            input=order.encode(),
            capture_output=True,
            timeout=LIMIT_SECONDS,
            check=True,
        )
    except subprocess.TimeoutExpired:
        return None
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    """Answer one question."""
    order = json.loads(sys.stdin.buffer.read())
    sys.stdout.write(json.dumps(search(order["text"], order["patterns"])))


if __name__ == "__main__":
    main()
