"""Frozen records, and JSON values to and from them, with errors that name the place.

Records are msgspec structs: their classes are made some forty times faster than frozen
dataclasses, which is what a step's start consisted of, and JSON values are checked in C.
"""

from __future__ import annotations

import dataclasses
import enum
import re
import sys
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, dataclass_transform

from ratchet.base.errors import DataError

# msgspec prefers `typing_extensions` where Snakemake has brought it along, takes nothing
# from it that Python 3.11 lacks, and importing that takes longer than all of msgspec.
_HIDDEN = "typing_extensions" not in sys.modules
if _HIDDEN:
    sys.modules["typing_extensions"] = None  # type: ignore[assignment]
import msgspec  # noqa: E402
from msgspec import Meta as Meta  # noqa: E402
from msgspec import Struct as Struct  # noqa: E402
from msgspec import field as field  # noqa: E402
from msgspec.structs import asdict as asdict  # noqa: E402
from msgspec.structs import replace as replace  # noqa: E402

if _HIDDEN:
    del sys.modules["typing_extensions"]

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
class Frozen(Struct, frozen=True, forbid_unknown_fields=True):
    """Base of immutable values with named and typed fields, compared by what they hold."""


def to_json_values(record: Any) -> Any:
    """Turn a record into JSON values (mappings, lists, strings, numbers)."""
    if isinstance(record, Struct):
        return {name: to_json_values(getattr(record, name)) for name in record.__struct_fields__}
    if isinstance(record, enum.Enum):
        return record.value
    if isinstance(record, Mapping):
        return {str(key): to_json_values(value) for key, value in record.items()}
    if isinstance(record, list | tuple):
        return [to_json_values(value) for value in record]
    if dataclasses.is_dataclass(record) and not isinstance(record, type):
        return {f.name: to_json_values(getattr(record, f.name)) for f in dataclasses.fields(record)}
    return record


def from_json_values(cls: type[T], data: Any, where: str = "record") -> T:
    """Build a record of type ``cls`` from JSON values.

    Raises :class:`DataError` that names the place for a missing or unknown
    field, and for a value of the wrong type.
    """
    try:
        return msgspec.convert(data, cls)
    except msgspec.ValidationError as error:
        raise DataError(where + _explained(str(error), cls, data)) from None


_MESSAGE = re.compile(r"(.*?)(?: - at `\$((?:\.\w+|\[(?:\d+|\.\.\.)\])+)`)?", re.DOTALL)
# One step of a place as msgspec writes it: `.field`, `[3]`, or `[...]` for any key.
_STEP = re.compile(r"\.(\w+)|\[(\d+|\.\.\.)\]")


def _explained(message: str, cls: type, data: Any) -> str:
    """The place of a wrong value, what was expected there and what was found."""
    match = _MESSAGE.fullmatch(message)
    problem, steps = match.groups() if match else (message, "")
    place, hint, value = _walk(cls, data, _STEP.findall(steps or ""))
    name = getattr(hint, "__name__", str(hint))
    about = problem.partition("`")[2].rstrip("`")
    if "unknown field" in problem:
        return f"{place}: unknown field {about!r} for {name}"
    if "missing required field" in problem:
        return f"{place}: the field {about!r} of {name} is missing"
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return f"{place}: {value!r} is none of {', '.join(str(m.value) for m in hint)}"
    if isinstance(hint, type) and issubclass(hint, Struct):
        return f"{place}: expected an object of {name}, found {_kind(value)}"
    expected = about.partition("`")[0].replace(" | null", "").replace(" | ", " or ")
    words = {"array": "a list", "object": "an object"}
    return f"{place}: expected {words.get(expected, expected or problem)}, found {_kind(value)}"


def _walk(hint: Any, value: Any, steps: Iterable[tuple[str, str]]) -> tuple[str, Any, Any]:
    """A place within a record in words, with the type and the value there."""
    place = ""
    for name, index in steps:
        hint = _not_none(hint)
        if name:
            hint, value = typing.get_type_hints(hint)[name], value[name]
            place += f".{name}"
        elif index == "...":
            hint = typing.get_args(hint)[-1]
            key = next(key for key in value if not _fits(value[key], hint))
            value = value[key]
            place += f".{key}"
        else:
            hint, value = typing.get_args(hint)[0], value[int(index)]
            place += f"[{index}]"
    return place, _not_none(hint), value


def _not_none(hint: Any) -> Any:
    """A type without the ``None`` of ``T | None``."""
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return hint
    return next(a for a in typing.get_args(hint) if a is not types.NoneType)


def _fits(value: Any, hint: Any) -> bool:
    try:
        msgspec.convert(value, hint)
    except msgspec.ValidationError:
        return False
    return True


def _kind(value: Any) -> str:
    return "null" if value is None else f"{type(value).__name__} {value!r:.60}"
