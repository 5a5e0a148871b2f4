"""Runs of the unchanged source, and what round 1 starts from."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from ratchet.base.errors import NEW_SESSION, DataError, RatchetError, UsageError
from ratchet.base.io import read_record, source_digest, write_bytes, write_json
from ratchet.base.structs import asdict
from ratchet.judge.judge import Judge
from ratchet.judge.settings import Settings, scale_from
from ratchet.records.history import History, SeedEffect, evidence
from ratchet.records.records import (
    Baseline,
    Incumbent,
    Outcome,
    Role,
    RunSummary,
    SessionState,
    Status,
    mean_memory,
)
from ratchet.records.results_table import TableRow, record_rows
from ratchet.records.store import RunRecord, peak_memory
from ratchet.runs.causes import LABELS, Circumstances, advice_on, find_failure
from ratchet.runs.executor import Executor
from ratchet.session import Session, memory_ceiling
from ratchet.steering.suggestions import steering_advice
from ratchet.steps.judge import broken_constraints
from ratchet.task.environment import task_interpreter


def write_baseline(session: Session) -> None:
    """Write ``baseline.json`` and what round 1 starts from."""
    _require_own(session)
    sources = session.baseline_files
    runs = tuple(
        read_record(RunSummary, session.paths.baseline_run(number))
        for number in range(session.config.baseline_replicates)
    )
    require_usable(session, runs)
    session.repo.create()
    commit = session.repo.commit(
        session.tree(sources),
        f"Baseline of {session.task.name}\n",
        number=0,
        parent=None,
        ref="refs/ratchet/baseline",
    )
    baseline = Baseline(source_digest(sources), sources, commit, runs)
    values = [run.value for run in runs if run.value is not None]
    row = TableRow(commit, sum(values) / len(values), mean_memory(runs), Status.KEEP, "baseline")
    record_rows(session.paths.results_tsv, session.task.metric.name, 0, [row])
    session.repo.advance(commit)
    judge = _judge(session, runs)
    first = session.paths.round(0)
    write_json(first.judge, judge.to_dict())
    write_json(first.steer, _state(session, baseline, judge))
    write_json(session.paths.baseline, baseline)
    effect = History(baseline).seed_effect
    session.journal.append(
        "baseline",
        mean=session.sign * judge.incumbent_mean,
        noise=None if effect is SeedEffect.NONE else judge.noise_sd,
        measured=effect is SeedEffect.SHOWN,
        n=len(runs),
    )


def write_baseline_run(session: Session, number: int) -> None:
    """Write one run of the unchanged source, the first with number 0.

    It must pass the task's guard before anything is trained.  Raises :class:`DataError` for one
    that fails, with its cause and what to do.
    """
    _require_own(session)
    Executor(session).guard(session.baseline_files, required=True)

    def check(record: RunRecord, log: str) -> None:
        # Mended may be what is no part of a run's key, so that no failure is kept.
        if record.outcome not in (Outcome.OK, Outcome.CONTENDED):
            path = session.paths.baseline_output(number)
            write_bytes(path, log.encode())
            raise _failed(session, record.outcome, record.reason, log, path)

    made = Executor(session, check=check).run(session.baseline_files, Role.SEARCH, number)
    require_usable(session, (made,))
    write_json(session.paths.baseline_run(number), made)


def _require_own(session: Session) -> None:
    """Refuse rounds in the session of an audit, which is about a log's changes alone."""
    if session.paths.rerun_plan.exists():
        name = session.config.session
        raise UsageError(
            f"session {name!r}: expected one with rounds, found an audit; go on with it: snakemake "
            f"--cores 1 audit --config session={name}, or {NEW_SESSION}"
        )


def _judge(session: Session, runs: tuple[RunSummary, ...]) -> Judge:
    values = [session.value(run) for run in runs]
    judge = Judge(
        Settings.for_session(
            session.config.mode,
            scale=scale_from(values),
            max_replicates=session.config.max_replicates,
        )
    )
    for value in evidence(values):
        judge.incumbent(value)
    others = [session.sign * value for value in _values_of_others(session, runs)]
    known = evidence([values[0], *others])
    if len(known) > 1:
        judge.replicates(known)
    return judge


def _values_of_others(session: Session, runs: Sequence[RunSummary]) -> list[float]:
    """Metrics of the same code on such a machine that the store had when the session began."""
    found: list[float] = session.store.memo(
        "replicates",
        {"session": session.config.session, "runs": [run.key for run in runs]},
        lambda: Executor(session).values_of_others(session.baseline_files, runs),
    )
    return found


def _state(session: Session, baseline: Baseline, judge: Judge) -> SessionState:
    history = History(baseline)
    assert history.start.mean is not None
    incumbent = Incumbent(
        number=0,
        source=baseline.source,
        files=baseline.files,
        commit=baseline.commit,
        measured=history.start.mean,
        mean=session.sign * judge.incumbent_mean,
        sd=judge.incumbent_sd,
        memory_mb=mean_memory(baseline.runs),
        kept=0,
    )
    noise_sd = None if history.seed_effect is SeedEffect.NONE else judge.noise_sd
    advice = steering_advice(session, history, incumbent.files, noise_sd)
    return SessionState(
        round=0,
        incumbent=incumbent,
        runs_used=sum(run.tries for run in baseline.runs),
        noise_sd=noise_sd,
        **asdict(advice),
    )


def require_usable(session: Session, runs: Sequence[RunSummary]) -> None:
    """Raise :class:`DataError` for a baseline from which nothing could be kept.

    One that does not train, is above a hard memory ceiling or breaks a constraint.
    """
    named = f"the baseline of task {session.task.name}"
    for run in runs:
        if run.outcome is not Outcome.OK:
            path = session.log_path(run.key)
            log = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
            raise _failed(session, run.outcome, run.reason, log, path)
    limit, found = memory_ceiling(session.config), peak_memory(session.store, runs)
    if limit.refuses(found):
        raise DataError(
            f"{named} {limit.reason(found)}; raise memory_ceiling_mb, choose a smaller preset for "
            "another session, or let the ceiling be soft: --config memory_ceiling=soft"
        )
    broken = broken_constraints(session, runs)
    if broken:
        raise DataError(
            f"{named} breaks a constraint ({broken}); correct `constraints` in "
            f"{session.manifest.definition.path}, or choose a smaller preset, and {NEW_SESSION}"
        )


def _failed(session: Session, outcome: Outcome, reason: str, log: str, path: Path) -> DataError:
    """Error for a run of the baseline that failed: the cause, its last words, what to do."""
    failure = find_failure(outcome, reason, log)
    preset, python = session.manifest.preset, ""
    if session.manifest.python is not None:
        with contextlib.suppress(RatchetError):
            own = task_interpreter(
                session.config, session.task, session.paths.root, session.harness
            )
            python = own.executable if own else ""
    here = Circumstances(
        task=session.task,
        python=python,
        preset=preset.name if preset else "",
        timeout_seconds=session.budget["timeout_seconds"],
    )
    return DataError(
        f"the baseline of task {session.task.name} does not train ({outcome}); the cause is "
        f"{LABELS[failure.cause]}: {failure.words} (all that it printed is in {path}).\n"
        f"{advice_on(failure, here)}"
    )
