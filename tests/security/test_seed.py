"""Cheats with the seed: luck is drawn by the harness."""

import pytest

from helpers.candidates import FIRST, TRAIN, Arena, blocked, edited, hidden, open_hole, read
from ratchet.integrity.edit_checks import Severity, only_reseeds
from ratchet.records.history import SeedEffect, evidence, seed_effect
from ratchet.records.records import Role, run_seed

NOT_USED = edited(FIRST, "    rng = np.random.default_rng(42)\n").replace("SEED, ", "")
SWITCHED_OFF = edited(FIRST, "    rng = np.random.default_rng(SEED * 0 + 42)\n")
BLOCK, NOTE = Severity.BLOCK, Severity.NOTE
# The edit, the flags on it, and whether it changes nothing but the seed.
EDITS = {
    "a number of its own": (NOT_USED, [BLOCK, NOTE], False),
    "it, and the import": (
        NOT_USED.replace("import VOCAB", "import SEED, VOCAB"),
        [BLOCK, NOTE],
        True,
    ),
    "the same name": (edited("LOG_EVERY = 0.2", "SEED = 42\nLOG_EVERY = 0.2"), [BLOCK], False),
    "moved": (edited(FIRST, "    rng = np.random.default_rng(SEED + 1)\n"), [], True),
    "switched off": (SWITCHED_OFF, [], True),
    "beside": (edited(FIRST, FIRST + "    noise = np.random.default_rng(42)\n"), [NOTE], False),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_seed_of_its_own_is_blocked_or_noted_and_alone_is_no_proposal(name: str) -> None:
    source, severities, alone = EDITS[name]
    flags = [(flag.severity, flag.kind) for flag in read(source)]
    assert flags == [(severity, "seed") for severity in severities]
    assert only_reseeds({"train.py": TRAIN}, {"train.py": source}) is alone


def test_every_run_has_the_seed_that_the_harness_drew(arena: Arena) -> None:
    one, other = (arena.attempt(TRAIN, seed=seed).value for seed in (1, 2))
    assert arena.honest() == one != other


@pytest.mark.parametrize(
    "source",
    [edited("WARMUP = 0.1 ", "WARMUP = 0.2 ", SWITCHED_OFF), hidden("SEED = 42")],
    ids=["arithmetic", "encoded"],
)
def test_a_fixed_seed_beside_another_edit_is_noticed(arena: Arena, source: str) -> None:
    """As soon as there are two runs, which are then one: no number of them is more evidence."""
    assert blocked(source) == set()
    values = [arena.attempt(source, seed=seed).value for seed in (1, 2)]
    assert seed_effect([values]) is SeedEffect.NONE
    assert len(evidence(values)) == 1


def test_no_seed_can_be_foreseen_by_who_does_not_know_the_secret() -> None:
    """Equal code has equal seeds, with one secret; comments chosen for theirs have others."""
    sources = [f"source {n}" for n in range(100)]

    def seeds(secret: str) -> list[int]:
        return [run_seed(1, source, Role.SEARCH, 0, secret) for source in sources]

    assert seeds("one") == seeds("one")
    assert not set(seeds("one")) & set(seeds("two")) | set(seeds("one")) & set(seeds(""))


@open_hole("with a budget in seconds no two runs have the same number of steps")
def test_a_fixed_seed_with_a_budget_in_seconds_is_noticed(arena: Arena) -> None:
    runs = [arena.attempt(hidden("SEED = 42"), seed=n, budget_seconds=0.4) for n in (1, 2)]
    assert seed_effect([[run.value for run in runs]]) is SeedEffect.NONE
