"""Other people's words in a Markdown text: one line, and nothing but words."""

from __future__ import annotations

import re

from ratchet.results_tsv import one_line

CUT = 100
"""Characters of a description that are shown."""

# What begins emphasis, code, links, HTML or entities wherever it stands; an underscore
# does so at the edge of a word alone, and names of constants are full of them.
_MARKS = re.compile(r"[\\`*<\[\]|~]|(?<![^\W_])_|_(?![^\W_])|&(?=[#\w])")


def escape(text: str, limit: int = CUT) -> str:
    """Text on one line that Markdown shows as it is, at most ``limit`` characters of it."""
    line = " ".join(one_line(text).split())
    short = line if len(line) <= limit else line[: limit - 1].rstrip() + "…"
    return _MARKS.sub(lambda match: "\\" + match[0], short)
