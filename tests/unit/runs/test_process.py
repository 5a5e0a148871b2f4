"""Processes that come and go while they are measured."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.commands import Patch
from ratchet.runs.process import Meter, UsageSamples, descendants

TREE = """
import os, signal, time
{before}
if os.fork() == 0:
    while time.process_time() < 0.5: pass
    os._exit(0)
# Look that the child has ended without taking its end away, then wait to be read.
try: os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
except ChildProcessError: pass
time.sleep(0.3)
print(flush=True)
input()
"""


def tree(before: str) -> float:
    """What a meter says of a process that lets a child work and does not wait for it."""
    command = [sys.executable, "-c", TREE.format(before=before)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    meter, found = Meter(), 0.0
    os.set_blocking(process.stdout.fileno(), False)
    limit = time.monotonic() + 30
    while not process.stdout.read() and time.monotonic() < limit:
        found = meter.read([process.pid, *descendants(process.pid)])
        time.sleep(0.02)
    process.communicate(b"\n")
    assert Meter().read([process.pid]) == 0.0
    return found


@pytest.mark.parametrize(
    "before",
    [
        "",
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
        "signal.signal(signal.SIGCHLD, lambda *_: os.wait())",
    ],
    ids=["zombie", "nobody waits", "waited for"],
)
def test_a_child_that_has_ended_still_counts_once(before: str) -> None:
    assert 0.4 < tree(before) < 1.0


@pytest.mark.parametrize("look", ["listed", "read"])
def test_a_process_may_end_while_it_is_looked_at(look: str, monkeypatch: Patch) -> None:
    wait = [sys.executable, "-c", "input()"]
    with (
        subprocess.Popen(wait, stdin=subprocess.PIPE) as ending,
        subprocess.Popen(wait, stdin=subprocess.PIPE) as staying,
    ):

        def end_before(function: Callable[..., Any]) -> Callable[..., Any]:
            def looking(place: Any, *arguments: Any, **named: Any) -> Any:
                if f"/proc/{ending.pid}/" in os.fspath(place):
                    ending.kill()
                    ending.wait()
                return function(place, *arguments, **named)

            return looking

        if look == "listed":
            for name in ("listdir", "scandir"):
                monkeypatch.setattr(os, name, end_before(getattr(os, name)))
        else:
            monkeypatch.setattr(Path, "read_text", end_before(Path.read_text))
        found = descendants(os.getpid())
        monkeypatch.undo()
        assert ending.returncode == -signal.SIGKILL
        assert staying.pid in found
        staying.kill()


@given(st.lists(st.floats(0.01, 3.0), max_size=100), st.integers(2, 20))
def test_samples_stay_few_and_lose_neither_processor_time_nor_the_most_memory(
    pauses: list[float], most: int
) -> None:
    samples, now = UsageSamples(most=most), 0.0
    for number, pause in enumerate(pauses):
        now += pause
        samples.take(now, 2 * now, float(number % 7))
    assert len(samples.rows) < most
    times = [row[0] for row in samples.rows]
    assert times == sorted(set(times))
    assert all(row[1] == pytest.approx(2 * row[0], abs=0.002) for row in samples.rows)
    if samples.rows:
        assert now - times[-1] < 2 * samples.every_seconds + 3.0
        until = sum(moment <= times[-1] + 1e-3 for moment in accumulate(pauses))
        assert max(row[2] or 0.0 for row in samples.rows) == min(until - 1, 6)


def test_a_command_without_memory_that_is_known_has_samples_all_the_same() -> None:
    samples = UsageSamples()
    for seconds in (0.5, 1.5, 2.1):
        samples.take(seconds, 0.5, None)
    assert samples.rows == [(1.5, 0.5, None), (2.1, 0.5, None)]
