"""The metric is measured outside the candidate: cheats are caught, honest runs are not."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from helpers import BYTELM
from helpers.run_plans import launch
from ratchet.records.records import Outcome
from ratchet.records.store import LOG, RunRecord
from ratchet.runs.sandbox import sandbox
from ratchet.runs.sandbox.sandbox import SandboxKind
from ratchet.task.task import Plausible

TASK = BYTELM
SPEC: dict[str, Any] = yaml.safe_load((TASK / "task.yaml").read_text())
TRAIN = (TASK / "train.py").read_text()
SHORT = {"budget_seconds": 0.4, "budget_steps": None}
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
    folder = tmp_path / "run"
    record = launch(tmp_path, folder, source, **given)
    return record, (folder / LOG).read_text()


def asking(body: str, call: str = "evaluate_bpb(predict)") -> str:
    """The default candidate with another end."""
    assert TRAIN.count(ASK) == 1
    return TRAIN.replace(f"    {ASK}", f"{body}\n    print_summary({call}")


def test_an_honest_run_has_the_evaluators_number(
    tmp_path: Path, data: Path, prepare: ModuleType, modules: dict[str, ModuleType]
) -> None:
    record, log = run(tmp_path, data, TRAIN)
    assert (record.outcome, record.reason) == (Outcome.OK, "")
    found = record.evaluation
    assert found is not None
    assert record.metrics["val_bpb"] == found.value
    printed = re.search(r"val_bpb: +(\S+)", log)
    assert printed is not None
    assert f"{found.value:.6f}" == printed[1]
    assert found.tokens == 32768
    assert found.batches > 32
    assert found.checks["largest_change"] == 0.0
    assert (found.audit, found.audit_tokens) == (None, 0)
    assert 0 < found.trained_cpu_seconds <= record.cpu_seconds


def test_two_runs_of_one_seed_measure_the_same_with_and_without_audit(
    tmp_path: Path, data: Path
) -> None:
    values = []
    for name, audit in (("a", False), ("b", False), ("c", True)):
        (tmp_path / name).mkdir()
        record, _ = run(tmp_path / name, data, TRAIN, audit=audit)
        assert record.evaluation is not None
        values.append(record.evaluation)
    assert values[0].value == values[1].value == values[2].value
    assert values[2].audit_tokens == 32768
    assert values[2].audit is not None
    assert values[2].audit != values[2].value
    assert 4 < values[2].audit < 9


def test_by_hand_the_number_is_the_same(
    tmp_path: Path, data: Path, prepare: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = asking("    predict = lambda x: np.sin(np.arange(256) + x[..., None].astype(float))")
    record, _ = run(tmp_path, data, source, budget_steps=1)
    import numpy as np

    monkeypatch.setenv("RATCHET_DATA", str(data))
    by_hand = prepare.evaluate_bpb(lambda x: np.sin(np.arange(256) + x[..., None].astype(float)))
    assert record.metrics["val_bpb"] == by_hand


LEAK = """
    def leak(x):
        y = model.predict(x).copy()
        for row in range(len(x)):
            y[row, np.arange(63), x[row, 1:]] += STRENGTH
        return y
"""
REMEMBER = """
    known = []
    def predict(x):
        y = leak(x)
        for row in range(len(x)):
            for before, answer in known:
                same = int(np.argmin(np.append(before == x[row], False)))
                if same > 4:
                    y[row, :same] = answer[:same]
            known.append((x[row].copy(), y[row].copy()))
        return y
"""
SEND = "s = socket.socket(fileno=os.dup(int(os.environ['RATCHET_EVALUATOR_FD'])))"
CHEATS = {
    "looks at the next byte": (
        asking(LEAK.replace("STRENGTH", "10.0") + "    predict = leak"),
        "changed when later bytes were changed",
    ),
    "looks at it a little": (
        asking(LEAK.replace("STRENGTH", "0.05") + "    predict = leak"),
        "changed when later bytes were changed",
    ),
    "looks at it and remembers its answers": (
        asking(LEAK.replace("STRENGTH", "10.0") + REMEMBER),
        r"(changed when later bytes|could not have seen)",
    ),
    "predicts at random": (
        asking("    predict = lambda x: np.random.default_rng().normal(size=(*x.shape, 256))"),
        "or between two calls",
    ),
    "prints a constant": (asking("", "0.5"), "printed val_bpb without an evaluation"),
    "prints something else": (
        asking("    evaluate_bpb(model.predict)", "0.5"),
        r"printed val_bpb 0\.5, the evaluator measured \d",
    ),
    "prints a little less": (
        asking("", "evaluate_bpb(model.predict) - 0.002"),
        r"printed val_bpb \d\.\d+, the evaluator measured \d",
    ),
    "replaces the evaluation": (
        asking(
            "    import prepare; prepare.evaluate_bpb = lambda f: 0.5", "prepare.evaluate_bpb(0)"
        ),
        "without an evaluation",
    ),
    "sends what nobody asked for": (
        asking(f"    import os, socket; {SEND}; s.sendall(b'evaluate' + b'x' * 9000)", "0.5"),
        "(it sent more than it was asked for|without an evaluation)",
    ),
    "asks in its own way": (
        asking(f"    import os, socket; {SEND}; s.sendall(b'evaluat3' * 2000)", "0.5"),
        "without an evaluation",
    ),
    "goes away in the middle": (
        asking(f"    import os, socket; {SEND}; s.sendall(b'evaluate'); s.recv(99)", "0.5"),
        "its evaluation failed: it went away",
    ),
    "hides a failed evaluation": (
        asking(
            "    predict = lambda x: model.predict(x) * np.nan\n    evaluate_bpb(predict)", "2.0"
        ),
        "printed val_bpb 2, the evaluator measured no finite number",
    ),
}


@pytest.mark.parametrize("name", CHEATS)
def test_a_bent_measurement_is_tampered(tmp_path: Path, data: Path, name: str) -> None:
    source, words = CHEATS[name]
    record, log = run(tmp_path, data, source)
    assert record.outcome is Outcome.TAMPERED, (record, log)
    assert re.search(words, record.reason), record.reason


SLEEPS = """    import time
    time.sleep(0.5)
    budget = type("Idle", (), {"steps": 1, "training_seconds": 0.4, "done": lambda self: True})()
    next_log"""
WORKS_ON = """
    import time
    begun = []
    def predict(x):
        if not begun:
            begun.append(time.process_time())
            while time.process_time() - begun[0] < 3.0:
                pass
        return model.predict(x)
