"""A task: what is researched, parsed once from its task.yaml."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from ratchet.base.errors import ConfigError, InputMissingError, raise_faults
from ratchet.base.structs import Frozen, asdict, field, from_json_values, replace
from ratchet.base.text import clean_lines
from ratchet.records.records import Direction, Origin, Preset
from ratchet.records.store import MEASURED

DEFINITION = "task.yaml"
BRIEF = "program.md"
"""Brief of a task that names none; a session of a task without that file writes its own."""
SEED = "{seed}"
GB = 1e9
"""Bytes of a gigabyte: cards and memory modules are sold by these, or by more."""
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
"""Set for every run, since libraries take as many threads as there are processors."""
# What the harness sets in every run itself; see ratchet.runs.run.
SET = frozenset(
    {"HOME", "PATH", "TMPDIR", "PYTHONPATH", "PYTHONHASHSEED", "PYTHONNOUSERSITE"}
    | {"PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "CUDA_VISIBLE_DEVICES", *THREAD_VARIABLES}
)


DESCRIBE_REPOSITORY = (
    "let `ratchet init` find how this repository is run, or say it in a definition of your own, "
    "and name it by `definition` (docs/your-repository.md)"
)
"""What to do with a repository that a known definition does not fit."""

METAL = "metal"
"""What a task may need of its machine: the GPU of a Mac with Apple silicon."""

GUARD_SECONDS = 60.0
"""Time of a guard: enough to import a large library from a cold disk and to make a few steps."""


class Metric(Frozen):
    """The one number that decides; ``pattern`` finds it in the log, if a name does not."""

    name: str
    direction: Direction
    unit: str = ""
    pattern: str = ""


class Range(Frozen):
    """Values that an optimiser may give a constant.

    Either all ``choices``, or the numbers from ``low`` to ``high``: whole ones where
    ``whole``, powers of ``power_of``, or multiples of ``multiple_of``, which is a number or
    the name of another constant.  With ``log`` equal factors are equal steps.
    """

    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False
    power_of: int | None = None
    multiple_of: int | str | None = None
    choices: Sequence[Any] = ()


class DeclaredChange(Frozen):
    """An entry of the search space.

    Either a constant with the values to try, the range to search, or both; or a code
    alternative: the text ``find``, which must occur exactly once, is replaced.
    """

    name: str
    category: str
    why: str = ""
    values: Sequence[Any] = ()
    find: str = ""
    replace: str = ""
    range: Range | None = None

    @property
    def is_constant(self) -> bool:
        return not self.find


class Seeding(Frozen):
    """Ways in which a run learns its seed.

    Always by ``RATCHET_SEED``.  With ``hook`` seeds that the code writes down itself are
    moved; ``variable`` names a further variable, ``argument`` is a further word of the
    command, and ``constant`` a value of a mutable file that is set in the run alone.
    """

    hook: bool = False
    variable: str = ""
    argument: str = ""
    constant: str = ""

    @classmethod
    def of(cls, value: str | Mapping[str, Any]) -> Seeding:
        """From the checked value of the key ``seed``."""
        return cls(hook=value == "hook") if isinstance(value, str) else cls(**value)

    def variables(self, seed: int) -> dict[str, str]:
        """Environment variables of a run with this seed, beside ``RATCHET_SEED``."""
        return {self.variable: str(seed)} if self.variable else {}

    def command(self, words: Sequence[str], seed: int) -> list[str]:
        """The command of a run with this seed."""
        more = [self.argument.replace(SEED, str(seed))] if self.argument else []
        return [*words, *more]


BY_ENVIRONMENT = Seeding()
"""The code reads ``RATCHET_SEED``."""


class Plausible(Frozen):
    """Plausible use of a budget in seconds, measured by the harness beside the baseline's runs.

    What a run uses is one sum: from its start to the last reply of its evaluation, whatever
    it does there.  It may exceed the baseline's by ``tolerance``, a part of it, and until the
    evaluation at least ``min_fraction`` of the budget must be used.  Seconds are CPU seconds
    of the whole process tree, on GPUs wall-clock ones.  If ``tokens`` is given, a run must
    print that name, with at least ``min_tokens`` times the baseline's median.
    """

    min_fraction: float = 0.5
    tolerance: float = 0.1
    tokens: str | None = None
    min_tokens: float = 0.0

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Plausible:
        """From the key ``plausible``; what older sessions have beside these is not used."""
        return cls(**{name: values[name] for name in cls.__struct_fields__ if name in values})


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


class CompileCached(Frozen):
    """What a warm-up, which fills the compile cache of a source, must not see.

    ``blank`` are visible data files that a model can learn from: it has zeros in their place.
    """

    blank: tuple[str, ...]


def parse_patterns(data: Mapping[str, Any]) -> dict[str, str]:
    """Patterns by the name of the number that they find."""
    named = [data["metric"], *([data["memory"]] if "memory" in data else [])]
    found = {entry["name"]: entry["pattern"] for entry in named if "pattern" in entry}
    return {**data.get("printed", {}), **found}


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
        """Words on how a value breaks it; an unknown number, or none, breaks it too."""
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


LONGEST_PATTERN = 500
"""Characters; a pattern for one number of one line needs no more."""
SHORTEST_LITERAL = 4
"""Characters; what is shorter is in many texts that are no result."""
_WORDS = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0}


def pattern_fault(pattern: str) -> str | None:
    """Why a pattern cannot be used; ``None`` if it can."""
    groups = _groups(pattern)
    if isinstance(groups, str):
        return groups
    if groups.groups != 1:
        return (
            "expected exactly one group, the number, as in 'accuracy: ([0-9.]+)', found "
            f"{groups.groups} in {pattern!r}; write others as (?:...)"
        )
    return None


CURVE_GROUPS = ("step", "loss", "seconds", "tokens")
"""Groups of a pattern that reads lines of progress; it needs the first two."""


def curve_fault(pattern: str) -> str | None:
    """Why a pattern for lines of progress cannot be used; ``None`` if it can."""
    groups = _groups(pattern)
    if isinstance(groups, str):
        return groups
    names = set(groups.groupindex)
    if not {"step", "loss"} <= names <= set(CURVE_GROUPS) or groups.groups != len(names):
        return (
            "expected the groups (?P<step>...) and (?P<loss>...), and (?P<seconds>...) and "
            f"(?P<tokens>...) if lines tell them, found {pattern!r}; write others as (?:...)"
        )
    return None


def _groups(pattern: str) -> Any:
    """A pattern as RE2 reads it, or in words why it cannot be used."""
    if len(pattern) > LONGEST_PATTERN:
        return f"expected at most {LONGEST_PATTERN} characters, found {len(pattern)}"
    try:
        # Python's own parser reads it too, for the words that every match holds.
        _tree(pattern)
        return compiled_pattern(pattern)
    except (re.error, ValueError, RecursionError, OverflowError) as error:
        return f"expected a regular expression of RE2, found {pattern!r} ({error})"


def compiled_pattern(pattern: str) -> Any:
    """A pattern as RE2 reads it; :class:`ValueError` says what it cannot read.

    A log is written by a candidate, which may not keep the harness busy: RE2 searches in
    a time that is linear in the length of a line, whatever the pattern.  It knows neither
    references to groups nor look-around.
    """
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
        value = _last(lines, compiled_pattern(pattern))
        if value is not None:
            found[name] = value
    return found


def _last(lines: list[bytes], pattern: Any) -> float | None:
    for line in reversed(lines):
        read = [_number(match.group(1) or b"") for match in pattern.finditer(line)]
        values = [value for value in read if value is not None]
        if values:
            return values[-1]
    return None


def _number(word: bytes) -> float | None:
    plain = word.decode(errors="replace").strip().rstrip("%").replace(",", "").strip().lower()
    try:
        return _WORDS[plain] if plain in _WORDS else float(plain)
    except ValueError:
        return None


class PlainKeys(Frozen, kw_only=True):
    """Keys of a ``task.yaml`` that a task has as they stand there."""

    name: str
    mutable: tuple[str, ...]
    command: tuple[str, ...]
    metric: Metric
    fixed: tuple[str, ...] = ()
    brief: str = ""
    description: str = ""
    prepare: tuple[str, ...] = ()
    device: str = "cpu"
    needs: str = ""
    threads: int = 1
    evaluator: tuple[str, ...] = ()
    guard: tuple[str, ...] = ()
    guard_seconds: float = GUARD_SECONDS
    network: bool = False
    hidden: tuple[str, ...] = ()
    allow_packages: tuple[str, ...] = ()
    limits: Mapping[str, int] = field(default_factory=dict)
    target: float | None = None
    constraints: tuple[Constraint, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    curve: str = ""
    compile_cache: CompileCached | None = None


class Task(PlainKeys, kw_only=True):
    """A parsed and checked task; paths of files are relative to ``folder``.

    ``evaluator`` is the command of the trusted evaluator, which alone gets
    ``evaluation_data``, and ``locked_data`` when a champion is audited.  ``guard`` is the
    command that a candidate must pass within ``guard_seconds`` before it is trained.
    ``hidden`` names installed packages that runs may not read, since the data
    are made from them; ``allow_packages`` are requirements that candidates may import beside
    its lock.  ``python`` is the environment, or the interpreter, that runs its
    commands if that is not the harness's.  Without an ``environment``, a lock, what its
    interpreter has installed is held by digest; without a ``brief`` a session writes one.

    ``patterns`` find printed numbers in the log, by name, and ``curve`` lines of progress, where
    they are of no usual make.  ``target`` ends a session that
    reaches it, and what breaks one of ``constraints`` is not kept.  ``caches`` are folders
    that runs read, ``variables`` what they find in their environment.  A task whose files
    are from a repository has an ``origin``, and a ``definition`` elsewhere.  ``clone`` is the
    folder on this machine, if any, that its relative caches lie in.
    """

    folder: Path
    environment: Path | None
    visible_data: Sequence[str]
    evaluation_data: Sequence[str]
    locked_data: Sequence[str]
    budget_seconds: float | None
    budget_steps: int | None
    budget_fixed: bool
    timeout_seconds: float
    memory_name: str | None
    memory_megabytes: float
    values: Mapping[str, Any]
    search_space: Sequence[DeclaredChange]
    plausible: Plausible | None
    seeding: Seeding
    presets: Sequence[Preset]
    python: Path | None
    patterns: Mapping[str, str]
    caches: Sequence[Cache]
    place: Path | None
    origin: Origin | None
    clone: Path | None

    def preset(self, name: str | None) -> Preset | None:
        """The preset of this name; ``None`` for others, such as ``auto``."""
        return next((preset for preset in self.presets if preset.name == name), None)

    def sized(self, preset: Preset | None) -> Task:
        """Task with the device and the budget of a preset, where that names them."""
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

    def environment_of(self, preset: Preset | None) -> dict[str, str]:
        """Environment variables that task and preset set for preparation, runs and evaluator."""
        return {**self.variables, **(preset.environment if preset else {})}

    @property
    def files(self) -> tuple[str, ...]:
        """Names of all files that lie in its folder: mutable and fixed ones, and the brief."""
        return (*self.mutable, *self.fixed, *([self.brief] if self.brief else []))

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
    def printed_names(self) -> tuple[str, ...]:
        """Names of the numbers that something is decided or shown from, beside the metric."""
        bounded = (bound.name for bound in self.constraints)
        return tuple(sorted({*self.counted_names, *self.printed, *bounded}))

    @property
    def counted_names(self) -> tuple[str, ...]:
        """Names of printed numbers that cannot be below 0."""
        tokens = self.plausible.tokens if self.plausible else None
        return tuple(sorted(filter(None, {self.memory_name, tokens})))

    def memory_mb(self, metrics: Mapping[str, float | None]) -> float | None:
        """Peak memory that a run reported, in MiB; ``None`` if it did not."""
        value = metrics.get(self.memory_name) if self.memory_name else None
        return None if value is None else value * self.memory_megabytes


def task_values(content: bytes, where: str) -> dict[str, Any]:
    """The values in a ``task.yaml``, each one as the schema wants it."""
    from ratchet.base.schema import parse_yaml  # slow to import; most steps read the manifest

    data: dict[str, Any] = parse_yaml(content, where)
    check_values(data, where)
    return data


def check_values(data: Any, where: str) -> None:
    """Raise :class:`ConfigError` for values that the schema of a ``task.yaml`` does not allow."""
    from ratchet.base.schema import check_schema, parse_yaml

    packaged = resources.files("ratchet.task").joinpath("task.schema.yaml").read_bytes()
    check_schema(data, parse_yaml(packaged, "task.schema.yaml"), where)


def check_task(task: Task) -> None:
    """Look for what no schema can say.

    Raises :class:`ConfigError`, or :class:`InputMissingError` for a file that is named and is
    not there; of several faults all at once.
    """
    faults = [ConfigError(f"{task.definition}: {fault}") for fault in _faults(task)]
    raise_faults([*faults, *_missing_files(task)])


def _faults(task: Task) -> Iterator[str]:
    if (task.budget_seconds is None) == (task.budget_steps is None):
        yield "budget: give either seconds or steps, and not both"
    if task.data_names and not task.prepare:
        yield "prepare: the command that makes the data files is missing"
    files = task.files
    for names in (files, task.data_names):
        for name in sorted(name for name in names if names.count(name) > 1):
            yield f"the file {name} has two parts to play"
    if not task.evaluator:
        given = {"data.evaluation": task.evaluation_data, "plausible": task.plausible}
        for key in (key for key, value in given.items() if value):
            yield f"{key}: works only with an `evaluator`, which is missing"
    elif not set(task.evaluator) & set(task.fixed):
        yield (
            "evaluator: expected a command with one of the fixed files "
            f"({', '.join(task.fixed)}), found {' '.join(task.evaluator)}"
        )
    elif not task.evaluation_data:
        yield "data.evaluation: the evaluator needs at least one file"
    yield from _guard_faults(task)
    yield from _compile_faults(task)
    yield from _pattern_faults(task.values)
    yield from _space_faults(task.values)
    yield from _constraint_faults(task)
    for name in (*task.variables, task.seeding.variable):
        if name in SET or OWN.fullmatch(name) or (name == task.seeding.variable in task.variables):
            yield f"variables: {name} is set otherwise; leave it out"
    for cache in task.caches:
        folder = cache.folder.rstrip("/")
        for name in (*task.mutable, *task.fixed):
            if name.startswith(f"{folder}/"):
                yield (
                    f"cache: {folder} holds the file {name} of the task; name a folder without any"
                )
    if task.prepare and not task.values.get("data") and not task.caches:
        yield "prepare: makes neither files of `data` nor a `cache`"
    if "commit" in task.values and "repo" not in task.values:
        yield "commit: works only with a `repo`, which is missing"


def _guard_faults(task: Task) -> Iterator[str]:
    if not task.guard and "guard_seconds" in task.values:
        yield "guard_seconds: works only with a `guard`, which is missing"
    files = {word.partition("::")[0] for word in task.guard}
    folders = {f"{word.rstrip('/')}/" for word in files}
    if task.guard and not any(n in files or n.startswith(tuple(folders)) for n in task.fixed):
        yield (
            "guard: expected a command with one of the fixed files, which no candidate can edit "
            f"({', '.join(task.fixed)}), found {' '.join(task.guard)}"
        )


def _compile_faults(task: Task) -> Iterator[str]:
    if task.compile_cache is None:
        return
    for name in task.compile_cache.blank:
        if name not in task.visible_data:
            yield (
                "compile_cache.blank: expected visible data files "
                f"({', '.join(task.visible_data) or 'none'}), found {name}"
            )
    if task.caches:
        yield (
            "compile_cache: works only without a `cache`, which a warm-up could learn from; leave "
            "one of them out"
        )


def _pattern_faults(values: Mapping[str, Any]) -> Iterator[str]:
    printed = values.get("printed", {})
    patterns = {f"printed.{name}": pattern for name, pattern in printed.items()}
    for key in ("metric", "memory"):
        entry = values.get(key, {})
        if entry.get("name") in printed:
            yield f"printed.{entry['name']}: is the {key}; give its pattern there"
        patterns |= {f"{key}.pattern": entry["pattern"]} if "pattern" in entry else {}
    for place, pattern in patterns.items():
        fault = pattern_fault(pattern)
        if fault is not None:
            yield f"{place}: {fault}"
    fault = curve_fault(values["curve"]) if "curve" in values else None
    if fault is not None:
        yield f"curve: {fault}"


def _space_faults(values: Mapping[str, Any]) -> Iterator[str]:
    """Entries of the search space that are incomplete or contradict themselves."""
    entries = values.get("search_space", ())
    ranges: dict[str, Mapping[str, Any]] = {}
    for entry in entries:
        if "constant" in entry and ("range" in entry or "choices" in entry):
            if entry["constant"] in ranges:
                yield f"search_space: {entry['constant']}: has two ranges; leave one out"
            ranges[entry["constant"]] = entry
    for number, entry in enumerate(entries):
        name = entry.get("constant") or entry.get("alternative") or number
        fault = _entry_fault(entry, ranges)
        if fault:
            yield f"search_space: {name}: {fault}"
    seeding = values.get("seed")
    seed = seeding.get("constant") if isinstance(seeding, Mapping) else None
    if seed in ranges:
        yield f"search_space: {seed}: is the seed, which each run sets; leave its range out"


def _entry_fault(entry: Mapping[str, Any], ranges: Mapping[str, Mapping[str, Any]]) -> str:
    ranged = "range" in entry or "choices" in entry
    if ("constant" in entry) == ("alternative" in entry):
        return "give either a constant or an alternative"
    if "alternative" in entry:
        needed, others = ["find", "replace", "why"], ["values", "range", "choices"]
    elif ranged:
        needed, others = ["why"] if "values" in entry else [], ["find", "replace"]
    else:
        needed, others = ["values", "why"], ["find", "replace"]
    for key in needed:
        if key not in entry:
            more = " (or a range, or choices)" if key == "values" else ""
            return f"the key {key!r} is missing{more}"
    for key in others:
        if key in entry:
            owner = "an alternative" if "find" in needed else "a constant"
            return f"{key!r} does not belong to {owner}"
    if "range" in entry and "choices" in entry:
        return "give a range or choices, and not both"
    options = [key for key in ("log", "int", "power_of", "multiple_of") if key in entry]
    if options and "range" not in entry:
        return f"{options[0]!r} belongs to a range, which is missing"
    return _range_fault(entry, ranges) if "range" in entry else ""


def _range_fault(entry: Mapping[str, Any], ranges: Mapping[str, Mapping[str, Any]]) -> str:
    low, high = entry["range"]
    if not (low < high and math.isfinite(low) and math.isfinite(high)):
        return f"range: expected two numbers, the smaller one first, found {low} and {high}"
    if (entry.get("log") or "power_of" in entry) and low <= 0:
        return f"range: expected to begin above 0, found {low}"
    if "power_of" in entry and "multiple_of" in entry:
        return "give power_of or multiple_of, and not both"
    other = entry.get("multiple_of")
    if isinstance(other, str):
        return _multiple_fault(entry["constant"], other, ranges)
    limits = _range(entry)
    assert limits is not None
    kind = "whole number" if limits.whole else ""
    least, most = whole_bounds(limits)
    if limits.power_of is not None:
        kind, (least, most) = f"power of {limits.power_of}", power_bounds(limits)
    elif other is not None:
        kind = f"multiple of {other}"
        least, most = math.ceil(low / other), math.floor(high / other)
    if kind and least > most:
        return f"range: expected a {kind} between {low} and {high}, found none"
    return ""


def _multiple_fault(name: str, other: str, ranges: Mapping[str, Mapping[str, Any]]) -> str:
    """Why a constant cannot be a multiple of another one; empty if it can."""
    numbers = [each for each in ranges if "range" in ranges[each] and each != name]
    if other not in numbers:
        known = ", ".join(numbers) or "none"
        return (
            "multiple_of: expected a whole number, or another constant of the space with a range "
            f"({known}), found {other}"
        )
    if isinstance(ranges[other].get("multiple_of"), str):
        return f"multiple_of: expected a constant that is no multiple of another, found {other}"
    return ""


def whole_bounds(limits: Range) -> tuple[int, int]:
    """Smallest and largest whole number of a range."""
    return math.ceil(limits.low), math.floor(limits.high)


def power_bounds(limits: Range) -> tuple[int, int]:
    """Smallest and largest exponent of a range of powers."""
    assert limits.power_of is not None
    low, high = (round(math.log(end, limits.power_of), 9) for end in (limits.low, limits.high))
    return math.ceil(low), math.floor(high)


def _constraint_faults(task: Task) -> Iterator[str]:
    for number, bound in enumerate(task.constraints):
        if bound.min is None and bound.max is None:
            yield f"constraints.{number}: give min, max or both"
        if bound.min is not None and bound.max is not None and bound.min > bound.max:
            yield f"constraints.{number}: min is more than max"
        if bound.name == task.metric.name:
            yield (
                f"constraints.{number}: {bound.name} is the metric; bound another number that is "
                f"printed, or one of {', '.join(MEASURED)}"
            )


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
    in the harness otherwise begin there.  ``clone`` is the folder on this machine that the
    files are from, where there is one.
    """
    memory, files, budget = data.get("memory", {}), data.get("data", {}), data["budget"]
    keys = {name: data[name] for name in PlainKeys.__struct_fields__ if name in data}
    return Task(
        **asdict(from_json_values(PlainKeys, keys, DEFINITION)),
        folder=folder,
        environment=_lock(data, folder, place, harness, origin, clone),
        visible_data=tuple(files.get("visible", ())),
        evaluation_data=tuple(files.get("evaluation", ())),
        locked_data=tuple(files.get("locked", ())),
        budget_seconds=budget.get("seconds"),
        budget_steps=budget.get("steps"),
        budget_fixed=budget.get("fixed", False),
        timeout_seconds=data["timeout_seconds"],
        memory_name=memory.get("name"),
        memory_megabytes=memory.get("megabytes", 1.0),
        values=data,
        search_space=tuple(_change(entry) for entry in data.get("search_space", ())),
        plausible=Plausible.of(data["plausible"]) if "plausible" in data else None,
        seeding=Seeding.of(data.get("seed", "environment")),
        presets=parse_presets(data.get("presets", {}), str(place or folder / DEFINITION)),
        python=_python(data["python"], harness, origin, clone) if "python" in data else None,
        patterns=parse_patterns(data),
        caches=tuple(Cache.of(entry) for entry in data.get("cache", ())),
        place=place,
        origin=origin,
        clone=clone,
    )


