"""Makes the runs of a session, for the steps that train.

Each run is found in the store by its key, or executed now and kept there.
"""

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from ratchet.base.errors import NEW_SESSION, DataError
from ratchet.base.io import Fingerprint, read_record, source_digest
from ratchet.base.structs import from_json_values, replace
from ratchet.base.text import clean_lines, iso_time, median
from ratchet.records.events import Event, own_runs, read_events, replayed_runs
from ratchet.records.ownership import Owner
from ratchet.records.records import (
    Baseline,
    Outcome,
    Pace,
    Role,
    RunSummary,
    evaluation_draws,
    run_seed,
)
from ratchet.records.series import parse_curve
from ratchet.records.store import LOG, RunRecord
from ratchet.runs.compile_cache import CompileCaches
from ratchet.runs.curve import divergence, run_curve
from ratchet.runs.devices import Claim
from ratchet.runs.hardware import check_hardware
from ratchet.runs.probe import STEPS, slowing
from ratchet.runs.run import compiled_cache, execute_run, leased
from ratchet.runs.spec import RunSpec
from ratchet.session import Session
from ratchet.task.environment import (
    CacheMount,
    cache_mount,
    check_caches,
    locked_versions,
    task_interpreter,
)
from ratchet.task.packages import PLACE, installed_packages
from ratchet.task.task import GB, Task

REPEATS = 2
"""So often a run is made again that a shared GPU or a busy machine spoilt."""

_Made = tuple[str, RunRecord, bool, bool]
"""Key and record of an attempt, whether it was executed now, and whether another must be made."""

WARM_UP = "warm-up"
"""Folder of a warm-up, below that of the run it is made for."""

SAID_LINES = 20
"""Last lines of a failed guard that are shown, where nothing keeps its log."""


