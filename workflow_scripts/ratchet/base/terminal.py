"""Text on a terminal: colours, width, cut lines, wrapped paragraphs, aligned columns."""

import contextlib
import os
import shutil
import sys
import threading
import time
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import TextIO

WIDTH = 80
"""Columns where no terminal says otherwise, and of prose on any."""

CLEAR_LINE = "\x1b[K"
"""Empties a terminal's line from the cursor on."""

BOLD, RED, GREEN, YELLOW, CYAN = "1", "31", "32", "33", "36"


def is_terminal(stream: TextIO | None = None) -> bool:
    """Whether a stream (default: standard output) understands cursor movements and colours."""
    return (stream or sys.stdout).isatty() and os.environ.get("TERM", "dumb") != "dumb"


def use_colour(stream: TextIO | None = None) -> bool:
    """Whether a stream shows colours and its user did not ask for none."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR")


def terminal_width() -> int:
    """Columns of the terminal; :data:`WIDTH` in a pipe."""
    return shutil.get_terminal_size().columns if is_terminal() else WIDTH


def coloured(text: str, code: str | None) -> str:
    """Text in a colour; as it is without one."""
    return f"\x1b[{code}m{text}\x1b[0m" if code else text


def text_width(text: str) -> int:
    """Columns that a text takes: two for wide letters, none for accents."""
    return len(text) if text.isascii() else sum(map(_width, text))


def _width(character: str) -> int:
    if character.isascii():
        return 1
    if unicodedata.combining(character) or unicodedata.category(character) == "Mn":
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _head(text: str, width: int) -> str:
    """The longest beginning of a text that fits into ``width`` columns."""
    used = 0
    for place, character in enumerate(text):
        used += _width(character)
        if used > width:
            return text[:place]
    return text


def cut_line(text: str, width: int = WIDTH) -> str:
    """A line within so many columns, with a mark where it was longer."""
    return text if text_width(text) <= width else _head(text, width - 1).rstrip() + "…"


def wrap_text(text: str, width: int = WIDTH, first: str = "", rest: str = "") -> list[str]:
    """A paragraph as lines within so many columns.

    The first line begins with ``first``, all others with ``rest``.
    """
    lines, line, empty = list[str](), first, True
    for word in text.split():
        longer = f"{line}{word}" if empty else f"{line} {word}"
        if text_width(longer) > width and not empty:
            lines.append(line)
            longer = rest + word
        while text_width(longer) > width:  # a word that no line holds
            start = rest if lines else first
            part = _head(longer, width)
            part = part if len(part) > len(start) else longer[: len(start) + 1]
            lines.append(part)
            longer = rest + longer[len(part) :]
        line, empty = longer, False
    return [*lines, line.rstrip() if empty else line]


def fit_lines(lines: Iterable[str]) -> Iterator[str]:
    """Lines of prose as they are; on a terminal wrapped between words, further lines indented."""
    for line in lines:
        indent = " " * (len(line) - len(line.lstrip()))
        if is_terminal():
            yield from wrap_text(line, terminal_width(), indent, f"{indent}  ")
        else:
            yield line


def align_columns(
    rows: Sequence[Sequence[str]], left: Collection[int] = (), gap: str = "  "
) -> list[str]:
    """Lines of a table; columns named in ``left`` are aligned at the left, others at the right."""
    widths = [max(map(text_width, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = []
        for place, (cell, width) in enumerate(zip(row, widths, strict=True)):
            space = " " * (width - text_width(cell))
            cells.append(cell + space if place in left else space + cell)
        lines.append(gap.join(cells).rstrip())
    return lines


SILENT, QUIET = 2.0, 0.5
"""Seconds until a command says that it works, and between its signs of life."""


@contextlib.contextmanager
def signs_of_life(name: str, doing: str) -> Iterator[Callable[[str], None]]:
    """A line on a terminal's standard error that says what a command does, and for how long.

    It comes after two seconds and goes at the end; elsewhere nothing is said.  What is called
    with a text says how far the command is.
    """
    if not is_terminal(sys.stderr):
        yield lambda _: None
        return
    state, ended, begun = [doing], threading.Event(), time.monotonic()

    def speak() -> None:
        pause = SILENT
        while not ended.wait(pause):
            pause = QUIET
            line = f"{name}: {state[0]}, {time.monotonic() - begun:.0f} s"
            room = min(WIDTH, shutil.get_terminal_size().columns) - 1
            print(f"\r{cut_line(line, room)}{CLEAR_LINE}", end="", file=sys.stderr, flush=True)
        if pause == QUIET:
            print(f"\r{CLEAR_LINE}", end="", file=sys.stderr, flush=True)

    speaker = threading.Thread(target=speak, daemon=True)
    speaker.start()
    try:
        yield lambda text: state.__setitem__(0, text)
    finally:
        ended.set()
        speaker.join()
