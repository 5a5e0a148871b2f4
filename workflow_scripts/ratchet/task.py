"""A task: what is researched, parsed once from its ``task.yaml``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from ratchet import declared_values, files, patterns, presets
from ratchet.codec import Frozen, field, replace
from ratchet.constraints import MEASURED, Constraint
from ratchet.declared_values import BY_ENVIRONMENT, Cache, Seeding
from ratchet.declared_values import Change as Change
from ratchet.declared_values import Metric as Metric
from ratchet.errors import ConfigError, InputMissingError
from ratchet.evaluation import Plausible
from ratchet.presets import Preset
from ratchet.records import Direction, Origin

DEFINITION = "task.yaml"


class Task(Frozen):
    """A parsed and checked task; paths of files are relative to ``folder``.

    ``evaluator`` is the command of the trusted evaluator, which alone gets
    ``evaluation_data``, and ``locked_data`` when a champion is audited.
    ``hidden`` names installed packages that runs may not read, since the data
    are made from them.  ``python`` is the environment, or the interpreter, that runs its
    commands if that is not the harness's.

    ``patterns`` find printed numbers in the log, by name.  ``target`` ends a session that
    reaches it, and what breaks one of ``constraints`` is not kept.  ``caches`` are folders
    that runs read, ``variables`` what they find in their environment.  A task whose files
    are from a repository has an ``origin``, a ``definition`` elsewhere and, if that
    repository is on this machine, a ``clone``.
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
    seeding: Seeding = BY_ENVIRONMENT
    presets: Sequence[Preset] = ()
    limits: Mapping[str, int] = field(default_factory=dict)
    python: Path | None = None
    patterns: Mapping[str, str] = field(default_factory=dict)
    target: float | None = None
    constraints: Sequence[Constraint] = ()
    caches: Sequence[Cache] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    budget_fixed: bool = False
    place: Path | None = None
    origin: Origin | None = None
    clone: Path | None = None

    def sized(self, preset: Preset | None) -> Task:
        """The same with the device and the budget of a preset, where that names them."""
        if preset is None:
            return self
        found = replace(self, device=preset.device or self.device)
        if not preset.budget:
            return found
        steps = preset.budget.get("steps")
        return replace(
            found,
            budget_seconds=preset.budget.get("seconds"),
            budget_steps=None if steps is None else int(steps),
        )

    @property
    def data_names(self) -> tuple[str, ...]:
        """All files that the preparation makes, in a fixed order."""
        return (*self.visible_data, *self.evaluation_data, *self.locked_data)

    @property
    def printed(self) -> tuple[str, ...]:
        """Printed names, other than the metric's, that decisions rest on."""
        tokens = self.plausible.tokens if self.plausible else None
        bounded = [c.name for c in self.constraints if c.name not in MEASURED]
        shown = [patterns.literal(pattern) for pattern in self.patterns.values()]
        names = [name for name in (self.memory_name, tokens, *bounded, *shown) if name]
        return tuple(dict.fromkeys(names))

    @property
    def definition(self) -> Path:
        """The file that says all this."""
        return self.place or self.folder / DEFINITION

    @property
    def fills_caches(self) -> bool:
        """Whether its preparation makes what is in its caches, and no data files."""
        return bool(self.prepare and self.caches and not self.data_names)

    @property
    def seed_hook(self) -> bool:
        """Whether seeds that the code writes down itself are moved."""
        return self.seeding.hook

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
    check_files(task)
    return task


def parse(content: bytes, folder: Path, harness: Path, where: str) -> Task:
    """Parse the content of a ``task.yaml`` without looking at other files."""
    task = build(values(content, where), folder, harness)
    check(task, where)
    return task


def values(content: bytes, where: str) -> dict[str, Any]:
    """The values in a ``task.yaml``, each one as the schema wants it."""
    from ratchet import schema  # YAML is slow to import; most stages read the manifest

    data: dict[str, Any] = schema.parse_yaml(content, where)
    packaged = resources.files("ratchet").joinpath("task.schema.yaml").read_bytes()
    schema.check(data, schema.parse_yaml(packaged, "task.schema.yaml"), where)
    return data


