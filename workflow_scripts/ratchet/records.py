"""The vocabulary as types: what is written to a session's small JSON files.

Records are frozen dataclasses; :mod:`ratchet.codec` takes them to and from
JSON.  A missing measurement is ``None``, never ``0.0``, and no record holds a
time of day, so that equal sessions have equal bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# The words belong to the records: whoever reads records finds them here.
from ratchet.vocabulary import CATEGORIES as CATEGORIES
from ratchet.vocabulary import Direction as Direction
from ratchet.vocabulary import Outcome as Outcome
from ratchet.vocabulary import Status as Status
from ratchet.vocabulary import StopReason as StopReason
from ratchet.vocabulary import Verdict as Verdict


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
    and ``source`` is the digest of that mapping.  ``retry_of`` is the number
    of the near miss whose edit is tried again, on another incumbent.
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


@dataclass(frozen=True)
class Proposals:
    """What one round tries; without proposals it says why.

    Rounds after a session's end repeat the files of the one that ended it, so
    that ``round`` is the round that something was first written for.
    ``dropped`` are near misses whose edit means nothing to the new incumbent.
    """

    round: int
    proposals: tuple[Proposal, ...] = ()
    stop: StopReason | None = None
    detail: str = ""
    dropped: tuple[int, ...] = ()


@dataclass(frozen=True)
class RunSummary:
    """The part of one finished run that decisions may rest on.

    ``value`` is the metric as the task prints it, in the metric's own unit and
    direction; ``memory_mb`` is what the task reports, not what was sampled.
    ``audit`` is the metric on the locked data, where a run was measured on them.
    """

    key: str
    seed: int
    outcome: Outcome
    reason: str
    value: float | None
    memory_mb: float | None
    audit: float | None = None


@dataclass(frozen=True)
class Baseline:
    """The replicates of the unchanged source."""

    source: str
    files: Mapping[str, str]
    commit: str
    runs: tuple[RunSummary, ...]


@dataclass(frozen=True)
class Experiment:
    """One proposal's first run, or why it was not run.

    ``refused`` says what in its edit would bend the measurement; ``notes`` are
    findings in the edit that decide nothing.
    """

    round: int
    candidate: int
    run: RunSummary | None = None
    stop: StopReason | None = None
    detail: str = ""
    refused: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ruling:
    """The verdict on one experiment with everything it rests on.

    ``delta`` is mean minus incumbent in the metric's own direction and unit;
    ``gain`` and ``confidence`` are the posterior expectation of the true
    improvement (positive is better, whatever the direction) and the
    probability that there is one.

    ``price`` is the gain that the change had to exceed, in the metric's unit:
    above 0 for the ``net_lines`` of code and the memory that it adds
    (``memory_ratio`` is candidate over incumbent), below 0 for what it saves.
    ``pareto`` is EFFICIENT or DOMINATED among the configurations kept before,
    and ``pareto_low`` and ``pareto_high`` bound the probability that none of
    them is better without needing more memory.  ``near_miss`` marks a probable
    improvement that was not kept because another candidate of its round was.
    ``quarantined`` is one so large that a fresh run had to confirm it, and
    ``notes`` are findings in the edit that decide nothing.
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
    price: float | None = None
    net_lines: int | None = None
    memory_ratio: float | None = None
    pareto: str | None = None
    pareto_low: float | None = None
    pareto_high: float | None = None
    near_miss: bool = False
    quarantined: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Remeasurement:
    """A further run of the incumbent, to see whether it is still what it was.

    ``expected`` and ``sd`` are what the judge believed of its metric before,
    in the metric's own unit and direction; ``sd`` includes the noise of one
    run, at the upper end of its interval.  ``z`` is the surprise in such sds,
    ``None`` if the run failed.
    """

    number: int
    run: RunSummary
    expected: float
    sd: float
    z: float | None = None
    alarm: bool = False


@dataclass(frozen=True)
class RoundVerdict:
    """The rulings of one round, the noise floor and what is known after it.

    ``kept`` is the number of the kept experiment; ``incumbent_mean`` and
    ``incumbent_sd`` are the judge's posterior for the incumbent's true metric
    after the round.  ``remeasured`` is the check of the incumbent before the
    round, ``incumbent_runs`` are those that the judge asked for in it.

    Sums over the session up to here: ``credit_used``, what simplifications
    were allowed to cost in the metric's unit; ``expected_false_keeps``; and
    ``error_spent``, the part of the bound on false keeps that tests have used
    up (``None`` in a mode without such a bound).
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
    remeasured: Remeasurement | None = None
    incumbent_runs: tuple[RunSummary, ...] = ()
    credit_used: float = 0.0
    expected_false_keeps: float | None = None
    error_spent: float | None = None


@dataclass(frozen=True)
class SessionState:
    """What the next round starts from; one per round, written by steer.

    ``near_misses`` are the numbers of the experiments that wait to be tried
    again on a new incumbent, the one with the largest gain first.
    """

    round: int
    incumbent: Incumbent
    runs_used: int
    ranking: tuple[str, ...] = ()
    stop: StopReason | None = None
    detail: str = ""
    near_misses: tuple[int, ...] = ()


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
    The ``audit_…`` values say the same of the locked data, which the search
    never saw; ``None`` where the task has none.
    """

    champion: int
    baseline_runs: tuple[RunSummary, ...] = ()
    champion_runs: tuple[RunSummary, ...] = ()
    level: float = 0.95
    gain: float | None = None
    low: float | None = None
    high: float | None = None
    detail: str = ""
    audit_gain: float | None = None
    audit_low: float | None = None
    audit_high: float | None = None


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
    evaluation: tuple[Fingerprint, ...] = ()
