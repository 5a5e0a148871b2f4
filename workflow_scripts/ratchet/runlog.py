"""Reading what a training run printed: the summary block after ``---``."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from ratchet.results_tsv import one_line

# ``val_bpb:          0.997900``; the key is a name, the value a single word.
_PAIR = re.compile(r"^\s*([A-Za-z_][A-Za-z0-9_./-]{0,63})\s*[:=]\s*(\S+)\s*$")
# Colours and cursor moves, window titles and links, and single escapes.
_ANSI = re.compile(r"\x1b\[[0-9;:?]*[ -/]*[@-~]|\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)?|\x1b[@-Z\\^_]")
_MAX_LINE = 4096
MAX_CHARACTERS = 1 << 20
"""As much as the harness keeps of a log; of a longer one the end is what counts."""


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


def clean_lines(text: str) -> list[str]:
    """The end of a log as people read it: no colours, no control characters, no blank lines.

    Each state of a progress line (they are separated by carriage returns) is a
    line of its own.  Text that was UTF-16 and read as something else loses its
    zero characters.  Lines are cut at 4096 characters, so that nothing in a
    hostile log takes long to search.
    """
    end = text[-MAX_CHARACTERS:].replace("\0", "").replace("\r", "\n")
    lines = (one_line(_ANSI.sub("", line[:_MAX_LINE])) for line in end.split("\n"))
    return [line for line in lines if line]


def tail(data: bytes, limit: int) -> str:
    """The end of a log as text, at most ``limit`` bytes, from a whole line on."""
    if len(data) <= limit:
        return data.decode("utf-8", errors="replace")
    part = data[-limit:]
    return part[part.find(b"\n") + 1 :].decode("utf-8", errors="replace")
