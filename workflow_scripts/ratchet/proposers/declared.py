"""Proposals from a task's declared changes, in the order that steering or a strategy prefers."""

import ast
import math
import re
from collections.abc import Collection, Mapping, Sequence
from random import Random

from ratchet.config import Strategy
from ratchet.task.edits import Idea, applicable_changes, find_value, is_number
from ratchet.task.sources import BoundedMatcher
from ratchet.task.task import DeclaredChange

CONTEXT = 3
"""Lines that a diff shows around each change."""


def unified_diff(old: Mapping[str, str], new: Mapping[str, str]) -> tuple[str, int, int]:
    """Unified diff over all files, with the numbers of lines added and removed.

    Lines end at line feeds alone, not at all that some readers take for an end.
    """
    lines: list[str] = []
    added = removed = 0
    for name in sorted({*old, *new}):
        before, after = _lines(old.get(name, "")), _lines(new.get(name, ""))
        groups = list(BoundedMatcher(before, after).get_grouped_opcodes(CONTEXT))
        if groups:
            lines += [f"--- a/{name}\n", f"+++ b/{name}\n"]
        for group in groups:
            (_, i, _, k, _), (_, _, j, _, m) = group[0], group[-1]
            lines.append(f"@@ -{_range(i, j)} +{_range(k, m)} @@\n")
            for tag, i, j, k, m in group:
                if tag == "equal":
                    lines += [f" {line}" for line in before[i:j]]
                    continue
                lines += [f"-{line}" for line in before[i:j]]
                lines += [f"+{line}" for line in after[k:m]]
                removed, added = removed + j - i, added + m - k
    text = "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)
    return text, added, removed


_HUNK = re.compile(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")


def changed_lines(diff: str) -> list[str]:
    """Lines that a :func:`unified_diff` removes and adds, each behind its sign, without context."""
    changed, removable, addable = [], 0, 0
    for line in diff.split("\n"):
        if removable <= 0 and addable <= 0:  # between hunks are the names of files
            match = _HUNK.match(line)
            if match is not None:
                removable, addable = (
                    1 if count is None else int(count) for count in match.groups()
                )
            continue
        sign = line[:1]
        removable -= sign != "+"
        addable -= sign != "-"
        if sign in ("+", "-"):
            changed.append(line)
    return changed


def _lines(text: str) -> list[str]:
    """Lines of a text with their ends."""
    *lines, last = text.split("\n")
    return [f"{line}\n" for line in lines] + ([last] if last else [])


def _range(start: int, stop: int) -> str:
    """Lines of a hunk as diffs count them."""
    length = stop - start
    first = start + 1 if length else start
    return f"{first}" if length == 1 else f"{first},{length}"


PLAIN = Strategy("", "")
"""Steering's ranking and the task's own order, of a session without a strategy."""

SWITCH = 1.0
"""Step of a constant that goes from or to zero, changes its sign or is no number."""

LINE = 1.0
"""Step of each line that a code alternative changes: as much as a factor of e."""


def propose_declared(
    space: Sequence[DeclaredChange],
    contents: Mapping[str, str],
    tried: Collection[str],
    ranking: Sequence[str],
    skip: int = 0,
    strategy: Strategy = PLAIN,
    counts: Mapping[str, int] | None = None,
    seed: int = 0,
) -> Idea | None:
    """Choose one untried change that applies to the incumbent; ``None`` when none is left.

    ``contents`` are the incumbent's mutable files, ``tried`` the labels of changes that are
    not to be repeated, ``ranking`` the categories with the best first; within a category
    the order of the search space, the task's own judgement of promise, decides unless the
    ``strategy`` says otherwise.  ``skip`` passes over that many categories, so that the
    candidates of one round differ in kind.  ``counts`` says how often each category was
    tried, ``seed`` decides where chance does.
    """
    drafts = [d for d in applicable_changes(space, contents) if d.label not in tried]
    if strategy.only:
        drafts = [d for d in drafts if d.category in strategy.only]
    if not drafts:
        return None
    if strategy.order == "random":
        return Random(seed).choice(drafts)
    rank = {category: i for i, category in enumerate(ranking)}
    times = counts or {}
    waiting = [c for c in strategy.first if times.get(c, 0) < strategy.first_tries]

    def place(category: str) -> tuple[int, int, str]:
        first = waiting.index(category) if category in waiting else len(waiting)
        return first, rank.get(category, len(rank)), category

    present = sorted({d.category for d in drafts}, key=place)
    category = present[skip % len(present)]
    chosen = [draft for draft in drafts if draft.category == category]
    if strategy.steps == "declared":
        return chosen[0]
    sign = 1 if strategy.steps == "small" else -1
    return min(chosen, key=lambda draft: sign * change_size(draft, contents))


def change_size(draft: Idea, contents: Mapping[str, str]) -> float:
    """Size of a change: |ln(new / old)| of a constant, lines of an alternative."""
    if draft.edit is None or draft.edit.value is None:
        _, added, removed = unified_diff(contents, draft.contents)
        return LINE * max(added, removed)
    places = [find_value(name, text, draft.edit.name) for name, text in contents.items()]
    old = next((place.value for place in places if place is not None), None)
    new = ast.literal_eval(draft.edit.value)
    if not (is_number(old) and is_number(new)):
        return SWITCH
    ratio = float(new) / float(old) if old else 0.0
    return abs(math.log(ratio)) if ratio > 0 else SWITCH
