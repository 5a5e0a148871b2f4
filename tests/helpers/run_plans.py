"""Runs of a few lines of code, for tests of what surrounds a run."""

import contextlib
from pathlib import Path
from typing import Any

from ratchet.records.paths import StorePaths
from ratchet.records.store import LOG, RunRecord, Store
from ratchet.runs.run import execute_run, leased
from ratchet.runs.spec import RunSpec

DATA = b"some data"
FILES = ("sources", "fixed", "data", "evaluation_data", "audit_data")


def store(root: Path) -> Store:
    """The store in which the files of runs below ``root`` are."""
    return Store(StorePaths(root / "store"))


def plan(root: Path, source: str, **changes: Any) -> RunSpec:
    """A run of ``source`` as ``train.py`` that reads ``train.bin``, with these changes.

    Files are given by their content.
    """
    values: dict[str, Any] = {
        "command": ["python", "train.py"],
        "sources": {"train.py": source.encode()},
        "fixed": {},
        "data": {"train.bin": DATA},
        "seed": 3,
        "budget_seconds": 1.0,
        "budget_steps": None,
        "timeout_seconds": 20.0,
        "threads": 1,
        "metric": "val",
        **changes,
    }
    for name in (name for name in FILES if name in values):
        kept = {path: store(root).put(content) for path, content in values[name].items()}
        values[name] = kept
    return RunSpec(**values)


def launch(root: Path, source: str, folder: str = "run", **changes: Any) -> tuple[RunRecord, str]:
    """Execute a run of ``source`` in a folder of ``root``; its record and its log."""
    place = root / folder
    place.mkdir(exist_ok=True)
    with leased(plan(root, source, **changes)) as spec:
        record = execute_run(spec, store(root), place)
    return record, (place / LOG).read_text(errors="replace")


def processes_named(mark: str, file: str = "cmdline") -> list[int]:
    """Ids of the processes whose command line, or name in ``comm``, holds a mark."""
    found = []
    for path in Path("/proc").glob(f"[0-9]*/{file}"):
        with contextlib.suppress(OSError):
            if mark.encode() in path.read_bytes():
                found.append(int(path.parent.name))
    return found
