"""Disks that are full or read-only, files that were cut short, clocks that jump."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from helpers.boxes import Box, make_box
from helpers.disks import fill, mounted, unmounted
from ratchet.integrity.verify import verify_sessions
from ratchet.records.events import time_left


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
    folder = box.path / name
    folder.mkdir()
    if os.geteuid() != 0:
        folder.chmod(0o555)
    elif not mounted(folder, "-o", "ro"):
        pytest.skip("needs the right to mount a file system")
    try:
        said = box.play(check=False)
    finally:
        if os.geteuid() != 0:
            folder.chmod(0o755)
        else:
            unmounted(folder)
    assert box.status != 0
    assert "Read-only file system" in said or "Permission denied" in said
    assert name in said
    assert "Traceback" not in said
    assert not (box.path / "store" / "runs").exists()
    box.play()
    assert box.state() == finished.state()


CUT = [
    "baseline.json",
    "confirm.json",
    "rounds/0000/steer.json",
    "rounds/0001/proposals.json",
    "rounds/0002/experiment-0.json",
    "rounds/0002/verdict.json",
    "rounds/0002/judge.json",
    "rounds/0003/steer.json",
]


def test_a_record_that_was_cut_short_is_named_and_can_be_made_again(
    copy: Box, finished: Box
) -> None:
    read = []
    for name in CUT:
        path = copy.session / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        assert f"results/default/{name}" in {d.path for d in verify_sessions(copy.path).deviations}
        said = copy.play(first="confirm", check=False)
        if copy.status:
            read.append(path)
            assert path.name in said
            assert "is not valid JSON" in said
            assert "Traceback" not in said
            assert "-F" in said
        shutil.copytree(finished.path, copy.path, symlinks=True, dirs_exist_ok=True)
    assert len(read) >= 2
    for name in CUT:
        path = copy.session / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    # As the message says, or as `verify` does where nothing had to read the file.
    for path in read:
        path.unlink()
    copy.play()
    assert all(json.loads((copy.session / name).read_text()) for name in CUT)
    assert copy.state() == finished.state()
    assert copy.runs() == finished.runs()


def test_a_manifest_that_was_cut_short_stops_the_session(copy: Box) -> None:
    path = copy.session / "manifest.json"
    path.write_bytes(path.read_bytes()[:99])
    said = copy.play(check=False)
    assert copy.status != 0
    assert "manifest.json" in said
    assert "is not valid JSON" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("left", [0, 1, 0.5])
def test_a_journal_that_was_cut_short_loses_only_itself(
    copy: Box, finished: Box, left: float
) -> None:
    path = copy.session / "events.jsonl"
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * left) or int(left)])
    (copy.session / "progress.log").unlink()
    copy.play()
    assert copy.state() == finished.state()
    assert copy.events("reported")


def limits_of(box: Box) -> Path:
    (path,) = (box.session / "limits").glob("*.json")
    return path


def test_a_clock_that_jumped_ahead_ends_the_session_and_one_set_back_lets_it_go_on(
    tmp_path: Path, finished: Box
) -> None:
    """The deadline alone is compared with the clock, so moving it is as good as a jump."""
    box = make_box(tmp_path / "box")
    box.play(last="baseline")
    path = limits_of(box)
    limits = json.loads(path.read_text())
    later = limits["deadline"]
    path.write_text(json.dumps({**limits, "deadline": 0.0}))
    said = box.play()
    assert "the time limit is over" in said
    assert box.rulings() == []
    assert "time limit" in (box.session / "report.html").read_text()
    path.write_text(json.dumps({**limits, "deadline": later + 10 * 365 * 24 * 3600}))
    box.play()
    assert len(box.rulings()) == 3
    assert (box.session / "results.tsv").read_bytes() == (
        finished.session / "results.tsv"
    ).read_bytes()


def test_times_that_go_backwards_in_the_journal_are_no_pace() -> None:
    stamps = ["2026-01-01T00:10:00+00:00", "2026-01-01T00:00:00+00:00"]
    events = [
        {"time": stamps[0], "event": "baseline"},
        {"time": stamps[0], "event": "run_finished", "wall_seconds": 1.0},
        {"time": stamps[1], "event": "verdict", "round": 1},
    ]
    now = {"rounds": 3, "round": 1, "confirm_replicates": 1}
    assert time_left(events, now) is None
