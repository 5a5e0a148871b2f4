"""Start the clock of a session's limits."""

from __future__ import annotations

import math
from pathlib import Path

from ratchet import files
from ratchet.codec import replace
from ratchet.config import Config
from ratchet.paths import SessionPaths
from ratchet.records import Direction, Manifest
from ratchet.stopping import Limits


def run(config: Config, path: Path, root: Path, now: float) -> None:
    """Write the limits file ``path``; a changed leg, target or allowance makes a new one.

    The deadline is the one that the same limits had before, if they were in
    force already: going back to an earlier leg grants no new time.
    """
    paths = SessionPaths(config.session, root)
    manifest = files.read_record(Manifest, paths.manifest)
    token = config.limits_token
    earlier = [paths.limits(n, found) for n, found in paths.known_limits() if found == token]
    begun = files.read_record(Limits, earlier[0]).deadline if earlier else None
    limits = Limits(
        deadline=begun if begun is not None else now + 3600 * config.deadline_hours,
        direction=Direction(manifest.values["metric"]["direction"]),
        target=target(config, manifest),
        max_runs=config.max_runs,
        reserved_runs=_reserved(config, manifest),
    )
    files.write_json(path, limits)


def target(config: Config, manifest: Manifest) -> float | None:
    """The value that ends the session: the configuration's, or else the task's own."""
    found = manifest.values.get("target") if config.target is None else config.target
    return None if found is None else float(found)


def load(
    path: Path | None, config: Config, paths: SessionPaths, by_hand: bool = False
) -> Limits | None:
    """Read a limits file; without one (an executed round) nothing is limited.

    Whoever tries an edit ``by_hand`` wants it run: neither the clock nor a target
    that was reached is in the way.  How many runs a round may need follows the
    settings of now: a change of how to judge makes no new limits.
    """
    if path is None:
        return None
    found = files.read_record(Limits, path)
    if by_hand:
        found = replace(found, deadline=math.inf, target=None)
    if found.max_runs is None:
        return found
    manifest = files.read_record(Manifest, paths.manifest)
    return replace(found, reserved_runs=_reserved(config, manifest))


def _reserved(config: Config, manifest: Manifest) -> int:
    return config.settled(str(manifest.frozen["mode"])).reserved_runs
