"""Look at a candidate's edit before it is run."""

from __future__ import annotations

from ratchet.integrity import Contract, Severity, flags, only_reseeds
from ratchet.records import Proposal
from ratchet.results_tsv import one_line
from ratchet.stages.session import Session


def inspect(session: Session, proposal: Proposal) -> tuple[str, tuple[str, ...]]:
    """Why a proposal must not be run (empty if it may be), and notes on its edit.

    It is compared with the baseline, and with its parent for what it changes.
    """
    outside = sorted(set(proposal.files) - set(session.task.mutable))
    if outside:
        return f"changes {outside[0]}, which is none of the mutable files", ()
    baseline = {entry.path: entry.sha256 for entry in session.manifest.baseline}
    candidate = session.texts(proposal.files)
    task = session.task
    contract = Contract(tuple(task.fixed), task.metric.name, task.printed)
    found = flags(session.texts(baseline), candidate, contract)
    noticed = tuple(one_line(str(f)) for f in found if f.severity is Severity.NOTE)
    notes = (*proposal.notes, *noticed)
    blocking = [one_line(str(f)) for f in found if f.severity is Severity.BLOCK]
    if blocking:
        return "; ".join(blocking), notes
    parent = session.state(proposal.round - 1).incumbent.files
    if only_reseeds(session.texts(parent), candidate):
        return "changes nothing but how random numbers start", notes
    return "", notes
