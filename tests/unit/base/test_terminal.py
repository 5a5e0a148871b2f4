"""What is printed stays within its columns and loses no word."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet.base.terminal import align, cells, cut, paint, wants_colour, wrap


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_colours_are_for_terminals_that_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert wants_colour(Terminal())
    assert not wants_colour(io.StringIO())
    monkeypatch.setenv("TERM", "dumb")
    assert not wants_colour(Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "")
    assert not wants_colour(Terminal())
    assert (paint("a", "31"), paint("a", None)) == ("\x1b[31ma\x1b[0m", "a")


def test_wide_letters_take_two_columns_and_accents_none() -> None:
    assert (cells("ab"), cells("日本"), cells("e\u0301")) == (2, 4, 1)
    assert cut("abc", 3) == "abc"
    assert cut("日本語", 5) == "日本…"


@given(st.text("ab é日", max_size=60), st.integers(4, 30))
def test_wrapped_text_fits_and_is_whole(text: str, width: int) -> None:
    lines = wrap(text, width, " ", "-")
    assert all(cells(line) <= width for line in lines)
    shown = lines[0].removeprefix("-") + "".join(lines[1:])
    assert shown.replace(" ", "") == text.replace(" ", "")
    assert cells(cut(text, width)) <= width


def test_a_table_is_aligned_by_cells() -> None:
    rows = [("n", "what", "x"), ("10", "日本", "1.5")]
    assert align(rows, left={1}) == [" n  what    x", "10  日本  1.5"]
    assert wrap("one two three", 8, "  ", "> ") == ["> one", "  two", "  three"]
