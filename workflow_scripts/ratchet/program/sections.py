"""A Markdown text as sections, each with its lines."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ratchet.codec import Frozen

# Kinds of sections by their titles; the first that fits counts.
_KINDS = {
    "tried": r"\btried\b|\bhistory\b|\bso far\b|\bearlier experiments\b",
    "editable": r"\b(may|can)\b.{0,12}\b(edit|change|modify)\b|\beditable\b|\bmutable\b",
    "fixed": r"\bfixed\b|\bread-?only\b|\boff[- ]limits\b|\b(cannot|may not|must not)\b",
    "constraints": r"\bconstraints?\b|\brules?\b|\blimits\b",
    "baseline": r"\bbaseline\b|\bstarting point\b",
    "directions": r"\bdirections?\b|\bideas?\b|\bpriorit|\bto try\b|\bto explore\b|\bhypothes",
    "goal": r"\bgoals?\b|\bobjective\b|\baim\b|\bmetric\b",
}
_HEADING = re.compile(r"(#{1,6})\s+(.*?)\s*#*\s*$")
_FENCE = re.compile(r"\s*(```|~~~)")


class Section(Frozen):
    """A heading with all below it up to the next one of its level or above.

    Lines count from 1; ``end`` is the last one.  ``kind`` is one of the kinds above,
    or empty.
    """

    title: str
    level: int
    line: int
    end: int
    kind: str


class Document(Frozen):
    """A parsed text."""

    lines: tuple[str, ...]
    sections: tuple[Section, ...]

    def of_kind(self, kind: str) -> list[Section]:
        return [section for section in self.sections if section.kind == kind]

    def place(self, *kinds: str) -> int:
        """Line of the first section of these kinds; the last line where there is none."""
        found = [section for kind in kinds for section in self.of_kind(kind)]
        return found[0].line if found else max(len(self.lines), 1)


def parse(text: str) -> Document:
    """The sections of a text; code between fences begins none."""
    lines = tuple(text.splitlines())
    code = _code(lines)
    return Document(lines, tuple(_sections(lines, code)))


def kind_of(title: str) -> str:
    """The kind of section that a title announces; empty for others."""
    plain = title.lower().replace("`", "").replace("*", "")
    return next((kind for kind, words in _KINDS.items() if re.search(words, plain)), "")


def _code(lines: tuple[str, ...]) -> list[bool]:
    """Which lines are fences or between them."""
    inside, found = "", []
    for line in lines:
        match = _FENCE.match(line)
        if match and inside in ("", match[1]):
            found.append(True)
            inside = "" if inside else match[1]
        else:
            found.append(bool(inside))
    return found


def _sections(lines: tuple[str, ...], code: list[bool]) -> Iterator[Section]:
    """All sections in the order of their headings; found from the last line upwards."""
    # Where the next heading of each level or above begins.
    begins = [len(lines) + 1] * 7
    found = []
    for number in range(len(lines), 0, -1):
        match = None if code[number - 1] else _HEADING.match(lines[number - 1])
        if match is None:
            continue
        level = len(match[1])
        # The title of the whole text announces no section.
        kind = kind_of(match[2]) if level > 1 else ""
        found.append(Section(match[2], level, number, begins[level] - 1, kind))
        begins[level:] = [number] * (7 - level)
    return reversed(found)
