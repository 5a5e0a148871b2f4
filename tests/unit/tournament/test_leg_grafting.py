"""A win is carried over as a patch; what conflicts is reported and never forced."""

from __future__ import annotations

from ratchet.records.records import Edit
from ratchet.task.task import DeclaredChange
from ratchet.tournament.leg import graft_win
from ratchet.tournament.plan import Fate

BASE = "RATE = 0.1\nWIDTH = 1\nshape = 1.0\n\ndef loss(x):\n    return x\n"
SQUARE = DeclaredChange("square", "activation", "why", find="shape = 1.0", replace="shape = 0.9")
RATE = Edit("constant", "RATE", "0.4")


def over(edited: str, incumbent: str, edit: Edit | None = None, parent: str = BASE):
    merged, fate, detail = graft_win(
        {"train.py": parent}, {"train.py": edited}, {"train.py": incumbent}, edit, (SQUARE,)
    )
    return None if merged is None else merged["train.py"], fate, detail


def test_changes_far_apart_are_merged_as_texts() -> None:
    edited = BASE.replace("return x", "return x * x")
    merged, fate, _ = over(edited, BASE.replace("0.1", "0.2"))
    assert fate is Fate.OFFERED
    assert merged == edited.replace("0.1", "0.2")


def test_neighbouring_constants_do_not_conflict() -> None:
    merged, fate, _ = over(BASE.replace("0.1", "0.4"), BASE.replace("WIDTH = 1", "WIDTH = 4"), RATE)
    assert fate is Fate.OFFERED
    assert merged is not None
    assert merged.startswith("RATE = 0.4\nWIDTH = 4\n")


def test_an_alternative_is_placed_by_its_own_text() -> None:
    edited = BASE.replace("shape = 1.0", "shape = 0.9")
    merged, fate, _ = over(
        edited, BASE.replace("WIDTH = 1", "WIDTH = 4"), Edit("alternative", "square")
    )
    assert fate is Fate.OFFERED
    assert merged is not None
    assert "WIDTH = 4\nshape = 0.9" in merged


def test_two_values_of_one_constant_are_a_conflict() -> None:
    merged, fate, detail = over(BASE.replace("0.1", "0.4"), BASE.replace("0.1", "0.8"), RATE)
    assert (merged, fate) == (None, Fate.CONFLICT)
    assert detail == "both set RATE; the incumbent has 0.8"


def test_two_edits_of_the_same_lines_are_a_conflict() -> None:
    merged, fate, detail = over(
        BASE.replace("return x", "return x * x"), BASE.replace("return x", "return x + 1")
    )
    assert (merged, fate) == (None, Fate.CONFLICT)
    assert detail == "both changed the same lines of train.py"


def test_what_is_there_already_is_no_conflict() -> None:
    assert over(BASE.replace("0.1", "0.4"), BASE.replace("0.1", "0.4"), RATE)[1] is Fate.PRESENT
    edited = BASE.replace("return x", "return x * x")
    assert over(edited, edited.replace("0.1", "0.8"))[1] is Fate.PRESENT
    # The same constant, next to a line that was changed too.
    both = BASE.replace("0.1", "0.4").replace("WIDTH = 1", "WIDTH = 4")
    assert over(BASE.replace("0.1", "0.4"), both, RATE)[1] is Fate.PRESENT


def test_a_merge_that_cannot_be_read_is_a_conflict() -> None:
    parent = "a = [\n    1,\n]\n\n\n\nb = 1\n"
    merged, fate, _ = over("a = [\n    1,\n\n\n\n\nb = 1]\n", parent + "c = 2\n", None, parent)
    assert (merged, fate) == (None, Fate.CONFLICT)


def test_keys_of_yaml_are_carried_over_in_their_place() -> None:
    base = "rate: 0.1  # step\nsize: 1\n"
    edit = Edit("constant", "rate", "0.4")

    def carried(incumbent: str) -> tuple[object, Fate]:
        edited = {"c.yaml": base.replace("0.1", "0.4")}
        merged, fate, _ = graft_win({"c.yaml": base}, edited, {"c.yaml": incumbent}, edit, ())
        return merged, fate

    assert carried(base.replace("size: 1", "size: 2")) == (
        {"c.yaml": "rate: 0.4  # step\nsize: 2\n"},
        Fate.OFFERED,
    )
    assert carried(base.replace("0.1", "0.3"))[1] is Fate.CONFLICT
    assert carried(base.replace("0.1", "0.4").replace("size: 1", "size: 2"))[1] is Fate.PRESENT
