"""``ratchet try`` has Snakemake run the round of an edit."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from helpers.boxes import DEFAULTS, Box


def test_a_finished_session_goes_on_by_hand(copy: Box) -> None:
    assert len(copy.rulings()) == 3
    script = copy.path / "tasks" / "fake" / "train.py"
    text = script.read_text().replace("DECAY = 0.0", "DECAY = 0.1")
    script.write_text(text.replace('BEHAVIOUR = "train"', 'BEHAVIOUR = "crash"'))
    # Whoever tries an edit by hand wants it run, whatever would end the session.
    values = {**DEFAULTS, "deadline_hours": 1e-6, "target": 100}
    command = [sys.executable, "-m", "ratchet.cli.main", "try", "-m", "boom", "--config"]
    crashed = subprocess.run(
        [*command, *(f"{key}={value}" for key, value in values.items())],
        cwd=copy.path,
        env={**os.environ, "RATCHET_HARNESS": str(copy.harness)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert crashed.returncode == 1, crashed.stderr
    assert crashed.stdout.startswith("CRASH\n")
    assert [r["verdict"] for r in copy.rulings()][3] == "CRASH"
    copy.run()
    assert "4 experiments" in json.dumps(copy.json("report.json")["answer"])
