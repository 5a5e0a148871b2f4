"""Carry a win of one competitor over to another's incumbent."""

from __future__ import annotations

from collections.abc import Mapping

from ratchet import surface
from ratchet.proposals import Edit
from ratchet.proposers import declared
from ratchet.proposers.ideas import same_sources
from ratchet.proposers.merging import carry_over
from ratchet.task import Change
from ratchet.tournaments import Fate

Texts = Mapping[str, str]


def graft(
    parent: Texts, edited: Texts, incumbent: Texts, edit: Edit | None, space: tuple[Change, ...]
) -> tuple[Texts | None, Fate, str]:
    """What ``edited`` changed in ``parent``, done to ``incumbent``; else why not.

    A three-way merge of texts.  Git takes changes of neighbouring lines for a
    conflict; what is known by its name is merged by it: a constant whose value is
    still the parent's, an alternative whose place is still as declared.  Nothing is
    forced: where both changed the same thing, that is a conflict.
    """
    merged: Texts | None = carry_over(parent, edited, incumbent)
    if merged is None and edit is not None:
        merged = _by_name(parent, edited, incumbent, edit, space)
    if merged is not None and not same_sources(incumbent, merged):
        return merged, Fate.OFFERED, ""
    # What can be taken back is there.
    taken_back = carry_over(edited, parent, incumbent) is not None
    if taken_back or _has(incumbent, edit) or same_sources(incumbent, edited):
        return None, Fate.PRESENT, "it is in the incumbent already"
    return None, Fate.CONFLICT, _why(parent, incumbent, edit)


def _by_name(
    parent: Texts, edited: Texts, incumbent: Texts, edit: Edit, space: tuple[Change, ...]
) -> Texts | None:
    if edit.value is None:
        draft = declared.again(space, incumbent, edit.label)
        return None if draft is None else draft.contents
    for name, text in incumbent.items():
        found = [surface.find(name, t, edit.name) for t in (text, parent[name], edited[name])]
        ours, base, theirs = found
        if ours is None or base is None or theirs is None or repr(ours.value) != repr(base.value):
            continue
        new = surface.replaced(name, text, edit.name, theirs.value)
        if new is not None:
            return {**incumbent, name: new}
    return None


def _has(incumbent: Texts, edit: Edit | None) -> bool:
    """Whether the incumbent has the constant at the win's value."""
    if edit is None or edit.value is None:
        return False
    found = [surface.find(name, text, edit.name) for name, text in incumbent.items()]
    return any(place is not None and repr(place.value) == edit.value for place in found)


def _why(parent: Texts, incumbent: Texts, edit: Edit | None) -> str:
    if edit is not None and edit.value is not None:
        places = [surface.find(name, text, edit.name) for name, text in incumbent.items()]
        value = next((place.value for place in places if place is not None), None)
        return f"both set {edit.name}; the incumbent has {value!r}"
    changed = ", ".join(n for n in incumbent if incumbent[n] != parent.get(n, ""))
    return f"both changed the same lines of {changed or 'the files'}"
