"""Advice as a record: what steering suggests for the next experiment."""

from __future__ import annotations

import enum

from ratchet.codec import Frozen


class Kind(enum.StrEnum):
    """What a suggestion asks for."""

    EDIT = "edit"
    ANGLE = "angle"
    COMBINE = "combine"
    RETEST = "retest"


class Suggestion(Frozen):
    """One thing to do; ``experiments`` are the numbers that it rests on."""

    kind: Kind
    category: str
    title: str
    evidence: str
    experiments: tuple[int, ...] = ()
    angles: tuple[str, ...] = ()
