"""Sessions, tasks, candidates and services that the tests share."""

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from ratchet.records.paths import StorePaths
from ratchet.task.repository import find_task
from ratchet.task.task import Task

REPO = Path(__file__).resolve().parents[2]
HELPERS = Path(__file__).resolve().parent
DATA = REPO / "tests" / "data"
FAKE = DATA / "tasks" / "fake"
BYTELM = REPO / "tasks" / "bytelm"
GPT = REPO / "tasks" / "gpt"
SHARED = REPO.parent / "shared"
"""Material beside the checkout, which not every machine has."""


def load_task(folder: Path, harness: Path = REPO) -> Task:
    """The task in a folder, checked."""
    return find_task(str(folder), harness, harness, StorePaths(harness / "store"))


def import_modules(folder: Path, names: Sequence[str]) -> dict[str, ModuleType]:
    """Modules of a task by name; others have some of the same names, so none stays behind."""
    kept = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    sys.path.insert(0, str(folder))
    try:
        return {name: importlib.import_module(name) for name in names}
    finally:
        sys.path.remove(str(folder))
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update(kept)
