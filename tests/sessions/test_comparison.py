"""Candidates whose runs are not like the baseline's, in whole sessions with an evaluator."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import yaml

from helpers.boxes import Box, make_box
from helpers.edits import alternative, change, is_kept, ruling
from helpers.shared import copied, shared_box

EVALUATOR = """
import json, os, socket, sys
def tell(**said): print(json.dumps(said), flush=True)
s = socket.socket(fileno=int(os.environ["RATCHET_EVALUATOR_FD"]))
tell(event="ready")
value = float(s.recv(99))
tell(event="asked")
facts = dict(tokens=7, batches=1, seconds=0.0, reply_seconds=0.0, audit=None)
tell(event="result", value=value, **facts)
s.sendall(b"done")
"""
ASKS = """
print("---")
import socket
evaluator = socket.socket(fileno=int(os.environ["RATCHET_EVALUATOR_FD"]))
evaluator.sendall(repr(loss).encode())
evaluator.recv(9)
tokens = 1000
print(f"tokens: {tokens}")
"""
SPIN = "while time.process_time() < 1.2:\n    pass\n"
PLAUSIBLE = {
    "min_fraction": 0.0,
    "startup_seconds": 5.0,
    "excess_seconds": 0.3,
    "tokens": "tokens",
    "min_tokens": 0.5,
}


def served(path: Path, **settings: object) -> Box:
    """The fake task with an evaluator, which takes the candidate's word for the metric."""
    box = make_box(path, **settings)
    task = box.path / "tasks" / "fake"
    (task / "evaluator.py").write_text(EVALUATOR)
    content = yaml.safe_load((task / "task.yaml").read_text())
    content["fixed"].append("evaluator.py")
    content["data"] = {"visible": ["numbers.txt"], "evaluation": ["audit.txt"]}
    content |= {"evaluator": ["python", "-S", "evaluator.py"], "plausible": PLAUSIBLE}
    content["search_space"] = [
        alternative("early", "data", "shape = 1.0\n", f"shape = 0.5\n{SPIN}"),
        alternative("idle", "data", "tokens = 1000\n", "tokens = 1\n"),
        alternative("fat", "data", "shape = 1.0\n", "shape = 0.9\nfat = bytearray(100 << 20)\n"),
    ]
    (task / "task.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    change(box, 'print("---")\n', ASKS)
    return box


@shared_box
def compared(path: Path) -> Box:
    budget = {"budget_steps": None, "budget_seconds": 0.05}
    box = served(path, rounds=3, confirm_replicates=1, **budget)
    box.play()
    return box


def test_training_before_the_clock_is_tampered(compared: Box) -> None:
    found = ruling(compared, "early")
    assert found["verdict"] == "TAMPERED"
    said = re.match(
        r"tampered: used (\S+) s until its evaluation, the baseline's runs (\S+) s", found["reason"]
    )
    assert said is not None
    assert float(said[1]) >= 1.2 > float(said[2])
    assert len(found["runs"]) == 1
    rows = (compared.session / "results.tsv").read_text().splitlines()
    assert rows[1 + found["number"]].split("\t")[3] == "crash"
    # The run itself knows nothing of the others.
    key = found["runs"][0]["key"]
    entry = json.loads((compared.path / f"store/runs/{key[:2]}/{key}/run.json").read_text())
    assert entry["record"]["outcome"] == "ok"


def test_too_few_tokens_are_tampered(compared: Box) -> None:
    found = ruling(compared, "idle")
    assert found["verdict"] == "TAMPERED"
    assert "printed tokens 1, the baseline 1000" in found["reason"]


def test_memory_is_charged_as_it_was_measured(compared: Box) -> None:
    found = ruling(compared, "fat")
    assert found["verdict"] not in ("TAMPERED", "CRASH")
    assert 150 < found["memory_mb"] < 200
    assert found["memory_ratio"] > 1.5
    assert "memory: it printed 100 MiB" in found["notes"][0]


def test_a_replay_finds_the_same(compared: Box, tmp_path: Path) -> None:
    again = copied(compared, tmp_path / "copy")
    shutil.rmtree(again.session)
    again.play()
    assert again.state() == compared.state()
    assert again.events("run_finished") == []


def test_a_champion_that_draws_no_lots_is_not_confirmed(tmp_path: Path) -> None:
    """Its one run in the search was enough for a keep; the fresh ones are all alike."""
    box = served(tmp_path / "box", rounds=1, confirm_replicates=2, max_replicates=1, budget_steps=5)
    path = box.path / "tasks" / "fake" / "task.yaml"
    task = yaml.safe_load(path.read_text())
    lots = "loss = loss * shape + noise\n"
    none = "loss = loss * shape - 0.1 + 0 * noise\n"
    task["search_space"] = [alternative("fixed", "data", lots, none)]
    path.write_text(yaml.safe_dump(task, sort_keys=False))
    box.play()
    assert is_kept(ruling(box, "fixed"))
    confirmation = box.json("confirm.json")
    assert confirmation["gain"] is None
    assert "draws no lots" in confirmation["detail"]
    assert "draws no lots" in (box.session / "report.html").read_text()
