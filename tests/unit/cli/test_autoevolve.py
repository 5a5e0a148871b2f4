"""Strategies that ``autoevolve`` gives to agents; what it refuses is in ``test_main``."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from helpers import FAKE, REPO
from helpers.commands import Patch
from ratchet.cli.autoevolve import RELEASED, first_strategies


def test_agents_get_the_released_strategies_first(tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RATCHET_HARNESS", str(REPO))
    shutil.copytree(FAKE, tmp_path / "tasks" / "fake")
    first = first_strategies(argparse.Namespace(root=tmp_path, agents=7))
    assert first[:6] == list(RELEASED)
    assert len(set(first)) == 7
