"""Series that are kept beside a run: the curve of its training loss, and samples of its machine.

Both are small tables of tab-separated values in the run's folder of the store, hashed with
its other files.  A run that printed no losses has no curve, and one that was made before
samples were taken, or that ended within a second, has none.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from ratchet.base.errors import DataError
from ratchet.base.structs import Frozen
from ratchet.records.store import Store

CURVE = "curve.tsv"
SAMPLES = "samples.tsv"


class CurvePoint(Frozen):
    """A line of progress that a run printed.

    ``loss`` is the training loss as printed, which may be NaN or infinite.  ``seconds`` have
    passed since the run began, its start and compilation included, and ``tokens`` were trained
    on by then; ``None`` for what is not known.
    """

    step: int
    loss: float
    seconds: float | None = None
    tokens: float | None = None


class Sample(Frozen):
    """The machine since the sample before, about a second ago; ``None`` for what it does not tell.

    ``seconds`` have passed since the run began.  ``cpu_percent`` is the processor time of the
    run's processes, where 100 is one core, and ``memory_mb`` the most that they had in MiB.  All
    others are of the run's GPU: means, the most of its memory and temperature, and in
    ``throttle`` all of NVML's bits for what slowed its clock down.
    """

    seconds: float
    cpu_percent: float | None = None
    memory_mb: float | None = None
    gpu_percent: float | None = None
    gpu_memory_mb: float | None = None
    power_watts: float | None = None
    temperature_c: float | None = None
    sm_clock_mhz: float | None = None
    throttle: int | None = None


Row = TypeVar("Row", CurvePoint, Sample)


def series_table(rows: Sequence[CurvePoint] | Sequence[Sample]) -> str:
    """Rows as a table with a line of names; six significant digits, empty for ``None``."""
    names = list(get_type_hints(type(rows[0]))) if rows else []
    lines = ["\t".join(names)]
    lines += ["\t".join(_cell(getattr(row, name)) for name in names) for row in rows]
    return "\n".join(lines) + "\n"


def _cell(value: float | None) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def parse_series(kind: type[Row], text: str, where: str) -> list[Row]:
    """Rows of a table that :func:`series_table` made; columns with other names are passed over.

    Raises :class:`DataError` for a table that it did not make.
    """
    lines = [line.split("\t") for line in text.splitlines()]
    types = get_type_hints(kind)
    rows = []
    for number, cells in enumerate(lines[1:], 2):
        try:
            named = dict(zip(lines[0], cells, strict=True))
            values: dict[str, Any] = {
                n: _number(c, types[n]) for n, c in named.items() if n in types and c
            }
            rows.append(kind(**values))
        except (TypeError, ValueError) as error:
            raise DataError(f"{where}: line {number} is no row of such a table: {error}") from None
    return rows


def _number(cell: str, kind: object) -> int | float:
    return int(cell) if kind is int or kind == int | None else float(cell)


def read_curve(store: Store, key: str) -> list[CurvePoint]:
    """Curve of a stored run, in the order in which it was printed; empty if it has none."""
    return parse_curve(store.paths.run(key))


def parse_curve(folder: Path) -> list[CurvePoint]:
    """Curve in the folder of a run, which may not be finished."""
    return _read(CurvePoint, folder / CURVE)


def read_samples(store: Store, key: str) -> list[Sample]:
    """Samples of the machine during a stored run; empty if it has none."""
    return _read(Sample, store.paths.run(key) / SAMPLES)


def _read(kind: type[Row], path: Path) -> list[Row]:
    if not path.is_file():
        return []
    return parse_series(kind, path.read_text(encoding="utf-8"), str(path))


def thinned(points: Sequence[CurvePoint], most: int) -> list[CurvePoint]:
    """At most so many points, evenly chosen by place, the first and the last among them."""
    if len(points) <= most:
        return list(points)
    places = {round(i * (len(points) - 1) / (most - 1)) for i in range(most)}
    return [points[place] for place in sorted(places)]
