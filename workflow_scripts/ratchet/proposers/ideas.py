"""An idea: an edit of the incumbent with its reasons, whoever had it."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

from ratchet import categories
from ratchet.proposals import DECLARED, Edit
from ratchet.proposers.declared import find_constant


@dataclass(frozen=True)
class Idea:
    """A change applied to the incumbent's files, not yet recorded."""

    category: str
    description: str
    hypothesis: str
    contents: Mapping[str, str]
    edit: Edit | None = None
    proposer: str = DECLARED
    expected_effect: str = ""
    notes: tuple[str, ...] = ()


def same_code(name: str, old: str, new: str) -> bool:
    """Whether two versions of a file differ in nothing that is run.

    Comments, docstrings and layout are nothing in Python; at the ends of lines
    blanks are nothing anywhere.
    """
    if old == new:
        return True
    if not name.endswith(".py"):
        return _stripped(old) == _stripped(new)
    before, after = _code(old), _code(new)
    return before is not None and before == after


def same_sources(old: Mapping[str, str], new: Mapping[str, str]) -> bool:
    """The same for all files together."""
    return set(old) == set(new) and all(same_code(name, old[name], new[name]) for name in old)


def syntax_error(name: str, text: str) -> str | None:
    """What keeps a Python file from being read, if anything."""
    if not name.endswith(".py"):
        return None
    try:
        _parsed(text)
    except SyntaxError as error:
        return f"line {error.lineno}: {error.msg}"
    except (ValueError, RecursionError, MemoryError) as error:
        return f"{type(error).__name__}"
    return None


def setting(old: Mapping[str, str], new: Mapping[str, str]) -> Edit | None:
    """The constant that an edit sets, if it does nothing else.

    Such an edit has the same label as a declared one, so that neither repeats
    the other.
    """
    changed = [name for name in new if not same_code(name, old.get(name, ""), new[name])]
    if len(changed) != 1 or not changed[0].endswith(".py"):
        return None
    before, after = old.get(changed[0], ""), new[changed[0]]
    found = categories.touched(before, after)
    if found is None or len(found.constants) != 1 or found.definitions:
        return None
    (name,) = found.constants
    here, there = find_constant(before, name), find_constant(after, name)
    if here is None or there is None:
        return None
    start, end, _ = here
    value = repr(there[2])
    if not same_code(changed[0], before[:start] + value + before[end:], after):
        return None
    return Edit("constant", name, value)


def _stripped(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def _parsed(text: str) -> ast.Module:
    with warnings.catch_warnings():  # about escapes in someone else's strings
        warnings.simplefilter("ignore")
        return ast.parse(text)


def _code(text: str) -> str | None:
    """The code of a text without its docstrings; ``None`` if it cannot be read."""
    try:
        tree = _parsed(text)
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list):
                kept = [line for line in body if not _is_text(line)]
                node.body = kept or [ast.Pass()]  # type: ignore[attr-defined]
        return ast.dump(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _is_text(node: object) -> bool:
    """Whether a statement is nothing but a text, such as a docstring."""
    value = node.value if isinstance(node, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)
