"""Karpathy's five columns, whatever a description holds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ratchet.base.text import one_line
from ratchet.records.records import Status
from ratchet.records.results_table import TableRow, format_table_row, table_header


def test_a_row_as_the_tools_expect_it() -> None:
    row = TableRow("0123456789abcdef", 0.99791234, 45056.0, Status.KEEP, "baseline")
    assert table_header("val_bpb") == "commit\tval_bpb\tmemory_gb\tstatus\tdescription"
    assert format_table_row(row) == "0123456\t0.997912\t44.0\tkeep\tbaseline"


def test_a_missing_metric_is_zero_here_and_only_here() -> None:
    row = TableRow("0123456", None, None, Status.CRASH, "broke")
    assert format_table_row(row) == "0123456\t0.000000\t0.0\tcrash\tbroke"


def test_little_memory_is_not_none() -> None:
    row = TableRow("0123456", 1.0, 5.244, Status.KEEP, "small")
    assert format_table_row(row).split("\t")[2] == "0.0051"


@given(st.text())
def test_a_description_cannot_break_the_table(text: str) -> None:
    line = format_table_row(TableRow("0123456", 1.0, 1.0, Status.DISCARD, text))
    assert len(line.split("\t")) == 5
    assert len(line.splitlines()) == 1


def test_text_that_would_reorder_or_hide_is_stripped() -> None:
    assert one_line("a\u202eb\u2066c\x1b[31md\x00") == "abc [31md"
