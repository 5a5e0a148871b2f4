"""What an agent is told."""

from __future__ import annotations

from collections.abc import Sequence

from ratchet.codec import Frozen
from ratchet.proposers.reply import DESCRIPTION_LIMIT
from ratchet.proposers.tools import PROPOSAL
from ratchet.proposers.workplace import BRIEF, EARLIER, TRIED, UNTRUSTED
from ratchet.templates import fill


class Errand(Frozen):
    """What one call is about.

    ``others`` are descriptions of what the same round tries already, ``reason``
    says why the last attempt was sent back (empty in the first), and ``earlier``
    whether its edit is at hand.
    """

    round: int
    program: str
    mutable: Sequence[str]
    fixed: Sequence[str]
    categories: Sequence[str]
    minutes: float
    others: Sequence[str] = ()
    reason: str = ""
    earlier: bool = False


def prompt(errand: Errand) -> str:
    """The prompt as Markdown; equal errands have equal prompts."""
    return fill(
        __file__,
        "prompt.md",
        errand=errand,
        proposal=PROPOSAL,
        limit=DESCRIPTION_LIMIT,
        brief=BRIEF,
        earlier=EARLIER,
        tried=TRIED,
        untrusted=UNTRUSTED,
    )
