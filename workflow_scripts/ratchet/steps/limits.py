"""Limits of a session: deadline, target, number of runs, and when one of them ends it."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

from ratchet.base.io import read_if_whole, read_record, write_json
from ratchet.base.structs import Frozen, replace
from ratchet.base.text import plural, spoken_duration
from ratchet.config import Config
from ratchet.monitor.outlook import Closing, Pace
from ratchet.records.events import Journal, read_events, waited_seconds, warm_up_seconds
from ratchet.records.paths import SessionPaths
from ratchet.records.records import (
    Baseline,
    Direction,
    Experiment,
    Manifest,
    Outcome,
    RunSummary,
    SessionState,
    StopReason,
)
from ratchet.records.store import Store

Stop = tuple[StopReason, str]
"""Why a session ends, with a sentence."""

SIDE_BY_SIDE = "RATCHET_SIDE_BY_SIDE"
"""Variable that tells steps how many trainings the workflow runs at once."""

PACE_ROUNDS = 20
"""Rounds whose runs tell how long the next one takes: code that is kept may be slower."""

MORE_TIME = "raise `deadline_hours`, or `leg` for as long again"
"""What to do; another leg that is as much too short would end as this one did."""


class Limits(Frozen):
    """Limits that end a session early.

    ``deadline`` is in seconds since the epoch.  ``reserved_runs`` are those
    that a round may still need after its candidates' first runs, and
    ``transfer_weight`` those at another scale, counted in runs of the search.
    """

    deadline: float
    direction: Direction = Direction.MINIMIZE
    target: float | None = None
    max_runs: int | None = None
    reserved_runs: int = 0
    side_by_side: int = 1
    transfer_weight: float = 0.0


class Reserve(Frozen):
    """What must still fit before the deadline, at the session's pace so far."""

    closing: Closing
    pace: Pace

    @property
    def seconds(self) -> float:
        """Time of an experiment and of all that follows."""
        return self.closing.after_experiment(self.pace)

    def words(self, left: float) -> str:
        """Why no experiment begins though so many seconds are left."""
        what, many = self.closing.names, self.closing.runs
        kept = f" for {plural(many, 'run')} of {what}" if many else " for the report"
        return (
            f"the rest of the time limit, {spoken_duration(left)}, is kept{kept} (about "
            f"{spoken_duration(self.pace.mean)} each); {MORE_TIME}"
        )


def stop_reason(
    limits: Limits,
    state: SessionState,
    now: float,
    candidate: int = 0,
    reserve: Reserve | None = None,
) -> Stop | None:
    """Why the next experiment must not run, with a sentence; ``None`` to go on."""
    mean = state.incumbent.mean
    if limits.target is not None and limits.direction.sign * (mean - limits.target) <= 0:
        return StopReason.TARGET, f"the target {limits.target:g} is reached (estimate {mean:.6g})"
    if now >= limits.deadline:
        return StopReason.DEADLINE, f"the time limit is over; {MORE_TIME}"
    if reserve is not None and now + reserve.seconds > limits.deadline:
        return StopReason.DEADLINE, reserve.words(limits.deadline - now)
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


def reserve_of(
    limits: Limits, config: Config, paths: SessionPaths, state: SessionState
) -> Reserve | None:
    """What must follow an experiment of the round after ``state``, and how long that takes.

    ``None`` where no deadline is in force, or no run has told the pace yet.
    """
    pace = None if math.isinf(limits.deadline) else session_pace(paths, state.round)
    if pace is None:
        return None
    kept, used = state.incumbent.kept, state.runs_used
    closing = Closing.of(config, kept, used, limits.transfer_weight, limits.side_by_side)
    return Reserve(closing, pace)


def session_pace(paths: SessionPaths, rounds: int) -> Pace | None:
    """The pace of a session by the runs of its last rounds, those of the baseline before them.

    The session's records name the runs, and the store has their times; its journal tells how
    long they waited for a device that others had, and how long new code compiles.
    """
    store, walls = Store(paths.store), dict[str, float]()
    events = list(read_events(paths.events))
    waited = waited_seconds(events)
    for run in _recent_runs(paths, rounds):
        record = store.recorded(run.key) if run.outcome is Outcome.OK else None
        if record is not None:
            walls[run.key] = record.wall_seconds + waited.get(run.key, 0.0)
    return Pace.of(list(walls.values()), warm_up_seconds(events))


def _recent_runs(paths: SessionPaths, rounds: int) -> Iterator[RunSummary]:
    baseline = read_if_whole(Baseline, paths.baseline)
    if baseline is not None and rounds < PACE_ROUNDS:
        yield from baseline.runs
    for number in range(max(rounds - PACE_ROUNDS, 0) + 1, rounds + 1):
        for path in sorted(paths.round(number).folder.glob("experiment-*.json")):
            made = read_if_whole(Experiment, path)
            if made is not None:
                yield from (*made.runs, *made.incumbent_runs)


def has_time(
    limits: Limits | None, config: Config, paths: SessionPaths, now: float, runs: int
) -> bool:
    """Whether so many runs of the certification leave time for what must follow them."""
    if limits is None:
        return True
    state = read_record(SessionState, paths.round(config.rounds).steer)
    reserve = reserve_of(limits, config, paths, state)
    if reserve is None:
        return now < limits.deadline
    return now + reserve.closing.after_certification(reserve.pace, runs) <= limits.deadline


def write_limits(config: Config, path: Path, root: Path, harness: Path, now: float) -> None:
    """Start the clock of the limits in ``path``, a new file whenever one of them has changed.

    The deadline is the one that the same limits had before, if they were in
    force already: going back to an earlier leg grants no new time.
    """
    # Much comes with it; most steps only read limits.
    from ratchet.session import session_target, session_transfer_weight

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
        side_by_side=_side_by_side(1),
        transfer_weight=session_transfer_weight(config, manifest, root, harness),
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
    found = replace(found, side_by_side=_side_by_side(found.side_by_side))
    if by_hand:
        found = replace(found, deadline=math.inf, target=None)
    if found.max_runs is None:
        return found
    manifest = read_record(Manifest, paths.manifest)
    return replace(found, reserved_runs=_reserved(config, manifest))


def _reserved(config: Config, manifest: Manifest) -> int:
    return config.settled(str(manifest.frozen["mode"])).reserved_runs


def _side_by_side(known: int) -> int:
    """Trainings that the workflow runs at once; on another machine as many as were ``known``."""
    told = os.environ.get(SIDE_BY_SIDE, "")
    return int(told) if told.isdecimal() else known
