"""A session seen from outside while it runs, is killed and goes on; who is told of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path

from helpers.boxes import Box
from helpers.edits import NOISE, change
from helpers.shared import copied
from ratchet.cli.status import View
from ratchet.integrity.verify import verify_sessions
from ratchet.monitor.progress import SessionRunState
from ratchet.records.paths import SessionPaths

TELL = """
import os, sys
with open("told.jsonl", "a") as stream:
    stream.write(sys.stdin.read() + "\\n")
if os.environ["RATCHET_EVENT"] == "champion":
    sys.exit("no route")
"""


def tell(box: Box) -> None:
    """Let a script be told what happens, which fails for champions."""
    (box.path / "tell.py").write_text(TELL)
    box.settings["notify_command"] = '["python", "-S", "tell.py"]'


def told(box: Box) -> list[str]:
    path = box.path / "told.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line)["event"] for line in lines]


def look(box: Box) -> dict:
    return View(SessionPaths("default", box.path)).facts(time.time())


def live(box: Box) -> str:
    return (box.session / "live.html").read_text()


def hold(box: Box) -> tuple[Path, Path]:
    """Let runs wait while a file is there: one for most, one for those with a square."""
    gates = box.path / "gate", box.path / "second-gate"
    wait = f"while os.path.exists(({str(gates[0])!r}, {str(gates[1])!r})[shape != 1.0]):\n"
    change(box, NOISE, f"{wait}    time.sleep(0.02)\n{NOISE}")
    for gate in gates:
        gate.touch()
    box.settings |= {"timeout_seconds": 600, "isolation": "none"}
    return gates


def test_running_killed_going_on_and_at_its_end(box: Box, tmp_path: Path) -> None:
    tell(box)
    first, second = hold(box)
    process = box.start()
    box.wait_for(lambda: box.events("run_started"))
    said = box.run(check=False, session="other")
    assert box.status == 75
    assert f"another session is running here (process {process.pid}, session default)" in said
    assert not (box.path / "results" / "other").exists()
    # Whoever only looks is in nobody's way, however many rounds there would be.
    before = sorted(box.path.rglob("*.json"))
    said = box.run("-n", "--quiet", "rules", rounds=50)
    assert "experiment" in said
    assert sorted(box.path.rglob("*.json")) == before
    assert process.poll() is None
    first.unlink()
    box.wait_for(lambda: any(event["number"] == 2 for event in box.events("run_started")))
    assert box.events("verdict")
    found = look(box)
    assert found["state"] == SessionRunState.RUNNING
    assert (found["session"], found["rounds"]) == ("default", 3)
    assert 'http-equiv="refresh"' in live(box)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    box.wait_for(lambda: not box.trainers())
    second.unlink()
    assert any((box.path / ".snakemake" / "locks").iterdir()), "a lock of the dead"
    box.wait_for(lambda: look(box)["state"] == SessionRunState.STALE)
    assert "nobody runs it" in look(box)["why"]

    box.run()
    assert look(box)["state"] == SessionRunState.FINISHED
    assert look(box)["answer"] == box.json("report.json")["answer"]["sentence"]
    assert 'href="report.html"' in live(box)
    assert 'http-equiv="refresh"' not in live(box)
    assert [event["rounds"] for event in box.events("resumed")] == [3]
    again = copied(box, tmp_path / "again")
    shutil.rmtree(again.session)
    again.play(notify_command=None)
    assert again.state() == box.state(), "nobody who looks or is told changes a byte"

    kept = [e for e in box.events("verdict") if e["verdict"] in ("KEEP", "STRONG_KEEP")]
    box.wait_for(lambda: "ended" in told(box))
    assert told(box).count("ended") == 1
    # One whose event was written and whose message was not yet sent is not told.
    assert len(kept) - 1 <= told(box).count("champion") <= len(kept)
    failed = told(box).count("champion")
    box.wait_for(lambda: len(box.events("notify_failed")) == failed)

    assert verify_sessions(box.path).deviations == []
    (box.session / "live.html").unlink()
    assert verify_sessions(box.path).deviations == []


def test_a_step_that_fails_is_told_and_said(box: Box) -> None:
    tell(box)
    change(box, 'BEHAVIOUR = "train"', 'BEHAVIOUR = "crash"')
    said = box.play(check=False)
    assert box.status != 0
    assert "RuntimeError: boom" in said
    assert "run.log" in said
    assert "Traceback" not in said
    found = look(box)
    assert found["state"] == SessionRunState.FAILED
    for text in (said, found["why"], live(box)):
        assert "the baseline of task fake does not train" in text
    box.wait_for(lambda: told(box) == ["failed"])
