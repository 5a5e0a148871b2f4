"""Choose what a round tries, and record it as commits."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ratchet import files, results_tsv
from ratchet.canonical import source_digest
from ratchet.codec import decode, encode
from ratchet.proposers import declared
from ratchet.proposers.declared import Draft
from ratchet.records import Proposal, Proposals, SessionState, StopReason
from ratchet.stages import skipping
from ratchet.stages.session import Session

PROPOSER = {"kind": "declared", "version": 1}

Answer = dict[str, Any]


def run(session: Session, number: int) -> None:
    """Write the proposals of round ``number``, or that there are none left."""
    state = session.state(number - 1)
    earlier = [p for r in range(1, number) for p in session.proposals(r).proposals]
    result = Proposing(session, number, state, earlier).run()
    if result.stop is not None:
        skipping.announce(session.journal, number, state, result.stop, result.detail)
    files.write_json(session.paths.round(number).proposals, result)


@dataclass
class Proposing:
    """One round's choice: near misses that wait come first, then something new."""

    session: Session
    number: int
    state: SessionState
    earlier: Sequence[Proposal]
    made: list[Proposal] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)

    def run(self) -> Proposals:
        """As many proposals as the round has candidates, or as there are."""
        most = self.session.config.candidates
        queue = list(self.state.near_misses)
        while queue and len(self.made) < most:
            self._try_again(queue.pop(0))
        again = len(self.made)
        while len(self.made) < most and self._try_new(len(self.made) - again):
            pass
        dropped = tuple(self.dropped)
        if self.made:
            return Proposals(self.number, tuple(self.made), dropped=dropped)
        detail = "every declared change has been tried; add some to the task's search_space"
        return Proposals(self.number, (), StopReason.EXHAUSTED, detail, dropped)

    def _try_again(self, missed: int) -> None:
        """Propose a near miss on the new incumbent, unless it would be nothing new."""
        before = next(p for p in self.earlier if p.number == missed)
        if before.edit is None:
            self.dropped.append(missed)  # not made by an edit that can be applied elsewhere
            return
        label = before.edit.label
        answer = self._ask({"again": missed, "edit": label}, partial(self._again, label, missed))
        measured = {p.source for p in (*self.earlier, *self.made)} | {self.state.incumbent.source}
        if answer is None or answer["source"] in measured:
            self.dropped.append(missed)
        else:
            self._record(answer, retry_of=missed)

    def _try_new(self, skip: int) -> bool:
        """Propose an edit that was never tried; false if none is left."""
        known = (*self.earlier, *self.made)
        tried = {p.edit.label for p in known if p.edit is not None}
        draft = partial(self._new, tried, skip)
        answer = self._ask({"tried": sorted(tried), "candidate": skip}, draft)
        if answer is None:
            return False
        self._record(answer)
        return True

    def _again(self, label: str, missed: int) -> Answer | None:
        draft = declared.again(self.session.task.search_space, self._old, label)
        if draft is None:
            return None
        why = (
            f"Experiment {missed} was probably better too, but another candidate of its round was "
            f"kept; the same edit on the new incumbent. {draft.hypothesis}"
        )
        name = f"{draft.description} (again, was experiment {missed})"
        return self._answer(dataclasses.replace(draft, description=name, hypothesis=why))

    def _new(self, tried: set[str], skip: int) -> Answer | None:
        space = self.session.task.search_space
        draft = declared.propose(space, self._old, tried, self.state.ranking, skip)
        return None if draft is None else self._answer(draft)

    @property
    def _old(self) -> dict[str, str]:
        return self.session.texts(self.state.incumbent.files)

    def _ask(self, question: Answer, draft: Any) -> Answer | None:
        """The proposer's answer; the one that it gave before, if it was asked before."""
        rest = {
            "proposer": PROPOSER,
            "session_seed": self.session.config.seed,
            "definition": self.session.manifest.definition.sha256,
            "incumbent": dict(self.state.incumbent.files),
            "ranking": list(self.state.ranking),
            "round": self.number,
        }
        answer: Answer | None = self.session.store.memo("proposals", {**rest, **question}, draft)
        return answer

    def _answer(self, draft: Draft) -> Answer:
        """A draft without its commit, as JSON values."""
        text, added, removed = declared.diff(self._old, draft.contents)
        sources = {
            name: self.session.store.put(content.encode("utf-8", errors="surrogateescape"))
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

    def _record(self, answer: Answer, retry_of: int | None = None) -> None:
        candidate = len(self.made)
        place = {
            "number": (self.number - 1) * self.session.config.candidates + candidate + 1,
            "round": self.number,
            "candidate": candidate,
            "parent": self.state.incumbent.source,
            "commit": "",
            "retry_of": retry_of,
        }
        proposal = decode(Proposal, {**answer, **place}, "memoised proposal")
        self.made.append(_commit(self.session, self.state, proposal))


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
    return dataclasses.replace(proposal, commit=commit)