def _python(name: str, harness: Path, origin: Origin | None, clone: Path | None) -> Path:
    """Place of the interpreter: a task in a folder may have it there, or below the harness."""
    path = Path(name).expanduser()
    if clone is None or (origin is None and not (clone / path).exists()):
        return harness / path
    return clone / path


def _lock(
    data: Mapping[str, Any],
    folder: Path,
    place: Path | None,
    harness: Path,
    origin: Origin | None,
    clone: Path | None,
) -> Path | None:
    """The lock, if any: the task's own, or beside the definition, or else the harness's."""
    if "environment" not in data:
        return None
    name: str = data["environment"]
    own = [clone] if origin is None else [folder, place.parent if place else None]
    places = [base / name for base in own if base is not None]
    return next((path for path in places if path.is_file()), harness / name)


def _change(entry: Mapping[str, Any]) -> DeclaredChange:
    return DeclaredChange(
        name=entry.get("constant") or entry["alternative"],
        category=entry["category"],
        why=entry.get("why", ""),
        values=tuple(entry.get("values", ())),
        find=entry.get("find", ""),
        replace=entry.get("replace", ""),
        range=_range(entry),
    )


def _range(entry: Mapping[str, Any]) -> Range | None:
    if "choices" in entry:
        return Range(choices=tuple(entry["choices"]))
    if "range" not in entry:
        return None
    low, high = entry["range"]
    ends_whole = isinstance(low, int) and isinstance(high, int)
    return Range(
        low=low,
        high=high,
        log=entry.get("log", False),
        whole=entry.get("int", ends_whole),
        power_of=entry.get("power_of"),
        multiple_of=entry.get("multiple_of"),
    )


def _missing_files(task: Task) -> Iterator[InputMissingError]:
    place, todo = str(task.folder), "put it there, or correct the definition"
    if task.origin is not None:
        place = f"{task.origin.repo} at commit {task.origin.commit[:12]}"
        todo = f"commit what is missing, or: {DESCRIBE_REPOSITORY}"
    missing = [name for name in task.files if not (task.folder / name).is_file()]
    if missing:
        many = "file" if len(missing) == 1 else "files"
        yield InputMissingError(
            f"{task.definition}: names the {many} {', '.join(missing)}, which "
            f"{'is' if len(missing) == 1 else 'are'} not in {place}; {todo}"
        )
    if task.environment is not None and not task.environment.is_file():
        said = f"the lock {task.environment} does not exist"
        if task.origin is not None:
            said = (
                f"expected the lock {task.values['environment']} in {place}, found none; name "
                "another file, or make a lock beside the definition"
            )
        yield InputMissingError(f"{task.definition}: environment: {said}")


AUTO = "auto"
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
