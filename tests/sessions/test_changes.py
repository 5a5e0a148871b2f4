"""What a change of an input, a setting or the code redoes, and what it must not."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from helpers.boxes import Box, git, make_box


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["prepare.py", "program.md", "task.yaml"])
def test_a_changed_fixed_input_stops_with_both_digests(copy: Box, name: str) -> None:
    path = copy.path / "tasks" / "fake" / name
    before, state = sha256(path), copy.state()
    path.write_text(path.read_text() + "\n# changed\n")
    said = copy.play(check=False)
    assert copy.status == 65
    assert f"{Path('tasks/fake') / name}: expected sha256 {before}, found {sha256(path)}" in said
    assert "session=NAME" in said
    assert "Traceback" not in said
    assert copy.state() == state


def test_a_changed_frozen_setting_is_named(copy: Box) -> None:
    said = copy.play(check=False, seed=7, baseline_replicates=4)
    assert copy.status == 65
    assert "configuration key seed: expected 1, found 7" in said
    assert "configuration key baseline_replicates: expected 3, found 4" in said


def test_a_change_of_what_feeds_the_key_trains_again(copy: Box) -> None:
    before = set(copy.runs())
    for name, old, new in (
        ("train.py", "RATE = 0.1", "RATE = 0.11"),
        ("prepare.py", "import os", "import os  # new"),
    ):
        path = copy.path / "tasks" / "fake" / name
        path.write_text(path.read_text().replace(old, new))
        copy.play(session=f"after-{name.split('.')[0]}", rounds=1)
    copy.play(session="longer", rounds=1, budget_steps=6)
    made = set(copy.runs()) - before
    assert len(made) >= 3 * (3 + 1)


def test_another_mode_judges_again_without_training_what_is_known(copy: Box) -> None:
    started = len(copy.events("run_started"))
    table = (copy.session / "results.tsv").read_bytes()
    copy.play(mode="strict")
    assert copy.json("report.json")["judge"]["mode"] == "strict"
    if (copy.session / "results.tsv").read_bytes() == table:
        assert len(copy.events("run_started")) == started


def test_a_deadline_ends_the_session_and_another_leg_goes_on(finished: Box, box: Box) -> None:
    box.play(deadline_hours=1e-6)
    assert box.rulings() == []
    assert "time limit" in (box.session / "report.html").read_text()
    box.play(deadline_hours=1, leg=2)
    assert box.state() == finished.state()


@pytest.mark.parametrize("limit", ["deadline", "runs"])
def test_an_executed_experiment_stays_a_fact_when_its_file_is_lost(
    copy: Box, finished: Box, limit: str
) -> None:
    """Its run is in the store and costs nothing, whatever limit has been reached since."""
    options: dict[str, object] = {"max_runs": 12} if limit == "runs" else {}
    (copy.session / "rounds" / "0002" / "experiment-0.json").unlink()
    if limit == "deadline":
        (path,) = (copy.session / "limits").glob("*.json")
        path.write_text(json.dumps({**json.loads(path.read_text()), "deadline": 0.0}))
    copy.play(**options)
    ours, theirs = copy.state(), finished.state()
    assert copy.json("rounds/0002/experiment-0.json")["stop"] is None
    assert ours == theirs
    assert [e["event"] for e in copy.events()].count("stopped") == 0


def test_what_was_never_run_is_skipped_after_the_deadline(copy: Box) -> None:
    for name in ("0002", "0003"):
        (copy.session / "rounds" / name / "experiment-0.json").unlink()
    key = copy.json("rounds/0003/verdict.json")["rulings"][0]["runs"][0]["key"]
    shutil.rmtree(copy.path / "store" / "runs" / key[:2] / key)
    (path,) = (copy.session / "limits").glob("*.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "deadline": 0.0}))
    copy.play()
    assert copy.json("rounds/0002/experiment-0.json")["runs"]
    assert not copy.json("rounds/0003/experiment-0.json")["runs"]
    assert "time limit" in copy.json("rounds/0003/experiment-0.json")["detail"]


def test_max_runs_is_never_exceeded(box: Box) -> None:
    box.play(rounds=9, max_runs=14)
    assert "14 are allowed" in (box.session / "report.html").read_text()
    assert 3 < len(box.runs()) <= 14
    assert len(box.rulings()) >= 1


BAD: list[tuple[dict[str, object], str]] = [
    ({"round": 3}, "unknown key 'round'; did you mean 'rounds'?"),
    ({"budget_seconds": -3, "budget_steps": None}, "budget_seconds: expected more than 0"),
    ({"rounds": "many"}, "rounds: expected a whole number, found 'many'"),
    ({"task": "tasks/none"}, "holds no task.yaml"),
]


@pytest.mark.parametrize(("settings", "words"), BAD)
def test_bad_settings_are_one_clear_message(box: Box, settings: dict, words: str) -> None:
    check_refused(box, words, **settings)


def check_refused(box: Box, words: str, **settings: object) -> None:
    said = box.play(check=False, **settings)
    assert box.status in (64, 66)
    assert words in said
    assert said.count("ratchet: ") == 1
    assert "Traceback" not in said
    assert {path.name for path in box.path.iterdir()} <= {"tasks", "config"}


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("config/config.yaml", b"rounds: [1\n", "config/config.yaml:2:1: is not valid YAML"),
        ("config/config.yaml", b"session: alone\n", "the key 'candidates' is missing"),
        ("config/config.yaml", None, "cannot be read"),
        ("tasks/fake/task.yaml", b"timeout: 30", "unknown key 'timeout'"),
    ],
)
def test_bad_files_are_one_clear_message(
    box: Box, name: str, text: bytes | None, words: str
) -> None:
    path = box.path / name
    path.parent.mkdir(exist_ok=True)
    if text is None:
        path.mkdir()
    else:
        whole = path.read_bytes() if path.exists() else b""
        path.write_bytes(whole.replace(b"timeout_seconds: 30", b"") + text)
    check_refused(box, words)


def test_the_checkout_around_a_session_is_never_touched(tmp_path: Path) -> None:
    box = make_box(tmp_path / "checkout")
    git(box.path, "init", "-q", "-b", "main")
    (box.path / ".gitignore").write_text("results/\nstore/\n.snakemake/\n")
    git(box.path, "add", "-A")
    git(box.path, "commit", "-qm", "mine")
    (box.path / "notes.txt").write_text("untracked")
    (box.path / "tasks/fake/program.md").write_text("edited, not committed\n")
    before = git(box.path, "status", "--porcelain=v1", "-b"), git(box.path, "for-each-ref")
    head = (box.path / ".git" / "index").read_bytes()
    box.play(rounds=2)
    assert (
        git(box.path, "status", "--porcelain=v1", "-b"),
        git(box.path, "for-each-ref"),
    ) == before
    assert (box.path / ".git" / "index").read_bytes() == head
    state = box.state()
    git(box.path, "stash", "-q")
    git(box.path, "reset", "-q", "--hard")
    git(box.path, "clean", "-fdxq")
    assert not (box.path / "notes.txt").exists()
    assert box.state() == state
