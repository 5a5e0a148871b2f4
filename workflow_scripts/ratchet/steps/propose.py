"""Proposals of a round, chosen and recorded as commits."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ratchet.base.io import digest, read_if_whole, read_record, source_digest, write_json
from ratchet.base.structs import (
    Frozen,
    Struct,
    field,
    from_json_values,
    replace,
    to_json_values,
)
from ratchet.base.text import one_line
from ratchet.config import GUARANTEED, Strategy
from ratchet.proposers.declared import PLAIN, propose_declared, unified_diff
from ratchet.proposers.idea import carry_edit, carry_over, set_again, sole_setting
from ratchet.records.history import History, Trial, name_of
from ratchet.records.paths import SessionPaths
from ratchet.records.proposals import (
    CMAES,
    DECLARED,
    HAND,
    OPTIMIZERS,
    AgentCall,
    Asked,
    Draft,
    Edit,
    Proposal,
    Proposals,
    SetAside,
)
from ratchet.records.records import SessionState, StopReason, Verdict, stream_seed
from ratchet.session import Session
from ratchet.steering.bandit import Turn, rank_proposers
from ratchet.steering.suggestions import turns_of
from ratchet.steps.limits import announce_stop
from ratchet.task.edits import Idea, apply_declared


class Offer(Frozen):
    """An edit: the mutable files by digest, and what it is about.

    ``proposer``, ``origin`` and ``edit`` are the proposal's, which it becomes.  It gets
    ``runs`` runs, or more where the judge wants them.
    """

    files: Mapping[str, str]
    category: str
    description: str
    hypothesis: str
    proposer: str = HAND
    origin: str = ""
    edit: Edit | None = None
    runs: int = 1


def read_offer(paths: SessionPaths, number: int) -> Offer | None:
    """Edit that was put forward for round ``number``, if any."""
    path = paths.offer(number)
    return read_record(Offer, path) if path.exists() else None


def write_offer(paths: SessionPaths, number: int, offer: Offer) -> None:
    """Put an edit forward for round ``number``, which has not been run."""
    write_json(paths.offer(number), offer)


SECOND_LOOK = 0.1
"""P(better) from which on an edit that was not kept is worth a second look."""


def _may_be_better(trial: Trial) -> bool:
    """Whether a trial was judged by its metric, not kept, and never tried again."""
    return (
        trial.verdict in (Verdict.DISCARD, Verdict.MARGINAL)
        and not trial.kept
        and trial.retried_as is None
        and trial.proposal.retry_of is None
        and (trial.confidence or 0.0) >= SECOND_LOOK
    )


def _as_idea(made: Proposal | Draft, contents: Mapping[str, str]) -> Idea:
    """An edit that was made on other code, as one of the incumbent's files."""
    return Idea(
        category=made.category,
        description=made.description,
        hypothesis=made.hypothesis,
        contents=contents,
        edit=made.edit,
        proposer=made.proposer,
        expected_effect=made.expected_effect,
    )


VERSION = 1
"""Raise it when a built-in proposer chooses otherwise: its earlier answers are then not found."""

Answer = dict[str, Any]


def write_proposals(session: Session, number: int, deadline: float = math.inf) -> None:
    """Write the proposals of round ``number``, or that there are none left.

    No agent is waited for past the ``deadline``, in seconds since the epoch.
    """
    history = History.read(session.paths, number - 1, confirmed=False)
    # Nothing is proposed after the end, nor before the round before is steered.
    assert history.last == history.state.round == number - 1
    result = Proposing(session, history, deadline).run()
    if result.stop is not None:
        announce_stop(session.journal, number, history.state, result.stop, result.detail)
    write_json(session.paths.round(number).proposals, result)


