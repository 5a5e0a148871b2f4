"""Sessions on a machine that is busy for a while, or stays so."""

import json
from collections.abc import Container
from pathlib import Path
from typing import Any

import pytest

from helpers import BYTELM
from helpers.boxes import Box, make_box
from helpers.recorded import Recorded
from helpers.shared import replayed
from ratchet.cli.verify import main

LOSS = 0.3
"""Bits per byte that a busy machine costs here: five times the noise of these runs, as
two busy loops beside a real run of the default task do."""


ATTEMPTS = {"key", "set_aside"}


def session(path: Path, busy: Container[int] = ()) -> Box:
    """A session of the default task whose runs of these numbers are slowed."""
    box = make_box(path, task=str(BYTELM), budget_steps=None, rounds=12, seed=4)
    table = Recorded.load("bytelm", BYTELM)
    table.busy, table.loss = busy, LOSS
    box.backend, box.clock = table, table.clock
    box.play()
    return box


def kept(box: Box) -> list[int]:
    return [ruling["number"] for ruling in box.rulings() if "KEEP" in ruling["verdict"]]


def slowed(box: Box) -> dict[int, int]:
    """How many runs were set aside, by experiment."""
    found = {r["number"]: sum(len(run["set_aside"]) for run in r["runs"]) for r in box.rulings()}
    return {number: count for number, count in found.items() if count}


def measured(path: Path) -> Any:
    """A record without what tells one attempt of a run from another."""
    return json.loads(
        path.read_text(),
        object_hook=lambda entry: {k: v for k, v in entry.items() if k not in ATTEMPTS},
    )


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Box:
    return session(tmp_path_factory.mktemp("quiet") / "box")


def test_a_quiet_machine_repeats_nothing(quiet: Box) -> None:
    assert kept(quiet)
    assert slowed(quiet) == {}
    assert not any(event["again"] for event in quiet.events("run_finished"))
    assert "busy machine" not in (quiet.session / "report.html").read_text()


def test_a_machine_that_is_busy_for_a_while_changes_no_verdict(
    tmp_path: Path, quiet: Box, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two runs are slowed once, one of them twice; a replay decides the same from the store."""
    box = session(tmp_path / "box", busy={7, 10, 11})
    assert sum(slowed(box).values()) == 3
    places = sorted((quiet.session / "rounds").glob("*/verdict.json"))
    for path in (*places, quiet.session / "confirm.json"):
        assert measured(box.session / path.relative_to(quiet.session)) == measured(path)
    # All on record, and said.
    assert len(box.runs()) == len(quiet.runs()) + 3
    page = (box.session / "report.html").read_text()
    whose = ", ".join(f"experiment {number}" for number in slowed(box))
    said = f"2 of {len(quiet.runs())} runs were made on a busy machine and repeated ({whose})"
    assert f"{said}; the 3 slowed runs were not judged" in page
    lines = (box.session / "progress.log").read_text().splitlines()
    told = [line for line in lines if "busy machine" in line]
    assert len(told) == 3
    assert "a fixed piece of work took 2.00 times as long; it is run again" in told[0]
    assert main(["--root", str(box.path)]) == 0
    replayed(box, tmp_path / "again")
    key = next(run["set_aside"][0] for r in box.rulings() for run in r["runs"] if run["set_aside"])
    (box.path / "store/runs" / key[:2] / key).rename(tmp_path / key)
    capsys.readouterr()
    assert main(["--root", str(box.path)]) != 0
    assert key in capsys.readouterr().out


@pytest.mark.parametrize("busy", [range(8, 999), range(1, 8)])
def test_a_machine_that_stays_busy_changes_no_keep(busy: range, tmp_path: Path, quiet: Box) -> None:
    box = session(tmp_path / "box", busy)
    assert kept(box) == kept(quiet)
