"""Look at a candidate's edit before it is run."""

from __future__ import annotations

from collections.abc import Mapping

from ratchet import surface
from ratchet.integrity import Contract, Severity, flags, only_reseeds
from ratchet.records import Proposal
from ratchet.results_tsv import one_line
from ratchet.session import Session

RESEEDS = "changes nothing but how random numbers start"


def inspect(session: Session, proposal: Proposal) -> tuple[str, tuple[str, ...]]:
    """Why a proposal must not be run (empty if it may be), and notes on its edit.

    It is compared with the baseline, and with its parent for what it changes.
    """
    outside = sorted(set(proposal.files) - set(session.task.mutable))
    if outside:
        return f"changes {outside[0]}, which is none of the mutable files", ()
    unusable = _unusable(session, proposal.files)
    if unusable:
        return unusable, ()
    blocked, noticed = faults(session, proposal.files)
    notes = (*proposal.notes, *noticed)
    if blocked:
        return blocked, notes
    parent = session.state(proposal.round - 1).incumbent.files
    if reseeds(session, parent, proposal.files):
        return RESEEDS, notes
    return "", notes


def _unusable(session: Session, sources: Mapping[str, str]) -> str:
    """Why some mutable files cannot be run at all; empty if they can."""
    texts, constant = session.texts(sources), session.task.seeding.constant
    if constant and all(surface.find(name, text, constant) is None for name, text in texts.items()):
        return f"no longer sets {constant}, by which the harness gives the seed"
    return ""


def faults(session: Session, sources: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """What in some mutable files would bend the measurement, and notes on them.

    Only what the session's baseline does not have itself.
    """
    baseline = {entry.path: entry.sha256 for entry in session.manifest.baseline}
    task = session.task
    contract = Contract(tuple(task.fixed), task.metric.name, task.printed)
    found = flags(session.texts(baseline), session.texts(sources), contract)
    notes = tuple(one_line(str(f)) for f in found if f.severity is Severity.NOTE)
    return "; ".join(one_line(str(f)) for f in found if f.severity is Severity.BLOCK), notes


def reseeds(session: Session, parent: Mapping[str, str], child: Mapping[str, str]) -> bool:
    """Whether an edit changes nothing but how random numbers start."""
    return only_reseeds(session.texts(parent), session.texts(child))