def check(task: Task, where: str) -> None:
    """Refuse what goes wrong together; raises :class:`ConfigError`."""
    if (task.budget_seconds is None) == (task.budget_steps is None):
        raise ConfigError(f"{where}: budget: give either seconds or steps, and not both")
    if task.data_names and not task.prepare:
        raise ConfigError(f"{where}: prepare: the command that makes the data files is missing")
    names = [*task.mutable, *task.fixed, task.brief]
    for name in _repeated(names) or _repeated(task.data_names):
        raise ConfigError(f"{where}: the file {name} has two parts to play")
    _check_evaluation(task, where)
    declared_values.check(task.values, where)


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


def build(
    data: Mapping[str, Any],
    folder: Path,
    harness: Path,
    place: Path | None = None,
    origin: Origin | None = None,
    clone: Path | None = None,
) -> Task:
    """The task that checked values describe; ``place`` is where they were read.

    With an ``origin`` the files in ``folder`` are a repository's, and paths that begin
    in the harness otherwise begin there.
    """
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
        environment=_first(data["environment"], folder, place, harness, origin),
        visible_data=tuple(named.get("visible", ())),
        locked_data=tuple(named.get("locked", ())),
        device=data.get("device", "cpu"),
        threads=data.get("threads", 1),
        budget_seconds=data["budget"].get("seconds"),
        budget_steps=data["budget"].get("steps"),
        timeout_seconds=data["timeout_seconds"],
        metric=Metric(
            metric["name"],
            Direction(metric["direction"]),
            metric.get("unit", ""),
            metric.get("pattern", ""),
        ),
        memory_name=memory.get("name"),
        memory_megabytes=memory.get("megabytes", 1.0),
        values=data,
        search_space=tuple(_change(entry) for entry in data.get("search_space", ())),
        evaluator=tuple(data.get("evaluator", ())),
        evaluation_data=tuple(named.get("evaluation", ())),
        plausible=Plausible(**data["plausible"]) if "plausible" in data else None,
        network=data.get("network", False),
        hidden=tuple(data.get("hidden", ())),
        seeding=Seeding.of(data.get("seed", "environment")),
        limits=data.get("limits", {}),
        python=(clone or harness) / Path(data["python"]).expanduser() if "python" in data else None,
        presets=presets.parse(data.get("presets", {}), str(place or folder / DEFINITION)),
        patterns=declared_values.patterns(data),
        target=data.get("target"),
        constraints=tuple(Constraint(**entry) for entry in data.get("constraints", ())),
        caches=tuple(Cache.of(entry) for entry in data.get("cache", ())),
        variables=data.get("variables", {}),
        budget_fixed=data["budget"].get("fixed", False),
        place=place,
        origin=origin,
        clone=clone,
    )


def _first(
    name: str, folder: Path, place: Path | None, harness: Path, origin: Origin | None
) -> Path:
    """The lock: a repository's own, or beside the definition, or else the harness's."""
    if origin is not None:
        for base in (folder, *([place.parent] if place else [])):
            if (base / name).is_file():
                return base / name
    return harness / name


def _change(entry: Mapping[str, Any]) -> Change:
    return Change(
        name=entry.get("constant") or entry["alternative"],
        category=entry["category"],
        why=entry["why"],
        values=tuple(entry.get("values", ())),
        find=entry.get("find", ""),
        replace=entry.get("replace", ""),
    )


def check_files(task: Task) -> None:
    """Raise :class:`InputMissingError` for a file that is named and is not there."""
    place = str(task.folder)
    if task.origin is not None:
        place = f"{task.origin.repo} at commit {task.origin.commit[:12]}"
    for name in (*task.mutable, *task.fixed, task.brief):
        if not (task.folder / name).is_file():
            raise InputMissingError(
                f"{task.definition}: names the file {name}, which is not in {place}"
            )
    if not task.environment.is_file():
        raise InputMissingError(
            f"{task.definition}: environment: the lock {task.environment} does not exist"
        )
