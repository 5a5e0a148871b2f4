"""What the rules of an audit find."""

from __future__ import annotations

from pathlib import Path

import pytest

from ratchet.base.errors import DataError
from ratchet.base.io import write_json
from ratchet.logs.rerun_plan import (
    AuditedCode,
    AuditPlan,
    AuditRun,
    KeptChange,
    audit_run_files,
    audit_run_inputs,
    is_audit_run_open,
    read_audit_plan,
)
from ratchet.records.paths import SessionPaths
from ratchet.records.records import Outcome, RunSummary

CODES = tuple(AuditedCode(letter * 64, {}, letter) for letter in "ab")
CHANGE = KeptChange(3, "abc", "x", 2, "a" * 64, "b" * 64)
RUN = RunSummary("key", 1, Outcome.CRASH, "boom", None, None)


def test_a_session_without_a_plan_runs_nothing_again(tmp_path: Path) -> None:
    paths = SessionPaths("night", tmp_path)
    assert read_audit_plan(paths) is None
    assert audit_run_files(paths) == [] == audit_run_inputs(paths, 2)
    paths.rerun_plan.parent.mkdir(parents=True)
    paths.rerun_plan.write_text("{}")
    with pytest.raises(DataError):
        read_audit_plan(paths)


def test_a_turn_waits_for_all_of_the_turn_before(tmp_path: Path) -> None:
    paths = SessionPaths("again", tmp_path)
    write_json(paths.rerun_plan, AuditPlan("0", {}, 1, CODES, (CHANGE,)))
    every = [str(paths.rerun(turn, code.number)) for turn in (1, 2) for code in CODES]
    assert audit_run_files(paths) == every
    assert audit_run_inputs(paths, 1) == []
    assert audit_run_inputs(paths, 2) == every[:2]


def test_what_was_run_is_a_fact_and_what_was_not_is_open(tmp_path: Path) -> None:
    paths, number = SessionPaths("again", tmp_path), CODES[0].number
    assert is_audit_run_open(paths, 1, number)
    write_json(paths.rerun(1, number), AuditRun(1, "a" * 64, skipped="in vain"))
    assert is_audit_run_open(paths, 1, number)
    write_json(paths.rerun(1, number), AuditRun(1, "a" * 64, run=RUN))
    assert not is_audit_run_open(paths, 1, number)
