"""Text on a terminal: whatever it holds, lines stay within their columns."""

import io
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.commands import Patch
from ratchet.base import terminal
from ratchet.base.terminal import (
    align_columns,
    coloured,
    cut_line,
    is_terminal,
    terminal_width,
    text_width,
    use_colour,
    wrap_text,
)

WORDS = st.text(alphabet="ab漢e\u0301 -", max_size=60)


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "terminal", "colours"),
    [
        ({"TERM": "xterm"}, True, True),
        ({"TERM": "xterm", "NO_COLOR": ""}, True, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, True, False),
        ({"TERM": "dumb"}, False, False),
        ({}, False, False),
    ],
)
def test_colours_are_for_terminals_that_want_them(
    environment: dict[str, str], terminal: bool, colours: bool, monkeypatch: Patch
) -> None:
    for name in ("TERM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert (is_terminal(Screen()), use_colour(Screen())) == (terminal, colours)
    assert not is_terminal(io.StringIO())
    assert terminal_width() == 80, "standard output is no terminal here"


def test_widths_are_those_of_a_terminal() -> None:
    assert [text_width(text) for text in ("abc", "漢字", "e\u0301", "é")] == [3, 4, 1, 1]
    assert cut_line("abc", 3) == "abc"
    assert cut_line("漢字漢字", 6) == "漢字…"
    assert coloured("a", "31") == "\x1b[31ma\x1b[0m"
    assert coloured("a", None) == "a"


@given(WORDS, st.integers(6, 30))
def test_nothing_is_lost_and_nothing_is_too_wide(text: str, width: int) -> None:
    lines = wrap_text(text, width, "> ", "  ")
    assert all(text_width(line) <= width for line in lines)
    assert lines[0].startswith(">") and all(line.startswith("  ") for line in lines[1:])
    assert "".join(line[2:] for line in lines).replace(" ", "") == "".join(text.split())
    assert text_width(cut_line(text, width)) <= width


def test_paragraphs_break_between_words() -> None:
    assert wrap_text("one two three-four five", 12, "a ", "b ") == [
        "a one two", "b three-four", "b five",
    ]  # fmt: skip
    assert wrap_text("", 10, "name  ", "      ") == ["name"]


def test_columns_are_aligned_by_what_is_seen() -> None:
    rows = [("#", "name", "n"), ("10", "漢字", "1"), ("1", "a", "200")]
    assert align_columns(rows, left=(1,)) == [
        " #  name    n",
        "10  漢字    1",
        " 1  a     200",
    ]
    assert align_columns([("a", "b  "), ("long", "")], left=(0, 1), gap=" ") == ["a    b", "long"]


def test_a_command_that_takes_long_says_so_on_a_terminal_alone(monkeypatch: Patch) -> None:
    monkeypatch.setattr(terminal, "SILENT", 0.0)
    monkeypatch.setattr(terminal, "QUIET", 0.01)
    monkeypatch.setenv("TERM", "xterm")
    screen = Screen()
    monkeypatch.setattr("sys.stderr", screen)
    with terminal.signs_of_life("ratchet power", "simulating") as say:
        waited_for(lambda: "ratchet power: simulating, 0 s" in screen.getvalue())
        say("x" * 200)
        waited_for(lambda: "xxx…" in screen.getvalue())
    lines = screen.getvalue().replace("\033[K", "").split("\r")
    assert max(map(len, lines)) < terminal.WIDTH and screen.getvalue().endswith("\r\033[K")
    quiet = io.StringIO()
    monkeypatch.setattr("sys.stderr", quiet)
    with terminal.signs_of_life("ratchet power", "simulating") as say:
        say("more")
    assert quiet.getvalue() == ""


def waited_for(done: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not done():
        assert time.monotonic() < end
        time.sleep(0.005)
