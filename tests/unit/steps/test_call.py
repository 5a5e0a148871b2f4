"""What a step says when it cannot go on, and with which exit status."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import REPO
from ratchet.steps.plan import make_plan

FAKE = {"task": str(REPO / "tests" / "data" / "tasks" / "fake")}
SCRIPT = """
from ratchet.steps.call import run_step
from ratchet.base.errors import DataError
def stage(call):
    {body}
run_step({{"stage": stage}})
"""


def run(tmp_path: Path, body: str, log: str = "logs/x.log") -> tuple[int, str, str]:
    """Exit status, what stood on standard error, and the log."""
    plan = make_plan(FAKE, tmp_path, REPO, owner=False)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(body=body), "stage", "--log", log, "--round", "3"],
        cwd=tmp_path,
        env={**os.environ, **plan.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    path = tmp_path / log
    return done.returncode, done.stderr, path.read_text() if path.is_file() else ""


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ("pass", 0, ""),
        ("raise DataError('bad: expected a, found b')", 65, "ratchet: bad: expected a, found b\n"),
        ("raise OSError(28, 'No space left on device', 'f')", 74, "ratchet: f: No space left"),
        ("1 / 0", 70, "ratchet: internal error, ZeroDivisionError"),
        ("raise KeyboardInterrupt", 130, ""),
    ],
)
def test_one_message_and_a_status(tmp_path: Path, body: str, status: int, words: str) -> None:
    code, said, log = run(tmp_path, body)
    assert code == status
    assert said.startswith(words)
    assert said.count("\n") == (1 if words else 0)
    assert "Traceback" not in said
    assert log.startswith(words)
    assert ("Traceback" in log) == (status in (70, 74))


def test_a_log_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("in the way")
    code, said, _ = run(tmp_path, "pass")
    assert code == 74
    assert said.startswith("ratchet: logs: ")
    assert said.count("\n") == 1


def test_a_call_knows_its_round_and_paths(tmp_path: Path) -> None:
    body = "import json, sys; sys.stderr.write(json.dumps([call.number, str(call.paths.folder)]))"
    code, said, _ = run(tmp_path, body)
    assert code == 0
    assert json.loads(said) == [3, "results/default"]


def test_a_script_whose_snakemake_died_meanwhile_does_nothing(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("RATCHET_PARENT", "1")
    code, said, _ = run(tmp_path, "open('made', 'w').close()")
    assert code == 1
    assert said == ""
    assert not (tmp_path / "made").exists()
    monkeypatch.setenv("RATCHET_PARENT", str(os.getpid()))
    assert run(tmp_path, "open('made', 'w').close()")[0] == 0
    assert (tmp_path / "made").exists()


def test_every_rule_has_its_step_and_none_loads_what_only_some_need() -> None:
    script = (
        "import sys, step; sys.stdout.write(' '.join(step.STEPS)); "
        "sys.exit(str({'numpy', 'jinja2', 'ratchet.session'} & {*sys.modules} or ''))"
    )
    folder = REPO / "workflow_scripts"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True
    )
    assert done.stderr.strip() == ""
    rules = "".join(path.read_text() for path in (REPO / "rules").glob("*.smk"))
    assert sorted(done.stdout.split()) == sorted(re.findall(r'\bstep\(\s*"(\w+)"', rules))


def test_what_a_step_calls_is_there() -> None:
    places = re.findall(r'"([\w.]+):(\w+)"', (REPO / "workflow_scripts" / "step.py").read_text())
    assert len(places) == 13
    for module, name in places:
        assert callable(getattr(importlib.import_module(f"ratchet.{module}"), name))
