"""The page of a tournament: everything is on it, nothing on it is markup of others."""

import copy
from typing import Any

import pytest

from helpers.pages import check_inert
from helpers.report_records import TOURNAMENT
from ratchet.records.confirmed import confirmed_gain
from ratchet.records.records import Confirmation
from ratchet.report.tournament_report import (
    fixed_digits,
    render_tournament,
    signed_digits,
    tournament_answer,
)

FACTS = TOURNAMENT


def test_everything_is_on_the_page_and_escaped() -> None:
    page = render_tournament(FACTS)
    assert page == render_tournament(copy.deepcopy(FACTS))
    check_inert(page)
    assert page.count("&lt;script&gt;") >= 4
    for words in ("fast, experiment 2 won", "s.slow#3", "conflict, not forced", "both set RATE"):
        assert words in page
    assert "ended early" in page
    assert "STRONG_KEEP, gain +0.100, P 0.970, 2 runs" in page
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
            "fast, experiment 2 won in val_loss; confirmed: gain on unseen data 0.190, 95 % "
            "interval 0.100 to 0.280; in the search 0.200, 0.150 to 0.250",
        ),
        (
            {**FACTS["champion"], "gain": CHEATED},
            "won in val_loss; not confirmed: the gain does not carry over: 2.120 (95 % interval "
            "2.000 to 2.200) in the search, 0.210 (0.200 to 0.220) on unseen data",
        ),
        (None, "fast leads with val_loss 1.210 (estimate 1.250); nothing is confirmed"),
        ({**FACTS["champion"], "experiment": 0}, "the baseline is the best so far"),
        (
            confirmed(0.1, -0.1, 0.3),
            "not confirmed: gain 0.100, 95 % interval −0.100 to 0.300; the task",
        ),
        (
            confirmed(0.1, None),
            "not confirmed, a difference of single measurements: gain 0.100; the task has",
        ),
        (confirmed(None, None), "won in val_loss; confirmation failed: a run failed"),
    ],
)
def test_the_answer_says_what_is_known(champion: dict[str, Any] | None, words: str) -> None:
    assert words in tournament_answer({**FACTS, "champion": champion})


def test_numbers() -> None:
    assert (fixed_digits(None), fixed_digits(-1.5)) == ("–", "−1.5")
    assert (signed_digits(None), signed_digits(0.01234)) == ("–", "+0.0123")
