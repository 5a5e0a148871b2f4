"""Stops of every kind: the plain command resumes, and nothing is lost or repeated."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from helpers.boxes import Box, make_box

# Slow enough to be hit in the middle of a training, at any phase.
SLOW = {"budget_steps": None, "budget_seconds": 0.4, "rounds": 2, "confirm_replicates": 1}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Box:
    reference = make_box(tmp_path_factory.mktemp("uninterrupted") / "box", **SLOW)
    reference.run()
    return reference


def stop(process, kind: signal.Signals) -> None:
    if kind is signal.SIGINT:
        os.killpg(process.pid, kind)  # what a terminal does on Ctrl-C
    else:
        process.send_signal(kind)
    process.wait(timeout=60)


@pytest.mark.parametrize("kind", ["SIGKILL", "SIGTERM", "SIGHUP", "SIGINT"])
def test_resumes_after_stops_at_random_moments(
    tmp_path: Path, uninterrupted: Box, kind: str
) -> None:
    box = make_box(tmp_path / "box", **SLOW)
    draw = random.Random(kind)
    for _ in range(2):
        process, seen, more = box.start(), len(box.events("run_finished")), draw.randint(1, 3)
        box.wait_for(lambda n=seen + more: len(box.events("run_finished")) >= n)
        time.sleep(draw.uniform(0, 1.2))
        stop(process, signal.Signals[kind])
        box.wait_for(lambda: not box.trainers(), seconds=10)
    finished_before = set(box.runs())
    started_before = len(box.events("run_started"))
    box.run()
    assert box.state() == uninterrupted.state()
    done = Counter(event["key"] for event in box.events("run_finished"))
    assert max(done.values()) == 1, "a finished run was repeated"
    started_after = len(box.events("run_started")) - started_before
    assert started_after == len(set(box.runs()) - finished_before)


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGHUP])
def test_no_training_process_survives_snakemake(box: Box, kind: signal.Signals) -> None:
    source = box.path / "tasks" / "fake" / "train.py"
    source.write_text(source.read_text().replace('BEHAVIOUR = "train"', 'BEHAVIOUR = "hang"'))
    process = box.start(timeout_seconds=600)
    box.wait_for(lambda: any("train.py" in line for line in box.trainers()))
    process.send_signal(kind)
    process.wait(timeout=30)
    box.wait_for(lambda: not box.trainers(), seconds=10)
    assert box.trainers() == []


def test_a_killed_job_or_trainer_costs_one_run_at_most(tmp_path: Path, uninterrupted: Box) -> None:
    """SIGKILL of the trainer, then of its supervisor, then of the job itself."""
    box = make_box(tmp_path / "box", **SLOW)
    process = box.start()
    for pattern in ("train.py", "supervisor.py"):
        box.wait_for(lambda p=pattern: any(p in line for line in box.trainers()))
        line = next(line for line in box.trainers() if pattern in line)
        os.kill(int(line.split()[0]), signal.SIGKILL)
        seen = len(box.events("run_finished"))
        box.wait_for(lambda n=seen: len(box.events("run_finished")) > n)
    process.wait(timeout=120)
    box.run()
    assert box.state() == uninterrupted.state()


def test_a_stale_lock_of_a_dead_session_is_no_obstacle(box: Box) -> None:
    process = box.start(budget_steps=None, budget_seconds=0.4)
    box.wait_for(lambda: box.events("run_finished"))
    process.kill()
    process.wait()
    assert any((box.path / ".snakemake" / "locks").iterdir())
    box.run(budget_steps=None, budget_seconds=0.4)
    assert len(box.rulings()) == 3


def test_a_second_session_in_the_folder_is_refused(box: Box) -> None:
    process = box.start(budget_steps=None, budget_seconds=0.5)
    box.wait_for(lambda: box.events("run_started"))
    said = box.run(check=False, session="other")
    assert box.status == 75
    assert f"another session is running here (process {process.pid}, session default)" in said
    assert not (box.path / "results" / "other").exists()
    assert "Building DAG" in box.run("-n", budget_steps=None, budget_seconds=0.5)
    assert process.poll() is None
    process.terminate()
    process.wait(timeout=60)


def test_a_damaged_run_is_set_aside_and_made_again(copy: Box) -> None:
    before = copy.state()
    victim = next(iter((copy.path / "store" / "runs").glob("*/*/run.log")))
    victim.chmod(0o644)
    victim.write_text(victim.read_text().replace("val_loss", "val_loss "))
    (copy.session / "report.html").unlink()
    copy.run("-F")
    assert copy.state() == before
    assert len(list((copy.path / "store" / "damaged").iterdir())) == 1


def test_a_damaged_input_stops_the_session_with_its_name(copy: Box) -> None:
    digest = next(e["sha256"] for e in copy.json("manifest.json")["fixed"])
    blob = copy.path / "store" / "blobs" / "sha256" / digest[:2] / digest
    blob.chmod(0o644)
    blob.write_bytes(blob.read_bytes() + b"# more\n")
    said = copy.run(check=False, rounds=5)
    assert copy.status != 0
    assert digest in said
    assert "damaged" in said
    assert "Traceback" not in said


def test_torn_lines_are_repaired(copy: Box) -> None:
    table = copy.session / "results.tsv"
    whole = table.read_bytes()
    table.write_bytes(whole[:-9])
    with (copy.session / "events.jsonl").open("a") as events:
        events.write('{"time": "2026')
    copy.run("-F")
    assert table.read_bytes() == whole
    assert copy.events("reported")


def test_forced_reruns_and_lost_metadata_train_nothing(copy: Box) -> None:
    before, started = copy.state(), len(copy.events("run_started"))
    copy.run("-F")
    assert copy.state() == before
    for path in (copy.path / ".snakemake").rglob("*"):
        if path.is_file():
            path.unlink()
    for path in sorted(copy.session.rglob("*.json"), reverse=True):
        path.touch()
    copy.run()
    assert copy.state() == before
    assert len(copy.events("run_started")) == started


MISBEHAVIOUR = {
    "crash": ("crash", "RuntimeError: boom"),
    "hang": ("timeout", "stopped after 4 s"),
    "silent": ("no_metric", "without printing val_loss"),
    "nan": ("nan", "val_loss: nan"),
    "flood": ("ok", ""),
    "fork": ("ok", ""),
    "tamper": ("tampered", "prepare.py"),
    "suicide": ("crash", "SIGTERM"),
}


def test_misbehaving_candidates_are_recorded_and_the_session_goes_on(box: Box) -> None:
    path = box.path / "tasks" / "fake" / "task.yaml"
    text = path.read_text()
    values = ", ".join(MISBEHAVIOUR)
    space = f"""search_space:
  - {{constant: BEHAVIOUR, category: other, values: [{values}], why: misbehave}}
  - {{constant: WIDTH, category: architecture, values: [4], why: behave}}
