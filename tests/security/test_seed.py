"""Cheats with the seed: luck is drawn by the harness."""

from __future__ import annotations

import pytest

from helpers.candidates import FIRST, TRAIN, Arena, blocked, edited, hidden, open_hole, read
from ratchet.integrity.edit_checks import Severity, only_reseeds

NOT_USED = edited(FIRST, "    rng = np.random.default_rng(42)\n").replace("SEED, ", "")
CHEATS = {
    "a number of its own": (NOT_USED, {"seed"}),
    "another number under the same name": (
        edited("LOG_EVERY = 0.2", "SEED = 42\nLOG_EVERY = 0.2"),
        {"seed"},
    ),
}


@pytest.mark.parametrize("name", CHEATS)
def test_giving_up_the_harness_seed_is_blocked(name: str) -> None:
    source, kinds = CHEATS[name]
    assert {flag.kind for flag in read(source) if flag.severity is Severity.BLOCK} == kinds


RESEEDED = {
    "moved": edited(FIRST, "    rng = np.random.default_rng(SEED + 1)\n"),
    "switched off": edited(FIRST, "    rng = np.random.default_rng(SEED * 0 + 42)\n"),
    "a number of its own": NOT_USED.replace("import VOCAB", "import SEED, VOCAB"),
}


@pytest.mark.parametrize("name", RESEEDED)
def test_another_seed_alone_is_no_proposal(name: str) -> None:
    assert only_reseeds({"train.py": TRAIN}, {"train.py": RESEEDED[name]})


def test_a_number_beside_the_seed_is_noted() -> None:
    source = edited(FIRST, FIRST + "    noise = np.random.default_rng(42)\n")
    assert [(flag.severity, flag.kind) for flag in read(source)] == [(Severity.NOTE, "seed")]


def test_every_run_has_the_seed_that_the_harness_drew(arena: Arena) -> None:
    values = [arena.attempt(TRAIN, seed=seed).value for seed in (1, 2, 1)]
    assert values[0] == values[2] != values[1]


@pytest.mark.parametrize(
    "source",
    [edited("WARMUP = 0.1 ", "WARMUP = 0.2 ", RESEEDED["switched off"]), hidden("SEED = 42")],
    ids=["arithmetic", "encoded"],
)
def test_a_fixed_seed_beside_another_edit_is_caught(arena: Arena, source: str) -> None:
    """As soon as there are two runs: at a retest, or at the latest in the confirmation."""
    assert blocked(source) == set()
    assert arena.compared(source, None) is None
    found = arena.compared(source, None, 2)
    assert found == ("measured the same to the last digit with the seeds 1 and 2: it draws no lots")


@open_hole("with a budget in seconds no two runs have the same number of steps")
def test_a_fixed_seed_with_a_budget_in_seconds_is_caught(arena: Arena) -> None:
    assert arena.compared(hidden("SEED = 42"), 0.4, 2) is not None
