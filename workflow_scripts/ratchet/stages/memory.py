"""What runs needed beside their metric: memory for a ceiling, numbers for constraints."""

from __future__ import annotations

from collections.abc import Sequence

from ratchet import constraints
from ratchet.ceiling import HARD, Ceiling
from ratchet.errors import DataError
from ratchet.records import Outcome, RunSummary
from ratchet.rulings import mean_memory as mean_memory
from ratchet.session import Session
from ratchet.store import RunRecord


def ceiling(session: Session) -> Ceiling:
    """The ceiling in force."""
    config = session.config
    return Ceiling(config.memory_ceiling_mb, config.memory_ceiling == HARD)


def peak(session: Session, runs: Sequence[RunSummary]) -> float | None:
    """Largest memory of some runs in MiB: as they printed it, else as it was measured.

    ``None`` if it is known of none of them.
    """
    known = [_of(session, run) for run in runs]
    return max((memory for memory in known if memory is not None), default=None)


def _of(session: Session, run: RunSummary) -> float | None:
    if run.memory_mb is not None:
        return run.memory_mb
    record = session.store.lookup(run.key)
    return None if record is None else record.peak_memory_mb


def broken(session: Session, runs: Sequence[RunSummary]) -> str:
    """Which of the task's constraints any of some runs breaks, in words; empty for none."""
    wanted = session.task.constraints
    if not wanted:
        return ""
    records = [session.store.lookup(run.key) for run in runs if run.outcome is Outcome.OK]
    return constraints.broken(wanted, [_values(record) for record in records if record])


def _values(record: RunRecord) -> dict[str, float | None]:
    """What a run printed, and what was measured of it."""
    measured = {
        "wall_seconds": record.wall_seconds,
        "cpu_seconds": record.cpu_seconds,
        "peak_memory_mb": record.peak_memory_mb,
    }
    return {**record.metrics, **measured}


def require_kept(session: Session, runs: Sequence[RunSummary]) -> None:
    """Raise :class:`DataError` for a baseline that breaks a constraint: nothing could be kept."""
    found = broken(session, runs)
    if found:
        raise DataError(
            f"the baseline of task {session.task.name} breaks a constraint ({found}); correct "
            f"`constraints` in {session.manifest.definition.path}, or choose a smaller preset, and "
            "start another session: snakemake --cores 1 --config session=NAME"
        )


def require_room(session: Session, runs: Sequence[RunSummary]) -> None:
    """Raise :class:`DataError` for a baseline above a hard ceiling: nothing could be kept."""
    limit, found = ceiling(session), peak(session, runs)
    if limit.refuses(found):
        raise DataError(
            f"the baseline of task {session.task.name} {limit.reason(found)}; raise "
            "memory_ceiling_mb, choose a smaller preset for another session, or let the ceiling be "
            "soft: --config memory_ceiling=soft"
        )
