"""Ranges of constants that an optimiser searches: declared by a task, or derived from its code.

A point of such a space is a value for each of its constants that a program has.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ratchet.base.structs import Frozen, asdict
from ratchet.steering.categories import category_of_name
from ratchet.task.edits import (
    DECLARING,
    constant_names,
    constant_value,
    constant_values,
    find_value,
    is_number,
    replace_value,
)
from ratchet.task.sources import SourceError, is_settings, load_settings, parse_python
from ratchet.task.task import DeclaredChange, Range, Task, power_bounds, whole_bounds

Point = dict[str, Any]

DEFAULT_CATEGORY = "hyperparams"
"""Category of a constant whose name tells none, and of several constants at once."""

DIGITS = 3
"""Digits of a number that an optimiser sets: significant ones on a scale of logarithms, and
of the width of the range on any other, so that 0.996 to 0.9998 are more than five numbers."""


class Space(Frozen):
    """Constants with ranges, in the order of the task or of the code."""

    constants: Sequence[DeclaredChange]

    @property
    def names(self) -> list[str]:
        return [each.name for each in self.constants]

    def point(self, contents: Mapping[str, str]) -> Point:
        """Value of each constant that these files have once and that its range could hold."""
        found: Point = {}
        for each in self.constants:
            assert each.range is not None
            values = constant_values(contents, each.name)
            if len(values) == 1 and (each.range.choices or is_number(values[0])):
                found[each.name] = values[0]
        return found

    def fitted(self, point: Point) -> Point:
        """The point with each value moved to the nearest one that its range allows."""
        ranges = {each.name: each.range for each in self.constants}
        fixed = dict(point)
        # What others are multiples of comes first.
        for name in sorted(point, key=lambda n: isinstance(_multiple(ranges[n]), str)):
            limits = ranges[name]
            if limits is not None:
                fixed[name] = nearest_value(limits, point[name], fixed)
        return fixed

    def moved(self, contents: Mapping[str, str], point: Point) -> dict[str, str] | None:
        """The files with the values of a point; ``None`` if one cannot be written."""
        new = dict(contents)
        for constant, value in point.items():
            for name, text in contents.items():
                place = find_value(name, text, constant)
                if place is None or place.value == value:
                    continue
                replaced = replace_value(name, new[name], constant, value)
                if replaced is None:
                    return None
                new[name] = replaced
        return new


def task_space(task: Task, contents: Mapping[str, str]) -> Space:
    """The ranges that a task declares, or else those derived from these files of it."""
    declared = declared_ranges(task)
    if declared:
        return Space(declared)
    # Each run sets that one itself.
    derived = derived_constants(contents)
    return Space([each for each in derived if each.name != task.seeding.constant])


def declared_ranges(task: Task) -> list[DeclaredChange]:
    """Entries of a task's search space that have a range or choices."""
    return [each for each in task.search_space if each.range is not None]


def nearest_value(limits: Range, value: Any, point: Mapping[str, Any]) -> Any:
    """The allowed value that is nearest to a value.

    ``point`` has the values of the constants that this one may be a multiple of.
    """
    if limits.choices:
        return nearest_choice(limits, value)
    value = min(max(value, limits.low), limits.high)
    if limits.power_of is not None:
        low, high = power_bounds(limits)
        exponent = round(math.log(value, limits.power_of))
        return nth_power(limits, min(max(exponent, low), high))
    step: Any = _multiple(limits)
    if isinstance(step, str):
        step = point.get(step)
    if is_number(step) and step > 0:
        least = math.ceil(limits.low / step)
        # Where no multiple lies in the range, the smallest one above has to do.
        most = max(least, math.floor(limits.high / step))
        return step * min(max(round(value / step), least), most)
    if limits.whole:
        low, high = whole_bounds(limits)
        return min(max(round(value), low), high)
    return min(max(_rounded(limits, value), float(limits.low)), float(limits.high))


