"""When a session ends before its last round."""

from __future__ import annotations

from ratchet.codec import Frozen
from ratchet.records import Direction, SessionState, StopReason


class Limits(Frozen):
    """What ends a session early.

    ``deadline`` is in seconds since the epoch.  ``reserved_runs`` are those
    that a round may still need after its candidates' first runs.
    """

    deadline: float
    direction: Direction = Direction.MINIMIZE
    target: float | None = None
    max_runs: int | None = None
    reserved_runs: int = 0


def stop_reason(
    limits: Limits, state: SessionState, now: float, candidate: int = 0
) -> tuple[StopReason, str] | None:
    """Why the next experiment must not run, with a sentence; ``None`` to go on."""
    mean = state.incumbent.mean
    if limits.target is not None and limits.direction.sign * (mean - limits.target) <= 0:
        return StopReason.TARGET, f"the target {limits.target:g} is reached (now {mean:.6g})"
    if now >= limits.deadline:
        return StopReason.DEADLINE, "the time limit is over; raise `leg` to grant another one"
    needed = state.runs_used + candidate + 1 + limits.reserved_runs
    if limits.max_runs is not None and needed > limits.max_runs:
        return (
            StopReason.MAX_RUNS,
            f"another round could need {needed} runs in all, {limits.max_runs} are allowed",
        )
    return None
