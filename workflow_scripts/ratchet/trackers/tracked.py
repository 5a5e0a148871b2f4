"""A run as trackers get it: identity, settings, results and curve of its training loss.

A run of an experiment is whole once the experiment was judged, as it then has its verdict;
all others are when they end.  So each is sent once.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ratchet.base.errors import InputMissingError
from ratchet.base.io import digest
from ratchet.base.structs import Frozen
from ratchet.base.text import one_line, shorten
from ratchet.records.events import read_events
from ratchet.records.history import History, Trial
from ratchet.records.records import Outcome, Role, Ruling
from ratchet.records.series import CurvePoint, read_curve, thinned
from ratchet.records.store import RunRecord
from ratchet.task.edits import constant_names, find_value

if TYPE_CHECKING:
    from ratchet.session import Session

Values = Mapping[str, str | int | float | bool]

LONGEST_TEXT = 500
"""Characters of a value: the least that all versions of the trackers take."""

MOST_CONSTANTS = 200
MOST_POINTS = 1000
LONGEST_NAME = 80
_MADE = ("run_started", "guard_started", "run_finished", "guard_finished", "run_replayed")
_ODD = re.compile(r"[^A-Za-z0-9_.-]+")


class TrackedRun(Frozen):
    """One run, complete.

    ``id`` is equal for equal runs of one session.  ``config`` is what was known before the
    run, ``summary`` what came of it; both hold no value that is not known.  ``started`` and
    ``ended`` are in seconds since the epoch.
    """

    id: str
    name: str
    group: str
    config: Values
    summary: Values
    kind: str = ""
    curve: Sequence[CurvePoint] = ()
    failed: bool = False
    started: float | None = None
    ended: float | None = None

    @property
    def points(self) -> list[tuple[int, dict[str, float]]]:
        """Steps of the curve in ascending order with what is known of each."""
        found: dict[int, dict[str, float]] = {}
        for point in self.curve:
            values = {"loss": point.loss, "seconds": point.seconds, "tokens": point.tokens}
            found[point.step] = {
                f"train/{name}": value
                for name, value in values.items()
                if value is not None and math.isfinite(value)
            }
        return [(step, values) for step, values in sorted(found.items()) if values]

    @property
    def numbers(self) -> dict[str, float]:
        """Numbers of the summary."""
        return {n: v for n, v in self.summary.items() if not isinstance(v, str | bool)}

    @property
    def texts(self) -> dict[str, str]:
        """Words of the summary; true and false are among them."""
        return {n: _word(v) for n, v in self.summary.items() if isinstance(v, str | bool)}


def _word(value: str | bool) -> str:
    return value if isinstance(value, str) else str(value).lower()


def known_values(values: Mapping[str, Any]) -> dict[str, str | int | float | bool]:
    """Values as trackers take them: short lines, finite numbers, and nothing that is not known."""
    found: dict[str, str | int | float | bool] = {}
    for name, value in values.items():
        if isinstance(value, list | tuple | dict):
            value = json.dumps(value, ensure_ascii=False) if value else None
        if isinstance(value, str):
            value = shorten(one_line(value).encode("utf-8", "replace").decode(), LONGEST_TEXT)
        unknown = value is None or value == ""
        if not unknown and not (isinstance(value, float) and not math.isfinite(value)):
            found[one_line(name)] = value
    return found


def project_name(name: str) -> str:
    """Name of a task's project in every tracker."""
    plain = _ODD.sub("-", name).strip("-.")
    return f"ratchet-{plain}"[:100] if plain else "ratchet"


def run_id(group: str, key: object) -> str:
    """Identity of a run in every tracker: 32 hexadecimal digits."""
    return digest([group, key])[:32]


def run_name(number: int, description: str, id_: str) -> str:
    """Name that people see; no two runs of a project share it."""
    return f"{number:03d} {shorten(one_line(description), LONGEST_NAME)} {id_[:8]}"


