"""Proposals as they are recorded, and the calls of agents that led to them."""

from __future__ import annotations

from collections.abc import Mapping

from ratchet.codec import Frozen
from ratchet.vocabulary import CallOutcome, StopReason

DECLARED = "declared"
"""The proposer that needs no agent."""
POLLINATION = "pollination"
"""The proposer of another competitor's win that is tried here."""
HAND = "hand"
"""The proposer of edits that a person put forward."""


class Edit(Frozen):
    """One change by its name: a constant set to a value, or a declared code alternative."""

    kind: str
    name: str
    value: str | None = None

    @property
    def label(self) -> str:
        """Identity of the change within a session."""
        return self.name if self.value is None else f"{self.name}={self.value}"


class Proposal(Frozen):
    """A change with a hypothesis and a category, not yet run.

    ``number`` counts experiments over the whole session, from 1 (0 is the
    baseline).  ``files`` maps each mutable file to the digest of its content
    and ``source`` is the digest of that mapping.  ``retry_of`` is the number
    of the near miss whose edit is tried again, on another incumbent.

    ``edit`` is set where the change is declared, or does nothing but set one
    constant.  ``proposer`` says whose proposal it is, ``expected_effect`` what
    that expects, and ``notes`` are findings about it that decide nothing.
    ``origin`` names the session and experiment of another competitor whose win it
    is, as ``session#experiment``.
    """

    number: int
    round: int
    candidate: int
    source: str
    parent: str
    files: Mapping[str, str]
    category: str
    description: str
    hypothesis: str
    diff: str
    lines_added: int
    lines_removed: int
    commit: str
    edit: Edit | None = None
    retry_of: int | None = None
    proposer: str = DECLARED
    expected_effect: str = ""
    notes: tuple[str, ...] = ()
    origin: str = ""


class AgentCall(Frozen):
    """One call of an agent, and what came of it.

    ``slot`` is the place in the round that it was asked to fill, from 0, and
    ``attempt`` 2 if it was sent back once.  ``experiment`` is the number of the
    experiment that it led to, ``reason`` says why it led to none.  ``tokens``
    (those read from a cache not counted) and ``dollars`` are what the tool
    reported.  ``log`` is the digest of its output, which the store holds.
    """

    slot: int
    attempt: int
    agent: str
    outcome: CallOutcome
    reason: str = ""
    experiment: int | None = None
    exit_code: int | None = None
    tokens: int | None = None
    dollars: float | None = None
    log: str = ""


class Proposals(Frozen):
    """What one round tries; without proposals it says why.

    Rounds after a session's end repeat the files of the one that ended it, so
    that ``round`` is the round that something was first written for.
    ``dropped`` are near misses whose edit means nothing to the new incumbent.

    ``calls`` are the agent's, in order.  A slot whose calls all failed is a
    failed proposal: a round may have nothing else and the session goes on.
    ``limits`` names the limits then in force: a change of them forgives what
    failed before.
    """

    round: int
    proposals: tuple[Proposal, ...] = ()
    stop: StopReason | None = None
    detail: str = ""
    dropped: tuple[int, ...] = ()
    calls: tuple[AgentCall, ...] = ()
    limits: str = ""

    @property
    def slots(self) -> dict[int, bool]:
        """For each slot that an agent was asked to fill, whether it did."""
        found: dict[int, bool] = {}
        for call in self.calls:
            filled = call.outcome is CallOutcome.PROPOSED
            found[call.slot] = found.get(call.slot, False) or filled
        return found