class Executor:
    """Runs of one session's task, under its settings and on its kind of hardware.

    How long an evaluation usually takes is what the runs ``usual`` took, by default the
    session's baseline.
    """

    def __init__(
        self,
        session: Session,
        usual: Sequence[RunSummary] | None = None,
        check: Callable[[RunRecord, str], None] | None = None,
    ) -> None:
        """``check`` gets record and log of each run that is made now, before the store.

        What it raises is raised, and the run is kept nowhere.
        """
        self.session = session
        self._usual = usual
        self._check = check

    def run(
        self,
        sources: Mapping[str, str],
        role: Role,
        replicate: int,
        number: int = 0,
        description: str = "baseline",
        audit: bool = False,
        occasion: str = "",
        as_it_is: bool = False,
    ) -> RunSummary:
        """One run of a source, from the store or executed now.

        ``number`` and ``description`` are the experiment's, for the journal.
        With ``audit`` the locked data are read too, and the journal says so.  One that
        was made for another ``occasion`` does not count.
        A run that shared its GPU, or that a busy machine slowed, is compared with nothing;
        it is made again with the same seed.  If that does not help, the last one counts.
        With ``as_it_is`` the run is wanted at the machine's pace, busy or not.
        One that failed in another session, or before runs were forced, is made again where
        the machine may be to blame.
        """
        spec = replace(self.spec(sources, role, replicate, audit), occasion=occasion)
        about = {
            "number": number,
            "description": description,
            "role": role,
            "replicate": replicate,
            "seed": spec.seed,
        }

        def make(attempt: RunSpec) -> _Made:
            return self._find_or_execute(attempt, about, as_it_is)

        key, record, set_aside = self._settled(spec, make, about)
        return self._summary(key, spec, record, set_aside)

    def guard(
        self,
        sources: Mapping[str, str],
        number: int = 0,
        description: str = "baseline",
        required: bool = False,
    ) -> RunSummary | None:
        """Run the task's guard on a source, or find that it was run; ``None`` without a guard.

        Of a ``required`` one a failure is kept nowhere, so that it can be mended, and raises
        :class:`DataError`.
        """
        if not self.session.task.guard:
            return None
        spec = self._guard_spec(sources)
        about = {"number": number, "description": description, "role": Role.GUARD, "replicate": 0}
        journal, budget = self.session.journal, {"timeout_seconds": spec.timeout_seconds}

        def make(attempt: RunSpec) -> _Made:
            def perform(folder: Path) -> RunRecord:
                here = self._on_this_machine(attempt)
                with self._leased(here, about) as (here, device):
                    facts = {"key": attempt.key, "budget": budget, **device}
                    journal.append("guard_started", **about, **facts)
                    record = execute_run(here, self.session.store, folder)
                if required and record.outcome is not Outcome.OK:
                    raise self._unguarded(description, record, folder)
                return record

            key, record, executed = self._found_or_made(attempt, perform, about)
            if executed:
                facts = {"outcome": record.outcome, "reason": record.reason}
                seconds = record.wall_seconds
                journal.append("guard_finished", **about, **facts, key=key, wall_seconds=seconds)
            return key, record, executed, record.outcome is Outcome.CONTENDED

        key, record, _ = self._settled(spec, make, about)
        return self._summary(key, spec, record, ())

    def fails_guard(self, sources: Mapping[str, str]) -> bool:
        """Whether the task's guard was run on a source before, and failed."""
        spec = self._guard_spec(sources)
        record = self._stored(spec, lambda found: found.outcome is Outcome.CONTENDED)
        return record is not None and record.outcome is Outcome.GUARD_FAILED

    def _guard_spec(self, sources: Mapping[str, str]) -> RunSpec:
        """Specification of the guard's run: the training's sandbox and data, no evaluation."""
        task = self.session.task
        return replace(
            self.spec(sources, Role.GUARD, 0),
            guard=True,
            command=task.guard,
            timeout_seconds=task.guard_seconds,
            metric="",
            evaluator=(),
            evaluation_data={},
            patterns={},
            names=(),
            counted=(),
        )

    def _unguarded(self, description: str, record: RunRecord, folder: Path) -> DataError:
        log = (folder / LOG).read_text(encoding="utf-8", errors="replace")
        said = "\n".join(clean_lines(log)[-SAID_LINES:])
        task = self.session.task
        return DataError(
            f"the {description} of task {task.name} fails its own guard, {' '.join(task.guard)}: "
            f"{record.reason}. Mend `guard` (or `guard_seconds`, or the packages in `environment`) "
            f"in task.yaml, or {', '.join(task.mutable)}, and {NEW_SESSION}. It said:\n{said}"
        )

    def is_stored(self, sources: Mapping[str, str], role: Role, replicate: int) -> bool:
        """Whether :meth:`run` would find all that it needs, and execute nothing."""
        spec = self.spec(sources, role, replicate)
        return self._stored(spec, lambda found: found.is_spoilt) is not None

    def _stored(self, spec: RunSpec, again: Callable[[RunRecord], bool]) -> RunRecord | None:
        """The record that a run would be found as; ``None`` if one would be executed.

        ``again`` says which records are followed by another attempt.
        """
        for renewal in itertools.count():
            for attempt in _attempts(replace(spec, renewal=renewal)):
                record = self.session.store.lookup(attempt.key)
                if record is None:
                    return None
                last = attempt.attempt == REPEATS or not again(record)
                if last and self._counts(attempt.key, record):
                    return record
                if last:
                    break
        raise AssertionError("renewals have no end")

    def _settled(
        self, spec: RunSpec, make: Callable[[RunSpec], _Made], about: Mapping[str, object]
    ) -> tuple[str, RunRecord, tuple[str, ...]]:
        """Key and record of the attempt that counts, and the keys of those set aside for it."""
        for renewal in itertools.count():
            set_aside: list[str] = []
            for attempt in _attempts(replace(spec, renewal=renewal)):
                key, record, executed, again = make(attempt)
                if not again or attempt.attempt == REPEATS:
                    break
                set_aside.append(key)
            if executed or self._counts(key, record):
                break
        if not executed:
            self._tell_replay(key, spec, record, about)
        return key, record, tuple(set_aside)

    def _counts(self, key: str, record: RunRecord) -> bool:
        """Whether a stored run stands for the one that is wanted.

        A failure of the machine does so in the session alone that made it.
        """
        return not record.is_of_machine or key in own_runs(self._events())

    def _tell_replay(
        self, key: str, spec: RunSpec, record: RunRecord, about: Mapping[str, object]
    ) -> None:
        """Say, once in a session, that a run was made before it, and when."""
        known = list(self._events())
        if key in own_runs(known) or key in replayed_runs(known):
            return
        made = iso_time(self.session.store.finished(key))
        facts = {"key": key, "outcome": record.outcome, "value": _value(spec, record)}
        self.session.journal.append("run_replayed", **about, **facts, made=made)

    def _events(self) -> Iterator[Event]:
        """Events of the session, and of its journal where that is another."""
        for path in {self.session.paths.events, self.session.journal.path}:
            yield from read_events(path)

    def values_of_others(
        self, sources: Mapping[str, str], ours: Sequence[RunSummary]
    ) -> list[float]:
        """The metric of stored runs that differ from ``ours``, of this source, in the seed alone.

        They are other sessions' on the same kind of machine.
        """
        store, spec = self.session.store, self.spec(sources, Role.SEARCH, 0)
        apart = ("seed", "attempt", "renewal")
        keys = set(store.replicates(spec.inputs, apart)) - {run.key for run in ours}
        records = [record for key in sorted(keys) if (record := store.lookup(key)) is not None]
        usual = [each for each in records if each.pace is None or not each.pace.slowed]
        return [value for each in usual if (value := _value(spec, each)) is not None]

    def spec(
        self, sources: Mapping[str, str], role: Role, replicate: int, audit: bool = False
    ) -> RunSpec:
        """Specification of a run; interpreter and caches of this machine are left open."""
        session = self.session
        task, manifest, budget = session.task, session.manifest, session.budget
        source = source_digest(sources)
        # The baseline's first runs are shared with other sessions of the task: whoever
        # proposes does not choose its code.
        own = role is not Role.SEARCH or source != source_digest(session.baseline_files)
        secret, lock = session.seed_secret if own else "", task.environment
        drawn = (session.config.seed, source, role, replicate, secret)
        return RunSpec(
            command=task.command,
            sources=sources,
            fixed=_digests(manifest.fixed),
            data=_digests(manifest.data),
            seed=run_seed(*drawn),
            budget_seconds=budget["seconds"],
            budget_steps=budget["steps"],
            timeout_seconds=float(budget["timeout_seconds"]),
            threads=task.threads,
            metric=task.metric.name,
            device=task.device,
            evaluator=task.evaluator,
            evaluation_data=_digests(manifest.evaluation),
            audit_data=_digests(manifest.locked) if audit and session.audits else {},
            network=task.network,
            variables=session.variables,
            limits=task.limits,
            patterns=task.patterns,
            names=task.printed_names,
            counted=task.counted_names,
            seeding=task.seeding,
            caches={entry.folder: entry.sha256 for entry in manifest.caches},
            environment_sha256=manifest.environment.sha256 if manifest.environment else "",
            packages_sha256=manifest.python.packages_sha256 if manifest.python else "",
            allowed_sha256=manifest.allowed.sha256 if manifest.allowed else "",
            hardware=manifest.hardware,
            isolation=session.config.isolation,
            hidden=task.hidden,
            packages=tuple(locked_versions(lock)) if lock and not manifest.python else (),
            draws=evaluation_draws(*drawn),
            curve=task.curve,
        )

    def _find_or_execute(self, spec: RunSpec, about: Mapping[str, object], as_it_is: bool) -> _Made:
        """One attempt, found or executed."""
        journal, source = self.session.journal, source_digest(spec.sources)

        def perform(folder: Path) -> RunRecord:
            here = self._on_this_machine(spec)
            facts = {"key": spec.key, "budget": self.session.budget, "folder": folder.name}
            facts |= {"curve": spec.curve} if spec.curve else {}
            with self._leased(here, about) as (here, device):
                here = self._compiled(here, about, folder)
                journal.append("run_started", **about, **facts, **device)
                made = execute_run(here, self.session.store, folder)
            record = self._traced(self._compared(made, source), spec, folder)
            if self._check is not None:
                self._check(record, (folder / LOG).read_text(encoding="utf-8", errors="replace"))
            return record

        key, record, executed = self._found_or_made(spec, perform, about)
        contended = record.outcome is Outcome.CONTENDED
        again = spec.attempt < REPEATS and (contended if as_it_is else record.is_spoilt)
        if executed and record.evaluation is not None and record.evaluation.audit_tokens:
            journal.append("audit_read", **about, key=key, tokens=record.evaluation.audit_tokens)
        if executed:
            journal.append(
                "run_finished",
                **about,
                key=key,
                source=source,
                outcome=record.outcome,
                reason=record.reason,
                value=_value(spec, record),
                wall_seconds=record.wall_seconds,
                budget=self.session.budget,
                pace=record.pace,
                again=again,
                earlier_tries=record.earlier_tries,
                **({"diverged": record.diverged} if record.diverged else {}),
            )
        return key, record, executed, again

    def _found_or_made(
        self,
        spec: RunSpec,
        perform: Callable[[Path], RunRecord],
        about: Mapping[str, object],
    ) -> tuple[str, RunRecord, bool]:
        """A run from the store, or made now; that another session makes it is told."""
        own = self.session.config.session

        def waits(key: str, owner: Owner) -> None:
            if owner.session != own:
                other = f"session {owner.session}" if owner.session else "another session"
                why = f"waits for {other}, which trains the same run"
                self.session.journal.append("run_waiting", **about, why=why, key=key)

        return self.session.store.run(spec.inputs, perform, own, waits)

    @contextlib.contextmanager
    def _leased(
        self, spec: RunSpec, about: Mapping[str, object]
    ) -> Iterator[tuple[RunSpec, dict[str, object]]]:
        """The spec with its device while the context lasts, and what the journal tells of that.

        It also tells of a wait.  Others on a GPU who were waited for once are known.
        """
        session, config = self.session, self.session.config
        number, minutes = about["number"], config.share_after_minutes
        known: set[int] = set()
        for event in self._events() if spec.device == "gpu" else ():
            known |= {pid for pid in event.get("shared_with") or () if isinstance(pid, int)}
        claim = Claim(
            session=session.paths.session,
            folder=str(session.paths.root.resolve()),
            run=f"experiment {number}" if number else str(about["description"]),
            share_after_seconds=None if minutes is None else 60.0 * minutes,
            known=frozenset(known),
        )

        def said(why: str) -> None:
            session.journal.append("run_waiting", **about, why=why)

        with leased(spec, claim, config.devices, said) as here:
            device: dict[str, object] = {}
            if here.lease is not None and here.lease.gpu is not None:
                gpu = here.lease.gpu
                device = {"device": {"index": gpu.index, "uuid": gpu.uuid, "name": gpu.name}}
                device |= {"shared_with": here.lease.shared} if here.lease.shared else {}
            yield here, device

    def _compiled(self, spec: RunSpec, about: Mapping[str, object], folder: Path) -> RunSpec:
        """The spec with what it starts from, where the task lets runs start compiled.

        Where the baseline compiles nothing, no other source has a warm-up.
        """
        cached = self.session.task.compile_cache
        if cached is None or not self.session.config.compile_cache_gb:
            return spec
        limit_bytes = self.session.config.compile_cache_gb * GB
        caches = CompileCaches(self.session.store, limit_bytes)
        for sources in (self.session.baseline_files, spec.sources):
            asked = replace(spec, sources=sources)
            begins = functools.partial(self.session.journal.append, "warm_up_started", **about)
            found, told = compiled_cache(asked, caches, cached.blank, folder / WARM_UP, begins)
            if told:
                self.session.journal.append("warm_up", **about, cache=found.key, **told)
            if not found.files or sources == spec.sources:
                break
        return replace(spec, compiled=found)

    def _compared(self, record: RunRecord, source: str) -> RunRecord:
        """The record with what slowed the run, beside the session's runs so far.

        That is settled now and kept with the run, so that a replay decides the same.
        """
        if record.pace is None:
            return record
        pace, here = replace(record.pace, steps=record.metrics.get(STEPS)), self.session.budget
        if record.outcome in (Outcome.OK, Outcome.TIMEOUT):
            past = list(self._past_paces())
            alike = [each for code, budget, each in past if (code, budget) == (source, here)]
            pace = replace(pace, slowed=slowing(pace, [each for *_, each in past], alike))
        return replace(record, pace=pace)

    def _traced(self, record: RunRecord, spec: RunSpec, folder: Path) -> RunRecord:
        """The record with where its loss went astray, of a run that ended well all the same.

        That is settled now and kept with the run.  Its metric counts: one that is better than
        the baseline's did not diverge, whatever its loss is.  Neither did one of a task whose
        unchanged code ends so as well: its loss grows by nature.
        """
        value = _value(spec, record)
        where = "" if value is None else divergence(parse_curve(folder))
        if value is None or not where or spec.sources == self.session.baseline_files:
            return record
        sign, runs = self.session.sign, self._baseline_runs()
        known = [sign * run.value for run in runs if run.value is not None]
        if not known or sign * value < min(known):
            return record
        usual = any(divergence(run_curve(self.session.store, run.key)) for run in runs)
        return record if usual else replace(record, diverged=where)

    def _past_paces(self) -> Iterator[tuple[str, object, Pace]]:
        """Source, budget and pace of the runs that were made in this session and count.

        Runs of one source are alike in their steps if they have one budget.  An older
        session had one for all, and does not name it.
        """
        for event in read_events(self.session.paths.events):
            if event["event"] == "run_finished" and event.get("pace") and not event.get("again"):
                with contextlib.suppress(DataError, KeyError):  # a damaged line
                    pace = from_json_values(Pace, event["pace"])
                    yield event["source"], event.get("budget", self.session.budget), pace

    def _on_this_machine(self, spec: RunSpec) -> RunSpec:
        """The spec with what this machine has for it.

        Raises :class:`ratchet.base.errors.RatchetError` where that is not what the session
        was started with: its runs could not be compared.
        """
        session, task = self.session, self.session.task
        python = None
        if session.manifest.python is not None:
            python = task_interpreter(session.config, task, session.paths.root, session.harness)
        check_hardware(session.manifest, task.device, python, session.config.devices)
        check_caches(session.manifest.caches, task.caches, task.clone, session.store)
        mounts = [cache_mount(c, task.clone) for c in task.caches if c.folder in spec.caches]
        if session.manifest.allowed is not None:
            about = task, python, session.store, session.harness
            mounts.append(CacheMount(installed_packages(session.manifest.allowed, *about), PLACE))
        usual = self._evaluation_seconds()
        return replace(spec, python=python, mounts=mounts, evaluation_seconds=usual)

    def _evaluation_seconds(self) -> float | None:
        """What the evaluation of the baseline's runs took; ``None`` before there are some."""
        session, runs = self.session, self._baseline_runs()
        if session.budget["seconds"] is None:
            return None
        found = [record.evaluation for run in runs if (record := session.store.lookup(run.key))]
        on_gpu = session.task.device == "gpu"
        seconds = [
            (e.seconds if on_gpu else e.evaluating_cpu_seconds) * e.share_of_search
            for e in found
            if e
        ]
        return median(seconds) if seconds else None

    def _baseline_runs(self) -> Sequence[RunSummary]:
        """The runs ``usual``; none before there are some."""
        if self._usual is not None:
            return self._usual
        path = self.session.paths.baseline
        return read_record(Baseline, path).runs if path.is_file() else ()

    def _summary(
        self, key: str, spec: RunSpec, record: RunRecord, set_aside: tuple[str, ...]
    ) -> RunSummary:
        """The part of a record that decisions rest on."""
        ok = record.outcome is Outcome.OK
        return RunSummary(
            key=key,
            seed=spec.seed,
            outcome=record.outcome,
            reason=record.reason,
            value=_value(spec, record),
            memory_mb=_memory_mb(self.session.task, record) if ok else None,
            audit=record.evaluation.audit if ok and record.evaluation is not None else None,
            set_aside=set_aside,
            slowed=record.pace.slowed if record.pace is not None else "",
            probe_seconds=record.pace.probe_seconds if record.pace is not None else None,
            tries=1 + len(record.earlier_tries),
            diverged=record.diverged,
        )


def _attempts(spec: RunSpec) -> Iterator[RunSpec]:
    return (replace(spec, attempt=n) for n in range(REPEATS + 1))


def _value(spec: RunSpec, record: RunRecord) -> float | None:
    return record.metrics.get(spec.metric) if record.outcome is Outcome.OK else None


def _memory_mb(task: Task, record: RunRecord) -> float | None:
    """Peak memory in MiB: what the task prints, or was measured where it names nothing."""
    return task.memory_mb(record.metrics) if task.memory_name else record.peak_memory_mb


def _digests(entries: Iterable[Fingerprint]) -> dict[str, str]:
    return {entry.path: entry.sha256 for entry in entries}
