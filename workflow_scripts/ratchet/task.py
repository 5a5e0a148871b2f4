"""A task: what is researched, parsed once from its ``task.yaml``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from ratchet import files, presets
from ratchet.errors import ConfigError, InputMissingError
from ratchet.evaluation import Plausible
from ratchet.presets import Preset
from ratchet.records import Direction

DEFINITION = "task.yaml"


@dataclass(frozen=True)
class Metric:
    """The one number that decides."""

    name: str
    direction: Direction
    unit: str = ""


@dataclass(frozen=True)
class Change:
    """An entry of the search space.

    Either a constant with the values to try, or a code alternative: the text
    ``find``, which must occur exactly once, is replaced.
    """

    name: str
    category: str
    why: str
    values: Sequence[Any] = ()
    find: str = ""
    replace: str = ""

    @property
    def is_constant(self) -> bool:
        return bool(self.values)


@dataclass(frozen=True)
class Task:
    """A parsed and checked task; paths of files are relative to ``folder``.

    ``evaluator`` is the command of the trusted evaluator, which alone gets
    ``evaluation_data``, and ``locked_data`` when a champion is audited.
    ``hidden`` names installed packages that runs may not read, since the data
    are made from them.  ``python`` is the environment, or the interpreter, that runs its
    commands if that is not the harness's.
    """

    name: str
    folder: Path
    description: str
    mutable: Sequence[str]
    fixed: Sequence[str]
    brief: str
    prepare: Sequence[str]
    command: Sequence[str]
    environment: Path
    visible_data: Sequence[str]
    locked_data: Sequence[str]
    device: str
    threads: int
    budget_seconds: float | None
    budget_steps: int | None
    timeout_seconds: float
    metric: Metric
    memory_name: str | None
    memory_megabytes: float
    values: Mapping[str, Any]
    search_space: Sequence[Change] = field(default_factory=tuple)
    evaluator: Sequence[str] = ()
    evaluation_data: Sequence[str] = ()
    plausible: Plausible | None = None
    network: bool = False
    hidden: Sequence[str] = ()
    seed_hook: bool = False
    presets: Sequence[Preset] = ()
    limits: Mapping[str, int] = field(default_factory=dict)
    python: Path | None = None

    @property
    def data_names(self) -> tuple[str, ...]:
        """All files that the preparation makes, in a fixed order."""
        return (*self.visible_data, *self.evaluation_data, *self.locked_data)

    @property
    def printed(self) -> tuple[str, ...]:
        """Printed names, other than the metric's, that decisions rest on."""
        tokens = self.plausible.tokens if self.plausible else None
        return tuple(name for name in (self.memory_name, tokens) if name)

    @property
    def definition(self) -> Path:
        return self.folder / DEFINITION

    def memory_mb(self, metrics: Mapping[str, float | None]) -> float | None:
        """Peak memory that a run reported, in MiB; ``None`` if it did not."""
        value = metrics.get(self.memory_name) if self.memory_name else None
        return None if value is None else value * self.memory_megabytes


def load(folder: Path, harness: Path) -> Task:
    """Parse and check the task in ``folder``.

    ``harness`` is the folder of the Snakefile, below which the environment's
    lock lies.  Raises :class:`ConfigError` or :class:`InputMissingError` that
    names the file and the key.
    """
    path = folder / DEFINITION
    if not path.is_file():
        raise InputMissingError(
            f"{folder}: holds no {DEFINITION}; set `task` to the folder of a task, "
            "such as tasks/bytelm"
        )
    task = parse(files.read_bytes(path), folder, harness, str(path))
    _check_files(task)
    return task


