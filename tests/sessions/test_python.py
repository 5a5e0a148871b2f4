"""A session whose task runs in an environment of its own."""

from __future__ import annotations

import venv
from pathlib import Path

from helpers.boxes import Box
from helpers.edits import constant, declare


def test_a_session_keeps_to_the_environment_that_it_started_with(box: Box) -> None:
    declare(box, constant("RATE", 0.2, 0.3, 0.4))
    own = box.path / "own"
    venv.create(own, with_pip=False)
    (packages,) = own.glob("lib/python*/site-packages")
    told = packages / "made_up-1.5.dist-info" / "METADATA"
    told.parent.mkdir()
    told.write_text("Metadata-Version: 2.1\nName: made_up\nVersion: 1.5\n")
    for name in ("train.py", "prepare.py"):
        path = box.path / "tasks" / "fake" / name
        path.write_text(
            f"import sys\n\nassert sys.executable.startswith({str(own)!r})\n{path.read_text()}"
        )
    said = box.play(rounds=1, python="own")
    assert "ratchet: python: own is not as bytelm.lock says (" in said
    frozen = box.json("manifest.json")["python"]
    assert "numpy: expected" in " ".join(frozen["deviations"])
    assert all(run["outcome"] == "ok" for ruling in box.rulings() for run in ruling["runs"])
    assert "not as locked" in (box.session / "report.html").read_text()

    before = box.runs()
    again = box.play(rounds=2, check=False)
    assert "was started with other packages for its task's runs" in again
    assert box.status != 0
    told.write_text(told.read_text().replace("1.5", "1.6"))
    again = box.play(rounds=2, python="own", check=False)
    assert "was started with other packages" in again
    assert box.runs() == before
    told.write_text(told.read_text().replace("1.6", "1.5"))
    box.play(rounds=2, python=str(Path("own/bin/python")))
    assert set(box.runs()) > set(before)
