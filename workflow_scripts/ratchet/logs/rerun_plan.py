"""Plan of an audit's re-runs and the records of what they say, for rules and pages.

A kept change is compared with the incumbent that its author had compared it with, by
fresh runs of both with the same seeds on one machine.  Only these runs decide; what
the log says was measured elsewhere and stands beside it.
"""

import enum
from collections.abc import Iterable, Mapping
from typing import Any

from ratchet.base.errors import DataError, InputMissingError
from ratchet.base.io import digest, read_record
from ratchet.base.structs import Frozen, field
from ratchet.base.text import plural
from ratchet.records.paths import SessionPaths
from ratchet.records.records import Outcome, RunSummary
from ratchet.steps.plan import WorkflowPlan, code_digest

AUDIT_LEVEL = 0.95
"""Probability of the intervals, as of a session's confirmation."""

LEAST_SEEDS = 3
"""Runs of each side of a change, also where the log's own calculation asks for fewer, or
for no number since the change is settled there or too small to be: with two of each,
Welch's interval has a degree or two of freedom and says nothing."""


class AuditedCode(Frozen):
    """The mutable files of one commit, by digest; ``source`` is their identity."""

    source: str
    files: Mapping[str, str]
    label: str

    @property
    def number(self) -> int:
        """Names the code's runs; by its digest, so that it is the same in every plan."""
        return int(self.source[:12], 16)


class KeptChange(Frozen):
    """A kept change: its row, and the code of both sides.

    ``parent`` and ``child`` are sources of the plan's codes, ``None`` with ``unable``,
    which says why the change cannot be run.  ``parent_line`` is the row of the
    incumbent, ``None`` where the commit's own parent stands in for it.
    """

    line: int
    commit: str
    description: str
    seeds: int
    parent: str | None = None
    child: str | None = None
    parent_line: int | None = None
    parent_commit: str = ""
    notes: tuple[str, ...] = ()
    unable: str = ""


class AuditPlan(Frozen):
    """Plan of an audit's re-runs.

    ``facts`` are the audit of the log itself; ``kept`` how many changes it kept, of
    which ``changes`` were chosen.
    """

    log_sha256: str
    facts: Mapping[str, Any]
    kept: int
    codes: tuple[AuditedCode, ...]
    changes: tuple[KeptChange, ...]

    @property
    def turns(self) -> int:
        """In each turn every code that wants another run gets one."""
        return max((c.seeds for c in self.changes if not c.unable), default=0)

    def wanted(self, turn: int) -> list[AuditedCode]:
        """The codes that are run in a turn, counted from 1, in the log's order."""
        named = {
            source
            for change in self.changes
            if not change.unable and change.seeds >= turn
            for source in (change.parent, change.child)
        }
        return [code for code in self.codes if code.source in named]

    @property
    def runs(self) -> int:
        """Runs in all; equal code is run once for all changes that it is a side of."""
        return sum(len(self.wanted(turn)) for turn in range(1, self.turns + 1))


class AuditRun(Frozen):
    """One code's run of one turn, or why there was none.

    ``refused`` is what in its code would bend the measurement; ``skipped`` that no
    change would have an answer by it.
    """

    turn: int
    source: str
    run: RunSummary | None = None
    refused: str = ""
    skipped: str = ""
    notes: tuple[str, ...] = ()

    @property
    def succeeded(self) -> bool:
        """Whether there was a run, and it ended well."""
        return self.run is not None and self.run.outcome is Outcome.OK


class KeptStanding(enum.StrEnum):
    """Standing of a change: P(better | runs) at least 0.95, below 0.5, between, or no answer."""

    HOLDS = "holds"
    FAILS = "does not hold"
    UNDECIDED = "undecided"
    NOT_RUN = "not run"


