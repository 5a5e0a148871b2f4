"""Whole sessions whose proposals are points of optimisers, alone and beside the declared list."""

import contextlib
import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import pytest

from helpers.boxes import Box, make_box
from helpers.edits import alternative, change, constant, declare, is_kept
from ratchet.base.structs import from_json_values
from ratchet.cli.sessions import session_of
from ratchet.cli.verify import main as verify
from ratchet.proposers.optimizer import session_search
from ratchet.records.history import History
from ratchet.records.records import Outcome
from ratchet.records.store import LOG, SOURCE, RunRecord, Store
from ratchet.runs import executor
from ratchet.runs.run import write_below
from ratchet.runs.spec import RunSpec
from ratchet.steering.bandit import LATE
from ratchet.task.edits import find_value

ROUNDS = 6
RECORD = json.loads((Path(__file__).parents[1] / "data/runs/fake.json").read_text())["record"]
SPACE = [
    {**constant("RATE", 0.2), "range": [0.01, 10.0], "log": True},
    {"constant": "DECAY", "category": "regularization", "range": [0.0, 0.5]},
    {"constant": "WIDTH", "category": "architecture", "range": [1, 8]},
]
SQUARE = alternative("square", "activation", "shape = 1.0", "shape = 0.9 + 0.0 * WIDTH")


@contextlib.contextmanager
def computed() -> Iterator[None]:
    """Let the metric of a run be computed from its constants and its seed, without training."""

    def execute(spec: RunSpec, store: Store, folder: Path) -> RunRecord:
        sources = {name: store.get(sha) for name, sha in spec.sources.items()}
        for name, content in sources.items():
            write_below(folder / SOURCE / name, content)
        (folder / LOG).write_text("computed\n")
        text = sources["train.py"].decode()
        value = {n: find_value("train.py", text, n).value for n in ("RATE", "DECAY", "WIDTH")}
        if value["RATE"] > 6:
            failed = {"outcome": Outcome.CRASH.value, "reason": "diverged", "metrics": {}}
            return from_json_values(RunRecord, {**RECORD, **failed}, "record")
        loss = math.log(value["RATE"] / 0.8) ** 2 / 10 + value["DECAY"] + 0.1 * value["WIDTH"]
        loss *= 0.9 if "shape = 0.9" in text else 1.0
        loss += Random(f"{spec.seed}").gauss(0.0, 0.002)
        metrics = {**RECORD["metrics"], "val_loss": 1 + loss, "peak_mem_mb": 100.0 * value["WIDTH"]}
        return from_json_values(RunRecord, {**RECORD, "metrics": metrics}, "record")

    with mock.patch.object(executor, "execute_run", execute):
        yield


def computing(path: Path, *entries: dict[str, Any], **settings: object) -> Box:
    """A box whose runs are computed, with a search space."""
    box = make_box(path, **{"rounds": ROUNDS, "baseline_replicates": 2, **settings})
    change(box, "WIDTH = 1\nDECAY = 0.0", "WIDTH = 4\nDECAY = 0.3")
    declare(box, *(entries or SPACE))
    box.backend = computed
    return box


def played(path: Path, *entries: dict[str, Any], **settings: object) -> Box:
    box = computing(path, *entries, **settings)
    box.play(last="rounds")
    return box


def proposals(box: Box) -> list[dict[str, Any]]:
    files = sorted((box.session / "rounds").glob("*/proposals.json"))
    return [one for path in files for one in json.loads(path.read_text())["proposals"]]


def proposers(box: Box) -> list[str]:
    return [one["proposer"] for one in proposals(box)]


def decisions(box: Box) -> dict[str, bytes]:
    """What a replay must give byte for byte."""
    files = [box.session / "results.tsv", *box.session.glob("rounds/*/proposals.json")]
    return {str(path.relative_to(box.session)): path.read_bytes() for path in files}


