"""Runs made ahead of the step that asks for them: the same runs, said once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.boxes import REPO, Box, make_box
from helpers.edits import alternative, declare
from ratchet import guard
from ratchet.journal import Journal
from ratchet.stages import ahead
from ratchet.stages.session import Session
from ratchet.store import Store

SETTINGS = {"task": "tasks/fake", "rounds": 1, "budget_steps": 5, "confirm_replicates": 1}


@pytest.fixture(scope="module")
def suspicious(tmp_path_factory: pytest.TempPathFactory) -> Box:
    """A session whose one edit gains so much that it is run once more, then kept."""
    box = make_box(tmp_path_factory.mktemp("suspicious") / "box", **SETTINGS)
    declare(box, alternative("leap", "optimizer", "shape = 1.0", "shape = 0.1"))
    box.play()
    return box


@pytest.fixture
def copy(suspicious: Box, tmp_path: Path) -> Box:
    shutil.copytree(suspicious.path, tmp_path / "copy", symlinks=True)
    return Box((tmp_path / "copy").resolve())


def opened(box: Box) -> Session:
    plan = guard.plan(SETTINGS, box.path, REPO, owner=False)
    return Session.open(plan.config, box.path, REPO, Journal(plan.paths.events))


def retested(box: Box) -> tuple[int, str]:
    """A round whose judge asked for more than the first run, and the last of them."""
    for path in sorted((box.session / "rounds").glob("*/verdict.json")):
        verdict = json.loads(path.read_text())
        for ruling in verdict["rulings"]:
            if len(ruling["runs"]) > 1:
                return verdict["round"], ruling["runs"][-1]["key"]
    pytest.fail("the session had no retest")


def test_what_the_judge_will_ask_for_is_known_without_running_it(copy: Box) -> None:
    session = opened(copy)
    number, key = retested(copy)
    before = copy.events(), copy.runs()
    assert not ahead.wants_runs(session, number), "all is in the store"
    (copy.path / "store/runs" / key[:2] / key).rename(copy.path / "aside")
    assert ahead.wants_runs(session, number)
    assert (copy.events(), sorted({*copy.runs(), key})) == before, "nothing was run or written"


def test_runs_made_ahead_are_those_that_the_steps_ask_for(copy: Box) -> None:
    """Nothing is left for the steps; the journal has the runs, and no step's own events."""
    session = opened(copy)
    number, key = retested(copy)
    wanted = copy.runs()
    (copy.path / "store/runs").rename(copy.path / "runs-before")
    count = len(copy.events())
    for replicate in range(3):
        ahead.replicate(session, replicate)
    first = copy.json(f"rounds/{number:04d}/experiment-0.json")["run"]["key"]
    (copy.path / "store/runs" / first[:2]).mkdir(exist_ok=True)
    (copy.path / "runs-before" / first[:2] / first).rename(
        copy.path / "store/runs" / first[:2] / first
    )
    ahead.retests(session, number)
    ahead.pair(session, 0)
    made = set(copy.runs())
    assert made <= set(wanted)
    confirmed = copy.json("confirm.json")
    runs = [*copy.json("baseline.json")["runs"], *confirmed["baseline_runs"]]
    assert {run["key"] for run in [*runs, *confirmed["champion_runs"]]} | {key} <= made
    kinds = {event["event"] for event in copy.events()[count:]}
    assert kinds <= set(ahead.OF_RUNS)
    assert "run_finished" in kinds
    assert not ahead.wants_runs(session, number)


def test_a_store_for_looking_runs_nothing(copy: Box) -> None:
    store = ahead.FinishedOnly(Store(opened(copy).store.paths).paths)
    with pytest.raises(ahead.MissingRunError):
        store.run({"source": {"train.py": "abc"}, "seed": 7}, lambda _: pytest.fail("it was run"))


def test_a_step_on_a_node_makes_the_judges_runs_too(copy: Box) -> None:
    """Where a candidate is the only one of its round; where no cluster runs it, none."""
    number, key = retested(copy)
    (copy.path / "store/runs" / key[:2] / key).rename(copy.path / "aside")
    plan = guard.plan(SETTINGS, copy.path, REPO, owner=False)

    def experiment(ahead_of: str) -> None:
        subprocess.run(
            [
                *(sys.executable, "-P", str(REPO / "workflow_scripts/experiment.py")),
                *("--log", str(copy.path / "log"), "--round", f"{number:04d}"),
            ],
            cwd=copy.path,
            env={**os.environ, **plan.environment, "RATCHET_AHEAD": ahead_of},
            check=True,
        )

    experiment("no")
    assert key not in copy.runs()
    experiment("node")
    assert key in copy.runs()
