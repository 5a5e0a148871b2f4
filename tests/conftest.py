"""Settings of all tests; boxes, and an arena of candidates."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from helpers.boxes import Box, make_box
from helpers.shared import copied, shared_box, shared_folder

if TYPE_CHECKING:
    from helpers.candidates import Arena

# Machines are busy: a slow example is no failure.  Without hands, the examples
# are the same every time.
settings.register_profile("ratchet", deadline=None, max_examples=50, derandomize="CI" in os.environ)
settings.load_profile("ratchet")


# Programs that tests start find the bytecode of copied code, or leave it for the next one.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_collection_finish() -> None:
    """What collecting made stays to the end: looking for garbage in it again finds none."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def no_power_cut() -> Iterator[None]:
    """Nothing waits for the disk: kills are tested, a machine that loses its power is not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def own_devices(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Sessions of these tests wait for no session of anybody else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RATCHET_LEASES", str(tmp_path_factory.mktemp("leases")))
        yield


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return make_box(tmp_path / "box")


@shared_box
def finished(path: Path) -> Box:
    """A session that Snakemake ran to its end; tests copy it and never change it."""
    box = make_box(path)
    box.run()
    return box


@pytest.fixture(scope="session")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Arena:
    """One place to try candidates in for all tests of a worker.

    The data are prepared once, and the unchanged candidate is run once for all workers.
    """
    from helpers.candidates import Arena  # which asks the machine for its sandboxes

    root = tmp_path_factory.mktemp("arena with space")
    return Arena(root, shared_folder(tmp_path_factory))


@pytest.fixture
def copy(finished: Box, tmp_path: Path) -> Box:
    return copied(finished, tmp_path / "copy")
