"""ratchet finalize: a branch and a patch for each certified change, ready to be merged.

    ratchet finalize
    ratchet finalize night --dry-run
    ratchet finalize night --all --no-runs

Each certified change becomes a branch on the session's baseline, called
ratchet/SESSION-final/01-... after its description; ratchet/SESSION-final/all
has all of them. A change that touches the same lines as another one stands on
top of it, and that is told. The code of each branch is run once, or found in
the store; value, run and contribution are in the commit's message. The
patches are those of the last branch, for `git am`.

The branches are in the session's repository, or, where the task is from a
clone on this machine, in that clone. Nothing is checked out, and no other
branch changes.

Exit codes: 0; 1 no change to write; 64 usage, 65 data, 66 no session, 70
internal error, 74 a branch or file that is not ours, or the disk; 75 a
session is running.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from shlex import quote
from typing import Any

from ratchet.base.io import digest_bytes, source_digest, write_bytes
from ratchet.base.structs import Frozen, field, replace, to_json_values
from ratchet.base.terminal import fit_lines, wrap_text
from ratchet.base.text import one_line, one_line_label, plural, safe_json, shorten
from ratchet.cli.main import CommandParser, OutputError, make_command, print_json, tell
from ratchet.cli.sessions import add_session, chosen_session
from ratchet.integrity.edit_checks import edit_faults
from ratchet.judge.certify import INTERVAL
from ratchet.records.confirmed import confirmed_gain, gain_sentence
from ratchet.records.events import Journal
from ratchet.records.history import History, Trial
from ratchet.records.ownership import take_sessions
from ratchet.records.records import Incumbent, Outcome, Role, RunSummary, Standing
from ratchet.records.session_repo import IDENTITY, BranchTip, Repository
from ratchet.runs.executor import Executor
from ratchet.session import Session
from ratchet.steps.certify import Stack
from ratchet.task.repository import origin_place

NAME = "ratchet finalize"
EXIT_NOTHING = 1
ALL = "all"
"""Last part of the name of the branch that has all changes."""

TITLE = 72
"""Characters of a commit's first line, and columns of its message."""

NAME_LENGTH = 40
"""Characters of a description in the name of a branch or patch."""

LONGEST = 1_000
"""Characters of a hypothesis in a message."""

Texts = Mapping[str, str]
Chain = tuple[int, ...]
"""Numbers of kept changes, one on the other, in the order in which they were kept."""


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(NAME, __doc__)
    add = parser.add_argument
    add("--all", action="store_true", help="also kept changes of the champion without certificate")
    add("--no-runs", action="store_true", help="run nothing: the branches have no values of theirs")
    add("--patches", type=Path, metavar="FOLDER", help="default: patches in the session's folder")
    add("--force", action="store_true", help="replace branches and patches that are not ours")
    add("--dry-run", action="store_true", help="say what would be done, and write nothing")
    add("--json", action="store_true", help="one JSON object")
    add_session(parser)
    return parser.parse_args(argv)


def _run(options: argparse.Namespace) -> int:
    session = chosen_session(options)
    if options.dry_run:
        return _finalize(session, options)
    with _owned(options.root, session.config.session):
        return _finalize(session, options)


@contextlib.contextmanager
def _owned(root: Path, session: str) -> Iterator[None]:
    """Hold the session, so that nobody changes its records meanwhile."""
    handles = take_sessions(root, session)
    try:
        yield
    finally:
        for handle in handles:
            os.close(handle)


def _finalize(session: Session, options: argparse.Namespace) -> int:
    history = History.read(session.paths)
    chosen = chosen_changes(history, options.all)
    if not chosen:
        reason = _no_change(session.config.session, history, options.all)
        if options.json:
            print_json({"session": session.config.session, "reason": reason, "branches": []})
        else:
            print(reason)
        return EXIT_NOTHING
    plan = BranchPlan(Stack(session, history), tuple(trial.number for trial in chosen))
    work = Finalizing(plan, Place.of(session, history, options.dry_run))
    made = work.preview() if options.dry_run else work.write(options)
    if options.json:
        print_json(safe_json(made))
    else:
        print("\n".join(fit_lines(work.lines(made))))
    return 0


