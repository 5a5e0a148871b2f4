"""Runs under watch: every way to end is recorded, and nothing is left behind."""

import os
import sys
from pathlib import Path

import pytest

from helpers.run_plans import DATA, launch, plan, store
from ratchet.base.io import remove_run_folder
from ratchet.records.records import Outcome
from ratchet.records.series import parse_curve
from ratchet.records.store import LOG, RunRecord
from ratchet.runs.run import LOG_LIMIT_BYTES, Workspace
from ratchet.runs.sandbox.sandbox import SandboxKind

FIXED = b"VALUE = 1\n"


def run(tmp_path: Path, source: str, **changes: object) -> tuple[RunRecord, str]:
    given = {"fixed": {"prepare.py": FIXED}, "data": {"val.bin": DATA}, "timeout_seconds": 5.0}
    return launch(tmp_path, source, **{**given, **changes})


def test_a_run_that_ends_well(tmp_path: Path) -> None:
    source = "import time; time.sleep(.3)\nprint('---')\nprint('val: 0.25')\nprint('mem: inf')\n"
    record, log = run(tmp_path, source)
    assert record.outcome is Outcome.OK
    assert (record.exit_code, record.signal, record.reason) == (0, None, "")
    assert record.metrics == {"val": 0.25, "mem": None}
    assert 0.3 <= record.wall_seconds < 5
    assert record.cpu_seconds > 0
    assert 1 < record.peak_rss_mb < 200
    assert log == "---\nval: 0.25\nmem: inf\n"
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == [LOG, "source"]


ENDS = [
    ("raise ValueError('no')", Outcome.CRASH, "exit status 1: ValueError: no"),
    ("import sys; sys.exit(3)", Outcome.CRASH, "exit status 3"),
    ("x = (", Outcome.IMPORT_ERROR, "SyntaxError"),
    ("pass", Outcome.NO_METRIC, "without printing val"),
    ("print('val: nan')", Outcome.DIVERGED, "val: nan"),
    ("print('val: -inf')", Outcome.DIVERGED, "val: -inf"),
    ("import os; os.abort()", Outcome.CRASH, "SIGABRT"),
    ("import os; os.kill(os.getpid(), 9)", Outcome.KILLED, "by itself"),
    ("import os; os.kill(os.getpid(), 15)", Outcome.CRASH, "SIGTERM"),
    ("open('prepare.py', 'a').write('x')\nprint('val: 1')", Outcome.TAMPERED, "prepare.py"),
    ("import os; os.remove('data/val.bin')\nprint('val: 1')", Outcome.TAMPERED, "data/val.bin"),
]


@pytest.mark.parametrize(("source", "outcome", "words"), ENDS)
def test_every_way_to_end(tmp_path: Path, source: str, outcome: Outcome, words: str) -> None:
    if os.geteuid() != 0 and outcome is Outcome.TAMPERED and "open(" in source:
        source = "import os; os.chmod('prepare.py', 0o644)\n" + source
    record, _ = run(tmp_path, source)
    assert record.outcome is outcome
    assert words in record.reason


def test_a_flood_keeps_its_head_and_its_tail(tmp_path: Path) -> None:
    source = "print('first')\nfor i in range(300): print('x' * 20000)\nprint('---\\nval: 2')\n"
    record, log = run(tmp_path, source)
    assert record.outcome is Outcome.OK
    assert record.metrics["val"] == 2.0
    assert len(log) < LOG_LIMIT_BYTES + 200
    assert log.startswith("first\n")
    assert "bytes of output left out here" in log


