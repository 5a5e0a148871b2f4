"""The summary block, as candidates print it and as they should not."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet.base.text import MAX_CHARACTERS, clean_lines
from ratchet.runs.log import finite_metric, log_tail, parse_summary

BLOCK = """step 10 | loss 3.2
---
val_bpb:          0.997900
training_seconds: 300.1
num_steps:        953
note:             fine
"""


def test_reads_the_block() -> None:
    assert parse_summary(BLOCK) == {
        "val_bpb": 0.9979,
        "training_seconds": 300.1,
        "num_steps": 953.0,
    }


def test_the_last_block_counts_and_nothing_before_it() -> None:
    text = "val_bpb: 0.1\n---\nval_bpb: 0.2\nold: 1\n---\nval_bpb: 0.3\n"
    assert parse_summary(text) == {"val_bpb": 0.3}


def test_without_a_block_the_whole_text_is_read() -> None:
    assert parse_summary("epoch 1\nval_bpb: 0.4\n") == {"val_bpb": 0.4}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_line_ends_ansi_and_progress_lines(end: str) -> None:
    text = f"10%\r50%\r---{end}\x1b[32mval_bpb: 1.5\x1b[0m{end}"
    assert parse_summary(text) == {"val_bpb": 1.5}


def test_non_finite_values_are_told_apart_from_missing_ones() -> None:
    found = parse_summary("---\nval_bpb: nan\nloss: inf\n")
    assert math.isnan(found["val_bpb"])
    assert finite_metric(found, "val_bpb") is None
    assert finite_metric(found, "loss") is None
    assert finite_metric(found, "other") is None
    assert finite_metric({"x": 0.0}, "x") == 0.0


@given(
    st.dictionaries(
        st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,20}", fullmatch=True), st.floats(allow_nan=False)
    )
)
def test_whatever_is_printed_is_read_back(values: dict[str, float]) -> None:
    text = "---\n" + "".join(f"{name}: {value!r}\n" for name, value in values.items())
    assert parse_summary(text) == values


@given(st.text())
def test_no_text_breaks_the_reader(text: str) -> None:
    assert all(isinstance(value, float) for value in parse_summary(text).values())
    assert all(clean_lines(text))


def test_lines_are_cleaned_and_bounded() -> None:
    text = "\ufeff10%\r50%\r\n\x1b]0;title\x07\x1b[31mred\x1b[0m\n\n \x1b[K\n" + "y" * 9999
    assert clean_lines(text) == ["10%", "50%", "red", "y" * 4096]
    assert clean_lines("no\u202eisi\u2066ble\n") == ["noisible"]
    assert clean_lines("a\0b\0\n\0") == ["ab"]
    assert clean_lines("") == []
    assert clean_lines("first\n" + "z\n" * MAX_CHARACTERS)[0] == "z"


def test_tail_starts_at_a_whole_line() -> None:
    assert log_tail(b"short", 100) == "short"
    assert log_tail(b"one\ntwo\nthree\n", 8) == "three\n"
    assert log_tail(b"no line end at all", 5) == "t all"
