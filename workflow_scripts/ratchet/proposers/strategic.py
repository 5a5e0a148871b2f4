"""Declared changes in the order that a competitor's strategy prefers."""

from __future__ import annotations

import ast
import math
from collections.abc import Collection, Mapping, Sequence
from random import Random

from ratchet import surface
from ratchet.proposers.declared import Draft, applicable, diff
from ratchet.strategies import Strategy
from ratchet.task import Change

SWITCH = 1.0
"""Step of a constant that goes from or to zero, changes its sign or is no number."""
LINE = 1.0
"""Step of each line that a code alternative changes: as much as a factor of e."""


def propose(
    strategy: Strategy,
    space: Sequence[Change],
    contents: Mapping[str, str],
    tried: Collection[str],
    ranking: Sequence[str],
    counts: Mapping[str, int],
    seed: int,
    skip: int = 0,
) -> Draft | None:
    """Choose one untried change as the strategy would; ``None`` when none is left.

    ``ranking`` are the categories with the best first, ``counts`` how often each was
    tried; ``seed`` decides where chance does.  ``skip`` passes over that many
    categories, so that the candidates of one round differ in kind.
    """
    drafts = [d for d in applicable(space, contents) if d.edit.label not in tried]
    if strategy.only:
        drafts = [d for d in drafts if d.category in strategy.only]
    if not drafts:
        return None
    if strategy.order == "random":
        return Random(seed).choice(drafts)
    rank = {category: i for i, category in enumerate(ranking)}
    waiting = [c for c in strategy.first if counts.get(c, 0) < strategy.first_tries]

    def place(category: str) -> tuple[int, int, str]:
        first = waiting.index(category) if category in waiting else len(waiting)
        return first, rank.get(category, len(rank)), category

    present = sorted({d.category for d in drafts}, key=place)
    category = present[skip % len(present)]
    chosen = [draft for draft in drafts if draft.category == category]
    if strategy.steps == "declared":
        return chosen[0]
    sign = 1 if strategy.steps == "small" else -1
    return min(chosen, key=lambda draft: sign * step(draft, contents))


def step(draft: Draft, contents: Mapping[str, str]) -> float:
    """How large a change is: |ln(new / old)| of a constant, lines of an alternative."""
    if draft.edit.value is None:
        _, added, removed = diff(contents, draft.contents)
        return LINE * max(added, removed)
    places = [surface.find(name, text, draft.edit.name) for name, text in contents.items()]
    old = next((place.value for place in places if place is not None), None)
    new = ast.literal_eval(draft.edit.value)
    if not (_is_number(old) and _is_number(new)):
        return SWITCH
    ratio = float(new) / float(old) if old else 0.0
    return abs(math.log(ratio)) if ratio > 0 else SWITCH


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
