"""Records of a session: the types of its small JSON files, and the words in them.

Records are frozen structs; :mod:`ratchet.base.structs` takes them to and from JSON.  A
missing measurement is ``None``, never ``0.0``, and no record holds a time of day, so
that equal sessions have equal bytes.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from ratchet.base.io import Fingerprint, digest
from ratchet.base.structs import Frozen, field

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

    @property
    def better(self) -> str:
        """Which values are better: ``lower`` or ``higher``."""
        return "lower" if self is Direction.MINIMIZE else "higher"


class Outcome(enum.StrEnum):
    """Ending of one run."""

    OK = "ok"
    CRASH = "crash"
    IMPORT_ERROR = "import_error"
    ASSERTION = "assertion"
    TIMEOUT = "timeout"
    OOM_DEVICE = "oom_device"
    OOM_HOST = "oom_host"
    OOM_EVALUATION = "oom_evaluation"
    KILLED = "killed"
    DIVERGED = "diverged"
    NO_METRIC = "no_metric"
    TAMPERED = "tampered"
    GUARD_FAILED = "guard_failed"
    CONTENDED = "contended"

    @classmethod
    def _missing_(cls, value: object) -> Outcome | None:
        """That of a record that was made when a run which diverged was called ``nan``."""
        return cls.DIVERGED if value == "nan" else None


class Verdict(enum.StrEnum):
    """Verdict of the judge on one experiment."""

    STRONG_KEEP = "STRONG_KEEP"
    KEEP = "KEEP"
    MARGINAL = "MARGINAL"
    RETEST = "RETEST"
    DISCARD = "DISCARD"
    CRASH = "CRASH"
    TAMPERED = "TAMPERED"
    GUARD_FAILED = "GUARD_FAILED"

    @property
    def is_keep(self) -> bool:
        """Whether the candidate becomes the incumbent."""
        return self in (Verdict.STRONG_KEEP, Verdict.KEEP)

    @property
    def status(self) -> Status:
        """The word for it in ``results.tsv``."""
        if self.is_keep:
            return Status.KEEP
        return Status.CRASH if self.is_failure else Status.DISCARD

    @property
    def is_failure(self) -> bool:
        """Whether there is no valid measurement."""
        return self in (Verdict.CRASH, Verdict.TAMPERED, Verdict.GUARD_FAILED)


class Status(enum.StrEnum):
    """Karpathy's three words for an experiment."""

    KEEP = "keep"
    DISCARD = "discard"
    CRASH = "crash"


class Standing(enum.StrEnum):
    """What fresh runs say of a kept change."""

    CERTIFIED = "certified"
    UNCERTIFIED = "uncertified"
    PASSENGER = "passenger"


class StopReason(enum.StrEnum):
    """Why a session did not go on to its next experiment."""

    TARGET = "target"
    DEADLINE = "deadline"
    MAX_RUNS = "max_runs"
    EXHAUSTED = "exhausted"
    AGENT_FAILURES = "agent_failures"
    AGENT_BUDGET = "agent_budget"
    AGENT_UNUSABLE = "agent_unusable"


class Role(enum.StrEnum):
    """Purpose of a run; the seeds of two roles never meet."""

    SEARCH = "search"
    CONFIRM = "confirm"
    CERTIFY = "certify"
    REMEASURE = "remeasure"
    RERUN = "rerun"
    TRANSFER = "transfer"
    GUARD = "guard"


def run_seed(session_seed: int, source: str, role: Role, replicate: int, secret: str = "") -> int:
    """Seed in [1, 2**31) of one replicate of one source.

    With a ``secret`` nobody who does not know it can choose comments until a seed suits.

    Every seeding function in use (``numpy``, ``torch``, ``random``, C ``int``)
    accepts that range.  Equal code gets equal seeds, so that it is never trained twice;
    different code gets different ones, so that no lucky seed favours every candidate.
    In the roles :attr:`Role.RERUN` and :attr:`Role.TRANSFER`, where nothing is selected, the
    source does not enter: both sides of a comparison have the same seeds.
    """
    if role in (Role.RERUN, Role.TRANSFER):
        source = ""
    drawn = _drawn(session_seed, source, role, replicate, secret)
    return 1 + int(drawn[:15], 16) % (2**31 - 1)


