"""The metric of tasks/bytelm is measured outside the candidate; what goes wrong is told.

Candidates that cheat are in ``tests/security``.
"""

import re
from types import ModuleType

import numpy as np
import pytest

from helpers.candidates import TRAIN, Arena, asking
from ratchet.records.records import Outcome


def test_an_honest_run_has_the_evaluators_number(arena: Arena) -> None:
    attempt = arena.attempt(TRAIN, whole=True)
    found = attempt.record.evaluation
    assert f"{attempt.value:.6f}" == re.search(r"val_bpb: +(\S+)", attempt.log)[1]
    assert found.tokens == 32768
    assert found.batches == 8 * 64
    assert found.checks["taught"] < 5
    assert (found.audit, found.audit_tokens) == (None, 0)
    assert 0 < found.trained_cpu_seconds <= attempt.record.cpu_seconds
    look = "    import os; print(sorted(os.listdir('data')), os.listdir('.'), dict(os.environ))\n"
    source = asking(look, "evaluate_bpb(model.predict)")
    attempt = arena.attempt(source, whole=True, audit_data={"audit.bin": arena.data["audit.bin"]})
    audited = attempt.record.evaluation
    assert (attempt.value, audited.audit_tokens) == (found.value, 32768)
    assert audited.audit != audited.value
    assert 4 < audited.audit < 9
    assert len(audited.audit_parts) == 32 and not found.audit_parts
    assert np.mean(audited.audit_parts) == pytest.approx(audited.audit)
    assert np.std(audited.audit_parts) > 0
    # The data to evaluate on are not laid out.
    assert "['train.bin']" in attempt.log
    assert "val.bin" not in attempt.log and "audit.bin" not in attempt.log


def test_a_repeated_run_is_asked_in_the_same_order(arena: Arena) -> None:
    """A model that scores each row by its place tells the order by its metric."""
    place = "np.sin(np.arange(256) * (1 + np.arange(len(x)))[:, None])"
    source = asking(f"    predict = lambda x: {place}\n", "evaluate_bpb(predict)")
    one, again, other = (
        arena.attempt(source, budget_steps=1, draws=draws).value for draws in ("7", "7", "8")
    )
    assert one == again != other


def test_by_hand_the_number_is_the_same(arena: Arena, prepare: ModuleType) -> None:
    source = asking("    predict = lambda x: np.sin(np.arange(256) + x[:, -1:].astype(float))\n")
    split = np.fromfile(arena.store.path(arena.data["val.bin"]), np.uint8)
    by_hand = prepare.evaluate_bpb(
        lambda x: np.sin(np.arange(256) + x[:, -1:].astype(float)), split
    )
    assert arena.attempt(source, budget_steps=1, whole=True).value == by_hand


SEND = (
    "import os, socket; s = socket.socket(fileno=os.dup(int(os.environ['RATCHET_EVALUATOR_FD'])))"
)
WRONG = {
    "goes away in the middle": (
        asking(f"    {SEND}; s.sendall(b'evaluate'); s.recv(99)\n", "0.5"),
        Outcome.TAMPERED,
        "printed val_bpb, but its evaluation failed: it went away",
    ),
    "asks again": (
        asking("    evaluate_bpb(model.predict)\n", "evaluate_bpb(model.predict)"),
        Outcome.CRASH,
        "exit status 1, after it was asked about data",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_goes_wrong_is_told(arena: Arena, name: str) -> None:
    source, outcome, words = WRONG[name]
    arena.attempt(source, budget_steps=10).assert_ends(outcome, words)
