"""Fixtures: an empty box, a finished session, a copy of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from helpers.boxes import Box, make_box


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return make_box(tmp_path / "box")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Box:
    """One finished session; tests copy it and never change it."""
    reference = make_box(tmp_path_factory.mktemp("finished") / "box")
    reference.run()
    return reference


@pytest.fixture
def copy(finished: Box, tmp_path: Path) -> Box:
    """A copy of the finished session, times of files included."""
    shutil.copytree(finished.path, tmp_path / "copy", symlinks=True)
    return Box((tmp_path / "copy").resolve())
