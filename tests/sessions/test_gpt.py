"""A session of tasks/gpt: PyTorch on a CPU, the offline corpus, the real evaluator."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.boxes import REPO, Box

PYTHON = os.environ.get("RATCHET_GPT_PYTHON")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not PYTHON, reason="RATCHET_GPT_PYTHON names no interpreter with the packages of gpt.in"
    ),
]
SMALL = {
    "task": "tasks/gpt",
    "preset": "cpu-tiny",
    "python": PYTHON,
    "budget_steps": 20,
    "rounds": 2,
    "baseline_replicates": 2,
    "confirm_replicates": 1,
    "max_replicates": 1,
}


def test_a_session_on_a_cpu_ends_judged_and_is_measured(tmp_path: Path) -> None:
    box = Box(tmp_path, dict(SMALL))
    said = box.play()
    assert "preset cpu-tiny" in said
    manifest = box.json("manifest.json")
    assert [e["path"] for e in manifest["evaluation"]] == ["val.bin", "token_bytes.bin"]
    assert [e["path"] for e in manifest["locked"]] == ["audit.bin"]
    assert len(box.rulings()) == 2
    assert all(run["outcome"] == "ok" for r in box.rulings() for run in r["runs"])
    records = [
        json.loads(path.read_text())["record"] for path in tmp_path.glob("store/runs/*/*/run.json")
    ]
    for record in records:
        evaluation = record["evaluation"]
        assert record["metrics"]["val_bpb"] == evaluation["value"] < 3.7
        assert evaluation["checks"]["largest_change"] == 0.0
        assert evaluation["tokens"] == 64 * 16
        assert record["metrics"]["num_steps"] == 20
    # The source of the runs is the preset's.
    source = box.git("show", "ratchet/default:train.py")
    assert 'DEVICE = "cpu"' in source or "DEVICE = 'cpu'" in source

    measure = [sys.executable, str(REPO / "tasks" / "gpt" / "measure.py"), str(box.session)]
    done = subprocess.run(measure, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    values = [run["value"] for run in box.json("baseline.json")["runs"]]
    mean = sum(values) / 2
    spread = math.sqrt(sum((value - mean) ** 2 for value in values))
    assert f"| val_bpb | {mean:.6f} | {spread:.6f} |" in done.stdout
    assert "| mfu_percent |" not in done.stdout  # Nobody knows the rate of a CPU.
    assert manifest["hardware"]["cpu"] in done.stdout and "2 seeds" in done.stdout
