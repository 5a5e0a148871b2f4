"""Numbers that a log shows in words of its own, found by regular expressions.

A task says ``metric: {name: accuracy, pattern: 'Validation accuracy: ([0-9.]+)'}``; the
last match of the log counts.  A log is written by a candidate, which may not keep the
harness busy: RE2 searches in a time that is linear in the length of a line, whatever the
pattern.  It knows neither references to groups nor look-around.
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
        # Python's own parser reads it too, for the words that every match holds.
        _tree(pattern)
        groups = _compiled(pattern).groups
    except (re.error, ValueError, RecursionError, OverflowError) as error:
        return f"expected a regular expression of RE2, found {pattern!r} ({error})"
    if groups != 1:
        return (
            "expected exactly one group, the number, as in 'accuracy: ([0-9.]+)', found "
            f"{groups} in {pattern!r}; write others as (?:...)"
        )
    return None


def _compiled(pattern: str) -> Any:
    """A pattern as RE2 reads it; :class:`ValueError` says what it cannot read."""
    import re2  # few tasks have patterns

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        raise ValueError(error.args[0].decode(errors="replace")) from None


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


def search(text: str, patterns: Mapping[str, str]) -> dict[str, float]:
    """The last number that each pattern finds in a log, by name.

    Colours are taken away first and the states of a progress line are lines of their
    own; a match never spans lines.  What matches and is no number (after a percent
    sign and commas are taken away; true and false are 1 and 0) is passed over.
    """
    if not patterns:
        return {}
    lines = [line.encode(errors="replace") for line in clean_lines(text)]
    found = {}
    for name, pattern in patterns.items():
        value = _last(lines, _compiled(pattern))
        if value is not None:
            found[name] = value
    return found


def _last(lines: list[bytes], pattern: Any) -> float | None:
    for line in reversed(lines):
        values = list(_numbers(match.group(1) for match in pattern.finditer(line)))
        if values:
            return values[-1]
    return None


def _numbers(words: Iterable[bytes | None]) -> Iterator[float]:
    for word in words:
        plain = (
            (word or b"")
            .decode(errors="replace")
            .strip()
            .rstrip("%")
            .replace(",", "")
            .strip()
            .lower()
        )
        if plain in _WORDS:
            yield _WORDS[plain]
            continue
        try:
            yield float(plain)
        except ValueError:
            continue
