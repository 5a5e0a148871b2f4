"""How a session stands, from its events alone.

Events are folded into a :class:`Standing`; :func:`state` says whether the session
runs, is finished, failed or has gone stale, :func:`facts` gives all of it as one
JSON value for terminals, pages and tools.
"""

from __future__ import annotations

from ratchet.status.entries import Phase
from ratchet.status.pace import ago, duration, iso, seconds, time_left
from ratchet.status.standing import START, Standing, fold
from ratchet.status.state import State, facts, seconds_left, state

__all__ = [
    "START",
    "Phase",
    "Standing",
    "State",
    "ago",
    "duration",
    "facts",
    "fold",
    "iso",
    "seconds",
    "seconds_left",
    "state",
    "time_left",
]
