"""Whether a champion's gain holds at another scale: the one shape, and the words, of all views.

The interval of the gain at the other scale decides.  How large the gain is beside the one at
the search's scale is told, and decides nothing: gains shrink or grow with the budget as the
metric itself does.
"""

import enum
from collections.abc import Callable, Mapping
from typing import Any

from ratchet.base.structs import to_json_values
from ratchet.records.confirmed import GainStanding, both_gains, confirmed_gain
from ratchet.records.records import Scale, Transfer

Gain = Mapping[str, Any]


class TransferStanding(enum.StrEnum):
    """What runs at another scale say of the gain."""

    HOLDS = "holds"
    DOES_NOT_HOLD = "does_not_hold"
    UNCLEAR = "unclear"
    FAILED = "transfer_failed"
    NOTHING = "nothing_to_transfer"


_STANDINGS = {
    GainStanding.CONFIRMED: TransferStanding.HOLDS,
    GainStanding.WORSE: TransferStanding.DOES_NOT_HOLD,
    GainStanding.FAILED: TransferStanding.FAILED,
    GainStanding.NOTHING_KEPT: TransferStanding.NOTHING,
}
"""The interval above zero, below it, or neither, which is unclear; as of a confirmation."""


def transferred_gain(found: Transfer) -> dict[str, Any]:
    """The gain at the other scale as JSON values, and what it says.

    ``share`` is that gain over the confirmation's, ``share_low`` and ``share_high`` are the
    ends of its interval over the same; ``None`` where no gain was confirmed to compare it with.
    """
    gain = confirmed_gain(found.measured)
    standing = _STANDINGS.get(GainStanding(gain["standing"]), TransferStanding.UNCLEAR)
    ends = {"share": "gain", "share_low": "low", "share_high": "high"}
    return {
        **gain,
        "standing": standing.value,
        "scale": {**to_json_values(found.scale), "words": scale_words(found.scale)},
        "reference": found.reference,
        **{name: _over(gain[end], found.reference) for name, end in ends.items()},
        "kept_constants": list(found.kept_constants),
    }


def _over(gain: float | None, reference: float | None) -> float | None:
    if gain is None or reference is None or reference <= 0:
        return None
    return gain / reference


def scale_words(scale: Scale) -> str:
    """The other scale in words, with their preposition."""
    seconds, steps = scale.budget_seconds, scale.budget_steps
    amount = f"{seconds:g} s" if steps is None else f"{steps:,} steps"
    preset = f"with preset {scale.preset}" if scale.preset else ""
    if scale.ratio is None:
        return f"{preset} and a budget of {amount}" if preset else f"with a budget of {amount}"
    if preset and scale.ratio == 1:
        return preset
    return f"{preset} at {scale.ratio:.3g} times the budget ({amount})".lstrip()


_WORDS = {
    TransferStanding.HOLDS: "the gain holds {scale}",
    TransferStanding.DOES_NOT_HOLD: "the gain does not hold {scale}",
    TransferStanding.UNCLEAR: "whether the gain holds {scale} is unclear",
    TransferStanding.FAILED: "whether the gain holds {scale} is not known",
    TransferStanding.NOTHING: "there is no gain to compare {scale}",
}


def transfer_clause(gain: Gain) -> str:
    """Half a sentence on what became of the gain at the other scale."""
    return _WORDS[TransferStanding(gain["standing"])].format(scale=gain["scale"]["words"])


def transfer_sentence(gain: Gain, number: Callable[[float], str]) -> str:
    """What became of the gain at the other scale, with its numbers or the reason for none."""
    text = transfer_clause(gain)
    if gain["gain"] is None:
        return f"{text}: {gain['detail']}"
    text += f": {both_gains(gain, number)}"
    if gain["standing"] == TransferStanding.UNCLEAR:
        text += "; " + ("no interval" if gain["low"] is None else "the interval includes zero")
    if gain["share"] is None:
        return text
    ends = ""
    if gain["share_low"] is not None and gain["share_high"] is not None:
        ends = f" ({gain['share_low']:.2f} to {gain['share_high']:.2f})"
    return f"{text}; {gain['share']:.2f}{ends} times that at the search's scale"
