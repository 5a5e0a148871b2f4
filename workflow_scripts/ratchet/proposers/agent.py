"""Proposals from a coding agent: asked once per question, within its allowance."""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ratchet.base.errors import StoreError
from ratchet.base.io import source_digest, write_bytes
from ratchet.base.structs import Struct, field, from_json_values, replace, to_json_values
from ratchet.config import Config
from ratchet.proposers.agent_process import (
    AGENT_TOOLS,
    PROMPT,
    PROPOSAL,
    CallEnding,
    Usage,
    agent_environment,
    agent_usage,
    agent_words,
    require_agent,
    run_agent,
)
from ratchet.proposers.agent_workspace import (
    AgentReply,
    Left,
    Workplace,
    idea_category,
    parse_statement,
    reply_fault,
)
from ratchet.proposers.declared import unified_diff
from ratchet.proposers.idea import same_sources, sole_setting
from ratchet.proposers.prompts import Errand, agent_papers, agent_prompt
from ratchet.records.history import History
from ratchet.records.records import AgentCall, CallOutcome, Proposal, Proposals, StopReason
from ratchet.session import Session
from ratchet.task.edits import Idea

Stop = tuple[StopReason, str]


def allowance_stop(
    config: Config, rounds: Sequence[Proposals], calls: Sequence[AgentCall]
) -> Stop | None:
    """Why the agent is not to be asked, with a sentence; ``None`` to go on.

    ``rounds`` are all before this one, ``calls`` those of this one so far.
    """
    most = config.agent_failures
    if failures_in_a_row(config, rounds, calls) < most:
        return allowance_spent(config, rounds, calls)
    last = _all(rounds, calls)[-1]
    times = "a proposal" if most == 1 else f"{most} proposals in a row"
    return (
        StopReason.AGENT_FAILURES,
        f"{times} of the agent {last.agent} failed, the last because {last.reason}; look at its "
        "logs, correct what is wrong, and raise `leg` to go on",
    )


def failures_in_a_row(
    config: Config, rounds: Sequence[Proposals], calls: Sequence[AgentCall]
) -> int:
    """Failed proposals in a row up to now, as long as the limits are those of now.

    Rounds without a call (they tried near misses again) neither count nor end
    the row.
    """
    now = Proposals(0, calls=tuple(calls), limits=config.limits_token)
    count = 0
    for made in (now, *reversed(rounds)):
        if made.calls and made.limits != config.limits_token:
            return count
        for filled in reversed(made.slots.values()):
            if filled:
                return count
            count += 1
    return count


def allowance_spent(
    config: Config, rounds: Sequence[Proposals], calls: Sequence[AgentCall]
) -> Stop | None:
    """Whether a cap on tokens or dollars is reached, or cannot be kept."""
    used = Usage()
    for call in _all(rounds, calls):
        used += Usage(call.tokens, call.dollars)
    for key, unit, cap, found in (
        ("agent_tokens", "tokens", config.agent_tokens, used.tokens),
        ("agent_dollars", "dollars", config.agent_dollars, used.dollars),
    ):
        if cap is None:
            continue
        if found is not None and found >= cap:
            return (
                StopReason.AGENT_BUDGET,
                f"the agent has used {found:g} {unit} of the {cap:g} that {key} allows; raise it "
                "to go on",
            )
        # One that was stopped or never began may have had nothing to report.
        own = [call for call in _all(rounds, calls) if call.agent == config.agent]
        if found is None and any(call.exit_code == 0 for call in own):
            return (
                StopReason.AGENT_BUDGET,
                f"{key} is set, but the agent's output names no {unit}, so that the limit cannot "
                "be kept; set it to null to go on without",
            )
    return None


def _all(rounds: Sequence[Proposals], calls: Sequence[AgentCall]) -> list[AgentCall]:
    return [*(call for made in rounds for call in made.calls), *calls]


VERSION = 2
"""Raise it when agents are asked differently: their earlier answers are then not found."""

RUNS = 2
"""A call that somebody else ended is made once more."""

ATTEMPTS = 2
"""A proposal that cannot be tried is sent back once."""

Refusal = tuple[CallOutcome, str]