@pytest.mark.parametrize("proposer", ["tpe", "cmaes", "random"])
def test_a_session_of_points_improves_and_is_replayed(tmp_path: Path, proposer: str) -> None:
    box = played(tmp_path / "box", proposer=proposer)
    assert proposers(box) == [proposer] * ROUNDS
    assert any(map(is_kept, box.rulings()))
    several = [one for one in proposals(box) if one["edit"]["kind"] == "point"]
    ruling = {ruling["number"]: ruling for ruling in box.rulings()}[several[0]["number"]]
    count = len(several[0]["edit"]["values"])
    assert f"what its {count} constants do one by one cannot be told" in ruling["reason"]
    # Killed after some round, all that came later lost; and from the beginning, by its store.
    before, runs = decisions(box), box.runs()
    for number in range(3, ROUNDS + 1):
        shutil.rmtree(box.session / "rounds" / f"{number:04d}")
    box.play(last="rounds")
    assert decisions(box) == before
    shutil.rmtree(box.session)
    shutil.rmtree(box.path / "store" / "proposals", ignore_errors=True)
    box.play(last="rounds")
    assert (decisions(box), box.runs()) == (before, runs)
    # A longer one begins with the same.
    box.play(last="rounds", rounds=ROUNDS + 2)
    longer = decisions(box)
    for name, content in before.items():
        assert longer[name].startswith(content)
    assert proposers(box) == [proposer] * (ROUNDS + 2)


def test_a_used_up_list_is_followed_by_tpe_on_the_code_that_was_kept(tmp_path: Path) -> None:
    box = played(tmp_path / "box", constant("RATE", 0.4), SQUARE, proposer="auto")
    found = proposals(box)
    assert [one["proposer"] for one in found[:3]] == ["declared", "declared", "tpe"]
    assert [is_kept(ruling) for ruling in box.rulings()[:2]] == [True, True], "by far better"
    # No range is declared, so the constants of the start are searched that this code has still.
    for one in found[2:]:
        code = box.git("show", f"{one['commit']}:train.py")
        assert "shape = 0.9 + 0.0 * WIDTH" in code
        named = one["edit"].get("values") or {one["edit"]["name"]}
        assert set(named) <= {"RATE", "WIDTH", "DECAY"}
    # What was measured before the code was kept counts with what that gained.
    session = session_of(None, box.path, ["task=tasks/fake"])
    history = History.read(session.paths)
    seen = {each.number: each for each in session_search(session, history).measured}
    start, square = history.baseline.runs, box.rulings()[found[1]["number"] - 1]
    assert set(seen) == {0, *(one["number"] for one in found)}
    if found[1]["edit"]["name"] == "square":
        mean = sum(run.value for run in start) / len(start)
        rate = box.rulings()[0]["mean"]
        assert seen[0].value == pytest.approx(mean + square["mean"] - rate, abs=0.01)
    else:
        assert seen[1].value == pytest.approx(box.rulings()[0]["mean"], abs=0.01)


def test_a_list_that_brings_nothing_gives_way_to_an_optimiser(tmp_path: Path) -> None:
    worse = constant("DECAY", *(0.4 + n / 20 for n in range(LATE + 2)))
    settings = {"proposers": "[declared, tpe]", "rounds": LATE + 2}
    box = played(tmp_path / "box", worse, SPACE[2], **settings)
    assert proposers(box) == [*["declared"] * LATE, "tpe", "tpe"]


def test_a_round_of_three_points_has_three_and_its_session_is_like_any_other(
    tmp_path: Path,
) -> None:
    box = computing(tmp_path / "box", proposer="tpe", candidates=3, rounds=3)
    box.play(certify=True)
    sources = [one["source"] for one in proposals(box)]
    assert len(sources) == len(set(sources)) == 9
    assert [one["candidate"] for one in proposals(box)] == [0, 1, 2] * 3
    shown = (box.session / "report.html").read_text()
    assert proposals(box)[0]["description"].replace("->", "-&gt;") in shown
    assert box.json("confirm.json")["gain"] > 0
    assert verify(["--root", str(box.path)]) == 0


def test_a_crash_and_a_broken_constraint_are_no_numbers(tmp_path: Path) -> None:
    box = computing(tmp_path / "box", proposer="random")
    definition = box.path / "tasks/fake/task.yaml"
    bound = "constraints: [{name: peak_mem_mb, max: 450}]\n"
    definition.write_text(definition.read_text() + bound)
    box.play(last="rounds")
    session = session_of(None, box.path, ["task=tasks/fake"])
    measured = session_search(session, History.read(session.paths)).measured
    broken = [each.point["WIDTH"] > 4 or each.point["RATE"] > 6 for each in measured]
    assert True in broken
    assert [each.value is None for each in measured] == broken


def test_a_space_of_few_points_ends_the_session(tmp_path: Path) -> None:
    few = {"constant": "WIDTH", "category": "architecture", "choices": [4, 5, 6]}
    box = computing(tmp_path / "box", few, proposer="tpe")
    assert "no more experiments: no point of the ranges is left to try" in box.play(last="rounds")
    assert len(proposals(box)) == 2
