"""Sessions, tasks, candidates and services that the tests share."""

from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
HELPERS = Path(__file__).resolve().parent
DATA = REPO / "tests" / "data"
FAKE = DATA / "tasks" / "fake"
BYTELM = REPO / "tasks" / "bytelm"
SHARED = REPO.parent / "shared"
"""Material beside the checkout, which not every machine has."""
