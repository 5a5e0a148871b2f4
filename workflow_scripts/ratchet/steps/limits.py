"""When a session ends before its last round, and rounds after its end."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from ratchet.base.io import read_bytes, read_record, write_bytes, write_json
from ratchet.base.structs import Frozen, replace
from ratchet.config import Config
from ratchet.records.events import Journal
from ratchet.records.paths import SessionPaths
from ratchet.records.records import (
    Direction,
    Experiment,
    Manifest,
    Proposals,
    RoundVerdict,
    SessionState,
    StopReason,
)
from ratchet.session import session_target

# --------------------------------------------------------------------
# When a session ends before its last round.


class Limits(Frozen):
    """What ends a session early.

    ``deadline`` is in seconds since the epoch.  ``reserved_runs`` are those
    that a round may still need after its candidates' first runs.
    """

    deadline: float
    direction: Direction = Direction.MINIMIZE
    target: float | None = None
    max_runs: int | None = None
    reserved_runs: int = 0


def stop_reason(
    limits: Limits, state: SessionState, now: float, candidate: int = 0
) -> tuple[StopReason, str] | None:
    """Why the next experiment must not run, with a sentence; ``None`` to go on."""
    mean = state.incumbent.mean
    if limits.target is not None and limits.direction.sign * (mean - limits.target) <= 0:
        return StopReason.TARGET, f"the target {limits.target:g} is reached (now {mean:.6g})"
    if now >= limits.deadline:
        return StopReason.DEADLINE, "the time limit is over; raise `leg` to grant another one"
    needed = state.runs_used + candidate + 1 + limits.reserved_runs
    if limits.max_runs is not None and needed > limits.max_runs:
        return (
            StopReason.MAX_RUNS,
            f"another round could need {needed} runs in all, {limits.max_runs} are allowed",
        )
    return None


# --------------------------------------------------------------------
# Start the clock of a session's limits.


def write_limits(config: Config, path: Path, root: Path, now: float) -> None:
    """Write the limits file ``path``; a changed leg, target or allowance makes a new one.

    The deadline is the one that the same limits had before, if they were in
    force already: going back to an earlier leg grants no new time.
    """
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


# --------------------------------------------------------------------
# Rounds after a session's end: they cost next to nothing and change nothing.
#
# Each function writes its stage's file and returns true if there is nothing to
# do; the stage itself, with everything that it imports, is needed only otherwise.


def skip_proposals(
    paths: SessionPaths, number: int, limits: Limits | None, now: float, journal: Journal
) -> bool:
    """Skip proposing for round ``number`` if the session has ended."""
    state = _state(paths, number - 1)
    stop = stop_reason(limits, state, now) if limits else None
    if stop is None:
        return False
    announce_stop(journal, number, state, *stop)
    skipped = Proposals(round=number, stop=stop[0], detail=stop[1])
    write_json(paths.round(number).proposals, skipped)
    return True


def skip_experiment(
    paths: SessionPaths,
    number: int,
    candidate: int,
    limits: Limits | None,
    now: float,
    journal: Journal,
    recall: Callable[[], bool],
) -> bool:
    """Skip an experiment if the session has ended or there is no such proposal.

    One that was proposed before a limit was reached is asked for in ``recall``:
    if it was executed then, that is a fact, and its file has only been lost.
    """
    here = paths.round(number)
    proposed = read_record(Proposals, here.proposals)
    stop, detail = proposed.stop, proposed.detail
    if stop is None and limits is not None:
        state = _state(paths, number - 1)
        found = stop_reason(limits, state, now, candidate)
        if found is not None:
            if candidate < len(proposed.proposals) and recall():
                return True
            stop, detail = found
            announce_stop(journal, number, state, stop, detail)
    elif stop is None and candidate >= len(proposed.proposals):
        detail = "the proposer had nothing more for this round"
    if stop is None and candidate < len(proposed.proposals):
        return False
    write_json(here.experiment(candidate), Experiment(number, candidate, stop=stop, detail=detail))
    return True


def skip_judging(paths: SessionPaths, number: int, candidates: int) -> bool:
    """Skip judging a round in which nothing was run; the judge stays as it was."""
    here = paths.round(number)
    found = [read_record(Experiment, here.experiment(c)) for c in range(candidates)]
    if any(experiment.executed for experiment in found):
        return False
    first = found[0]
    before = paths.round(number - 1)
    write_bytes(here.judge, read_bytes(before.judge))
    sums = read_record(RoundVerdict, before.verdict) if number > 1 else RoundVerdict(0)
    skipped = RoundVerdict(
        round=number,
        stop=first.stop,
        detail=first.detail,
        credit_used=sums.credit_used,
        expected_false_keeps=sums.expected_false_keeps,
        error_spent=sums.error_spent,
    )
    write_json(here.verdict, skipped)
    return True


def skip_steering(paths: SessionPaths, number: int) -> bool:
    """Skip steering after a round in which nothing was run; the state stays.

    Only near misses that the round found meaningless leave the queue.
    """
    verdict = read_record(RoundVerdict, paths.round(number).verdict)
    if verdict.rulings:
        return False
    before = _state(paths, number - 1)
    dropped = read_record(Proposals, paths.round(number).proposals).dropped
    state = replace(
        before,
        round=number,
        stop=verdict.stop,
        detail=verdict.detail,
        near_misses=tuple(n for n in before.near_misses if n not in dropped),
    )
    write_json(paths.round(number).steer, state)
    return True


def announce_stop(
    journal: Journal, number: int, before: SessionState, stop: StopReason, detail: str
) -> None:
    """Say once that the session has ended."""
    if before.stop is None:
        journal.append("stopped", reason=stop, detail=detail, round=number)


def _state(paths: SessionPaths, number: int) -> SessionState:
    return read_record(SessionState, paths.round(number).steer)
