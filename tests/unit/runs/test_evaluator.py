"""Evaluators of any task: their process, what they say, and what goes wrong with them."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from helpers.run_plans import launch
from ratchet.base.errors import DataError
from ratchet.records.records import Outcome
from ratchet.records.series import parse_curve
from ratchet.records.store import LOG, LOG_ASKED, RunRecord
from ratchet.runs.evaluator import Evaluator

TALK = """
import json, os, socket, sys
def tell(**said): print(json.dumps(said), flush=True)
s = socket.socket(fileno=int(os.environ["RATCHET_EVALUATOR_FD"]))
order = json.loads(os.environ["RATCHET_EVALUATION"])
"""
SERVE = (
    TALK
    + """
tell(event="ready")
if s.recv(3) == b"ask":
    tell(event="asked")
    value = float(open(order["data"]["val"]).read())
    facts = dict(tokens=1, batches=1, seconds=0.0, reply_seconds=0.0)
    tell(event="result", value=value, audit=None, **facts)
    s.sendall(b"7.5")
"""
)
CLIENT = """
import os, socket
s = socket.socket(fileno=int(os.environ["RATCHET_EVALUATOR_FD"]))
s.sendall(b"ask")
print("---")
print("val:", s.recv(9).decode())
"""


def small(tmp_path: Path, evaluator: str, source: str = CLIENT, **changes: object) -> RunRecord:
    given: dict[str, Any] = {
        "fixed": {"evaluator.py": evaluator.encode()},
        "data": {},
        "evaluator": ["python", "evaluator.py"],
        "evaluation_data": {"val": b"7.50004"},
        **changes,
    }
    return launch(tmp_path, source, **given)[0]


def test_any_task_may_bring_its_evaluator(tmp_path: Path) -> None:
    record = small(tmp_path, SERVE)
    assert record.outcome is Outcome.OK, record
    assert record.metrics["val"] == 7.50004
    names = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert names == [LOG_ASKED, LOG, "source"]


def test_what_is_printed_after_the_first_question_is_kept_apart(tmp_path: Path) -> None:
    """Printed by every means, as soon as the question is there."""
    asks = SERVE.replace("value =", "s.sendall(b'secret'); s.recv(1)\n    value =")
    told = """
import subprocess, sys
said = s.recv(9).decode()
print(said, flush=True)
print(said, file=sys.stderr)
os.write(1, said.encode())
subprocess.run(["/bin/echo", said])
print("step 2 loss 1", flush=True)
s.sendall(b".")
"""
    source = CLIENT.replace('print("---")', told + 'print("---")')
    for folder in ("one", "two", "three"):
        record = small(
            tmp_path, asks, 'print("step 1 loss 2", flush=True)\n' + source, folder=folder
        )
        assert record.outcome is Outcome.OK, record
        shown = (tmp_path / folder / LOG).read_text()
        assert "secret" not in shown
        assert shown.endswith("---\nval: 7.50004\n")
        assert (tmp_path / folder / LOG_ASKED).read_text().count("secret") == 4
        assert [point.step for point in parse_curve(tmp_path / folder)] == [1]


def test_nobody_waits_for_words_that_were_taken(tmp_path: Path) -> None:
    """They are looked for whenever the run prints, too, so that one look finds nothing left."""
    words = 'import time; print(\'{"event": "asked"}\', flush=True); time.sleep(20)'
    order = {"command": [sys.executable, "-S", "-c", words], "folder": str(tmp_path)}
    evaluator = Evaluator({**order, "environment": {}, "errors": str(tmp_path / "errors")})
    evaluator.start()
    while not evaluator.was_asked(dict):
        time.sleep(0.01)
    began = time.monotonic()
    assert evaluator.read(dict)
    assert time.monotonic() - began < 10
    os.kill(evaluator.pid, signal.SIGKILL)
    assert evaluator.finish(dict)["asked"] == {}


def test_a_broken_evaluator_is_the_tasks_fault(tmp_path: Path) -> None:
    broken, waits = TALK + "order['nothing']", "import time; time.sleep(3); print('val: 1')"
    with pytest.raises(
        DataError, match=r"(?s)'python evaluator\.py' ended with status 1.*KeyError"
    ):
        small(tmp_path, broken, waits)


READY = TALK + "tell(event='ready'); "
GONE = READY + "s.recv(3); tell(event='asked'); os.kill(os.getpid(), 9)"
COUNTS = CLIENT.replace("s.recv(9).decode()", "len(s.recv(9)) + 1")


@pytest.mark.parametrize(
    ("evaluator", "source", "outcome", "words"),
    [
        (READY + "import time; time.sleep(600)", CLIENT, Outcome.TIMEOUT, "after 2 s"),
        (GONE, COUNTS, Outcome.TAMPERED, "its evaluation failed"),
        (SERVE, "raise ValueError('early')", Outcome.CRASH, "ValueError: early"),
    ],
    ids=["hangs", "dies", "is not asked"],
)
def test_without_an_evaluation_there_is_no_result(
    tmp_path: Path, evaluator: str, source: str, outcome: Outcome, words: str
) -> None:
    seconds = 2.0 if outcome is Outcome.TIMEOUT else 20.0
    record = small(tmp_path, evaluator, source, timeout_seconds=seconds)
    assert record.outcome is outcome
    assert words in record.reason


def test_the_evaluators_work_is_not_the_candidates(tmp_path: Path) -> None:
    busy = "import time\n    while time.process_time() < 1.5: pass\n    x = bytearray(300 << 20)"
    record = small(tmp_path, SERVE.replace("    value =", f"    {busy}\n    value ="))
    assert record.outcome is Outcome.OK, record
    assert record.cpu_seconds < 1.0
    assert record.peak_rss_mb < 150
