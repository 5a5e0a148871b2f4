"""The code of every experiment, small enough for a page that shows the diff of any two.

Experiments share most lines.  So the table has the baseline's files once, and of each
experiment what differs from the one that it started from.  It has a limit in bytes: past
that experiments are left out, those that were not kept first, and the page says so.
"""

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence

from ratchet.base.text import LINE_LIMIT, clean_text
from ratchet.records.history import History
from ratchet.report.inputs import Facts
from ratchet.task.sources import BoundedMatcher

MOST_BYTES = 250_000
"""Bytes of the table as JSON: some hundred small edits of a file of 4,000 lines."""

LEAST_BYTES = 500
"""With less room no edit is looked for that would fit: it takes some milliseconds each."""

Lines = Sequence[str]
Sources = Mapping[str, str]


def code_table(
    history: History, texts: Callable[[Sources], Mapping[str, str]], most: int = MOST_BYTES
) -> Facts:
    """Files of the baseline as lines, and the edits that make each experiment's of them.

    ``versions`` maps numbers to the number that it is an edit of (``of``) and, by file, its
    edits: a place in that one's lines, how many go there, and the lines that come.  ``None``
    for edits means that the file is not there.  ``left_out`` are numbers that did not fit.
    ``texts`` gives mutable files by their digests.
    """
    start = {name: _lines(text) for name, text in texts(history.start.files).items()}
    table: Facts = {"files": start, "versions": {}, "left_out": []}
    numbers = {history.start.proposal.source: 0}
    known: dict[int, Mapping[str, Lines]] = {0: start}
    spent = len(json.dumps(table))
    trials = sorted(history.trials, key=lambda trial: (not trial.kept, trial.number))
    if spent > most:
        return {"files": {}, "versions": {}, "left_out": [0, *(t.number for t in trials)]}
    for trial in trials:
        if most - spent < LEAST_BYTES:
            table["left_out"].append(trial.number)
            continue
        own = {name: _lines(text) for name, text in texts(trial.files).items()}
        base = numbers.get(trial.proposal.parent, 0)
        entry = {"of": base, "edits": _edits(known[base], own)}
        size = len(json.dumps(entry)) + len(f'"{trial.number}":,')
        if spent + size > most:
            table["left_out"].append(trial.number)
            continue
        spent += size
        table["versions"][str(trial.number)] = entry
        # Only what was kept is what others started from.
        if trial.kept:
            known[trial.number] = own
            numbers[trial.proposal.source] = trial.number
    table["left_out"].sort()
    return table


def _lines(text: str) -> list[str]:
    """Lines as they can be shown: cleaned, and cut where no person wrote so long a one."""
    shown = clean_text(text.encode("utf-8", errors="replace").decode())
    cut = (
        line if len(line) <= LINE_LIMIT else f"{line[:LINE_LIMIT]}… [cut: {len(line):,} characters]"
        for line in shown.split("\n")
    )
    return list(cut)


def _edits(
    old: Mapping[str, Lines], new: Mapping[str, Lines]
) -> dict[str, list[tuple[int, int, list[str]]] | None]:
    edits: dict[str, list[tuple[int, int, list[str]]] | None] = {}
    for name in sorted({*old, *new}):
        if name not in new:
            edits[name] = None
        elif old.get(name) != new[name]:
            edits[name] = list(_file_edits(old.get(name, ()), new[name]))
    return edits


def _file_edits(old: Lines, new: Lines) -> Iterator[tuple[int, int, list[str]]]:
    """Edits from the end to the beginning, so that each leaves the places before it alone."""
    pairs = zip(old, new, strict=False)
    head = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
    rest = zip(reversed(old[head:]), reversed(new[head:]), strict=False)
    tail = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], rest))
    middle, wanted = old[head : len(old) - tail], new[head : len(new) - tail]
    matcher = BoundedMatcher(middle, wanted, autojunk=False)
    for tag, i, j, k, m in reversed(matcher.get_opcodes()):
        if tag != "equal":
            yield head + i, j - i, list(wanted[k:m])


def version_of(table: Facts, number: int) -> dict[str, list[str]]:
    """Files of an experiment as lines; raises :class:`KeyError` for one that was left out."""
    if number == 0:
        return {name: list(lines) for name, lines in table["files"].items()}
    entry = table["versions"][str(number)]
    files = version_of(table, entry["of"])
    for name, edits in entry["edits"].items():
        if edits is None:
            files.pop(name, None)
            continue
        lines = files.setdefault(name, [])
        for place, gone, come in edits:
            lines[place : place + gone] = come
    return files
