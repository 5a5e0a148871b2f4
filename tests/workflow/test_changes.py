"""What a change of the code, a limit or an input makes Snakemake do again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from helpers.boxes import REPO, Box, make_box


def test_an_edited_train_py_does_not_disturb_a_running_session(copy: Box) -> None:
    path = copy.path / "tasks" / "fake" / "train.py"
    path.write_text(path.read_text() + "\n# an idea of my own\n")
    said = copy.run()
    assert "goes on with its own copy" in said
    assert "Nothing to be done" in said


def harness_copy(path: Path) -> Path:
    for name in ("Snakefile", "rules", "workflow_scripts", "config", "profiles", "envs"):
        source = REPO / name
        if source.is_dir():
            shutil.copytree(source, path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            path.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, path / name)
    return path


@pytest.fixture
def own_harness(tmp_path: Path) -> Box:
    """A session run by a copy of the harness that a test may edit."""
    harness = harness_copy(tmp_path / "harness")
    box = make_box(tmp_path / "box", rounds=2)
    box.harness = harness
    box.environment["PYTHONPATH"] = str(harness / "workflow_scripts")
    box.run()
    return box


ALL_JOBS = ("prepare", "baseline", "propose", "experiment", "judge", "steer", "confirm", "report")


def test_changed_code_redoes_what_depends_on_it_and_trains_nothing(own_harness: Box) -> None:
    box = own_harness
    state, started = box.state(), len(box.events("run_started"))
    for module, jobs in (
        ("runner.py", {"baseline", "judge", "steer", "confirm", "report"}),
        ("judge/assessment.py", {"baseline", "judge", "steer", "confirm", "report"}),
        ("report/render.py", {"report"}),
    ):
        path = box.harness / "workflow_scripts" / "ratchet" / module
        path.write_text(path.read_text() + "\n# a thought\n")
        planned = box.run("-n", "--quiet", "host")
        assert {job for job in ALL_JOBS if f"rule {job}:" in planned} >= jobs, module
    box.run()
    assert box.state() == state
    assert len(box.events("run_started")) == started


def test_a_target_ends_the_session_and_lifting_it_goes_on(finished: Box, box: Box) -> None:
    said = box.run(target=1.35)
    assert "no more experiments: the target 1.35 is reached" in said
    assert len(box.rulings()) < 3
    assert "target" in box.json("report.json")["answer"]["sentence"]
    assert "Nothing to be done" in box.run(target=1.35)
    box.run(target=1.4)
    box.run(target=1.35)
    box.run()
    ours, theirs = box.state(), finished.state()
    assert set(theirs.pop("runs").split()) <= set(ours.pop("runs").split())
    assert ours == theirs


def test_without_the_environment_snakemake_says_what_to_do(box: Box, tmp_path: Path) -> None:
    """A Snakemake that cannot import the package, as one outside the environment."""
    hide = tmp_path / "hide" / "ratchet"
    hide.mkdir(parents=True)
    (hide / "__init__.py").write_text("raise ImportError('No module named ratchet')\n")
    box.environment["PYTHONPATH"] = str(hide.parent)
    said = box.run(check=False)
    assert "make env" in said
    assert "Traceback" not in said
