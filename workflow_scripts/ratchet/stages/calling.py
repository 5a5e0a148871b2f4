"""One call of an agent: asked once for the same question, and never again."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ratchet import files
from ratchet.codec import Frozen, decode, encode
from ratchet.errors import StoreError
from ratchet.history import History
from ratchet.proposers import agent, reply, tools
from ratchet.proposers.prompt import Errand, prompt
from ratchet.proposers.reply import Reply
from ratchet.proposers.usage import Usage, usage
from ratchet.proposers.workplace import Left, Workplace
from ratchet.records import Proposal
from ratchet.session import Session
from ratchet.stages.papers import papers

VERSION = 1
"""Raise it when agents are asked differently: their earlier answers are then not found."""

RUNS = 2
"""A call that somebody else ended is made once more."""


class Calling(Frozen):
    """How an agent is called for one round."""

    session: Session
    history: History

    @property
    def number(self) -> int:
        """The round that is proposed."""
        return self.history.last + 1

    def reply(
        self,
        slot: int,
        attempt: int,
        known: Sequence[Proposal],
        others: Sequence[str] = (),
        sent_back: str = "",
        diff: str = "",
    ) -> tuple[Reply, bool]:
        """The agent's answer, and whether it was asked now; asked once, it is never again.

        ``known`` are all proposals of the session so far, ``others`` descriptions
        of those of this round.  ``sent_back`` and ``diff`` are why the attempt
        before was refused, and its edit: they follow from the same question, so
        that the number of the attempt stands for them.
        """
        fresh = False

        def call() -> Any:
            nonlocal fresh
            fresh = True
            errand = self._errand(others, sent_back, bool(diff))
            return encode(self._call(slot, attempt, errand, diff))

        config = self.session.config
        question = {
            "proposer": {
                "kind": config.proposer,
                "command": list(self._command),
                "version": VERSION,
            },
            "session_seed": config.seed,
            "definition": self.session.manifest.definition.sha256,
            "incumbent": dict(self.history.state.incumbent.files),
            "tried": [p.source for p in known],
            "round": self.number,
            "slot": slot,
            "attempt": attempt,
            **({"strategy": dict(config.strategy)} if config.strategy else {}),
        }
        answer = self.session.store.memo("proposals", question, call)
        found = decode(Reply, answer, "memoised answer of an agent")
        # A replay finds the answer in the store, and its log too; nothing rests on that.
        log = self._log(slot, attempt)
        if not log.exists():
            with contextlib.suppress(StoreError):
                files.write_bytes(log, self.session.store.get(found.log))
        return found, fresh

    def _log(self, slot: int, attempt: int) -> Path:
        return self.session.paths.agent_log(self.number, slot, attempt)

    @property
    def _command(self) -> Sequence[str]:
        config = self.session.config
        return config.agent_command or tools.TOOLS[config.proposer].command

    def _errand(self, others: Sequence[str], sent_back: str, earlier: bool) -> Errand:
        return Errand(
            round=self.number,
            program=self.session.manifest.brief.path,
            mutable=self.session.task.mutable,
            fixed=self.session.task.fixed,
            categories=self.session.categories,
            minutes=self.session.config.agent_minutes,
            others=others,
            reason=sent_back,
            earlier=earlier,
        )

    def _call(self, slot: int, attempt: int, errand: Errand, diff: str) -> Reply:
        """Really ask; whatever comes of it is an answer."""
        session, config = self.session, self.session.config
        session.journal.append(
            "agent_asked",
            round=self.number,
            slot=slot,
            attempt=attempt,
            agent=config.proposer,
            minutes=config.agent_minutes,
        )
        place = Workplace(session.paths.folder)
        given = papers(session, self.history, diff)
        frozen = (*session.manifest.fixed, session.manifest.brief)
        given |= {entry.path: session.store.get(entry.sha256) for entry in frozen}
        log = self._log(slot, attempt)
        try:
            for ending in self._endings(place, given, errand, log):
                if not ending.from_outside:
                    break
            left = place.read(session.task.mutable)
        finally:
            place.clear()
        output = log.read_bytes() if log.exists() else b""
        used = usage(output.decode("utf-8", errors="replace"))
        session.journal.append(
            "agent_answered",
            round=self.number,
            slot=slot,
            attempt=attempt,
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
    ) -> Iterator[agent.Ending]:
        """The runs of one call, each in a fresh folder."""
        session, config = self.session, self.session.config
        tool = tools.TOOLS[config.proposer]
        variables = tools.environment(tool, os.environ)
        mutable, fixed = session.task.mutable, [*session.task.fixed, *sorted(given)]
        readable = [name for name in dict.fromkeys(fixed) if name in given]
        root = session.paths.root.resolve()
        command = tools.words(self._command, place.prompt, mutable, readable, root)
        agent.find(command[0], config.proposer)
        incumbent = {n: session.store.get(s) for n, s in self.history.state.incumbent.files.items()}
        for _ in range(RUNS):
            place.lay_out(incumbent, given, prompt(errand))
            yield agent.run(
                agent.Call(
                    command=command,
                    folder=place.work,
                    environment=variables,
                    prompt=None if tools.by_file(self._command) else place.prompt,
                    log=log,
                    seconds=60 * config.agent_minutes,
                )
            )

    def _answer(self, left: Left, ending: agent.Ending, log: str, used: Usage) -> Reply:
        """What was left, in the store; a proposal that cannot be read is a problem."""
        problems, said, put = list(left.problems), None, self.session.store.put
        if left.proposal is not None and left.proposal.strip():
            try:
                said = reply.statement(left.proposal)
            except ValueError as error:
                problems.append(f"{error}")
        return Reply(
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
        )
