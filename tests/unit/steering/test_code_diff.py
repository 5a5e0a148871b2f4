"""Differences of two versions: lines to pay for, things that change, names and keys touched."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet.records.records import CATEGORIES
from ratchet.steering.categories import classify_change
from ratchet.steering.code_diff import (
    changed_keys,
    code_differences,
    count_changes,
    count_code_lines,
    net_code_lines,
)

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


@given(
    st.lists(st.sampled_from(["", "   ", "# why", "    # indented", "\t", "#"]), max_size=20),
    st.integers(0, 11),
)
def test_padding_is_free(padding: list[str], place: int) -> None:
    lines = ["a = 1"] * 6 + ["if a:", "    b = 2", "    c = 3", "else:", "    d = 4"]
    padded = "\n".join([*lines[:place], *padding, *lines[place:]])
    assert count_code_lines("a.py", padded) == len(lines)
    more = SOURCE + "\n".join(padding) + "\n"
    assert count_code_lines("train.py", more) == count_code_lines("train.py", SOURCE)
    assert count_code_lines("train.py", "\n".join(padding)) == 0
    assert net_code_lines({"train.py": SOURCE}, {"train.py": more}) == 0


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


def test_net_lines_over_all_files_and_free_comments_of_yaml() -> None:
    old = {"a.py": "x = 1\ny = 2\n", "b.txt": "one\n"}
    assert net_code_lines(old, {"a.py": "x = 1\n", "b.txt": "one\n\ntwo\nthree\n"}) == 1
    assert net_code_lines({}, {"a.py": "x = 1\n# only\n"}) == 1
    assert count_code_lines("c.yaml", "# how\nrate: 1  # why\n\n  # deep\nsize: 2\n") == 2
    assert count_code_lines("c.json", '{\n"rate": 1\n}\n') == 3


MODEL = '''
"""A model."""
WIDTH = 8

class Block:
    def __call__(self, x):
        """One block."""
        return x + relu(norm(x) @ self.up) @ self.down  # fast
'''


def test_layout_comments_and_docstrings_are_no_change() -> None:
    for old, new in (("# fast", "# dropout"), ("One block.", "Dropout."), ("\n\n", "\n\n\n")):
        versions = {"a.py": MODEL}, {"a.py": MODEL.replace(old, new)}
        found = code_differences(versions[0]["a.py"], versions[1]["a.py"])
        assert found is not None
        assert (found.count, found.sites) == (0, ())
        assert classify_change("gelu", *versions) == "activation"


def test_what_is_touched_is_named() -> None:
    found = code_differences(MODEL, MODEL.replace("relu(", "gelu(").replace("= 8", "= 9"))
    assert found is not None
    assert found.constants == ("WIDTH",)
    assert found.definitions == ("Block.__call__",)
    assert found.count == 2


def test_long_blocks_are_compared_place_by_place() -> None:
    lines = ["step()"] * 1000
    found = code_differences("\n".join(lines), "\n".join([*lines[:-1], "dropout()"]))
    assert found is not None
    assert [site.words for site in found.sites] == [("dropout", "step")]


TWO_METHODS = """
A = 1
B = 2
class Block:
    def __init__(self):
        self.w = 1
    def forward(self, x):
        return x
def step():
    return A
"""


YAML = """\
# settings
learning_rate: 0.01  # step
batch_size: 16
dropout_rate: 0.5
model:
  hidden_size: 32
  embedding:
    dim: 8
"""


@pytest.mark.parametrize(
    ("name", "old", "edits", "count"),
    [
        ("a.py", TWO_METHODS, {}, 0),
        ("a.py", TWO_METHODS, {"A = 1": "A = 3  # why"}, 1),
        ("a.py", TWO_METHODS, {"A = 1": "A = 3", "B = 2": "B = 3"}, 2),
        ("a.py", TWO_METHODS, {"self.w = 1": "self.w = 2", "return x": "return self.w * x"}, 1),
        ("a.py", TWO_METHODS, {"return x": "return -x", "return A": "return B"}, 2),
        ("a.py", TWO_METHODS, {"A = 1": "A = ("}, None),
        ("c.yaml", YAML, {"# step": "# stride"}, 0),
        ("c.yaml", YAML, {"0.01": "0.02", "16": "64"}, 2),
        ("c.yaml", YAML, {"batch_size: 16\n": ""}, 1),
        ("c.yaml", YAML, {"model:": "more: 1\nmodel:"}, 1),
        ("notes.txt", "a\nb\nc\n", {"a": "x", "c": "y"}, 2),
    ],
)
def test_changes_are_counted(name: str, old: str, edits: dict[str, str], count: int | None) -> None:
    new = old
    for old_text, new_text in edits.items():
        new = new.replace(old_text, new_text)
    assert count_changes({name: old}, {name: new}) == count


@pytest.mark.parametrize(
    ("old", "new", "category"),
    [
        ("0.01", "0.02", "hyperparams"),
        ("batch_size: 16", "batch_size: 64", "hyperparams"),
        ("0.5", "0.1", "regularization"),
        ("hidden_size: 32", "hidden_size: 64", "architecture"),
        ("dim: 8", "dim: 16", "embedding"),
    ],
)
def test_a_changed_key_tells_what_it_is_about(old: str, new: str, category: str) -> None:
    assert classify_change("", {"c.yaml": YAML}, {"c.yaml": YAML.replace(old, new)}) == category


def test_names_with_the_keys_above_them() -> None:
    after = YAML.replace("dim: 8", "dim: 16")
    assert list(changed_keys(YAML, after)) == [(("dim",), ("embedding", "model"))]
    json = '{\n "model": {\n  "size": 1,\n  "rate": 2\n }\n}'
    assert list(changed_keys(json, json.replace("1", "3"))) == [(("size",), ("model",))]
    assert list(changed_keys("a: 1\n", "a: 2\n" * 6000)) == []


CODE = st.text(max_size=100) | st.text(alphabet="ab=()[]:\n \t1.,def", max_size=80)


@given(CODE, CODE)
def test_any_text_can_be_counted_and_compared(old: str, new: str) -> None:
    for name in ("a.py", "a.txt"):
        assert 0 <= count_code_lines(name, old) <= old.count("\n") + old.count("\r") + 1
    found = code_differences(old, new)
    assert found is None or found.count >= 0
    assert all(names for names, _ in changed_keys(old, new))
    for name in ("a.py", "c.json"):
        assert classify_change(old, {name: old}, {name: new}) in CATEGORIES