def evaluation_draws(
    session_seed: int, source: str, role: Role, replicate: int, secret: str = ""
) -> str:
    """Hexadecimal number from which an evaluator draws the order of its questions.

    The last digits of a metric can depend on that order, since matrix products of many rows
    round each row by its place; so a repeated run has to be asked in the same one.  Nobody
    who does not know the ``secret`` can tell it from the run's seed.
    """
    return digest(["evaluation", _drawn(session_seed, source, role, replicate, secret)])


def _drawn(session_seed: int, source: str, role: Role, replicate: int, secret: str) -> str:
    parts = {"seed": session_seed, "source": source, "role": role, "replicate": replicate}
    return digest({**parts, "secret": secret} if secret else parts)


def stream_seed(session_seed: int, purpose: str, *parts: int | str) -> int:
    """Seed of one random stream of the harness itself (steering, proposing)."""
    return int(digest([session_seed, purpose, *parts])[:15], 16)


class RunSummary(Frozen):
    """The part of one finished run that decisions may rest on.

    ``value`` is the metric as the task prints it, in the metric's own unit and
    direction; ``memory_mb`` is what the task reports, not what was sampled.
    ``audit`` is the metric on the locked data, where a run was measured on them.
    ``set_aside`` are the keys of the same run's earlier attempts, which a busy machine or
    a shared GPU spoilt; ``slowed`` says that the machine was busy for the last one too.
    ``probe_seconds`` is how long it then took over a fixed piece of work.  ``tries`` are 2
    where something else had ended a first one with the same seed.  ``diverged`` says where the
    training loss went astray; of a run that ended well it decides nothing.
    """

    key: str
    seed: int
    outcome: Outcome
    reason: str
    value: float | None
    memory_mb: float | None
    audit: float | None = None
    set_aside: tuple[str, ...] = ()
    slowed: str = ""
    probe_seconds: float | None = None
    tries: int = 1
    diverged: str = ""

    OPTIONAL: ClassVar[tuple[str, ...]] = ("diverged",)

    def is_of_another_pace(self, other: RunSummary) -> bool:
        """Whether the machine was so much faster or slower that two runs cannot be compared."""
        mine, theirs = self.probe_seconds, other.probe_seconds
        if mine is None or theirs is None:
            return False
        return max(mine, theirs) > OTHER_PACE * min(mine, theirs)


OTHER_PACE = 1.15
"""Factor between the probes of two runs that are not compared.  Two probes differ by 3 %
(sd) on a quiet machine, and by more than this where another program began in between."""


class Ruling(Frozen):
    """The verdict on one experiment with everything it rests on.

    ``delta`` is mean minus incumbent in the metric's own direction and unit;
    ``gain`` is the posterior expectation of the true improvement (positive is
    better, whatever the direction).  ``confidence`` is the probability that decides:
    that the improvement exceeds ``price``, which is 0 for most changes.

    ``price`` is in the metric's unit: above 0 for the ``net_lines`` of code and the
    memory that it adds (``memory_ratio`` is candidate over incumbent), below 0 for
    what it saves.
    ``changes`` counts the constants and definitions that the edit touches: with
    more than one, the effect cannot be attributed to any.
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
    changes: int | None = None
    memory_ratio: float | None = None
    pareto: str | None = None
    pareto_low: float | None = None
    pareto_high: float | None = None
    near_miss: bool = False
    quarantined: bool = False
    notes: tuple[str, ...] = ()


def chance_name(price: float | None) -> str:
    """Name, in sentences, of the probability that decides about a change of this price.

    ``P(better)``, as in all tables, unless the change had to exceed something else than 0.
    """
    return "P(worth its price)" if price else "P(better)"


class Remeasurement(Frozen):
    """A further run of the incumbent, to see whether it is still what it was.

    With ``anew`` the machine has become busy, or quiet again, since it was measured: the
    run replaces what was believed, and is no surprise.

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
    anew: bool = False


