"""What a ``program.md`` lacks, leaves open, or says otherwise than its task.

The text is read sentence by sentence and compared with the contract by words; what
was tried is other people's text and is not read.  It finds what a careful reader
would, not everything: prose can be wrong in ways that no pattern knows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ratchet.program import claims
from ratchet.program.contract import Contract
from ratchet.program.finding import Finding, Flaw, quoted
from ratchet.program.sections import Document, Sentence, parse

_ITEM = re.compile(r"\s*(?:[-*+]|\d+[.)])\s+\S")
_NUMBERED = re.compile(r"\s*\d+[.)]\s+\S")
_ORDER = re.compile(r"\b(first|priorit\w+|most promising|in (this )?order)\b", re.IGNORECASE)
_SPAN = re.compile(r"`[^`]*`")
_PLACEHOLDER = re.compile(
    r"\b(?:TODO|TBD|FIXME|XXX|lorem ipsum|fill (?:this |me )?in)\b|\{\{.{0,80}?\}\}"
    r"|<(?!br|/|https?:|!--)[a-z][a-z0-9 _-]{0,80}>"
    r"|\[(?:your|insert|fill|name of)\b[^\]]{0,80}\]|\?\?\?",
    re.IGNORECASE,
)
_VAGUE = re.compile(
    r"\b(?:improve (?:things|it|everything|the (?:code|model|results?|performance|training))"
    r"|make (?:it|things|the model|everything) (?:better|faster|good|work better)"
    r"|better results|as (?:good|well|much) as (?:possible|you can)|good (?:results|performance)"
    r"|(?:try|do) (?:something|anything|stuff|(?:various|different|new|other) things)"
    r"|optimi[sz]e (?:everything|things|it all)|play around|tweak (?:things|stuff|it)"
    r"|be creative|whatever (?:works|helps))\b",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"\d")


def check(text: str, contract: Contract) -> list[Finding]:
    """All findings by line; none for a text that agrees with its contract."""
    document = parse(text)
    found = [
        *claims.goal(document, contract, text),
        *claims.budget(document, contract),
        *claims.files(document, contract, text),
        *claims.memory(document, contract),
        *claims.rules(document, contract),
        *_parts(document),
        *_directions(document),
        *_words(document),
    ]
    return sorted(set(found), key=lambda one: (one.line, one.flaw, one.expected, one.found))


def _parts(document: Document) -> Iterator[Finding]:
    """Baseline and what was tried have a place of their own."""
    if not any(re.search(r"\bbaseline\b", s.text, re.IGNORECASE) for s in document.sentences):
        yield Finding(
            document.place("goal"),
            Flaw.MISSING,
            "the baseline",
            "no word of it",
            "## Baseline, with the metric of the unchanged source, or that it is not measured yet",
        )
    if not document.of_kind("tried"):
        yield Finding(
            len(document.lines) or 1,
            Flaw.MISSING,
            "a section of what has been tried",
            "none",
            "## What has been tried, with `Nothing yet.` or the log of earlier sessions "
            "(ratchet program update writes it)",
        )


def _directions(document: Document) -> Iterator[Finding]:
    sections = document.of_kind("directions")
    lists = [s for s in sections if any(map(_ITEM.match, document.lines[s.line : s.end]))]
    if not lists:
        line = document.place("directions", "constraints")
        found = "a section without a list" if sections else "none"
        todo = "## Directions, the most promising first, with a numbered list of what to change"
        yield Finding(line, Flaw.MISSING, "directions by priority", found, todo)
        return
    for section in lists:
        body = "\n".join(document.lines[section.line - 1 : section.end])
        ordered = any(map(_NUMBERED.match, document.lines[section.line : section.end]))
        if not ordered and not _ORDER.search(body):
            yield Finding(
                section.line,
                Flaw.VAGUE,
                "directions by priority",
                "a list without an order",
                "a numbered list, the most promising first",
            )


def _words(document: Document) -> Iterator[Finding]:
    """Placeholders, and phrases that say nothing."""
    for sentence in document.sentences:
        if sentence.kind == "tried":
            continue
        yield from _placeholder(sentence)
        match = _VAGUE.search(_SPAN.sub("", sentence.text))
        if match and not _NUMBER.search(sentence.text):
            yield Finding(
                sentence.line,
                Flaw.VAGUE,
                "what to change, or by how much",
                f"{match[0]!r} in {quoted(sentence.text)}",
                "a name, an edit or a number, or leave the sentence out",
            )


def _placeholder(sentence: Sentence) -> Iterator[Finding]:
    match = _PLACEHOLDER.search(_SPAN.sub("", sentence.text))
    if match:
        yield Finding(
            sentence.line,
            Flaw.PLACEHOLDER,
            "text",
            f"the placeholder {match[0]!r}",
            "what it stands for, or leave the line out",
        )
