"""The vocabulary as types: what is written to a session's small JSON files.

Records are frozen dataclasses; :mod:`ratchet.codec` takes them to and from
JSON.  A missing measurement is ``None``, never ``0.0``, and no record holds a
time of day, so that equal sessions have equal bytes.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

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
    TIMEOUT = "timeout"
    KILLED = "killed"
    NAN = "nan"
    NO_METRIC = "no_metric"
    TAMPERED = "tampered"


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


@dataclass(frozen=True)
class Edit:
    """One declared change: a constant set to a value, or a code alternative."""

    kind: str
    name: str
    value: str | None = None

    @property
    def label(self) -> str:
        """Identity of the change within a search space."""
        return self.name if self.value is None else f"{self.name}={self.value}"


@dataclass(frozen=True)
class Proposal:
    """A change with a hypothesis and a category, not yet run.

    ``number`` counts experiments over the whole session, from 1 (0 is the
    baseline).  ``files`` maps each mutable file to the digest of its content
    and ``source`` is the digest of that mapping.
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


@dataclass(frozen=True)
class Proposals:
    """What one round tries; without proposals it says why.

    Rounds after a session's end repeat the files of the one that ended it, so
    that ``round`` is the round that something was first written for.
    """

    round: int
    proposals: tuple[Proposal, ...] = ()
    stop: StopReason | None = None
    detail: str = ""


@dataclass(frozen=True)
class RunSummary:
    """The part of one finished run that decisions may rest on.

    ``value`` is the metric as the task prints it, in the metric's own unit and
    direction; ``memory_mb`` is what the task reports, not what was sampled.
    """

    key: str
    seed: int
    outcome: Outcome
    reason: str
    value: float | None
    memory_mb: float | None


@dataclass(frozen=True)
class Baseline:
    """The replicates of the unchanged source."""

    source: str
    files: Mapping[str, str]
    commit: str
    runs: tuple[RunSummary, ...]


@dataclass(frozen=True)
class Experiment:
    """One proposal's first run, or why it was not run."""

    round: int
    candidate: int
    run: RunSummary | None = None
    stop: StopReason | None = None
    detail: str = ""


@dataclass(frozen=True)
class Ruling:
    """The verdict on one experiment with everything it rests on.

    ``delta`` is mean minus incumbent in the metric's own direction and unit;
    ``gain`` and ``confidence`` are the posterior expectation of the true
    improvement (positive is better, whatever the direction) and the
    probability that there is one.
    """

    number: int
    candidate: int
    commit: str
    verdict: Verdict
    reason: str
    runs: tuple[RunSummary, ...]
    mean: float | None = None
    incumbent: float | None = None
    delta: float | None = None
    delta_sd: float | None = None
    gain: float | None = None
    confidence: float | None = None
    memory_mb: float | None = None


@dataclass(frozen=True)
class RoundVerdict:
    """The rulings of one round, the noise floor and what is known after it.

    ``kept`` is the number of the kept experiment; ``incumbent_mean`` and
    ``incumbent_sd`` are the judge's posterior for the incumbent's true metric
    after the round.
    """

    round: int
    rulings: tuple[Ruling, ...] = ()
    kept: int | None = None
    noise_sd: float | None = None
    noise_low: float | None = None
    noise_high: float | None = None
    incumbent_mean: float | None = None
    incumbent_sd: float | None = None
    runs_used: int = 0
    stop: StopReason | None = None
    detail: str = ""


@dataclass(frozen=True)
class SessionState:
    """What the next round starts from; one per round, written by steer."""

    round: int
    incumbent: Incumbent
    runs_used: int
    ranking: tuple[str, ...] = ()
    stop: StopReason | None = None
    detail: str = ""


@dataclass(frozen=True)
class Incumbent:
    """The code every new proposal starts from, and what is known of it.

    ``mean`` and ``sd`` are the judge's posterior for its true metric, in the
    metric's own unit and direction.
    """

    number: int
    source: str
    files: Mapping[str, str]
    commit: str
    mean: float
    sd: float
    memory_mb: float | None
    kept: int


@dataclass(frozen=True)
class Confirmation:
    """Champion and baseline run again with fresh seeds, interleaved.

    ``gain`` is positive when the champion is better; ``low`` and ``high``
    bound it at ``level``.  ``None`` where nothing was kept or a run failed.
    """

    champion: int
    baseline_runs: tuple[RunSummary, ...] = ()
    champion_runs: tuple[RunSummary, ...] = ()
    level: float = 0.95
    gain: float | None = None
    low: float | None = None
    high: float | None = None
    detail: str = ""


@dataclass(frozen=True)
class Fingerprint:
    """A named digest, as manifests list them."""

    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Manifest:
    """Every input of a session by hash; frozen when the session starts.

    ``values`` is the content of the task's ``task.yaml``, whose file is
    ``definition``; ``frozen`` are the settings that may not change later.
    """

    session: str
    task: str
    fixed: tuple[Fingerprint, ...]
    baseline: tuple[Fingerprint, ...]
    brief: Fingerprint
    values: Mapping[str, Any]
    data: tuple[Fingerprint, ...]
    locked: tuple[Fingerprint, ...]
    environment: Fingerprint
    definition: Fingerprint
    frozen: Mapping[str, Any]
    config_sha256: str
    harness_sha256: str
    hardware: Mapping[str, Any]
    versions: Mapping[str, str] = field(default_factory=dict)
