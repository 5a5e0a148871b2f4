"""``ratchet program`` without a session: files, findings, refusals."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from helpers import FAKE
from helpers.commands import Capsys
from ratchet.cli.program import main


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    shutil.copytree(FAKE, tmp_path / "tasks" / "fake")
    return ["--root", str(tmp_path), "--config", "task=tasks/fake", "budget_seconds=3"]


def test_new_check_and_force(options: list[str], capsys: Capsys, tmp_path: Path) -> None:
    brief = tmp_path / "tasks" / "fake" / "program.md"
    assert main(["check", *options]) == 1
    out, err = capsys.readouterr()
    assert f"{brief}:1: missing: expected a budget of 3 seconds, found none; write: " in out
    assert "findings" in err
    assert main(["new", *options]) == 64
    assert main(["new", "--force", *options]) == 0
    assert "budget of each run is 3 seconds" in brief.read_text()
    assert main(["check", *options]) == 0
    assert "nothing to mend" in capsys.readouterr().err


def test_findings_as_json(options: list[str], capsys: Capsys, tmp_path: Path) -> None:
    path = tmp_path / "b.md"
    assert main(["new", "--output", str(path), *options]) == 0
    path.write_text(path.read_text().replace("3 seconds", "4 seconds"))
    capsys.readouterr()
    assert main(["check", "--json", str(path), *options]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["clean"] is False
    (one,) = found["findings"]
    assert one["flaw"] == "contradictory"
    assert one["found"] == "'4 seconds'"
    assert path.read_text().splitlines()[one["line"] - 1].startswith("1. The budget")


def test_text_that_is_none(options: list[str], capsys: Capsys, tmp_path: Path) -> None:
    path = tmp_path / "b.md"
    path.write_bytes(b"ab\xff")
    assert main(["check", str(path), *options]) == 65
    assert "expected UTF-8 text, found byte 2" in capsys.readouterr().err
    path.write_bytes(b"TODO \x1b[2J\n")
    assert main(["check", str(path), *options]) == 1
    assert "\x1b" not in capsys.readouterr().out
