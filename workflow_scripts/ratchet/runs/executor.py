"""Makes the runs of a session, for the steps that train.

Each run is found in the store by its key, or executed now and kept there.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ratchet.base.io import Fingerprint, source_digest
from ratchet.base.structs import replace
from ratchet.records.records import Outcome, Role, RunSummary, run_seed
from ratchet.records.store import RunRecord
from ratchet.runs.hardware import check_hardware
from ratchet.runs.run import execute_run
from ratchet.runs.spec import RunSpec
from ratchet.session import Session
from ratchet.task.environment import cache_mount, check_caches, task_interpreter

CONTENDED_TRIES = 2
"""So often a run that shared its GPU is made again before it counts as failed."""


class Executor:
    """Runs of one session's task, under its settings and on its kind of hardware."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def run(
        self,
        sources: Mapping[str, str],
        role: Role,
        replicate: int,
        number: int = 0,
        description: str = "baseline",
        audit: bool = False,
        occasion: str = "",
    ) -> RunSummary:
        """One run of a source, from the store or executed now.

        ``number`` and ``description`` are the experiment's, for the journal.
        With ``audit`` the locked data are read too, and the journal says so.  One that
        was made for another ``occasion`` does not count.
        A run that shared its GPU is compared with nothing; it is made again.
        """
        spec = replace(self.spec(sources, role, replicate, audit), occasion=occasion)
        about = {
            "number": number,
            "description": description,
            "role": role,
            "replicate": replicate,
            "seed": spec.seed,
        }
        for attempt in _attempts(spec):
            found = self._find_or_execute(attempt, about)
            if found.outcome is not Outcome.CONTENDED:
                break
        return found

    def is_stored(self, sources: Mapping[str, str], role: Role, replicate: int) -> bool:
        """Whether :meth:`run` would find all that it needs, and execute nothing."""
        for attempt in _attempts(self.spec(sources, role, replicate)):
            record = self.session.store.lookup(attempt.key)
            if record is None or record.outcome is not Outcome.CONTENDED:
                return record is not None
        return True

    def spec(
        self, sources: Mapping[str, str], role: Role, replicate: int, audit: bool = False
    ) -> RunSpec:
        """Specification of a run; interpreter and caches of this machine are left open."""
        session = self.session
        task, manifest, budget = session.task, session.manifest, session.budget
        return RunSpec(
            command=task.command,
            sources=sources,
            fixed=_digests(manifest.fixed),
            data=_digests(manifest.data),
            seed=run_seed(session.config.seed, source_digest(sources), role, replicate),
            budget_seconds=budget["seconds"],
            budget_steps=budget["steps"],
            timeout_seconds=float(budget["timeout_seconds"]),
            threads=task.threads,
            metric=task.metric.name,
            device=task.device,
            evaluator=task.evaluator,
            evaluation_data=_digests(manifest.evaluation),
            audit_data=_digests(manifest.locked) if audit and session.audits else {},
            plausible=task.plausible,
            network=task.network,
            variables=session.variables,
            limits=task.limits,
            patterns=task.patterns,
            seeding=task.seeding,
            caches={entry.folder: entry.sha256 for entry in manifest.caches},
            environment_sha256=manifest.environment.sha256,
            packages_sha256=manifest.python.packages_sha256 if manifest.python else "",
            hardware=manifest.hardware,
            isolation=session.config.isolation,
            hidden=task.hidden,
        )

    def _find_or_execute(self, spec: RunSpec, about: Mapping[str, object]) -> RunSummary:
        journal = self.session.journal

        def perform(folder: Path) -> RunRecord:
            here = self._on_this_machine(spec)
            journal.append("run_started", **about, budget=self.session.budget)
            return execute_run(here, self.session.store, folder)

        key, record, executed = self.session.store.run(spec.inputs, perform)
        found = self._summary(key, spec, record)
        if executed and record.evaluation is not None and record.evaluation.audit_tokens:
            journal.append("audit_read", **about, key=key, tokens=record.evaluation.audit_tokens)
        if executed:
            journal.append(
                "run_finished",
                **about,
                key=key,
                outcome=record.outcome,
                reason=record.reason,
                value=found.value,
                wall_seconds=record.wall_seconds,
            )
        return found

    def _on_this_machine(self, spec: RunSpec) -> RunSpec:
        """The spec with what this machine has for it.

        Raises :class:`ratchet.base.errors.RatchetError` where that is not what the session
        was started with: its runs could not be compared.
        """
        session, task = self.session, self.session.task
        python = None
        if session.manifest.python is not None:
            python = task_interpreter(session.config, task, session.paths.root, session.harness)
        check_hardware(session.manifest, task.device, python)
        check_caches(session.manifest.caches, task.caches, task.clone, session.store)
        mounts = [cache_mount(c, task.clone) for c in task.caches if c.folder in spec.caches]
        return replace(spec, python=python, mounts=mounts)

    def _summary(self, key: str, spec: RunSpec, record: RunRecord) -> RunSummary:
        """The part of a record that decisions rest on."""
        ok = record.outcome is Outcome.OK
        return RunSummary(
            key=key,
            seed=spec.seed,
            outcome=record.outcome,
            reason=record.reason,
            value=record.metrics.get(spec.metric) if ok else None,
            memory_mb=self.session.task.memory_mb(record.metrics) if ok else None,
            audit=record.evaluation.audit if ok and record.evaluation is not None else None,
        )


def _attempts(spec: RunSpec) -> Iterator[RunSpec]:
    return (replace(spec, attempt=n) for n in range(CONTENDED_TRIES + 1))


def _digests(entries: Iterable[Fingerprint]) -> dict[str, str]:
    return {entry.path: entry.sha256 for entry in entries}
