"""Writes a session's report: the page, the facts as JSON, the picture to share."""

from collections.abc import Iterator, Sequence

from ratchet.base.errors import RatchetError, StoreError
from ratchet.base.io import digest, digest_file, read_json, write_bytes, write_json
from ratchet.integrity.seal import damaged_place, is_after_the_end, read_seal
from ratchet.judge.judge import Judge
from ratchet.proposers.landscape import session_landscape
from ratchet.proposers.program_md import next_version
from ratchet.records.events import read_events
from ratchet.records.history import History
from ratchet.records.paths import SessionPaths
from ratchet.records.proposals import CallOutcome
from ratchet.records.records import Manifest
from ratchet.records.series import read_curve, read_samples
from ratchet.report.code_table import code_table
from ratchet.report.facts import build_facts
from ratchet.report.inputs import Facts, Integrity, Move, Recipe, SessionRecords
from ratchet.report.render import render_html, render_png, render_svg
from ratchet.runs.log import log_tail
from ratchet.session import Session
from ratchet.steering.bandit import score_categories
from ratchet.steering.suggestions import pulls_of
from ratchet.task.edits import find_value
from ratchet.task.packages import packages_folder
from ratchet.task.task import THREAD_VARIABLES

# Of a run's log the page shows the end; the whole is in the store.
LOG_TAIL_BYTES = 4096
LOST = "[the store no longer holds this run]"


def gather_records(session: Session, history: History) -> SessionRecords:
    """All records of a session, finished or not."""
    metric = session.task.metric
    keys = dict.fromkeys(run.key for run in (*history.runs, *history.failed_guards))
    runs = {key: found for key in keys if (found := session.store.lookup(key)) is not None}
    return SessionRecords(
        manifest=session.manifest,
        metric=metric.name,
        unit=metric.unit,
        direction=metric.direction,
        judge=session.judge_settings,
        history=history,
        categories=score_categories(pulls_of(history.judged), session.categories),
        runs=runs,
        logs={
            key: log_tail(session.log_path(key).read_bytes(), LOG_TAIL_BYTES)
            if key in runs
            else LOST
            for key in keys
        },
        agent_logs=_agent_logs(session, history),
        device=session.task.device,
        events=tuple(read_events(session.paths.events)),
        integrity=_integrity(session, [key for key in keys if key not in runs]),
        program=next_version(session, history),
        recipe=_recipe(session),
        settings=Judge.from_dict(read_json(session.paths.round(0).judge)).settings,
        landscape=session_landscape(session, history, predict=False),
        moves=dict(_moves(session, history)),
        code=_code(session, history),
        curves={key: points for key in runs if (points := read_curve(session.store, key))},
        samples={key: read_samples(session.store, key) for key in runs},
    )


def _code(session: Session, history: History) -> Facts | None:
    """The code of the experiments; ``None`` where the store no longer holds some of it."""
    try:
        return code_table(history, session.texts)
    except StoreError:
        return None


def _moves(session: Session, history: History) -> Iterator[tuple[int, list[Move]]]:
    """Constants that each point moved, from where it started to where it is."""
    for trial in history.trials:
        edit = trial.proposal.edit
        if edit is None or not trial.sets_several:
            continue
        old = session.texts(history.sources[trial.proposal.parent])
        moves = []
        for name, after in edit.values.items():
            places = (find_value(file, text, name) for file, text in old.items())
            before = next((repr(place.value) for place in places if place is not None), "")
            moves.append(Move(name, before, after))
        yield trial.number, moves


def _agent_logs(session: Session, history: History) -> dict[str, str]:
    """The ends of what agents printed whose answers could not be tried."""
    calls = [call for made in history.proposals for call in made.calls]
    refused = {call.log for call in calls if call.outcome is not CallOutcome.PROPOSED}
    found = {}
    for sha in sorted(refused):
        try:
            found[sha] = log_tail(session.store.get(sha), LOG_TAIL_BYTES)
        except StoreError:
            found[sha] = "[the store no longer holds this log]"
    return found


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
    inputs = (*m.fixed, *m.baseline, m.brief, m.definition, *m.data, *m.evaluation, *m.locked)
    for entry in (*inputs, *m.remembered):
        try:
            session.store.path(entry.sha256)
        except RatchetError as error:
            yield f"{entry.path}: {error}"


def _records(session: Session) -> Iterator[str]:
    """Sealed records that are not what they were; those that are made again now have no seal."""
    found = read_seal(session.paths)
    if found is None or damaged_place(session.paths).exists():
        yield f"{session.paths.seal.name}: the seal was changed"
    for name, sha in (found.whole if found else {}).items():
        path = session.paths.folder / name
        if not path.is_file():
            yield f"{name}: sealed, and no longer there"
        elif digest_file(path) != sha and not is_after_the_end(path):
            yield f"{name}: not the bytes that were sealed"


def _recipe(session: Session) -> Recipe:
    """Start of the session's runs, as seen from the folder where Snakemake runs."""
    here, m, budget = SessionPaths(session.config.session), session.manifest, session.budget
    steps = budget["steps"]
    spend = {"RATCHET_BUDGET_SECONDS": f"{budget['seconds']}"}
    if steps is not None:
        spend = {"RATCHET_BUDGET_STEPS": f"{int(steps)}"}
    return Recipe(
        folder=str(here.folder),
        command=session.task.command,
        data={entry.path: str(here.store.blob(entry.sha256)) for entry in (*m.data, *m.evaluation)},
        variables={
            **session.variables,
            **dict.fromkeys(THREAD_VARIABLES, str(session.task.threads)),
            "PYTHONHASHSEED": "0",
            **spend,
        },
        hook=session.task.seeding.hook,
        packages=str(packages_folder(m.allowed, _python(m), here.store)) if m.allowed else "",
        seeding=session.task.seeding,
    )


def _python(manifest: Manifest) -> str:
    """Version of the Python that runs of the session have."""
    return manifest.python.version if manifest.python else manifest.versions["python"]


def write_report(session: Session) -> None:
    """Write report.json, the pictures and report.html, in this order."""
    paths = session.paths
    found = build_facts(gather_records(session, History.read(paths, session.config.rounds)))
    found["seed"]["secret"] = session.seed_secret
    write_json(paths.report_json, found)
    write_bytes(paths.progress_png, render_png(found))
    write_bytes(paths.progress_svg, render_svg(found).encode())
    write_bytes(paths.report_html, render_html(found).encode())
    told = {"answer": found["answer"]["sentence"], "seed_effect": found["seed"]["effect"]}
    session.journal.append("reported", **told)
