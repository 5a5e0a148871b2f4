"""Records of a tournament, and what its rules need to know.

Each competitor is a session of its own; a leg is its share of one round of the
tournament.  No record holds a time of day, so that equal tournaments have equal
bytes.
"""

import enum
from collections.abc import Mapping, Sequence

from ratchet.base.io import digest, read_if_whole
from ratchet.base.structs import Frozen, to_json_values
from ratchet.records.proposals import Edit
from ratchet.records.records import Direction, StopReason
from ratchet.steps.plan import WorkflowPlan, code_digest


class Fate(enum.StrEnum):
    """Fate of a win when its turn came at another competitor."""

    OFFERED = "offered"
    CONFLICT = "conflict"
    PRESENT = "present"
    TRIED = "tried"


class Win(Frozen):
    """A kept experiment of one competitor, as a patch for the others.

    ``files`` are its mutable files by digest, ``parent`` those it started from.
    With ``whole`` it is no patch: the donor's configuration replaces everything.
    ``gain`` is the donor's posterior, in the metric's unit; positive is better.
    """

    donor: str
    session: str
    experiment: int
    description: str
    category: str
    hypothesis: str
    gain: float
    files: Mapping[str, str]
    parent: Mapping[str, str]
    edit: Edit | None = None
    whole: bool = False

    @property
    def origin(self) -> str:
        """Name of the win in proposals: the donor's session and experiment."""
        return f"{self.session}#{self.experiment}"


class Graft(Frozen):
    """One win at one recipient: put forward in ``round``, or why it was not."""

    origin: str
    fate: Fate
    round: int | None = None
    detail: str = ""


class Leg(Frozen):
    """Standing of a competitor after its leg of tournament round ``number``.

    ``rounds`` counts those of its session, ``runs`` its training runs without
    the baseline's; ``best`` is what its incumbent, ``experiment``, was measured at,
    ``mean`` and ``sd`` are the judge's posterior for it.  ``grafts`` are of this leg,
    ``waiting`` are wins whose turn did not come in it.  ``stop`` says why it ended
    before its share was used up.
    """

    number: int
    competitor: str
    session: str
    rounds: int
    runs: int
    experiment: int
    best: float
    mean: float
    sd: float
    kept: int
    grafts: tuple[Graft, ...] = ()
    waiting: tuple[str, ...] = ()
    stop: StopReason | None = None
    detail: str = ""


class Queue(Frozen):
    """Wins that one competitor is to try, the most promising first."""

    competitor: str
    wins: tuple[Win, ...]


class Pollination(Frozen):
    """Wins offered to every competitor after tournament round ``number``."""

    number: int
    mode: str
    leader: str
    queues: tuple[Queue, ...]

    def queue(self, competitor: str) -> tuple[Win, ...]:
        """The wins for one competitor; none for one that it does not know."""
        return next((q.wins for q in self.queues if q.competitor == competitor), ())


def leading_leg(legs: Sequence[Leg], direction: Direction) -> Leg:
    """The leg with the best posterior mean; the earlier one of equals."""
    return min(legs, key=lambda leg: direction.sign * leg.mean)


def leg_inputs(plan: WorkflowPlan, number: int, competitor: int) -> list[str]:
    """Files that a leg starts from: the common baseline, or the leg and offers before."""
    paths = plan.paths
    if number == 0:
        return [str(paths.baseline)]
    found = [str(paths.leg(number - 1, competitor))]
    if number > 1:
        found.append(str(paths.pollination(number - 1)))
    return found


def is_leg_open(plan: WorkflowPlan, number: int, competitor: int) -> bool:
    """Whether a leg is not played, or ended before its share of runs was used up.

    What was done is a fact and is not redone when a limit changes.
    """
    played = read_if_whole(Leg, plan.paths.leg(number, competitor))
    return played is None or played.stop is not None


def leg_digest(plan: WorkflowPlan) -> str:
    """Changes when legs must be played again: from the store, as far as they are there."""
    config = plan.config
    settings = [to_json_values(config.strategies), config.evolve_runs, config.pollination]
    return digest([settings, plan.judge_digest, plan.steer_digest])


def champion_digest(plan: WorkflowPlan) -> str:
    """Changes when the champion must be confirmed again."""
    code = code_digest("ratchet.tournament.pollination")
    return digest([plan.config.confirm_replicates, plan.config.evolve_rounds, code])


def tournament_page_digest(plan: WorkflowPlan) -> str:
    """Changes when the page and its facts must be written again."""
    return digest([plan.config.evolve_rounds, code_digest("ratchet.report.tournament_report")])
