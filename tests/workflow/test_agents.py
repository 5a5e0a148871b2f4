"""A session whose agent is killed with Snakemake."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from helpers.agents import asked, calls, good, hire
from helpers.boxes import Box


def test_a_killed_session_asks_again_only_what_was_not_answered(box: Box) -> None:
    hang = good("BEHAVIOUR", "hang")
    settings = {"rounds": 2, "confirm_replicates": 1, "timeout_seconds": 3}
    hire(box, [["sleep", 60]], hang, good("RATE", 0.2), **settings)
    process = box.start()
    box.wait_for(lambda: len(asked(box)) == 1)
    process.kill()
    process.wait()
    agent = Path("/proc") / str(asked(box)[0]["pid"])
    box.wait_for(lambda: not agent.exists(), seconds=10)
    process = box.start()
    box.wait_for(lambda: any(e["number"] == 1 for e in box.events("run_started")))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    box.wait_for(lambda: not box.trainers(), seconds=10)
    assert len(asked(box)) == 2
    box.play()
    assert len(asked(box)) == 3
    assert [call["outcome"] for call in calls(box)] == ["proposed", "proposed"]
    assert box.rulings()[0]["verdict"] == "CRASH"
