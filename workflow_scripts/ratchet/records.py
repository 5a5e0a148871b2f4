"""The vocabulary as types: what is written to a session's small JSON files.

Records are frozen structs; :mod:`ratchet.codec` takes them to and from
JSON.  A missing measurement is ``None``, never ``0.0``, and no record holds a
time of day, so that equal sessions have equal bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ratchet.advice import Suggestion
from ratchet.codec import Frozen, field
from ratchet.presets import Preset

# The words and all records are found here, wherever they are defined.
from ratchet.proposals import AgentCall as AgentCall
from ratchet.proposals import Edit as Edit
from ratchet.proposals import Proposal as Proposal
from ratchet.proposals import Proposals as Proposals
from ratchet.rulings import Remeasurement as Remeasurement
from ratchet.rulings import RoundVerdict as RoundVerdict
from ratchet.rulings import Ruling as Ruling
from ratchet.rulings import RunSummary as RunSummary
from ratchet.vocabulary import CATEGORIES as CATEGORIES
from ratchet.vocabulary import CallOutcome as CallOutcome
from ratchet.vocabulary import Direction as Direction
from ratchet.vocabulary import Outcome as Outcome
from ratchet.vocabulary import Status as Status
from ratchet.vocabulary import StopReason as StopReason
from ratchet.vocabulary import Verdict as Verdict


class Baseline(Frozen):
    """The replicates of the unchanged source."""

    source: str
    files: Mapping[str, str]
    commit: str
    runs: tuple[RunSummary, ...]


class Experiment(Frozen):
    """One proposal with all runs that the judge wanted of it, or why it was not run.

    ``refused`` says what in its edit would bend the measurement; ``notes`` are
    findings in edit and runs that decide nothing.  ``quarantined`` marks a first run
    too good to be believed without another.  ``check`` is the round's regular run of
    the incumbent, the same one for all its candidates; ``incumbent_runs`` are those
    that testing this candidate took.
    """

    round: int
    candidate: int
    runs: tuple[RunSummary, ...] = ()
    stop: StopReason | None = None
    detail: str = ""
    refused: str = ""
    notes: tuple[str, ...] = ()
    quarantined: bool = False
    check: RunSummary | None = None
    incumbent_runs: tuple[RunSummary, ...] = ()

    @property
    def executed(self) -> bool:
        """Whether it was run or refused, so that there is something to judge."""
        return bool(self.runs or self.refused)


class SessionState(Frozen):
    """What the next round starts from; one per round, written by steer.

    ``near_misses`` are the numbers of the experiments that wait to be tried
    again on a new incumbent, the one with the largest gain first.
    ``suggestions`` say what to try next and ``avoid`` what to leave alone;
    ``noise_sd`` is the noise floor as it is known by then.
    """

    round: int
    incumbent: Incumbent
    runs_used: int
    ranking: tuple[str, ...] = ()
    stop: StopReason | None = None
    detail: str = ""
    near_misses: tuple[int, ...] = ()
    suggestions: tuple[Suggestion, ...] = ()
    avoid: tuple[str, ...] = ()
    noise_sd: float | None = None


class Incumbent(Frozen):
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


class ConfirmationRun(Frozen):
    """One pair of runs with fresh seeds: the baseline's and the champion's.

    ``champion`` is the number of the experiment and ``source`` the digest of its
    files.  Where nothing was kept, nothing is run.
    """

    champion: int
    source: str
    baseline_run: RunSummary | None = None
    champion_run: RunSummary | None = None


class Confirmation(Frozen):
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


class Fingerprint(Frozen):
    """A named digest, as manifests list them."""

    path: str
    sha256: str
    bytes: int


class TaskPython(Frozen):
    """What a session froze of its task's own interpreter.

    ``deviations`` tell where it differs from the task's lock; there are some only
    if the configuration named the interpreter.
    """

    version: str
    packages_sha256: str
    deviations: tuple[str, ...] = ()


class Origin(Frozen):
    """The commit of somebody's repository that a task's files are from.

    ``repo`` is the path or address as it was given, ``commit`` a whole hash, and
    ``tree`` the hash of the folder of that commit which the task is in.
    """

    repo: str
    commit: str
    tree: str


class CacheFingerprint(Frozen):
    """A folder outside of the task that runs read, by names, sizes and digests of its files."""

    folder: str
    sha256: str
    files: int
    bytes: int


class Manifest(Frozen):
    """Every input of a session by hash; frozen when the session starts.

    ``values`` is the content of the task's ``task.yaml``, whose file is
    ``definition``; ``frozen`` are the settings that may not change later.
    ``preset`` is what was applied to the task before ``baseline`` was taken,
    ``python`` the task's own interpreter, where it has one.  ``origin`` is the commit
    that the task's files are from, ``caches`` are folders elsewhere that its runs read.
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
    preset: Preset | None = None
    python: TaskPython | None = None
    origin: Origin | None = None
    caches: tuple[CacheFingerprint, ...] = ()
