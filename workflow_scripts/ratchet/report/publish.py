"""Writes a session's report: the page, the facts as JSON, the picture to share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ratchet import files, seal, spec
from ratchet.canonical import digest
from ratchet.errors import RatchetError, StoreError
from ratchet.history import History
from ratchet.journal import read_events
from ratchet.paths import SessionPaths
from ratchet.records import CallOutcome
from ratchet.report import facts, render
from ratchet.report.inputs import (
    Integrity,
    Recipe,
    SessionRecords,
)
from ratchet.runlog import tail
from ratchet.session import Session
from ratchet.stages.advising import pulls_of
from ratchet.stages.program import next_version
from ratchet.steer import score

# Of a run's log the page shows the end; the whole is in the store.
LOG_TAIL_BYTES = 4096
LOST = "[the store no longer holds this run]"


def gather(session: Session, history: History) -> SessionRecords:
    """Everything that a session recorded, finished or not."""
    metric = session.task.metric
    keys = dict.fromkeys(run.key for run in history.runs)
    runs = {key: found for key in keys if (found := session.store.lookup(key)) is not None}
    return SessionRecords(
        manifest=session.manifest,
        metric=metric.name,
        unit=metric.unit,
        direction=metric.direction,
        judge=session.judge_settings,
        history=history,
        categories=score(pulls_of(history.judged), session.categories),
        runs=runs,
        logs={key: _log(session, key) if key in runs else LOST for key in keys},
        agent_logs=_agent_logs(session, history),
        device=session.task.device,
        events=tuple(read_events(session.paths.events)),
        integrity=_integrity(session, [key for key in keys if key not in runs]),
        program=next_version(session, history),
        recipe=_recipe(session),
    )


def _agent_logs(session: Session, history: History) -> dict[str, str]:
    """The ends of what agents printed whose answers could not be tried."""
    calls = [call for made in history.proposals for call in made.calls]
    refused = {call.log for call in calls if call.outcome is not CallOutcome.PROPOSED}
    found = {}
    for sha in sorted(refused):
        try:
            found[sha] = tail(session.store.get(sha), LOG_TAIL_BYTES)
        except StoreError:
            found[sha] = "[the store no longer holds this log]"
    return found


def _log(session: Session, key: str) -> str:
    return tail(session.log_path(key).read_bytes(), LOG_TAIL_BYTES)


def _integrity(session: Session, lost: Sequence[str]) -> Integrity:
    """Inputs, runs and records hashed again; the runs were, when they were looked up."""
    deviations = [*_inputs(session), *_records(session)]
    deviations += [f"run {key}: missing in the store, or damaged" for key in sorted(lost)]
    return Integrity(
        checked=(
            "every input of the manifest, as it lies in the store",
            "every file of every run that this report rests on",
            "every record of this session against its seal",
        ),
        deviations=tuple(deviations),
    )


def _inputs(session: Session) -> Iterator[str]:
    m = session.manifest
    if digest(m.frozen) != m.config_sha256:
        yield "manifest.json: its settings are not those of their digest"
    groups = (m.fixed, m.baseline, (m.brief, m.definition), m.data, m.evaluation, m.locked)
    for entry in (entry for group in groups for entry in group):
        try:
            session.store.path(entry.sha256)
        except RatchetError as error:
            yield f"{entry.path}: {error}"


def _records(session: Session) -> Iterator[str]:
    """Sealed records that are not what they were; those that are made again now have no seal."""
    found = seal.read(session.paths)
    if found is None or seal.damaged(session.paths).exists():
        yield f"{session.paths.seal.name}: the seal was changed"
    for name, sha in (found.whole if found else {}).items():
        path = session.paths.folder / name
        if not path.is_file():
            yield f"{name}: sealed, and no longer there"
        elif files.digest_file(path) != sha and not seal.is_after_the_end(path):
            yield f"{name}: not the bytes that were sealed"


def _recipe(session: Session) -> Recipe:
    """How its runs are started, as seen from the folder where Snakemake runs."""
    here = SessionPaths(session.config.session)
    m, budget = session.manifest, session.budget
    kept = [*m.data, *m.evaluation]
    steps, seconds = budget["steps"], budget["seconds"]
    spend = {"RATCHET_BUDGET_SECONDS": f"{seconds}"}
    if steps is not None:
        spend = {"RATCHET_BUDGET_STEPS": f"{int(steps)}"}
    return Recipe(
        folder=str(here.folder),
        command=session.task.command,
        data={entry.path: str(here.store.blob(entry.sha256)) for entry in kept},
        variables={
            **session.variables,
            **dict.fromkeys(spec.THREAD_VARIABLES, str(session.task.threads)),
            "PYTHONHASHSEED": "0",
            **spend,
        },
        hook=session.task.seed_hook,
        seeding=session.task.seeding,
    )


def run(session: Session) -> None:
    """Write report.json, the pictures and report.html, in this order."""
    paths = session.paths
    found = facts.build(gather(session, History.read(paths, session.config.rounds)))
    files.write_json(paths.report_json, found)
    files.write_bytes(paths.progress_png, render.render_png(found))
    files.write_bytes(paths.progress_svg, render.render_svg(found).encode())
    files.write_bytes(paths.report_html, render.render_html(found).encode())
    session.journal.append("reported", answer=found["answer"]["sentence"])
