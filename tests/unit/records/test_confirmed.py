"""The gain of a champion: what decides, and the words for it."""

import pytest

from ratchet.base.structs import from_json_values
from ratchet.base.text import format_number
from ratchet.records.confirmed import confirmed_gain, gain_sentence
from ratchet.records.records import Confirmation

SEARCH = {"gain": 0.5, "low": 0.45, "high": 0.55}
UNSEEN = {"audit_gain": 0.4, "audit_low": 0.3, "audit_high": 0.5}


@pytest.mark.parametrize(
    ("fields", "standing", "words"),
    [
        (
            {**SEARCH, **UNSEEN, "carries_over": True},
            "confirmed",
            "confirmed: gain on unseen data 0.4000, 95 % interval 0.3000 to 0.5000; in the search "
            "0.5000, 0.4500 to 0.5500",
        ),
        (
            {**SEARCH, **UNSEEN, "carries_over": False},
            "not_carried_over",
            "not confirmed: the gain does not carry over: 0.5000 (95 % interval 0.4500 to 0.5500) "
            "in the search, 0.4000 (0.3000 to 0.5000) on unseen data",
        ),
        (
            {**SEARCH, **UNSEEN, "audit_low": -0.1},
            "not_confirmed",
            "not confirmed: gain on unseen data 0.4000, 95 % interval −0.1000 to 0.5000; in the",
        ),
        (
            {**SEARCH, "audit_gain": -0.4, "audit_low": -0.5, "audit_high": -0.3},
            "worse",
            "confirmed to be worse: gain on unseen data −0.4000, 95 % interval −0.5000 to",
        ),
        (
            SEARCH,
            "confirmed",
            "confirmed: gain 0.5000, 95 % interval 0.4500 to 0.5500; the task has no unseen data",
        ),
        (
            {"gain": 0.5, "audit_gain": 0.4},
            "no_interval",
            "not confirmed, a difference of single measurements: gain on unseen data 0.4000; in "
            "the search 0.5000",
        ),
        ({"detail": "a run failed"}, "confirmation_failed", "confirmation failed: a run failed"),
    ],
)
def test_unseen_data_decide_and_both_gains_are_said(fields, standing, words):
    gain = confirmed_gain(Confirmation(3, **fields))
    assert gain["standing"] == standing
    assert gain_sentence(gain, format_number).startswith(words)
    decides = "audit_gain" if "audit_gain" in fields else "gain"
    assert gain["gain"] == fields.get(decides)
    assert gain["data"] == (None if "detail" in fields else ("search", "unseen")[decides != "gain"])


def test_nothing_kept_is_nothing_confirmed():
    assert confirmed_gain(Confirmation(0, detail="nothing was kept"))["standing"] == "nothing_kept"


def test_a_record_of_an_older_session_has_the_gain_on_unseen_data_as_its_own():
    old = {"champion": 3, "baseline_runs": [], "champion_runs": [], **SEARCH, **UNSEEN}
    gain = confirmed_gain(from_json_values(Confirmation, old))
    assert (gain["standing"], gain["gain"], gain["carries_over"]) == ("confirmed", 0.4, None)
