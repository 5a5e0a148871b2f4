"""Karpathy's five columns, whatever a description holds; rows are appended, never changed."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet.base.text import one_line
from ratchet.records.records import Status
from ratchet.records.results_table import TableRow, format_table_row, record_rows


def row(name: str) -> TableRow:
    return TableRow("0123456", 1.0, 1024.0, Status.KEEP, name)


@pytest.mark.parametrize(
    ("value", "memory_mb", "numbers"),
    [
        (0.99791234, 45056.0, "0.997912\t44.0"),
        (None, None, "0.000000\t0.0"),  # A missing metric is zero here and only here.
        (1.0, 5.244, "1.000000\t0.0051"),  # Little memory is not none.
    ],
)
def test_a_row_as_the_tools_expect_it(value, memory_mb, numbers) -> None:
    made = TableRow("0123456789abcdef", value, memory_mb, Status.KEEP, "try")
    assert format_table_row(made) == f"0123456\t{numbers}\tkeep\ttry"


@given(st.text())
def test_a_description_cannot_break_the_table(text: str) -> None:
    line = format_table_row(row(text))
    assert len(line.split("\t")) == 5
    assert len(line.splitlines()) == 1
    # Text that would reorder or hide is stripped.
    assert one_line("a\u202eb\u2066c\x1b[31md\x00") == "abc [31md"


def test_rows_are_appended_once_and_another_ruling_sets_the_table_aside(tmp_path: Path) -> None:
    path = tmp_path / "results.tsv"
    record_rows(path, "val_bpb", 0, [row("baseline")])
    record_rows(path, "val_bpb", 1, [row("one"), row("two")])
    whole = path.read_bytes()
    assert whole.splitlines()[0] == b"commit\tval_bpb\tmemory_gb\tstatus\tdescription"
    with path.open("ab") as stream:
        stream.write(b"0123456\t1.0")  # a crash cut this one short
    record_rows(path, "val_bpb", 1, [row("one"), row("two")])
    assert path.read_bytes() == whole
    record_rows(path, "val_bpb", 1, [row("another")])
    assert path.read_bytes().splitlines()[2].endswith(b"another")
    assert len(path.read_bytes().splitlines()) == 3
    (aside,) = tmp_path.glob("results.superseded-*.tsv")
    assert aside.read_bytes() == whole
