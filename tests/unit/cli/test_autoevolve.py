"""What ``autoevolve`` refuses, and how it says so."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import pytest

from helpers import FAKE, REPO
from helpers.commands import Capsys, Patch
from ratchet.base.text import one_line
from ratchet.cli.autoevolve import RELEASED, first_strategies, main


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: Patch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RATCHET_HARNESS", str(REPO))
    shutil.copytree(FAKE, tmp_path / "tasks" / "fake")
    return tmp_path


REFUSED = [
    (["evlve"], 64, "expected a command (init, status"),
    (["statsu"], 64, "found 'statsu'; did you mean 'status'? see autoevolve --help"),
    (["--rounds", "x"], 64, "invalid int value"),
    (["--strategies", "agressive"], 64, "did you mean 'aggressive'?"),
    (["--rounds", "0"], 64, "evolve_rounds: expected at least 1, found 0"),
    (["--gpus", "0"], 64, "--gpus: expected at least 1"),
    (["--config", "rounds"], 64, "expected KEY=VALUE"),
    (["init", "--agents", "2"], 64, "expected --tag NAME"),
    (["init", "--agents", "99", "--tag", "x"], 64, "--agents: expected 1 to "),
    (["init", "--tag", "x"], 64, "--agents --strategies is required"),
    (["init", "-n", "1", "-t", "a..b"], 64, "session: expected a name"),
    (["status"], 66, "expected a tournament, found none; start one: autoevolve --strategies"),
    (["leaderboard", "--tag", "x"], 66, "expected a tournament, found none"),
    (["export", "--format", "xml"], 64, "invalid choice"),
    (["pollinate"], 66, "expected a tournament"),
    (["cleanup", "--yes"], 66, "expected a tournament"),
]


@pytest.mark.parametrize(("words", "code", "said"), REFUSED, ids=[" ".join(r[0]) for r in REFUSED])
def test_refusals_are_one_line_and_write_nothing(
    folder: Path, capsys: Capsys, words: list[str], code: int, said: str
) -> None:
    assert main(words) == code
    found = capsys.readouterr()
    assert found.out == ""
    assert said in found.err
    assert found.err == f"autoevolve: {one_line(found.err.removeprefix('autoevolve: '))}\n"
    assert not (folder / "results").exists()


def test_agents_get_the_released_strategies_first(folder: Path) -> None:
    options = argparse.Namespace(root=folder, agents=7)
    first = first_strategies(options)
    assert first[:6] == list(RELEASED)
    assert len(set(first)) == 7
