"""Simulated sessions with known truth, and rules for keeping side by side.

Parameters are fitted to one published log of 126 runs and effects are additive:
what is compared here are rules, under the same proposals and the same luck.  It
says nothing of what a language model would propose.
"""

from ratchet.simulation.measures import Estimate, Summary, summarize
from ratchet.simulation.rules import RULES
from ratchet.simulation.session import (
    Bench,
    Candidate,
    Decision,
    Keeper,
    Plan,
    Record,
    Rule,
    play,
    play_all,
)
from ratchet.simulation.worlds import WORLDS, Stream, World

__all__ = [
    "RULES",
    "WORLDS",
    "Bench",
    "Candidate",
    "Decision",
    "Estimate",
    "Keeper",
    "Plan",
    "Record",
    "Rule",
    "Stream",
    "Summary",
    "World",
    "play",
    "play_all",
    "summarize",
]
