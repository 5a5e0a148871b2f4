"""A session whose agent is killed with Snakemake, or fails until a new leg lets it go on."""

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


def test_an_agent_that_always_fails_ends_the_session_until_it_may_go_on(box: Box) -> None:
    nothing = [["exit", 0]]
    hire(box, *[nothing] * 4, good("RATE", 0.2), rounds=4, agent_failures=2, confirm_replicates=1)
    said = box.run()
    assert "no more experiments: 2 proposals in a row of the agent custom failed" in said
    assert len(asked(box)) == 4
    assert box.json("report.json")["stop"]["reason"] == "agent_failures"
    assert box.json("report.json")["stop"]["round"] == 3
    assert box.rulings() == []
    said = box.run(leg=2)
    assert len(asked(box)) == 7
    assert [(r["number"], r["verdict"]) for r in box.rulings()] == [(1, "STRONG_KEEP")]
    assert [call["outcome"] for call in calls(box)][4:] == [
        "proposed",
        "no_proposal",
        "no_proposal",
    ]
