"""What ends a session early."""

from __future__ import annotations

from ratchet.base.structs import replace
from ratchet.records.records import Direction, Incumbent, SessionState, StopReason
from ratchet.steps.limits import Limits, stop_reason

LOW, HIGH = Direction.MINIMIZE, Direction.MAXIMIZE


def state(mean: float = 1.0, runs_used: int = 5) -> SessionState:
    incumbent = Incumbent(0, "s", {}, "c", mean, 0.1, None, 0)
    return SessionState(round=0, incumbent=incumbent, runs_used=runs_used)


def reason(limits: Limits, direction: Direction = LOW, now: float = 0.0, **kw: float) -> object:
    found = stop_reason(replace(limits, direction=direction), state(**kw), now)
    return found and found[0]


def test_target_in_both_directions() -> None:
    limits = Limits(deadline=10, target=0.9)
    assert reason(limits, mean=0.95) is None
    assert reason(limits, mean=0.9) is StopReason.TARGET
    assert reason(limits, HIGH, mean=0.85) is None
    assert reason(limits, HIGH, mean=0.95) is StopReason.TARGET


def test_deadline() -> None:
    assert reason(Limits(deadline=10), now=9.9) is None
    assert reason(Limits(deadline=10), now=10) is StopReason.DEADLINE


def test_max_runs_keeps_the_reserve() -> None:
    limits = Limits(deadline=10, max_runs=12, reserved_runs=6)
    assert reason(limits, runs_used=5) is None
    assert reason(limits, runs_used=6) is StopReason.MAX_RUNS
    later = stop_reason(limits, state(runs_used=5), 0.0, candidate=1)
    assert later is not None
    assert later[0] is StopReason.MAX_RUNS
