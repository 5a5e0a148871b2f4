"""What a task declares: its metric, what may be tried, how seeds reach the code, caches.

Checked here for what a schema cannot say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ratchet import patterns as regular
from ratchet.codec import Frozen
from ratchet.constraints import MEASURED
from ratchet.errors import ConfigError
from ratchet.presets import OWN
from ratchet.records import Direction

SEED = "{seed}"

# What the harness sets in every run itself; see ratchet.layout.
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


class Change(Frozen):
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


def patterns(data: Mapping[str, Any]) -> dict[str, str]:
    """Patterns by the name of the number that they find."""
    named = [data["metric"], *([data["memory"]] if "memory" in data else [])]
    found = {entry["name"]: entry["pattern"] for entry in named if "pattern" in entry}
    return {**data.get("printed", {}), **found}


def check(data: Mapping[str, Any], where: str) -> None:
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
        wrong = regular.fault(pattern)
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
