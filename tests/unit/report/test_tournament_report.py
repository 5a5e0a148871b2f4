"""The page of a tournament: everything is on it, nothing on it is markup of others."""

import copy
from typing import Any

import pytest

from helpers.pages import HOSTILE, check_inert
from ratchet.records.confirmed import confirmed_gain
from ratchet.records.records import Confirmation
from ratchet.report.tournament_report import (
    fixed_digits,
    render_tournament,
    signed_digits,
    tournament_answer,
)

FOUND = {"gain": 0.1, "confidence": 0.97, "runs": 2}
ROW: dict[str, Any] = {
    **{"rank": 1, "competitor": "fast", "session": "s.fast", "branch": "ratchet/s.fast"},
    **{"strategy": HOSTILE, "best": 1.21, "mean": 1.25, "low": 1.2, "high": 1.3, "gain": 0.2},
    **{"own_wins": 1, "adopted_wins": 1, "wins_adopted_elsewhere": 0},
    **{
        "expected_false_keeps": 0.125,
        "runs": 6,
        "crashes": 1,
        "stop": "exhausted",
        "detail": HOSTILE,
    },
    "trajectory": [{"runs": 0, "mean": 1.45}, {"runs": 6, "mean": 1.25}],
}
KEEP = {
    **{"experiment": 2, "commit": "a" * 40, "description": HOSTILE, "category": "other"},
    **{"origin": "s.slow#3", **FOUND},
}
OFFER = {
    **{"round": 1, "origin": "s.slow#3", "recipient": "fast", "description": HOSTILE},
    "gain_there": 0.1,
}
RETEST = {"experiment": 2, "verdict": "STRONG_KEEP", **FOUND}
FACTS: dict[str, Any] = {
    "session": "s",
    "task": "fake",
    "metric": {"name": "val_loss", "direction": "minimize"},
    "pollination": "patches",
    "rounds": 2,
    "runs_per_round": 3,
    "baseline": {"mean": 1.45, "runs": 3},
    "runs": {"counted": 12, "distinct": 9},
    "leaderboard": [ROW, {**ROW, "rank": 2, "competitor": "slow", "stop": None}],
    "lineage": {"fast": [KEEP], "slow": []},
    "pollinations": [
        {**OFFER, "fate": "kept", "detail": "", "retest": RETEST},
        {**OFFER, "fate": "conflict", "detail": "both set RATE"},
    ],
    "champion": {
        "competitor": "fast",
        "experiment": 2,
        "gain": confirmed_gain(
            Confirmation(
                2, gain=0.2, low=0.15, high=0.25, audit_gain=0.19, audit_low=0.1, audit_high=0.28
            )
        ),
    },
}


def test_everything_is_on_the_page_and_escaped() -> None:
    page = render_tournament(FACTS)
    assert page == render_tournament(copy.deepcopy(FACTS))
    check_inert(page)
    assert page.count("&lt;script&gt;") >= 4
    for words in ("fast, experiment 2 won", "s.slow#3", "conflict, not forced", "both set RATE"):
        assert words in page
    assert "ended early" in page
    assert "STRONG_KEEP, gain +0.1, P 0.970, 2 runs" in page
    assert "Nothing was kept" in page


def test_a_better_value_is_drawn_higher() -> None:
    def ends(facts: dict[str, Any]) -> list[float]:
        points = render_tournament(facts).split('points="')[1].split('"')[0].split()
        return [float(point.split(",")[1]) for point in points]

    first, last = ends(FACTS)
    assert last < first
    first, last = ends({**FACTS, "metric": {"name": "accuracy", "direction": "maximize"}})
    assert last > first


def confirmed(gain: float | None, low: float | None, high: float | None = None) -> dict[str, Any]:
    found = Confirmation(2, gain=gain, low=low, high=high, detail="a run failed")
    return {**FACTS["champion"], "gain": confirmed_gain(found)}


CHEATED = confirmed_gain(
    Confirmation(
        2,
        gain=2.12,
        low=2.0,
        high=2.2,
        audit_gain=0.21,
        audit_low=0.2,
        audit_high=0.22,
        carries_over=False,
    )
)


@pytest.mark.parametrize(
    ("champion", "words"),
    [
        (
            FACTS["champion"],
            "fast, experiment 2 won in val_loss; confirmed: gain on unseen data 0.19, 95 % "
            "interval 0.1 to 0.28; in the search 0.2, 0.15 to 0.25",
        ),
        (
            {**FACTS["champion"], "gain": CHEATED},
            "won in val_loss; not confirmed: the gain does not carry over: 2.12 (95 % interval "
            "2 to 2.2) in the search, 0.21 (0.2 to 0.22) on unseen data",
        ),
        (None, "fast leads with val_loss 1.21 (estimate 1.25); nothing is confirmed"),
        ({**FACTS["champion"], "experiment": 0}, "the baseline is the best so far"),
        (confirmed(0.1, -0.1, 0.3), "not confirmed: gain 0.1, 95 % interval −0.1 to 0.3; the task"),
        (
            confirmed(0.1, None),
            "not confirmed, a difference of single measurements: gain 0.1; the task has",
        ),
        (confirmed(None, None), "won in val_loss; confirmation failed: a run failed"),
    ],
)
def test_the_answer_says_what_is_known(champion: dict[str, Any] | None, words: str) -> None:
    assert words in tournament_answer({**FACTS, "champion": champion})


def test_numbers() -> None:
    assert (fixed_digits(None), fixed_digits(-1.5)) == ("–", "−1.5")
    assert (signed_digits(None), signed_digits(0.01234)) == ("–", "+0.0123")
