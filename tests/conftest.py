"""Settings of all tests; an empty box, a finished session, a copy of it, a small disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from helpers.boxes import Box, make_box
from helpers.disks import mounted, unmounted
from helpers.shared import copied, shared_box

# Machines are busy: a slow example is no failure.  Without hands, the examples
# are the same every time.
settings.register_profile("ratchet", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("ratchet")


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return make_box(tmp_path / "box")


@shared_box
def finished(path: Path) -> Box:
    """A session that Snakemake ran to its end; tests copy it and never change it."""
    box = make_box(path)
    box.run()
    return box


@pytest.fixture
def copy(finished: Box, tmp_path: Path) -> Box:
    return copied(finished, tmp_path / "copy")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if not mounted(folder, "-o", "size=8m"):
        pytest.skip("needs the right to mount a file system")
    yield folder
    unmounted(folder)
