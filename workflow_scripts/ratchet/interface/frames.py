"""Data frames of frozen structs: one column for each field that is a number, a text or yes and no.

pandas is imported when a frame is asked for.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar, get_type_hints, overload

from ratchet.base.structs import Frozen

if TYPE_CHECKING:
    import pandas

DTYPES: Mapping[Any, str] = {
    **{bool: "bool", int: "int64", float: "float64", str: "string"},
    **{bool | None: "boolean", int | None: "Int64", float | None: "Float64", str | None: "string"},
    **{Any: "object", Sequence[Any]: "object"},
}
"""Type of a column by that of its field; those of optional fields know missing values."""

Item = TypeVar("Item", bound=Frozen)


@cache
def columns(kind: type[Frozen]) -> Mapping[str, str]:
    """Columns of the frame of such objects with their types; fields of other kinds are left out."""
    found = {}
    for name, hint in get_type_hints(kind).items():
        plain = str if isinstance(hint, type) and issubclass(hint, enum.Enum) else hint
        if plain in DTYPES and not name.startswith("_"):
            found[name] = DTYPES[plain]
    return found


def make_frame(kind: type[Frozen], items: Iterable[Frozen], index: str | None) -> pandas.DataFrame:
    """A row for each object; ``index`` names the column that becomes the index."""
    import pandas

    rows = list(items)
    found = {}
    for name, dtype in columns(kind).items():
        cells = [getattr(row, name) for row in rows]
        cells = [cell.value if isinstance(cell, enum.Enum) else cell for cell in cells]
        if dtype == "object":
            found[name] = pandas.Series(cells, dtype=object)
        else:
            found[name] = pandas.Series(pandas.array(cells, dtype=dtype))
    frame = pandas.DataFrame(found)
    return frame if index is None else frame.set_index(index)


class Items(Sequence[Item], Generic[Item]):
    """Objects of one kind in their order, which cannot be changed; a slice is such too."""

    index_column: str | None = None
    """The column that :meth:`frame` has as its index."""

    def __init__(self, kind: type[Item], items: Iterable[Item]) -> None:
        self._kind, self._items = kind, tuple(items)

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    @overload
    def __getitem__(self, place: int) -> Item: ...

    @overload
    def __getitem__(self, place: slice) -> Items[Item]: ...

    def __getitem__(self, place: int | slice) -> Item | Items[Item]:
        if isinstance(place, slice):
            return type(self)(self._kind, self._items[place])
        return self._items[place]

    def __repr__(self) -> str:
        return f"<{len(self)} of {self._kind.__name__}>"

    def frame(self) -> pandas.DataFrame:
        """A row for each, and a column for each field that is a number, a text or yes and no.

        A missing value is ``NA``, never 0.
        """
        return make_frame(self._kind, self, self.index_column)


class Numbered(Items[Item]):
    """Objects by the numbers of their experiments; the frame's index is that number."""

    index_column = "number"


class Named(Items[Item]):
    """Objects by their names; the frame's index is the name."""

    index_column = "name"
