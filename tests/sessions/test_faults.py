"""Full and read-only disks, damaged runs and records, candidates that misbehave."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.boxes import Box, make_box
from helpers.edits import constant, declare
from ratchet.integrity.verify import verify_sessions


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """A file system of its own on a folder; the test skips where one may not mount."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs the right to mount a file system")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, capture_output=True)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    with mounted(tmp_path / "small", "size=8m"):
        yield tmp_path / "small"


def fill(folder: Path, left_kb: int) -> Path:
    """Fill the file system up to some free space; returns what fills it."""
    ballast = folder / "ballast"
    stat = os.statvfs(folder)
    # A session that writes meanwhile may have taken the last of it.
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as stream:
        stream.write(b"\0" * max(0, stat.f_bavail * stat.f_frsize - left_kb * 1024))
    return ballast


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """A folder that nobody can write to; for root, whom no mode stops, a file system."""
    if os.geteuid() == 0:
        with mounted(folder, "ro"):
            yield
    else:
        folder.mkdir(mode=0o555)
        try:
            yield
        finally:
            folder.chmod(0o755)


def test_a_full_disk_costs_nothing_that_was_finished(small: Path, finished: Box) -> None:
    """The same session, ended by a full disk again and again, each time somewhat later."""
    box = make_box(small / "box")
    known: set[str] = set()
    for left_kb in (0, 60, 90, 110, 140):
        ballast = fill(small, left_kb)
        said = box.play(check=False)
        assert box.status != 0, "the disk was not small enough to test anything"
        assert "No space left on device" in said or "the disk is full" in said, said
        assert not box.trainers()
        assert known <= set(box.runs())
        known = set(box.runs())
        ballast.unlink()
    box.play()
    assert box.state() == finished.state()
    assert known <= set(box.runs())
    assert verify_sessions(box.path).deviations == []


@pytest.mark.parametrize("name", ["results", "store"])
def test_a_read_only_folder_is_named_and_nothing_is_trained(
    box: Box, finished: Box, name: str
) -> None:
    with read_only(box.path / name):
        said = box.play(check=False)
    assert box.status != 0
    assert "Read-only file system" in said or "Permission denied" in said
    assert name in said
    assert "Traceback" not in said
    assert not (box.path / "store" / "runs").exists()
    box.play(last="confirm")
    assert box.state() == finished.state()


CUT = [
    "baseline.json",
    "confirm.json",
    "rounds/0001/proposals.json",
    "rounds/0002/experiment-0.json",
    "rounds/0002/verdict.json",
    "rounds/0002/judge.json",
    "rounds/0003/steer.json",
]


def cut_short(box: Box, name: str) -> Path:
    path = box.session / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def test_a_record_that_was_cut_short_is_named_and_can_be_made_again(
    copy: Box, finished: Box
) -> None:
    read = []
    for name in (*CUT, "manifest.json"):
        path = cut_short(copy, name)
        assert f"results/default/{name}" in {d.path for d in verify_sessions(copy.path).deviations}
        said = copy.play(first="confirm", check=False)
        if copy.status:
            read.append(name)
            assert path.name in said
            assert "is not valid JSON" in said
            assert "Traceback" not in said
            assert "-F" in said or name == "manifest.json"
        shutil.copytree(finished.path, copy.path, symlinks=True, dirs_exist_ok=True)
    assert len(read) >= 3
    assert read.pop() == "manifest.json"
    # As the message says, or as `verify` does where nothing had to read the file.
    for name in CUT:
        path = cut_short(copy, name)
        if name in read:
            path.unlink()
    copy.play(last="confirm")
    assert all(copy.json(name) for name in CUT)
    assert copy.state() == finished.state()


@pytest.mark.parametrize("left", [0, 0.5])
def test_a_journal_and_a_table_that_were_cut_short_are_repaired(
    copy: Box, finished: Box, left: float
) -> None:
    for name in ("events.jsonl", "results.tsv"):
        path = copy.session / name
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * left)])
    (copy.session / "progress.log").unlink()
    copy.play()
    assert copy.state() == finished.state()
    assert copy.events("reported")


MISBEHAVIOUR = {
    "crash": ("crash", "RuntimeError: boom"),
    "hang": ("timeout", "stopped after 4 s"),
    "silent": ("no_metric", "without printing val_loss"),
    "nan": ("diverged", "val_loss: nan"),
    "diverge": ("ok", ""),
    "flood": ("ok", ""),
    "fork": ("ok", ""),
    "tamper": ("tampered", "prepare.py"),
    "suicide": ("crash", "SIGTERM"),
}
DIVERGE = """
if BEHAVIOUR == "diverge":
    loss += 3
    for step in range(9):
        print(f"step {step}: loss {1 + step}.5")
"""
VERDICTS = {"ok": {"DISCARD", "MARGINAL", "KEEP", "STRONG_KEEP"}, "tampered": {"TAMPERED"}}


def test_misbehaving_candidates_are_recorded_and_the_session_goes_on(box: Box) -> None:
    script = box.path / "tasks" / "fake" / "train.py"
    last = 'if BEHAVIOUR == "nan"'
    script.write_text(script.read_text().replace(last, DIVERGE + last))
    behaviour = constant("BEHAVIOUR", *MISBEHAVIOUR)
    declare(box, {**behaviour, "category": "other"}, constant("WIDTH", 4))
    # Under isolation the fixed file is read-only, and the cheat a crash.
    settings = {"confirm_replicates": 1, "max_replicates": 1, "isolation": "none"}
    box.play(rounds=5, candidates=2, timeout_seconds=4, **settings)
    assert not box.trainers()
    rulings = {ruling["number"]: ruling for ruling in box.rulings()}
    assert len(rulings) == 10
    seen, rows = set(), (box.session / "results.tsv").read_text().splitlines()
    for number in range(1, 6):
        for proposal in box.json(f"rounds/{number:04d}/proposals.json")["proposals"]:
            ruling = rulings[proposal["number"]]
            value = proposal["edit"]["value"].strip("'")
            outcome, words = MISBEHAVIOUR.get(value, ("ok", ""))
            seen.add(value)
            assert ruling["runs"][0]["outcome"] == outcome, value
            assert words in ruling["runs"][0]["reason"]
            assert ruling["verdict"] in VERDICTS.get(outcome, {"CRASH"})
            diverged = value in ("nan", "diverge")
            assert ("diverged" in ruling["reason"]) is diverged
            *_, status, told = rows[1 + proposal["number"]].split("\t")
            assert told.endswith(" (diverged)") is diverged
            assert value != "diverge" or status == "discard"
    assert seen == {*MISBEHAVIOUR, "4"}
    logs = list((box.path / "store" / "runs").rglob("run.log"))
    assert max(log.stat().st_size for log in logs) < 1.1 * 2**20
    page = (box.session / "report.html").read_text()
    assert "RuntimeError: boom" in page
    assert page.count("<small>diverged</small>") == 2
    assert "TAMPERED" in page
