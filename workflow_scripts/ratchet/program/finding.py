"""What is wrong with a ``program.md``, and what to write instead."""

from __future__ import annotations

import enum

from ratchet.codec import Frozen

SHOWN = 90
"""Characters of a sentence that are quoted."""


class Flaw(enum.StrEnum):
    """The kinds of findings."""

    MISSING = "missing"
    CONTRADICTORY = "contradictory"
    PLACEHOLDER = "placeholder"
    VAGUE = "vague"


class Finding(Frozen):
    """One thing to mend; ``line`` counts from 1 and is where it stands, or belongs."""

    line: int
    flaw: Flaw
    expected: str
    found: str
    write: str

    def __str__(self) -> str:
        return f"{self.flaw}: expected {self.expected}, found {self.found}; write: {self.write}"


def quoted(text: str) -> str:
    """A sentence as messages show it."""
    line = " ".join(text.split())
    short = line if len(line) <= SHOWN else line[: SHOWN - 1].rstrip() + "…"
    return repr(short)
