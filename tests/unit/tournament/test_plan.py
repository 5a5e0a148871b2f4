"""What the rules of a tournament go by: which legs are open, and when they are played again."""

from pathlib import Path

import pytest

from helpers import REPO
from ratchet.base.io import write_json
from ratchet.base.structs import replace
from ratchet.config import parse_config, read_config
from ratchet.records.paths import SessionPaths
from ratchet.records.records import Direction, StopReason
from ratchet.steps.plan import WorkflowPlan
from ratchet.tournament.plan import (
    Leg,
    Pollination,
    Queue,
    is_leg_open,
    leading_leg,
    leg_digest,
    leg_inputs,
)

LEG = Leg(1, "random", "default.random", 3, 4, 2, 1.45, 1.5, 0.1, 1)


def plan(root: Path, **change: object) -> WorkflowPlan:
    folder = REPO / "config"
    values = {**read_config(folder / "config.yaml"), **change}
    config = parse_config(values, folder / "schema.yaml", "c")
    return WorkflowPlan(config, SessionPaths(config.session, root), REPO)


@pytest.mark.parametrize(
    ("leg", "is_open"),
    [(None, True), (LEG, False), (replace(LEG, stop=StopReason.DEADLINE), True)],
)
def test_limits_concern_legs_that_were_not_played_to_their_end(
    tmp_path: Path, leg: Leg | None, is_open: bool
) -> None:
    here = plan(tmp_path)
    if leg is not None:
        write_json(here.paths.leg(1, 2), leg)
    assert is_leg_open(here, 1, 2) is is_open


def test_a_leg_follows_the_one_before_and_what_was_offered(tmp_path: Path) -> None:
    here = plan(tmp_path)
    paths = here.paths
    assert leg_inputs(here, 0, 1) == [str(paths.baseline)]
    assert leg_inputs(here, 1, 1) == [str(paths.leg(0, 1))]
    assert leg_inputs(here, 2, 1) == [str(paths.leg(1, 1)), str(paths.pollination(1))]


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ({"pollination": "none"}, True),
        ({"evolve_runs": 9}, True),
        ({"strategies": ["random"]}, True),
        ({"line_price": 0}, True),
        ({"evolve_rounds": 9}, False),
        ({"target": 1.0}, False),
    ],
)
def test_what_plays_legs_again(tmp_path: Path, change: dict[str, object], again: bool) -> None:
    before, after = plan(tmp_path), plan(tmp_path, **change)
    assert (leg_digest(before) != leg_digest(after)) is again


def test_the_leader_is_the_best_in_the_metric_s_direction() -> None:
    other = replace(LEG, competitor="radical", mean=1.4)
    assert leading_leg([LEG, other], Direction.MINIMIZE) is other
    assert leading_leg([LEG, other], Direction.MAXIMIZE) is LEG
    twin = replace(LEG, competitor="twin")
    assert leading_leg([LEG, twin], Direction.MINIMIZE) is LEG


def test_nobody_is_offered_what_is_not_for_him() -> None:
    offered = Pollination(1, "none", "random", (Queue("random", ()),))
    assert offered.queue("random") == offered.queue("somebody") == ()
