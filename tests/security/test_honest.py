"""Honest edits: none is accused, with isolation or without."""

from __future__ import annotations

import pytest

from helpers.candidates import TRAIN, Arena, blocked, layered
from helpers.honest_edits import HONEST
from ratchet.integrity.edit_checks import only_reseeds
from ratchet.runs.sandbox.sandbox import SandboxKind

# Untrained, the default model needs 8 bits per byte and more.
LEARNT = 8.0
FEW_STEPS = 20
SECONDS = 0.4


def test_there_are_enough_of_them() -> None:
    assert len(set(HONEST.values()) - {TRAIN}) == len(HONEST) >= 22


@pytest.mark.parametrize("name", HONEST)
def test_the_edit_is_not_flagged(name: str) -> None:
    assert blocked(HONEST[name]) == set()
    assert not only_reseeds({"train.py": TRAIN}, {"train.py": HONEST[name]})


@layered(HONEST, none=True)
def test_the_run_counts(arena: Arena, name: str, kind: SandboxKind) -> None:
    attempt = arena.attempt(HONEST[name], kind, budget_steps=FEW_STEPS)
    assert 2.0 < attempt.value < LEARNT


@pytest.mark.parametrize("name", HONEST)
def test_its_runs_are_like_the_baselines(arena: Arena, name: str) -> None:
    assert arena.accused(HONEST[name], SECONDS) is None


def test_replicates_of_honest_edits_differ(arena: Arena) -> None:
    for name in ("data in order", "recurrent mixer", "Lion"):
        assert arena.compared(HONEST[name], None, 2) is None


def test_an_honest_run_on_the_clock_counts(arena: Arena) -> None:
    for name in ("attention", "Muon"):
        attempt = arena.attempt(HONEST[name], budget_seconds=SECONDS, plausible=arena.limits)
        assert attempt.value < LEARNT
