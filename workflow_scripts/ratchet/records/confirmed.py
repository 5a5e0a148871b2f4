"""Gain of a confirmed champion: the one shape, and the words, that all views share.

The *gain on unseen data* is measured on data that no run of the search was asked about,
and decides where the task has such; the *gain in the search* is that of the same runs on
the search's own data.
"""

import enum
from collections.abc import Callable, Mapping
from typing import Any

from ratchet.records.records import Confirmation

Gain = Mapping[str, Any]

NO_UNSEEN_DATA = "the task has no unseen data"
NOT_CARRIED = "not confirmed: the gain does not carry over"


class GainStanding(enum.StrEnum):
    """What fresh runs of champion and baseline say of the gain."""

    CONFIRMED = "confirmed"
    NOT_CONFIRMED = "not_confirmed"
    NOT_CARRIED_OVER = "not_carried_over"
    WORSE = "worse"
    NO_INTERVAL = "no_interval"
    FAILED = "confirmation_failed"
    NOTHING_KEPT = "nothing_kept"


def confirmed_gain(found: Confirmation) -> dict[str, Any]:
    """The gain as JSON values: what decides, beside the search's and the unseen data's.

    ``gain``, ``low`` and ``high`` are those that decide, on the ``data`` named:
    ``unseen``, or ``search`` where the task has no other.
    """
    search = {"gain": found.gain, "low": found.low, "high": found.high}
    unseen = {"gain": found.audit_gain, "low": found.audit_low, "high": found.audit_high}
    has_unseen = found.audit_gain is not None
    return {
        "standing": gain_standing(found).value,
        **(unseen if has_unseen else search),
        "level": found.level,
        "data": None if found.gain is None else "unseen" if has_unseen else "search",
        "search": search,
        "unseen": unseen if has_unseen else None,
        "carries_over": found.carries_over,
        "carry_chance": found.carry_chance,
        "detail": found.detail,
    }


def gain_standing(found: Confirmation) -> GainStanding:
    """Whether the gain is confirmed, by the unseen data where the task has such."""
    if not found.champion:
        return GainStanding.NOTHING_KEPT
    if found.gain is None:
        return GainStanding.FAILED
    if found.carries_over is False:
        return GainStanding.NOT_CARRIED_OVER
    low, high = found.low, found.high
    if found.audit_gain is not None:
        low, high = found.audit_low, found.audit_high
    if low is None or high is None:
        return GainStanding.NO_INTERVAL
    if low > 0:
        return GainStanding.CONFIRMED
    return GainStanding.WORSE if high < 0 else GainStanding.NOT_CONFIRMED


def both_gains(gain: Gain, number: Callable[[float], str]) -> str:
    """The gain that decides, with its interval, and the other one beside it."""
    search, unseen = gain["search"], gain["unseen"]
    name = f"{100 * gain['level']:g} % interval "
    if gain["standing"] == GainStanding.NOT_CARRIED_OVER:
        in_search = _with_interval(search, number, f" ({name}", ")")
        on_unseen = _with_interval(unseen, number, " (", ")")
        return f"{in_search} in the search, {on_unseen} on unseen data"
    if unseen is None:
        return f"gain {_with_interval(search, number, f', {name}')}; {NO_UNSEEN_DATA}"
    on_unseen = _with_interval(unseen, number, f", {name}")
    return f"gain on unseen data {on_unseen}; in the search {_with_interval(search, number, ', ')}"


def _with_interval(gain: Gain, number: Callable[[float], str], before: str, after: str = "") -> str:
    """A gain, and its interval if it has one, between two marks."""
    if gain["low"] is None or gain["high"] is None:
        return number(gain["gain"])
    return f"{number(gain['gain'])}{before}{number(gain['low'])} to {number(gain['high'])}{after}"


def gain_sentence(gain: Gain, number: Callable[[float], str]) -> str:
    """What became of the gain, for a line of the terminal."""
    standing = gain["standing"]
    if standing in (GainStanding.FAILED, GainStanding.NOTHING_KEPT):
        return f"confirmation failed: {gain['detail']}"
    words = {
        GainStanding.CONFIRMED: "confirmed",
        GainStanding.NOT_CARRIED_OVER: NOT_CARRIED,
        GainStanding.WORSE: "confirmed to be worse",
        GainStanding.NO_INTERVAL: "not confirmed, a difference of single measurements",
    }
    return f"{words.get(standing, 'not confirmed')}: {both_gains(gain, number)}"
