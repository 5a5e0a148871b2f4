"""Choose what a round tries, and record it as commits."""

from __future__ import annotations

from functools import partial
from typing import Any

from ratchet import files, results_tsv
from ratchet.canonical import source_digest
from ratchet.codec import decode, encode
from ratchet.proposers import declared
from ratchet.records import Proposal, Proposals, SessionState, StopReason
from ratchet.stages import skipping
from ratchet.stages.session import Session

PROPOSER = {"kind": "declared", "version": 1}


def run(session: Session, number: int) -> None:
    """Write the proposals of round ``number``, or that there are none left."""
    state = session.state(number - 1)
    result = _propose(session, number, state)
    if result.stop is not None:
        skipping.announce(session.journal, number, state, result.stop, result.detail)
    files.write_json(session.paths.round(number).proposals, result)


def _propose(session: Session, number: int, state: SessionState) -> Proposals:
    made: list[Proposal] = []
    tried = {
        proposal.edit.label
        for earlier in range(1, number)
        for proposal in session.proposals(earlier).proposals
        if proposal.edit is not None
    }
    for candidate in range(session.config.candidates):
        taken = tried | {p.edit.label for p in made if p.edit is not None}
        answer = session.store.memo(
            "proposals",
            _question(session, state, number, candidate, taken),
            partial(_draft, session, state, candidate, taken),
        )
        if answer is None:
            break
        place = {
            "number": (number - 1) * session.config.candidates + candidate + 1,
            "round": number,
            "candidate": candidate,
            "parent": state.incumbent.source,
            "commit": "",
        }
        proposal = decode(Proposal, {**answer, **place}, "memoised proposal")
        made.append(_commit(session, state, proposal))
    if not made:
        detail = "every declared change has been tried; add some to the task's search_space"
        return Proposals(round=number, stop=StopReason.EXHAUSTED, detail=detail)
    return Proposals(round=number, proposals=tuple(made))


def _question(
    session: Session, state: SessionState, number: int, candidate: int, tried: set[str]
) -> dict[str, Any]:
    """Everything that the proposer's answer may depend on."""
    return {
        "proposer": PROPOSER,
        "session_seed": session.config.seed,
        "definition": session.manifest.definition.sha256,
        "incumbent": dict(state.incumbent.files),
        "ranking": list(state.ranking),
        "tried": sorted(tried),
        "round": number,
        "candidate": candidate,
    }


def _draft(
    session: Session, state: SessionState, candidate: int, tried: set[str]
) -> dict[str, Any] | None:
    """Ask the proposer; its answer without the commit, as JSON values."""
    old = session.texts(state.incumbent.files)
    draft = declared.propose(session.task.search_space, old, tried, state.ranking, candidate)
    if draft is None:
        return None
    text, added, removed = declared.diff(old, draft.contents)
    sources = {
        name: session.store.put(content.encode("utf-8", errors="surrogateescape"))
        for name, content in draft.contents.items()
    }
    return {
        "source": source_digest(sources),
        "files": sources,
        "category": draft.category,
        "description": results_tsv.one_line(draft.description),
        "hypothesis": results_tsv.one_line(draft.hypothesis),
        "diff": text.encode("utf-8", errors="replace").decode(),
        "lines_added": added,
        "lines_removed": removed,
        "edit": encode(draft.edit),
    }


def _commit(session: Session, state: SessionState, proposal: Proposal) -> Proposal:
    message = (
        f"{proposal.description}\n\n{proposal.hypothesis}\n\n"
        f"Round: {proposal.round}\nCategory: {proposal.category}\nSource: {proposal.source}\n"
    )
    commit = session.repo.commit(
        session.tree(proposal.files),
        message,
        number=proposal.number,
        parent=state.incumbent.commit,
        ref=f"refs/ratchet/experiments/{proposal.number:04d}",
    )
    return decode(Proposal, {**encode(proposal), "commit": commit})
