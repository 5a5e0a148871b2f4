"""The facts of a ``program.md`` against its task: metric, budget, files, commands, seed.

Each fact must be stated, and stated as the task and the configuration have it.  How a
text is worded is its author's affair, and what was tried is data that is not read.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator

from ratchet.codec import Frozen
from ratchet.program.contract import Contract
from ratchet.program.sections import Document, parse


class Flaw(enum.StrEnum):
    """The kinds of findings."""

    MISSING = "missing"
    CONTRADICTORY = "contradictory"


class Finding(Frozen):
    """One fact to mend; ``line`` counts from 1 and is where it stands, or belongs."""

    line: int
    flaw: Flaw
    expected: str
    found: str
    write: str

    def __str__(self) -> str:
        return f"{self.flaw}: expected {self.expected}, found {self.found}; write: {self.write}"


def check(text: str, contract: Contract) -> list[Finding]:
    """All findings by line; none for a text that agrees with its contract."""
    document = parse(text)
    read = _untried(document)
    found = [
        *_metric(document, read, contract),
        *_budget(document, read, contract),
        *_files(document, read, contract),
        *_commands(read, contract),
        *_memory(document, read, contract),
        *_seed(document, read),
    ]
    return sorted(set(found), key=lambda one: (one.line, one.flaw, one.expected, one.found))


def _untried(document: Document) -> str:
    """The text with empty lines in place of what was tried."""
    lines = list(document.lines)
    for section in document.of_kind("tried"):
        lines[section.line : section.end] = [""] * (section.end - section.line)
    return "\n".join(lines)


def _line(text: str, place: int) -> int:
    return text.count("\n", 0, place) + 1


def _named(name: str, text: str) -> bool:
    return bool(re.search(rf"(?<![\w./-]){re.escape(name)}(?![\w-]|\.\w)", text))


_BETTER = re.compile(r"\b(lower|smaller|higher|larger)\s+is\s+better", re.IGNORECASE)


def _metric(document: Document, read: str, contract: Contract) -> Iterator[Finding]:
    place = document.place("goal")
    write = f"{contract.verb} `{contract.metric}`: {contract.better}."
    if not _named(contract.metric, read):
        metric = f"the metric `{contract.metric}`"
        yield Finding(place, Flaw.MISSING, metric, "no word of it", write)
    match = _BETTER.search(read)
    if match is None:
        yield Finding(place, Flaw.MISSING, f"the direction ({contract.better})", "none", write)
    elif (match[1].lower() in ("lower", "smaller")) is not contract.lower:
        line = _line(read, match.start())
        yield Finding(line, Flaw.CONTRADICTORY, contract.better, repr(match[0]), write)


_DURATION = (
    r"(?<![\w.])(?P<amount>\d[\d,]*(?:\.\d+)?)[\s-]*(?:(?:CPU|GPU|wall[\s-]?clock|training)[\s-]+)?"
    r"(?P<unit>seconds?|secs?|s|minutes?|mins?|hours?|hrs?|h|steps?)\b"
)
_BUDGET = re.compile(rf"\bbudget\b[^.;\n]{{0,60}}?{_DURATION}", re.IGNORECASE)
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def _budget(document: Document, read: str, contract: Contract) -> Iterator[Finding]:
    expected = f"a budget of {contract.budget}"
    write, stated = f"The budget of each run is {contract.budget}.", False
    for match in _BUDGET.finditer(read):
        stated = True
        if not _is_budget(match, contract):
            found = repr(f"{match['amount']} {match['unit']}")
            yield Finding(
                _line(read, match.start("amount")), Flaw.CONTRADICTORY, expected, found, write
            )
    if not stated:
        line = document.place("constraints", "fixed", "goal")
        yield Finding(line, Flaw.MISSING, expected, "none", write)


def _is_budget(match: re.Match[str], contract: Contract) -> bool:
    amount, unit = float(match["amount"].replace(",", "")), match["unit"].lower()
    if unit.startswith("step"):
        return contract.budget_steps is not None and amount == contract.budget_steps
    if contract.budget_seconds is None:
        return False
    seconds = amount * _SECONDS[unit[0]]
    return abs(seconds - contract.budget_seconds) <= 0.01 * contract.budget_seconds


_ITEM = re.compile(r"\s*(?:[-*+]|\d+[.)])\s+((?:`[^`]+`(?:,\s*|\s+and\s+)?)+)")
_OTHERS = re.compile(r"\b(?:everything else|other files?|nothing else|only file)\b", re.IGNORECASE)


def _files(document: Document, read: str, contract: Contract) -> Iterator[Finding]:
    mutable = ", ".join(f"`{name}`" for name in contract.mutable)
    fixed = [name for name in contract.fixed if not _named(name, read)]
    if not all(_named(name, read) for name in contract.mutable):
        line, write = document.place("editable", "goal"), f"You may edit {mutable}."
        yield Finding(line, Flaw.MISSING, f"the files to edit ({mutable})", "not all named", write)
    if fixed and not _OTHERS.search(read):
        names = ", ".join(f"`{name}`" for name in fixed)
        line, write = document.place("fixed", "constraints"), f"Fixed files: {names}."
        yield Finding(line, Flaw.MISSING, "the fixed files", f"no word of {names}", write)
    for kind, wrong, should in (
        ("editable", contract.fixed, "fixed"),
        ("fixed", contract.mutable, "editable"),
    ):
        for line, listed in _listed(document, kind):
            for name in sorted(listed & set(wrong)):
                write = f"You may edit {mutable}, and nothing else."
                expected, found = f"`{name}` to be {should}", "it in the other list"
                yield Finding(line, Flaw.CONTRADICTORY, expected, found, write)


def _listed(document: Document, kind: str) -> Iterator[tuple[int, set[str]]]:
    """Files that begin an item of a section's list, with their line."""
    for section in document.of_kind(kind):
        for number in range(section.line + 1, section.end + 1):
            match = _ITEM.match(document.lines[number - 1])
            if match:
                yield number, set(re.findall(r"`([^`]+)`", match[1]))


