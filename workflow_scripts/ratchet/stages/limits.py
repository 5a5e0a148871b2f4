"""Start the clock of a session's limits."""

from __future__ import annotations

from pathlib import Path

from ratchet import files
from ratchet.config import Config
from ratchet.paths import SessionPaths
from ratchet.stopping import Limits


def run(config: Config, root: Path, now: float) -> None:
    """Write the limits file; a new leg, target or allowance makes a new one."""
    limits = Limits(
        deadline=now + 3600 * config.deadline_hours,
        target=config.target,
        max_runs=config.max_runs,
        reserved_runs=config.reserved_runs,
    )
    path = SessionPaths(config.session, root).limits(config.limits_token)
    files.write_json(path, limits)


def load(path: Path | None) -> Limits | None:
    """Read a limits file; without one (an executed round) nothing is limited."""
    return files.read_record(Limits, path) if path is not None else None