def chosen_changes(history: History, every: bool) -> tuple[Trial, ...]:
    """The certified changes; with ``every`` all that the champion has."""
    known = history.contributions
    removed = () if history.certification is None else history.certification.removed
    if every:
        return tuple(trial for trial in history.kept if trial.number not in removed)
    certified = {n for n, each in known.items() if each.standing is Standing.CERTIFIED}
    return tuple(trial for trial in history.kept if trial.number in certified)


def _no_change(name: str, history: History, every: bool) -> str:
    """Why there is no change to write, and what to type instead."""
    kept = plural(len(history.kept), "kept change")
    instead = f"to take what was kept all the same: ratchet finalize {name} --all"
    if not history.kept:
        return f"session {name!r} kept no change, so that there is none to write"
    if every:
        return f"session {name!r}: the certification took out all of its {kept}"
    if history.confirmation is None:
        return (
            f"session {name!r} has {kept}, and is not certified yet; let it finish: snakemake "
            f"--cores 1 --config session={name}; {instead}"
        )
    if not history.contributions:
        return f"session {name!r} has {kept} and no certification (certify: false); {instead}"
    return f"session {name!r}: none of {kept} is certified; {instead}"


class BranchPlan(Frozen, dict=True):
    """Which kept changes stand on which, so that each branch begins at the baseline."""

    stack: Stack
    chosen: Chain
    _known: dict[Chain, Texts | None] = field(default_factory=dict)
    _places: dict[int, tuple[Chain, Chain]] = field(default_factory=dict)

    @cached_property
    def trials(self) -> dict[int, Trial]:
        """All kept changes, by number, in order."""
        return {trial.number: trial for trial in self.stack.kept}

    @cached_property
    def start(self) -> Texts:
        """The baseline's files."""
        return self.stack.session.texts(self.stack.history.start.files)

    def texts(self, chain: Chain) -> Texts | None:
        """The baseline's files with these changes; ``None`` where one does not fit."""
        if not chain:
            return self.start
        if chain not in self._known:
            held = self.texts(chain[:-1])
            trial = self.trials[chain[-1]]
            self._known[chain] = None if held is None else self.stack.onto(held, trial)
        return self._known[chain]

    def files(self, chain: Chain) -> Texts:
        """The files of a chain whose changes fit."""
        found = self.texts(chain)
        assert found is not None
        return found

    def chain(self, number: int) -> Chain:
        """A change, with the earlier ones that it cannot be applied without before it."""
        return self._placed(number)[0]

    def conflicts(self, number: int) -> Chain:
        """Earlier changes of the same lines, which a change stands on for that reason."""
        return self._placed(number)[1]

    def _placed(self, number: int) -> tuple[Chain, Chain]:
        if number not in self._places:
            self._places[number] = self._place(number)
        return self._places[number]

    def _place(self, number: int) -> tuple[Chain, Chain]:
        if self.texts((number,)) is not None:
            return (number,), ()
        earlier = [n for n in self.trials if n < number]
        for other in sorted(earlier, key=lambda n: n not in self.chosen):
            chain = (*self.chain(other), number)
            if self.texts(chain) is not None:
                return chain, (other,)
        chain = self._smallest((*earlier, number), {number})
        return chain, chain[:-1]

    @cached_property
    def whole(self) -> Chain:
        """All chosen changes, with as few others as they fit with."""
        return self._smallest(tuple(self.trials), set(self.chosen))

    def _smallest(self, chain: Chain, needed: set[int]) -> Chain:
        """A chain without what can go, the last and the uncertified first."""
        for number in sorted(chain, key=lambda n: (n in self.chosen, -n)):
            if number in chain and number not in needed:
                less = self._fitting(n for n in chain if n != number)
                chain = less if needed <= set(less) else chain
        return chain

    def _fitting(self, numbers: Iterable[int]) -> Chain:
        """Those changes that fit, one on the other."""
        chain: Chain = ()
        for number in numbers:
            chain = (*chain, number) if self.texts((*chain, number)) is not None else chain
        return chain