class Asking(Struct):
    """An agent that proposes for one round, with what the session knows by then.

    ``history`` are all rounds before; ``calls`` collects what was asked in this one,
    and ``limits`` names those under which the last call was really made: a replay
    under others forgives the failures as before.
    """

    session: Session
    history: History
    calls: list[AgentCall] = field(default_factory=list)
    limits: str = ""

    @property
    def number(self) -> int:
        """The round that is proposed."""
        return self.history.last + 1

    def stop(self) -> Stop | None:
        """Why the agent is not asked any more, with a sentence; ``None`` to go on."""
        return allowance_stop(self.session.config, self.history.proposals, self.calls)

    def ask(self, slot: int, made: Sequence[Proposal], experiment: int) -> Idea | None:
        """An idea to fill one slot of the round; ``None`` for a failed proposal.

        ``made`` are the proposals of this round so far, ``experiment`` is the
        number that this one would get.
        """
        config = self.session.config
        known = (*(trial.proposal for trial in self.history.trials), *made)
        errand = self._errand(slot, made)
        for attempt in range(1, ATTEMPTS + 1):
            if attempt > 1 and allowance_spent(config, self.history.proposals, self.calls):
                return None
            answer, fresh = self._reply(errand, known)
            new = self.session.texts(answer.files)
            refused = self._refusal(answer, new, known)
            outcome, reason = refused or (CallOutcome.PROPOSED, "")
            call = AgentCall(
                slot=slot,
                attempt=attempt,
                agent=config.agent,
                outcome=outcome,
                reason=reason,
                experiment=None if refused else experiment,
                exit_code=answer.exit_code,
                tokens=answer.tokens,
                dollars=answer.dollars,
                log=answer.log,
            )
            self.calls.append(call)
            self.limits = answer.limits or config.limits_token
            if refused is None:
                return self._idea(answer, new)
            if fresh:
                self.session.journal.append(
                    "agent_refused",
                    **errand.place,
                    agent=config.agent,
                    outcome=outcome,
                    reason=reason,
                    again=attempt < ATTEMPTS,
                )
            edit = unified_diff(self._old, {**self._old, **new})[0]
            errand = replace(
                errand, attempt=attempt + 1, reason=reason, earlier=edit, kept=self._kept(answer)
            )
        return None

    def _kept(self, answer: AgentReply) -> dict[str, str]:
        """Digests of what a second attempt begins with: the agent's own files, by name."""
        old = self.history.state.incumbent.files
        kept = {name: sha for name, sha in answer.files.items() if sha != old.get(name)}
        return kept | ({PROPOSAL: answer.proposal} if answer.proposal else {})

    def _reply(self, errand: Errand, known: Sequence[Proposal]) -> tuple[AgentReply, bool]:
        """The agent's answer, and whether it was asked now; asked once, it is never again.

        ``known`` are all proposals of the session so far.  Why an earlier attempt was sent
        back follows from the same question, so that the number of the attempt stands for it.
        """
        fresh = False

        def call() -> Any:
            nonlocal fresh
            fresh = True
            return to_json_values(self._call(errand))

        config = self.session.config
        question = {
            "proposer": {
                "kind": config.agent,
                "command": list(self._command),
                "version": VERSION,
            },
            "session_seed": config.seed,
            "definition": self.session.manifest.definition.sha256,
            "incumbent": dict(self.history.state.incumbent.files),
            "tried": [p.source for p in known],
            **errand.place,
            **({"strategy": dict(config.strategy)} if config.strategy else {}),
        }
        answer = self.session.store.memo("proposals", question, call)
        found = from_json_values(AgentReply, answer, "memoised answer of an agent")
        # A replay finds the answer in the store, and its log too; nothing rests on that.
        log = self._log(errand)
        if not log.exists():
            with contextlib.suppress(StoreError):
                write_bytes(log, self.session.store.get(found.log))
        return found, fresh

    def _log(self, errand: Errand) -> Path:
        return self.session.paths.agent_log(errand.round, errand.slot, errand.attempt)

    @property
    def _command(self) -> Sequence[str]:
        config = self.session.config
        return config.agent_command or AGENT_TOOLS[config.agent].command

    def _errand(self, slot: int, made: Sequence[Proposal]) -> Errand:
        return Errand(
            round=self.number,
            slot=slot,
            program=self.session.manifest.brief.path,
            mutable=self.session.task.mutable,
            fixed=self.session.task.fixed,
            categories=self.session.categories,
            minutes=self.session.config.agent_minutes,
            others=[proposal.description for proposal in made],
        )

    def _call(self, errand: Errand) -> AgentReply:
        """Really ask; whatever comes of it is an answer."""
        session, config = self.session, self.session.config
        session.journal.append(
            "agent_asked", **errand.place, agent=config.agent, minutes=errand.minutes
        )
        place = Workplace(session.paths.folder)
        given = agent_papers(session, self.history, errand.earlier)
        frozen = (*session.manifest.fixed, session.manifest.brief)
        given |= {entry.path: session.store.get(entry.sha256) for entry in frozen}
        log = self._log(errand)
        try:
            for ending in self._endings(place, given, errand, log):
                if not ending.from_outside:
                    break
            left = place.read(session.task.mutable)
        finally:
            place.clear()
        output = log.read_bytes() if log.exists() else b""
        used = agent_usage(output.decode("utf-8", errors="replace"))
        session.journal.append(
            "agent_answered",
            **errand.place,
            exit_code=ending.exit_code,
            timed_out=ending.timed_out,
            wall_seconds=ending.wall_seconds,
            leftover=ending.leftover,
            tokens=used.tokens,
            dollars=used.dollars,
        )
        return self._answer(left, ending, session.store.put(output), used)

    def _endings(
        self, place: Workplace, given: Mapping[str, bytes], errand: Errand, log: Path
    ) -> Iterator[CallEnding]:
        """The runs of one call, each in a fresh folder."""
        session, config = self.session, self.session.config
        tool = AGENT_TOOLS[config.agent]
        variables = agent_environment(tool, os.environ)
        mutable, fixed = session.task.mutable, [*session.task.fixed, *sorted(given)]
        readable = [name for name in dict.fromkeys(fixed) if name in given]
        root = session.paths.root.resolve()
        command = agent_words(self._command, place.prompt, mutable, readable, root)
        require_agent(command[0], config.agent)
        incumbent = {n: session.store.get(s) for n, s in self.history.state.incumbent.files.items()}
        kept = {name: session.store.get(sha) for name, sha in errand.kept.items()}
        for _ in range(RUNS):
            place.lay_out(incumbent, given, agent_prompt(errand), kept)
            by_file = any(PROMPT in word for word in self._command)
            yield run_agent(
                command=command,
                folder=place.work,
                environment=variables,
                prompt=None if by_file else place.prompt,
                log=log,
                seconds=60 * config.agent_minutes,
            )

    def _answer(self, left: Left, ending: CallEnding, log: str, used: Usage) -> AgentReply:
        """The agent's files, put into the store; a proposal that cannot be read is a problem."""
        problems, said, put = list(left.problems), None, self.session.store.put
        if left.proposal is not None and left.proposal.strip():
            try:
                said = parse_statement(left.proposal)
            except ValueError as error:
                problems.append(f"{error}")
        return AgentReply(
            exit_code=ending.exit_code,
            timed_out=ending.timed_out,
            minutes=self.session.config.agent_minutes,
            log=log,
            files={name: put(content) for name, content in left.contents.items()},
            problems=tuple(problems),
            others=left.others,
            statement=said,
            tokens=used.tokens,
            dollars=used.dollars,
            limits=self.session.config.limits_token,
            proposal=put(left.proposal) if left.proposal else "",
        )

    def _refusal(
        self, answer: AgentReply, new: Mapping[str, str], known: Sequence[Proposal]
    ) -> Refusal | None:
        """Why an answer is sent back, if it is."""
        found = reply_fault(answer, self._old, new)
        if found is not None:
            return found
        twin = self._twin(answer, new, known)
        return None if twin is None else (CallOutcome.DUPLICATE, twin)

    def _twin(
        self, answer: AgentReply, new: Mapping[str, str], known: Sequence[Proposal]
    ) -> str | None:
        """Words on the earlier proposal that an answer repeats; ``None`` if it is new.

        A constant is not set to the same value twice, on whatever incumbent: what
        deserves another chance is tried again without an agent.
        """
        sources = {self.history.baseline.source: "the baseline"}
        sources |= {p.source: f"experiment {p.number}" for p in known}
        source = source_digest(answer.files)
        if source in sources:
            return f"it is the code of {sources[source]} once more"
        edit = sole_setting(self._old, new)
        for before in known:
            if edit is not None and before.edit is not None and before.edit.label == edit.label:
                return f"it sets {edit.name} to {edit.value}, as experiment {before.number} did"
            alike = before.parent == self.history.state.incumbent.source
            if alike and same_sources(self.session.texts(before.files), new):
                return f"but for comments it is the code of experiment {before.number}"
        if same_sources(self.session.texts(self.history.baseline.files), new):
            return "but for comments it is the code of the baseline"
        return None

    def _idea(self, answer: AgentReply, new: Mapping[str, str]) -> Idea:
        said = answer.statement
        assert said is not None
        own = {change.name: change.category for change in self.session.task.search_space}
        category, notes = idea_category(said, self._old, new, self.session.categories, own)
        return Idea(
            category=category,
            description=said.description,
            hypothesis=said.hypothesis,
            contents=new,
            edit=sole_setting(self._old, new),
            proposer=self.session.config.agent,
            expected_effect=said.expected_effect,
            notes=notes,
        )

    @property
    def _old(self) -> dict[str, str]:
        return self.session.texts(self.history.state.incumbent.files)
