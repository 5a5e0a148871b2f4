"""Writes a session's report: the page, the facts as JSON, the picture to share."""

from __future__ import annotations

from ratchet import files
from ratchet.records import Baseline, Confirmation
from ratchet.report import facts, render
from ratchet.report.inputs import RunDetails, SessionRecords, incumbent_runs
from ratchet.runlog import tail
from ratchet.stages.session import Session
from ratchet.stages.steer import trials_of
from ratchet.steer import score

# Of a run's log the page shows the end; the whole is in the store.
LOG_TAIL_BYTES = 4096


def gather(session: Session) -> SessionRecords:
    """Everything that a finished session recorded."""
    rounds = range(1, session.config.rounds + 1)
    verdicts = tuple(session.verdict(number) for number in rounds)
    baseline = files.read_record(Baseline, session.paths.baseline)
    confirmation = files.read_record(Confirmation, session.paths.confirmation)
    runs = [
        *baseline.runs,
        *(run for verdict in verdicts for ruling in verdict.rulings for run in ruling.runs),
        *(run for verdict in verdicts for run in incumbent_runs(verdict)),
        *confirmation.baseline_runs,
        *confirmation.champion_runs,
    ]
    metric = session.task.metric
    return SessionRecords(
        manifest=session.manifest,
        metric=metric.name,
        unit=metric.unit,
        direction=metric.direction,
        judge=session.judge_settings,
        baseline=baseline,
        proposals=tuple(session.proposals(number) for number in rounds),
        verdicts=verdicts,
        states=tuple(session.state(number) for number in rounds),
        confirmation=confirmation,
        categories=score(trials_of(session.history(session.config.rounds + 1)), session.categories),
        runs={run.key: _details(session, run.key) for run in runs},
    )


def _details(session: Session, key: str) -> RunDetails:
    record = session.store.lookup(key)
    if record is None:
        return RunDetails(log_tail="[the store no longer holds this run]")
    return RunDetails(
        train_seconds=record.metrics.get("training_seconds"),
        wall_seconds=record.wall_seconds,
        cpu_seconds=record.cpu_seconds,
        peak_rss_mb=record.peak_rss_mb,
        isolation=record.isolation,
        log_tail=tail(session.log_path(key).read_bytes(), LOG_TAIL_BYTES),
    )


def run(session: Session) -> None:
    """Write report.json, progress.png and report.html, in this order."""
    found = facts.build(gather(session))
    paths = session.paths
    files.write_json(paths.report_json, found)
    files.write_bytes(paths.progress_png, render.render_png(found))
    files.write_bytes(paths.report_html, render.render_html(found).encode())
    session.journal.append("reported", answer=found["answer"]["sentence"])
