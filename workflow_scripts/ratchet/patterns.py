"""Numbers that a log shows in words of its own, found by regular expressions.

A task says ``metric: {name: accuracy, pattern: 'Validation accuracy: ([0-9.]+)'}``; the
last match of the log counts.  A pattern comes from the task, which is trusted, and the
log from a candidate, which is not: what can take exponential time on some line is
refused when the task is read, and :mod:`ratchet.searching` bounds the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ratchet.runlog import clean_lines

LONGEST_PATTERN = 500
"""Characters; a pattern for one number of one line needs no more."""

SHORTEST_LITERAL = 4
"""Characters; what is shorter is in many texts that are no result."""

_WORDS = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0}


def fault(pattern: str) -> str | None:
    """Why a pattern cannot be used; ``None`` if it can."""
    if len(pattern) > LONGEST_PATTERN:
        return f"expected at most {LONGEST_PATTERN} characters, found {len(pattern)}"
    try:
        found = re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        return f"expected a regular expression, found {pattern!r} ({error})"
    if found.groups != 1:
        return (
            "expected exactly one group, the number, as in 'accuracy: ([0-9.]+)', found "
            f"{found.groups} in {pattern!r}; write others as (?:...)"
        )
    return _slow(pattern)


def _slow(pattern: str) -> str | None:
    """Whether some line makes the search take exponential time, as far as that can be read."""
    todo: list[tuple[Any, bool]] = [(_tree(pattern), False)]
    while todo:
        items, repeated = todo.pop()
        for code, argument in items:
            kind = str(code)
            if "GROUPREF" in kind:
                return f"expected no reference to another group, found one in {pattern!r}"
            many = kind in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT")
            unbounded = many and argument[1] > 1
            if repeated and (unbounded or kind == "BRANCH"):
                return (
                    "expected no repetition or choice within a repetition, since that can take "
                    f"for ever on some lines, found {pattern!r}"
                )
            todo += [(inner, repeated or unbounded) for inner in _inner(argument)]
    return None


def literal(pattern: str) -> str:
    """The longest text that every match of a pattern holds; empty if none is long enough."""
    runs = [""]
    for code, argument in _tree(pattern):
        if str(code) == "LITERAL":
            runs[-1] += chr(argument)
        else:
            runs.append("")
    longest = max(runs, key=len).strip()
    return longest if len(longest) >= SHORTEST_LITERAL else ""


def _tree(pattern: str) -> Any:
    """A pattern as Python reads it, which only this module of its library shows."""
    import re._parser as parser  # type: ignore[import-not-found]

    return parser.parse(pattern)


def _inner(argument: Any) -> Iterator[Any]:
    """The parts of a pattern below one of its items."""
    if hasattr(argument, "data"):
        yield argument
    elif isinstance(argument, list | tuple):
        for part in argument:
            yield from _inner(part)


def search(text: str, patterns: Mapping[str, str]) -> dict[str, float]:
    """The last number that each pattern finds in a log, by name.

    Colours are taken away first and the states of a progress line are lines of their
    own; a match never spans lines.  What matches and is no number (after a percent
    sign and commas are taken away; true and false are 1 and 0) is passed over.
    """
    lines = clean_lines(text)
    found = {}
    for name, pattern in patterns.items():
        value = _last(lines, re.compile(pattern))
        if value is not None:
            found[name] = value
    return found


def _last(lines: list[str], pattern: re.Pattern[str]) -> float | None:
    for line in reversed(lines):
        values = list(_numbers(match.group(1) for match in pattern.finditer(line)))
        if values:
            return values[-1]
    return None


def _numbers(words: Iterable[str | None]) -> Iterator[float]:
    for word in words:
        plain = (word or "").strip().rstrip("%").replace(",", "").strip().lower()
        if plain in _WORDS:
            yield _WORDS[plain]
            continue
        try:
            yield float(plain)
        except ValueError:
            continue
