"""Edits compared: whether they do the same, what they set, how they are carried over."""

import ast
import functools
import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from ratchet.base.git import call_git
from ratchet.records.proposals import Edit
from ratchet.steering.code_diff import code_differences
from ratchet.task.edits import apply_declared, changed_values, find_value, replace_value
from ratchet.task.sources import SourceError, is_settings, parse_python, text_fault
from ratchet.task.task import DeclaredChange

LONGEST_LABEL = 300
"""Characters of a name with a value; a longer one is text rather than a setting."""


def same_code(name: str, old: str, new: str) -> bool:
    """Whether two versions of a file differ in nothing that is run.

    Comments, docstrings and layout are nothing in Python; at the ends of lines
    blanks are nothing anywhere.
    """
    if old == new:
        return True
    if is_settings(name):
        return changed_values(name, old, new) == []
    if not name.endswith(".py"):
        return _stripped(old) == _stripped(new)
    before, after = _code(old), _code(new)
    return before is not None and before == after


def same_sources(old: Mapping[str, str], new: Mapping[str, str]) -> bool:
    """Whether two versions of all files differ in nothing that is run."""
    return set(old) == set(new) and all(same_code(name, old[name], new[name]) for name in old)


def sole_setting(old: Mapping[str, str], new: Mapping[str, str]) -> Edit | None:
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
    there = find_value(file, after, names[0])
    if there is None:
        return None
    made = replace_value(file, before, names[0], there.value)
    if made is None or not same_code(file, made, after):
        return None
    edit = Edit("constant", names[0], repr(there.value))
    return edit if len(edit.label) <= LONGEST_LABEL else None


def _constants(file: str, before: str, after: str) -> Sequence[str]:
    """Named values that differ; none where something else differs too."""
    if is_settings(file):
        return changed_values(file, before, after) or ()
    found = code_differences(before, after) if file.endswith(".py") else None
    return () if found is None or found.definitions else found.constants


def _stripped(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines() if line.strip()]


@functools.lru_cache(maxsize=128)
def _code(text: str) -> bytes | None:
    """Digest of a text's code without its docstrings; ``None`` if it cannot be read.

    Every new edit is compared with all of the session's.
    """
    try:
        tree = parse_python(text)
    except SourceError:
        return None
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            kept = [line for line in body if not _is_text(line)]
            node.body = kept or [ast.Pass()]  # type: ignore[attr-defined]
    return hashlib.sha256(ast.dump(tree).encode(errors="surrogatepass")).digest()


def _is_text(node: object) -> bool:
    """Whether a statement is nothing but a text, such as a docstring."""
    value = node.value if isinstance(node, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def carry_over(
    parent: Mapping[str, str], edited: Mapping[str, str], incumbent: Mapping[str, str]
) -> dict[str, str] | None:
    """Merge of the changes from ``parent`` to ``edited`` into ``incumbent``, file by file.

    ``None`` if both changed the same lines, if the result cannot be read, or if
    nothing is left to do.
    """
    if not set(parent) == set(edited) == set(incumbent):
        return None
    merged: dict[str, str] = {}
    for name, ours in incumbent.items():
        text = _merge(ours, parent[name], edited[name])
        if text is None or text_fault(name, text, ours) is not None:
            return None
        merged[name] = text
    return None if same_sources(incumbent, merged) else merged


def carry_edit(
    parent: Mapping[str, str],
    edited: Mapping[str, str],
    incumbent: Mapping[str, str],
    edit: Edit | None,
    space: tuple[DeclaredChange, ...],
) -> Mapping[str, str] | None:
    """Merge of a change into ``incumbent``, by its text or else by its name; ``None`` if neither.

    Git takes changes of neighbouring lines for a conflict; what is known by its name is
    merged by it: a constant whose value is still the parent's, an alternative whose
    place is still as declared.
    """
    merged = carry_over(parent, edited, incumbent)
    if merged is None and edit is not None:
        return _by_name(parent, edited, incumbent, edit, space)
    return merged


def set_again(
    edited: Mapping[str, str], incumbent: Mapping[str, str], edit: Edit | None
) -> dict[str, str] | None:
    """The edit of one constant done on ``incumbent``, whatever its value is there.

    ``None`` for another edit, and where it has no such constant or the very value.
    """
    if edit is None or edit.value is None or edit.values:
        return None
    for name, text in incumbent.items():
        ours, theirs = (find_value(name, t, edit.name) for t in (text, edited[name]))
        if ours is not None and theirs is not None:
            new = replace_value(name, text, edit.name, theirs.value)
            return None if new is None or same_code(name, text, new) else {**incumbent, name: new}
    return None


def _by_name(
    parent: Mapping[str, str],
    edited: Mapping[str, str],
    incumbent: Mapping[str, str],
    edit: Edit,
    space: tuple[DeclaredChange, ...],
) -> Mapping[str, str] | None:
    if edit.value is None:
        draft = apply_declared(space, incumbent, edit.label)
        return None if draft is None else draft.contents
    merged: Mapping[str, str] | None = incumbent
    for constant in edit.values or [edit.name]:
        merged = None if merged is None else _set(parent, edited, merged, constant)
    return merged


def _set(
    parent: Mapping[str, str], edited: Mapping[str, str], held: Mapping[str, str], constant: str
) -> Mapping[str, str] | None:
    """The files with a constant as edited, if its value is still the parent's."""
    for name, text in held.items():
        found = [find_value(name, t, constant) for t in (text, parent[name], edited[name])]
        ours, base, theirs = found
        if ours is None or base is None or theirs is None or repr(ours.value) != repr(base.value):
            continue
        new = replace_value(name, text, constant, theirs.value)
        if new is not None:
            return {**held, name: new}
    return None


def _merge(ours: str, base: str, theirs: str) -> str | None:
    """A three-way merge of texts; ``None`` where they conflict."""
    with tempfile.TemporaryDirectory(prefix="ratchet-merge-") as name:
        paths = []
        for number, text in enumerate((ours, base, theirs)):
            path = Path(name) / f"{number}"
            path.write_bytes(text.encode("utf-8", errors="surrogateescape"))
            paths.append(str(path))
        done = call_git("merge-file", "--stdout", "--quiet", *paths)
    if done.returncode != 0:
        return None
    return done.stdout.decode("utf-8", errors="surrogateescape")
