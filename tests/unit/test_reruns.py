"""What an audit runs again, and its last line."""

from __future__ import annotations

from ratchet.codec import decode, encode
from ratchet.reruns import Code, Held, Kept, RerunPlan, Standing, counted, sentence

CODES = tuple(Code(letter * 64, {"train.py": letter}, f"code {letter}") for letter in "abcd")


def kept(line: int, seeds: int, parent: str, child: str, unable: str = "") -> Kept:
    sides = () if unable else (parent * 64, child * 64)
    return Kept(line, f"{line:07x}", "x", seeds, *sides, unable=unable)


PLAN = RerunPlan(
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
    assert decode(RerunPlan, encode(PLAN)) == PLAN


def held(*standings: Standing) -> dict[str, int]:
    return counted(Held(n, "", "", standing, 3) for n, standing in enumerate(standings))


def test_the_sentence_says_what_of_all_that_was_kept() -> None:
    every = held(Standing.HOLDS, Standing.HOLDS, Standing.FAILS, Standing.UNDECIDED)
    assert sentence(4, 4, every) == "2 of 4 kept changes hold; 1 does not; 1 undecided"
    some = held(Standing.HOLDS, Standing.NOT_RUN)
    assert sentence(2, 3, some) == (
        "1 of 2 kept changes hold; 1 could not be run; 1 other not asked for"
    )
    assert sentence(1, 1, held(Standing.HOLDS)) == "1 of 1 kept change holds"
    assert sentence(2, 2, held(Standing.FAILS, Standing.FAILS)) == (
        "0 of 2 kept changes hold; 2 do not"
    )
