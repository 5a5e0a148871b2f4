"""A session as its readers see it."""

import subprocess
import sys

import pytest

from helpers import BYTELM, load_task
from ratchet.base.structs import replace
from ratchet.config import TransferScale
from ratchet.records.records import Preset, Scale
from ratchet.session import other_scale, transfer_weight


def test_reading_a_session_loads_nothing_that_executes() -> None:
    script = "import sys, ratchet.session; print(*(n for n in sys.modules if 'ratchet.' in n))"
    names = subprocess.check_output([sys.executable, "-c", script], text=True).split()
    folders = {name.split(".")[1] for name in names}
    assert "records" in folders
    assert "runs" not in folders


OWN, LARGE = Preset("own", budget={"seconds": 10}), Preset("large", budget={"seconds": 40})
BARE = Preset("bare")
TASK = replace(
    load_task(BYTELM),
    presets=(OWN, LARGE, BARE),
    budget_seconds=3.0,
    budget_steps=None,
    timeout_seconds=60.0,
)
DEFAULT = {"budget_seconds": None, "budget_steps": None, "timeout_seconds": None}


@pytest.mark.parametrize(
    ("wanted", "own", "frozen", "scale"),
    [
        ({"budget_seconds": 9}, None, {}, Scale(9, None, 180.0, 3.0)),
        ({"budget_seconds": 30}, OWN, {}, Scale(30, None, 180.0, 3.0)),
        # Less time is not granted for less of a budget: starting takes what it takes.
        ({"budget_seconds": 1.5}, None, {}, Scale(1.5, None, 60.0, 0.5)),
        ({"budget_seconds": 9, "timeout_seconds": 70}, None, {}, Scale(9, None, 70, 3.0)),
        ({"budget_steps": 50}, None, {}, Scale(None, 50, 60.0, None)),
        ({"budget_steps": 50}, None, {"budget_steps": 10}, Scale(None, 50, 300.0, 5.0)),
        # Of a preset the budget that a session with it would have.
        ({"preset": "large"}, OWN, {}, Scale(40, None, 240.0, 4.0, "large")),
        ({"preset": "bare"}, OWN, {}, Scale(3.0, None, 60.0, 0.3, "bare")),
        ({"preset": "large"}, OWN, {"budget_seconds": 5}, Scale(5, None, 60.0, 1.0, "large")),
        (
            {"preset": "large", "budget_seconds": 20},
            OWN,
            {"timeout_seconds": 100.0},
            Scale(20, None, 200.0, 2.0, "large"),
        ),
    ],
)
def test_budget_and_time_of_another_scale(
    wanted: dict, own: Preset | None, frozen: dict, scale: Scale
) -> None:
    asked, settings = TransferScale(**wanted, replicates=3), {**DEFAULT, **frozen}
    assert other_scale(settings, asked, TASK, own) == scale
    ratio = 1.0 if scale.ratio is None else scale.ratio
    assert transfer_weight(settings, asked, TASK, own) == 6 * ratio