"""
    path.write_text(text[: text.index("search_space:")] + space)
    # Under isolation the fixed file is read-only, and the cheat a crash.
    settings = {"confirm_replicates": 1, "max_replicates": 1, "isolation": "none"}
    box.run(rounds=3, candidates=3, timeout_seconds=4, **settings)
    assert not box.trainers()
    rulings = {ruling["number"]: ruling for ruling in box.rulings()}
    assert len(rulings) == 9
    seen = set()
    for proposal in [p for n in (1, 2, 3) for p in proposals(box, n)]:
        ruling = rulings[proposal["number"]]
        value = proposal["edit"]["value"].strip("'")
        outcome, words = MISBEHAVIOUR.get(value, ("ok", ""))
        seen.add(value)
        assert ruling["runs"][0]["outcome"] == outcome, value
        assert words in ruling["runs"][0]["reason"]
        assert ruling["verdict"] in {
            "ok": ("DISCARD", "MARGINAL", "KEEP", "STRONG_KEEP"),
            "tampered": ("TAMPERED",),
        }.get(outcome, ("CRASH",))
    assert seen == {*MISBEHAVIOUR, "4"}
    logs = list((box.path / "store" / "runs").rglob("run.log"))
    assert max(log.stat().st_size for log in logs) < 1.1 * 2**20
    page = (box.session / "report.html").read_text()
    assert "RuntimeError: boom" in page
    assert "TAMPERED" in page


def proposals(box: Box, number: int) -> list[dict]:
    return box.json(f"rounds/{number:04d}/proposals.json")["proposals"]


def test_a_baseline_that_does_not_train_says_why(box: Box) -> None:
    source = box.path / "tasks" / "fake" / "train.py"
    source.write_text(source.read_text().replace('BEHAVIOUR = "train"', 'BEHAVIOUR = "crash"'))
    said = box.run(check=False)
    assert box.status != 0
    assert "the baseline of task fake does not train" in said
    assert "RuntimeError: boom" in said
    assert "run.log" in said
    assert "Traceback" not in said
