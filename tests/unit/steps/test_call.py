"""What a step says when it cannot go on, and with which exit status."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers import FAKE, REPO
from helpers.boxes import heed_signals
from ratchet.base.errors import DataError
from ratchet.steps import call
from ratchet.steps.call import StepCall, StepFunction, run_step
from ratchet.steps.plan import make_plan

LOG = Path("logs/x.log")
WORDS = ["stage", "--log", str(LOG), "--round", "3"]
Run = Callable[[StepFunction], tuple[object, str, str]]


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working folder and the variables that a rule gives its step."""
    plan = make_plan({"task": str(FAKE)}, tmp_path, REPO, owner=False)
    monkeypatch.chdir(tmp_path)
    for name, value in plan.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a step here: exit status, what stood on standard error, and the log."""

    def run(stage: StepFunction) -> tuple[object, str, str]:
        status: object = 0
        try:
            run_step({"stage": stage})
        except SystemExit as ended:
            status = ended.code
        return status, capsys.readouterr().err, LOG.read_text() if LOG.is_file() else ""

    monkeypatch.setattr(call, "die_with_parent", lambda parent: None)
    monkeypatch.setattr(sys, "argv", ["step.py", *WORDS])
    return run


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (DataError("bad: expected a, found b"), 65, "ratchet: bad: expected a, found b\n"),
        (OSError(28, "No space left on device", "f"), 74, "ratchet: f: No space left"),
        (ValueError("git: No space left on device"), 74, "ratchet: {here}: the disk is full"),
        (ZeroDivisionError("1 / 0"), 70, "ratchet: internal error, ZeroDivisionError"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_one_message_and_a_status(
    run: Run, tmp_path: Path, error: BaseException, status: int, words: str
) -> None:
    def stage(call: StepCall) -> None:
        raise error

    code, said, log = run(stage)
    assert code == status
    assert said.startswith(words.format(here=tmp_path))
    assert said.count("\n") == (1 if words else 0)
    assert log.startswith(said)
    assert ("Traceback" in log) == (status in (70, 74))


def test_a_call_knows_its_round_and_paths(run: Run) -> None:
    calls: list[StepCall] = []
    assert run(calls.append) == (0, "", "")
    assert (calls[0].number, str(calls[0].paths.folder)) == (3, "results/default")


def test_a_log_that_cannot_be_written(run: Run) -> None:
    LOG.parent.write_text("in the way")
    code, said, _ = run(lambda call: None)
    assert code == 74
    assert said.startswith("ratchet: logs: ")
    assert said.count("\n") == 1


@pytest.mark.parametrize("dead", [True, False])
def test_a_step_whose_snakemake_died_meanwhile_does_nothing(
    monkeypatch: pytest.MonkeyPatch, dead: bool
) -> None:
    monkeypatch.setenv("RATCHET_PARENT", "1" if dead else str(os.getpid()))
    code = "from ratchet.steps.call import run_step; run_step({'stage': lambda _: print('ran')})"
    done = subprocess.run([sys.executable, "-c", code, *WORDS], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (
        (1, "", "") if dead else (0, "ran\n", "")
    )


def test_every_rule_has_its_step_and_none_loads_what_only_some_need() -> None:
    script = (
        "import sys, step; sys.stdout.write(' '.join(step.STEPS)); "
        "sys.exit(str({'numpy', 'jinja2', 'ratchet.session'} & {*sys.modules} or ''))"
    )
    folder = REPO / "workflow_scripts"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True
    )
    assert done.stderr.strip() == ""
    rules = "".join(path.read_text() for path in (REPO / "rules").glob("*.smk"))
    assert sorted(done.stdout.split()) == sorted(re.findall(r'\bstep\(\s*"(\w+)"', rules))


def test_an_interrupt_while_the_package_is_imported_says_nothing(tmp_path: Path) -> None:
    script = shutil.copy(REPO / "workflow_scripts" / "step.py", tmp_path)
    (tmp_path / "ratchet.py").write_text(
        "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(9)\n"
    )
    done = subprocess.run(
        [sys.executable, script], preexec_fn=heed_signals, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (-signal.SIGINT, b"")