class RoundVerdict(Frozen):
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


def incumbent_runs(verdict: RoundVerdict) -> tuple[RunSummary, ...]:
    """Every further run of the incumbent that a round made."""
    check = (verdict.remeasured.run,) if verdict.remeasured else ()
    return (*check, *verdict.incumbent_runs)


def mean_memory(runs: Sequence[RunSummary]) -> float | None:
    """Mean of the memory that runs reported, in MiB."""
    known = [run.memory_mb for run in runs if run.memory_mb is not None]
    return sum(known) / len(known) if known else None


class SuggestionKind(enum.StrEnum):
    """Kind of a suggestion."""

    EDIT = "edit"
    ANGLE = "angle"
    COMBINE = "combine"
    RETEST = "retest"


class Suggestion(Frozen):
    """One thing to do; ``experiments`` are the numbers that it rests on."""

    kind: SuggestionKind
    category: str
    title: str
    evidence: str
    experiments: tuple[int, ...] = ()
    angles: tuple[str, ...] = ()


class Baseline(Frozen):
    """The replicates of the unchanged source."""

    source: str
    files: Mapping[str, str]
    commit: str
    runs: tuple[RunSummary, ...]


class Experiment(Frozen):
    """One proposal with all runs that the judge wanted of it, or why it was not run.

    ``refused`` says what in its edit would bend the measurement, or that it is
    ``unreadable`` and what makes it so; ``notes`` are findings in edit and runs that
    decide nothing.  Where the task's guard failed, that is the only one of its ``runs``.
    ``quarantined`` marks a first run too good to be believed without
    another.  ``check`` is the round's regular run of
    the incumbent, the same one for all its candidates; ``incumbent_runs`` are those
    that testing this candidate took.
    """

    round: int
    candidate: int
    runs: tuple[RunSummary, ...] = ()
    stop: StopReason | None = None
    detail: str = ""
    refused: str = ""
    unreadable: bool = False
    notes: tuple[str, ...] = ()
    quarantined: bool = False
    check: RunSummary | None = None
    incumbent_runs: tuple[RunSummary, ...] = ()

    @property
    def executed(self) -> bool:
        """Whether it was run or refused, so that there is something to judge."""
        return bool(self.runs or self.refused)


class SessionState(Frozen):
    """State that the next round starts from; one per round, written by steer.

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

    ``measured`` is the mean of the runs that it was kept for, as in ``results.tsv``;
    ``mean`` and ``sd`` are the judge's posterior for its true metric.  All are in the
    metric's own unit and direction.
    """

    number: int
    source: str
    files: Mapping[str, str]
    commit: str
    measured: float
    mean: float
    sd: float
    memory_mb: float | None
    kept: int


class Contribution(Frozen):
    """What a kept change adds to the champion, by fresh runs.

    ``gain`` is its mean, ``low`` and ``high`` bound it with a probability of .9, and
    ``confidence`` is that of its being above 0.
    """

    number: int
    gain: float
    low: float
    high: float
    confidence: float
    standing: Standing = Standing.UNCERTIFIED


class Variant(Frozen):
    """The champion without some of the kept changes, which are named by their numbers."""

    left_out: tuple[int, ...]
    files: Mapping[str, str]


class KeptChange(Frozen):
    """A kept change, and the earlier ones that it cannot stand without."""

    number: int
    needs: tuple[int, ...]


class CertificationPlan(Frozen):
    """Variants of the champion to be run; none where it has less than two changes."""

    source: str
    changes: tuple[KeptChange, ...] = ()
    variants: tuple[Variant, ...] = ()


class CertificationRun(Frozen):
    """One run of a variant; none beyond the plan, or where it was too ``late`` for it.

    ``source`` is the search's champion.
    """

    source: str
    left_out: tuple[int, ...] = ()
    run: RunSummary | None = None
    late: bool = False

    OPTIONAL: ClassVar[tuple[str, ...]] = ("late",)


