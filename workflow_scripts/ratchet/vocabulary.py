"""The words for how things stand: direction, outcome, verdict, status."""

from __future__ import annotations

import enum

# What a change may be about; a task's search space may name others.
CATEGORIES = (
    "architecture",
    "hyperparams",
    "optimizer",
    "regularization",
    "activation",
    "embedding",
    "efficiency",
    "data",
    "other",
)


class Direction(enum.StrEnum):
    """Whether a lower or a higher metric is better."""

    MINIMIZE = "minimize"
    MAXIMIZE = "maximize"

    @property
    def sign(self) -> int:
        """Factor that turns a metric into one where lower is better."""
        return 1 if self is Direction.MINIMIZE else -1


class Outcome(enum.StrEnum):
    """How one run ended."""

    OK = "ok"
    CRASH = "crash"
    IMPORT_ERROR = "import_error"
    ASSERTION = "assertion"
    TIMEOUT = "timeout"
    OOM_DEVICE = "oom_device"
    OOM_HOST = "oom_host"
    OOM_EVALUATION = "oom_evaluation"
    KILLED = "killed"
    NAN = "nan"
    NO_METRIC = "no_metric"
    TAMPERED = "tampered"
    CONTENDED = "contended"


class Verdict(enum.StrEnum):
    """What the judge says of one experiment."""

    STRONG_KEEP = "STRONG_KEEP"
    KEEP = "KEEP"
    MARGINAL = "MARGINAL"
    RETEST = "RETEST"
    DISCARD = "DISCARD"
    CRASH = "CRASH"
    TAMPERED = "TAMPERED"

    @property
    def is_keep(self) -> bool:
        """Whether the candidate becomes the incumbent."""
        return self in (Verdict.STRONG_KEEP, Verdict.KEEP)

    @property
    def status(self) -> Status:
        """The word for it in ``results.tsv``."""
        if self.is_keep:
            return Status.KEEP
        if self in (Verdict.CRASH, Verdict.TAMPERED):
            return Status.CRASH
        return Status.DISCARD


class Status(enum.StrEnum):
    """Karpathy's three words for an experiment."""

    KEEP = "keep"
    DISCARD = "discard"
    CRASH = "crash"


class StopReason(enum.StrEnum):
    """Why a session did not go on to its next experiment."""

    TARGET = "target"
    DEADLINE = "deadline"
    MAX_RUNS = "max_runs"
    EXHAUSTED = "exhausted"
    AGENT_FAILURES = "agent_failures"
    AGENT_BUDGET = "agent_budget"


class CallOutcome(enum.StrEnum):
    """What came of asking an agent for a proposal."""

    PROPOSED = "proposed"
    NO_PROPOSAL = "no_proposal"
    EMPTY = "empty_diff"
    FORBIDDEN = "forbidden_file"
    DUPLICATE = "duplicate"
    UNREADABLE = "unreadable"
    TIMEOUT = "timeout"
