"""An idea: an edit of the incumbent with its reasons, whoever had it."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Mapping, Sequence

from ratchet import categories, surface
from ratchet.codec import Frozen
from ratchet.proposals import DECLARED, Edit


class Idea(Frozen):
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
    if surface.is_settings(name):
        return surface.changed(name, old, new) == []
    if not name.endswith(".py"):
        return _stripped(old) == _stripped(new)
    before, after = _code(old), _code(new)
    return before is not None and before == after


def same_sources(old: Mapping[str, str], new: Mapping[str, str]) -> bool:
    """The same for all files together."""
    return set(old) == set(new) and all(same_code(name, old[name], new[name]) for name in old)


def syntax_error(name: str, text: str) -> str | None:
    """What keeps a file of Python, YAML or JSON from being read, if anything."""
    if not name.endswith(".py"):
        return surface.fault(name, text)
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
    if len(changed) != 1:
        return None
    (file,) = changed
    before, after = old.get(file, ""), new[file]
    names = _constants(file, before, after)
    if len(names) != 1:
        return None
    there = surface.find(file, after, names[0])
    if there is None:
        return None
    made = surface.replaced(file, before, names[0], there.value)
    if made is None or not same_code(file, made, after):
        return None
    return Edit("constant", names[0], repr(there.value))


def _constants(file: str, before: str, after: str) -> Sequence[str]:
    """Named values that differ; none where something else differs too."""
    if surface.is_settings(file):
        return surface.changed(file, before, after) or ()
    found = categories.touched(before, after) if file.endswith(".py") else None
    return () if found is None or found.definitions else found.constants


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