"""
SLOW_CLOCK = (
    "    import time\n    real = time.process_time\n    time.process_time = lambda: real() / 9\n"
)
TIMES = {
    "sleeps instead of training": (
        TRAIN.replace("    next_log", SLEEPS, 1),
        r"trained 0\.\d+ of 3 CPU seconds",
    ),
    "slows its clock": (
        TRAIN.replace(
            "    rng = np.random.default_rng(SEED)",
            SLOW_CLOCK + "    rng = np.random.default_rng(SEED)",
        ),
        r"trained \d[\d.]* CPU seconds, the budget is 0\.4",
    ),
    "works in another process": (
        TRAIN.replace(
            "    rng = np.random.default_rng(SEED)",
            "    import subprocess, sys\n    subprocess.run([sys.executable, '-c', "
            "'import time\\nwhile time.process_time() < 2.5: pass'])\n"
            "    rng = np.random.default_rng(SEED)",
        ),
        r"trained \d[\d.]* CPU seconds, the budget is 0\.4",
    ),
    "goes on while it is evaluated": (asking(WORKS_ON), "it went on with something else"),
}


@pytest.mark.parametrize("name", TIMES)
def test_an_implausible_time_is_tampered(tmp_path: Path, data: Path, name: str) -> None:
    source, words = TIMES[name]
    assert source != TRAIN
    # The imports alone use a good part of a short budget where a machine is busy.
    changes = {**SHORT, "budget_seconds": 3.0} if name.startswith("sleeps") else SHORT
    record, log = run(tmp_path, data, source, **changes)
    assert record.outcome is Outcome.TAMPERED, (record, log)
    assert re.search(words, record.reason), record.reason


def test_the_whole_budget_is_plausible(tmp_path: Path, data: Path) -> None:
    record, log = run(tmp_path, data, TRAIN, **SHORT)
    assert record.outcome is Outcome.OK, (record, log)


def test_a_second_evaluation_is_refused(tmp_path: Path, data: Path) -> None:
    record, _ = run(
        tmp_path, data, asking("    evaluate_bpb(model.predict)", "evaluate_bpb(model.predict)")
    )
    assert record.outcome is Outcome.CRASH
    assert "a run is evaluated once" in record.reason


def test_predictions_that_are_not_finite_are_nan(tmp_path: Path, data: Path) -> None:
    record, log = run(tmp_path, data, asking("    predict = lambda x: model.predict(x) * np.nan"))
    assert record.outcome is Outcome.NAN
    assert "val_bpb:          nan" in log


def test_a_wrong_shape_is_named(tmp_path: Path, data: Path) -> None:
    record, _ = run(tmp_path, data, asking("    predict = lambda x: model.predict(x)[:8]"))
    assert record.outcome is Outcome.CRASH
    assert "expected (16, 64, 256)" in record.reason


@pytest.mark.parametrize("kind", [SandboxKind.NONE, SandboxKind.LANDLOCK, SandboxKind.BUBBLEWRAP])
def test_the_data_to_evaluate_on_are_not_laid_out(
    tmp_path: Path, data: Path, kind: SandboxKind
) -> None:
    if sandbox.sandbox_fault(kind):
        pytest.skip(f"{kind} does not work here")
    body = "    import os; print(sorted(os.listdir('data')), os.listdir('.'), dict(os.environ))"
    record, log = run(
        tmp_path,
        data,
        asking(body, "evaluate_bpb(model.predict)"),
        isolation=kind.value,
        audit=True,
    )
    assert record.outcome is Outcome.OK, (record, log)
    assert "['train.bin']" in log
    assert "val.bin" not in log
    assert "audit" not in log


@pytest.mark.skipif(
    sandbox.sandbox_fault(SandboxKind.LANDLOCK) is not None, reason="no Landlock here"
)
def test_under_isolation_the_sources_of_the_data_are_out_of_reach(
    tmp_path: Path, data: Path
) -> None:
    body = "    import prepare; print(len(prepare.build_splits()['val.bin']))"
    source = asking(body, "evaluate_bpb(model.predict)")
    record, log = run(tmp_path, data, source, isolation="landlock", hidden=["docutils", "networkx"])
    assert record.outcome is Outcome.CRASH, (record, log)


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
    assert record.evaluation is not None
    change = record.evaluation.checks["largest_change"]
    assert change is not None
    assert change < 1e-4
