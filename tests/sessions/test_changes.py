"""What a change of an input, a setting or the code redoes, and what it must not."""

import json
import shutil
import time
from pathlib import Path

import pytest

from helpers import REPO
from helpers.boxes import Box, git, make_box
from ratchet.base.io import digest_bytes, write_json
from ratchet.integrity.verify import verify_sessions


def test_changed_inputs_and_settings_stop_with_what_was_expected(copy: Box) -> None:
    path = copy.path / "tasks" / "fake" / "prepare.py"
    before = path.read_bytes()
    path.write_bytes(before + b"\n# changed\n")
    digests = f"expected sha256 {digest_bytes(before)}, found {digest_bytes(path.read_bytes())}"
    manifest = copy.json("manifest.json")
    for name in ("definition", "brief", "environment"):
        manifest[name]["sha256"] = "other"
    write_json(copy.session / "manifest.json", manifest)
    state = copy.state()
    said = copy.play(check=False, seed=7, baseline_replicates=4)
    assert copy.status == 65
    assert f"tasks/fake/prepare.py: {digests}" in said
    for name in ("task.yaml", "program.md", "bytelm.lock"):
        assert f"{name}: expected sha256 other, found " in said
    assert "configuration key seed: expected 1, found 7" in said
    assert "configuration key baseline_replicates: expected 1, found 4" in said
    assert "take its own settings with: snakemake " in said
    assert "start another session: snakemake " in said
    assert "--config session=default-2 " in said
    assert "Traceback" not in said
    assert copy.state() == state


def test_what_is_edited_by_hand_meanwhile_disturbs_no_session(box: Box, finished: Box) -> None:
    """Task and configuration are rewritten while the first round is played."""
    task = box.path / "tasks" / "fake"
    (box.path / "config").mkdir()
    shutil.copy(REPO / "config" / "config.yaml", box.path / "config")
    edited = [*(task / name for name in ("train.py", "prepare.py", "task.yaml", "program.md"))]
    edited.append(box.path / "config" / "config.yaml")
    before = {path: path.read_bytes() for path in edited}

    def clock() -> float:
        if (box.session / "baseline.json").exists():
            for path in edited:
                path.write_bytes(b"raise SystemExit(mine)\n")
        return time.time()

    box.clock = clock
    box.play(last="confirm")
    assert task.joinpath("train.py").read_bytes() != before[task / "train.py"]
    assert box.state() == finished.state()
    # Going on is refused, and nothing is lost: as it was, it goes on.
    box.clock = time.time
    for path in edited[1:]:
        path.write_bytes(before[path])
    said = box.play(last="confirm")
    assert box.state() == finished.state(), said
    (task / "prepare.py").write_bytes(b"other\n")
    assert "prepare.py: expected sha256" in box.play(check=False)
    assert box.status == 65


def test_a_checkout_is_read_at_the_start_alone(box: Box) -> None:
    git(box.path, "init", "--quiet")
    git(box.path, "add", "tasks")
    git(box.path, "commit", "--quiet", "-m", "mine")
    train = box.path / "tasks/fake/train.py"
    train.write_text(train.read_text() + "# \x1b]0;mine\n")
    before = {path: path.read_bytes() for path in (box.path / ".git").rglob("*") if path.is_file()}
    said = box.play(last="baseline")
    assert "1 file of the checkout not committed (tasks/fake/train.py)" in said
    found = box.json("manifest.json")["checkout"]
    assert found["commit"] == git(box.path, "rev-parse", "HEAD").strip()
    (entry,) = found["changed"]
    assert entry["sha256"] == digest_bytes(train.read_bytes())
    assert {path: path.read_bytes() for path in before} == before
    assert "not committed" not in box.play(last="baseline")


def test_a_worktree_shows_the_incumbent_and_an_edit_there_is_left_alone(box: Box) -> None:
    place = box.session / "worktree"
    box.play(last="rounds")
    kept = [ruling["number"] for ruling in box.rulings() if "KEEP" in ruling["verdict"]]
    assert kept and not box.events("worktree")
    shown = git(place, "rev-parse", "HEAD").strip()
    assert shown == git(box.session, "rev-parse", "refs/heads/ratchet/default").strip()
    (place / "train.py").write_text("mine\n")
    (box.session / "rounds" / f"{kept[-1]:04d}" / "steer.json").unlink()
    box.play(last="confirm")
    assert (place / "train.py").read_text() == "mine\n"
    (told,) = box.events("worktree")
    assert told["detail"] == "has edits of its own and is left as it is"
    assert not verify_sessions(box.path).deviations


