"""One run before and after: its plan, its folder, its environment, its inputs.

Below a run's folder, ``work`` is the candidate's and ``evaluator`` the
evaluator's; the data to evaluate on lie in neither, the evaluator gets their
paths in the store.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ratchet import caches, container, surface
from ratchet.canonical import digest_bytes
from ratchet.codec import Frozen, field
from ratchet.declared_values import BY_ENVIRONMENT, Seeding
from ratchet.environment import package_paths
from ratchet.errors import InputMissingError
from ratchet.evaluation import Plausible
from ratchet.files import digest_file
from ratchet.interpreters import Interpreter
from ratchet.isolation import Box, Kind

# Folder of the data files, below the run's own.
DATA = "data"
# What runs import at their start if the task asks for it.
HOOKS = Path(__file__).resolve().parent / "hooks"
# What a run may see of the harness's own environment.  Everything else (tokens,
# proxies, user settings) stays out, so that runs are alike on every machine.
ALLOWED_VARIABLES = (
    "PATH",
    "LANG",
    "LC_ALL",
    "TZ",
    "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
    "NVIDIA_VISIBLE_DEVICES",
    "NVIDIA_DRIVER_CAPABILITIES",
)
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)

Data = Mapping[str, tuple[Path, str]]


class RunPlan(Frozen):
    """Everything needed to execute one run.

    ``sources`` (the candidate's own files) and ``fixed`` map paths below the
    run's folder to their content, ``data`` maps file names to (path, sha256).
    Exactly one of ``budget_seconds`` and ``budget_steps`` is set.

    With an ``evaluator`` (a command among whose words is a fixed file) the
    metric is computed by that, from ``evaluation_data`` and, if ``audit`` is
    set, from ``audit_data`` too; the run itself gets neither.  ``hidden`` names
    installed packages that the data are made from.  ``variables`` are the task's and the
    preset's, for run and evaluator.  ``environment_sha256`` is the digest of the lock whose
    packages a container's image must hold, and ``limits`` are the run's own, by the
    names of :mod:`ratchet.cgroups`.  ``python`` is the task's own interpreter, ``gpu_model``
    the GPU that runs must have to be compared.
    ``patterns`` find numbers in the log, ``seeding`` says how the run learns its seed, and
    ``mounts`` are folders elsewhere that it reads.
    """

    command: Sequence[str]
    sources: Mapping[str, bytes]
    fixed: Mapping[str, bytes]
    data: Data
    seed: int
    budget_seconds: float | None
    budget_steps: int | None
    timeout_seconds: float
    threads: int
    metric: str
    device: str = "cpu"
    evaluator: Sequence[str] = ()
    evaluation_data: Data = field(default_factory=dict)
    audit_data: Data = field(default_factory=dict)
    audit: bool = False
    plausible: Plausible | None = None
    isolation: str = Kind.NONE.value
    network: bool = False
    hidden: Sequence[str] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    environment_sha256: str = ""
    limits: Mapping[str, int] = field(default_factory=dict)
    python: Interpreter | None = None
    gpu_model: str | None = None
    patterns: Mapping[str, str] = field(default_factory=dict)
    seeding: Seeding = BY_ENVIRONMENT
    mounts: Sequence[caches.Mount] = ()

    @property
    def seed_hook(self) -> bool:
        """Whether seeds that the candidate writes down itself are moved."""
        return self.seeding.hook

    @property
    def words(self) -> list[str]:
        """The command with what tells it the seed."""
        return self.seeding.command(self.command, self.seed)


def mounts_data(kind: Kind) -> bool:
    """Whether runs see the store's own data, read-only, instead of copies."""
    return kind is Kind.BUBBLEWRAP or (kind is Kind.CONTAINER and container.mounted())


def lay_out(plan: RunPlan, work: Path, kind: Kind = Kind.NONE) -> None:
    """Fill a run's folder; everything but the candidate's own files read-only.

    Where data can be mounted they are not copied: an empty file takes their
    place.  A hard link would let a run that is root change the store.
    """
    _lay_out_fixed(plan, work)
    for name, content in seeded(plan).items():
        write(work / name, content)
    caches.lay_out(plan.mounts, work, kind)
    (work / DATA).mkdir(exist_ok=True)
    for name, (path, _) in plan.data.items():
        place = work / DATA / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if mounts_data(kind):
            place.touch()
        else:
            shutil.copyfile(path, place)
        place.chmod(0o444)


def seeded(plan: RunPlan) -> dict[str, bytes]:
    """The candidate's files, with the seed where the task has a constant for it."""
    found = dict(plan.sources)
    constant = plan.seeding.constant
    for name, content in plan.sources.items() if constant else ():
        text = content.decode("utf-8", errors="surrogateescape")
        new = surface.replaced(name, text, constant, plan.seed)
        if new is not None:
            found[name] = new.encode("utf-8", errors="surrogateescape")
    return found


def lay_out_evaluator(plan: RunPlan, folder: Path) -> None:
    """Fill the evaluator's folder: the fixed files, and nothing of the candidate's."""
    folder.mkdir()
    _lay_out_fixed(plan, folder)


def _lay_out_fixed(plan: RunPlan, folder: Path) -> None:
    for name, content in plan.fixed.items():
        write(folder / name, content)
        (folder / name).chmod(0o444)


def write(path: Path, content: bytes) -> None:
    """Write a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def box(plan: RunPlan, work: Path) -> Box:
    """What the run gets of the machine."""
    place = work.resolve()
    prefixes = plan.python.prefixes if plan.python else ()
    return Box(
        work=place,
        fixed=[*(place / name for name in plan.fixed), place / DATA],
        mounts={
            **{place / DATA / name: path.resolve() for name, (path, _) in plan.data.items()},
            **caches.mounted(plan.mounts, place),
        },
        readable=[
            *([HOOKS] if plan.seed_hook else []),
            *map(Path, prefixes),
            *caches.readable(plan.mounts),
        ],
        hidden=package_paths(plan.hidden, prefixes),
        network=plan.network,
        gpu=plan.device == "gpu",
    )


def environment(plan: RunPlan, work: Path, kind: Kind = Kind.NONE) -> dict[str, str]:
    """The whole environment of a run: an allow-list and what the harness sets."""
    place, apart = work.resolve(), kind is Kind.CONTAINER
    if apart:
        place = container.inside(place)
    found = {
        # The machine's own places mean nothing there; the image has its own.
        **_common(plan, place, () if apart else ALLOWED_VARIABLES),
        "RATCHET_SEED": str(plan.seed),
        "RATCHET_DATA": str(place / DATA),
        **plan.seeding.variables(plan.seed),
    }
    if plan.budget_steps is not None:
        found["RATCHET_BUDGET_STEPS"] = str(plan.budget_steps)
    else:
        found["RATCHET_BUDGET_SECONDS"] = str(plan.budget_seconds)
    if plan.seed_hook and not apart:
        found["PYTHONPATH"] = str(HOOKS)
    if kind is Kind.LANDLOCK:
        # The machine's own /tmp is closed.
        found["TMPDIR"] = str(place)
    return found


def evaluator_environment(plan: RunPlan, folder: Path) -> dict[str, str]:
    """The evaluator's: where the data are, and how long it may wait for a reply."""
    read = {"data": plan.evaluation_data, "audit": plan.audit_data if plan.audit else {}}
    told = {
        key: {name: str(path.resolve()) for name, (path, _) in data.items()}
        for key, data in read.items()
    }
    order = json.dumps({**told, "reply_seconds": plan.timeout_seconds})
    return {**_common(plan, folder.resolve()), "RATCHET_EVALUATION": order}


def _common(
    plan: RunPlan, folder: Path, inherited: Sequence[str] = ALLOWED_VARIABLES
) -> dict[str, str]:
    allowed = {name: os.environ[name] for name in inherited if name in os.environ}
    return {
        **allowed,
        **plan.variables,
        **dict.fromkeys(THREAD_VARIABLES, str(plan.threads)),
        "HOME": str(folder),
        "PYTHONHASHSEED": "0",
        "PYTHONNOUSERSITE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    }


def resolve(command: Sequence[str], python: Interpreter | None = None) -> list[str]:
    """``python`` in a task's command is the task's own interpreter, or the harness's."""
    program = python.executable if python else sys.executable
    return [program if word == "python" else word for word in command]


def changed(plan: RunPlan, work: Path, evaluator: Path, kind: Kind) -> str | None:
    """Name of a fixed file or data file that is not what it was before the run."""
    fixed = {name: (len(text), digest_bytes(text)) for name, text in plan.fixed.items()}
    expected = {work / name: whole for name, whole in fixed.items()}
    if plan.evaluator:
        expected |= {evaluator / name: whole for name, whole in fixed.items()}
    if not mounts_data(kind):
        expected |= {
            work / DATA / name: (path.stat().st_size, sha)
            for name, (path, sha) in plan.data.items()
        }
    for path, (size, sha) in expected.items():
        # What a run left there may be a pipe, a device or endless; none is read.
        with contextlib.suppress(OSError, InputMissingError):
            found = path.lstat()
            whole = stat.S_ISREG(found.st_mode) and found.st_size == size
            if whole and digest_file(path) == sha:
                continue
        return str(path.relative_to(work if path.is_relative_to(work) else evaluator))
    return None
