"""A session run by Snakemake: run again, extended, planned, forced, without its metadata."""

from __future__ import annotations

import shutil
from pathlib import Path

from helpers.boxes import Box, make_box


def test_a_second_call_has_nothing_to_do(copy: Box) -> None:
    before = copy.state()
    assert "Nothing to be done" in copy.run()
    assert copy.state() == before


def test_more_rounds_extend_a_session_whatever_its_folder_is_called(
    tmp_path: Path, finished: Box
) -> None:
    box = make_box(tmp_path / 'a päth; it\'s $HOME "x" {y}')
    box.run(rounds=1)
    early = box.runs()
    box.run(rounds=3)
    assert set(early) <= set(box.runs())
    ours, theirs = box.state(), finished.state()
    # The early champion was confirmed too; all else is as in one go.
    assert set(theirs.pop("runs").split()) <= set(ours.pop("runs").split())
    assert ours == theirs


def test_dry_run_of_a_long_session(box: Box) -> None:
    said = box.run("-n", "--quiet", "rules", rounds=700)
    assert "experiment" in said
    assert not (box.path / "results").exists()


def test_forced_reruns_and_what_was_lost_train_nothing(copy: Box) -> None:
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
    shutil.rmtree(copy.session)
    copy.run()
    assert copy.state() == before
    assert copy.events("run_started") == []
