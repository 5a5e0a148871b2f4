"""Start the clock of a session's limits."""

from __future__ import annotations

from pathlib import Path

from ratchet import files
from ratchet.config import Config
from ratchet.paths import SessionPaths
from ratchet.records import Direction, Manifest
from ratchet.stopping import Limits


def run(config: Config, root: Path, now: float) -> None:
    """Write the limits file; a new leg, target or allowance makes a new one."""
    paths = SessionPaths(config.session, root)
    manifest = files.read_record(Manifest, paths.manifest)
    limits = Limits(
        deadline=now + 3600 * config.deadline_hours,
        direction=Direction(manifest.values["metric"]["direction"]),
        target=config.target,
        max_runs=config.max_runs,
        reserved_runs=config.reserved_runs,
    )
    files.write_json(paths.limits(config.limits_token), limits)


def load(path: Path | None) -> Limits | None:
    """Read a limits file; without one (an executed round) nothing is limited."""
    return files.read_record(Limits, path) if path is not None else None