def nearest_choice(limits: Range, value: Any) -> Any:
    """The choice that equals a value, as a list does a tuple; the first one if none does."""
    alike = [each for each in limits.choices if _plain(each) == _plain(value)]
    return alike[0] if alike else limits.choices[0]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _rounded(limits: Range, value: float) -> float:
    """A number with :data:`DIGITS` digits of its own, or of the width of its range."""
    if limits.log:
        return float(f"{value:.{DIGITS}g}")
    return round(float(value), DIGITS - 1 - math.floor(math.log10(limits.high - limits.low)))


def _multiple(limits: Range | None) -> int | str | None:
    return None if limits is None else limits.multiple_of


def nth_power(limits: Range, exponent: int) -> int | float:
    """A power of a range of powers, a float where the ends are."""
    assert limits.power_of is not None
    return limits.power_of**exponent if limits.whole else float(limits.power_of) ** exponent


def without_values(names: Iterable[str], contents: Mapping[str, str]) -> dict[str, str]:
    """The files with the values of these constants taken out."""
    wanted, left = list(names), {}
    for file, text in contents.items():
        found = (find_value(file, text, name) for name in wanted)
        places = sorted((p.start, p.end) for p in found if p is not None)
        ends = [0, *(end for _, end in places)]
        starts = [*(start for start, _ in places), len(text)]
        left[file] = "\0".join(text[a:b] for a, b in zip(ends, starts, strict=True))
    return left


_FIXED = re.compile(
    r"time|timeout|budget|seconds|minutes|hours|deadline|seeds?|evals?|evaluation|val|valid"
    r"|validation|test|log|logs|logging|print|verbose|debug|every|interval|save|checkpoints?|ckpt"
    r"|path|dir|file|url|version|port|rank|world|gpus?|nodes?|threads?|workers|dtype|compile"
    r"|vocab|tokens?|bos|eos|pad|eps|epsilon|flops|mfu"
)
"""Words of names that say how long a run is, what it is measured by, what chance it is given,
what it prints or where it runs: a reader would not tune these, or must not."""

_LENGTH = re.compile(r"steps?|iters?|iterations?|epochs?")
_LENGTH_WORD = re.compile(
    rf"{_LENGTH.pattern}|num|max|min|total|n|number|of|train|training|trainer|warm"
)
"""A number of steps is the length of a run, unless a further word says of what else."""

_SHARE = re.compile(
    r"drop|dropout|ratio|frac|fraction|part|share|prob|probability|smoothing|warmup|warmdown"
    r"|cooldown|decay|momentum|beta\d?|mix"
)
"""Words of names of numbers between 0 and 1."""

NOTHING_TO = 0.3
"""Largest value that is tried for a constant that is 0, such as a decay or a dropout."""

FACTOR = 10.0
"""Factor up and down that is searched around a positive number."""

WHOLE_FACTOR = 4
"""The same for whole numbers, which mostly are sizes: a run costs the more the larger they are."""


def derived_constants(contents: Mapping[str, str]) -> list[DeclaredChange]:
    """Numbers and switches that a program sets by name, with ranges by their kind and size.

    Those are the constants of the top level of Python files, set once and nowhere else, the
    defaults of options, or else of fields of dataclasses, what other languages declare to be
    constant, and the keys of YAML and JSON files.  Names that speak of the budget, of chance,
    of the evaluation or of output are left out.
    """
    found: dict[str, DeclaredChange] = {}
    for file, text in contents.items():
        for name, value in _values(file, text):
            limits = None if _is_fixed(name) else derived_range(name, value)
            if limits is not None and find_value(file, text, name) is not None:
                category = category_of_name(name) or DEFAULT_CATEGORY
                found.setdefault(name, DeclaredChange(name, category, range=limits))
    return list(found.values())


