"""Frozen dataclasses to JSON values and back, with errors that name the place."""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from ratchet.errors import DataError

T = TypeVar("T")


def encode(record: Any) -> Any:
    """Turn a record into JSON values (mappings, lists, strings, numbers)."""
    if dataclasses.is_dataclass(record) and not isinstance(record, type):
        return {f.name: encode(getattr(record, f.name)) for f in dataclasses.fields(record)}
    if isinstance(record, enum.Enum):
        return record.value
    if isinstance(record, Mapping):
        return {str(key): encode(value) for key, value in record.items()}
    if isinstance(record, list | tuple):
        return [encode(value) for value in record]
    return record


def decode(cls: type[T], data: Any, where: str = "record") -> T:
    """Build a record of type ``cls`` from JSON values.

    Raises :class:`DataError` that names the place for a missing or unknown
    field, and for a value of the wrong type.
    """
    if not isinstance(data, Mapping):
        raise DataError(f"{where}: expected an object of {cls.__name__}, found {_kind(data)}")
    hints = typing.get_type_hints(cls)
    names = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(data) - names)
    if unknown:
        raise DataError(f"{where}: unknown field {unknown[0]!r} for {cls.__name__}")
    values = {name: _value(hints[name], data[name], f"{where}.{name}") for name in data}
    try:
        return cls(**values)
    except TypeError as error:
        raise DataError(f"{where}: {error}") from None


def _value(hint: Any, value: Any, where: str) -> Any:
    """Check ``value`` against a type hint and convert it."""
    if hint is Any:
        return value
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        (inner,) = [a for a in arguments if a is not type(None)]
        return _value(inner, value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise DataError(f"{where}: expected a list, found {_kind(value)}")
        return tuple(_value(arguments[0], v, f"{where}[{i}]") for i, v in enumerate(value))
    if origin is Mapping:
        if not isinstance(value, Mapping):
            raise DataError(f"{where}: expected an object, found {_kind(value)}")
        return {key: _value(arguments[1], v, f"{where}.{key}") for key, v in value.items()}
    return _scalar(typing.get_origin(hint) or hint, value, where)


def _scalar(hint: Any, value: Any, where: str) -> Any:
    if _is_record(hint):
        return decode(hint, value, where)
    if issubclass(hint, enum.Enum):
        try:
            return hint(value)
        except ValueError:
            known = ", ".join(member.value for member in hint)
            raise DataError(f"{where}: {value!r} is none of {known}") from None
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise DataError(f"{where}: expected {hint.__name__}, found {_kind(value)}")
    return value


def _is_record(hint: Any) -> bool:
    """Whether a type hint names one of the records."""
    return isinstance(hint, type) and dataclasses.is_dataclass(hint)


def _kind(value: Any) -> str:
    return "null" if value is None else f"{type(value).__name__} {value!r:.60}"