def test_a_run_finds_its_environment_inputs_and_python(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "s3cret")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    source = """
import os, stat, sys
for k, v in os.environ.items(): print(k + '=' + v)
for name in ("prepare.py", "data/val.bin", "train.py"):
    print(name, oct(stat.S_IMODE(os.stat(name).st_mode)))
print(open(os.path.join(os.environ["RATCHET_DATA"], "val.bin")).read())
print(sys.executable, flush=True)
sys.stdout.buffer.write(b'\\xff\\x00\\n---\\nval: 3\\n')
"""
    record, log = run(tmp_path, source, threads=2)
    assert record.metrics == {"val": 3.0}
    names = {line.partition("=")[0] for line in log.splitlines()}
    assert not names & {"SECRET_TOKEN", "PYTHONPATH", "RATCHET_BUDGET_STEPS"}
    set_by_us = {"RATCHET_SEED=3", "RATCHET_BUDGET_SECONDS=1.0", "OMP_NUM_THREADS=2"}
    set_by_us |= {"PYTHONHASHSEED=0", sys.executable}
    inputs = {"prepare.py 0o444", "data/val.bin 0o444", "train.py 0o644", "some data"}
    assert set_by_us | inputs <= set(log.splitlines())
    spec = plan(tmp_path, "", budget_seconds=None, budget_steps=9)
    place = tmp_path / "other"
    steps = Workspace(spec, store(tmp_path), SandboxKind.NONE, place, place).environment()
    assert steps["RATCHET_BUDGET_STEPS"] == "9"
    assert "RATCHET_BUDGET_SECONDS" not in steps


def test_folders_in_any_state_are_discarded(tmp_path: Path) -> None:
    folder = tmp_path / "full"
    (folder / "below" / "deeper").mkdir(parents=True)
    (folder / "shut").mkdir(mode=0)
    remove_run_folder(folder)
    assert not folder.exists()
    remove_run_folder(folder)


@pytest.mark.parametrize("seconds", [None, 0.25])
def test_a_run_knows_what_the_baselines_evaluation_takes(
    tmp_path: Path, seconds: float | None
) -> None:
    source = "import os; print('val:', os.environ.get('RATCHET_EVALUATION_SECONDS', 7))"
    record, _ = run(tmp_path, source, evaluation_seconds=seconds)
    assert record.metrics["val"] == (seconds or 7)


def test_the_curve_is_kept_beside_the_log_with_its_times(tmp_path: Path) -> None:
    source = """
import time
for step in range(3):
    time.sleep(0.2)
    print(f"\\rstep {step:05d} | loss: {3 - step}.5 | dt: 100ms | tok/sec: 500", end="", flush=True)
print("\\n---\\nval: 0.25")
"""
    record, _ = run(tmp_path, source)
    assert record.outcome is Outcome.OK and record.diverged == ""
    curve = parse_curve(tmp_path / "run")
    assert [(p.step, p.loss, p.tokens) for p in curve] == [
        (0, 3.5, 50),
        (1, 2.5, 100),
        (2, 1.5, 150),
    ]
    first, second, third = (point.seconds or 0.0 for point in curve)
    assert first > 0.2 and second > first + 0.1 and second + 0.1 < third <= record.wall_seconds


def test_a_flood_has_the_times_of_its_last_lines(tmp_path: Path) -> None:
    source = """
import time
print('step 1 loss 4')
for i in range(300): print('x' * 20000)
time.sleep(0.5)
print('step 2 loss 3\\n---\\nval: 2')
"""
    record, _ = run(tmp_path, source)
    first, last = parse_curve(tmp_path / "run")
    assert first.seconds is not None and last.seconds is not None
    assert first.seconds + 0.4 < last.seconds <= record.wall_seconds


@pytest.mark.parametrize(
    ("end", "words"),
    [
        ("print('val: nan')", "printed val: nan (training loss nan from step 2 on, 1.5 at step 1)"),
        ("raise ValueError('eigenvalues')", "diverged, then exit status 1 (training loss nan"),
        ("import sys; print('FAIL'); sys.exit(1)", "diverged and stopped itself"),
    ],
)
def test_a_run_that_diverges_says_where(tmp_path: Path, end: str, words: str) -> None:
    losses = "for s, l in enumerate((4.5, 1.5, 'nan', 'nan')): print(f'step {s}: loss {l}')\n"
    record, _ = run(tmp_path, losses + end)
    assert record.outcome is Outcome.DIVERGED
    assert words in record.reason
    assert record.diverged == "training loss nan from step 2 on, 1.5 at step 1"
    assert record.machine == ""
