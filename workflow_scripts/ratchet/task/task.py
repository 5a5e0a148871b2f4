"""A task: what is researched, parsed once from its task.yaml."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from ratchet.base.errors import ConfigError, InputMissingError
from ratchet.base.io import read_bytes
from ratchet.base.structs import Frozen, field, replace
from ratchet.base.text import clean_lines
from ratchet.records.records import Direction, Origin, Preset

# --------------------------------------------------------------------
# What a task declares: its metric, what may be tried, how seeds reach the code, caches.
#
# Checked here for what a schema cannot say.


SEED = "{seed}"
# What the harness sets in every run itself; see ratchet.runs.run.
SET = frozenset(
    {"HOME", "PATH", "TMPDIR", "PYTHONPATH", "PYTHONHASHSEED", "PYTHONNOUSERSITE"}
    | {"PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "CUDA_VISIBLE_DEVICES"}
    | {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"}
    | {"VECLIB_MAXIMUM_THREADS"}
)


class Metric(Frozen):
    """The one number that decides; ``pattern`` finds it in the log, if a name does not."""

    name: str
    direction: Direction
    unit: str = ""
    pattern: str = ""


class DeclaredChange(Frozen):
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


class Seeding(Frozen):
    """How a run learns its seed.

    Always by ``RATCHET_SEED``.  With ``hook`` seeds that the code writes down itself are
    moved; ``variable`` names a further variable, ``argument`` is a further word of the
    command, and ``constant`` a value of a mutable file that is set in the run alone.
    """

    hook: bool = False
    variable: str = ""
    argument: str = ""
    constant: str = ""

    @classmethod
    def of(cls, value: str | Mapping[str, str]) -> Seeding:
        """From the checked value of the key ``seed``."""
        if isinstance(value, str):
            return cls(hook=value == "hook")
        ways = ("variable", "argument", "constant")
        return cls(False, *(value.get(way, "") for way in ways))

    def variables(self, seed: int) -> dict[str, str]:
        """What is set for a run with this seed, beside ``RATCHET_SEED``."""
        return {self.variable: str(seed)} if self.variable else {}

    def command(self, words: Sequence[str], seed: int) -> list[str]:
        """The command of a run with this seed."""
        more = [self.argument.replace(SEED, str(seed))] if self.argument else []
        return [*words, *more]


BY_ENVIRONMENT = Seeding()
"""The code reads ``RATCHET_SEED``."""


class Cache(Frozen):
    """A folder outside of the task that its runs read.

    A path that begins with ``~`` is found below each run's own home, a relative one
    below the clone and below each run's folder, an absolute one where it is.
    """

    folder: str
    optional: bool = False
    prepare: str = ""

    @classmethod
    def of(cls, value: str | Mapping[str, Any]) -> Cache:
        """From an entry of the key ``cache``."""
        return cls(value) if isinstance(value, str) else cls(**value)


def parse_patterns(data: Mapping[str, Any]) -> dict[str, str]:
    """Patterns by the name of the number that they find."""
    named = [data["metric"], *([data["memory"]] if "memory" in data else [])]
    found = {entry["name"]: entry["pattern"] for entry in named if "pattern" in entry}
    return {**data.get("printed", {}), **found}


def check_declared(data: Mapping[str, Any], where: str) -> None:
    """Raise :class:`ConfigError` for what is declared and cannot work."""
    printed = dict(data.get("printed", {}))
    places = {f"printed.{name}": pattern for name, pattern in printed.items()}
    for key in ("metric", "memory"):
        entry = data.get(key, {})
        if entry.get("name") in printed:
            raise ConfigError(
                f"{where}: printed.{entry['name']}: is the {key}; give its pattern there"
            )
        places |= {f"{key}.pattern": entry["pattern"]} if "pattern" in entry else {}
    for place, pattern in places.items():
        wrong = pattern_fault(pattern)
        if wrong is not None:
            raise ConfigError(f"{where}: {place}: {wrong}")
    for number, entry in enumerate(data.get("constraints", ())):
        low, high = entry.get("min"), entry.get("max")
        if low is None and high is None:
            raise ConfigError(f"{where}: constraints.{number}: give min, max or both")
        if low is not None and high is not None and low > high:
            raise ConfigError(f"{where}: constraints.{number}: min is more than max")
        if entry["name"] == data["metric"]["name"]:
            raise ConfigError(
                f"{where}: constraints.{number}: {entry['name']} is the metric; bound another "
                f"number that is printed, or one of {', '.join(MEASURED)}"
            )
    taken = [name for name in data.get("variables", {}) if name in SET or OWN.fullmatch(name)]
    named = data.get("seed", "")
    variable = named.get("variable", "") if isinstance(named, Mapping) else ""
    if variable in SET or variable in data.get("variables", {}):
        taken.append(variable)
    if taken:
        raise ConfigError(f"{where}: variables: {taken[0]} is set otherwise; leave it out")
    for entry in data.get("cache", ()):
        folder = Cache.of(entry).folder.rstrip("/")
        inside = [n for n in (*data["mutable"], *data["fixed"]) if n.startswith(f"{folder}/")]
        if inside:
            raise ConfigError(
                f"{where}: cache: {folder} holds the file {inside[0]} of the task; name a folder "
                "without any"
            )
    if "prepare" in data and not data.get("data") and not data.get("cache"):
        raise ConfigError(f"{where}: prepare: makes neither files of `data` nor a `cache`")
    if "commit" in data and "repo" not in data:
        raise ConfigError(f"{where}: commit: works only with a `repo`, which is missing")


# --------------------------------------------------------------------
# Bounds on other numbers than the metric: what breaks one is never kept.
#
# The numbers are those that a run printed, by their names, and those that the harness
# measured: ``wall_seconds``, ``cpu_seconds`` and ``peak_memory_mb`` (of the GPU where one
# was watched, else of the processes).


MEASURED = ("wall_seconds", "cpu_seconds", "peak_memory_mb")


class Constraint(Frozen):
    """Bounds on one number, both inclusive; ``None`` is no bound."""

    name: str
    min: float | None = None
    max: float | None = None

    @property
    def words(self) -> str:
        """``num_params_M at most 60``."""
        parts = [] if self.min is None else [f"at least {self.min:g}"]
        parts += [] if self.max is None else [f"at most {self.max:g}"]
        return f"{self.name} {' and '.join(parts)}"

    def fault(self, value: float | None) -> str | None:
        """How a value breaks it; a number that is not known, or none, breaks it too."""
        if value is None or math.isnan(value):
            return f"{self.name} is not known, expected {self.words}"
        low = self.min is not None and value < self.min
        high = self.max is not None and value > self.max
        return f"{self.name} is {value:g}, expected {self.words}" if low or high else None


def broken_constraint(
    constraints: Sequence[Constraint], runs: Sequence[Mapping[str, float | None]]
) -> str:
    """The first constraint that any of some runs breaks, in words; empty if there is none."""
    for constraint in constraints:
        for values in runs:
            found = constraint.fault(values.get(constraint.name))
            if found is not None:
                return found
    return ""


# --------------------------------------------------------------------
# Numbers that a log shows in words of its own, found by regular expressions.
#
# A task says ``metric: {name: accuracy, pattern: 'Validation accuracy: ([0-9.]+)'}``; the
# last match of the log counts.  A log is written by a candidate, which may not keep the
# harness busy: RE2 searches in a time that is linear in the length of a line, whatever the
# pattern.  It knows neither references to groups nor look-around.


LONGEST_PATTERN = 500
"""Characters; a pattern for one number of one line needs no more."""
SHORTEST_LITERAL = 4
"""Characters; what is shorter is in many texts that are no result."""
_WORDS = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0}


def pattern_fault(pattern: str) -> str | None:
    """Why a pattern cannot be used; ``None`` if it can."""
    if len(pattern) > LONGEST_PATTERN:
        return f"expected at most {LONGEST_PATTERN} characters, found {len(pattern)}"
    try:
        # Python's own parser reads it too, for the words that every match holds.
        _tree(pattern)
        groups = _compiled(pattern).groups
    except (re.error, ValueError, RecursionError, OverflowError) as error:
        return f"expected a regular expression of RE2, found {pattern!r} ({error})"
    if groups != 1:
        return (
            "expected exactly one group, the number, as in 'accuracy: ([0-9.]+)', found "
            f"{groups} in {pattern!r}; write others as (?:...)"
        )
    return None


def _compiled(pattern: str) -> Any:
    """A pattern as RE2 reads it; :class:`ValueError` says what it cannot read."""
    import re2  # few tasks have patterns

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        raise ValueError(error.args[0].decode(errors="replace")) from None


def pattern_literal(pattern: str) -> str:
    """The longest text that every match of a pattern holds; empty if none is long enough."""
    runs = [""]
    for code, argument in _tree(pattern):
        if str(code) == "LITERAL":
            runs[-1] += chr(argument)
        else:
            runs.append("")
    longest = max(runs, key=len).strip()
    return longest if len(longest) >= SHORTEST_LITERAL else ""


def _tree(pattern: str) -> Any:
    """A pattern as Python reads it, which only this module of its library shows."""
    import re._parser as parser  # type: ignore[import-not-found]

    return parser.parse(pattern)


def search_patterns(text: str, patterns: Mapping[str, str]) -> dict[str, float]:
    """The last number that each pattern finds in a log, by name.

    Colours are taken away first and the states of a progress line are lines of their
    own; a match never spans lines.  What matches and is no number (after a percent
    sign and commas are taken away; true and false are 1 and 0) is passed over.
    """
    if not patterns:
        return {}
    lines = [line.encode(errors="replace") for line in clean_lines(text)]
    found = {}
    for name, pattern in patterns.items():
        value = _last(lines, _compiled(pattern))
        if value is not None:
            found[name] = value
    return found


def _last(lines: list[bytes], pattern: Any) -> float | None:
    for line in reversed(lines):
        values = list(_numbers(match.group(1) for match in pattern.finditer(line)))
        if values:
            return values[-1]
    return None


def _numbers(words: Iterable[bytes | None]) -> Iterator[float]:
    for word in words:
        plain = (
            (word or b"")
            .decode(errors="replace")
            .strip()
            .rstrip("%")
            .replace(",", "")
            .strip()
            .lower()
        )
        if plain in _WORDS:
            yield _WORDS[plain]
            continue
        try:
            yield float(plain)
        except ValueError:
            continue


# --------------------------------------------------------------------
# A task: what is researched, parsed once from its ``task.yaml``.


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
    search_space: Sequence[DeclaredChange] = field(default_factory=tuple)
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
        shown = [pattern_literal(pattern) for pattern in self.patterns.values()]
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


def load_task(folder: Path, harness: Path) -> Task:
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
    task = parse_task(read_bytes(path), folder, harness, str(path))
    check_task_files(task)
    return task


def parse_task(content: bytes, folder: Path, harness: Path, where: str) -> Task:
    """Parse the content of a ``task.yaml`` without looking at other files."""
    task = build_task(task_values(content, where), folder, harness)
    check_task(task, where)
    return task


def task_values(content: bytes, where: str) -> dict[str, Any]:
    """The values in a ``task.yaml``, each one as the schema wants it."""
    from ratchet.base.schema import (  # YAML is slow to import; most stages read the manifest
        check_schema,
        parse_yaml,
    )

    data: dict[str, Any] = parse_yaml(content, where)
    packaged = resources.files("ratchet.task").joinpath("task.schema.yaml").read_bytes()
    check_schema(data, parse_yaml(packaged, "task.schema.yaml"), where)
    return data


def check_task(task: Task, where: str) -> None:
    """Refuse what goes wrong together; raises :class:`ConfigError`."""
    if (task.budget_seconds is None) == (task.budget_steps is None):
        raise ConfigError(f"{where}: budget: give either seconds or steps, and not both")
    if task.data_names and not task.prepare:
        raise ConfigError(f"{where}: prepare: the command that makes the data files is missing")
    names = [*task.mutable, *task.fixed, task.brief]
    for name in _repeated(names) or _repeated(task.data_names):
        raise ConfigError(f"{where}: the file {name} has two parts to play")
    _check_evaluation(task, where)
    check_declared(task.values, where)


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


def build_task(
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
        presets=parse_presets(data.get("presets", {}), str(place or folder / DEFINITION)),
        patterns=parse_patterns(data),
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


def _change(entry: Mapping[str, Any]) -> DeclaredChange:
    return DeclaredChange(
        name=entry.get("constant") or entry["alternative"],
        category=entry["category"],
        why=entry["why"],
        values=tuple(entry.get("values", ())),
        find=entry.get("find", ""),
        replace=entry.get("replace", ""),
    )


def check_task_files(task: Task) -> None:
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


# --------------------------------------------------------------------
# Presets of a task: constants and variables for a device of a certain size.
#
# A task that is to run on a laptop and on a large GPU names a preset for each.  One is
# chosen when a session starts, by name or by the memory of the device, and is part of
# everything that the session measures from then on.


AUTO = "auto"
GB = 1e9
"""Bytes of a gigabyte: cards and memory modules are sold by these, or by more."""
VARIABLE = re.compile(r"RATCHET_[A-Z][A-Z0-9_]*")
# What the harness says to a run by itself; a preset must not speak for it.
OWN = re.compile(r"RATCHET_(SEED|DATA|CONFIG|HARNESS|PARENT|PYTHON|SCRIPTS|(BUDGET|EVALUAT)\w*)")


def parse_presets(values: Mapping[str, Any], where: str) -> tuple[Preset, ...]:
    """The presets of a ``task.yaml`` whose schema was checked, in its order.

    Raises :class:`ConfigError` for a reserved name of a preset or a variable.
    """
    found = []
    for name, given in values.items():
        preset = Preset(name, **given)
        if name in (AUTO, "null"):
            raise ConfigError(f"{where}: presets.{name}: the name is taken; choose another one")
        if len(preset.budget) > 1:
            raise ConfigError(
                f"{where}: presets.{name}.budget: give either seconds or steps, and not both"
            )
        for variable in preset.environment:
            if not VARIABLE.fullmatch(variable) or OWN.fullmatch(variable):
                raise ConfigError(
                    f"{where}: presets.{name}.environment: expected names such as "
                    "RATCHET_EVAL_BATCHES (RATCHET_, capitals, digits and _) that the harness does "
                    f"not set itself, found {variable!r}"
                )
        found.append(preset)
    return tuple(found)


# --------------------------------------------------------------------
# What a trusted evaluator finds of a run, and what a run may use of its budget.


class Plausible(Frozen):
    """What a run may use of a budget in seconds, measured by the harness.

    Until it asks for its evaluation it must have used at least ``min_fraction``
    of the budget and at most ``max_fraction`` of it plus ``startup_seconds``
    (imports, building the model).  The evaluation may take
    ``evaluation_seconds`` more than its replies explain (compilation), which is
    at most ``evaluation_fraction`` of the budget, if that is given.
    Seconds are CPU seconds of the whole process tree, on GPUs wall-clock ones.

    In a session a run is also compared with the baseline's.  If ``excess_seconds``
    is given, it may use so many and ``excess_fraction`` of the budget more than
    their median until it asks.  If ``tokens`` is given, it must print that name,
    with at least ``min_tokens`` times their median.
    """

    min_fraction: float = 0.5
    max_fraction: float = 1.5
    startup_seconds: float = 10.0
    evaluation_seconds: float = 10.0
    evaluation_fraction: float | None = None
    excess_fraction: float = 0.05
    excess_seconds: float | None = None
    tokens: str | None = None
    min_tokens: float = 0.0
