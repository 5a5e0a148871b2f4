"""Sessions whose training is looked up in a table of real runs."""

from pathlib import Path

import pytest

from helpers import BYTELM, FAKE
from helpers.boxes import Box, make_box
from helpers.edits import is_kept
from helpers.recorded import Recorded, candidates
from ratchet.cli.verify import main

TASKS = {"fake": FAKE, "bytelm": BYTELM}


def recorded(path: Path, name: str = "fake", **settings: object) -> tuple[Box, Recorded]:
    """A box in which nothing is trained, and the table that it looks into."""
    box = make_box(path, task="tasks/fake" if name == "fake" else str(BYTELM), **settings)
    table = Recorded.load(name, TASKS[name])
    box.backend, box.clock = table, table.clock
    return box, table


@pytest.mark.parametrize("name", TASKS)
def test_a_table_knows_each_declared_edit_of_its_task(name: str) -> None:
    table = Recorded.load(name, TASKS[name])
    start = {n: (TASKS[name] / n).read_bytes() for n in table.task.mutable}
    assert table.edits(start) == frozenset()
    for labels, texts in candidates(table.task, together=name == "fake"):
        found = table.edits({n: text.encode() for n, text in texts.items()})
        assert found == set(labels)
        table.mean(found)  # which fails for an edit that was not recorded
    free = {"train.py": start["train.py"] + b"print()\n"}
    with pytest.raises(LookupError, match="not declared"):
        table.edits(free)


def test_a_session_is_as_real_ones_are_but_for_its_training(tmp_path: Path) -> None:
    box, table = recorded(tmp_path / "box", rounds=12)
    box.play()
    assert sum(map(is_kept, box.rulings())) >= 2
    assert "CRASH" in {ruling["verdict"] for ruling in box.rulings()}
    assert box.json("confirm.json")["low"] > 0
    assert table.runs == len(box.runs()) == len(box.events("run_started"))
    assert main(["--root", str(box.path)]) == 0


def test_a_session_of_the_default_task_takes_no_training(tmp_path: Path) -> None:
    box, table = recorded(tmp_path / "box", "bytelm", rounds=12, budget_steps=40)
    box.play(last="rounds")
    assert any(map(is_kept, box.rulings()))
    # What is kept is better in truth, by what was recorded.
    source = {"train.py": box.git("show", "ratchet/default:train.py").encode()}
    best, start = table.mean(table.edits(source)), table.mean(frozenset())
    assert best is not None and start is not None
    assert best < start
    assert "step 8: loss" in next((box.path / "store/runs").glob("*/*/run.log")).read_text()
