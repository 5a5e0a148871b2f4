"""Specification of one training run: its parts, its key in the store, its place on the machine."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ratchet.base.structs import Frozen, field, to_json_values
from ratchet.records.store import run_key
from ratchet.runs.compile_cache import CompileCache
from ratchet.runs.devices import Lease
from ratchet.task.environment import CacheMount, Interpreter
from ratchet.task.task import BY_ENVIRONMENT, Seeding

BESIDE = frozenset(
    {
        *("isolation", "hidden", "packages", "python", "mounts", "lease"),
        *("evaluation_seconds", "draws", "curve", "compiled", "blank"),
    }
)
"""Fields of a run that say how a machine serves it, not what it computes."""


OPTIONAL = ("occasion", "guard", "renewal", "allowed_sha256")
"""Fields that enter the key of those runs alone that have them."""


class RunSpec(Frozen):
    """Specification of one run.

    Files are named by their paths below the run's folder and held by digest; their
    content is in the store.  Every field enters the key, but for those of
    :data:`BESIDE`, and of :data:`OPTIONAL` where there is none.

    ``sources`` are the candidate's own files.  Exactly one of ``budget_seconds`` and
    ``budget_steps`` is set.  ``attempt`` is above 0 where the run is made again because
    another program used its GPU or had the machine busy.  ``occasion`` names the one that
    the run is made for, where the store's runs of another time do not count.  ``renewal`` is
    above 0 where the machine may be to blame for the failures that the store has of the run.

    With an ``evaluator`` (a command among whose words is a fixed file) the metric is
    computed by that, from ``evaluation_data`` and ``audit_data``; the run itself gets
    neither.  ``variables`` are the task's and the preset's, for run and evaluator.
    ``patterns`` find numbers in the log; of the others those with ``names`` are read from
    what it prints after its evaluation, and ``counted`` ones are never below 0.
    ``seeding`` says how the run learns its seed,
    ``limits`` are those of its control group, and ``caches`` are digests of folders
    elsewhere that it reads.

    A ``guard`` measures nothing: its exit status says whether a candidate may be trained.

    ``environment_sha256`` is the digest of the lock with the packages,
    ``packages_sha256`` that of what the task's own interpreter has, where there is one, and
    ``allowed_sha256`` that of the lock of the packages that the task allows beside these.
    Runs on different ``hardware`` are not compared.

    ``isolation`` keeps the run apart, ``hidden`` names installed packages that the data
    are made from, ``packages`` those that it needs: where they are named it sees no others
    of this interpreter.  ``python`` and ``mounts`` are where interpreter and caches lie here,
    and ``lease`` is the device that the run has.
    ``evaluation_seconds`` is what the baseline's evaluation takes here: a model that knows it
    can train for as much less as its own takes longer.  ``draws`` is the hexadecimal number
    from which the evaluator draws the order of its questions, so that a repeated run is asked
    in the same one; without it the evaluator draws from the system's randomness.  ``curve`` is
    the task's pattern for lines of progress.

    ``compiled`` is what the run starts from, in a copy of its own, where its source was compiled
    before.  A warm-up, which fills that, has data files that are ``blank``: zeros in their place.
    """

    command: Sequence[str]
    sources: Mapping[str, str]
    fixed: Mapping[str, str]
    data: Mapping[str, str]
    seed: int
    budget_seconds: float | None
    budget_steps: int | None
    timeout_seconds: float
    threads: int
    metric: str
    attempt: int = 0
    occasion: str = ""
    guard: bool = False
    renewal: int = 0
    device: str = "cpu"
    evaluator: Sequence[str] = ()
    evaluation_data: Mapping[str, str] = field(default_factory=dict)
    audit_data: Mapping[str, str] = field(default_factory=dict)
    network: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, int] = field(default_factory=dict)
    patterns: Mapping[str, str] = field(default_factory=dict)
    names: Sequence[str] = ()
    counted: Sequence[str] = ()
    seeding: Seeding = BY_ENVIRONMENT
    caches: Mapping[str, str] = field(default_factory=dict)
    environment_sha256: str = ""
    packages_sha256: str = ""
    allowed_sha256: str = ""
    hardware: Mapping[str, Any] = field(default_factory=dict)
    isolation: str = "none"
    hidden: Sequence[str] = ()
    packages: Sequence[str] = ()
    python: Interpreter | None = None
    mounts: Sequence[CacheMount] = ()
    lease: Lease | None = None
    evaluation_seconds: float | None = None
    draws: str = ""
    curve: str = ""
    compiled: CompileCache | None = None
    blank: Sequence[str] = ()

    @property
    def inputs(self) -> dict[str, Any]:
        """Fields that the run's result may depend on, as JSON values; the key is their digest."""
        beside = BESIDE | {name for name in OPTIONAL if not getattr(self, name)}
        names = [name for name in self.__struct_fields__ if name not in beside]
        return {name: to_json_values(getattr(self, name)) for name in names}

    @property
    def key(self) -> str:
        """Digest of :attr:`inputs`."""
        return run_key(self.inputs)

    @property
    def words(self) -> list[str]:
        """The command with the word that tells it the seed."""
        return self.seeding.command(self.command, self.seed)


class Box(Frozen):
    """Places of one run: absolute, resolved paths.

    ``work`` is writable but for ``fixed``, files and folders in it.  ``mounts``
    maps places in ``work`` to read-only files elsewhere (where that is possible).
    ``readable`` is seen beside the environment; ``hidden`` is taken out again.
    """

    work: Path
    fixed: Sequence[Path] = ()
    mounts: Mapping[Path, Path] = field(default_factory=dict)
    readable: Sequence[Path] = ()
    hidden: Sequence[Path] = ()
    network: bool = False
    gpu: bool = False
