"""What an audit runs again, what the rules find of it, and its last line."""

from pathlib import Path

import pytest

from ratchet.base.errors import DataError
from ratchet.base.io import write_json
from ratchet.logs.rerun_plan import (
    AuditedCode,
    AuditPlan,
    AuditRun,
    AuditVerdicts,
    HeldChange,
    KeptChange,
    KeptStanding,
    audit_run_files,
    audit_run_inputs,
    count_standings,
    is_audit_run_open,
    read_audit_plan,
)
from ratchet.records.paths import SessionPaths
from ratchet.records.records import Outcome, RunSummary

CODES = tuple(AuditedCode(letter * 64, {"train.py": letter}, f"code {letter}") for letter in "abcd")
RUN = RunSummary("key", 1, Outcome.CRASH, "boom", None, None)


def kept(line: int, seeds: int, sides: str, unable: str = "") -> KeptChange:
    sources = [side * 64 for side in sides]
    return KeptChange(line, f"{line:07x}", "x", seeds, *sources, unable=unable)


PLAN = AuditPlan(
    log_sha256="0" * 64,
    facts={"log": "results.tsv"},
    kept=5,
    codes=CODES,
    changes=(kept(3, 2, "ab"), kept(4, 4, "bc"), kept(9, 9, "", "it is lost")),
)


def test_each_code_runs_as_often_as_its_hungriest_change_wants() -> None:
    assert PLAN.turns == 4
    labels = [[code.source[0] for code in PLAN.wanted(turn)] for turn in range(1, 6)]
    assert labels == [["a", "b", "c"], ["a", "b", "c"], ["b", "c"], ["b", "c"], []]
    assert PLAN.runs == 10
    assert len({code.number for code in CODES}) == 4


def test_a_turn_waits_for_all_of_the_turn_before(tmp_path: Path) -> None:
    paths = SessionPaths("again", tmp_path)
    assert read_audit_plan(paths) is None
    assert audit_run_files(paths) == [] == audit_run_inputs(paths, 2)
    write_json(paths.rerun_plan, PLAN)
    assert read_audit_plan(paths) == PLAN
    every = [str(paths.rerun(t, c.number)) for t in range(1, 5) for c in PLAN.wanted(t)]
    assert audit_run_files(paths) == every
    assert audit_run_inputs(paths, 1) == []
    assert audit_run_inputs(paths, 2) == every[:3]
    paths.rerun_plan.write_text("{}")
    with pytest.raises(DataError):
        read_audit_plan(paths)


def test_what_was_run_is_a_fact_and_what_was_not_is_open(tmp_path: Path) -> None:
    paths, number = SessionPaths("again", tmp_path), CODES[0].number
    assert is_audit_run_open(paths, 1, number)
    write_json(paths.rerun(1, number), AuditRun(1, "a" * 64, skipped="in vain"))
    assert is_audit_run_open(paths, 1, number)
    write_json(paths.rerun(1, number), AuditRun(1, "a" * 64, run=RUN))
    assert not is_audit_run_open(paths, 1, number)


@pytest.mark.parametrize(
    ("standings", "kept", "said"),
    [
        ("HHFU", 4, "2 of 4 kept changes hold; 1 does not; 1 undecided"),
        ("HN", 3, "1 of 2 kept changes hold; 1 could not be run; 1 other not asked for"),
        ("H", 1, "1 of 1 kept change holds"),
        ("FF", 2, "0 of 2 kept changes hold; 2 do not"),
    ],
)
def test_the_sentence_says_what_of_all_that_was_kept(standings: str, kept: int, said: str) -> None:
    by_letter = {standing.name[0]: standing for standing in KeptStanding}
    changes = tuple(HeldChange(3, "", "", by_letter[letter], 3) for letter in standings)
    counts = count_standings(changes)
    assert AuditVerdicts("s", "t", "m", "h", kept, changes, counts).sentence == said
