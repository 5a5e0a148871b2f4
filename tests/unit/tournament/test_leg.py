"""A win is carried over as a patch; what conflicts is reported and never forced."""

import pytest

from ratchet.records.proposals import Edit
from ratchet.task.task import DeclaredChange
from ratchet.tournament.leg import graft_win
from ratchet.tournament.plan import Fate

BASE = "RATE = 0.1\nWIDTH = 1\nshape = 1.0\n\ndef loss(x):\n    return x\n"
SQUARE = DeclaredChange("square", "activation", "why", find="shape = 1.0", replace="shape = 0.9")
RATE, SHAPE = Edit("constant", "RATE", "0.4"), Edit("alternative", "square")
KEY = Edit("constant", "rate", "0.4")
WIDER = BASE.replace("WIDTH = 1", "WIDTH = 4")
FASTER, FASTEST = BASE.replace("0.1", "0.4"), BASE.replace("0.1", "0.8")
SQUARED, SHIFTED = (
    BASE.replace("return x", "return x * x"),
    BASE.replace("return x", "return x + 1"),
)
YAML = "rate: 0.1  # step\nsize: 1\n"
LIST = "a = [\n    1,\n]\n\n\n\nb = 1\n"


def over(
    parent: str, edited: str, incumbent: str, edit: Edit | None, name: str = "train.py"
) -> tuple[str | None, Fate, str]:
    merged, fate, detail = graft_win(
        {name: parent}, {name: edited}, {name: incumbent}, edit, (SQUARE,)
    )
    return None if merged is None else merged[name], fate, detail


@pytest.mark.parametrize(
    ("edited", "incumbent", "edit", "merged"),
    [
        (SQUARED, FASTEST, None, SQUARED.replace("0.1", "0.8")),  # far apart: as texts
        (FASTER, WIDER, RATE, WIDER.replace("0.1", "0.4")),  # neighbouring constants
        # An alternative is placed by its own text.
        (BASE.replace("1.0", "0.9"), WIDER, SHAPE, WIDER.replace("1.0", "0.9")),
    ],
)
def test_what_fits_is_merged(edited: str, incumbent: str, edit: Edit | None, merged: str) -> None:
    assert over(BASE, edited, incumbent, edit) == (merged, Fate.OFFERED, "")


@pytest.mark.parametrize(
    ("parent", "edited", "incumbent", "edit", "fate", "detail"),
    [
        (BASE, FASTER, FASTEST, RATE, Fate.CONFLICT, "both set RATE; the incumbent has 0.8"),
        (BASE, SQUARED, SHIFTED, None, Fate.CONFLICT, "both changed the same lines of train.py"),
        # A merge that cannot be read.
        (LIST, "a = [\n    1,\n\n\n\n\nb = 1]\n", LIST + "c = 2\n", None, Fate.CONFLICT, "both"),
        (BASE, FASTER, FASTER, RATE, Fate.PRESENT, "it is in the incumbent already"),
        (BASE, SQUARED, SQUARED.replace("0.1", "0.8"), None, Fate.PRESENT, "it is in"),
        # The same constant, next to a line that was changed too.
        (BASE, FASTER, WIDER.replace("0.1", "0.4"), RATE, Fate.PRESENT, "it is in"),
    ],
)
def test_what_conflicts_or_is_there_already_is_not_forced(
    parent: str, edited: str, incumbent: str, edit: Edit | None, fate: Fate, detail: str
) -> None:
    merged, *why = over(parent, edited, incumbent, edit)
    assert (merged, why[0]) == (None, fate)
    assert str(why[1]).startswith(detail)


def test_keys_of_yaml_are_carried_over_in_their_place() -> None:
    def carried(incumbent: str) -> tuple[str | None, Fate]:
        return over(YAML, YAML.replace("0.1", "0.4"), incumbent, KEY, "c.yaml")[:2]

    larger = YAML.replace("size: 1", "size: 2")
    assert carried(larger) == (larger.replace("0.1", "0.4"), Fate.OFFERED)
    assert carried(YAML.replace("0.1", "0.3"))[1] is Fate.CONFLICT
    assert carried(larger.replace("0.1", "0.4"))[1] is Fate.PRESENT