class Certification(Frozen):
    """The champion without its passengers, and the runs that name them.

    ``runs`` end with one of the smaller champion, if any change was ``removed``.
    ``late``: there was no time for that one.
    """

    source: str
    champion: Incumbent
    changes: tuple[KeptChange, ...] = ()
    runs: tuple[CertificationRun, ...] = ()
    removed: tuple[int, ...] = ()
    detail: str = ""
    late: bool = False

    OPTIONAL: ClassVar[tuple[str, ...]] = ("late",)


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

    ``gain`` is that on the data of the search, positive when the champion is better;
    ``low`` and ``high`` bound it at ``level``.  ``None`` where nothing was kept or a run
    failed.  The ``audit_…`` values say the same of the locked data, which the search
    never saw, and decide (:mod:`ratchet.records.confirmed`); ``None`` where the task has
    none.  ``carries_over`` tells whether as much of the gain shows there as chance allows,
    ``carry_chance`` the probability of so little by chance; ``None`` where that cannot be
    told.  ``contributions`` are those of all kept changes, by these runs and those of the
    certification.
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
    carries_over: bool | None = None
    carry_chance: float | None = None
    contributions: tuple[Contribution, ...] = ()


class Scale(Frozen):
    """Budget, time limit and preset of runs at another scale than the search's.

    ``ratio`` is its budget over the search's; ``None`` where one is in seconds and the other
    in steps.  ``preset`` is empty where it is the session's own.
    """

    budget_seconds: float | None
    budget_steps: int | None
    timeout_seconds: float
    ratio: float | None
    preset: str = ""


class TransferPlan(Frozen):
    """What is to be run at another scale; nothing without a champion, or for a ``detail``.

    ``source`` is the digest of the champion's files as they were confirmed, ``confirmation``
    that of the record of it.  ``baseline`` and ``champion_files`` are the files that are run:
    the same, but for the constants that the preset sets.  ``kept_constants`` are those of the
    preset that the champion's own edits have changed, and that stay as they are.
    ``manifest`` is the session's, with what the other scale changes of it.
    """

    champion: int
    source: str
    confirmation: str
    scale: Scale
    baseline: Mapping[str, str] = field(default_factory=dict)
    champion_files: Mapping[str, str] = field(default_factory=dict)
    kept_constants: tuple[str, ...] = ()
    manifest: Manifest | None = None
    detail: str = ""


class Transfer(Frozen):
    """Champion and baseline compared at another scale, beside their confirmation.

    ``measured`` holds the runs and gains at that scale as a confirmation does, and is not
    tested for what carries over.  ``reference`` is the gain that the confirmation found at
    the search's scale, on the data that decide; ``confirmation`` is the digest of its record.
    What it says is in :mod:`ratchet.records.transferred`.
    """

    confirmation: str
    scale: Scale
    measured: Confirmation
    reference: float | None = None
    kept_constants: tuple[str, ...] = ()


class TaskPython(Frozen):
    """Frozen facts of the interpreter that a task's own commands run in.

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


class Checkout(Frozen):
    """A checkout as a session found it at its start: its commit, and what differed from it.

    ``changed`` are tracked files, by their paths in the repository; one that was deleted has an
    empty digest.
    """

    commit: str
    changed: tuple[Fingerprint, ...] = ()


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
    ``python`` the task's own interpreter, where it has one, or no ``environment``, a lock, says
    what the harness's has.  ``origin`` is the commit
    that the task's files are from, ``caches`` are folders elsewhere that its runs read.
    ``start`` is the champion that ``baseline`` is, where it is not the task's own files.
    ``seed_secret_sha256`` is the digest of what the seeds of runs are drawn with, and empty
    where they are drawn without a secret.  ``remembered`` are findings of other sessions,
    each by the session's name.  ``allowed`` is the lock of the packages that candidates may
    import beside the task's ``environment``.  ``machine`` names the machine on which the session
    was started, for readers; ``hardware`` is the class that runs must have.  ``checkout`` is the
    user's own that the task lies in, where it lies in one.
    """

    session: str
    task: str
    fixed: tuple[Fingerprint, ...]
    baseline: tuple[Fingerprint, ...]
    brief: Fingerprint
    values: Mapping[str, Any]
    data: tuple[Fingerprint, ...]
    locked: tuple[Fingerprint, ...]
    environment: Fingerprint | None
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
    start: Start | None = None
    seed_secret_sha256: str = ""
    remembered: tuple[Fingerprint, ...] = ()
    allowed: Fingerprint | None = None
    machine: Mapping[str, Any] = field(default_factory=dict)
    checkout: Checkout | None = None

    OPTIONAL: ClassVar[tuple[str, ...]] = ("allowed", "machine", "checkout")


