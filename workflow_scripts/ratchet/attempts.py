"""Experiments as steering reads them, and what they rule out.

Crashes are not to be repeated, and a constant whose values were all discarded is
used up.  Which constant an experiment set is declared by its edit or read from its
description.  Descriptions are other people's text: they are quoted on one line and
shortened, never followed.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence

from ratchet.categories.words import normal
from ratchet.codec import Frozen
from ratchet.results_tsv import one_line

# So many discards of one constant in a row, and the next value is no news either.
EXHAUSTED_AFTER = 3
QUOTED = 60
"""Characters of a description that are quoted."""


class Attempt(Frozen):
    """One judged experiment.

    ``gain`` is the expected true improvement in the metric's unit (positive is
    better) and ``confidence`` the probability that there is one, both by what
    was known at the time; ``None`` where nobody judged it.  ``constant`` and
    ``value`` are set where the edit is declared; else the description is read.
    """

    number: int
    category: str
    description: str
    kept: bool
    crashed: bool = False
    gain: float | None = None
    confidence: float | None = None
    memory_gb: float | None = None
    constant: str | None = None
    value: str | None = None

    @property
    def name(self) -> str:
        """The description, quoted, with the experiment's number."""
        text = one_line(self.description)
        short = text if len(text) <= QUOTED else text[: QUOTED - 1].rstrip() + "…"
        return f"'{short}' (experiment {self.number})" if short else f"experiment {self.number}"


class Note(Frozen):
    """Something to leave alone, and the experiments that say so."""

    text: str
    experiments: tuple[int, ...]
    constant: str | None = None


class Knob(Frozen):
    """A constant that a description sets; ``value`` as it is written there."""

    name: str
    value: str


_VALUE = r"[-+]?(?:\d[\d.,]*(?:e[-+]?\d+)?(?:\^\d+)?(?:[kmgx%]|/\d+)?|true|false)"
_FROM_TO = re.compile(
    rf"(?P<name>.{{1,60}}?)[\s:=]+(?:from\s+)?{_VALUE}\s*(?:->|→|=>|to)\s*(?P<value>{_VALUE})"
    r"(?![\w.])",
    re.IGNORECASE,
)
_SET = re.compile(rf"(?P<name>[\w.\- ]{{1,40}}?)\s*=\s*(?P<value>{_VALUE})(?![\w.])", re.IGNORECASE)
_VERBS = re.compile(
    r"^(add|tiny|raise|increase|reduce|lower|decrease|set|change|try|smaller|larger|higher|longer"
    r"|shorter|bump|tune|use)\s+"
)


def knob_of(attempt: Attempt) -> Knob | None:
    """The constant that an experiment set, declared or read from its description."""
    if attempt.constant is not None and attempt.value is not None:
        return Knob(normal(attempt.constant), attempt.value)
    text = one_line(attempt.description)[:200]
    match = _FROM_TO.match(text) or _SET.match(text)
    if match is None:
        return None
    name = normal(match["name"])
    while (shorter := _VERBS.sub("", name)) != name:
        name = shorter
    return Knob(name, match["value"].lower().rstrip(".,")) if name else None


def identity(attempt: Attempt) -> tuple[str, str]:
    """The same for two experiments that did the same, as far as words tell."""
    knob = knob_of(attempt)
    return (normal(attempt.description), "") if knob is None else (knob.name, knob.value)


def crashes(attempts: Sequence[Attempt]) -> list[Note]:
    """Crashes not to repeat, the latest first, with the memory where it is known."""
    ran = [a.memory_gb for a in attempts if not a.crashed and a.memory_gb]
    most = f"; the largest that ran took {max(ran):.3g} GB" if ran else ""
    of_memory = re.compile(r"\boom\b|out of memory|memory|vram", re.IGNORECASE)
    latest = {normal(a.description): a for a in attempts if a.crashed}
    found = []
    for attempt in sorted(latest.values(), key=lambda a: -a.number):
        used = f" at {attempt.memory_gb:.3g} GB" if attempt.memory_gb else ""
        told = most if used or of_memory.search(attempt.description) else ""
        found.append(Note(f"{attempt.name} crashed{used}{told}", (attempt.number,)))
    return found


def exhausted(
    attempts: Sequence[Attempt], declared: Mapping[str, Sequence[str]] | None = None
) -> list[Note]:
    """Constants that are used up, the most often tried first.

    A declared constant is, once each of its values was tried; any other, once
    its last :data:`EXHAUSTED_AFTER` values or more were all discarded.
    """
    groups: dict[str, list[tuple[Attempt, str]]] = {}
    for attempt in attempts:
        knob = knob_of(attempt)
        if knob is not None:
            groups.setdefault(knob.name, []).append((attempt, knob.value))
    known = {normal(name): (name, values) for name, values in (declared or {}).items()}
    found = []
    for key, group in groups.items():
        name, values = known.get(key, (key, ()))
        if values:
            if set(values) <= {value for _, value in group}:
                numbers = tuple(attempt.number for attempt, _ in group)
                text = f"{name}: every declared value was tried ({', '.join(values)})"
                found.append(Note(text, numbers, key))
            continue
        tail = list(itertools.takewhile(lambda pair: not pair[0].kept, reversed(group)))[::-1]
        if len(tail) >= EXHAUSTED_AFTER:
            shown = ", ".join(dict.fromkeys(value for _, value in tail))
            numbers = tuple(attempt.number for attempt, _ in tail)
            text = f"{name}: the last {len(tail)} tries ({shown}) were all discarded"
            found.append(Note(text, numbers, key))
    return sorted(found, key=lambda note: -len(note.experiments))