def session_runs(
    session: Session, without: Collection[str] = (), over: bool = False
) -> Iterator[TrackedRun]:
    """Whole runs of a session in the order in which they were made, but for some by ``id``.

    Of a session that is ``over`` those too whose experiment was never judged.
    """
    group, store = session.config.session, session.store
    made = dict[str, dict[str, Any]]()
    for event in read_events(session.paths.events):
        if event["event"] in _MADE and isinstance(event.get("key"), str):
            made.setdefault(event["key"], event)
    left = {key: event for key, event in made.items() if run_id(group, key) not in without}
    if not left:
        return
    try:
        history = History.read(session.paths)
        trials = {trial.number: trial for trial in (history.start, *history.trials)}
    except InputMissingError:  # the baseline is being measured
        trials = {}
    constants = dict[str, dict[str, Any]]()
    for key, event in left.items():
        trial = trials.get(event.get("number", 0))
        tries = event.get("role") in (Role.SEARCH, Role.GUARD)
        ruling = trial.ruling if trial is not None and tries else None
        if tries and event.get("number") and ruling is None and not over:
            continue
        record = store.peek(key)
        if record is not None:
            ended = store.finished(key)
            yield TrackedRun(
                id=run_id(group, key),
                name=run_name(
                    event.get("number", 0), event.get("description", ""), run_id(group, key)
                ),
                group=group,
                kind=str(event.get("role", "")),
                config=known_values(
                    {
                        **_constants(session, trial, constants),
                        **_settings(session, event, trial),
                        "key": key,
                    }
                ),
                summary=known_values(_results(session, record, trial, ruling, key)),
                curve=thinned(read_curve(store, key), MOST_POINTS),
                failed=record.outcome is not Outcome.OK,
                started=ended - record.wall_seconds,
                ended=ended,
            )


def _settings(session: Session, event: Mapping[str, Any], trial: Trial | None) -> dict[str, Any]:
    """What was known before a run."""
    config, budget, manifest = session.config, session.budget, session.manifest
    found: dict[str, Any] = {
        "session": config.session,
        "task": manifest.task,
        "preset": manifest.preset.name if manifest.preset else None,
        "mode": config.mode,
        "role": event.get("role"),
        "number": event.get("number"),
        "replicate": event.get("replicate"),
        "seed": event.get("seed"),
        "description": event.get("description"),
        "metric": session.task.metric.name,
        "direction": session.task.metric.direction.value,
        "budget_seconds": budget["seconds"],
        "budget_steps": budget["steps"],
        "timeout_seconds": budget["timeout_seconds"],
        "device": session.task.device,
        "hardware": dict(manifest.hardware),
    }
    if trial is not None:
        found["commit"] = trial.commit
        if trial.number:
            proposal = trial.proposal
            found |= {
                "round": trial.round,
                "category": trial.category,
                "edit": trial.edit,
                "hypothesis": proposal.hypothesis,
                "proposer": proposal.proposer,
                "parent": proposal.parent,
                "lines_added": proposal.lines_added,
                "lines_removed": proposal.lines_removed,
            }
    return found


def _constants(
    session: Session, trial: Trial | None, known: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """Constants of the code that was run, as ``constant.NAME``; ``known`` are those by source."""
    if trial is None:
        return {}
    source = trial.proposal.source
    if source not in known:
        found = (
            (f"constant.{constant}", place.value)
            for name, text in session.texts(trial.files).items()
            for constant in constant_names(name, text)
            if (place := find_value(name, text, constant)) is not None
        )
        known[source] = dict(itertools.islice(found, MOST_CONSTANTS))
    return known[source]


def _results(
    session: Session, record: RunRecord, trial: Trial | None, ruling: Ruling | None, key: str
) -> dict[str, Any]:
    """What came of a run, and of the experiment that it is of."""
    ok, evaluation = record.outcome is Outcome.OK, record.evaluation
    found: dict[str, Any] = {
        **record.metrics,
        session.task.metric.name: record.metrics.get(session.task.metric.name) if ok else None,
        "audit": evaluation.audit if ok and evaluation else None,
        "outcome": record.outcome.value,
        "outcome_reason": record.reason,
        "wall_seconds": record.wall_seconds,
        "training_seconds": evaluation.trained_wall_seconds if evaluation else None,
        "cpu_seconds": record.cpu_seconds,
        "peak_memory_mb": record.peak_memory_mb,
        "slowed": record.pace.slowed if record.pace else None,
    }
    if trial is not None and ruling is not None:
        found |= {
            "verdict": ruling.verdict.value,
            "verdict_reason": ruling.reason,
            "kept": trial.kept,
            "counted": key in {run.key for run in trial.runs},
            "mean": ruling.mean,
            "incumbent": ruling.incumbent,
            "delta": ruling.delta,
            "gain": ruling.gain,
            "p_better": ruling.confidence,
        }
    return found
