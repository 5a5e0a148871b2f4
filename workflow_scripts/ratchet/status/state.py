"""Whether a session runs, and everything about it as one value."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any

from ratchet.status.entries import Phase
from ratchet.status.pace import Event, ago, iso, median, number, seconds, time_left
from ratchet.status.standing import START, Standing

HAND = "hand"


class State(enum.StrEnum):
    """Whether there is anything to wait for, or to do."""

    RUNNING = "running"
    WAITING = "waiting"
    FINISHED = "finished"
    STALE = "stale"
    FAILED = "failed"


def state(
    standing: Standing, now: float, owned: bool | None, command: str = "snakemake --cores 1"
) -> tuple[State, str]:
    """Whether the session runs, and why if it does not.

    ``owned``: whether a living process holds it (``None``: cannot be known here,
    then the age of the last event decides).
    """
    if standing.failure is not None:
        step, message = standing.failure
        # Whoever is refused at the start does not stop what runs or is done.
        if step != START or not (owned or standing.phase is Phase.REPORTED):
            return State.FAILED, f"{step}: {message}"
    if standing.phase is Phase.REPORTED and not (standing.reopened and owned):
        return State.FINISHED, ""
    if standing.phase is Phase.LEG_OVER:
        return (State.FINISHED, "") if owned is False else (State.WAITING, "for its next leg")
    quiet = max(0.0, now - (standing.last or now))
    again = f"go on with: {command}"
    if owned is False:
        if standing.proposer == HAND and not standing.work and standing.baseline is not None:
            return State.WAITING, "for your next edit: ratchet try"
        return State.STALE, f"nobody runs it, its last event is {ago(quiet)}; {again}"
    if standing.due is not None and now > standing.due:
        late = f"its last event is {ago(quiet)}, the next was due {ago(now - standing.due)}"
        return (
            State.STALE,
            f"{late}; see whether the machine hangs" if owned else f"{late}; {again}",
        )
    return State.RUNNING, ""


def facts(
    standing: Standing, now: float, found: tuple[State, str], left: float | None
) -> dict[str, Any]:
    """All of it as one JSON value; ``left`` are the seconds to the end, if known."""
    s, (word, why) = standing, found
    return {
        "session": s.session,
        "task": s.task,
        "metric": s.metric,
        "state": word.value,
        "why": why,
        "phase": s.phase.value,
        "round": s.round,
        "rounds": s.rounds,
        "current": [
            {**w._asdict(), "elapsed_seconds": max(0.0, now - w.began)} for w in s.work.values()
        ],
        "baseline": s.baseline,
        "best": s.best,
        "noise": s.noise,
        "verdicts": [entry._asdict() for entry in reversed(list(s.judged.values()))],
        "counts": {"experiments": len(s.judged), **s.counts},
        "failed_proposals": s.failed_proposals,
        "runs": s.runs,
        "alarms": list(s.alarms),
        "stop": None if s.stop is None else dict(zip(("reason", "detail"), s.stop, strict=True)),
        "confirmed": s.confirmed,
        "answer": s.answer,
        "page": s.page,
        "started": iso(s.started),
        "last_event": {
            "event": s.last_event,
            "time": iso(s.last),
            "seconds_ago": None if s.last is None else max(0.0, now - s.last),
        },
        "seconds_left": left,
    }


def seconds_left(events: Sequence[Event], standing: Standing, now: float) -> float | None:
    """Seconds to the end of a running session; ``None`` while its pace is not known."""
    if standing.phase in (Phase.REPORTING, Phase.REPORTED):
        return 0.0
    found = [number(e.get("wall_seconds")) for e in events if e["event"] == "run_finished"]
    walls = [wall for wall in found if wall is not None]
    if standing.phase is Phase.CONFIRMING:
        missing = 2 * standing.confirm_replicates - standing.confirm_runs
        return max(0.0, missing * median(walls)) if walls else None
    if standing.phase in (Phase.EVOLVING, Phase.LEG_OVER, Phase.RERUNNING):
        return None
    last = next((e for e in reversed(events) if e["event"] == "verdict"), None)
    whole = None if last is None else time_left(events, last)
    return None if whole is None or last is None else max(0.0, whole - (now - seconds(last)))
