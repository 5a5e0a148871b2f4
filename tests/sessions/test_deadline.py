"""A deadline that holds: confirmation and report are within it, and the certification shrinks."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

from helpers import FAKE
from helpers.boxes import Box, make_box
from helpers.recorded import Recorded
from ratchet.base.structs import replace
from ratchet.cli.verify import main as verify
from ratchet.records.store import RunRecord, Store
from ratchet.runs.spec import RunSpec

ROUNDS, CERTIFIED, CONFIRMED = 8, 6, 4


@dataclass
class Timed(Recorded):
    """Recorded runs that take as long as ``seconds`` says, by how many were made before."""

    seconds: Callable[[int], float] = lambda _: 300.0
    spent: list[float] = field(default_factory=list)

    def execute(self, spec: RunSpec, store: Store, folder: Path) -> RunRecord:
        began, length = self.clock.now, self.seconds(len(self.spent))
        found = super().execute(spec, store, folder)
        self.spent.append(length)
        self.clock.now = began + length
        return replace(found, wall_seconds=length)


def timed(path: Path, hours: float, seconds: Callable[[int], float]) -> tuple[Box, Timed, float]:
    """A session whose runs take so long, to be played, and when it must be over."""
    settings = {"rounds": ROUNDS, "certify": True, "deadline_hours": hours}
    box = make_box(path, task="tasks/fake", **settings)
    table = Timed.load("fake", FAKE)
    assert isinstance(table, Timed)
    table.seconds = seconds
    box.backend, box.clock = table, table.clock
    return box, table, table.clock.now + 3600 * hours


def made(box: Box) -> list[dict]:
    return [run for run in box.json("certify.json")["runs"] if run["run"]]


def test_the_last_experiment_leaves_time_for_what_follows(tmp_path: Path) -> None:
    box, table, deadline = timed(tmp_path / "box", 1.4, lambda _: 300.0)
    said = box.play()
    assert deadline - 600 < table.clock.now <= deadline
    (stopped,) = box.events("stopped")
    assert stopped["reason"] == "deadline"
    assert "is kept for 11 runs of certification and confirmation (about 5 min each)" in said
    assert 1 < stopped["round"] < ROUNDS
    assert "raise `deadline_hours`, or `leg` for as long again" in said
    assert len(made(box)) >= CERTIFIED
    assert box.json("confirm.json")["gain"] is not None
    page = (box.session / "report.html").read_text(encoding="utf-8")
    assert "is kept for 11 runs of certification and confirmation" in page
    assert verify(["--root", str(box.path)]) == 0
    # What was executed is a fact, also when the deadline has passed.
    facts, runs = [box.json(name) for name in ("certify.json", "confirm.json")], table.runs
    table.clock.advance(36000)
    for path in [box.session / "certify.json", *(box.session / "certify").glob("run-*.json")]:
        path.unlink()
    box.play(first="confirm", last="confirm")
    assert [box.json(name) for name in ("certify.json", "confirm.json")] == facts
    assert table.runs == runs
    # Another leg goes on with the search.
    tried = len(box.rulings())
    box.play(leg=2, last="rounds", rounds=tried + 1)
    assert len(box.rulings()) == tried + 1


def test_what_time_is_too_short_for_is_not_certified(tmp_path: Path) -> None:
    # After the search the machine has stood still for a while.
    box, table, deadline = timed(tmp_path / "box", 1.75, lambda _: 300.0)
    box.play(last="rounds")
    kept = [ruling["number"] for ruling in box.rulings() if ruling["verdict"].endswith("KEEP")]
    assert len(kept) > 1
    table.clock.now = deadline - 7 * 310
    box.play("confirm")
    assert table.clock.now <= deadline
    found = box.json("certify.json")
    late = [run for run in found["runs"] if run.get("late")]
    assert late and 0 < len(made(box)) < CERTIFIED
    tested = {number for run in made(box) for number in run["left_out"]}
    standings = {e["number"]: e["standing"] for e in box.json("confirm.json")["contributions"]}
    assert all(standings[n] == "uncertified" for n in kept if n not in tested)
    assert box.json("confirm.json")["gain"] is not None
    # With time again they are made.
    box.play("confirm", leg=2, last="confirm")
    assert len(made(box)) >= CERTIFIED


@pytest.mark.parametrize("seed", [1, 2])
def test_runs_of_any_length_end_in_time(tmp_path: Path, seed: int) -> None:
    draw = Random(seed)
    hours = 1.2 + 0.1 * seed
    box, table, deadline = timed(tmp_path / "box", hours, lambda _: draw.uniform(200, 400))
    box.play(last="confirm")
    assert table.clock.now <= deadline + max(table.spent)
    confirmed = box.json("confirm.json")
    assert len(confirmed["baseline_runs"] + confirmed["champion_runs"]) == CONFIRMED
