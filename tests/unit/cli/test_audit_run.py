"""How `ratchet audit --run` ends."""

from __future__ import annotations

import pytest

from ratchet.cli.audit import StoppedError, exit_code, told
from ratchet.logs.rerun_plan import AuditedCode, AuditPlan, KeptChange, KeptStanding

CODES = tuple(AuditedCode(letter * 64, {}, letter) for letter in "ab")


def counts(**found: int) -> dict[str, dict[str, int]]:
    return {"counts": {s.value: found.get(s.name.lower(), 0) for s in KeptStanding}}


def test_the_exit_code_is_the_verdict_on_all() -> None:
    assert exit_code(counts(holds=3)) == 0
    assert exit_code(counts(holds=3, fails=1, undecided=1)) == 1
    assert exit_code(counts(holds=3, not_run=1)) == 1
    assert exit_code(counts(holds=3, undecided=1)) == 2


@pytest.mark.parametrize(("code", "said"), [(1, 75), (2, 75), (65, 65), (130, 130), (-9, 137)])
def test_a_workflow_that_stops_is_no_verdict(code: int, said: int) -> None:
    assert StoppedError(code).exit_code == said


def test_what_will_be_run_is_said_with_its_price() -> None:
    changes = (
        KeptChange(3, "abc", "x", 4, "a" * 64, "b" * 64, parent_line=2),
        KeptChange(5, "abd", "x", 3, "b" * 64, "a" * 64, parent_commit="f" * 40),
        KeptChange(7, "abe\x1b", "x", 9, unable="it is lost"),
    )
    lines = told(AuditPlan("0", {}, 8, CODES, changes), 900.0)
    assert lines == [
        "to run again: 2 of 8 kept changes, 3 to 4 seeds for each side; 8 runs of 2 codes, about "
        "2.0 hours of training",
        "line 3 (abc) against line 2, 4 seeds",
        "line 5 (abd) against ffffffffffff, 3 seeds",
        lines[3],
    ]
    assert lines[3].endswith("cannot be run: it is lost")
    assert "hours" not in told(AuditPlan("0", {}, 8, CODES, changes), None)[0]