class Place(Frozen, dict=True):
    """Where the branches are written: a repository, and the commit that they begin at.

    ``prefix`` is the task's folder in it.  ``other`` is the place of the commit while it
    is not in the repository yet.
    """

    repository: Repository
    base: str
    prefix: str = ""
    is_clone: bool = False
    other: Repository | None = None

    @classmethod
    def of(cls, session: Session, history: History, dry: bool) -> Place:
        """The clone that the task is from, or the session's own repository.

        A commit of a repository that was fetched is copied to the session's, unless ``dry``.
        """
        origin, own = session.manifest.origin, session.repo
        if origin is None:
            return cls(own, history.baseline.commit)
        found = origin_place(origin, session.task.clone, session.store.paths)
        there = Repository(found.git_folder)
        if not found.fetched:
            return cls(there, origin.commit, found.prefix, is_clone=True)
        if not own.has(origin.commit):
            if dry:
                return cls(own, origin.commit, found.prefix, other=there)
            own.take(found.git_folder, origin.commit)
        return cls(own, origin.commit, found.prefix)

    @cached_property
    def seconds(self) -> int:
        """Date of the commit that the branches begin at."""
        return (self.other or self.repository).seconds(self.base)

    def texts(self, names: Iterable[str]) -> Texts:
        """Files of the commit that the branches begin at."""
        read = (self.other or self.repository).content
        found = {name: read(self.base, f"{self.prefix}{name}") for name in names}
        return {n: (c or b"").decode("utf-8", errors="surrogateescape") for n, c in found.items()}


class Measured(Frozen):
    """One run of a branch's code; without a run, why there is none."""

    run: RunSummary | None = None
    reason: str = ""


class Branch(Frozen):
    """A branch with its changes and the run of its code; no commit before it is written."""

    name: str
    chain: Chain
    commit: str
    measured: Measured


