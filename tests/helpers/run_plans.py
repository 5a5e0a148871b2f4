"""Runs of a few lines of code, for tests of what surrounds a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ratchet.canonical import digest_bytes
from ratchet.layout import RunPlan

DATA = b"some data"


def plan(root: Path, source: str, **changes: Any) -> RunPlan:
    """A run of ``source`` as ``train.py`` that reads ``train.bin``, with these changes."""
    blob = root / "blob"
    blob.write_bytes(DATA)
    values: dict[str, Any] = {
        "command": ["python", "train.py"],
        "sources": {"train.py": source.encode()},
        "fixed": {},
        "data": {"train.bin": (blob, digest_bytes(DATA))},
        "seed": 3,
        "budget_seconds": 1.0,
        "budget_steps": None,
        "timeout_seconds": 20.0,
        "threads": 1,
        "metric": "val",
    }
    return RunPlan(**{**values, **changes})
