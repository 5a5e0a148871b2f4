"""Which jobs stay on the head node, and how many trainings run at a time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from helpers import REPO
from ratchet import files, guard, placing
from ratchet.records import Incumbent, Proposals, SessionState, StopReason

FAKE = {"task": str(REPO / "tests" / "data" / "tasks" / "fake"), "rounds": 2, "candidates": 2}


@pytest.fixture
def plan(tmp_path: Path) -> guard.Plan:
    return guard.plan(FAKE, tmp_path, REPO, owner=False)


def incumbent(number: int) -> Incumbent:
    return Incumbent(number, "s", {}, "c", 1.0, 0.1, None, 0)


@pytest.mark.parametrize(
    ("remote", "limit", "ahead"),
    [(False, 1, "no"), (False, 2, "gpus"), (False, None, "no"), (True, 1, "node")],
)
def test_where_runs_are_made_ahead(remote: bool, limit: int | None, ahead: str) -> None:
    limits = {"gpu": SimpleNamespace(value=limit)}
    workflow = SimpleNamespace(remote_exec=remote, global_resources=limits)
    assert placing.environment(workflow) == {"RATCHET_AHEAD": ahead}


def test_jobs_of_a_session_that_goes_on_are_sent(plan: guard.Plan) -> None:
    wildcards = {"round": "0001", "candidate": "0"}
    assert not placing.is_idle(plan, "experiment", wildcards), "not even proposed"
    files.write_json(plan.paths.round(1).proposals, Proposals(round=1))
    assert not placing.is_idle(plan, "experiment", wildcards)
    assert not placing.is_idle(plan, "retest", wildcards), "its experiments are not there yet"
    assert not placing.is_idle(plan, "judge", wildcards), "that is no question of idleness"


def test_jobs_after_the_sessions_end_stay_here(plan: guard.Plan) -> None:
    ended = Proposals(round=1, stop=StopReason.TARGET, detail="reached")
    files.write_json(plan.paths.round(1).proposals, ended)
    for rule in ("experiment", "retest"):
        assert placing.is_idle(plan, rule, {"round": "0001", "candidate": "1"})


@pytest.mark.parametrize(("kept", "idle"), [(0, True), (3, False)])
def test_without_a_champion_there_is_nothing_to_confirm(
    plan: guard.Plan, kept: int, idle: bool
) -> None:
    assert not placing.is_idle(plan, "pair", {"candidate": "0"})
    files.write_json(plan.paths.round(2).steer, SessionState(2, incumbent(kept), 5))
    assert placing.is_idle(plan, "pair", {"candidate": "0"}) is idle


def test_what_is_damaged_is_left_to_the_job(plan: guard.Plan) -> None:
    path = plan.paths.round(1).proposals
    path.parent.mkdir(parents=True)
    path.write_text("{")
    assert not placing.is_idle(plan, "experiment", {"round": "0001", "candidate": "0"})


def test_the_answer_of_the_class_is_extended(plan: guard.Plan) -> None:
    class Job:
        def __init__(self, rule: str, number: str) -> None:
            self.rule = SimpleNamespace(name=rule)
            self.wildcards_dict = {"round": number, "candidate": "0"}

        @property
        def is_local(self) -> bool:
            return self.rule.name == "steer"

    placing.keep_idle_jobs_here(plan, Job)
    ended = Proposals(round=1, stop=StopReason.TARGET, detail="reached")
    files.write_json(plan.paths.round(1).proposals, ended)
    assert Job("steer", "0002").is_local
    assert Job("experiment", "0001").is_local
    assert not Job("experiment", "0002").is_local


def test_executors_look_as_often_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def note(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", note)

    class Executor:
        workflow = SimpleNamespace(
            remote_execution_settings=SimpleNamespace(seconds_between_status_checks=7)
        )
        sleep: Any = None

    placing.look_as_often_as_asked(Executor)
    asyncio.run(Executor().sleep())
    assert slept == [7]
