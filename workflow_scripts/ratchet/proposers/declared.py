"""The proposer without a language model: one declared change per proposal."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence

from ratchet import surface
from ratchet.codec import Frozen
from ratchet.records import Edit
from ratchet.task import Change


class Draft(Frozen):
    """A change applied to the incumbent's files, not yet recorded."""

    edit: Edit
    category: str
    description: str
    hypothesis: str
    contents: Mapping[str, str]


def propose(
    space: Sequence[Change],
    contents: Mapping[str, str],
    tried: Collection[str],
    ranking: Sequence[str],
    skip: int = 0,
) -> Draft | None:
    """Choose one untried change that applies to the incumbent.

    ``contents`` are the incumbent's mutable files, ``tried`` the labels of
    changes that are not to be repeated, ``ranking`` the categories with the
    best first; within a category the order of the search space, the task's own
    judgement of promise, decides.  ``skip`` passes over that many categories,
    so that the candidates of one round differ in kind.  ``None`` when nothing
    is left.
    """
    drafts = [d for d in applicable(space, contents) if d.edit.label not in tried]
    if not drafts:
        return None
    rank = {category: i for i, category in enumerate(ranking)}
    present = sorted({d.category for d in drafts}, key=lambda c: (rank.get(c, len(rank)), c))
    category = present[skip % len(present)]
    return next(draft for draft in drafts if draft.category == category)


def again(space: Sequence[Change], contents: Mapping[str, str], label: str) -> Draft | None:
    """One certain change, applied to these files; ``None`` if it means nothing to them."""
    return next((d for d in applicable(space, contents) if d.edit.label == label), None)


def applicable(space: Sequence[Change], contents: Mapping[str, str]) -> Iterator[Draft]:
    """Every declared change that makes a difference to these files."""
    for change in space:
        for name, text in contents.items():
            if change.is_constant:
                yield from _constants(change, name, text, contents)
            elif text.count(change.find) == 1:
                new = text.replace(change.find, change.replace)
                if new != text and surface.fault(name, new) is None:
                    edit = Edit("alternative", change.name)
                    description = change.name.replace("-", " ")
                    yield Draft(
                        edit, change.category, description, change.why, {**contents, name: new}
                    )


def _constants(
    change: Change, name: str, text: str, contents: Mapping[str, str]
) -> Iterator[Draft]:
    place = surface.find(name, text, change.name)
    if place is None:
        return
    old = place.value
    for value in change.values:
        if value == old and (type(value) is type(old) or surface.is_settings(name)):
            continue
        new = surface.replaced(name, text, change.name, value)
        if new is None:
            continue
        why = change.why.replace("{old}", repr(old)).replace("{new}", repr(value))
        yield Draft(
            Edit("constant", change.name, repr(value)),
            change.category,
            f"{change.name} {old!r} -> {value!r}",
            why,
            {**contents, name: new},
        )


def diff(old: Mapping[str, str], new: Mapping[str, str]) -> tuple[str, int, int]:
    """Unified diff over all files, with the numbers of lines added and removed."""
    lines: list[str] = []
    for name in sorted({*old, *new}):
        before = old.get(name, "").splitlines(keepends=True)
        after = new.get(name, "").splitlines(keepends=True)
        lines += difflib.unified_diff(before, after, f"a/{name}", f"b/{name}")
    added = sum(line.startswith("+") and not line.startswith("+++") for line in lines)
    removed = sum(line.startswith("-") and not line.startswith("---") for line in lines)
    text = "".join(line if line.endswith("\n") else line + "\n" for line in lines)
    return text, added, removed
