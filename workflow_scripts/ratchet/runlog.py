"""Reading what a training run printed: the summary block after ``---``."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

# ``val_bpb:          0.997900``; the key is a name, the value a single word.
_PAIR = re.compile(r"^\s*([A-Za-z_][A-Za-z0-9_./-]{0,63})\s*[:=]\s*(\S+)\s*$")
_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_MAX_LINE = 4096


def parse_summary(text: str) -> dict[str, float]:
    """Numbers of the last summary block, by name.

    The block starts at the last line that is ``---`` alone; without one, the
    whole text is read.  Of two lines with one name the later counts.  NaN and
    infinities are returned as they are, for the caller to judge; a value that
    is no number is left out.
    """
    lines = [_ANSI.sub("", line).rsplit("\r", 1)[-1] for line in text.rstrip("\r\n").split("\n")]
    lines = [line.rstrip("\r") for line in lines]
    starts = [i for i, line in enumerate(lines) if line.strip() == "---"]
    found: dict[str, float] = {}
    for line in lines[starts[-1] + 1 if starts else 0 :]:
        match = _PAIR.match(line) if len(line) <= _MAX_LINE else None
        if match is None:
            continue
        try:
            found[match.group(1)] = float(match.group(2).rstrip(","))
        except ValueError:
            continue
    return found


def finite(metrics: Mapping[str, float], name: str) -> float | None:
    """The metric if it was printed and is finite, else ``None``."""
    value = metrics.get(name)
    return value if value is not None and math.isfinite(value) else None


# Ordered: the first pattern that a line from the end matches is the evidence.
_EVIDENCE = [
    re.compile(r"^(\w+\.)*\w*(Error|Exception|Interrupt|Exit|Warning)\b.*"),
    re.compile(r"(?i)\b(out of memory|killed|segmentation fault|core dumped|fail(ed|ure)?)\b"),
]


def evidence(text: str, limit: int = 200) -> str:
    """The line of a log that best says why a run failed, cut at ``limit``."""
    lines = [_ANSI.sub("", line).strip() for line in text[-65536:].splitlines()]
    lines = [line for line in lines if line]
    for pattern in _EVIDENCE:
        for line in reversed(lines):
            if pattern.search(line[:_MAX_LINE]):
                return _cut(line, limit)
    return _cut(lines[-1], limit) if lines else ""


def _cut(line: str, limit: int) -> str:
    return line if len(line) <= limit else line[: limit - 1] + "…"


def tail(data: bytes, limit: int) -> str:
    """The end of a log as text, at most ``limit`` bytes, from a whole line on."""
    if len(data) <= limit:
        return data.decode("utf-8", errors="replace")
    part = data[-limit:]
    return part[part.find(b"\n") + 1 :].decode("utf-8", errors="replace")
