"""The experiments of a session, as ``ratchet runs``, ``show`` and ``diff`` read them."""

from __future__ import annotations

from collections.abc import Sequence

from ratchet import files
from ratchet.codec import Frozen
from ratchet.errors import UsageError
from ratchet.records import Baseline, Proposal, Ruling, RunSummary
from ratchet.session import Session
from ratchet.stages.memory import mean_memory
from ratchet.stages.program import rounds_of
from ratchet.store import LOG


class Experiment(Frozen):
    """One judged experiment, or the baseline as number 0.

    ``metric``, ``delta`` (from the incumbent of its round) are in the metric's own
    unit and direction; ``None`` where nothing was measured.
    """

    number: int
    round: int
    verdict: str
    kept: bool
    failed: bool
    metric: float | None
    delta: float | None
    confidence: float | None
    memory_mb: float | None
    category: str
    description: str
    commit: str
    runs: tuple[RunSummary, ...]
    files: dict[str, str]
    proposal: Proposal | None = None
    ruling: Ruling | None = None


def read(session: Session) -> list[Experiment]:
    """The baseline and all experiments of finished rounds, by number."""
    found = [_baseline(session)]
    for proposals, verdict in session.history(rounds_of(session) + 1):
        known = {proposal.number: proposal for proposal in proposals.proposals}
        found += [
            _judged(known[ruling.number], ruling, ruling.number == verdict.kept)
            for ruling in verdict.rulings
            if ruling.number in known
        ]
    # Rounds after a session's end repeat the files of the one that ended it.
    return list({experiment.number: experiment for experiment in found}.values())


def _baseline(session: Session) -> Experiment:
    base = files.read_record(Baseline, session.paths.baseline)
    values = [run.value for run in base.runs if run.value is not None]
    return Experiment(
        number=0,
        round=0,
        verdict="BASELINE",
        kept=True,
        failed=False,
        metric=sum(values) / len(values) if values else None,
        delta=None,
        confidence=None,
        memory_mb=mean_memory(base.runs),
        category="",
        description="baseline",
        commit=base.commit,
        runs=base.runs,
        files=dict(base.files),
    )


def _judged(proposal: Proposal, ruling: Ruling, kept: bool) -> Experiment:
    return Experiment(
        number=ruling.number,
        round=proposal.round,
        verdict=ruling.verdict.value,
        kept=kept,
        failed=ruling.mean is None,
        metric=ruling.mean,
        delta=ruling.delta,
        confidence=ruling.confidence,
        memory_mb=ruling.memory_mb,
        category=proposal.category,
        description=proposal.description,
        commit=ruling.commit,
        runs=ruling.runs,
        files=dict(proposal.files),
        proposal=proposal,
        ruling=ruling,
    )


def one(found: Sequence[Experiment], number: int, session: Session) -> Experiment:
    """The experiment of a number; :class:`UsageError` names those that there are."""
    chosen = next((experiment for experiment in found if experiment.number == number), None)
    if chosen is None:
        last = found[-1].number
        raise UsageError(
            f"session {session.config.session!r}: expected an experiment from 0 (the baseline) to "
            f"{last} that was judged, found {number}; ratchet runs lists them"
        )
    return chosen


def log_of(session: Session, run: RunSummary) -> bytes | None:
    """What a run printed; ``None`` if the store no longer has it."""
    path = session.store.run_file(run.key, LOG)
    return path.read_bytes() if path.is_file() else None
