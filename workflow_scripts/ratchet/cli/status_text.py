"""A session's standing for a terminal: lines that fit, without colour or with it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from ratchet.report.text import DASH, decimals_for, label, number
from ratchet.status import duration
from ratchet.status.text import current, decision, doing, tried, what

Facts = Mapping[str, Any]

NARROWEST = 40
"""Below so many columns lines are as long as for these, and wrap."""

_STATE_COLOURS = {"running": "32", "waiting": "33", "stale": "31", "failed": "31"}
_COLOURS = {"keep": "32", "crash": "31"}
_NAME = 8
_SHOWN = 6


def frame(found: Facts, width: int, height: int | None, colour: bool) -> list[str]:
    """Everything at a glance, within ``width`` columns and ``height`` lines."""
    width = max(width, NARROWEST)
    lines = [_head(found, width, colour), *_what(found, width), ""]
    for name, text in _numbers(found):
        lines += wrapped(name, text, width)
    room = _SHOWN if height is None else max(0, min(_SHOWN, height - len(lines) - 2))
    verdicts = found["verdicts"][:room]
    if verdicts:
        lines += ["", *_verdicts(verdicts, found, width, colour)]
    return lines if height is None else lines[:height]


def _head(found: Facts, width: int, colour: bool) -> str:
    state = found["state"]
    name = " · ".join(label(text) for text in (found["session"], found["task"]) if text)
    name = cut(name, width - len(state) - 2)
    gap = " " * (width - cells(name) - len(state))
    code = _STATE_COLOURS.get(state)
    return name + gap + (f"\x1b[{code}m{state}\x1b[0m" if colour and code else state)


def _what(found: Facts, width: int) -> list[str]:
    """What it does, or why it does nothing."""
    if found["state"] == "finished":
        return wrapped("", label(str(found["answer"] or "reported"), 2000), width)
    lines = [cut(doing(found), width)]
    if found["why"]:
        lines += wrapped("", label(found["why"], 2000), width)
    return lines


def _numbers(found: Facts) -> list[tuple[str, str]]:
    state = found["state"]
    if state == "running":
        rows = [("now", label(text)) for text in current(found)]
    else:  # how long it went on is not known
        rows = [("was at", label(what(work))) for work in found["current"]]
    digits = decimals_for(found["noise"], found["best"])
    if found["best"] is not None:
        best = f"{number(found['best'], digits)} ± {number(found['noise'], digits)}"
        metric = f"{label(found['metric'], 24)} " if found["metric"] else ""
        rows.append(("best", f"{metric}{best}, baseline {number(found['baseline'], digits)}"))
    rows.append(("tried", f"{tried(found)} ({found['runs']} runs)"))
    if found["stop"]:
        rows.append(("ended", f"early: {label(found['stop']['detail'])}"))
    rows += [("ALARM", label(text)) for text in found["alarms"][-3:]]
    if state == "running":
        rows.append(("left", _left(found)))
        silent = found["last_event"]["seconds_ago"]
        rows.append(("heard", f"{duration(silent or 0.0)} ago"))
    if found.get("disk_free_bytes") is not None:
        rows.append(("disk", f"{found['disk_free_bytes'] / 2**30:,.1f} GiB free"))
    return rows + [(f"GPU {gpu['index']}", _gpu(gpu)) for gpu in found.get("gpus") or ()]


def _left(found: Facts) -> str:
    left = found["seconds_left"]
    return "not known yet" if left is None else f"about {duration(left)}"


def _gpu(gpu: Mapping[str, Any]) -> str:
    def shown(name: str, unit: str) -> str:
        return DASH if gpu[name] is None else f"{gpu[name]:.0f} {unit}"

    used, memory = gpu["memory_mb"], gpu["memory_total_mb"]
    gib = (
        DASH if used is None or memory is None else f"{used / 1024:.1f} of {memory / 1024:.0f} GiB"
    )
    parts = (
        shown("utilisation", "%"),
        gib,
        shown("temperature_c", "°C"),
        shown("power_watts", "W"),
    )
    return f"{label(gpu['name'], 40)}: {', '.join(parts)}"


def _verdicts(verdicts: Sequence[Facts], found: Facts, width: int, colour: bool) -> list[str]:
    """The last verdicts, the newest first, in columns."""
    digits = decimals_for(found["noise"], found["best"])
    rows = [("#", "verdict", "P", "metric", "edit", "")]
    for entry in verdicts:
        sure, value = number(entry["confidence"], 3), number(entry["value"], digits)
        what = decision(entry)
        rows.append(
            (str(entry["number"]), entry["verdict"], sure, value, label(entry["description"]), what)
        )
    widths = [max(len(row[place]) for row in rows) for place in range(4)]
    lines = []
    for row in rows:
        cells_ = (
            row[0].rjust(widths[0]),
            row[1].ljust(widths[1]),
            row[2].rjust(widths[2]),
            row[3].rjust(widths[3]),
        )
        line = cut("  ".join((*cells_, row[4])).rstrip(), width)
        code = _COLOURS.get(row[5]) if colour else None
        lines.append(f"\x1b[{code}m{line}\x1b[0m" if code else line)
    return lines


# -------------------------------------------------------------------------- width


def cells(text: str) -> int:
    """Columns that a text takes in a terminal: two for wide letters, none for accents."""
    return sum(_cell(character) for character in text)


def _cell(character: str) -> int:
    if character.isascii():
        return 1
    if unicodedata.combining(character) or unicodedata.category(character) == "Mn":
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, width: int) -> str:
    """A text within so many columns, with a mark where it was longer."""
    if cells(text) <= width:
        return text
    used, end = 0, 0
    for character in text:
        used += _cell(character)
        if used > width - 1:
            break
        end += 1
    return text[:end].rstrip() + "…"


def wrapped(name: str, text: str, width: int) -> list[str]:
    """A named row, or a paragraph without a name, over as many lines as it needs."""
    indent = f"{name:<{_NAME}}" if name else ""
    room = width - len(indent)
    lines, line = list[str](), ""
    for word in re.split(r"(?<!^) (?! )", text):
        longer = f"{line} {word}" if line else word
        if cells(longer) <= room:
            line = longer
            continue
        lines += [line] if line else []
        line = word
        while cells(line) > room:  # a word that no line holds
            part = cut(line, room + 1)[:-1] or line[:1]
            lines.append(part)
            line = line[len(part) :]
    lines.append(line)
    return [
        (indent if place == 0 else " " * len(indent)) + part for place, part in enumerate(lines)
    ]