def _values(file: str, text: str) -> Iterator[tuple[str, Any]]:
    """Names and values that a file sets once."""
    try:
        if is_settings(file):
            yield from _leaves(load_settings(file, text), "")
        elif file.endswith(".py"):
            known = [*_constants(parse_python(text)), *_found(file, text, "--")]
            # Fields of a dataclass are often given by constants, and count where there are none.
            yield from known or _found(file, text, ".")
        elif file.endswith(DECLARING):
            yield from _found(file, text, "")
    except SourceError:
        return


def _found(file: str, text: str, sign: str) -> Iterator[tuple[str, Any]]:
    """Names with a sign in them, and the values that a file has for them."""
    for name in constant_names(file, text):
        place = find_value(file, text, name) if sign in name else None
        if place is not None:
            yield name, place.value


def _leaves(values: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    if isinstance(values, dict):
        for key, value in values.items():
            yield from _leaves(value, f"{prefix}.{key}" if prefix else str(key))
    elif prefix:
        yield prefix, values


def _constants(tree: ast.Module) -> Iterator[tuple[str, Any]]:
    stores = [
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)
    ]
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign):
            targets = [node.target]
        for target in targets:
            value = getattr(node, "value", None)
            if not isinstance(target, ast.Name) or value is None or stores.count(target.id) > 1:
                continue
            try:
                yield target.id, constant_value(value)
            except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
                continue


def _words(name: str) -> list[str]:
    """Words of a name: ``max_steps``, ``max-steps`` and ``maxSteps`` have two each."""
    parts = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return [word for word in re.split(r"[^a-z0-9]+", parts.lower()) if word]


def _is_fixed(name: str) -> bool:
    words = _words(name)
    if name.startswith("_") or any(map(_FIXED.fullmatch, words)):
        return True
    return any(map(_LENGTH.fullmatch, words)) and all(map(_LENGTH_WORD.fullmatch, words))


def derived_range(name: str, value: Any) -> Range | None:
    """Range of a constant by its name and value; ``None`` for one that is no number or switch."""
    if isinstance(value, bool):
        return Range(choices=(value, not value))
    if not is_number(value) or value < 0 or not math.isfinite(value):
        return None
    if isinstance(value, int):
        return _whole_range(value)
    if _short(value / FACTOR) == 0:
        return Range(0.0, NOTHING_TO)
    if value < 1 and any(map(_SHARE.fullmatch, _words(name))):
        if value >= 0.5:  # what counts is how far it is from 1
            return Range(round(max(0.0, 1 - 4 * (1 - value)), 6), round(1 - (1 - value) / 5, 6))
        return Range(0.0, round(min(0.95, max(3 * value, NOTHING_TO)), 6))
    return Range(_short(value / FACTOR), _short(value * FACTOR), log=True)


def _whole_range(value: int) -> Range | None:
    """Powers of two stay such, other sizes whole; 0 is a switch, and no size."""
    if value == 0:
        return None
    low, high = max(1, value // WHOLE_FACTOR), value * WHOLE_FACTOR
    if value >= 16 and value & (value - 1) == 0:
        return Range(low, high, whole=True, power_of=2)
    return Range(low, high, log=True, whole=True)


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def space_entries(space: Space) -> list[dict[str, Any]]:
    """Entries of ``search_space`` that declare this space, to be written and edited."""
    return [_entry(each) for each in space.constants]


def _entry(each: DeclaredChange) -> dict[str, Any]:
    assert each.range is not None
    limits = asdict(each.range)
    entry: dict[str, Any] = {"constant": each.name, "category": each.category}
    if each.range.choices:
        return {**entry, "choices": list(each.range.choices)}
    entry["range"] = [limits["low"], limits["high"]]
    shown = {key: limits[key] for key in ("log", "power_of", "multiple_of") if limits[key]}
    whole = all(isinstance(end, int) for end in entry["range"])
    if whole != each.range.whole:
        shown["int"] = each.range.whole
    return {**entry, **shown}
