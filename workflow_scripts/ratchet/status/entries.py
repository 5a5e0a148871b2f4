"""What a standing is made of: phases, work that goes on, verdicts.

Tuples, since thousands of them are made anew for every view.
"""

from __future__ import annotations

import enum
from typing import NamedTuple


class Phase(enum.StrEnum):
    """What a session is at."""

    PREPARE = "prepare"
    BASELINE = "baseline"
    PROPOSING = "proposing"
    EXPERIMENT = "experiment"
    JUDGING = "judging"
    EVOLVING = "evolving"
    LEG_OVER = "leg over"
    CONFIRMING = "confirming"
    RERUNNING = "running again"
    REPORTING = "reporting"
    REPORTED = "reported"


class Work(NamedTuple):
    """A run, or a call of an agent, that has begun and is not known to have ended."""

    kind: str
    number: int
    description: str
    role: str
    replicate: int
    began: float
    budget_seconds: float | None = None
    budget_steps: int | None = None
    limit_seconds: float | None = None


class Judged(NamedTuple):
    """What was decided of one experiment, by the last verdict on it."""

    round: int
    number: int
    verdict: str
    description: str
    confidence: float | None
    value: float | None
