"""Proposals from a coding agent: asked once per question, within its allowance."""

import contextlib
import itertools
import math
import os
import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ratchet.base.errors import AgentUnusableError, ConfigError, StoreError
from ratchet.base.io import source_digest, write_bytes
from ratchet.base.structs import Frozen, Struct, field, from_json_values, replace, to_json_values
from ratchet.base.text import spoken_duration
from ratchet.config import Config
from ratchet.proposers.agent_health import LOGIN_HINTS, Failure, Fault, call_fault
from ratchet.proposers.agent_process import (
    AGENT_TOOLS,
    PROMPT,
    PROPOSAL,
    CallEnding,
    Usage,
    agent_environment,
    agent_usage,
    agent_words,
    cut_log,
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
from ratchet.records.events import read_events
from ratchet.records.history import History
from ratchet.records.proposals import AgentCall, CallOutcome, Draft, Proposal, Proposals
from ratchet.records.records import StopReason, stream_seed
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
    config: Config,
    rounds: Sequence[Proposals],
    calls: Sequence[AgentCall],
    now: Usage | None = None,
) -> Stop | None:
    """Whether a cap on tokens or dollars is reached, or cannot be kept.

    ``now`` is what a call that has not ended yet has used.
    """
    every = _all(rounds, calls)
    used = now or Usage()
    for call in every:
        used += Usage(call.tokens, call.dollars)
    unpriced = unpriced_tokens(every)
    if unpriced and config.agent_dollars is not None:
        rate = price_of_tokens(every)
        if rate is not None:
            used += Usage(None, rate * unpriced)
        elif sum(call.dollars is None and bool(call.tokens) for call in every) >= UNPRICED_CALLS:
            return (
                StopReason.AGENT_BUDGET,
                f"agent_dollars is set, but the price of {unpriced} tokens of calls that were "
                "stopped is unknown, so that the limit cannot be kept; set agent_tokens instead, "
                "or more agent_minutes",
            )
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
        own = [call for call in every if call.agent == config.agent]
        if found is None and any(call.exit_code == 0 for call in own):
            return (
                StopReason.AGENT_BUDGET,
                f"{key} is set, but the agent's output names no {unit}, so that the limit cannot "
                "be kept; set it to null to go on without",
            )
    return None


UNPRICED_CALLS = 2
"""Where so many calls have no price, and none has one, a cap of dollars means nothing."""


def price_of_tokens(calls: Sequence[AgentCall]) -> float | None:
    """Dollars per token of the calls that name both; ``None`` without any."""
    known = [(c.dollars, c.tokens) for c in calls if c.dollars is not None and c.tokens]
    return sum(d for d, _ in known) / sum(t for _, t in known) if known else None


def unpriced_tokens(calls: Sequence[AgentCall]) -> int:
    """Tokens of calls that name no price, as those do that were stopped before their end."""
    return sum(call.tokens or 0 for call in calls if call.dollars is None)


def _all(rounds: Sequence[Proposals], calls: Sequence[AgentCall]) -> list[AgentCall]:
    """All calls so far, those for drafts that wait included, each once."""
    found: dict[tuple[int, int, int], AgentCall] = {}
    for made in rounds:
        waiting = (call for draft in made.waiting for call in draft.calls)
        for call in (*made.calls, *waiting):
            found[call.round or made.round, call.slot, call.attempt] = call
    return [*found.values(), *calls]


def unusable_sentence(agent: str, fault: Fault, waited: float, log: Path) -> str:
    """Why an agent cannot be asked, with its tool's own words and what to do."""
    words = f" ({fault.note})" if fault.note else ""
    words += f"; its tool said: “{fault.words}”" if fault.words else ""
    if fault.failure in (Failure.LOGIN, Failure.REFUSED):
        hint = LOGIN_HINTS.get(agent, "give it what it needs")
        todo = f"log in ({hint})"
    elif fault.failure is Failure.CREDIT:
        todo = "add some"
    elif fault.failure is Failure.BROKEN:
        todo = f"look at {log} and start it once by hand"
    else:
        words = f" for {spoken_duration(waited)}{words}" if waited >= 1 else words
        todo = "wait until it works, or grant more agent_wait_minutes"
    return f"the agent {agent} cannot be asked: {fault.failure}{words}; {todo}, then raise `leg`"


VERSION = 2
"""Raise it when agents are asked differently: their earlier answers are then not found."""

ATTEMPTS = 2
"""A proposal that cannot be tried is sent back once."""

