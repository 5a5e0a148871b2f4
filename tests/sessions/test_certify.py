"""Certification of what a session kept."""

from pathlib import Path

import pytest

from helpers import FAKE
from helpers.boxes import Box, make_box
from helpers.edits import is_kept
from helpers.recorded import Recorded
from ratchet.cli.verify import main

RUNS = 6


@pytest.fixture
def played(tmp_path: Path) -> tuple[Box, Recorded]:
    return play(tmp_path / "box")


def play(path: Path, **settings: object) -> tuple[Box, Recorded]:
    box = make_box(path, task="tasks/fake", rounds=12, certify=True, **settings)
    table = Recorded.load("fake", FAKE)
    box.backend, box.clock = table, table.clock
    box.play()
    return box, table


def kept(box: Box) -> list[int]:
    return [ruling["number"] for ruling in box.rulings() if is_kept(ruling)]


def test_fresh_runs_leave_kept_changes_out(played: tuple[Box, Recorded]) -> None:
    box, table = played
    certified = box.json("certify.json")
    made = [run for run in certified["runs"] if run["run"]]
    assert RUNS - 1 <= len(made) <= RUNS
    assert {number for run in made for number in run["left_out"]} <= set(kept(box))
    assert any(len(run["left_out"]) > 1 for run in made)
    assert table.runs == len(box.runs()) == len(box.events("run_started"))
    assert main(["--root", str(box.path)]) == 0


def test_each_kept_change_has_a_contribution(played: tuple[Box, Recorded]) -> None:
    box, _ = played
    found = box.json("confirm.json")["contributions"]
    assert [each["number"] for each in found] == kept(box)
    assert all(each["low"] <= each["gain"] <= each["high"] for each in found)
    assert "certified" in [each["standing"] for each in found]
    facts = box.json("report.json")
    standings = {e["number"]: e["contribution"] for e in facts["experiments"] if e["contribution"]}
    assert standings == {each["number"]: each for each in found}
    certified = [each["standing"] for each in found].count("certified")
    assert facts["counts"]["certified"] == certified < facts["counts"]["kept"]
    assert f"{certified} certified" in facts["answer"]["sentence"]
    page = (box.session / "report.html").read_text(encoding="utf-8")
    assert "What each kept change contributes" in page
    assert f"{certified} of {len(found)} kept" in (box.session / "progress.log").read_text("utf-8")


def test_a_replay_certifies_the_same(played: tuple[Box, Recorded]) -> None:
    box, table = played
    names = ("certify.json", "confirm.json", "certify/plan.json")
    before, runs = [box.json(name) for name in names], table.runs
    for name in names:
        (box.session / name).unlink()
    box.play("confirm")
    assert [box.json(name) for name in names] == before
    assert table.runs == runs


def test_nothing_kept_is_nothing_to_certify(tmp_path: Path) -> None:
    box, _ = play(tmp_path / "box", mode="guaranteed", max_replicates=3)
    if not kept(box):
        assert box.json("certify.json")["runs"] == []
        assert box.json("confirm.json")["contributions"] == []
        assert box.json("report.json")["counts"]["certified"] is None
