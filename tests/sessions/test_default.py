"""The embedded default task, through the whole chain, with a budget in steps."""

from __future__ import annotations

from pathlib import Path

from helpers.boxes import Box

SMALL = {
    "task": "tasks/bytelm",
    "budget_steps": 20,
    "rounds": 1,
    "baseline_replicates": 2,
    "confirm_replicates": 1,
    "max_replicates": 2,
}


def test_a_session_of_the_default_task_is_reproducible_bit_for_bit(tmp_path: Path) -> None:
    states = []
    for name in ("one", "two"):
        path = tmp_path / name
        path.mkdir()
        box = Box(path, dict(SMALL))
        box.play()
        states.append(box.state())
    assert states[0] == states[1]
    assert len(box.rulings()) == 1
    assert all(run["outcome"] == "ok" for r in box.rulings() for run in r["runs"])
    # 20 steps are few, yet below the 8 bits of guessing.
    assert box.json("rounds/0001/steer.json")["incumbent"]["mean"] < 8
    assert [entry["path"] for entry in box.json("manifest.json")["locked"]] == ["audit.bin"]