_COMMAND = re.compile(r"\b(?:python[\d.]*|uv run)\s+([\w./-]+\.py)\b")


def _commands(read: str, contract: Contract) -> Iterator[Finding]:
    files = {*contract.mutable, *contract.fixed}
    for match in _COMMAND.finditer(read):
        if match[1] not in files:
            line, found = _line(read, match.start()), f"{match[0]!r}, no file of the task"
            write = f"python {contract.mutable[0]}, or another of its files"
            yield Finding(line, Flaw.CONTRADICTORY, "a command that exists", found, write)


_SIZE = re.compile(r"(?<![\w.])(\d[\d,]*(?:\.\d+)?)\s*([GM]i?B)\b")
_MEGABYTES = {"MiB": 1.0, "MB": 1e6 / 2**20, "GiB": 1024.0, "GB": 1e9 / 2**20}
# Between MB and MiB, GB and GiB lie 5 and 7 %, and people mean either by both.
_SAME_SIZE = 0.08


def _memory(document: Document, read: str, contract: Contract) -> Iterator[Finding]:
    ceiling = contract.ceiling.megabytes
    if ceiling is None:
        return
    sizes = (float(n.replace(",", "")) * _MEGABYTES[unit] for n, unit in _SIZE.findall(read))
    if not any(abs(size - ceiling) <= _SAME_SIZE * ceiling for size in sizes):
        line, expected = document.place("constraints", "fixed"), "the memory ceiling"
        write = f"{contract.ceiling.words}."
        yield Finding(line, Flaw.MISSING, f"{expected} of {ceiling:g} MiB", "none", write)


def _seed(document: Document, read: str) -> Iterator[Finding]:
    if not re.search(r"\bseed\b", read, re.IGNORECASE):
        line, write = document.place("constraints", "fixed"), "The seed is given."
        yield Finding(line, Flaw.MISSING, "who chooses the seed", "no word of it", write)