class Start(Frozen):
    """Where a session goes on from: an experiment of another one, its files by digest."""

    session: str
    number: int
    files: Mapping[str, str]


class Preset(Frozen):
    """One size of a task.

    ``constants`` are values of top-level constants of the mutable files,
    ``environment`` variables of preparation, runs and evaluator.  ``budget`` is what
    each run may spend instead of the task's budget, ``seconds`` or ``steps``, if
    anything.  It is meant for devices with at least ``min_memory_gb`` (1e9 bytes each),
    and for another ``device`` than the task's if it names one.
    """

    name: str
    description: str = ""
    min_memory_gb: float = 0.0
    constants: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    budget: Mapping[str, float] = field(default_factory=dict)
    device: str = ""


class PrefixScores(Frozen):
    """Metric of one evaluation on whole windows, and where the rest had not been sent.

    ``whole`` is the mean over whole windows, ``cut`` that of each group of windows that
    were shown up to the prediction only, ``groups`` how many groups of that size the whole
    ones are.  Less is better, whatever the metric's direction.
    """

    whole: float
    groups: float
    cut: tuple[float, ...]


class Evaluation(Frozen):
    """The evaluator's result with what the harness measured.

    ``value`` is the metric at full precision, ``None`` if a prediction was not
    finite.  ``seconds`` is what the evaluation took, ``trained_…`` what the
    candidate had used when it asked, ``evaluating_cpu_seconds`` what it used
    from then on.  ``audit`` is the metric on the locked data, where they were
    read (``audit_tokens`` above 0), ``audit_parts`` that on equal consecutive parts of
    them, where the evaluator tells.  ``checks`` are what the evaluator tested.
    ``usual_cpu_seconds`` is in records of older versions.  ``prefixes`` and
    ``audit_prefixes`` are there where the evaluator asks for prefixes.
    """

    value: float | None
    tokens: int
    batches: int
    seconds: float
    reply_seconds: float
    trained_cpu_seconds: float
    trained_wall_seconds: float
    evaluating_cpu_seconds: float
    audit: float | None = None
    audit_tokens: int = 0
    audit_parts: tuple[float, ...] = ()
    checks: Mapping[str, float | None] = field(default_factory=dict)
    usual_cpu_seconds: float | None = None
    prefixes: PrefixScores | None = None
    audit_prefixes: PrefixScores | None = None

    @property
    def share_of_search(self) -> float:
        """Part of its questions that the search asks too; the rest are on the locked data."""
        return self.tokens / max(self.tokens + self.audit_tokens, 1)


class Pace(Frozen):
    """Speed of the machine around one run with a budget in seconds.

    ``probe_seconds`` is the wall-clock time of a fixed piece of work, the mean of before
    and after the run, ``probe_cpu_seconds`` the processor time that it got.  ``waited`` is
    the share of the run in which something waited for a processor, ``foreign`` the number
    of processors that others used; ``None`` where the kernel does not tell.  ``clock_mhz``
    is the mean clock of the GPU, ``throttled`` why it was lowered, ``steps`` what the run
    itself printed.  ``slowed`` says what made the run slower than the session's usual when
    it was made; it is empty for nothing.
    """

    probe_seconds: float
    probe_cpu_seconds: float
    waited: float | None = None
    foreign: float | None = None
    clock_mhz: float | None = None
    throttled: tuple[str, ...] = ()
    steps: float | None = None
    slowed: str = ""
