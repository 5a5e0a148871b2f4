"""Text of candidates' files: what is refused, parsed, compared, and how long that may take."""

import ast
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.malformed import DEEP
from ratchet.task.sources import (
    MOST_BYTES,
    MOST_LEVELS,
    BoundedMatcher,
    SourceError,
    TooSlowError,
    load_settings,
    new_faults,
    parse_python,
    reading_time,
    text_fault,
    text_faults,
)


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("# coding: raw_unicode_escape\n", "coding", "names the encoding raw_unicode_escape"),
        ("#!/bin/python\n# -*- coding: utf-7 -*-\n", "coding", "names the encoding utf-7"),
        ("# vim: set fileencoding=latin-1 :\n", "coding", "names the encoding iso-8859-1"),
        ("# coding: nothing-known\n", "coding", "unknown encoding"),
        ("\ufeff# coding: latin-1\n", "coding", "encoding problem"),
        ("# " + "x" * 5000 + "\n# coding: cp037\n", "coding", "names the encoding cp037"),
        ("x = 1\ny = '\0'\n", "character", "has U+0000 (NULL) on line 2"),
        ("# \u202e\n", "character", "has U+202E (RIGHT-TO-LEFT OVERRIDE) on line 1"),
        ("x = 1\n\n# a\u2028b\n", "character", "has U+2028 (LINE SEPARATOR) on line 3"),
        ("# a\rimport os\n", "character", "has U+000D (CARRIAGE RETURN) on line 1"),
        ("x = 1\n\x0cy = 2\n", "character", "has U+000C (FORM FEED) on line 2"),
        ("# \x1b[2K\n", "character", "has U+001B (ESCAPE) on line 1"),
        ("x = 1 # \ufeff\n", "character", "has U+FEFF"),
        ("# \U000e0041\n", "character", "has U+E0041 (TAG LATIN CAPITAL LETTER A)"),
        ("x = 1\n# \udce9\n", "utf-8", "is not UTF-8 text on line 2 (byte 0xe9)"),
        ("x = = 1\n", "unreadable", "is not valid Python (line 1: "),
        (DEEP["attributes"](900), "unreadable", "is nested deeper than 80 levels"),
        (DEEP["names"](40_000), "unreadable", "is larger than 200,000 characters"),
        (DEEP["semicolons"](30_000), "unreadable", "has more than 30,000 words and signs"),
        (DEEP["hexadecimal"](5000), "unreadable", "a whole number of more than 4096 bits"),
        ("#" * (MOST_BYTES + 1), "size", "is larger than 1,048,576 bytes"),
    ],
)
def test_what_is_read_otherwise_than_it_is_run_is_named(text: str, kind: str, words: str) -> None:
    found = text_faults("train.py", text)
    assert kind in {kind for kind, _ in found}
    assert any(words in each for each in found.values()), found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x = 1\r\ny = 'é σ 中 🙂'\r\n",
        "\ufeffx = 1\n",
        "# coding: utf-8\n",
        "# -*- coding: UTF8 -*-\n",
        "# vim: fileencoding=utf-8-unix\n",
        "x = 1\n\n# coding: latin-1, on the third line, where it means nothing\n",
        "x = 'coding: latin-1'\n",
        DEEP["names"](3000),
        DEEP["brackets"](60),
        DEEP["sum"](70),
    ],
)
def test_honest_text_has_no_fault(text: str) -> None:
    assert text_faults("train.py", text) == {}


def test_settings_and_data_are_text_too() -> None:
    assert "U+202E" in (text_fault("c.yaml", "a: '\u202e'\n") or "")
    assert "UTF-8" in (text_fault("words.txt", "\udce9") or "")
    assert text_fault("words.txt", "# coding: latin-1\n") is None
    assert "half of a character" in (text_fault("c.json", '{"a": "\\ud800"}') or "")
    assert "whole number" in (text_fault("c.json", f'{{"a": {10**4000}}}') or "")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yaml", "a: 1\nb: 2\n'a': 3\n"),
        ("a.yaml", "b: {a: 1, a: 2}"),
        ("a.json", '{"a": 1, "a": 2}'),
    ],
)
def test_a_key_that_stands_twice_is_refused(name: str, text: str) -> None:
    """A reader sees the first value, and the last one is used."""
    assert "the key 'a' stands twice in one mapping" in f"{text_faults(name, text)}"
    assert text_faults("a.yaml", "a: &a {x: 1}\nb:\n  <<: *a\n  x: 2\n") == {}


def test_what_a_version_has_already_is_no_fault_of_the_next() -> None:
    old, new = "x = 1\n\x0c\n", "x = 2\n\x0c\n\x0c\n"
    assert new_faults("a.py", new, old) == {}
    assert "U+202E" in (text_fault("a.py", new + "# \u202e\n", old) or "")
    # Neither is an encoding, but another one is.
    named = "# coding: latin-1\nx = 1\n"
    assert text_fault("a.py", named.replace("x = 1", "x = 2"), named) is None
    assert "cp037" in (text_fault("a.py", named.replace("latin-1", "cp037"), named) or "")


@pytest.mark.parametrize("name", sorted(DEEP))
@pytest.mark.parametrize("size", [MOST_LEVELS, 900, 20_000])
def test_no_nesting_takes_long_or_breaks_what_walks_a_tree(name: str, size: int) -> None:
    began = time.process_time()
    try:
        tree = parse_python(DEEP[name](size))
    except SourceError:
        pass
    else:
        ast.unparse(tree)
        ast.dump(tree)
    assert time.process_time() - began < 10.0


@given(st.text() | st.binary().map(lambda data: data.decode("utf-8", errors="surrogateescape")))
def test_any_text_is_read_or_refused(text: str) -> None:
    for name in ("a.py", "a.yaml", "a.json", "a.txt"):
        assert all(words for words in text_faults(name, text).values())
        if name != "a.txt":
            try:
                parse_python(text) if name == "a.py" else load_settings(name, text)
            except SourceError as error:
                assert f"{error}"


@given(st.lists(st.integers(0, 3)), st.lists(st.integers(0, 3)), st.integers(0, 40))
def test_a_comparison_without_steps_left_is_still_right(old: list, new: list, steps: int) -> None:
    made: list[int] = []
    for tag, i, j, k, m in BoundedMatcher(old, new, autojunk=False, steps=steps).get_opcodes():
        assert (old[i:j] == new[k:m]) is (tag == "equal")
        made += new[k:m]
    assert made == new


def test_comparing_takes_a_bounded_time() -> None:
    began = time.process_time()
    lines = [f"{number}" for number in range(20_000)]
    opcodes = BoundedMatcher(lines, lines[::-1], autojunk=False).get_opcodes()
    assert {tag for tag, *_ in opcodes} & {"replace", "delete", "insert"}
    matcher = BoundedMatcher([0, 1] * 5000, [1, 0, 0] * 4000, autojunk=False)
    assert matcher.get_opcodes()
    assert time.process_time() - began < 20.0


def test_reading_that_takes_too_long_is_stopped() -> None:
    with pytest.raises(TooSlowError, match=r"more than 0\.05 s"), reading_time(0.05):
        while True:
            pass
    with reading_time(60.0):
        assert parse_python("x = 1")
