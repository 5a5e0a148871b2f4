"""Which keys of YAML and JSON texts differ: by lines, since most have one value each."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

SETTINGS = (".yaml", ".yml", ".json")
"""Endings of files that hold settings."""

MOST_LINES = 5000
"""Longer files are data; comparing them takes long and says little."""

_KEY = re.compile(r"""["']?([A-Za-z_][\w.-]*)["']?\s*:""")


def changed_keys(old: str, new: str) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Names on each line that differs, and the keys that it stands below, the nearest first."""
    for lines, place in changed_lines(old, new):
        names = tuple(dict.fromkeys(_KEY.findall(lines[place])))
        if names:
            yield names, tuple(_above(lines, place))


def changed_lines(old: str, new: str) -> Iterator[tuple[list[str], int]]:
    """Each line that differs, as its text's lines and its place; of a pair the new one."""
    before, after = _lines(old), _lines(new)
    if max(len(before), len(after)) > MOST_LINES:
        return
    compared = difflib.SequenceMatcher(None, before, after, autojunk=False)
    for tag, i, j, k, m in compared.get_opcodes():
        if tag != "equal":
            yield from ((after, place) for place in range(k, m))
            yield from ((before, place) for place in range(i + m - k, j))


def _lines(text: str) -> list[str]:
    """Lines without comments and without blank ones; the comma of JSON is none either."""
    found = (re.sub(r"(^|\s)#.*", "", line).rstrip().rstrip(",") for line in text.split("\n"))
    return [line for line in found if line]


def _above(lines: list[str], place: int) -> Iterator[str]:
    """Keys of the lines above that are indented less and less."""
    depth = _depth(lines[place])
    for line in reversed(lines[:place]):
        if depth == 0:
            return
        if _depth(line) < depth:
            depth = _depth(line)
            yield from _KEY.findall(line)[:1]


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip())
