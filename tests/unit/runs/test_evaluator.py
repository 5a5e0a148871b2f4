"""Evaluators of any task: their process, what they say, and what goes wrong with them."""

from pathlib import Path
from typing import Any

import pytest

from helpers.run_plans import launch
from ratchet.base.errors import DataError
from ratchet.records.records import Outcome
from ratchet.records.store import LOG, RunRecord

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
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [LOG, "source"]


def test_parts_of_the_replies_are_measured(tmp_path: Path) -> None:
    steps = 'tell(event="progress"); s.sendall(b"more"); s.recv(3); ' * 5
    busy = """
import time
for _ in range(5):
    s.recv(9)
    until = time.process_time() + 0.06
    while time.process_time() < until: pass
    time.sleep(0.1)
    s.sendall(b"yes")
"""
    source = CLIENT.replace('print("---")', busy + 'print("---")')
    record = small(tmp_path, SERVE.replace("    value =", f"    {steps}\n    value ="), source)
    assert record.outcome is Outcome.OK, record
    usual = record.evaluation.usual_cpu_seconds
    assert 0.2 < usual < 0.6


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
