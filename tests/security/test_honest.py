"""Honest edits: none is accused, with isolation or without."""

from __future__ import annotations

import pytest

from helpers.candidates import TRAIN, Arena, blocked, layered
from helpers.honest_edits import HONEST
from ratchet.integrity.edit_checks import only_reseeds
from ratchet.runs.sandbox.sandbox import SandboxKind

# Untrained, the default model needs 8 bits per byte and more.
LEARNT = 8.0


def test_there_are_enough_of_them() -> None:
    assert len(set(HONEST.values()) - {TRAIN}) == len(HONEST) >= 22


@pytest.mark.parametrize("name", HONEST)
def test_the_edit_is_not_flagged(name: str) -> None:
    assert blocked(HONEST[name]) == set()
    assert not only_reseeds({"train.py": TRAIN}, {"train.py": HONEST[name]})


@layered(HONEST, none=True)
def test_its_run_counts_and_is_like_the_baselines(
    arena: Arena, name: str, kind: SandboxKind
) -> None:
    assert arena.accused(HONEST[name], 0.4, kind) is None


@pytest.mark.parametrize("name", ["data in order", "recurrent mixer", "Lion"])
def test_replicates_of_honest_edits_learn_and_differ(arena: Arena, name: str) -> None:
    assert arena.compared(HONEST[name], None, 2) is None
    assert arena.attempt(HONEST[name]).value < LEARNT
