"""The metric of tasks/bytelm is measured outside the candidate; what goes wrong is told.

Candidates that cheat are in ``tests/security``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers import BYTELM as TASK
from helpers.run_plans import launch
from ratchet.records.records import Outcome
from ratchet.records.store import RunRecord
from ratchet.task.task import Plausible

SPEC: dict[str, Any] = yaml.safe_load((TASK / "task.yaml").read_text())
TRAIN = (TASK / "train.py").read_text()
ASK = "print_summary(evaluate_bpb(model.predict)"


def run(
    tmp_path: Path, data: Path, source: str, audit: bool = False, **changes: object
) -> tuple[RunRecord, str]:
    def entry(name: str) -> dict[str, bytes]:
        return {name: (data / name).read_bytes()}

    given: dict[str, Any] = {
        "command": SPEC["command"],
        "fixed": {name: (TASK / name).read_bytes() for name in SPEC["fixed"]},
        "data": entry("train.bin"),
        "seed": 1,
        "budget_seconds": None,
        "budget_steps": 10,
        "timeout_seconds": 60.0,
        "metric": "val_bpb",
        "evaluator": ["python", "evaluator.py"],
        "evaluation_data": entry("val.bin"),
        "audit_data": entry("audit.bin") if audit else {},
        "plausible": Plausible(0.5, 1.25, 1.0, 0.5),
        **changes,
    }
    return launch(tmp_path, source, "audited" if audit else "run", **given)


def asking(body: str, call: str = "evaluate_bpb(predict)") -> str:
    """The default candidate with another end."""
    assert TRAIN.count(ASK) == 1
    return TRAIN.replace(f"    {ASK}", f"{body}\n    print_summary({call}")


def test_an_honest_run_has_the_evaluators_number(tmp_path: Path, data: Path) -> None:
    record, log = run(tmp_path, data, TRAIN)
    assert (record.outcome, record.reason) == (Outcome.OK, "")
    found = record.evaluation
    assert record.metrics["val_bpb"] == found.value
    printed = re.search(r"val_bpb: +(\S+)", log)
    assert f"{found.value:.6f}" == printed[1]
    assert found.tokens == 32768
    assert found.batches > 32
    assert found.checks["largest_change"] == 0.0
    assert (found.audit, found.audit_tokens) == (None, 0)
    assert 0 < found.trained_cpu_seconds <= record.cpu_seconds
    look = "    import os; print(sorted(os.listdir('data')), os.listdir('.'), dict(os.environ))"
    source = asking(look, "evaluate_bpb(model.predict)")
    record, log = run(tmp_path, data, source, audit=True)
    assert record.outcome is Outcome.OK, (record, log)
    audited = record.evaluation
    assert audited.audit is not None
    assert (audited.value, audited.audit_tokens) == (found.value, 32768)
    assert audited.audit != audited.value
    assert 4 < audited.audit < 9
    # The data to evaluate on are not laid out.
    assert "['train.bin']" in log
    assert "val.bin" not in log and "audit.bin" not in log


def test_by_hand_the_number_is_the_same(tmp_path, data, prepare, monkeypatch) -> None:
    source = asking("    predict = lambda x: np.sin(np.arange(256) + x[..., None].astype(float))")
    record, _ = run(tmp_path, data, source, budget_steps=1)
    import numpy as np

    monkeypatch.setenv("RATCHET_DATA", str(data))
    by_hand = prepare.evaluate_bpb(lambda x: np.sin(np.arange(256) + x[..., None].astype(float)))
    assert record.metrics["val_bpb"] == by_hand


SEND = (
    "import os, socket; s = socket.socket(fileno=os.dup(int(os.environ['RATCHET_EVALUATOR_FD'])))"
)
WRONG = {
    "goes away in the middle": (
        asking(f"    {SEND}; s.sendall(b'evaluate'); s.recv(99)", "0.5"),
        Outcome.TAMPERED,
        "printed val_bpb, but its evaluation failed: it went away",
    ),
    "asks again": (
        asking("    evaluate_bpb(model.predict)", "evaluate_bpb(model.predict)"),
        Outcome.CRASH,
        "a run is evaluated once",
    ),
    "predicts what is not finite": (
        asking("    predict = lambda x: model.predict(x) * np.nan"),
        Outcome.NAN,
        "printed val_bpb: nan",
    ),
    "predicts another shape": (
        asking("    predict = lambda x: model.predict(x)[:8]"),
        Outcome.CRASH,
        "expected (16, 64, 256)",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_goes_wrong_is_told(tmp_path: Path, data: Path, name: str) -> None:
    source, outcome, words = WRONG[name]
    record, log = run(tmp_path, data, source)
    assert record.outcome is outcome, (record, log)
    assert words in record.reason


def test_a_later_byte_mixed_in_by_rounding_is_honest(tmp_path: Path, data: Path) -> None:
    """A causal convolution by Fourier transforms touches the whole window."""
    body = """
    kernel = np.fft.rfft(np.r_[1.0, np.full(31, 0.01), np.zeros(96)])[None, :, None]
    def predict(x):
        y = np.fft.rfft(model.predict(x).astype(np.float32), n=128, axis=1) * kernel
        return np.fft.irfft(y, n=128, axis=1)[:, :64].astype(np.float32)
"""
    record, log = run(tmp_path, data, asking(body))
    assert record.outcome is Outcome.OK, (record, log)
    change = record.evaluation.checks["largest_change"]
    assert change < 1e-4
