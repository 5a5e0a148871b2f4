"""Labels and rankings of categories."""

import subprocess
import sys
from collections import Counter

import pytest
import scipy
from hypothesis import given
from hypothesis import strategies as st

from helpers import REPO
from ratchet.base.structs import replace
from ratchet.records.records import CATEGORIES
from ratchet.steering.bandit import (
    LATE,
    WINDOW,
    BanditPull,
    Label,
    SteeringMode,
    Turn,
    expected_gains,
    incomplete_beta,
    rank_categories,
    rank_proposers,
    score_categories,
)


def trials(**counts: tuple[int, int]) -> list[BanditPull]:
    """So many tried and kept by category, mixed evenly."""
    queues = {
        name: [BanditPull(name, i < kept, 0.01 if i < kept else 0.0) for i in range(tried)]
        for name, (tried, kept) in counts.items()
    }
    mixed = []
    while any(queues.values()):
        mixed += [queue.pop() for queue in queues.values() if queue]
    return mixed


EXAMPLE = trials(architecture=(12, 8), hyperparams=(18, 6), optimizer=(8, 1), regularization=(4, 0))


def test_the_labels_of_the_published_example() -> None:
    found = {s.category: (s.label, s.probability) for s in score_categories(EXAMPLE)}
    assert found["architecture"] == (Label.EXPLOIT, pytest.approx(0.97, abs=0.01))
    assert found["hyperparams"] == (Label.NEUTRAL, pytest.approx(0.41, abs=0.01))
    assert found["optimizer"] == (Label.AVOID, pytest.approx(0.10, abs=0.01))
    assert found["regularization"] == (Label.EXPLORE, None)


@pytest.mark.parametrize("mode", SteeringMode)
def test_what_works_comes_before_what_does_not(mode: SteeringMode) -> None:
    """Even where the few keeps of what rarely works gained much more; chance has its share."""
    rich = [replace(p, gain=9.0) if p.category == "optimizer" else p for p in EXAMPLE]
    ranked = [rank_categories(rich, seed, 1e-3, mode) for seed in range(400)]
    wrong = sum(r.index("optimizer") < r.index("architecture") for r in ranked) / len(ranked)
    assert 0 < wrong < 0.05 if mode is SteeringMode.AUTO else wrong == 0


def test_only_the_window_counts() -> None:
    old = [BanditPull("optimizer", True, 1.0)] * 30
    new = [BanditPull("optimizer", False, 0.0)] * WINDOW
    found = {s.category: s for s in score_categories([*old, *new])}
    assert (found["optimizer"].tried, found["optimizer"].kept) == (WINDOW, 0)


@given(
    st.lists(st.builds(BanditPull, st.sampled_from(CATEGORIES), st.booleans(), st.floats(0, 1))),
    st.integers(0, 2**60),
    st.sampled_from(SteeringMode),
)
def test_a_ranking_holds_every_category_once(
    history: list[BanditPull], seed: int, mode: SteeringMode
) -> None:
    ranking = rank_categories(history, seed, 0.01, mode)
    assert sorted(ranking) == sorted(CATEGORIES)
    assert ranking == rank_categories(history, seed, 0.01, mode)


def firsts(
    history: list[BanditPull], mode: SteeringMode, known: tuple[str, ...] = CATEGORIES
) -> Counter:
    return Counter(rank_categories(history, seed, 0.01, mode, known)[0] for seed in range(300))


def test_success_is_followed_without_starving_the_rest() -> None:
    tried = ("architecture", "hyperparams", "optimizer", "regularization")
    found = firsts(EXAMPLE, SteeringMode.AUTO, tried)
    assert found.most_common(1)[0][0] == "architecture"
    assert set(found) == set(tried)
    start = firsts([], SteeringMode.AUTO)
    assert set(start) == set(CATEGORIES)
    assert min(start.values()) > 15, "the start is a fair lot"


