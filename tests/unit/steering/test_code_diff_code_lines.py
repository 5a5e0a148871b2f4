"""Lines that a change must pay for: code, and nothing that only looks like more or less."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet.steering.code_diff import count_code_lines, net_code_lines

SOURCE = '''"""Train.

Twice.
"""
import math  # roots

# a comment
RATE = 1
STEPS = [
    1,

    # two comes next
    2,
]


def act(x):
    return x  # as it is
'''


def test_code_counts_and_comments_and_blank_lines_do_not() -> None:
    # Three lines of docstring, an import, a rate, four of a list, two of a function.
    assert count_code_lines("train.py", SOURCE) == 11


@given(st.lists(st.sampled_from(["", "   ", "# why", "    # indented", "\t", "#"]), max_size=20))
def test_padding_is_free(padding: list[str]) -> None:
    more = SOURCE + "\n".join(padding) + "\n"
    assert count_code_lines("train.py", more) == count_code_lines("train.py", SOURCE)
    assert count_code_lines("train.py", "\n".join(padding)) == 0
    assert net_code_lines({"train.py": SOURCE}, {"train.py": more}) == 0


@given(st.integers(0, 11), st.sampled_from(["", "# note", "        # far in"]))
def test_padding_between_lines_is_free(place: int, padding: str) -> None:
    lines = ["a = 1"] * 6 + ["if a:", "    b = 2", "    c = 3", "else:", "    d = 4"]
    padded = [*lines[:place], padding, *lines[place:]]
    assert count_code_lines("a.py", "\n".join(padded)) == len(lines)


def test_line_ends_do_not_matter() -> None:
    for end in ("\n", "\r\n", "\r"):
        assert count_code_lines("train.py", SOURCE.replace("\n", end)) == count_code_lines(
            "train.py", SOURCE
        )
    assert count_code_lines("a.py", "x = 1\ny = '\u2028'\n") == 2


@pytest.mark.parametrize(
    "text", ["def (\n\n# no\n", "x = '\n\ny\n", "  a\n b\n\n# c\n", "x = (\n\n1\n"]
)
def test_what_is_no_python_counts_by_its_filled_lines(text: str) -> None:
    filled = sum(bool(line.strip()) for line in text.split("\n"))
    assert count_code_lines("train.py", text) == filled
    assert count_code_lines("notes.txt", text) == filled


@given(st.text())
def test_any_text_has_a_count(text: str) -> None:
    for name in ("a.py", "a.txt"):
        assert 0 <= count_code_lines(name, text) <= text.count("\n") + text.count("\r") + 1


def test_net_lines_over_all_files() -> None:
    old = {"a.py": "x = 1\ny = 2\n", "b.txt": "one\n"}
    assert net_code_lines(old, {"a.py": "x = 1\n", "b.txt": "one\n\ntwo\nthree\n"}) == 1
    assert net_code_lines(old, old) == 0
    assert net_code_lines({}, {"a.py": "x = 1\n# only\n"}) == 1


def test_comments_of_yaml_are_free_too() -> None:
    assert count_code_lines("c.yaml", "# how\nrate: 1  # why\n\n  # deep\nsize: 2\n") == 2
    assert count_code_lines("c.json", '{\n"rate": 1\n}\n') == 3
