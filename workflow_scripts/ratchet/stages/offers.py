"""Edits that are put forward for a round: by people, or as wins of other competitors."""

from __future__ import annotations

from collections.abc import Mapping

from ratchet import files
from ratchet.codec import Frozen
from ratchet.paths import SessionPaths
from ratchet.proposals import HAND, Edit


class Offer(Frozen):
    """An edit: the mutable files by digest, and what it is about.

    ``proposer``, ``origin`` and ``edit`` are the proposal's, which it becomes.
    """

    files: Mapping[str, str]
    category: str
    description: str
    hypothesis: str
    proposer: str = HAND
    origin: str = ""
    edit: Edit | None = None


def read(paths: SessionPaths, number: int) -> Offer | None:
    """What was put forward for round ``number``, if anything was."""
    path = paths.offer(number)
    return files.read_record(Offer, path) if path.exists() else None


def write(paths: SessionPaths, number: int, offer: Offer) -> None:
    """Put an edit forward for round ``number``, which has not been run."""
    files.write_json(paths.offer(number), offer)
