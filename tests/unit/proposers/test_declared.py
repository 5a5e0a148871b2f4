"""The proposer without a language model."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet.proposers.declared import propose_declared, unified_diff
from ratchet.task.edits import applicable_changes, apply_declared, find_python
from ratchet.task.task import DeclaredChange

SOURCE = '''"""Train."""
RATE = 1e-3  # step size
NAME: str = "café"; WIDE = (1,
    2)
x = 0


def act(v):
    RATE = 5
    return max(v, x)
'''
RATE = DeclaredChange("RATE", "hyperparams", "from {old} to {new}", values=(3e-3, 1e-3, 1e-2))
WIDE = DeclaredChange("WIDE", "architecture", "wider", values=([3, 4],))
SQUARE = DeclaredChange(
    "square", "activation", "squares", find="max(v, x)", replace="max(v, x) ** 2"
)
BROKEN = DeclaredChange("broken", "other", "does not parse", find="return", replace="return (")
AWAY = DeclaredChange("away", "other", "not there", find="min(", replace="max(")
SPACE = (RATE, WIDE, SQUARE, BROKEN, AWAY)
FILES = {"train.py": SOURCE, "notes.txt": "RATE = 9\n"}


def test_only_changes_that_make_a_difference() -> None:
    labels = [d.edit.label for d in applicable_changes(SPACE, FILES)]
    assert labels == ["RATE=0.003", "RATE=0.01", "WIDE=[3, 4]", "square"]


def test_a_constant_keeps_its_comment_and_its_neighbours() -> None:
    draft = next(d for d in applicable_changes([WIDE], FILES))
    assert 'NAME: str = "café"; WIDE = [3, 4]\nx = 0' in draft.contents["train.py"]
    draft = next(d for d in applicable_changes([RATE], FILES))
    assert "RATE = 0.003  # step size\n" in draft.contents["train.py"]
    assert "RATE = 5" in draft.contents["train.py"]
    assert draft.hypothesis == "from 0.001 to 0.003"
    assert draft.contents["notes.txt"] == FILES["notes.txt"]


def test_never_repeats_what_was_tried() -> None:
    tried: list[str] = []
    while draft := propose_declared(SPACE, FILES, tried, ()):
        tried.append(draft.edit.label)
    assert tried == ["square", "WIDE=[3, 4]", "RATE=0.003", "RATE=0.01"]


def test_a_change_is_applied_again_while_it_means_something() -> None:
    draft = apply_declared(SPACE, FILES, "RATE=0.01")
    assert draft is not None
    assert draft.description == "RATE 0.001 -> 0.01"
    assert apply_declared(SPACE, draft.contents, "RATE=0.01") is None
    other = apply_declared(SPACE, draft.contents, "square")
    assert other is not None
    assert "RATE = 0.01 " in other.contents["train.py"]
    assert "max(v, x) ** 2" in other.contents["train.py"]
    assert apply_declared(SPACE, FILES, "gone") is None


def test_follows_the_ranking_then_the_declared_order() -> None:
    ranking = ("data", "hyperparams", "activation")
    first = propose_declared(SPACE, FILES, (), ranking)
    assert first is not None
    assert first.edit.label == "RATE=0.003"
    labels = [propose_declared(SPACE, FILES, (), ranking, skip=k).edit.label for k in range(4)]
    assert labels == ["RATE=0.003", "square", "WIDE=[3, 4]", "RATE=0.003"]


@pytest.mark.parametrize(
    "text", ["RATE = 1\nRATE = 2\n", "RATE = f()\n", "RATE += 1\n", "def (", "A, RATE = 1, 2\n"]
)
def test_no_single_literal_no_constant(text: str) -> None:
    assert find_python(text, "RATE") is None


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text() | st.booleans())
def test_any_literal_is_found_and_can_be_replaced(value: object) -> None:
    text = f"é = 'ü'; RATE = {value!r}  # why\n"
    place = find_python(text, "RATE")
    assert place is not None
    assert place.value == value
    assert text[: place.start] + "7" + text[place.end :] == "é = 'ü'; RATE = 7  # why\n"


def test_diff_counts_lines() -> None:
    text, added, removed = unified_diff({"a.py": "x\ny\n"}, {"a.py": "x\nz\nw"})
    assert (added, removed) == (2, 1)
    assert text.startswith("--- a/a.py\n+++ b/a.py\n")
    assert unified_diff({"a": "same"}, {"a": "same"}) == ("", 0, 0)
    assert unified_diff({}, {"new.py": "--- x\n"})[1:] == (1, 0)


def test_keys_of_settings_are_constants_too() -> None:
    files = {"c.yaml": "# how\nrate: 1e-3  # why\nmodel: {size: 8}\n", "c.json": '{"size": 1}'}
    size = DeclaredChange("model.size", "architecture", "{new}", values=(8, 8.0, 16))
    rate = DeclaredChange("rate", "hyperparams", "from {old} to {new}", values=(0.001, 1e-5))
    drafts = list(applicable_changes((rate, size), files))
    assert [d.edit.label for d in drafts] == ["rate=1e-05", "model.size=16"]
    assert drafts[0].contents["c.yaml"] == files["c.yaml"].replace("1e-3", "1.0e-05")
    assert drafts[0].hypothesis == "from 0.001 to 1e-05"
    broken = DeclaredChange("broken", "other", "", find="# how", replace="a: [")
    assert not list(applicable_changes((broken,), files))
