"""Run champion and baseline again with fresh seeds, interleaved."""

from __future__ import annotations

from ratchet import files
from ratchet.codec import replace
from ratchet.confirmation import compare
from ratchet.records import Baseline, Confirmation, Incumbent, Outcome, RunSummary
from ratchet.seeds import Role
from ratchet.stages.scrutiny import Scrutiny
from ratchet.stages.session import Session

LEVEL = 0.95


def run(session: Session) -> None:
    """Write the confirmation; only its runs enter the gain that is reported."""
    champion = session.state(session.config.rounds).incumbent
    # A judge that changed its mind may have left the branch ahead.
    session.repo.settle(champion.commit)
    files.write_json(session.paths.confirmation, confirmed(session, champion))


def confirmed(session: Session, champion: Incumbent) -> Confirmation:
    """A champion beside the session's baseline; it may be another session's."""
    if champion.number == 0:
        return Confirmation(champion=0, level=LEVEL, detail="nothing was kept")
    baseline = files.read_record(Baseline, session.paths.baseline)
    replicates = range(session.config.confirm_replicates)
    pairs = [pair(session, champion, baseline, replicate) for replicate in replicates]
    result = _result(session, champion.number, pairs)
    session.journal.append(
        "confirmed", gain=result.gain, low=result.low, high=result.high, detail=result.detail
    )
    return result


def pair(
    session: Session, champion: Incumbent, baseline: Baseline, replicate: int
) -> tuple[RunSummary, RunSummary]:
    """One run of each, in turn, so that a machine that slows down slows both."""
    ours = session.run(baseline.files, Role.CONFIRM, replicate, audit=True)
    theirs = session.run(
        champion.files, Role.CONFIRM, replicate, champion.number, "champion", audit=True
    )
    return ours, theirs


def _result(
    session: Session, champion: int, pairs: list[tuple[RunSummary, RunSummary]]
) -> Confirmation:
    runs = [run for pair in pairs for run in pair]
    failed = next((run for run in runs if run.outcome is not Outcome.OK), None)
    found = Confirmation(
        champion=champion,
        baseline_runs=tuple(ours for ours, _ in pairs),
        champion_runs=tuple(theirs for _, theirs in pairs),
        level=LEVEL,
    )
    if failed is not None:
        detail = f"a run failed with seed {failed.seed}: {failed.outcome.value}, {failed.reason}"
        return replace(found, detail=detail)
    wrong = Scrutiny(session).wrong([theirs for _, theirs in pairs])
    if wrong is not None:
        return replace(found, detail=f"the champion's runs are tampered with: {wrong}")
    comparison = compare(
        [session.value(ours) for ours, _ in pairs],
        [session.value(theirs) for _, theirs in pairs],
        LEVEL,
    )
    found = replace(found, gain=comparison.gain, low=comparison.low, high=comparison.high)
    before = [session.sign * ours.audit for ours, _ in pairs if ours.audit is not None]
    after = [session.sign * theirs.audit for _, theirs in pairs if theirs.audit is not None]
    if len(before) < len(pairs) or len(after) < len(pairs):
        return found
    audit = compare(before, after, LEVEL)
    return replace(found, audit_gain=audit.gain, audit_low=audit.low, audit_high=audit.high)
