"""How long the configured session will take, from its settings and from runs it has made."""

from __future__ import annotations

from pathlib import Path

from ratchet import outlook
from ratchet.config import Config
from ratchet.journal import read_events
from ratchet.outlook import Outlook
from ratchet.paths import SessionPaths
from ratchet.stages.prepare import judge_mode
from ratchet.status.pace import number
from ratchet.task import Task


def outlook_of(chosen: Config, task: Task, root: Path) -> Outlook:
    """The session's length; runs that it has made tell how long one takes."""
    seconds, steps = chosen.budget_seconds, chosen.budget_steps
    if seconds is None and steps is None:
        seconds, steps = task.budget_seconds, task.budget_steps
    session = outlook.Session(
        rounds=chosen.rounds,
        candidates=chosen.candidates,
        baseline=chosen.baseline_replicates,
        confirm=chosen.confirm_replicates,
        mode=judge_mode(chosen),
        most_per_candidate=chosen.max_replicates,
        remeasure_every=chosen.remeasure_every,
        limit=chosen.max_runs,
    )
    walls = _walls(SessionPaths(chosen.session, root))
    asked = chosen.agent_minutes if chosen.by_agent else None
    deadline = 3600.0 * chosen.deadline_hours
    pace = outlook.pace(seconds, task.plausible, walls)
    return outlook.outlook(session, pace, deadline, asked)


def _walls(paths: SessionPaths) -> list[float]:
    """Wall-clock seconds of the session's finished runs; none if there is no such session."""
    events = [event for event in read_events(paths.events) if event["event"] == "run_finished"]
    found = [number(event.get("wall_seconds")) for event in events]
    return [wall for wall in found if wall is not None]
