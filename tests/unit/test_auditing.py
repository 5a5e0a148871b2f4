"""What the rules of an audit find."""

from __future__ import annotations

from pathlib import Path

import pytest

from ratchet import auditing, files
from ratchet.errors import DataError
from ratchet.paths import SessionPaths
from ratchet.records import Outcome, RunSummary
from ratchet.reruns import Code, Kept, Rerun, RerunPlan

CODES = tuple(Code(letter * 64, {}, letter) for letter in "ab")
CHANGE = Kept(3, "abc", "x", 2, "a" * 64, "b" * 64)
RUN = RunSummary("key", 1, Outcome.CRASH, "boom", None, None)


def test_a_session_without_a_plan_runs_nothing_again(tmp_path: Path) -> None:
    paths = SessionPaths("night", tmp_path)
    assert auditing.plan_of(paths) is None
    assert auditing.results(paths) == [] == auditing.before(paths, 2)
    paths.rerun_plan.parent.mkdir(parents=True)
    paths.rerun_plan.write_text("{}")
    with pytest.raises(DataError):
        auditing.plan_of(paths)


def test_a_turn_waits_for_all_of_the_turn_before(tmp_path: Path) -> None:
    paths = SessionPaths("again", tmp_path)
    files.write_json(paths.rerun_plan, RerunPlan("0", {}, 1, CODES, (CHANGE,)))
    every = [str(paths.rerun(turn, code.number)) for turn in (1, 2) for code in CODES]
    assert auditing.results(paths) == every
    assert auditing.before(paths, 1) == []
    assert auditing.before(paths, 2) == every[:2]


def test_what_was_run_is_a_fact_and_what_was_not_is_open(tmp_path: Path) -> None:
    paths, number = SessionPaths("again", tmp_path), CODES[0].number
    assert auditing.is_open(paths, 1, number)
    files.write_json(paths.rerun(1, number), Rerun(1, "a" * 64, skipped="in vain"))
    assert auditing.is_open(paths, 1, number)
    files.write_json(paths.rerun(1, number), Rerun(1, "a" * 64, run=RUN))
    assert not auditing.is_open(paths, 1, number)
