"""Sessions run by Snakemake: again, forced, extended, by other code, by hand."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from helpers.boxes import DEFAULTS, REPO, Box, make_box
from helpers.shared import copied

JOBS = ("prepare", "baseline", "propose", "experiment", "judge", "steer", "confirm", "report")


def test_more_rounds_extend_a_session_whatever_its_folder_is_called(
    tmp_path: Path, finished: Box
) -> None:
    box = copied(finished, tmp_path / 'a päth; it\'s $HOME "x" {y}')
    whole = make_box(tmp_path / "whole")
    box.run(rounds=5)
    whole.play(rounds=5)
    assert len(box.rulings()) == 5
    assert set(finished.runs()) <= set(box.runs())
    ours, theirs = box.state(), whole.state()
    # The early champion was confirmed too; all else is as in one go.
    assert set(theirs.pop("runs").split()) <= set(ours.pop("runs").split())
    assert ours == theirs


def test_further_calls_train_nothing_whatever_became_of_train_py(copy: Box) -> None:
    before, started = copy.state(), len(copy.events("run_started"))
    path = copy.path / "tasks" / "fake" / "train.py"
    path.write_text(path.read_text() + "\n# an idea of my own\n")
    said = copy.run()
    assert "goes on with its own copy" in said
    assert "Nothing to be done" in said
    # Forced, and without what Snakemake knew of the files.
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


def test_changed_code_redoes_what_depends_on_it(copy: Box, tmp_path: Path) -> None:
    """What is done again trains nothing, as where everything is forced."""
    copy.harness = tmp_path / "harness"
    for name in ("rules", "workflow_scripts", "config", "profiles", "envs"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPO / name, copy.harness / name, ignore=ignored)
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


def test_a_finished_session_goes_on_by_hand(copy: Box) -> None:
    """``ratchet try`` has Snakemake run the round of an edit."""
    script = copy.path / "tasks" / "fake" / "train.py"
    text = script.read_text().replace("DECAY = 0.0", "DECAY = 0.1")
    script.write_text(text.replace('BEHAVIOUR = "train"', 'BEHAVIOUR = "crash"'))
    # Whoever tries an edit by hand wants it run, whatever would end the session.
    values = {**DEFAULTS, "deadline_hours": 1e-6, "target": 100}
    pairs = [f"{key}={value}" for key, value in values.items()]
    crashed = subprocess.run(
        [sys.executable, "-m", "ratchet.cli.main", "try", "-m", "boom", "--config", *pairs],
        cwd=copy.path,
        env={**os.environ, "RATCHET_HARNESS": str(copy.harness)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert crashed.returncode == 1, crashed.stderr
    assert crashed.stdout.startswith("CRASH\n")
    assert [r["verdict"] for r in copy.rulings()][3] == "CRASH"
    copy.play()
    assert "4 experiments" in json.dumps(copy.json("report.json")["answer"])


def test_without_the_environment_snakemake_says_what_to_do(box: Box, tmp_path: Path) -> None:
    """A Snakemake that cannot import the package, as one outside the environment."""
    hide = tmp_path / "hide" / "ratchet"
    hide.mkdir(parents=True)
    (hide / "__init__.py").write_text("raise ImportError('No module named ratchet')\n")
    box.environment["PYTHONPATH"] = str(hide.parent)
    said = box.run(check=False)
    assert "make env" in said
    assert "Traceback" not in said
