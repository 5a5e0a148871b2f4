"""What commands say of a session that was brought back, and of one that is not there."""

from pathlib import Path

import pytest

from helpers import FAKE
from helpers.boxes import make_box
from helpers.recorded import Recorded
from ratchet.cli import mirror, restore, status
from ratchet.records.events import Journal

Capsys = pytest.CaptureFixture[str]


def test_nobody_runs_a_session_that_was_brought_back(tmp_path: Path, capsys: Capsys) -> None:
    box = make_box(tmp_path / "box", task="tasks/fake", rounds=2)
    box.backend = Recorded.load("fake", FAKE)
    box.play(last="rounds")
    Journal(box.session / "events.jsonl").append("heard")  # it ran a moment ago
    place, fresh = str(tmp_path / "m"), tmp_path / "fresh"
    fresh.mkdir()
    assert mirror.main(["--root", str(box.path), "default", "--to", place]) == 0
    assert restore.main(["--root", str(fresh), place, "default", "--take-over"]) == 0
    capsys.readouterr()
    assert status.main(["--root", str(fresh), "default"]) == 1
    assert "nobody runs it" in capsys.readouterr().out
    # The command that is named takes the mirror back, wherever that was named.
    assert mirror.main(["--root", str(box.path), "default", "--to", place]) == 75
    again = capsys.readouterr().err.strip().rpartition("ratchet mirror ")[2].split()
    assert mirror.main(["--root", str(box.path), *again]) == 0


def test_a_session_that_is_not_there_is_looked_for_among_all(
    tmp_path: Path, capsys: Capsys
) -> None:
    assert mirror.main(["--root", str(tmp_path), "night", "--to", str(tmp_path / "m")]) == 66
    assert "ratchet status --all" in capsys.readouterr().err