class Finalizing:
    """Runs, commits, branches and patches of one session's changes."""

    def __init__(self, plan: BranchPlan, place: Place) -> None:
        self.plan, self.place = plan, place
        self.session, self.history = plan.stack.session, plan.stack.history
        self.prefix = f"ratchet/{self.session.config.session}-final"
        self.metric = self.session.task.metric
        self._commits: dict[Chain, str] = {}

    @cached_property
    def _executor(self) -> Executor:
        """Makes the runs; they are in a journal of their own, as the session's is closed."""
        journal = Journal(self.session.paths.final_events)
        return Executor(replace(self.session, journal=journal))

    def title(self, number: int) -> str:
        """A change's description, on one line."""
        text = one_line_label(self.plan.trials[number].description)
        return shorten(text or f"experiment {number}", TITLE)

    def name(self, number: int) -> str:
        """Name of a change's branch."""
        position = self.plan.chosen.index(number) + 1
        return f"{self.prefix}/{position:02d}-{slug(self.title(number))}"

    def label(self, number: int) -> str:
        """A change in a sentence: its place among the branches, or that it has none."""
        if number in self.plan.chosen:
            return f"{self.plan.chosen.index(number) + 1:02d} '{self.title(number)}'"
        return f"experiment {number} '{self.title(number)}' (not certified)"

    @property
    def champion(self) -> Incumbent:
        """The champion, without what the certification took out."""
        certified = self.history.certification
        return self.history.state.incumbent if certified is None else certified.champion

    def is_champion(self) -> bool:
        """Whether all changes together are the champion."""
        return _digests(self.plan.files(self.plan.whole)) == dict(self.champion.files)

    def notes(self) -> list[str]:
        """What is not as one expects: conflicts, and changes that are not among these."""
        plan = self.plan
        found = []
        for number in plan.chosen:
            others = [self.label(n) for n in plan.conflicts(number)]
            if others:
                found.append(
                    f"{self.label(number)} touches the same lines as {' and '.join(others)}; its "
                    f"branch stands on top of {'that one' if len(others) == 1 else 'those'}"
                )
        extra = [self.label(n) for n in plan.whole if n not in plan.chosen]
        if extra:
            found.append(f"{self.prefix}/{ALL} also has {' and '.join(extra)}, which others need")
        if not self.is_champion():
            removed = (
                () if self.history.certification is None else self.history.certification.removed
            )
            left = [n for n in plan.trials if n not in removed and n not in plan.whole]
            found += [f"the champion also has {self.label(n)}" for n in left]
            found += [] if left or extra else ["all together are not quite the champion's code"]
        if plan.start != self.place.texts(plan.start):
            found.append(f"the first commit is {self._start_title()}, which is not upstream's code")
        return found

    def _start_title(self) -> str:
        return f"the code that session {self.session.config.session} starts from"

    # What would be done.

    def preview(self) -> dict[str, Any]:
        """The branches as they would be, as JSON values; nothing is written."""
        found = []
        for name, chain in self._wanted():
            stored = self._executor.is_stored(_digests(self.plan.files(chain)), Role.SEARCH, 0)
            word = "in the store" if stored else "to be made"
            found.append(Branch(name, chain, "", Measured(reason=word)))
        return self._facts(found, None)

    def _wanted(self) -> list[tuple[str, Chain]]:
        """Names and changes of all branches, the one with all changes last."""
        each = [(self.name(n), self.plan.chain(n)) for n in self.plan.chosen]
        return [*each, (f"{self.prefix}/{ALL}", self.plan.whole)]

    # What is done.

    def write(self, options: argparse.Namespace) -> dict[str, Any]:
        """Make the runs, write commits, patches and branches; the branches as JSON values."""
        folder = options.patches or self.session.paths.patches
        before = self.place.repository.tips(self.prefix)
        self._check_prefix(before)
        self._check_patches(folder, options.force)
        wanted = self._wanted()
        measured = {chain: self._measure(name, chain, options.no_runs) for name, chain in wanted}
        series = self._series(measured)
        made = [
            Branch(name, chain, self._tip(chain, measured, series), measured[chain])
            for name, chain in wanted
        ]
        self._move(made, before, options.force)
        self._write_patches(folder, series)
        for name in sorted(set(before) - {branch.name for branch in made}):
            tell(NAME, f"{name} is from another time and is left as it is")
        return self._facts(made, folder)

    def _measure(self, name: str, chain: Chain, no_runs: bool) -> Measured:
        """The run of a branch's code, from the store or made now, unless it may not be run."""
        if no_runs:
            return Measured(reason="not run (--no-runs)")
        files = self.session.put(self.plan.files(chain))
        refused = edit_faults(self.session, files).refused
        if refused:
            return Measured(reason=f"not run, as it is refused: {one_line_label(refused)}")
        number, title = chain[-1], self.title(chain[-1])
        guard = self._executor.guard(files, number, title)
        if guard is not None and guard.outcome is not Outcome.OK:
            return Measured(reason=f"not run, as its guard fails: {one_line_label(guard.reason)}")
        if not self._executor.is_stored(files, Role.SEARCH, 0):
            tell(NAME, f"run of {name}")
        return Measured(self._executor.run(files, Role.SEARCH, 0, number, title))

    def _series(self, measured: Mapping[Chain, Measured]) -> list[tuple[str, str]]:
        """Titles and commits from the baseline to the last branch, in order."""
        whole, place = self.plan.whole, self.place
        chains = [whole[:length] for length in range(1, len(whole))]
        series = [(self.title(chain[-1]), self._commit(chain, measured)) for chain in chains]
        below, first = self._commit(whole[:-1], measured), self._commit((), measured)
        if first != place.base:
            series = [(self._start_title(), first), *series]
        if whole == self.plan.chain(whole[-1]):
            tip = self._commit(whole, measured)
        else:
            message = self._message(whole[-1], measured) + self._together(measured[whole])
            tip = self._written(whole, below, message)
        return [*series, (self.title(whole[-1]), tip)]

    def _tip(
        self, chain: Chain, measured: Mapping[Chain, Measured], series: Sequence[tuple[str, str]]
    ) -> str:
        """Commit of a branch; the last of the series is that of all changes."""
        return series[-1][1] if chain == self.plan.whole else self._commit(chain, measured)

    def _commit(self, chain: Chain, measured: Mapping[Chain, Measured]) -> str:
        """Commit of the baseline with these changes; one on the other, each one a commit."""
        if chain not in self._commits:
            if chain:
                below = self._commit(chain[:-1], measured)
                made = self._written(chain, below, self._message(chain[-1], measured))
            else:
                made = self._start()
            self._commits[chain] = made
        return self._commits[chain]

    def _start(self) -> str:
        """The commit below all changes: a preset or an earlier session may have changed files."""
        place, texts = self.place, self.plan.start
        there = place.texts(texts)
        if texts == there:
            return place.base
        manifest, words = self.session.manifest, []
        if manifest.preset is not None:
            words.append(f"Preset: {one_line_label(manifest.preset.name)}")
        if manifest.start is not None:
            words.append(f"Champion of: {manifest.start.session}#{manifest.start.number}")
        title = self._start_title()
        message = "\n".join([title[:1].upper() + title[1:], "", *words, ""])
        return place.repository.commit_onto(
            place.base, self._changed(there, texts), message, place.seconds
        )

    def _written(self, chain: Chain, below: str, message: str) -> str:
        old, new = self.plan.files(chain[:-1]), self.plan.files(chain)
        moment = self.place.seconds + chain[-1]
        return self.place.repository.commit_onto(below, self._changed(old, new), message, moment)

    def _changed(self, old: Texts, new: Texts) -> dict[str, bytes]:
        return {
            f"{self.place.prefix}{name}": _data(text)
            for name, text in new.items()
            if text != old[name]
        }

    # Messages.

    def _message(self, number: int, measured: Mapping[Chain, Measured]) -> str:
        """Message of the commit of one change, whichever branch it is on."""
        trial = self.plan.trials[number]
        hypothesis = one_line_label(trial.proposal.hypothesis, LONGEST)
        parts = [f"Hypothesis: {hypothesis}"] if hypothesis else []
        parts.append(self._contribution(trial))
        trailers = [f"Experiment: {self.session.config.session}#{number}"]
        if number in self.plan.chosen:
            chain = self.plan.chain(number)
            others = [self.label(n) for n in chain[:-1]]
            where = f", on top of {' and '.join(others)}" if others else ""
            parts.append(self._value(f"Branch {self.name(number)}{where}", measured[chain]))
            trailers += _trailers(self.metric.name, measured[chain], self.plan.files(chain))
        lines = [self.title(number), ""]
        for part in parts:
            lines += [*wrap_text(part, TITLE, rest="  "), ""]
        return "\n".join([*lines, *trailers, ""])

    def _contribution(self, trial: Trial) -> str:
        """What a change adds by fresh runs, or else by the search."""
        better = (
            f"{one_line_label(self.metric.name, 60)} ({self.metric.direction.better} is better)"
        )
        known = self.history.contributions.get(trial.number)
        if known is None:
            gain = "unknown" if trial.gain is None else f"{trial.gain:.4g}"
            return f"Expected gain by the search, not certified: {gain} of {better}."
        return (
            f"Contribution by fresh runs: {known.gain:.4g} of {better}, {100 * INTERVAL:g} % "
            f"interval {known.low:.4g} to {known.high:.4g}; {known.standing.value}."
        )

    def _value(self, where: str, measured: Measured) -> str:
        """Value of a branch's code beside the baseline's."""
        run = measured.run
        if run is None:
            return f"{where}: {measured.reason}."
        name = one_line_label(self.metric.name, 60)
        start = self.history.start
        of = f"mean of {plural(len(start.values), 'run')}"
        value = f"{name} {run.value:.6g} in one run" if run.value is not None else _failure(run)
        slow = ", on a busy machine" if run.slowed else ""
        return f"{where}: {value}{slow}; the baseline has {start.mean:.6g}, the {of}."

    def _together(self, measured: Measured) -> str:
        """Lines on all changes together, for the end of the last commit's message."""
        count = plural(len(self.plan.whole), "change")
        text = self._value(f"Branch {self.prefix}/{ALL}, {count} together", measured)
        lines = wrap_text(text, TITLE, rest="  ")
        found = self.history.confirmation
        if found is not None and self.is_champion():
            said = one_line(gain_sentence(confirmed_gain(found), "{:.4g}".format))
            lines += ["", *wrap_text(f"It is the session's champion, {said}.", TITLE, rest="  ")]
        files = self.plan.files(self.plan.whole)
        trailers = _trailers(self.metric.name, measured, files)
        return "\n".join(["", *lines, "", *trailers, ""])

    # Branches and patches.

    def _check_prefix(self, before: Mapping[str, BranchTip]) -> None:
        if self.prefix in before:
            raise OutputError(
                f"{self.place.repository.folder}: expected no branch {self.prefix}, under whose "
                "name the final ones are, found one; rename it: git branch -m"
            )

    def _move(self, made: Sequence[Branch], before: Mapping[str, BranchTip], force: bool) -> None:
        """Set the branches, all or none; somebody else's only with ``force``."""
        repository = self.place.repository
        moves = {}
        for branch in made:
            old = before.get(branch.name)
            if old is not None and old.commit == branch.commit:
                continue
            if old is not None:
                self._may_replace(branch, old, force)
            moves[branch.name] = (branch.commit, "" if old is None else old.commit)
        if moves:
            repository.set_branches(moves)

    def _may_replace(self, branch: Branch, old: BranchTip, force: bool) -> None:
        folder = self.place.repository.folder
        if old.checkout:
            raise OutputError(
                f"{folder}: branch {branch.name} is checked out in {old.checkout} and would "
                "change; switch to another branch there, then type this again"
            )
        same = old.committer == IDENTITY and old.tree == self.place.repository.tree(branch.commit)
        if not (same or force):
            raise OutputError(
                f"{folder}: branch {branch.name} has other content (commit {old.commit[:12]}); "
                "rename it (git branch -m), or replace it with --force"
            )
        if not same:
            tell(NAME, f"{branch.name} was at {old.commit}")

    def _check_patches(self, folder: Path, force: bool) -> None:
        """Refuse a folder with files that look like patches and are not ours."""
        if folder.exists() and not folder.is_dir():
            raise OutputError(f"{folder}: expected a folder for patches, found a file")
        foreign = [path for path in sorted(folder.glob("[0-9]*.patch")) if not _is_ours(path)]
        if foreign and not force:
            raise OutputError(
                f"{foreign[0]}: is a patch of somebody else's, which `git am` would take too; "
                "name another folder with --patches, or remove it with --force"
            )

    def _write_patches(self, folder: Path, series: Sequence[tuple[str, str]]) -> None:
        """The series of the last branch as files; those of an earlier time go."""
        objects = self.place.repository.folder if self.place.is_clone else None
        wanted = {
            folder / f"{place:04d}-{slug(title)}.patch": self.session.repo.patch(commit, objects)
            for place, (title, commit) in enumerate(series, 1)
        }
        for path in sorted(folder.glob("[0-9]*.patch")):
            if path not in wanted:
                path.unlink()
        for path, data in wanted.items():
            if not path.is_file() or path.read_bytes() != data:
                write_bytes(path, data)

    # Answers.

    def _facts(self, made: Sequence[Branch], folder: Path | None) -> dict[str, Any]:
        """The branches as JSON values."""
        return {
            "session": self.session.config.session,
            "repository": str(self.place.repository.folder),
            "base": self.place.base,
            "baseline": self.history.start.mean,
            "metric": self.metric.name,
            "champion": self.is_champion(),
            "notes": self.notes(),
            "branches": [self._branch_facts(branch) for branch in made],
            "patches": None if folder is None else str(folder),
            "written": folder is not None,
        }

    def _branch_facts(self, branch: Branch) -> dict[str, Any]:
        run = branch.measured.run
        number = None if branch.name == f"{self.prefix}/{ALL}" else branch.chain[-1]
        known = self.history.contributions.get(number) if number is not None else None
        return {
            "name": branch.name,
            "experiment": number,
            "description": None if number is None else self.title(number),
            "commit": branch.commit or None,
            "changes": list(branch.chain),
            "conflicts": [] if number is None else list(self.plan.conflicts(number)),
            "contribution": to_json_values(known),
            "value": None if run is None else run.value,
            "run": None if run is None else run.key,
            "outcome": None if run is None else run.outcome.value,
            "reason": branch.measured.reason if run is None else run.reason,
        }

    def lines(self, facts: Mapping[str, Any]) -> Iterator[str]:
        """The answer for people."""
        will = "would be written" if not facts["written"] else "written"
        count = plural(len(self.plan.chosen), "change")
        base = f"commit {self.place.base[:12]}"
        yield f"{count} of session {self.session.config.session} {will} as branches on {base}"
        for branch in facts["branches"]:
            yield f"  {branch['name']}: {self._result(branch)}"
        yield from facts["notes"]
        folder = self.place.repository.folder
        if facts["written"]:
            yield f"look at them: git -C {quote(str(folder.resolve()))} log {self.prefix}/{ALL}"
            patches = quote(str(Path(facts["patches"]).resolve()))
            yield f"in a checkout of that commit: git am {patches}/*.patch"
        else:
            yield f"repository: {folder}"

    def _result(self, branch: Mapping[str, Any]) -> str:
        if branch["outcome"] is None:
            words = branch["reason"]
            said = f"run {words}" if not branch["commit"] else words
        elif branch["value"] is None:
            said = f"its run failed, {branch['outcome']}"
        else:
            name = one_line_label(self.metric.name, 60)
            said = f"{name} {branch['value']:.6g}, baseline {self.history.start.mean:.6g}"
        known = branch["contribution"]
        if known is not None:
            said += f"; contributes {known['gain']:.3g} ({known['low']:.3g} to {known['high']:.3g})"
        return said


def slug(text: str) -> str:
    """A description as part of a file's or branch's name: small letters, digits and hyphens."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    return words[:NAME_LENGTH].rstrip("-") or "change"


def _failure(run: RunSummary) -> str:
    return f"its run failed, {run.outcome.value}"


def _trailers(metric: str, measured: Measured, texts: Texts) -> list[str]:
    """Lines for tools: exact value, key of the run, digest of the code."""
    lines = []
    if measured.run is not None:
        run = measured.run
        value = run.outcome.value if run.value is None else repr(run.value)
        lines = [f"Value: {one_line_label(metric, 60)} {value}", f"Run: {run.key}"]
    return [*lines, f"Source: {source_digest(_digests(texts))}"]


def _data(text: str) -> bytes:
    return text.encode("utf-8", errors="surrogateescape")


def _digests(texts: Texts) -> dict[str, str]:
    """Digests of files by name, as the store has them."""
    return {name: digest_bytes(_data(text)) for name, text in texts.items()}


def _is_ours(path: Path) -> bool:
    with path.open("rb") as stream:
        return f"\nFrom: {IDENTITY}\n".encode() in stream.read(1000)


main = make_command(NAME, _parse, _run)