def test_a_change_of_what_feeds_the_key_trains_again(copy: Box) -> None:
    before = set(copy.runs())
    for name, old, new in (
        ("train.py", "RATE = 0.1", "RATE = 0.11"),
        ("prepare.py", "import os", "import os  # new"),
    ):
        path = copy.path / "tasks" / "fake" / name
        path.write_text(path.read_text().replace(old, new))
        copy.play(session=f"after-{name.split('.')[0]}", rounds=1, last="rounds")
    copy.play(session="longer", rounds=1, budget_steps=6, last="rounds")
    copy.play(session="seeded", rounds=1, seed=2, last="rounds")
    assert len(set(copy.runs()) - before) >= 4 * (1 + 1)


def test_a_deadline_ends_the_session_and_another_leg_goes_on(finished: Box, box: Box) -> None:
    assert "the time limit is over" in box.play(deadline_hours=1e-6)
    assert box.rulings() == []
    assert "time limit" in (box.session / "report.html").read_text()
    box.play(deadline_hours=1, leg=2, last="confirm")
    assert box.state() == finished.state()


def pass_deadline(box: Box) -> None:
    (path,) = (box.session / "limits").glob("*.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "deadline": 0.0}))


@pytest.mark.parametrize("max_runs", [None, 12])
def test_an_executed_experiment_stays_a_fact_when_its_file_is_lost(
    copy: Box, finished: Box, max_runs: int | None
) -> None:
    """Its run is in the store and costs nothing, whatever limit has been reached since."""
    (copy.session / "rounds" / "0002" / "experiment-0.json").unlink()
    if not max_runs:
        pass_deadline(copy)
    copy.play(max_runs=max_runs, last="confirm")
    assert copy.json("rounds/0002/experiment-0.json")["stop"] is None
    assert copy.state() == finished.state()
    assert copy.events("stopped") == []


def test_what_was_never_run_is_skipped_after_the_deadline(copy: Box) -> None:
    (copy.session / "rounds" / "0003" / "experiment-0.json").unlink()
    key = copy.json("rounds/0003/verdict.json")["rulings"][0]["runs"][0]["key"]
    shutil.rmtree(copy.path / "store" / "runs" / key[:2] / key)
    pass_deadline(copy)
    copy.play(last="rounds")
    skipped = copy.json("rounds/0003/experiment-0.json")
    assert not skipped["runs"]
    assert "time limit" in skipped["detail"]


def test_max_runs_is_never_exceeded(box: Box) -> None:
    box.play(rounds=9, max_runs=14)
    assert "14 are allowed" in (box.session / "report.html").read_text()
    assert 3 < len(box.runs()) <= 14
    assert len(box.rulings()) >= 1


NOBODY = {"proposer": "claude", "agent_command": '["no-such-agent"]'}


@pytest.mark.parametrize(
    ("settings", "name", "text", "words"),
    [
        ({"round": 3}, "", b"", "unknown key 'round'; did you mean 'rounds'?"),
        ({"task": "tasks/none"}, "", b"", "holds no task.yaml"),
        (NOBODY, "", b"", "there is no program 'no-such-agent' on the PATH"),
        ({}, "config/config.yaml", b"session: alone\n", "the key 'candidates' is missing"),
        ({}, "config/config.yaml", None, "cannot be read"),
        ({}, "tasks/fake/task.yaml", b"timeout: 30", "unknown key 'timeout'"),
    ],
)
def test_bad_settings_and_files_are_one_clear_message(
    box: Box, settings: dict, name: str, text: bytes | None, words: str
) -> None:
    path = box.path / name
    if name and text is None:
        path.mkdir(parents=True)
    elif name:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes((path.read_bytes() if path.exists() else b"") + (text or b""))
    said = box.play(check=False, **settings)
    assert box.status in (64, 66)
    assert words in said
    assert said.count("ratchet: ") == 1
    assert "Traceback" not in said
    assert {path.name for path in box.path.iterdir()} <= {"tasks", "config"}


def test_the_checkout_around_a_session_is_never_touched(tmp_path: Path) -> None:
    box = make_box(tmp_path / "checkout")
    git(box.path, "init", "-q", "-b", "main")
    (box.path / ".gitignore").write_text("results/\nstore/\n.snakemake/\n")
    git(box.path, "add", "-A")
    git(box.path, "commit", "-qm", "mine")
    (box.path / "notes.txt").write_text("untracked")
    (box.path / "tasks/fake/program.md").write_text("edited, not committed\n")

    def checkout() -> tuple[str, str, bytes]:
        status = git(box.path, "status", "--porcelain=v1", "-b")
        return status, git(box.path, "for-each-ref"), (box.path / ".git" / "index").read_bytes()

    before = checkout()
    box.play(rounds=2)
    assert checkout() == before
    state = box.state()
    git(box.path, "stash", "-q")
    git(box.path, "reset", "-q", "--hard")
    git(box.path, "clean", "-fdxq")
    assert not (box.path / "notes.txt").exists()
    assert box.state() == state
