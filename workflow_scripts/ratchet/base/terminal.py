"""Printing on a terminal: colours, and text that fits its columns.

Wide letters take two columns and accents none, so lengths are counted in cells.
"""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from collections.abc import Collection, Sequence
from typing import TextIO

WIDTH = 80
"""Columns of output that does not adapt to its terminal."""


def wants_colour(stream: TextIO | None = None) -> bool:
    """Whether a stream, by default standard output, is a terminal that shows colours."""
    shown = (stream or sys.stdout).isatty() and os.environ.get("TERM") != "dumb"
    return shown and "NO_COLOR" not in os.environ


def paint(text: str, code: str | None) -> str:
    """A text in a colour or style by its ANSI code, such as ``31``; plain without one."""
    return f"\x1b[{code}m{text}\x1b[0m" if code else text


def cells(text: str) -> int:
    """Columns that a text takes in a terminal."""
    return len(text) if text.isascii() else sum(map(_cell, text))


def _cell(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) == "Mn":
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, width: int = WIDTH) -> str:
    """A text within so many columns, with a mark where it was longer."""
    if cells(text) <= width:
        return text
    return text[: _fitting(text, width - 1)].rstrip() + "…"


def _fitting(text: str, width: int) -> int:
    """Number of characters from the beginning that fit into so many columns."""
    used = 0
    for place, character in enumerate(text):
        used += _cell(character)
        if used > width:
            return place
    return len(text)


def wrap(text: str, width: int = WIDTH, indent: str = "", first: str | None = None) -> list[str]:
    """A paragraph as lines of at most ``width`` columns; ``first``, as wide as
    ``indent``, begins the first line.

    Words are never cut unless no line holds them.  An empty text is one line.
    """
    room = width - cells(indent)
    lines, line = list[str](), ""
    for word in re.split(r"(?<!^) (?! )", text):
        longer = f"{line} {word}" if line else word
        if cells(longer) <= room:
            line = longer
            continue
        lines += [line] if line else []
        line = word
        while cells(line) > room:
            end = _fitting(line, room) or 1
            lines.append(line[:end])
            line = line[end:]
    head = indent if first is None else first
    return [
        f"{head}{part}".rstrip() if not n else indent + part
        for n, part in enumerate([*lines, line])
    ]


def align(rows: Sequence[Sequence[str]], left: Collection[int] = ()) -> list[str]:
    """Rows of a table as lines: columns right-aligned, but for those in ``left``."""
    widths = [max(map(cells, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        gaps = [" " * (width - cells(cell)) for cell, width in zip(row, widths, strict=True)]
        parts = [
            c + g if n in left else g + c for n, (c, g) in enumerate(zip(row, gaps, strict=True))
        ]
        lines.append("  ".join(parts).rstrip())
    return lines
