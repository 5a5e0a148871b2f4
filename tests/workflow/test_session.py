"""Sessions run by Snakemake: again, forced, extended, by other code, by hand, seen from outside."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from helpers.boxes import DEFAULTS, REPO, Box, make_box
from helpers.edits import NOISE, change
from helpers.gpus import gpu_box, overlaps, works
from helpers.shared import copied
from ratchet.cli.status import View
from ratchet.integrity.verify import verify_sessions
from ratchet.monitor.progress import SessionRunState
from ratchet.records.paths import SessionPaths

JOBS = ("prepare", "baseline", "propose", "experiment", "judge", "steer", "confirm", "report")


def test_more_rounds_extend_a_session_whatever_its_folder_is_called(
    tmp_path: Path, finished: Box
) -> None:
    """And its certification is made, by jobs of its own."""
    box = copied(finished, tmp_path / 'a päth; it\'s $HOME "x" {y}')
    whole = make_box(tmp_path / "whole")
    box.run("--cores", "2", rounds=4, certify=True)
    whole.play(rounds=4, certify=True, last="confirm")
    assert len(box.rulings()) == 4
    assert len(whole.json("certify.json")["runs"]) >= 6
    assert (box.session / "logs/certify/run-1.log").is_file()
    assert set(finished.runs()) <= set(box.runs())
    ours, theirs = box.state(), whole.state()
    # The early champion was confirmed too; all else is as in one go.
    assert set(theirs.pop("runs").split()) <= set(ours.pop("runs").split())
    assert ours == theirs


def test_further_calls_train_nothing_whatever_became_of_train_py(copy: Box) -> None:
    before, started = copy.state(), len(copy.events("run_started"))
    path = copy.path / "tasks" / "fake" / "train.py"
    text = path.read_text()
    path.write_text(text + "\n# an idea of my own\n")
    log = next((copy.path / "store" / "runs").glob("*/*/run.log"))
    whole = log.read_bytes()
    log.chmod(0o644)
    log.write_bytes(b"forged")
    said = copy.run()
    assert "goes on with its own copy" in said
    assert f"{log.relative_to(copy.path)}: expected sha256" in said
    assert "ratchet verify default" in said
    assert "Nothing to be done" in said
    log.write_bytes(whole)
    path.write_text(text)
    # Forced, and without what Snakemake knew of the files.
    assert "expected sha256" not in copy.run("-F")
    assert copy.state() == before
    for path in (copy.path / ".snakemake").rglob("*"):
        if path.is_file():
            path.unlink()
    for path in sorted(copy.session.rglob("*.json"), reverse=True):
        path.touch()
    copy.run()
    assert copy.state() == before
    assert len(copy.events("run_started")) == started


def test_changed_code_redoes_what_depends_on_it(copy: Box, tmp_path: Path) -> None:
    """What is done again trains nothing, as where everything is forced."""
    copy.harness = tmp_path / "harness"
    for name in ("rules", "workflow_scripts", "config", "profiles", "envs"):
        shutil.copytree(REPO / name, copy.harness / name)
    shutil.copy(REPO / "Snakefile", copy.harness)
    package = copy.harness / "workflow_scripts" / "ratchet"
    copy.environment["PYTHONPATH"] = str(package.parent)

    def planned_after_a_change_of(module: str) -> set[str]:
        path = package / module
        path.write_text(path.read_text() + "\n# a thought\n")
        planned = copy.run("-n", "--quiet", "host")
        return {job for job in JOBS if f"rule {job}:" in planned}

    assert planned_after_a_change_of("report/render.py") == {"report"}
    judged = planned_after_a_change_of("judge/judge.py")
    assert judged >= {"baseline", "experiment", "judge", "steer", "confirm", "report"}
    assert "prepare" not in judged


def test_snakemake_runs_an_edit_by_hand_and_runs_it_once_more(copy: Box) -> None:
    """In a session of its own, since that of the copy is finished."""
    state = copy.state().items()
    finished = {name: sha for name, sha in state if name.startswith("results/default/")}
    assert len(finished) > 10
    script = copy.path / "tasks" / "fake" / "train.py"
    script.write_text(script.read_text().replace("DECAY = 0.0", "DECAY = 0.1"))
    # Whoever tries an edit by hand wants it run, whatever would end the session.
    values = {**DEFAULTS, "deadline_hours": 1e-6, "target": 100, "max_replicates": 1}
    pairs = [f"{key}={value}" for key, value in values.items()]

    def tried(*words: str) -> dict:
        done = subprocess.run(
            [sys.executable, "-m", "ratchet.cli.main", "try", *words, "--json", "--config", *pairs],
            cwd=copy.path,
            env={**os.environ, "RATCHET_HARNESS": str(copy.harness)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in (0, 1, 2), done.stderr
        return json.loads(done.stdout)

    first = tried("-m", "decay")
    again = tried("--again")
    assert len(first["ruling"]["runs"]) == 1
    assert len(again["ruling"]["runs"]) == 2
    assert again["before"] == first["ruling"]
    assert json.loads((copy.path / "results/default-2/manifest.json").read_text())["start"]
    assert finished.items() <= copy.state().items()


def test_without_the_environment_snakemake_says_what_to_do(box: Box, tmp_path: Path) -> None:
    """A Snakemake that cannot import the package, as one outside the environment."""
    hide = tmp_path / "hide" / "ratchet"
    hide.mkdir(parents=True)
    (hide / "__init__.py").write_text("raise ImportError('No module named ratchet')\n")
    box.environment["PYTHONPATH"] = str(hide.parent)
    said = box.run(check=False)
    assert "make env" in said
    assert "Traceback" not in said


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
    said = box.run(check=False)
    assert box.status == 75
    assert f"is running here already (process {process.pid}, session default)" in said
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
    again.play(notify_command=None, last="confirm")
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
    assert "logs/baseline/run-0.output.log" in said
    assert "Traceback" not in said
    found = look(box)
    assert found["state"] == SessionRunState.FAILED
    for text in (said, found["why"], live(box)):
        assert "the baseline of task fake does not train" in text
    box.wait_for(lambda: told(box) == ["failed"])


def test_candidates_of_a_round_run_side_by_side(tmp_path: Path) -> None:
    box, _ = gpu_box(tmp_path / "side", meet=True, rounds=1, candidates=2, max_replicates=1)
    box.settings |= {"confirm_replicates": 1, "baseline_replicates": 2}
    box.run("--cores", "2", "--profile", str(REPO / "profiles/multi-gpu"))
    found = works(box)
    names = {"GPU-0-side", "GPU-1-side"}
    # The baseline's replicates, and the round's candidates, of which none is kept.
    assert len(found) == 4
    together = overlaps(found)
    assert len(together) == 2
    for side_by_side in together:
        assert {work.device for work in side_by_side} == names
    for work in found:
        assert work.record["outcome"] == "ok"
        assert work.record["telemetry"]["uuid"] == work.device
        assert work.record["telemetry"]["foreign"] == []
        assert work.record["telemetry"]["memory_mb"]["max"] == 3072
    assert len(box.rulings()) == 2


def test_another_scale_is_asked_for_after_the_end_and_nothing_else_is_done(copy: Box) -> None:
    before, started = copy.state(), len(copy.events("run_started"))
    copy.run("--cores", "2", transfer="{budget_steps: 15}")
    assert len(copy.events("run_started")) == started + 6
    assert len(copy.json("transfer.json")["measured"]["champion_runs"]) == 3
    assert copy.json("report.json")["transfer"]["scale"]["ratio"] == 3
    after = copy.state()
    assert {name for name in before if after[name] != before[name]} == {"runs"}
    assert "Nothing to be done" in copy.run(transfer="{budget_steps: 15}")
    assert "Nothing to be done" in copy.run()
