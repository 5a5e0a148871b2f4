"""The summary block, as candidates print it and as they should not."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet.base.text import MAX_CHARACTERS, clean_lines
from ratchet.runs.log import finite_metric, log_tail, parse_summary

BLOCK = "step 10 | loss 3.2\n---\nval_bpb:   0.997900\nnum_steps: 953\nnote:   fine\n"


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        (BLOCK, {"val_bpb": 0.9979, "num_steps": 953.0}),
        ("val_bpb: 0.1\n---\nval_bpb: 0.2\nold: 1\n---\nval_bpb: 0.3\n", {"val_bpb": 0.3}),
        ("epoch 1\nval_bpb: 0.4\n", {"val_bpb": 0.4}),
        ("10%\r50%\r---\n\x1b[32mval_bpb: 1.5\x1b[0m\n", {"val_bpb": 1.5}),
        ("10%\r50%\r---\r\n\x1b[32mval_bpb: 1.5\x1b[0m\r\n", {"val_bpb": 1.5}),
        ("---\r\nval_bpb: 1.5\r\nnum_steps: 9\r\n", {"val_bpb": 1.5, "num_steps": 9.0}),
        ("---\nval_bpb: inf\n", {"val_bpb": math.inf}),
        ("---\nval_bpb: \u0660.\u0665\nnum_steps: 1_0\ndepth: 0,5\n", {}),
    ],
)
def test_the_last_block_is_read(text: str, numbers: dict[str, float]) -> None:
    assert parse_summary(text) == numbers


def test_what_is_not_finite_is_no_metric() -> None:
    found = parse_summary("---\nval_bpb: nan\nloss: inf\nx: 0\n")
    assert math.isnan(found["val_bpb"])
    values = [finite_metric(found, name) for name in ("val_bpb", "loss", "other", "x")]
    assert values == [None, None, None, 0.0]


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
