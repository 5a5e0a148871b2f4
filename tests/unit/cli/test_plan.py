"""ratchet plan: hours and money of a session before its start."""

import json
from pathlib import Path

import pytest

from helpers.boxes import Box, make_box
from helpers.recorded import play_fake
from ratchet.cli import plan
from ratchet.cli.sessions import read_settings, task_of

Capsys = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Box:
    """A folder whose store has runs of the fake task."""
    return play_fake(make_box(tmp_path_factory.mktemp("plan") / "box"))


def say(capsys: Capsys, root: Path, *words: str) -> str:
    assert plan.main(["--root", str(root), *words]) == 0
    return capsys.readouterr().out


def test_a_plan_fits_the_terminal(tmp_path: Path, capsys: Capsys) -> None:
    words = ["--price", "2.5", "--gpus", "2", "--config", "rounds=100", "budget_seconds=300"]
    said = say(capsys, tmp_path, *words, "deadline_hours=6", "target=0.1")
    assert max(map(len, said.splitlines())) <= 80
    assert max(map(len, str(plan.__doc__).splitlines())) <= 80
    assert "session default, before its start; 2 trainings at a time" in said
    flat = " ".join(said.split())
    assert "a guess: the budget, and up to 2 min to start and evaluate" in flat
    assert "by the deadline (6.0 h are left), after about" in flat
    assert "or before, where the target 0.1 is reached" in flat
    assert "at 2.5 an hour" in flat


def test_json_has_the_same(tmp_path: Path, capsys: Capsys) -> None:
    words = ["--json", "--price", "3600", "--config", "rounds=5", "budget_seconds=10"]
    found = json.loads(say(capsys, tmp_path, *words))
    assert found["cost"] == found["seconds"]
    runs = {part["name"]: part["runs"]["middle"] for part in found["parts"]}
    assert (runs["experiments"], runs["baseline"], found["begun"]) == (5, 1, False)


def test_runs_of_the_task_that_the_store_has_tell_the_pace(played: Box, capsys: Capsys) -> None:
    words = ["--config", "session=next", "task=tasks/fake", "budget_steps=5", "seeds=public"]
    said = say(capsys, played.path, *words)
    assert "of this task here" in said
    # Another budget is another pace.
    other = say(capsys, played.path, *words[:-2], "budget_steps=6")
    assert "the budget is in steps" in " ".join(other.split())


def test_of_a_finished_session_nothing_is_left(played: Box, capsys: Capsys) -> None:
    found = json.loads(say(capsys, played.path, "--json", "default", "task=tasks/fake"))
    assert found["begun"]
    assert found["runs"]["high"] == found["seconds"]["high"] == 0
    said = say(capsys, played.path, "default", "task=tasks/fake")
    assert "it is at its end and nothing is left to do" in " ".join(said.split())
    assert "deadline" not in said


def test_a_session_that_its_deadline_ended_goes_on_with_more_time(
    tmp_path: Path, capsys: Capsys
) -> None:
    box = make_box(tmp_path / "box", task="tasks/fake", rounds=5, deadline_hours=1e-6)
    play_fake(box)
    settings = ["--json", "default", "task=tasks/fake", "rounds=5", "deadline_hours=1e-6"]
    assert json.loads(say(capsys, box.path, *settings))["experiments"] == 0
    more = json.loads(say(capsys, box.path, *settings[:-1], "deadline_hours=1"))
    assert more["experiments"] > 0


def test_what_is_left_of_a_session(played: Box) -> None:
    chosen = read_settings(played.path, ["session=default", "task=tasks/fake", "rounds=9"])
    found = plan.outlook_of(chosen, task_of(chosen, played.path), played.path)
    assert found.experiments == 6
    assert "of this session" in found.source
