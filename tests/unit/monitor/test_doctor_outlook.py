"""How long a session will take, said before it starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers.machines import GOOD
from ratchet.base.structs import replace
from ratchet.cli.doctor import outlook_of
from ratchet.cli.sessions import read_settings, task_of
from ratchet.monitor.doctor import (
    CheckState,
    PlannedSession,
    RunPace,
    examine_machine,
    is_ready,
    run_pace,
    session_outlook,
)
from ratchet.records.events import Journal
from ratchet.records.paths import SessionPaths
from ratchet.simulation.session import RULES, SimulationPlan, play_all
from ratchet.simulation.worlds import WORLDS
from ratchet.task.task import Plausible

NIGHT = PlannedSession(rounds=100, candidates=1, baseline=3, confirm=3, mode="gain")


@pytest.mark.parametrize(
    ("changes", "least", "most"),
    [
        ({}, 109, 122),
        ({"most_per_candidate": 1}, 109, 109),
        ({"candidates": 2}, 209, 235),
        ({"remeasure_every": 10}, 119, 132),
        ({"limit": 115}, 109, 115),
        ({"limit": 60}, 60, 60),
        # Fresh runs for what looks better, and runs of the incumbent.
        ({"mode": "guaranteed"}, 112, 209),
        ({"mode": "guaranteed", "rounds": 4}, 13, 23),
        ({"rounds": 1, "baseline": 1, "confirm": 0, "most_per_candidate": 1}, 2, 2),
    ],
)
def test_runs_of_a_session(changes: dict[str, object], least: int, most: int) -> None:
    assert replace(NIGHT, **changes).runs() == (least, most)


@pytest.mark.parametrize("rule", ["gain", "strict", "guaranteed"])
@pytest.mark.parametrize("world", ["typical", "null"])
def test_simulated_sessions_are_within(rule: str, world: str) -> None:
    plan = SimulationPlan(WORLDS[world], runs=60)
    records = [play_all((RULES[rule],), plan, number)[0] for number in range(8)]
    experiments = round(sum(record.proposals for record in records) / len(records))
    found = sum(record.retests + record.incumbent_runs for record in records) / len(records)
    planned = PlannedSession(rounds=experiments, candidates=1, baseline=0, confirm=0, mode=rule)
    least, most = planned.runs()
    assert least - 1 <= experiments + found <= most + 1


def test_the_pace_is_measured_or_from_the_budget() -> None:
    plausible = Plausible(startup_seconds=20.0, evaluation_seconds=5.0)
    found = run_pace(300.0, plausible)
    assert found == RunPace(301.0, 326.0, "the budget, and up to 25 s to start and evaluate")
    assert run_pace(300.0, None) == run_pace(300.0, Plausible())
    assert run_pace(None, plausible) is None
    measured = run_pace(None, plausible, [310.0, 312.0, 900.0])
    assert measured == RunPace(313.0, 313.0, "measured in 3 runs of this session")


def test_what_is_said() -> None:
    hours = session_outlook(NIGHT, RunPace(301.0, 326.0, "why"), 12 * 3600.0)
    assert hours.sentence() == (
        "100 experiments, 109 to 122 runs, 9.1 h to 11.0 h one after another (why)"
    )
    assert not hours.cut_short
    asked = session_outlook(NIGHT, RunPace(301.0, 326.0, "why"), 12 * 3600.0, agent_minutes=20.0)
    assert asked.sentence().endswith("(why); and the agent's time, up to 20 min each")
    one = PlannedSession(
        rounds=1, candidates=1, baseline=1, confirm=0, mode="gain", most_per_candidate=1
    )
    steps = session_outlook(one, None, 3600.0)
    assert steps.sentence().startswith("1 experiment, 2 runs; the budget is in steps")
    assert steps.least_seconds is None and not steps.cut_short


def test_a_limit_that_is_too_short_is_a_warning() -> None:
    short = session_outlook(NIGHT, RunPace(301.0, 326.0, "why"), 6 * 3600.0)
    checks = examine_machine(replace(GOOD, outlook=short))
    (check,) = [check for check in checks if check.name == "length"]
    assert check.state is CheckState.WARNING
    assert check.todo == "grant enough, such as deadline_hours=12, or plan fewer rounds"
    assert is_ready(checks)
    enough = replace(short, deadline_seconds=12 * 3600.0)
    assert [
        c.state for c in examine_machine(replace(GOOD, outlook=enough)) if c.name == "length"
    ] == [CheckState.OK]


def test_the_configured_session(tmp_path: Path) -> None:
    given = ["session=night", "rounds=100", "budget_seconds=300", "mode=guaranteed"]
    chosen = read_settings(tmp_path, given)
    task = task_of(chosen, tmp_path)
    found = outlook_of(chosen, task, tmp_path)
    assert (found.experiments, found.least_runs, found.most_runs) == (100, 112, 209)
    assert found.least_seconds == 112 * 301.0
    assert found.agent_minutes is None
    steps = outlook_of(read_settings(tmp_path, ["budget_steps=40"]), task, tmp_path)
    assert steps.least_seconds is None
    # After some runs they tell.
    paths = SessionPaths("night", tmp_path)
    paths.events.parent.mkdir(parents=True)
    for wall in (350.0, 360.0, None):
        Journal(paths.events).append("run_finished", wall_seconds=wall)
    found = outlook_of(replace(chosen, proposer="claude"), task, tmp_path)
    assert found.least_seconds == 112 * 356.0
    assert found.agent_minutes == chosen.agent_minutes


def test_the_command_prints_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from ratchet.cli.doctor import main

    main(["--root", str(tmp_path), "--json", "--config", "rounds=100", "budget_seconds=300"])
    found = json.loads(capsys.readouterr().out)
    assert found["length"]["least_runs"] == 109
    (line,) = [check["text"] for check in found["checks"] if check["name"] == "length"]
    assert line.startswith("100 experiments, 109 to 122 runs, 9.1 h to ")
