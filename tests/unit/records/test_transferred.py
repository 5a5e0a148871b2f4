"""Whether a champion's gain holds at another scale: the statement and its words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet.base.text import format_number
from ratchet.records.records import Confirmation, Scale, Transfer
from ratchet.records.transferred import scale_words, transfer_sentence, transferred_gain

LONGER = Scale(900.0, None, 1800.0, 3.0)
numbers = st.floats(-1e6, 1e6)


def compared(reference: float | None = 0.5, **fields: object) -> Transfer:
    return Transfer("c", LONGER, Confirmation(3, **fields), reference)


@pytest.mark.parametrize(
    ("found", "standing", "words"),
    [
        (
            compared(gain=0.4, low=0.3, high=0.5),
            "holds",
            "the gain holds at 3 times the budget (900 s): gain 0.4000, 95 % interval 0.3000 to "
            "0.5000; the task has no unseen data; 0.80 (0.60 to 1.00) times that at the search's "
            "scale",
        ),
        (
            compared(gain=0.4, low=0.3, high=0.5, audit_gain=-0.2, audit_low=-0.3, audit_high=-0.1),
            "does_not_hold",
            "the gain does not hold at 3 times the budget (900 s): gain on unseen data −0.2000",
        ),
        (
            compared(gain=0.1, low=-0.1, high=0.3),
            "unclear",
            "whether the gain holds at 3 times the budget (900 s) is unclear: gain 0.1000, 95 % "
            "interval −0.1000 to 0.3000; the task has no unseen data; the interval includes zero; "
            "0.20 (-0.20 to 0.60) times",
        ),
        (
            compared(gain=0.1),
            "unclear",
            "whether the gain holds at 3 times the budget (900 s) is unclear: gain 0.1000; the "
            "task has no unseen data; no interval; 0.20 times that",
        ),
        (
            compared(detail="the champion's run with seed 7 failed: oom_gpu, no room"),
            "transfer_failed",
            "whether the gain holds at 3 times the budget (900 s) is not known: the champion's run "
            "with seed 7 failed: oom_gpu, no room",
        ),
        (
            Transfer("c", LONGER, Confirmation(0, detail="nothing was kept")),
            "nothing_to_transfer",
            "there is no gain to compare at 3 times the budget (900 s): nothing was kept",
        ),
        # Nothing to compare it with.
        (compared(-0.1, gain=0.4, low=0.3, high=0.5), "holds", "the gain holds at 3 times the"),
    ],
)
def test_the_statement_and_its_words(found: Transfer, standing: str, words: str) -> None:
    gain = transferred_gain(found)
    assert gain["standing"] == standing
    assert transfer_sentence(gain, format_number).startswith(words)
    assert ("at the search's scale" in transfer_sentence(gain, format_number)) is (
        gain["share"] is not None
    )


@given(low=numbers, width=st.floats(0, 1e6), reference=st.none() | numbers)
def test_the_interval_alone_decides(low: float, width: float, reference: float | None) -> None:
    high = low + width
    gain = transferred_gain(compared(reference, gain=(low + high) / 2, low=low, high=high))
    assert (gain["standing"] == "holds") is (low > 0)
    assert (gain["standing"] == "does_not_hold") is (low <= 0 and high < 0)
    assert (gain["share"] is None) is (reference is None or reference <= 0)
    assert gain["share"] is None or gain["share_low"] <= gain["share_high"]


@pytest.mark.parametrize(
    ("scale", "words"),
    [
        (LONGER, "at 3 times the budget (900 s)"),
        (Scale(None, 20, 60.0, 1 / 3), "at 0.333 times the budget (20 steps)"),
        (Scale(None, 20_000, 60.0, None), "with a budget of 20,000 steps"),
        (Scale(300.0, None, 60.0, 1.0, "gpu-24gb"), "with preset gpu-24gb"),
        (Scale(900.0, None, 60.0, 3.0, "big"), "with preset big at 3 times the budget (900 s)"),
        (Scale(900.0, None, 60.0, None, "big"), "with preset big and a budget of 900 s"),
    ],
)
def test_a_scale_in_words(scale: Scale, words: str) -> None:
    assert scale_words(scale) == words
