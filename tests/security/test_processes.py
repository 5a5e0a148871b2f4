"""Cheats with processes: what outlives a run, what it can stop, what it can reach."""

import time
import uuid

import pytest

from helpers.candidates import ASK, FIRST, Arena, asking, before, edited, ending, layered
from helpers.run_plans import processes_named
from ratchet.records.records import Outcome
from ratchet.runs.sandbox.sandbox import SandboxKind

DAEMON = """    import ctypes, os, time
    from pathlib import Path
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            ctypes.CDLL(None).prctl(15, MARK)
            Path("started").touch()
            BODY
        os._exit(0)
    os.wait()
    while not Path("started").exists():
        time.sleep(0.01)
"""
BODIES = {
    "waits to write": "time.sleep(600)",
    "keeps training": "while True: loss_of(model(data[None, :64]), data[None, 1:65]).backward()",
}


@layered(BODIES, none=True)
def test_no_daemon_outlives_its_run(arena: Arena, name: str, kind: SandboxKind) -> None:
    mark = uuid.uuid4().hex[:15]
    lines = DAEMON.replace("MARK", repr(mark.encode())).replace("BODY", BODIES[name])
    assert arena.attempt(ending(lines), kind).value > 0
    assert processes_named(mark, "comm") == []


def test_processes_that_fork_again_and_again_are_ended(arena: Arena) -> None:
    mark = uuid.uuid4().hex[:15]
    lines = f"""    import ctypes, os, time
    ctypes.CDLL(None).prctl(15, {mark.encode()!r})
    for _ in range(50):
        if os.fork() == 0:
            time.sleep(600)
"""
    began = time.monotonic()
    arena.attempt(before(FIRST, lines), timeout_seconds=200.0)
    assert processes_named(mark, "comm") == []
    # Nobody waited for those that sleep.
    assert time.monotonic() - began < 300


SIBLINGS = """    import os
    from pathlib import Path
    parent = os.getppid()
    pids = [int(p) for p in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    pids.remove(os.getpid())
"""
KILLS = {
    "the supervisor": "    import os\n    os.kill(os.getppid(), 9)\n",
    "the evaluator": SIBLINGS + "    [os.kill(pid, 9) for pid in pids or [2**22 + 1]]\n",
}


@pytest.mark.parametrize(
    ("name", "outcome", "reason"),
    [
        ("the supervisor", Outcome.KILLED, "killed by signal 9"),
        ("the evaluator", Outcome.TAMPERED, "printed val_bpb without an evaluation"),
    ],
)
def test_killing_who_watches_is_no_result(
    arena: Arena, name: str, outcome: Outcome, reason: str
) -> None:
    arena.attempt(asking(KILLS[name], "0.5")).assert_ends(outcome, reason)


@layered(KILLS)
def test_who_watches_cannot_be_killed(arena: Arena, name: str, kind: SandboxKind) -> None:
    tries = "".join(f"    {line}\n" for line in KILLS[name].splitlines())
    source = before(
        FIRST, f"    try:\n{tries}    except (OSError, ValueError):\n        print('REFUSED')\n"
    )
    attempt = arena.attempt(source, kind)
    assert attempt.value > 0
    # The first process of a sandbox takes no signals from within, and says nothing.
    assert "REFUSED" in attempt.log or kind is SandboxKind.BUBBLEWRAP


def test_a_second_try_is_not_had_by_suicide(arena: Arena) -> None:
    """A run that a signal ends is tried once more, but not when it knows its number."""
    lines = "    value = evaluate_bpb(model.predict)\n    import os\n    os.kill(os.getpid(), 9)\n"
    attempt = arena.attempt(asking(lines, "value"))
    attempt.assert_ends(Outcome.KILLED)
    assert attempt.record.evaluation is None


def test_what_a_run_wastes_is_recorded_cut_and_removed(arena: Arena) -> None:
    lines = """    import os
    hog = np.ones(40_000_000)
    for _ in range(30):
        print("x" * 100_000)
    top = os.getcwd()
    for _ in range(2000):
        os.mkdir("deeper")
        os.chdir("deeper")
    os.chdir(top)
"""
    attempt = arena.attempt(before(FIRST, lines))
    assert attempt.value > 0
    assert attempt.record.peak_rss_mb is not None
    assert attempt.record.peak_rss_mb > 300
    assert len(attempt.log) < 1_100_000
    assert "bytes of output left out here" in attempt.log
    assert list(arena.store.paths.partial.iterdir()) == []


def test_a_closed_output_is_no_result(arena: Arena) -> None:
    source = edited(ASK, "    import os\n    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)\n" + ASK)
    arena.attempt(source).assert_ends(Outcome.NO_METRIC, "ended without printing val_bpb")
