"""Sessions, tasks, candidates and services that the tests share."""

from pathlib import Path

from ratchet.records.paths import StorePaths
from ratchet.task.repository import find_task
from ratchet.task.task import Task

REPO = Path(__file__).resolve().parents[2]
HELPERS = Path(__file__).resolve().parent
DATA = REPO / "tests" / "data"
FAKE = DATA / "tasks" / "fake"
BYTELM = REPO / "tasks" / "bytelm"
SHARED = REPO.parent / "shared"
"""Material beside the checkout, which not every machine has."""


def load_task(folder: Path, harness: Path = REPO) -> Task:
    """The task in a folder, checked."""
    return find_task(str(folder), harness, harness, StorePaths(harness / "store"))