def test_exploit_takes_the_best_and_explore_the_least_known() -> None:
    assert set(firsts(EXAMPLE, SteeringMode.EXPLOIT)) == {"architecture"}
    untried = {"activation", "embedding", "efficiency", "data", "other"}
    assert set(firsts(EXAMPLE, SteeringMode.EXPLORE)) <= untried | {"regularization"}
    gains = expected_gains(EXAMPLE, 0.01)
    assert max(gains, key=gains.__getitem__) == "architecture"
    assert gains["optimizer"] < gains["hyperparams"]
    doubled = expected_gains([BanditPull(t.category, t.kept, 2 * t.gain) for t in EXAMPLE], 0.02)
    assert doubled["data"] == pytest.approx(2 * gains["data"])
    # Old success fades.
    faded = [BanditPull("data", True, 1.0)] * 5 + [BanditPull("data", False, 0.0)] * 60
    fresh = [BanditPull("optimizer", True, 0.1)] * 3
    assert firsts([*faded, *fresh], SteeringMode.EXPLOIT).most_common(1)[0][0] == "optimizer"


def test_a_task_may_have_its_own_categories() -> None:
    ranking = rank_categories(
        [BanditPull("kernels", True, 1.0)], 1, 0.01, known=("tiling", "fusion")
    )
    assert sorted(ranking) == ["fusion", "kernels", "tiling"]


@given(st.floats(0.01, 500), st.floats(0.01, 500), st.floats(0, 1, allow_subnormal=False))
def test_the_beta_integral_is_scipys(a: float, b: float, x: float) -> None:
    assert incomplete_beta(a, b, x) == pytest.approx(scipy.special.betainc(a, b, x), abs=1e-9)


def test_steering_needs_no_heavy_package() -> None:
    code = (
        "import sys; import ratchet.steering.bandit as bandit; bandit.rank_categories([], 1, 0.1); "
        "bandit.score_categories([bandit.BanditPull('data', True, 1.0)] * 9); "
        "sys.exit(bool({'numpy', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(REPO / "workflow_scripts")}
    )
    assert done.returncode == 0


def turns(name: str, *gains: float, cost: float = 0.1) -> list[Turn]:
    """Tries of a proposer: kept where they gained."""
    return [Turn(name, gain > 0, gain, cost) for gain in gains]


NAMES = ("declared", "tpe", "claude")
NOTHING = [0] * (LATE - 1)
SPENT = turns("declared", 5, 4, 3, 0, *NOTHING)


@pytest.mark.parametrize(
    ("past", "first"),
    [
        ([], "declared"),
        (turns("declared", *NOTHING), "declared"),
        (turns("declared", 1, *NOTHING), "declared"),
        (turns("declared", 0, 0, *[1] * LATE), "declared"),  # it brings more than before
        (turns("declared", 0, *NOTHING), "tpe"),  # ten tries, and nothing
        (SPENT, "tpe"),
        ([*SPENT, *turns("tpe", 0, 0, 0, 0)], "tpe"),
        ([*SPENT, *turns("tpe", 1, 1, 1, 1, 1)], "claude"),
        (turns("somebody", 9, 9, 9, 9, 9, 9), "declared"),  # who is not asked any more
    ],
)
def test_others_are_tried_once_the_first_one_brings_less(past: list[Turn], first: str) -> None:
    ranked = rank_proposers(NAMES, past, 1)
    assert ranked[0] == first
    assert sorted(ranked) == sorted(NAMES)


def test_whoever_brings_most_per_hour_is_asked_more_often() -> None:
    def share(*past: Turn) -> Counter:
        known = [*turns("declared", 0, 0, 0, 0, 1, 0, 0, 0, 0, 0), *past]
        return Counter(rank_proposers(NAMES, known, seed)[0] for seed in range(200))

    worse, better = turns("tpe", 0, 0, 0, 0, 0), turns("claude", 2, 2, 0, 2, 2)
    found = share(*worse, *better)
    assert found["claude"] > 120
    assert found["claude"] > 3 * found["tpe"]
    # The same gains for a hundred times the hours are worth less.
    dear = [replace(turn, cost=10.0) for turn in better]
    assert share(*worse, *dear)["claude"] < 40
    free = [replace(turn, cost=0.0) for turn in better]
    assert share(*worse, *free)["claude"] > 150


@given(
    st.lists(
        st.builds(Turn, st.sampled_from(NAMES), st.booleans(), st.floats(0, 1e3), st.floats(0, 100))
    ),
    st.integers(0, 2**60),
)
def test_an_order_of_proposers_holds_each_once(past: list[Turn], seed: int) -> None:
    ranked = rank_proposers(NAMES, past, seed)
    assert sorted(ranked) == sorted(NAMES)
    assert ranked == rank_proposers(NAMES, past, seed)
