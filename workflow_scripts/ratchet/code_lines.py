"""How many lines of code a change adds: comments and blank lines are free.

What is counted decides what a change must pay for, so that padding must earn
nothing: only lines with a token other than a comment count.  A docstring is a
token.  Files that are no valid Python are counted by their non-blank lines.
"""

from __future__ import annotations

import tokenize
from collections.abc import Mapping

# Tokens that are there without any code.
_LAYOUT = frozenset(
    {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENCODING,
        tokenize.ENDMARKER,
    }
)


def net(old: Mapping[str, str], new: Mapping[str, str]) -> int:
    """Code lines that ``new`` has more than ``old``; both map file names to texts."""
    after = sum(count(name, text) for name, text in new.items())
    return after - sum(count(name, text) for name, text in old.items())


def count(name: str, text: str) -> int:
    """Code lines of one file; its name tells whether it is Python."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    filled = {number for number, line in enumerate(lines, start=1) if line.strip()}
    if name.endswith((".yaml", ".yml")):
        return sum(not lines[number - 1].lstrip().startswith("#") for number in filled)
    if not name.endswith(".py"):
        return len(filled)
    used = _python(lines)
    return len(filled if used is None else filled & used)


def _python(lines: list[str]) -> set[int] | None:
    """Lines with code; ``None`` for a text that Python cannot read."""
    used: set[int] = set()
    try:
        for token in tokenize.generate_tokens(iter([f"{line}\n" for line in lines]).__next__):
            if token.type == tokenize.ERRORTOKEN:
                return None
            if token.type not in _LAYOUT:
                used.update(range(token.start[0], token.end[0] + 1))
    except (tokenize.TokenError, SyntaxError, ValueError):
        return None
    return used
