"""A Markdown text as sections and sentences, each with its line."""

from __future__ import annotations

import bisect
import itertools
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
_ITEM = re.compile(r"\s*(?:[-*+]|\d+[.)])\s+")
_END = re.compile(r"(?<=[.;!?])[*_)\"]*\s+(?=[^\s])")


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


class Sentence(Frozen):
    """A statement in prose, a list or a heading; ``kind`` is that of its section.

    ``lead`` is what stands before the list that it is in, such as ``You can not:``.
    """

    text: str
    line: int
    kind: str
    item: bool = False
    title: bool = False
    lead: str = ""

    @property
    def said(self) -> str:
        """The statement with what it is said of."""
        return f"{self.lead} {self.text}".strip()


class Document(Frozen):
    """A parsed text."""

    lines: tuple[str, ...]
    sections: tuple[Section, ...]
    sentences: tuple[Sentence, ...]

    def of_kind(self, kind: str) -> list[Section]:
        return [section for section in self.sections if section.kind == kind]

    def place(self, *kinds: str) -> int:
        """Line of the first section of these kinds; the last line where there is none."""
        found = [section for kind in kinds for section in self.of_kind(kind)]
        return found[0].line if found else max(len(self.lines), 1)


def parse(text: str) -> Document:
    """Sections and sentences of a text; code between fences holds neither."""
    lines = tuple(text.splitlines())
    code = _code(lines)
    sections = tuple(_sections(lines, code))
    kinds = _kinds(lines, sections)
    return Document(lines, sections, tuple(_sentences(lines, code, kinds)))


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


def _kinds(lines: tuple[str, ...], sections: tuple[Section, ...]) -> list[str]:
    """For each line the kind of the innermost section with a kind around it."""
    found = [""] * len(lines)
    around: list[Section] = []
    starts = {section.line: section for section in sections}
    for number in range(1, len(lines) + 1):
        while around and around[-1].end < number:
            around.pop()
        if number in starts and starts[number].kind:
            around.append(starts[number])
        found[number - 1] = around[-1].kind if around else ""
    return found


def _sentences(lines: tuple[str, ...], code: list[bool], kinds: list[str]) -> Iterator[Sentence]:
    block: list[tuple[int, str]] = []
    lead = ""
    for number, line in enumerate(lines, 1):
        head = None if code[number - 1] else _HEADING.match(line)
        row = line.lstrip().startswith("|")
        if code[number - 1] or not line.strip() or head or row or _ITEM.match(line):
            found = list(_split(block, kinds, lead))
            yield from found
            lead, block = _lead(found, lead), []
        if head:
            lead = ""
            yield Sentence(head[2], number, kinds[number - 1], title=len(head[1]) == 1)
        elif line.strip() and not code[number - 1]:
            block.append((number, line.strip()))
    yield from _split(block, kinds, lead)


def _lead(found: list[Sentence], before: str) -> str:
    """What a list after these sentences is about: a paragraph that ends with a colon."""
    if not found or found[-1].item:
        return before
    last = found[-1].text
    return last if last.rstrip("*_ ").endswith(":") else ""


def _kind_at(line: int, sections: tuple[Section, ...]) -> str:
    """The kind of the innermost section with a kind around a line."""
    around = [s.kind for s in sections if s.line <= line <= s.end and s.kind]
    return around[-1] if around else ""


def _split(block: list[tuple[int, str]], kinds: list[str], lead: str) -> Iterator[Sentence]:
    """The sentences of one paragraph or list item."""
    if not block:
        return
    starts = [0, *itertools.accumulate(len(line) + 1 for _, line in block)]
    text = " ".join(line for _, line in block)
    item, position = bool(_ITEM.match(block[0][1])), 0
    for part in _END.split(text):
        begin = text.index(part, position)
        position = begin + len(part)
        first = block[bisect.bisect_right(starts, begin, hi=len(block)) - 1][0]
        kind = kinds[block[0][0] - 1]
        yield Sentence(part.strip(), first, kind, item, lead=lead if item else "")
