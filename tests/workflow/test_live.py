"""A session seen from outside while it runs, is killed and goes on; who is told of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path

from boxes import Box
from ratchet.cli.status import View
from ratchet.paths import SessionPaths
from ratchet.status import State
from ratchet.verify import verify

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


def test_running_killed_going_on_and_at_its_end(box: Box, finished: Box) -> None:
    tell(box)
    process = box.start()
    box.wait_for(lambda: box.events("verdict"))
    found = look(box)
    assert (found["state"], found["session"], found["rounds"]) == (State.RUNNING, "default", 3)
    assert 'http-equiv="refresh"' in live(box)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    box.wait_for(lambda: look(box)["state"] == State.STALE)
    assert "nobody runs it" in look(box)["why"]

    box.run()
    assert look(box)["state"] == State.FINISHED
    assert look(box)["answer"] == box.json("report.json")["answer"]["sentence"]
    assert 'href="report.html"' in live(box)
    assert 'http-equiv="refresh"' not in live(box)
    assert [event["rounds"] for event in box.events("resumed")] == [3]
    assert box.state() == finished.state(), "nobody who looks or is told changes a byte"

    kept = [e for e in finished.events("verdict") if e["verdict"] in ("KEEP", "STRONG_KEEP")]
    box.wait_for(lambda: "ended" in told(box))
    assert told(box).count("ended") == 1
    # One whose event was written and whose message was not yet sent is not told.
    assert len(kept) - 1 <= told(box).count("champion") <= len(kept)
    failed = told(box).count("champion")
    box.wait_for(lambda: len(box.events("notify_failed")) == failed)

    assert verify(box.path).deviations == []
    (box.session / "live.html").unlink()
    assert verify(box.path).deviations == []
    assert "Nothing to be done" in box.run()


def test_a_replay_tells_nobody_and_needs_no_page(copy: Box, finished: Box) -> None:
    tell(copy)
    shutil.rmtree(copy.session)
    (copy.session / "live.html").mkdir(parents=True)
    copy.run()
    assert copy.state() == finished.state()
    assert not list((copy.session / "live.html").iterdir())
    assert told(copy) == []


def test_a_changed_input_is_told_and_the_session_is_still_at_its_end(copy: Box) -> None:
    tell(copy)
    fixed = copy.path / "tasks" / "fake" / "prepare.py"
    fixed.write_text(fixed.read_text() + "\n# changed\n")
    copy.run(check=False)
    assert copy.status != 0
    copy.wait_for(lambda: told(copy) == ["alarm"])
    assert [event["step"] for event in copy.events("failed")] == ["start"]
    assert look(copy)["state"] == State.FINISHED
    assert str(Path("tasks/fake/prepare.py")) in (copy.path / "told.jsonl").read_text()


def test_a_step_that_fails_is_told_and_said(box: Box) -> None:
    tell(box)
    train = box.path / "tasks" / "fake" / "train.py"
    train.write_text(train.read_text().replace('BEHAVIOUR = "train"', 'BEHAVIOUR = "crash"'))
    box.run(check=False)
    assert box.status != 0
    found = look(box)
    assert found["state"] == State.FAILED
    assert "the baseline of task fake does not train" in found["why"]
    assert "the baseline of task fake does not train" in live(box)
    box.wait_for(lambda: told(box) == ["failed"])
