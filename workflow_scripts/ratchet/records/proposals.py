"""Proposals of a session: edits with their reasons, who made them, and calls of agents."""

from __future__ import annotations

import enum
from collections.abc import Mapping

from ratchet.base.structs import Frozen
from ratchet.records.records import StopReason

DECLARED = "declared"
"""The proposer that needs no agent."""

OPTIMIZERS = (TPE, CMAES, RANDOM) = ("tpe", "cmaes", "random")
"""Proposers of values from ranges: Optuna's TPE and CMA-ES, and chance."""

POLLINATION = "pollination"
"""The proposer of another competitor's win that is tried here."""

HAND = "hand"
"""The proposer of edits that a person put forward."""

POINT = "point"
"""Kind of an edit that sets several constants at once."""


class CallOutcome(enum.StrEnum):
    """Outcome of a call of an agent."""

    PROPOSED = "proposed"
    NO_PROPOSAL = "no_proposal"
    EMPTY = "empty_diff"
    FORBIDDEN = "forbidden_file"
    DUPLICATE = "duplicate"
    UNREADABLE = "unreadable"
    TIMEOUT = "timeout"


class Edit(Frozen):
    """One change by its name: a constant set to a value, or a declared code alternative.

    Several constants that are set at once are one change, of kind :data:`POINT`: ``values``
    has the literal of each, and ``value`` all of them in one text.
    """

    kind: str
    name: str
    value: str | None = None
    values: Mapping[str, str] = {}

    @property
    def label(self) -> str:
        """Identity of the change within a session."""
        return self.name if self.value is None else f"{self.name}={self.value}"


class Proposal(Frozen):
    """A change with a hypothesis and a category, not yet run.

    ``number`` counts experiments over the whole session, from 1 (0 is the
    baseline).  ``files`` maps each mutable file to the digest of its content
    and ``source`` is the digest of that mapping.  ``retry_of`` is the number
    of the near miss whose edit is tried again, on another incumbent; at a ``second_look``,
    when nothing new is left to try, perhaps on the same one.

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
    second_look: bool = False


class AgentCall(Frozen):
    """One call of an agent, and its outcome.

    ``slot`` is the place in the round that it was asked to fill, from 0, and
    ``attempt`` 2 if it was sent back once.  ``experiment`` is the number of the
    experiment that it led to, ``reason`` says why it led to none.  ``tokens``
    (those read from a cache not counted) and ``dollars`` are what the tool
    reported; those of tries in which the tool did not work are in the sums.
    ``stopped_late`` tells of a tool that was ended after its proposal was finished.
    ``log`` is the digest of its output, which the store holds.  ``round`` is the one that
    it was asked for; 0, in older records, the one that it stands in.
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
    round: int = 0
    stopped_late: bool = False


class Draft(Frozen):
    """An agent's proposal for a round, made before the round began.

    It is an edit of the files ``began_from``, the incumbent's of that time; what else it
    says is as in the :class:`Proposal` that it becomes.  ``calls`` led to it.
    """

    round: int
    slot: int
    began_from: Mapping[str, str]
    files: Mapping[str, str]
    category: str
    description: str
    hypothesis: str
    proposer: str
    edit: Edit | None = None
    expected_effect: str = ""
    notes: tuple[str, ...] = ()
    calls: tuple[AgentCall, ...] = ()


class Asked(Frozen):
    """What came of asking an agent to fill one slot of a round.

    ``calls`` are those that led to no draft.  There are neither where it was another
    proposer's turn, and where a limit was in the way: ``stop`` says which.  ``limits`` names
    those in force when it was asked.
    """

    round: int
    slot: int
    draft: Draft | None = None
    calls: tuple[AgentCall, ...] = ()
    stop: StopReason | None = None
    detail: str = ""
    limits: str = ""

    def is_settled(self, number: int) -> bool:
        """Whether this is of round ``number``, and no limit was in the way."""
        return self.round == number and self.stop is None


class SetAside(Frozen):
    """A draft that was not tried, since the incumbent had changed, and why."""

    draft: Draft
    reason: str


class Proposals(Frozen):
    """Proposals of one round, or the reason why it has none.

    Rounds after a session's end repeat the files of the one that ended it, so
    that ``round`` is the round that something was first written for.
    ``dropped`` are near misses whose edit means nothing to the new incumbent.

    ``calls`` are the agent's, in order.  A slot whose calls all failed is a
    failed proposal: a round may have nothing else and the session goes on.
    ``limits`` names the limits then in force: a change of them forgives what
    failed before.  Drafts that are ``waiting`` come first in the next round; those that
    were set ``aside`` meant nothing to the new incumbent.
    """

    round: int
    proposals: tuple[Proposal, ...] = ()
    stop: StopReason | None = None
    detail: str = ""
    dropped: tuple[int, ...] = ()
    calls: tuple[AgentCall, ...] = ()
    limits: str = ""
    waiting: tuple[Draft, ...] = ()
    aside: tuple[SetAside, ...] = ()

    @property
    def slots(self) -> dict[tuple[int, int], bool]:
        """For each round and slot that an agent was asked to fill, whether it did."""
        slots: dict[tuple[int, int], bool] = {}
        for call in self.calls:
            place = call.round or self.round, call.slot
            filled = call.outcome is CallOutcome.PROPOSED
            slots[place] = slots.get(place, False) or filled
        return slots
