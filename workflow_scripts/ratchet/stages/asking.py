"""Ask an agent for a proposal; what cannot be tried is sent back once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ratchet.canonical import source_digest
from ratchet.codec import Struct, field
from ratchet.history import History
from ratchet.proposers import declared, reply
from ratchet.proposers.ideas import Idea, same_sources, setting
from ratchet.proposers.reply import Reply
from ratchet.records import AgentCall, CallOutcome, Proposal
from ratchet.session import Session
from ratchet.stages import allowance
from ratchet.stages.allowance import Stop
from ratchet.stages.calling import Calling

ATTEMPTS = 2
"""A proposal that cannot be tried is sent back once."""

Refusal = tuple[CallOutcome, str]


class Asking(Struct):
    """An agent that proposes for one round, with what the session knows by then.

    ``history`` are all rounds before; ``calls`` collects what was asked in this one.
    """

    session: Session
    history: History
    calls: list[AgentCall] = field(default_factory=list)

    def stop(self) -> Stop | None:
        """Why the agent is not asked any more, with a sentence; ``None`` to go on."""
        return allowance.stop(self.session.config, self.history.proposals, self.calls)

    def ask(self, slot: int, made: Sequence[Proposal], experiment: int) -> Idea | None:
        """An idea to fill one slot of the round; ``None`` for a failed proposal.

        ``made`` are the proposals of this round so far, ``experiment`` is the
        number that this one would get.
        """
        calling = Calling(self.session, self.history)
        known = (*(trial.proposal for trial in self.history.trials), *made)
        others = [p.description for p in made]
        reason, diff = "", ""
        for attempt in range(1, ATTEMPTS + 1):
            config = self.session.config
            if (
                attempt > 1
                and allowance.spent(config, self.history.proposals, self.calls) is not None
            ):
                return None
            answer, fresh = calling.reply(slot, attempt, known, others, reason, diff)
            new = self.session.texts(answer.files)
            refused = self._refusal(answer, new, known)
            self.calls.append(self._call(slot, attempt, answer, refused, experiment))
            if refused is None:
                return self._idea(answer, new)
            reason = refused[1]
            diff, _, _ = declared.diff(self._old, {**self._old, **new})
            if fresh:
                self._say(self.calls[-1])
        return None

    def _call(
        self, slot: int, attempt: int, answer: Reply, refused: Refusal | None, experiment: int
    ) -> AgentCall:
        outcome, reason = refused or (CallOutcome.PROPOSED, "")
        return AgentCall(
            slot=slot,
            attempt=attempt,
            agent=self.session.config.proposer,
            outcome=outcome,
            reason=reason,
            experiment=None if refused else experiment,
            exit_code=answer.exit_code,
            tokens=answer.tokens,
            dollars=answer.dollars,
            log=answer.log,
        )

    def _say(self, call: AgentCall) -> None:
        self.session.journal.append(
            "agent_refused",
            round=self.history.last + 1,
            slot=call.slot,
            attempt=call.attempt,
            agent=call.agent,
            outcome=call.outcome,
            reason=call.reason,
            again=call.attempt < ATTEMPTS,
        )

    def _refusal(
        self, answer: Reply, new: Mapping[str, str], known: Sequence[Proposal]
    ) -> Refusal | None:
        """Why an answer is sent back, if it is."""
        found = reply.fault(answer, self._old, new)
        if found is not None:
            return found
        twin = self._twin(answer, new, known)
        return None if twin is None else (CallOutcome.DUPLICATE, twin)

    def _twin(self, answer: Reply, new: Mapping[str, str], known: Sequence[Proposal]) -> str | None:
        """What an answer repeats, in words, if anything.

        A constant is not set to the same value twice, on whatever incumbent: what
        deserves another chance is tried again without an agent.
        """
        sources = {self.history.baseline.source: "the baseline"}
        sources |= {p.source: f"experiment {p.number}" for p in known}
        source = source_digest(answer.files)
        if source in sources:
            return f"it is the code of {sources[source]} once more"
        edit = setting(self._old, new)
        for before in known:
            if edit is not None and before.edit is not None and before.edit.label == edit.label:
                return f"it sets {edit.name} to {edit.value}, as experiment {before.number} did"
            alike = before.parent == self.history.state.incumbent.source
            if alike and same_sources(self.session.texts(before.files), new):
                return f"but for comments it is the code of experiment {before.number}"
        return None

    def _idea(self, answer: Reply, new: Mapping[str, str]) -> Idea:
        said = answer.statement
        assert said is not None
        own = {change.name: change.category for change in self.session.task.search_space}
        category, notes = reply.category(said, self._old, new, self.session.categories, own)
        return Idea(
            category=category,
            description=said.description,
            hypothesis=said.hypothesis,
            contents=new,
            edit=setting(self._old, new),
            proposer=self.session.config.proposer,
            expected_effect=said.expected_effect,
            notes=notes,
        )

    @property
    def _old(self) -> dict[str, str]:
        return self.session.texts(self.history.state.incumbent.files)
