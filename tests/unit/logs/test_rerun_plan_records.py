"""What an audit runs again, and its last line."""

from __future__ import annotations

from ratchet.base.structs import from_json_values, to_json_values
from ratchet.logs.rerun_plan import (
    AuditedCode,
    AuditPlan,
    HeldChange,
    KeptChange,
    KeptStanding,
    count_standings,
    held_sentence,
)

CODES = tuple(AuditedCode(letter * 64, {"train.py": letter}, f"code {letter}") for letter in "abcd")


def kept(line: int, seeds: int, parent: str, child: str, unable: str = "") -> KeptChange:
    sides = () if unable else (parent * 64, child * 64)
    return KeptChange(line, f"{line:07x}", "x", seeds, *sides, unable=unable)


PLAN = AuditPlan(
    log_sha256="0" * 64,
    facts={"log": "results.tsv"},
    kept=5,
    codes=CODES,
    changes=(kept(3, 2, "a", "b"), kept(4, 4, "b", "c"), kept(9, 9, "c", "d", "it is lost")),
)


def test_each_code_runs_as_often_as_its_hungriest_change_wants() -> None:
    assert PLAN.turns == 4
    labels = [[code.source[0] for code in PLAN.wanted(turn)] for turn in range(1, 6)]
    assert labels == [["a", "b", "c"], ["a", "b", "c"], ["b", "c"], ["b", "c"], []]
    assert PLAN.runs == 10
    assert len({code.number for code in CODES}) == 4


def test_plans_survive_json() -> None:
    assert from_json_values(AuditPlan, to_json_values(PLAN)) == PLAN


def held(*standings: KeptStanding) -> dict[str, int]:
    return count_standings(
        HeldChange(n, "", "", standing, 3) for n, standing in enumerate(standings)
    )


def test_the_sentence_says_what_of_all_that_was_kept() -> None:
    every = held(KeptStanding.HOLDS, KeptStanding.HOLDS, KeptStanding.FAILS, KeptStanding.UNDECIDED)
    assert held_sentence(4, 4, every) == "2 of 4 kept changes hold; 1 does not; 1 undecided"
    some = held(KeptStanding.HOLDS, KeptStanding.NOT_RUN)
    assert held_sentence(2, 3, some) == (
        "1 of 2 kept changes hold; 1 could not be run; 1 other not asked for"
    )
    assert held_sentence(1, 1, held(KeptStanding.HOLDS)) == "1 of 1 kept change holds"
    assert held_sentence(2, 2, held(KeptStanding.FAILS, KeptStanding.FAILS)) == (
        "0 of 2 kept changes hold; 2 do not"
    )