class Proposing(Struct):
    """One round's choice: near misses that wait come first, then something new."""

    session: Session
    history: History
    deadline: float = math.inf
    made: list[Proposal] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)
    calls: list[AgentCall] = field(default_factory=list)
    waiting: list[Draft] = field(default_factory=list)
    aside: list[SetAside] = field(default_factory=list)
    _asking: Any = None
    _unasked: list[int] = field(default_factory=list)
    _turns: list[Turn] | None = None
    _stop: tuple[StopReason, str] | None = None

    @property
    def number(self) -> int:
        """The round that is proposed."""
        return self.history.last + 1

    @property
    def state(self) -> SessionState:
        """State that the round starts from."""
        return self.history.state

    def run(self) -> Proposals:
        """Make as many proposals as the round has candidates, or as there are.

        An edit that a person put forward for the round is all that it tries.
        """
        asked = self._asked() if self.session.config.agent else []
        before = self.history.proposals[-1].waiting if self.history.proposals else ()
        drafts = [*before, *(each.draft for each in asked if each.draft is not None)]
        limits = next((each.limits for each in asked if each.draft or each.calls), "")
        offer = read_offer(self.session.paths, self.number)
        if offer is not None:
            self._record({**self._answer(self._offered(offer)), "origin": offer.origin})
            return Proposals(
                self.number,
                tuple(self.made),
                calls=tuple(self.calls),
                limits=limits,
                waiting=tuple(drafts),
            )
        most = self.session.config.candidates
        queue = list(self.state.near_misses)
        while queue and len(self.made) < most:
            self._try_again(queue.pop(0))
        for draft in drafts:
            if len(self.made) < most:
                self._take(draft)
            else:
                self.waiting.append(draft)
        again = len(self.made)
        for slot in range(again, most):
            if not any(self._fill(name, slot - again) for name in self._order()):
                break
        if self._asking is not None:
            limits = self._asking.limits or limits
        found = Proposals(
            self.number,
            tuple(self.made),
            dropped=tuple(self.dropped),
            calls=tuple(self.calls),
            limits=limits,
            waiting=tuple(self.waiting),
            aside=tuple(self.aside),
        )
        is_cut_off = self._stop is not None and self._stop[0] is StopReason.AGENT_UNUSABLE
        if self.made or (self.calls and not is_cut_off):
            return found
        stop, detail = self._stop or (StopReason.EXHAUSTED, self._nothing_left)
        return replace(found, stop=stop, detail=detail, limits="")

    def _asked(self) -> list[Asked]:
        """What came of asking the agent for this round; notes which slots it was not asked for."""
        here = self.session.paths.round(self.number)
        found = []
        for slot in range(self.session.config.candidates):
            asked = read_if_whole(Asked, here.asked(slot))
            if asked is None or asked.round != self.number:
                self._unasked.append(slot)
                continue
            found.append(asked)
            self.calls += asked.calls
            if asked.stop is StopReason.AGENT_UNUSABLE:
                self._stop = asked.stop, asked.detail
            elif asked.draft is None and not asked.calls:
                self._unasked.append(slot)
        return found

    def _take(self, draft: Draft) -> None:
        """Propose an agent's draft, merged into what was kept since it was made."""
        from ratchet.proposers.agent import Asking

        held, calls, texts = self.state.incumbent, draft.calls, self.session.texts
        began, new, notes = texts(draft.began_from), texts(draft.files), draft.notes
        merged: Mapping[str, str] | None = new
        if draft.began_from != held.files:
            space = tuple(self.session.task.search_space)
            merged = carry_edit(began, new, self._old, draft.edit, space)
            merged = merged or set_again(new, self._old, draft.edit)
            notes += (f"made before {name_of(held.number)} was kept, and merged into it",)
        if merged is None:
            reason: str | None = f"what it changes was changed by {name_of(held.number)} too"
        else:
            asking = Asking(self.session, self.history, self.number)
            known = [*self.earlier, *self.made]
            reason = asking.twin(self.session.put(merged), merged, known)
        if merged is None or reason is not None:
            self.aside.append(SetAside(draft, f"{reason}"))
            self.session.journal.append(
                "set_aside",
                round=self.number,
                agent=draft.proposer,
                description=draft.description,
                reason=reason,
            )
        else:
            calls = (*calls[:-1], replace(calls[-1], experiment=self._next))
            self._record(self._answer(replace(_as_idea(draft, merged), notes=notes)))
        self.calls += calls

    def _order(self) -> Sequence[str]:
        """Those who may propose, the one to be asked next first.

        An agent whose turn it was has been asked by now; where it was not, others come first.
        """
        turns = self.session.config.turns
        if len(turns) == 1:
            return turns
        if self._turns is None:  # the same for each slot, and read from every run's record
            self._turns = turns_of(self.history, self.session.store)
        ranked = rank_proposers(turns, self._turns, self._seed("turn"))
        return sorted(ranked, key=lambda name: name == self.session.config.agent)

    def _fill(self, proposer: str, skip: int) -> bool:
        """Fill a slot of the round by this proposer; false if it has nothing to propose."""
        if proposer in OPTIMIZERS:
            return self._try_point(proposer)
        if proposer == DECLARED:
            return self._try_new(skip) or self._look_again()
        return proposer != HAND and self._by_agent()

    @property
    def _nothing_left(self) -> str:
        turns = self.session.config.turns
        if turns == (HAND,):
            return "no further edit was put forward; edit the files and run: ratchet try -m WHY"
        if DECLARED in turns:
            return "every declared change has been tried; add some to the task's search_space"
        return (
            "no point of the ranges is left to try; look at them with ratchet space, and declare "
            "wider ones in the task's search_space"
        )

    def _offered(self, offer: Offer) -> Idea:
        new = self.session.texts(offer.files)
        return Idea(
            category=offer.category,
            description=offer.description,
            hypothesis=offer.hypothesis,
            contents=new,
            edit=offer.edit or sole_setting(self._old, new),
            proposer=offer.proposer,
        )

    def _by_agent(self) -> bool:
        """Ask the agent to fill a slot now, if it was not asked before; false if it may not be.

        A slot that it failed to fill stays empty where nobody else proposes: a round without
        any proposal is no end, and the next one asks again.
        """
        from ratchet.proposers.agent import Asking  # much comes with it, for agents alone

        if not self._unasked:
            is_alone = len(self.session.config.turns) == 1
            return bool(self.calls) and is_alone and self._stop is None
        if self._asking is None:
            self._asking = Asking(
                self.session, self.history, self.number, calls=self.calls, deadline=self.deadline
            )
        stop = self._asking.stop()
        if stop is not None:
            self._stop = stop
            return False
        idea = self._asking.ask(self._unasked.pop(0), self.made, self._next)
        if idea is not None:
            self._record(self._answer(idea))
        elif self._asking.unusable is not None:
            self._stop = self._asking.unusable
            return False
        return idea is not None or len(self.session.config.turns) == 1

    def _try_point(self, optimizer: str) -> bool:
        """Propose a point of an optimiser; false if none is left."""
        from ratchet.proposers.optimizer import point_idea, session_search  # slow to import

        search = session_search(self.session, self.history, self.made)

        def draft() -> Answer | None:
            # CMA-ES repeats what it drew before, the others draw anew.
            name = "" if optimizer == CMAES else f"{self._next}"
            found = point_idea(search, optimizer, self._old, self._seed(optimizer, name))
            return None if found is None else self._answer(found)

        asked = {"kind": optimizer, "search": digest(to_json_values(search)), "place": self._next}
        answer = self._ask(asked, draft)
        if answer is None:
            return False
        self._record(answer)
        return True

    def _seed(self, *purpose: str) -> int:
        """Seed of a stream of chance of this session, and of this round and slot for a turn."""
        place = (self.number, len(self.made)) if purpose == ("turn",) else ()
        return stream_seed(self.session.config.seed, *purpose, *place)

    @property
    def earlier(self) -> list[Proposal]:
        """The proposals of all rounds before this one."""
        return [trial.proposal for trial in self.history.trials]

    @property
    def _next(self) -> int:
        """Number of the next experiment: they are counted without gaps."""
        return max((p.number for p in (*self.earlier, *self.made)), default=0) + 1

    def _try_again(self, missed: int) -> None:
        """Propose a near miss on the new incumbent, unless it would be nothing new."""
        before = next(p for p in self.earlier if p.number == missed)
        answer = self._declared_again(before) or self._merged(before)
        measured = {p.source for p in (*self.earlier, *self.made)} | {self.state.incumbent.source}
        if answer is None or answer["source"] in measured:
            self.dropped.append(missed)
        else:
            self._record(answer, retry_of=missed)

    @property
    def declared_left(self) -> bool:
        """Whether a declared change is left to try."""
        return self._draft(self._tried, 0) is not None

    @property
    def _tried(self) -> set[str]:
        """Labels of all edits that were tried."""
        known = (*self.earlier, *self.made)
        return {p.edit.label for p in known if p.edit is not None}

    def _try_new(self, skip: int) -> bool:
        """Propose an edit that was never tried; false if none is left."""
        tried = self._tried

        def draft() -> Answer | None:
            found = self._draft(tried, skip)
            return None if found is None else self._answer(found)

        answer = self._ask({"tried": sorted(tried), "candidate": skip}, draft)
        if answer is None:
            return False
        self._record(answer)
        return True

    def _look_again(self) -> bool:
        """Propose what was not kept but may be better after all, the likeliest first.

        Each edit gets one such look.  Runs that were made of the same code count again.
        False if there is nothing to look at, or if the round tries something new.
        """
        if self.session.config.mode == GUARANTEED or not all(p.second_look for p in self.made):
            return False
        here = {p.retry_of for p in self.made}
        missed = [t for t in self.history.judged if _may_be_better(t) and t.number not in here]
        for trial in sorted(missed, key=lambda trial: (-(trial.confidence or 0.0), trial.number)):
            before = trial.proposal
            answer = self._declared_again(before) or self._merged(before)
            if answer is None or answer["source"] == self.state.incumbent.source:
                continue
            self._record(answer, retry_of=before.number, second_look=True)
            return True
        return False

    def _declared_again(self, before: Proposal) -> Answer | None:
        """A near miss whose edit is declared, done once more."""
        if before.edit is None:
            return None
        label = before.edit.label
        space = self.session.task.search_space

        def draft() -> Answer | None:
            found = apply_declared(space, self._old, label)
            return None if found is None else self._again(before, found)

        return self._ask({"again": before.number, "edit": label}, draft)

    def _merged(self, before: Proposal) -> Answer | None:
        """Any other near miss: what it changed, merged with what was kept since."""
        parent = self.history.sources[before.parent]
        texts = self.session.texts
        merged = carry_over(texts(parent), texts(before.files), self._old)
        if merged is None:
            return None
        return self._again(before, _as_idea(before, merged))

    def _again(self, before: Proposal, idea: Idea) -> Answer:
        if before.number in self.state.near_misses:
            cause = "was probably better too, but another candidate of its round was kept"
        else:
            cause = "may be better after all, and nothing new is left to try"
        why = f"Experiment {before.number} {cause}; the same edit once more. {idea.hypothesis}"
        name = f"{idea.description} (again, was experiment {before.number})"
        return self._answer(replace(idea, description=name, hypothesis=why))

    def _draft(self, tried: set[str], skip: int) -> Idea | None:
        config = self.session.config
        strategy = PLAIN if config.strategy is None else Strategy.of(config.strategy)
        return propose_declared(
            self.session.task.search_space,
            self._old,
            tried,
            self.state.ranking,
            skip,
            strategy,
            counts=Counter(p.category for p in self.earlier if not p.origin),
            seed=stream_seed(config.seed, "strategy", strategy.name, self.number, len(self.made)),
        )

    @property
    def _old(self) -> dict[str, str]:
        return self.session.texts(self.state.incumbent.files)

    def _ask(self, question: Answer, draft: Any) -> Answer | None:
        """The proposer's answer; the one that it gave before, if it was asked before."""
        rest = {
            "proposer": {"kind": DECLARED, "version": VERSION},
            "session_seed": self.session.config.seed,
            "definition": self.session.manifest.definition.sha256,
            "incumbent": dict(self.state.incumbent.files),
            "ranking": list(self.state.ranking),
            "round": self.number,
            **({"strategy": dict(followed)} if (followed := self.session.config.strategy) else {}),
        }
        found: Answer | None = self.session.store.memo("proposals", {**rest, **question}, draft)
        return found

    def _answer(self, draft: Idea) -> Answer:
        """An idea without its commit, as JSON values."""
        text, added, removed = unified_diff(self._old, draft.contents)
        sources = self.session.put(draft.contents)
        return {
            "source": source_digest(sources),
            "files": sources,
            "category": draft.category,
            "description": one_line(draft.description),
            "hypothesis": one_line(draft.hypothesis),
            "diff": text.encode("utf-8", errors="replace").decode(),
            "lines_added": added,
            "lines_removed": removed,
            "edit": to_json_values(draft.edit),
            "proposer": draft.proposer,
            "expected_effect": one_line(draft.expected_effect),
            "notes": list(draft.notes),
        }

    def _record(
        self, answer: Answer, retry_of: int | None = None, second_look: bool = False
    ) -> None:
        candidate = len(self.made)
        place = {
            "number": self._next,
            "round": self.number,
            "candidate": candidate,
            "parent": self.state.incumbent.source,
            "commit": "",
            "retry_of": retry_of,
            "second_look": second_look,
        }
        proposal = from_json_values(Proposal, {**answer, **place}, "memoised proposal")
        message = (
            f"{proposal.description}\n\n{proposal.hypothesis}\n\n"
            f"Round: {proposal.round}\nCategory: {proposal.category}\nSource: {proposal.source}\n"
        )
        commit = self.session.repo.commit(
            self.session.tree(proposal.files),
            message,
            number=proposal.number,
            parent=self.state.incumbent.commit,
            ref=f"refs/ratchet/experiments/{proposal.number:04d}",
        )
        self.made.append(replace(proposal, commit=commit))
