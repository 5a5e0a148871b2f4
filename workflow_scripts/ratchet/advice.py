"""Advice as a record: what steering suggests for the next experiment."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Kind(enum.StrEnum):
    """What a suggestion asks for."""

    EDIT = "edit"
    ANGLE = "angle"
    COMBINE = "combine"
    RETEST = "retest"


@dataclass(frozen=True)
class Suggestion:
    """One thing to do; ``experiments`` are the numbers that it rests on."""

    kind: Kind
    category: str
    title: str
    evidence: str
    experiments: tuple[int, ...] = ()
    angles: tuple[str, ...] = ()
