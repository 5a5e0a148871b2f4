"""Declared changes: where they apply, and which one steering or a strategy takes next."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet.config import Strategy
from ratchet.proposers.declared import (
    change_size,
    changed_lines,
    propose_declared,
    unified_diff,
)
from ratchet.task.edits import applicable_changes, apply_declared
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


PIECES = st.sampled_from(
    ["a\n", "\n", "-- a/x\n", "++ b/x\n", "@@ -1 +1 @@\n", "+\n", "c\r\n", "end"]
)


def test_only_changes_that_make_a_difference_and_touch_nothing_else() -> None:
    drafts = list(applicable_changes(SPACE, FILES))
    assert [d.edit.label for d in drafts] == ["RATE=0.003", "RATE=0.01", "WIDE=[3, 4]", "square"]
    rate, _, wide, _ = drafts
    assert rate.contents == {
        **FILES,
        "train.py": SOURCE.replace("RATE = 1e-3 ", "RATE = 0.003 "),
    }
    assert rate.hypothesis == "from 0.001 to 0.003"
    assert 'NAME: str = "café"; WIDE = [3, 4]\nx = 0' in wide.contents["train.py"]


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


def test_diff_counts_lines() -> None:
    text, added, removed = unified_diff({"a.py": "x\ny\n"}, {"a.py": "x\nz\nw"})
    assert (added, removed) == (2, 1)
    assert text.startswith("--- a/a.py\n+++ b/a.py\n")
    assert unified_diff({"a": "same"}, {"a": "same"}) == ("", 0, 0)
    assert unified_diff({}, {"new.py": "--- x\n"})[1:] == (1, 0)


@given(st.lists(PIECES).map("".join), st.lists(PIECES).map("".join))
def test_changed_lines_are_those_that_differ_whatever_they_look_like(old: str, new: str) -> None:
    text, added, removed = unified_diff({"a.py": old, "b": "1\n"}, {"a.py": new, "b": "2\n"})
    found = changed_lines(text)
    assert found[-2:] == ["-1", "+2"]
    assert sum(line.startswith("+") for line in found) == added
    assert sum(line.startswith("-") for line in found) == removed
    assert {line[1:] for line in found if line[0] == "+"} <= {*new.split("\n"), "2"}


def test_follows_the_ranking_then_the_declared_order_and_never_repeats() -> None:
    ranking = ("data", "hyperparams", "activation")
    labels = [propose_declared(SPACE, FILES, (), ranking, skip=k).edit.label for k in range(4)]
    assert labels == ["RATE=0.003", "square", "WIDE=[3, 4]", "RATE=0.003"]
    tried: list[str] = []
    while draft := propose_declared(SPACE, FILES, tried, ()):
        tried.append(draft.edit.label)
    assert tried == ["square", "WIDE=[3, 4]", "RATE=0.003", "RATE=0.01"]


OPEN = (
    DeclaredChange("RATE", "hyperparams", "why", values=(0.4, 0.2, 1.6)),
    DeclaredChange("WIDTH", "architecture", "why", values=(4, 2)),
    DeclaredChange("FLAG", "architecture", "why", values=("on",)),
    DeclaredChange("loop", "architecture", "why", find="a = 1\n", replace="a = 1\nb = 2\nc = 3\n"),
    DeclaredChange("DROP", "regularization", "why", values=(0.1,)),
)
CODE = {"train.py": "RATE = 0.1\nWIDTH = 1\nFLAG = 'off'\nDROP = 0.0\na = 1\n"}
RANKING = ("regularization", "architecture", "hyperparams")


def taken(count: int = 1, seed: int = 1, counts: dict[str, int] | None = None, **keys) -> list[str]:
    """Labels of the first choices of a strategy, none of which is kept."""
    tried: list[str] = []
    strategy = Strategy("mine", "brief", **keys)
    for number in range(count):
        draft = propose_declared(OPEN, CODE, tried, RANKING, 0, strategy, counts, seed + number)
        if draft is None:
            break
        tried.append(draft.edit.label)
    return tried


RATES, SHAPES = {"only": ("hyperparams",)}, {"only": ("architecture",)}
FIRST = {"first": ("hyperparams", "architecture"), "first_tries": 2}
TWICE = {"hyperparams": 2}


@pytest.mark.parametrize(
    ("keys", "labels"),
    [
        ({}, ["DROP=0.1", "WIDTH=4", "WIDTH=2"]),
        ({"steps": "small", **RATES}, ["RATE=0.2", "RATE=0.4", "RATE=1.6"]),
        ({"steps": "large", **RATES}, ["RATE=1.6", "RATE=0.4", "RATE=0.2"]),
        ({"steps": "large", **SHAPES}, ["loop", "WIDTH=4", "FLAG='on'"]),
        # First categories come first until they were tried often enough.
        (FIRST, ["RATE=0.4", "RATE=0.2", "RATE=1.6"]),
        ({"counts": TWICE, **FIRST}, ["WIDTH=4", "WIDTH=2", "FLAG='on'"]),
        ({"counts": {**TWICE, "architecture": 2}, **FIRST}, ["DROP=0.1", "WIDTH=4", "WIDTH=2"]),
        ({"only": ("regularization",)}, ["DROP=0.1"]),
        ({"only": ("data",)}, []),
    ],
)
def test_a_strategy_decides_what_is_taken(keys: dict, labels: list[str]) -> None:
    assert taken(3, **keys) == labels


def test_a_strategy_takes_everything_once_and_candidates_of_a_round_differ_in_kind() -> None:
    first = taken(9, order="random")
    assert first == taken(9, order="random")
    assert sorted(first) == sorted(taken(9))
    assert len({tuple(taken(9, seed=seed, order="random")) for seed in range(5)}) > 1
    strategy = Strategy("mine", "brief")
    kinds = [propose_declared(OPEN, CODE, [], RANKING, skip, strategy) for skip in range(3)]
    assert [draft.category for draft in kinds if draft] == list(RANKING)


@pytest.mark.parametrize(
    ("label", "size"),
    [("RATE=0.2", 0.693), ("DROP=0.1", 1.0), ("FLAG='on'", 1.0), ("loop", 2.0), ("WIDTH=4", 1.386)],
)
def test_the_size_of_a_step(label: str, size: float) -> None:
    draft = apply_declared(OPEN, CODE, label)
    assert draft is not None
    assert change_size(draft, CODE) == pytest.approx(size, abs=1e-3)
