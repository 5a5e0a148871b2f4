"""Sessions with a preset and with a memory ceiling."""

from __future__ import annotations

import pytest
import yaml

from helpers.boxes import Box
from helpers.edits import constant, declare, is_kept, ruling

PRESETS = {
    "small": {
        "min_memory_gb": 0.001,
        "constants": {"WIDTH": 2, "DECAY": 0.25},
        "environment": {"RATCHET_NUMBERS": "2 2 3"},
    },
    "huge": {"min_memory_gb": 1e6},
}


@pytest.fixture
def sized(box: Box) -> Box:
    """A task with presets whose variable changes the data, and with four widths to try."""
    declare(box, constant("WIDTH", 4, 3), constant("RATE", 0.2))
    with (box.path / "tasks" / "fake" / "task.yaml").open("a") as task:
        yaml.safe_dump({"presets": PRESETS}, task)
    prepare = box.path / "tasks" / "fake" / "prepare.py"
    text = prepare.read_text()
    assert '"1 2 3\\n"' in text
    prepare.write_text(text.replace('"1 2 3\\n"', 'os.environ.get("RATCHET_NUMBERS", "1 2 3")'))
    return box


def prepared(box: Box) -> str:
    sha = box.json("manifest.json")["data"][0]["sha256"]
    return (box.path / "store" / "blobs" / "sha256" / sha[:2] / sha).read_text()


def test_a_preset_is_what_the_session_starts_from_and_a_hard_ceiling_holds(sized: Box) -> None:
    source = sized.path / "tasks" / "fake" / "train.py"
    before = source.read_bytes()
    free = {"memory_price": 0, "rounds": 3, "preset": "auto"}
    limits = {**free, "memory_ceiling_mb": 350, "memory_ceiling": "hard"}
    said = sized.play(**limits)
    assert "; preset small" in said
    manifest = sized.json("manifest.json")
    assert manifest["frozen"]["preset"] == "auto"
    assert manifest["preset"]["name"] == "small"
    assert manifest["preset"]["environment"] == {"RATCHET_NUMBERS": "2 2 3"}
    assert prepared(sized) == "2 2 3"
    started = sized.git("show", "refs/ratchet/baseline:train.py")
    assert started == before.decode().replace("WIDTH = 1", "WIDTH = 2").replace(
        "DECAY = 0.0", "DECAY = 0.25"
    )
    assert source.read_bytes() == before

    wide, fitting = ruling(sized, "WIDTH 2 -> 4"), ruling(sized, "WIDTH 2 -> 3")
    assert wide["verdict"] == "DISCARD"
    assert wide["delta"] < -0.05
    assert len(wide["runs"]) == 1
    assert wide["pareto"] is None
    assert "needs 400 MiB, above the ceiling of 350 MiB, and cannot be kept" in wide["reason"]
    assert is_kept(fitting)
    assert sized.json("confirm.json")["gain"] > 0

    runs = sized.runs()
    # The ceiling is the judge's: raising it judges again and trains only what is new.
    sized.play(**{**limits, "memory_ceiling_mb": 500})
    assert is_kept(ruling(sized, "WIDTH 2 -> 4"))
    assert set(runs) <= set(sized.runs())
    # The preset is the session's: it cannot be changed.
    said = sized.play(**{**limits, "preset": "small"}, check=False)
    assert "configuration key preset: expected 'auto', found 'small'" in said
