"""Limits of a session: deadline, target, number of runs, and when one of them ends it."""

import math
from pathlib import Path

from ratchet.base.io import read_record, write_json
from ratchet.base.structs import Frozen, replace
from ratchet.config import Config
from ratchet.records.events import Journal
from ratchet.records.paths import SessionPaths
from ratchet.records.records import Direction, Manifest, SessionState, StopReason

Stop = tuple[StopReason, str]
"""Why a session ends, with a sentence."""


class Limits(Frozen):
    """Limits that end a session early.

    ``deadline`` is in seconds since the epoch.  ``reserved_runs`` are those
    that a round may still need after its candidates' first runs.
    """

    deadline: float
    direction: Direction = Direction.MINIMIZE
    target: float | None = None
    max_runs: int | None = None
    reserved_runs: int = 0


def stop_reason(limits: Limits, state: SessionState, now: float, candidate: int = 0) -> Stop | None:
    """Why the next experiment must not run, with a sentence; ``None`` to go on."""
    mean = state.incumbent.mean
    if limits.target is not None and limits.direction.sign * (mean - limits.target) <= 0:
        return StopReason.TARGET, f"the target {limits.target:g} is reached (estimate {mean:.6g})"
    if now >= limits.deadline:
        return StopReason.DEADLINE, "the time limit is over; raise `leg` to grant another one"
    needed = state.runs_used + candidate + 1 + limits.reserved_runs
    if limits.max_runs is not None and needed > limits.max_runs:
        return (
            StopReason.MAX_RUNS,
            f"another round could need {needed} runs in all, {limits.max_runs} are allowed",
        )
    return None


def announce_stop(
    journal: Journal, number: int, before: SessionState, stop: StopReason, detail: str
) -> None:
    """Say once that the session has ended; ``before`` is its state before round ``number``."""
    if before.stop is None:
        journal.append("stopped", reason=stop, detail=detail, round=number)


def write_limits(config: Config, path: Path, root: Path, now: float) -> None:
    """Start the clock of the limits in ``path``, a new file whenever one of them has changed.

    The deadline is the one that the same limits had before, if they were in
    force already: going back to an earlier leg grants no new time.
    """
    from ratchet.session import session_target  # much comes with it; most steps only read limits

    paths = SessionPaths(config.session, root)
    manifest = read_record(Manifest, paths.manifest)
    token = config.limits_token
    earlier = [paths.limits(n, found) for n, found in paths.known_limits() if found == token]
    begun = read_record(Limits, earlier[0]).deadline if earlier else None
    limits = Limits(
        deadline=begun if begun is not None else now + 3600 * config.deadline_hours,
        direction=Direction(manifest.values["metric"]["direction"]),
        target=session_target(config, manifest),
        max_runs=config.max_runs,
        reserved_runs=_reserved(config, manifest),
    )
    write_json(path, limits)


def load_limits(
    path: Path | None, config: Config, paths: SessionPaths, by_hand: bool = False
) -> Limits | None:
    """Read a limits file; without one (an executed round) nothing is limited.

    Whoever tries an edit ``by_hand`` wants it run: neither the clock nor a target
    that was reached is in the way.  How many runs a round may need follows the
    settings of now: a change of how to judge makes no new limits.
    """
    if path is None:
        return None
    found = read_record(Limits, path)
    if by_hand:
        found = replace(found, deadline=math.inf, target=None)
    if found.max_runs is None:
        return found
    manifest = read_record(Manifest, paths.manifest)
    return replace(found, reserved_runs=_reserved(config, manifest))


def _reserved(config: Config, manifest: Manifest) -> int:
    return config.settled(str(manifest.frozen["mode"])).reserved_runs
