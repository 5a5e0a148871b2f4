"""A task: what is researched, parsed once from its ``task.yaml``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from ratchet import files
from ratchet.errors import ConfigError, InputMissingError
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
    """A parsed and checked task; paths of files are relative to ``folder``."""

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
    if (task.visible_data or task.locked_data) and not task.prepare:
        raise ConfigError(f"{where}: prepare: the command that makes the data files is missing")
    names = [*task.mutable, *task.fixed, task.brief]
    for name in sorted({n for n in names if names.count(n) > 1}):
        raise ConfigError(f"{where}: the file {name} has two parts to play")
    return task


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
