"""What is made once for all workers that test side by side, and copied by those that change it."""

import fcntl
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.boxes import Box

Maker = Callable[[Path], Box]


def shared_folder(factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers have."""
    base = factory.getbasetemp()
    place = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    place.mkdir(exist_ok=True)
    return place


def made_once(factory: pytest.TempPathFactory, name: str, make: Maker) -> Box:
    """The box of a name; the first that asks for it makes it, the others wait.

    ``make`` gets the folder to make it in.  Whoever gets the box must not change it.
    """
    place = shared_folder(factory)
    folder, settings = place / name / "box", place / f"{name}.made"
    with (place / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not settings.exists():
            shutil.rmtree(folder.parent, ignore_errors=True)
            made = make(folder)
            settings.write_text(json.dumps([made.settings, made.environment]))
            return made
    known = json.loads(settings.read_text())
    return Box(folder.resolve(), *known)


def shared_box(make: Maker) -> Any:
    """A fixture of the function's name: the box that it makes, once for all workers."""

    def fixture(tmp_path_factory: pytest.TempPathFactory) -> Box:
        # Two modules may have one of the same name.
        return made_once(tmp_path_factory, f"{make.__module__}.{make.__name__}", make)

    fixture.__doc__ = make.__doc__
    return pytest.fixture(scope="session", name=make.__name__)(fixture)


def copied(box: Box, folder: Path) -> Box:
    """A copy of a box that a test may change, times of files included."""
    shutil.copytree(box.path, folder, symlinks=True)
    return Box(folder.resolve(), dict(box.settings), dict(box.environment), box.harness)


def replayed(box: Box, folder: Path) -> Box:
    """A copy played again from its store: it ends with the same bytes and makes no run."""
    again = copied(box, folder)
    shutil.rmtree(again.session)
    again.play(last="confirm")
    assert again.state() == box.state()
    assert again.events("run_finished") == []
    return again
