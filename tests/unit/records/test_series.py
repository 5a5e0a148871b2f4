"""Tables of curves and samples: written and read again."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet.base.errors import DataError
from ratchet.records.series import CurvePoint, Sample, parse_series, series_table, thinned

NUMBERS = st.floats(allow_nan=False, width=32).map(lambda x: float(f"{x:.6g}"))
POINTS = st.builds(
    CurvePoint,
    step=st.integers(0, 10**9),
    loss=NUMBERS,
    seconds=st.none() | NUMBERS,
    tokens=st.none() | NUMBERS,
)


@given(st.lists(POINTS))
def test_a_table_is_read_as_it_was_written(points: list[CurvePoint]) -> None:
    assert parse_series(CurvePoint, series_table(points), "curve.tsv") == points


def test_a_loss_that_is_no_number_is_kept() -> None:
    (point,) = parse_series(CurvePoint, series_table([CurvePoint(3, math.nan)]), "curve.tsv")
    assert math.isnan(point.loss)


def test_samples_without_a_gpu_have_empty_cells() -> None:
    sample = Sample(seconds=1.0, cpu_percent=99.5, memory_mb=120.25)
    table = series_table([sample])
    assert table.splitlines()[1] == "1\t99.5\t120.25\t\t\t\t\t\t"
    assert parse_series(Sample, table, "samples.tsv") == [sample]


def test_columns_of_a_later_format_are_passed_over() -> None:
    table = "step\tloss\tnew\n1\t2.5\tx\n"
    assert parse_series(CurvePoint, table, "curve.tsv") == [CurvePoint(1, 2.5)]


@pytest.mark.parametrize("table", ["step\tloss\n1\n", "step\tloss\none\t2\n", "loss\n2.5\n"])
def test_what_is_no_such_table_is_refused_with_its_line(table: str) -> None:
    with pytest.raises(DataError, match=r"curve.tsv: line 2 is no row"):
        parse_series(CurvePoint, table, "curve.tsv")


@given(st.integers(2, 40), st.integers(0, 300))
def test_a_thinned_curve_keeps_its_ends(most: int, count: int) -> None:
    points = [CurvePoint(step, 1.0) for step in range(count)]
    kept = thinned(points, most)
    assert len(kept) <= most
    assert kept[:1] == points[:1]
    assert kept[-1:] == points[-1:]