class HeldChange(Frozen):
    """A kept change by its fresh runs; gains are positive, in the metric's unit.

    ``gain`` with ``low`` and ``high`` is the difference of the means with Welch's
    interval of probability :data:`AUDIT_LEVEL`.  ``given_runs`` is P(better | runs) and
    ``expected`` its estimate of the gain, which is without the luck.
    """

    line: int
    commit: str
    description: str
    standing: KeptStanding
    seeds: int
    reason: str = ""
    gain: float | None = None
    low: float | None = None
    high: float | None = None
    given_runs: float | None = None
    expected: float | None = None
    noise_sd: float | None = None
    parent_line: int | None = None
    parent_commit: str = ""
    parent_runs: tuple[RunSummary, ...] = ()
    child_runs: tuple[RunSummary, ...] = ()
    notes: tuple[str, ...] = ()


class Distance(Frozen):
    """From the first incumbent to the last kept code that runs, by fresh runs of these two.

    ``start`` and ``end`` are the lines of their rows.
    """

    gain: float
    low: float | None
    high: float | None
    start: int | None
    end: int
    level: float = AUDIT_LEVEL


class AuditVerdicts(Frozen):
    """All changes that were chosen, and how many hold.

    ``noise_sd`` is the pooled sd of fresh runs of one code, from ``freedom`` degrees
    of freedom; ``whole`` the distance from end to end, where both ends were run.
    """

    session: str
    task: str
    metric: str
    hardware: str
    kept: int
    changes: tuple[HeldChange, ...]
    counts: Mapping[str, int] = field(default_factory=dict)
    runs: int = 0
    noise_sd: float | None = None
    freedom: int = 0
    whole: Distance | None = None

    @property
    def sentence(self) -> str:
        """``k of n kept changes hold``, and what of the others."""
        chosen, left = len(self.changes), self.kept - len(self.changes)
        count = {standing: self.counts[standing.value] for standing in KeptStanding}
        fails = count[KeptStanding.FAILS]
        said = {
            f"{'do' if fails != 1 else 'does'} not": fails,
            "undecided": count[KeptStanding.UNDECIDED],
            "could not be run": count[KeptStanding.NOT_RUN],
            f"other{'s' * (left != 1)} not asked for": left,
        }
        holds = f"{count[KeptStanding.HOLDS]} of {plural(chosen, 'kept change')}"
        rest = [f"{many} {what}" for what, many in said.items() if many]
        return "; ".join([f"{holds} hold{'s' * (chosen == 1)}", *rest])


def count_standings(changes: Iterable[HeldChange]) -> dict[str, int]:
    """Number of changes of each standing."""
    found = [change.standing for change in changes]
    return {standing.value: found.count(standing) for standing in KeptStanding}


def read_audit_plan(paths: SessionPaths) -> AuditPlan | None:
    """Plan of a session's re-runs; ``None`` for one that is no audit.

    Raises :class:`DataError` for a plan that cannot be read.
    """
    if not paths.rerun_plan.is_file():
        return None
    return read_record(AuditPlan, paths.rerun_plan)


def audit_run_files(paths: SessionPaths, turn: int | None = None) -> list[str]:
    """The files of all runs, or of one turn's, in the order in which they are made."""
    found = read_audit_plan(paths)
    if found is None:
        return []
    turns = range(1, found.turns + 1) if turn is None else (turn,)
    return [str(paths.rerun(t, code.number)) for t in turns for code in found.wanted(t)]


def audit_run_inputs(paths: SessionPaths, turn: int) -> list[str]:
    """Inputs of a turn's runs: all runs of the turn before, so that sides alternate."""
    return audit_run_files(paths, turn - 1) if turn > 1 else []


def is_audit_run_open(paths: SessionPaths, turn: int, code: int) -> bool:
    """Whether a run was not made, so that another plan may want it.

    What was run is a fact and is not redone when the plan changes.
    """
    try:
        return read_record(AuditRun, paths.rerun(turn, code)).run is None
    except (InputMissingError, DataError):
        return True


def audit_run_digest() -> str:
    """Changes when another code may be refused; what was run is in the store."""
    return digest([code_digest("ratchet.logs.rerun")])


def audit_page_digest(plan: WorkflowPlan) -> str:
    """Changes when the changes must be judged again, or the page written again."""
    return digest([code_digest("ratchet.report.audit_report"), plan.config.session])
