"""Frozen records, and JSON values to and from them, with errors that name the place.

Records are msgspec structs: their classes are made some forty times faster than frozen
dataclasses, which is what a step's start consisted of, and JSON values are checked in C.
"""

import enum
import sys
from collections.abc import Mapping
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
    """Turn a record into JSON values (mappings, lists, strings, numbers).

    Fields that its class names in ``OPTIONAL`` are left out where they are empty.
    """
    if isinstance(record, Struct):
        optional = getattr(record, "OPTIONAL", ())
        values = ((name, getattr(record, name)) for name in record.__struct_fields__)
        return {n: to_json_values(v) for n, v in values if v or n not in optional}
    if isinstance(record, enum.Enum):
        return record.value
    if isinstance(record, Mapping):
        return {str(key): to_json_values(value) for key, value in record.items()}
    if isinstance(record, list | tuple):
        return [to_json_values(value) for value in record]
    return record


def from_json_values(cls: type[T], data: Any, where: str = "record") -> T:
    """Build a record of type ``cls`` from JSON values.

    Raises :class:`DataError` that names the place for a missing or unknown
    field, and for a value of the wrong type.
    """
    try:
        return msgspec.convert(data, cls)
    except msgspec.ValidationError as error:
        problem, _, place = str(error).partition(" - at `$")
        problem = problem.replace(", got ", ", found ")
        raise DataError(f"{where}{place.rstrip('`')}: {problem[0].lower()}{problem[1:]}") from None
