"""Limits that end a session early, and its rounds after the end."""

from pathlib import Path

import pytest

from helpers import REPO
from ratchet.base.io import read_record, write_json
from ratchet.cli.sessions import read_settings
from ratchet.records.paths import SessionPaths
from ratchet.records.proposals import Proposals
from ratchet.records.records import (
    Direction,
    Experiment,
    Incumbent,
    RoundVerdict,
    Ruling,
    SessionState,
    StopReason,
    Verdict,
)
from ratchet.steps.limits import Limits, stop_reason
from ratchet.steps.rounds import Round

LOW, HIGH = Direction.MINIMIZE, Direction.MAXIMIZE
RESERVED = {"max_runs": 12, "reserved_runs": 6}


def incumbent(mean: float = 1.0) -> Incumbent:
    return Incumbent(2, "s", {}, "c", mean, mean, 0.3, None, 1)


@pytest.mark.parametrize(
    ("limits", "mean", "used", "now", "candidate", "stop"),
    [
        ({"target": 0.9}, 0.95, 5, 0.0, 0, None),
        ({"target": 0.9}, 0.9, 5, 0.0, 0, StopReason.TARGET),
        ({"target": 0.9, "direction": HIGH}, 0.85, 5, 0.0, 0, None),
        ({"target": 0.9, "direction": HIGH}, 0.95, 5, 0.0, 0, StopReason.TARGET),
        ({}, 1.0, 5, 9.9, 0, None),
        ({}, 1.0, 5, 10.0, 0, StopReason.DEADLINE),
        (RESERVED, 1.0, 5, 0.0, 0, None),
        (RESERVED, 1.0, 6, 0.0, 0, StopReason.MAX_RUNS),
        (RESERVED, 1.0, 5, 0.0, 1, StopReason.MAX_RUNS),
    ],
)
def test_what_ends_a_session(
    limits: dict, mean: float, used: int, now: float, candidate: int, stop: StopReason | None
) -> None:
    state = SessionState(0, incumbent(mean), used)
    found = stop_reason(Limits(**{"deadline": 10, **limits}), state, now, candidate)
    assert (found and found[0]) is stop


def test_rounds_after_the_end_keep_sums_and_queue(tmp_path: Path) -> None:
    paths = SessionPaths("s", tmp_path)
    sums = {"credit_used": 0.3, "expected_false_keeps": 1.5, "error_spent": 0.01}
    judged = Ruling(1, 0, "c", Verdict.MARGINAL, "", ())
    write_json(paths.round(1).verdict, RoundVerdict(1, (judged,), **sums))
    write_json(paths.round(1).judge, {"any": "state"})
    write_json(paths.round(1).steer, SessionState(1, incumbent(), 5, near_misses=(4, 3)))
    write_json(paths.round(2).proposals, Proposals(2, dropped=(3,)))
    stopped = Experiment(2, 0, stop=StopReason.DEADLINE, detail="late")
    write_json(paths.round(2).experiment(0), stopped)
    ended = Round(paths, 2, read_settings(REPO), None, None, None, None)  # opens no session
    ended.judge()
    verdict = read_record(RoundVerdict, paths.round(2).verdict)
    assert {name: getattr(verdict, name) for name in sums} == sums
    assert (verdict.stop, verdict.detail) == (StopReason.DEADLINE, "late")
    assert paths.round(2).judge.read_bytes() == paths.round(1).judge.read_bytes()
    ended.steer()
    state = read_record(SessionState, paths.round(2).steer)
    assert state.near_misses == (4,)