def parse(content: bytes, folder: Path, harness: Path, where: str) -> Task:
    """Parse the content of a ``task.yaml`` without looking at other files."""
    from ratchet import schema  # YAML is slow to import; most stages read the manifest

    data = schema.parse_yaml(content, where)
    packaged = resources.files("ratchet").joinpath("task.schema.yaml").read_bytes()
    schema.check(data, schema.parse_yaml(packaged, "task.schema.yaml"), where)
    task = build(data, folder, harness)
    if (task.budget_seconds is None) == (task.budget_steps is None):
        raise ConfigError(f"{where}: budget: give either seconds or steps, and not both")
    if task.data_names and not task.prepare:
        raise ConfigError(f"{where}: prepare: the command that makes the data files is missing")
    names = [*task.mutable, *task.fixed, task.brief]
    for name in _repeated(names) or _repeated(task.data_names):
        raise ConfigError(f"{where}: the file {name} has two parts to play")
    _check_evaluation(task, where)
    return task


def _repeated(names: Sequence[str]) -> list[str]:
    return sorted({name for name in names if names.count(name) > 1})


def _check_evaluation(task: Task, where: str) -> None:
    """The evaluator and what belongs to it go together."""
    if task.evaluator:
        if not set(task.evaluator) & set(task.fixed):
            raise ConfigError(
                f"{where}: evaluator: expected a command with one of the fixed files "
                f"({', '.join(task.fixed)}), found {' '.join(task.evaluator)}"
            )
        if not task.evaluation_data:
            raise ConfigError(f"{where}: data.evaluation: the evaluator needs at least one file")
        return
    for key, given in (("data.evaluation", task.evaluation_data), ("plausible", task.plausible)):
        if given:
            raise ConfigError(f"{where}: {key}: works only with an `evaluator`, which is missing")


def build(data: Mapping[str, Any], folder: Path, harness: Path) -> Task:
    """The task that checked values describe."""
    memory = data.get("memory", {})
    named = data.get("data", {})
    metric = data["metric"]
    return Task(
        name=data["name"],
        folder=folder,
        description=data.get("description", ""),
        mutable=tuple(data["mutable"]),
        fixed=tuple(data["fixed"]),
        brief=data["brief"],
        prepare=tuple(data.get("prepare", ())),
        command=tuple(data["command"]),
        environment=harness / data["environment"],
        visible_data=tuple(named.get("visible", ())),
        locked_data=tuple(named.get("locked", ())),
        device=data.get("device", "cpu"),
        threads=data.get("threads", 1),
        budget_seconds=data["budget"].get("seconds"),
        budget_steps=data["budget"].get("steps"),
        timeout_seconds=data["timeout_seconds"],
        metric=Metric(metric["name"], Direction(metric["direction"]), metric.get("unit", "")),
        memory_name=memory.get("name"),
        memory_megabytes=memory.get("megabytes", 1.0),
        values=data,
        search_space=tuple(_change(entry) for entry in data.get("search_space", ())),
        evaluator=tuple(data.get("evaluator", ())),
        evaluation_data=tuple(named.get("evaluation", ())),
        plausible=Plausible(**data["plausible"]) if "plausible" in data else None,
        network=data.get("network", False),
        hidden=tuple(data.get("hidden", ())),
        seed_hook=data.get("seed", "environment") == "hook",
        limits=data.get("limits", {}),
        python=harness / Path(data["python"]).expanduser() if "python" in data else None,
        presets=presets.parse(data.get("presets", {}), str(folder / DEFINITION)),
    )


def _change(entry: Mapping[str, Any]) -> Change:
    return Change(
        name=entry.get("constant") or entry["alternative"],
        category=entry["category"],
        why=entry["why"],
        values=tuple(entry.get("values", ())),
        find=entry.get("find", ""),
        replace=entry.get("replace", ""),
    )


def _check_files(task: Task) -> None:
    for name in (*task.mutable, *task.fixed, task.brief):
        if not (task.folder / name).is_file():
            raise InputMissingError(
                f"{task.definition}: names the file {name}, which is not in {task.folder}"
            )
    if not task.environment.is_file():
        raise InputMissingError(
            f"{task.definition}: environment: the lock {task.environment} does not exist"
        )
