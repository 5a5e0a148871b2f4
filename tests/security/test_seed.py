"""Cheats with the seed: luck is drawn by the harness."""

from __future__ import annotations

import pytest

from helpers.candidates import FIRST, TRAIN, Arena, blocked, edited, hidden, open_hole, read
from ratchet.integrity.edit_checks import Severity, only_reseeds

NOT_USED = edited(FIRST, "    rng = np.random.default_rng(42)\n").replace("SEED, ", "")
SWITCHED_OFF = edited(FIRST, "    rng = np.random.default_rng(SEED * 0 + 42)\n")


@pytest.mark.parametrize(
    "source",
    [NOT_USED, edited("LOG_EVERY = 0.2", "SEED = 42\nLOG_EVERY = 0.2")],
    ids=["a number of its own", "another number under the same name"],
)
def test_giving_up_the_harness_seed_is_blocked(source: str) -> None:
    assert blocked(source) == {"seed"}


@pytest.mark.parametrize(
    "source",
    [
        edited(FIRST, "    rng = np.random.default_rng(SEED + 1)\n"),
        SWITCHED_OFF,
        NOT_USED.replace("import VOCAB", "import SEED, VOCAB"),
    ],
    ids=["moved", "switched off", "a number of its own"],
)
def test_another_seed_alone_is_no_proposal(source: str) -> None:
    assert only_reseeds({"train.py": TRAIN}, {"train.py": source})


def test_a_number_beside_the_seed_is_noted() -> None:
    source = edited(FIRST, FIRST + "    noise = np.random.default_rng(42)\n")
    assert [(flag.severity, flag.kind) for flag in read(source)] == [(Severity.NOTE, "seed")]


def test_every_run_has_the_seed_that_the_harness_drew(arena: Arena) -> None:
    one, other = (arena.attempt(TRAIN, seed=seed).value for seed in (1, 2))
    assert arena.honest() == one != other


@pytest.mark.parametrize(
    "source",
    [edited("WARMUP = 0.1 ", "WARMUP = 0.2 ", SWITCHED_OFF), hidden("SEED = 42")],
    ids=["arithmetic", "encoded"],
)
def test_a_fixed_seed_beside_another_edit_is_caught(arena: Arena, source: str) -> None:
    """As soon as there are two runs: at a retest, or at the latest in the confirmation."""
    assert blocked(source) == set()
    runs = arena.traces(source, 2)
    assert arena.unlike(runs[:1]) is None
    words = "measured the same to the last digit with the seeds 1 and 2: it draws no lots"
    assert arena.unlike(runs) == words


@open_hole("with a budget in seconds no two runs have the same number of steps")
def test_a_fixed_seed_with_a_budget_in_seconds_is_caught(arena: Arena) -> None:
    assert arena.unlike(arena.traces(hidden("SEED = 42"), 2, 0.4), 0.4) is not None
