"""How many things a change does at once: more than one, and none gets the credit."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from ratchet.categories.code import touched
from ratchet.categories.keys import SETTINGS, changed_lines


def changes(old: Mapping[str, str], new: Mapping[str, str]) -> int | None:
    """How many things differ between two versions of some files, by name.

    In Python these are constants and definitions, in YAML and JSON lines, elsewhere
    blocks of lines.
    ``None`` where a Python text cannot be read.
    """
    total = 0
    for name in sorted({*old, *new}):
        before, after = old.get(name, ""), new.get(name, "")
        if name.endswith(SETTINGS):
            total += sum(1 for _ in changed_lines(before, after))
            continue
        if not name.endswith(".py"):
            lines = difflib.SequenceMatcher(None, before.split("\n"), after.split("\n"))
            total += sum(tag != "equal" for tag, *_ in lines.get_opcodes())
            continue
        found = touched(before, after)
        if found is None:
            return None
        total += found.count
    return total
