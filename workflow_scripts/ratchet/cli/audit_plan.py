"""What an audit runs again: the code of each kept change, and of what it was kept against.

The mutable files of a row's commit are compared with those of the incumbent of its
time, the row that was kept before it: that is the value which the author compared it
with, whatever lies between the two commits.  Only where the incumbent's commit is lost
does the commit's own parent stand in, and a note says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ratchet.canonical import source_digest
from ratchet.cli.session import Experiments
from ratchet.codec import Frozen, Struct, field
from ratchet.commits import Commits
from ratchet.dialects import LogRow
from ratchet.errors import UsageError
from ratchet.reruns import LEAST_SEEDS, Code, Kept, RerunPlan
from ratchet.results_tsv import one_line

SHOWN_FILES = 3


class Choice(Frozen):
    """Which kept changes are run again, and how often; all of them as the log advises."""

    seeds: int | None = None
    only: Sequence[str] = ()
    top: int | None = None


class Clone(Struct):
    """The commits of a log, as far as the repository has them.

    ``put`` keeps a file's content and gives its digest.
    """

    commits: Commits
    mutable: Sequence[str]
    put: Callable[[bytes], str]
    codes: dict[str, Code] = field(default_factory=dict)

    def files(self, commit: str) -> tuple[dict[str, str], str]:
        """Mutable files of a commit by digest, and the first that it does not have."""
        found = self.commits.contents(commit, self.mutable)
        missing = next((name for name, content in found.items() if content is None), "")
        kept = {name: self.put(content) for name, content in found.items() if content is not None}
        return kept, missing

    def code(self, files: Mapping[str, str], label: str) -> str:
        """The source of these files; the first that has them gives the code its name."""
        source = source_digest(files)
        self.codes.setdefault(source, Code(source, files, label))
        return source


def build(
    every: Experiments, facts: Mapping[str, Any], sha256: str, clone: Clone, choice: Choice
) -> RerunPlan:
    """The plan of an audit; ``facts`` are the log's own, ``sha256`` its digest.

    Raises :class:`UsageError` for a choice of no kept change.
    """
    by_line = {change["line"]: change for change in facts["changes"]}
    pairs = [
        (every.rows[place], every.rows[before])
        for place, before in _incumbents(every).items()
        if every.rows[place].line in by_line
    ]
    chosen = _chosen(pairs, by_line, choice)
    kept = [
        _kept(row, before, clone, choice.seeds or advised(by_line[row.line]))
        for row, before in pairs
        if row.line in chosen
    ]
    return RerunPlan(
        log_sha256=sha256,
        facts=facts,
        kept=len(pairs),
        codes=tuple(clone.codes.values()),
        changes=tuple(kept),
    )


def advised(change: Mapping[str, Any]) -> int:
    """Runs of each side: as many as the audit's own calculation asks for, never too few."""
    return max(change["seeds"] or 0, LEAST_SEEDS)


def _incumbents(every: Experiments) -> dict[int, int]:
    """By the place of each kept row that of the incumbent of its time."""
    found, incumbent = {}, None
    for place, (value, kept) in enumerate(zip(every.values, every.kept, strict=True)):
        if value is None:
            continue
        if incumbent is None:
            incumbent = place
        elif kept:
            found[place], incumbent = incumbent, place
    return found


def _chosen(
    pairs: Sequence[tuple[LogRow, LogRow]], by_line: Mapping[int, Any], choice: Choice
) -> set[int]:
    """Lines of the changes that are to be run again."""
    lines = [row.line for row, _ in pairs]
    if choice.only:
        lines = []
        for asked in choice.only:
            same = [row.line for row, _ in pairs if _is_same(row.commit, asked)]
            if not same:
                known = ", ".join(one_line(row.commit) or "–" for row, _ in pairs[:12])
                more = " …" if len(pairs) > 12 else ""
                raise UsageError(
                    f"--only: expected commits of kept changes ({known}{more}), found "
                    f"{one_line(asked)!r:.60}"
                )
            lines += same
    if choice.top is not None:
        lines = sorted(lines, key=lambda line: (-by_line[line]["gain"], line))[: choice.top]
    return set(lines)


def _is_same(logged: str, asked: str) -> bool:
    """Whether two abbreviations may be of one commit."""
    one, other = logged.strip().lower(), asked.strip().lower()
    return bool(one) and bool(other) and (one.startswith(other) or other.startswith(one))


def _kept(row: LogRow, before: LogRow, clone: Clone, seeds: int) -> Kept:
    """One change with the code of both sides, or why it cannot be run."""

    def unable(why: str) -> Kept:
        return Kept(row.line, row.commit, row.description, seeds, unable=why)

    child = clone.commits.full(row.commit)
    if child is None:
        named = f"its commit {one_line(row.commit)!r:.44}" if row.commit else "a commit for it"
        return unable(f"{named} is not in the repository")
    files, missing = clone.files(child)
    if missing:
        return unable(f"its commit has no file {missing}")
    parent, notes, line = _parent(before, child, clone)
    if parent is None:
        return unable(
            f"neither the commit of its incumbent (line {before.line}) nor a parent of its own "
            "is in the repository"
        )
    base, missing = clone.files(parent)
    if missing:
        return unable(f"the commit that it is compared with, {parent[:12]}, has no file {missing}")
    if base == files:
        return unable(f"it changes nothing in {', '.join(clone.mutable)}")
    return Kept(
        line=row.line,
        commit=row.commit,
        description=row.description,
        seeds=seeds,
        parent=clone.code(base, _label(before if line is not None else None, parent)),
        child=clone.code(files, _label(row, child)),
        parent_line=line,
        parent_commit=parent,
        notes=(*notes, *_left_behind(parent, child, clone)),
    )


def _label(row: LogRow | None, commit: str) -> str:
    return f"commit {commit[:12]}" if row is None else f"line {row.line} {row.description}".strip()


def _parent(before: LogRow, child: str, clone: Clone) -> tuple[str | None, list[str], int | None]:
    """The commit that a change is compared with, what to say of it, and its row."""
    own = clone.commits.parent(child)
    incumbent = clone.commits.full(before.commit)
    if incumbent is None:
        if own is None:
            return None, [], None
        said = (
            f"the commit of its incumbent (line {before.line}) is not in the repository; it is "
            f"compared with its own parent {own[:12]}"
        )
        return own, [said], None
    if own is not None and own != incumbent:
        theirs, held = (clone.commits.contents(c, clone.mutable) for c in (own, incumbent))
        differ = [name for name in clone.mutable if theirs[name] != held[name]]
        if differ:
            said = (
                f"its own parent {own[:12]} has another {', '.join(differ)} than the incumbent "
                f"(line {before.line}), with which it is compared"
            )
            return incumbent, [said], before.line
    return incumbent, [], before.line


def _left_behind(parent: str, child: str, clone: Clone) -> list[str]:
    """What else differs between the two commits, and is not taken from them."""
    changed = clone.commits.changed(parent, child) or []
    others = [one_line(name) for name in changed if name not in clone.mutable]
    if not others:
        return []
    shown = ", ".join(others[:SHOWN_FILES])
    more = f" and {len(others) - SHOWN_FILES} more" if len(others) > SHOWN_FILES else ""
    return [f"other files differ too, which are not taken from commits: {shown}{more}"]
