"""ratchet try: take your own edit through experiment, judge and steer.

    ratchet try -m "wider layers learn faster"
    ratchet try -m "label smoothing" --category regularization --json
    ratchet try --again
    ratchet try --restore

What is tried are the task's mutable files as they lie in its folder.  The
verdict stands on standard output, progress on standard error.  --again runs the
last edit once more and judges it by all its runs.  After a discard --restore
puts the incumbent's files back.  In a finished session an edit opens a new one,
which starts from the champion.

Exit codes: 0 keep; 1 discard or crash; 2 undecided (better, but not surely
enough); 64 usage or nothing to try, 66 no session, 75 busy or stopped early.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ratchet.base.errors import InputMissingError, RatchetError, UsageError
from ratchet.base.io import read_json, read_record, source_digest, write_bytes, write_json
from ratchet.base.structs import Frozen, replace, to_json_values
from ratchet.base.terminal import fit_lines
from ratchet.base.text import one_line, plural
from ratchet.cli.main import CommandParser, make_command, print_json, tell
from ratchet.cli.sessions import (
    WorkflowError,
    add_options,
    harness_folder,
    parse_overrides,
    snakemake,
)
from ratchet.config import workflow_command
from ratchet.integrity.edit_checks import edit_faults
from ratchet.integrity.seal import begin_workflow
from ratchet.judge.settings import Mode
from ratchet.monitor.progress import Phase, fold_events
from ratchet.records.confirmed import NOT_CARRIED
from ratchet.records.events import Journal, read_events
from ratchet.records.history import History, Trial, name_of
from ratchet.records.paths import SessionPaths
from ratchet.records.proposals import Proposals
from ratchet.records.records import (
    CATEGORIES,
    Incumbent,
    RoundVerdict,
    Ruling,
    Start,
    SuggestionKind,
    Verdict,
    chance_name,
)
from ratchet.session import Session
from ratchet.steering.categories import classify_change
from ratchet.steps.plan import make_plan
from ratchet.steps.propose import Offer, read_offer, write_offer
from ratchet.task.repository import named_task
from ratchet.task.sources import MOST_BYTES, text_fault

NAME = "ratchet try"
EXIT_DISCARD = 1
EXIT_UNDECIDED = 2
SHOWN = 3
"""Suggestions that are named after a verdict."""


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(NAME, __doc__)
    add = parser.add_argument
    add("-m", "--message", default="", help="what was changed and why; one line describes it")
    add("--category", help="what it is about (default: found from the edit, then from the words)")
    add_options(parser, named=True)
    add("--again", action="store_true", help="measure the edit that was tried last once more")
    add("--restore", action="store_true", help="put the incumbent's files back and try nothing")
    add("--force", action="store_true", help="with --restore: also over an edit never tried")
    add("--json", action="store_true", help="the verdict as one JSON object")
    return parser.parse_args(argv)


def _run(options: argparse.Namespace) -> int:
    place = TrialPlace.open(options.root, options.config)
    if options.again and (options.restore or options.message):
        raise UsageError("--again goes without --restore and --message: it tries no other files")
    if options.restore:
        return place.restore(options.force)
    if options.again:
        return place.again(options.json)
    if not options.message.strip():
        raise UsageError(
            'expected what you changed and why, found nothing; try: ratchet try -m "..."'
        )
    return place.unfinished().try_(options)


def text_of(trial: Trial, history: History, metric: str) -> list[str]:
    """Ruling with its reason, the incumbent, and what to try next."""
    proposal, ruling, state = trial.proposal, trial.ruling, history.state
    assert ruling is not None
    lines = [_headline(ruling, metric), f"  {one_line(ruling.reason)}"]
    about = f"  experiment {ruling.number}, {one_line(proposal.category)}"
    about += f", +{proposal.lines_added} -{proposal.lines_removed} lines"
    if ruling.changes is not None:
        about += f", {plural(ruling.changes, 'change')}"
    lines.append(f"{about}, commit {proposal.commit[:10]}")
    if (ruling.changes or 0) > 1:
        lines.append("  several changes at once: the effect cannot be attributed to one of them")
    lines += [f"  noticed: {one_line(note)}" for note in ruling.notes]
    held = state.incumbent
    noise_sd = history.noise_sd
    noise = "" if noise_sd is None else f" ± {held.sd:.2g}; noise floor {noise_sd:.2g}"
    measured = f"{metric} {held.measured:.6g}, estimated {held.mean:.6g}{noise}"
    lines.append(f"incumbent: {name_of(held.number)}, {measured}")
    todo = [s for s in state.suggestions if s.kind is not SuggestionKind.RETEST][:SHOWN]
    lines += [f"next: [{one_line(s.category)}] {one_line(s.title)}" for s in todo]
    if not trial.kept:
        lines.append("to go back to the incumbent's files: ratchet try --restore")
    return lines


def _measured_again(trial: Trial, before: Trial, metric: str) -> str:
    fresh = [run for run in trial.runs if run not in before.runs]
    values = ", ".join("none" if run.value is None else f"{run.value:.6g}" for run in fresh)
    assert before.ruling is not None
    return (
        f"experiment {trial.number} once more: {metric} {values}. "
        f"Before: {_headline(before.ruling, metric)}"
    )


def _headline(ruling: Ruling, metric: str) -> str:
    if ruling.mean is None:
        return str(ruling.verdict)
    p = ruling.confidence
    sure = "" if p is None else f", {chance_name(ruling.price)} {p:.3f}"
    return (
        f"{ruling.verdict}: {metric} {ruling.mean:.6g} over {plural(len(ruling.runs), 'run')}, "
        f"{ruling.delta:+.3g} against the incumbent{sure}"
    )


def json_of(trial: Trial, history: History) -> dict[str, Any]:
    """Ruling, proposal, incumbent and suggestions, for tools."""
    state = history.state
    return {
        "kept": trial.kept,
        "ruling": to_json_values(trial.ruling),
        "proposal": to_json_values(trial.proposal),
        "incumbent": to_json_values(state.incumbent),
        "noise_sd": history.noise_sd,
        "suggestions": to_json_values(state.suggestions),
        "avoid": list(state.avoid),
    }


def _folder(session: Session, root: Path, harness: Path) -> Path:
    """Folder of a person's edits: the task's folder, or a clone."""
    wanted, origin = session.manifest.frozen["task"], session.manifest.origin
    told = named_task(wanted, root, harness)
    if origin is None:
        return told.folder
    clone = told.clone(session.manifest.values)
    if clone is None or not clone.is_dir():
        raise InputMissingError(
            f"{origin.repo}: edits by hand are made in a clone on this machine, and there is none; "
            "clone it, and start a session with the clone's folder as `repo`"
        )
    return clone


class TrialPlace(Frozen):
    """A session and the folder whose files are being edited."""

    session: Session
    root: Path
    folder: Path
    harness: Path
    given: Mapping[str, Any]

    @classmethod
    def open(cls, root: Path, given: Sequence[str]) -> TrialPlace:
        """Check configuration and session as the workflow does, and change nothing.

        A finished session stands for the one that goes on from its champion, if there is one.
        """
        harness, values = harness_folder(root), parse_overrides(given)
        place = cls._of(root, harness, values)
        while place.finished and place._later[0].baseline.exists():
            before, values = place.paths.session, place._later[1]
            place = cls._of(root, harness, values)
            found = f"session {before!r} is finished; {place.paths.session!r} goes on from it"
            tell(NAME, found)
        return place

    @classmethod
    def _of(cls, root: Path, harness: Path, values: Mapping[str, Any]) -> TrialPlace:
        plan = make_plan(values, root, harness, owner=False)
        if not plan.paths.baseline.exists():
            raise InputMissingError(
                f"session {plan.config.session!r}: no baseline yet ({plan.paths.baseline}); with "
                "the unchanged files in place, run: "
                + workflow_command(plan.paths, values, "baseline", harness)
            )
        session = Session.open(plan.config, root, harness, Journal(plan.paths.events))
        return cls(session, root, _folder(session, root, harness), harness, values)

    @property
    def paths(self) -> SessionPaths:
        return self.session.paths

    @property
    def finished(self) -> bool:
        """Whether the champion was confirmed and no round was played since."""
        phase = fold_events(read_events(self.paths.events)).phase
        return phase in (Phase.TRANSFERRING, Phase.REPORTING, Phase.REPORTED)

    @property
    def _later(self) -> tuple[SessionPaths, dict[str, Any]]:
        """The session that goes on from this one's champion, there or not yet; its settings.

        It has another seed: the champion's runs here were selected, those there are not.
        """
        config, name, last = self.session.config, self.paths.session, 1
        if self.session.manifest.start is not None:
            name, _, digits = name.rpartition("-")
            last = int(digits)
        for number in itertools.count(last + 1):
            paths = SessionPaths(f"{name}-{number}", self.root)
            known = read_record(Start, paths.start).session if paths.start.exists() else None
            if known == config.session or not paths.folder.exists():
                return paths, {**self.given, "session": paths.session, "seed": config.seed + 1}
        raise AssertionError("there is always a number more")

    def unfinished(self) -> TrialPlace:
        """This place, or that of a new session which starts from a finished one's champion."""
        if not self.finished:
            return self
        history = History.read(self.paths)
        # Without what the certification took out.
        certified = history.certification
        champion = history.state.incumbent if certified is None else certified.champion
        edited = self._edited()
        self._check_changed(edited, champion)
        self._check_readable(edited)
        # Its files become a baseline, whose faults are nobody's.
        inspected = edit_faults(self.session, champion.files)
        if inspected.refused:
            raise UsageError(
                f"session {self.paths.session!r} is finished, and no other can start from its "
                f"champion, {name_of(champion.number)}: {inspected.refused}"
            )
        paths, values = self._later
        tell(
            NAME,
            f"session {self.paths.session!r} is finished; the edit goes to a new one, "
            f"{paths.session!r}, which starts from its champion, {name_of(champion.number)}. "
            f"Snakemake knows it by --config session={paths.session} seed={values['seed']}",
        )
        found = history.confirmation
        if found is not None and found.carries_over is False:
            tell(NAME, f"that champion is {NOT_CARRIED}; read its code")
        write_json(paths.start, Start(self.paths.session, champion.number, champion.files))
        self._run_baseline(paths, values)
        return self._of(self.root, self.harness, values)

    def again(self, as_json: bool) -> int:
        """Have the edit that was tried last run once more, and judged by all its runs."""
        name = self.paths.session
        if self.finished:
            raise UsageError(
                f"session {name!r} is finished, and a further run would make its report stale; "
                f"with the edit in place, ratchet try -m WHY opens session "
                f"{self._later[0].session!r}"
            )
        if self.session.config.mode == Mode.GUARANTEED:
            raise UsageError(
                "--again: in mode guaranteed the judge alone asks for runs, as its bound holds "
                "for no others"
            )
        number, begun = self._next_round()
        if begun is None:
            number -= 1
        else:
            self._run_round(number)
        offer = read_offer(self.paths, number)
        if offer is None:
            last = f"round {number} of session {name!r}" if number else f"session {name!r}"
            raise UsageError(
                f"--again: expected an edit that was tried by hand last, found none in {last}; "
                'edit, then: ratchet try -m "..."'
            )
        before = History.read(self.paths, number).judged[-1]
        if before.failed:
            raise UsageError(
                f"experiment {before.number} gave no metric ({before.word}), so that there is "
                "nothing to measure once more"
            )
        begin_workflow(self.paths, [self.paths.offer(number)])
        write_offer(self.paths, number, replace(offer, runs=len(before.runs) + 1))
        self._run_round(number)
        # The verdict may have become another one.
        self.session.repo.settle(self.session.state(number).incumbent.commit)
        return self._tell(number, as_json, before)

    def try_(self, options: argparse.Namespace) -> int:
        """Put the edit forward for the next round and have that round run."""
        number, again = self._next_round()
        edited = self._edited()
        if again is None:
            self._check_new(number, edited)
            write_offer(self.paths, number, self._offer(options, number, edited))
        elif dict(again.files) != edited:
            other = f"round {number} was begun with another edit ({again.description})"
            tell(NAME, f"{other}; it is finished first")
            self._run_round(number)
            return self.try_(options)
        self._run_round(number)
        return self._tell(number, options.json)

    def _next_round(self) -> tuple[int, Offer | None]:
        """The first round that was not run, and what was put forward for it before.

        One that the workflow left half done is finished on the way.
        """
        number = _rounds_run(self.paths) + 1
        again = read_offer(self.paths, number)
        if again is None and _was_begun(self.paths, number):
            tell(NAME, f"round {number} is finished first")
            self._run_round(number)
            return self._next_round()
        return number, again

    def _edited(self) -> dict[str, str]:
        """The mutable files as they lie in the folder, in the store."""
        digests = {}
        for name in self.session.task.mutable:
            path = self.folder / name
            try:
                size = path.stat().st_size
                if size > MOST_BYTES:
                    raise UsageError(f"{path}: expected at most {MOST_BYTES} bytes, found {size}")
                digests[name] = self.session.store.put(path.read_bytes())
            except OSError as error:
                raise InputMissingError(f"{path}: cannot be read: {error.strerror}") from None
        return digests

    def _check_readable(self, edited: Mapping[str, str]) -> None:
        """Refuse files that cannot be read as they are run, before they cost a round."""
        session = self.session
        before = session.texts(session.baseline_files)
        for name, text in session.texts(edited).items():
            wrong = text_fault(name, text, before[name])
            if wrong is not None:
                raise UsageError(one_line(f"{self.folder / name} {wrong}"))

    def _check_new(self, number: int, edited: Mapping[str, str]) -> None:
        self._check_readable(edited)
        names = ", ".join(self.session.task.mutable)
        source = source_digest(edited)
        self._check_changed(edited, self.session.state(number - 1).incumbent)
        for trial in History.read(self.paths, number - 1).judged:
            if trial.proposal.source == source:
                raise UsageError(
                    f"{self.folder}: {names} is what experiment {trial.number} was "
                    f"({trial.word}); change something, or, if it was the last one, measure it "
                    "once more: ratchet try --again"
                )

    def _check_changed(self, edited: Mapping[str, str], incumbent: Incumbent) -> None:
        if source_digest(edited) == incumbent.source:
            names = ", ".join(self.session.task.mutable)
            raise UsageError(
                f"{self.folder}: {names} is what the incumbent has already; edit it, then try"
            )

    def _offer(self, options: argparse.Namespace, number: int, edited: Mapping[str, str]) -> Offer:
        message = one_line(options.message.encode("utf-8", errors="replace").decode())
        old = self.session.texts(self.session.state(number - 1).incumbent.files)
        own = {c.name: c.category for c in self.session.task.search_space}
        category = options.category or classify_change(
            message, old, self.session.texts(edited), own
        )
        known = dict.fromkeys((*self.session.categories, *CATEGORIES))
        if category not in known:
            raise UsageError(
                f"--category: expected one of {', '.join(known)}, found {one_line(category)!r:.40}"
            )
        return Offer(edited, category, message[:200], message)

    def _run_round(self, number: int) -> None:
        """Have Snakemake run one round to its end, with its progress on standard error."""
        self._workflow(self.paths.round(number).steer, self.given, f"round {number}")

    def _run_baseline(self, paths: SessionPaths, values: Mapping[str, Any]) -> None:
        self._workflow(paths.baseline, values, f"the baseline of session {paths.session!r}")

    def _workflow(self, target: Path, values: Mapping[str, Any], what: str) -> None:
        code = snakemake(self.root, self.harness, values, [str(target.relative_to(self.root))])
        if code:
            raise WorkflowError(f"{what} did not finish", code)

    def _tell(self, number: int, as_json: bool, before: Trial | None = None) -> int:
        """Print the verdict; of an edit that was measured once more, also the one before."""
        history = History.read(self.paths, number)
        proposals, verdict = history.proposals[-1], history.verdicts[-1]
        if not verdict.rulings:
            raise RatchetError(f"round {number} was not run: {verdict.detail or proposals.detail}")
        trial = history.judged[-1]
        if as_json:
            earlier = {} if before is None else {"before": to_json_values(before.ruling)}
            print_json({**json_of(trial, history), **earlier})
        else:
            metric = self.session.task.metric.name
            lines = text_of(trial, history, metric)
            if before is not None:
                lines.insert(0, _measured_again(trial, before, metric))
            print("\n".join(fit_lines(lines)))
        undecided = trial.verdict in (Verdict.MARGINAL, Verdict.RETEST)
        return 0 if trial.kept else EXIT_UNDECIDED if undecided else EXIT_DISCARD

    def restore(self, force: bool) -> int:
        """Put the incumbent's files into the folder."""
        history = History.read(self.paths, _rounds_run(self.paths))
        incumbent, names = history.state.incumbent, ", ".join(self.session.task.mutable)
        known = {trial.proposal.source for trial in history.trials} | {incumbent.source}
        known.add(source_digest(self.session.baseline_files))
        if source_digest(self._edited()) not in known and not force:
            raise UsageError(
                f"{self.folder}: {names} holds an edit that was never tried; try it "
                "first, save it elsewhere, or add --force"
            )
        for name, sha in incumbent.files.items():
            write_bytes(self.folder / name, self.session.store.get(sha))
        tell(NAME, f"{names} restored to {name_of(incumbent.number)}")
        return 0


def _rounds_run(paths: SessionPaths) -> int:
    """Number of rounds that were run."""
    return next(n for n in itertools.count() if not _was_run(paths, n + 1))


def _was_run(paths: SessionPaths, number: int) -> bool:
    """Whether something was judged in a round, or its proposals failed."""
    here = paths.round(number)
    if not (here.verdict.exists() and here.steer.exists() and here.proposals.exists()):
        return False
    verdict = read_record(RoundVerdict, here.verdict)
    proposals = read_record(Proposals, here.proposals)
    if verdict.round != number or proposals.round != number:
        return False  # copies of the round that ended the session
    return bool(verdict.rulings) or (verdict.stop is None and proposals.stop is None)


def _was_begun(paths: SessionPaths, number: int) -> bool:
    """Whether a run of this round's own proposals was executed."""
    here = paths.round(number)
    records = [read_json(path) for path in sorted(here.folder.glob("experiment-*.json"))]
    return any(one.get("runs") or one.get("refused") for one in records)


main = make_command(NAME, _parse, _run)