FIRST_PAUSE_SECONDS = 30.0
LONGEST_PAUSE_SECONDS = 900.0
"""Pauses double from the first to the longest: a limit of a minute costs one pause, and
after a long outage a quarter of an hour is lost at most."""

JITTER = 0.25
"""Part of a pause that is chance, so that sessions that were refused together spread."""

ROUNDS_WITHOUT = 5
"""Where others propose too, a tool that did not work is asked again after so many rounds."""

BROKEN_TRIES = 3
"""A tool that breaks so often without a word on why will do so again."""

Refusal = tuple[CallOutcome, str]


def _named(tried: Proposal | Draft) -> str:
    """A proposal in words: by its number, or by its round while it has none."""
    if isinstance(tried, Draft):
        return f"the proposal for round {tried.round} that waits to be tried"
    return f"experiment {tried.number}"


class Try(Frozen):
    """One run of a tool: its ending, what it left and used, its output, cut, and its fault."""

    ending: CallEnding
    left: Left
    fault: Fault | None
    log: bytes
    used: Usage


class Asking(Struct):
    """An agent that proposes for round ``number``, with what the session knows by then.

    ``history`` are the rounds that were judged, ``pending`` the proposals of those between
    them and this one.  ``calls`` collects what was asked for this one, and ``limits`` names
    those under which the last call was really made: a replay under others forgives the
    failures as before.  Nobody waits for its service past ``deadline``, in seconds since the
    epoch.  ``unusable`` says why it cannot be asked.
    """

    session: Session
    history: History
    number: int
    pending: Sequence[Proposals] = ()
    calls: list[AgentCall] = field(default_factory=list)
    limits: str = ""
    deadline: float = math.inf
    unusable: Stop | None = None

    @property
    def rounds(self) -> tuple[Proposals, ...]:
        """The proposals of all rounds before this one."""
        return (*self.history.proposals, *self.pending)

    @property
    def known(self) -> list[Proposal | Draft]:
        """All proposals of the rounds before this one, and the drafts that waited then."""
        latest = (*self.history.proposals[-1:], *self.pending)
        waiting = [draft for made in latest for draft in made.waiting]
        return [*(proposal for made in self.rounds for proposal in made.proposals), *waiting]

    def stop(self) -> Stop | None:
        """Why the agent is not asked any more, with a sentence; ``None`` to go on."""
        if self.unusable is not None:
            return self.unusable
        before = self.rounds[-1:]
        if before and before[0].stop is StopReason.AGENT_UNUSABLE:
            return before[0].stop, before[0].detail
        if self._was_unusable:
            return StopReason.AGENT_UNUSABLE, f"the agent {self.session.config.agent} did not work"
        return allowance_stop(self.session.config, self.rounds, self.calls)

    @property
    def _was_unusable(self) -> bool:
        """Whether others take the turns of a tool that did not work a few rounds ago."""
        config = self.session.config
        return len(config.turns) > 1 and any(
            event["event"] == "agent_unusable"
            and event.get("limits") == config.limits_token
            and self.number - ROUNDS_WITHOUT <= event["round"] < self.number
            for event in read_events(self.session.journal.path)
        )

    def ask(
        self, slot: int, made: Sequence[Proposal] = (), experiment: int | None = None
    ) -> Idea | None:
        """An idea to fill one slot of the round; ``None`` for a failed proposal.

        ``made`` are the proposals of this round so far, ``experiment`` is the
        number that this one would get, if that is known.  Where the tool does not work it
        is ``None`` too, no call is recorded, and ``unusable`` says why.
        """
        config = self.session.config
        known = [*self.known, *made]
        errand = self._errand(slot, made)
        for attempt in range(1, ATTEMPTS + 1):
            if attempt > 1 and allowance_spent(config, self.rounds, self.calls):
                return None
            try:
                answer, fresh = self._reply(errand, known)
            except AgentUnusableError:
                return None
            new = self.session.texts(answer.files)
            refused = self._refusal(answer, new, known)
            outcome, reason = refused or (CallOutcome.PROPOSED, "")
            call = AgentCall(
                round=self.number,
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
                stopped_late=answer.stopped_late,
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

    def _reply(self, errand: Errand, known: Sequence[Proposal | Draft]) -> tuple[AgentReply, bool]:
        """The agent's answer, and whether it was asked now; asked once, it is never again.

        ``known`` are all proposals of the session so far.  Why an earlier attempt was sent
        back follows from the same question, so that the number of the attempt stands for it.
        An answer belongs to its session: a replay finds it, another session asks anew.
        Raises :class:`AgentUnusableError`, and keeps nothing, where the tool does not work.
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
            "session": config.session,
            "session_secret": self.session.manifest.seed_secret_sha256,
            "session_seed": config.seed,
            "definition": self.session.manifest.definition.sha256,
            "incumbent": dict(self.history.state.incumbent.files),
            "tried": [source_digest(p.files) for p in known],
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
        beside = self.session.config.candidates - 1 - len(made)
        ranking = self.history.state.ranking or self.session.categories
        return Errand(
            round=self.number,
            slot=slot,
            program=self.session.manifest.brief.path,
            mutable=self.session.task.mutable,
            fixed=self.session.task.fixed,
            categories=self.session.categories,
            minutes=self.session.config.agent_minutes,
            others=[each.description for each in (*self._untried, *made)],
            aside=[each.draft.description for made in self.rounds[-2:] for each in made.aside],
            beside=beside,
            leaning=ranking[slot % len(ranking)] if beside and ranking else "",
        )

    @property
    def _untried(self) -> list[Proposal | Draft]:
        """What is known and not judged, since it trains now or waits."""
        tried = {trial.number for trial in self.history.trials}
        return [p for p in self.known if not isinstance(p, Proposal) or p.number not in tried]

    def _call(self, errand: Errand) -> AgentReply:
        """Really ask, until the tool has worked; whatever comes of that is an answer.

        Raises :class:`AgentUnusableError` where it does not work, or not soon enough.
        """
        session, config = self.session, self.session.config
        since, used = None, Usage()
        given = agent_papers(session, self.history, errand.earlier)
        frozen = (*session.manifest.fixed, session.manifest.brief)
        given |= {entry.path: session.store.get(entry.sha256) for entry in frozen}
        for tries in itertools.count(1):
            session.journal.append(
                "agent_asked", **errand.place, agent=config.agent, minutes=errand.minutes
            )
            made = self._try(errand, given, used)
            used += made.used
            session.journal.append(
                "agent_answered",
                **errand.place,
                exit_code=made.ending.exit_code,
                timed_out=made.ending.timed_out,
                stopped_late=made.ending.stopped_late,
                wall_seconds=made.ending.wall_seconds,
                leftover=made.ending.leftover,
                tokens=made.used.tokens,
                dollars=made.used.dollars,
            )
            if made.fault is None:
                return self._answer(made.left, made.ending, session.store.put(made.log), used)
            since = time.time() if since is None else since
            self._wait(errand, made.fault, tries, since, used)
        raise AssertionError

    def _try(self, errand: Errand, given: Mapping[str, bytes], used: Usage) -> Try:
        """Run the tool once in a fresh folder; ``used`` is what earlier tries have used."""
        place, log = Workplace(self.session.paths.folder, errand.slot), self._log(errand)
        try:
            ending = self._run(place, given, errand, log, used)
            left = place.read(self.session.task.mutable)
            is_finished, is_untouched = place.finished() is not None, place.is_untouched(left)
        finally:
            place.clear()
        output = cut_log(log)
        text = output.decode("utf-8", errors="replace")
        fault = None if is_finished else call_fault(text, ending, is_untouched)
        late = replace(ending, stopped_late=ending.stopped_late or ending.timed_out)
        ending = late if is_finished else ending
        kept = log.read_bytes() if log.exists() else b""
        return Try(ending, left, fault, kept, agent_usage(text))

    def _run(
        self,
        place: Workplace,
        given: Mapping[str, bytes],
        errand: Errand,
        log: Path,
        used: Usage,
    ) -> CallEnding:
        """Lay the folder out and run the tool in it; a program that is missing is told."""
        session, config = self.session, self.session.config
        tool = AGENT_TOOLS[config.agent]
        mutable, fixed = session.task.mutable, [*session.task.fixed, *sorted(given)]
        readable = [name for name in dict.fromkeys(fixed) if name in given]
        root = session.paths.root.resolve()
        command = agent_words(self._command, place.prompt, mutable, readable, root)
        incumbent = {n: session.store.get(s) for n, s in self.history.state.incumbent.files.items()}
        kept = {name: session.store.get(sha) for name, sha in errand.kept.items()}
        place.lay_out(incumbent, given, agent_prompt(errand), kept)
        by_file = any(PROMPT in word for word in self._command)
        try:
            require_agent(command[0], config.agent)
            return run_agent(
                command=[*command, *self._cap(used)],
                folder=place.work,
                environment=agent_environment(tool, os.environ),
                prompt=None if by_file else place.prompt,
                log=log,
                seconds=60 * config.agent_minutes,
                finished=place.finished,
            )
        except ConfigError as error:
            return CallEnding(127, False, 0.0, 0, missing=f"{error}")

    def _cap(self, used: Usage) -> Sequence[str]:
        """Words that hold one call to what is left of the dollars, where its tool can do that."""
        config = self.session.config
        option = AGENT_TOOLS[config.agent].dollars_option
        if config.agent_dollars is None or config.agent_command is not None or not option:
            return ()
        calls = _all(self.rounds, self.calls)
        spent = sum(call.dollars or 0.0 for call in calls) + (used.dollars or 0.0)
        spent += (price_of_tokens(calls) or 0.0) * unpriced_tokens(calls)
        # All candidates of a round are asked for at the same time.
        share = (config.agent_dollars - spent) / config.candidates
        return (option, f"{max(share, 0.01):.2f}")

    def _wait(self, errand: Errand, fault: Fault, tries: int, since: float, used: Usage) -> None:
        """Pause until the tool may work again; ``since`` when it has not.

        Raises :class:`AgentUnusableError` where nobody waits for it, or no longer.
        """
        config = self.session.config
        spent = allowance_spent(config, self.rounds, self.calls, used)
        if spent is not None:
            raise self._give_up(errand, spent)
        now, seed = time.time(), stream_seed(config.seed, "pause", *errand.place.values(), tries)
        is_waited_for = fault.failure in (Failure.LIMITED, Failure.OUTAGE)
        pause = min(FIRST_PAUSE_SECONDS * 2.0 ** min(tries - 1, 60), LONGEST_PAUSE_SECONDS)
        pause *= 1 + JITTER * random.Random(seed).random()
        pause = max(pause, fault.retry_after or 0.0)
        # Where others can take the turn, the device need not wait.
        longest = 60 * config.agent_wait_minutes if len(config.turns) == 1 else 0.0
        end = min(since + longest, self.deadline)
        is_broken = fault.failure is Failure.BROKEN and tries < BROKEN_TRIES
        if not (is_broken or is_waited_for) or now + pause > end:
            reason = unusable_sentence(config.agent, fault, now - since, self._log(errand))
            raise self._give_up(errand, (StopReason.AGENT_UNUSABLE, reason))
        self.session.journal.append(
            "agent_waiting",
            **errand.place,
            agent=config.agent,
            why=fault.failure,
            words=fault.words,
            seconds=pause,
            left_seconds=end - now,
        )
        time.sleep(pause)

    def _give_up(self, errand: Errand, stop: Stop) -> AgentUnusableError:
        self.unusable, config = stop, self.session.config
        if len(config.turns) > 1:  # else the session ends, and says so
            self.session.journal.append(
                "agent_unusable", **errand.place, detail=stop[1], limits=config.limits_token
            )
        return AgentUnusableError(stop[1])

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
            stopped_late=ending.stopped_late,
            proposal=put(left.proposal) if left.proposal else "",
        )

    def _refusal(
        self, answer: AgentReply, new: Mapping[str, str], known: Sequence[Proposal | Draft]
    ) -> Refusal | None:
        """Why an answer is sent back, if it is."""
        found = reply_fault(answer, self._old, new)
        if found is not None:
            return found
        twin = self.twin(answer.files, new, known)
        return None if twin is None else (CallOutcome.DUPLICATE, twin)

    def twin(
        self, files: Mapping[str, str], new: Mapping[str, str], known: Sequence[Proposal | Draft]
    ) -> str | None:
        """Words on the earlier proposal that an edit repeats; ``None`` if it is new.

        ``new`` are the contents of ``files``.  A constant is not set to the same value
        twice, on whatever incumbent: what deserves another chance is tried again without
        an agent.
        """
        sources = {self.history.baseline.source: "the baseline"}
        sources |= {source_digest(p.files): _named(p) for p in known}
        source = source_digest(files)
        if source in sources:
            return f"it is the code of {sources[source]} once more"
        edit, held = sole_setting(self._old, new), self.history.state.incumbent.source
        for before in known:
            if edit is not None and before.edit is not None and before.edit.label == edit.label:
                return f"it sets {edit.name} to {edit.value}, as {_named(before)} did"
            # Whole files are compared with few: those that wait, and edits of this incumbent.
            alike = isinstance(before, Draft) or before.parent == held
            if alike and same_sources(self.session.texts(before.files), new):
                return f"but for comments it is the code of {_named(before)}"
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
