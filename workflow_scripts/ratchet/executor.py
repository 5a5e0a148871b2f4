"""Makes the runs of a session, for the steps that train.

Each run is found in the store by its key, or executed now and kept there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ratchet import caches, interpreters
from ratchet.canonical import source_digest
from ratchet.records import Outcome, RunSummary
from ratchet.runner import execute
from ratchet.seeds import Role, run_seed
from ratchet.session import Session
from ratchet.stages import machine, material
from ratchet.store import RunRecord, run_key

ANOTHER_TRY = 10**9
"""Far above every other replicate number, for a run whose GPU was not its own."""

CONTENDED_TRIES = 2
"""So often such a run is made again before it counts as failed."""


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
    ) -> RunSummary:
        """One run of a source, from the store or executed now.

        ``number`` and ``description`` are the experiment's, for the journal.
        With ``audit`` the locked data are read too, and the journal says so.
        """
        session = self.session
        audit = audit and session.audits
        seed = run_seed(session.config.seed, source_digest(sources), role, replicate)
        about = {
            "number": number,
            "description": description,
            "role": role,
            "replicate": replicate % ANOTHER_TRY,
            "seed": seed,
        }

        def perform(folder: Path) -> RunRecord:
            python = self.python
            machine.check(session.manifest, session.task.device, python)
            caches.check(
                session.manifest.caches, session.task.caches, session.task.clone, session.store
            )
            session.journal.append("run_started", **about, budget=session.budget)
            return execute(material.plan(session, sources, seed, audit, python), folder)

        key, record, executed = session.store.run(
            material.inputs(session, sources, seed, audit), perform
        )
        summary = self._summary(key, seed, record)
        if executed and record.evaluation is not None and record.evaluation.audit_tokens:
            session.journal.append(
                "audit_read", **about, key=key, tokens=record.evaluation.audit_tokens
            )
        if executed:
            session.journal.append(
                "run_finished",
                **about,
                key=key,
                outcome=record.outcome,
                reason=record.reason,
                value=summary.value,
                wall_seconds=record.wall_seconds,
            )
        if record.outcome is Outcome.CONTENDED and replicate < CONTENDED_TRIES * ANOTHER_TRY:
            # What shared its GPU is compared with nothing; the same with another seed.
            again = replicate + ANOTHER_TRY
            return self.run(sources, role, again, number, description, audit)
        return summary

    def is_stored(self, sources: Mapping[str, str], role: Role, replicate: int) -> bool:
        """Whether :meth:`run` would execute nothing: after a contended run, another."""
        for attempt in range(CONTENDED_TRIES + 1):
            found = self.session.store.lookup(
                self.key(sources, role, replicate + attempt * ANOTHER_TRY)
            )
            if found is None or found.outcome is not Outcome.CONTENDED:
                return found is not None
        return True

    def key(self, sources: Mapping[str, str], role: Role, replicate: int) -> str:
        """Key of the run that :meth:`run` makes or finds."""
        seed = run_seed(self.session.config.seed, source_digest(sources), role, replicate)
        return run_key(material.inputs(self.session, sources, seed))

    @property
    def python(self) -> interpreters.Interpreter | None:
        """The task's own interpreter, where it has one."""
        session = self.session
        if session.manifest.python is None:
            return None
        return interpreters.of_task(
            session.config, session.task, session.paths.root, session.harness
        )

    def _summary(self, key: str, seed: int, record: RunRecord) -> RunSummary:
        task = self.session.task
        ok = record.outcome is Outcome.OK
        return RunSummary(
            key=key,
            seed=seed,
            outcome=record.outcome,
            reason=record.reason,
            value=record.metrics.get(task.metric.name) if ok else None,
            memory_mb=task.memory_mb(record.metrics) if ok else None,
            audit=record.evaluation.audit if ok and record.evaluation is not None else None,
        )
