"""Which seed a run gets: decided by the harness, never by the candidate.

Equal code gets equal seeds, so that it is never trained twice; different code gets
different ones, so that no single lucky seed favours every candidate.  Only where
kept changes are run again, with nothing to select, do codes share their seeds.
"""

from __future__ import annotations

import enum

from ratchet.canonical import digest


class Role(enum.StrEnum):
    """What a run is for; the seeds of two roles never meet."""

    SEARCH = "search"
    CONFIRM = "confirm"
    REMEASURE = "remeasure"
    RERUN = "rerun"


def run_seed(session_seed: int, source: str, role: Role, replicate: int) -> int:
    """Seed in [1, 2**31) of one replicate of one source.

    Every seeding function in use (``numpy``, ``torch``, ``random``, C ``int``)
    accepts that range.  In role :attr:`Role.RERUN` the source does not enter: the two
    sides of a change that is run again are to have the same seeds.
    """
    if role is Role.RERUN:
        source = ""
    drawn = digest({"seed": session_seed, "source": source, "role": role, "replicate": replicate})
    return 1 + int(drawn[:15], 16) % (2**31 - 1)


def stream_seed(session_seed: int, purpose: str, *parts: int | str) -> int:
    """Seed of one random stream of the harness itself (steering, proposing)."""
    return int(digest([session_seed, purpose, *parts])[:15], 16)
