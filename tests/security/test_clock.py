"""Cheats with time: what a run uses, from its start to its last reply, is one sum.

Whoever watches it measures that.  A run that used more than the baseline's is off its
budget: it does not count, whatever it did with the time, and nobody is accused.
"""

import re
import textwrap

import pytest

from helpers.candidates import (
    FIRST,
    LOOP,
    TASK,
    TRAIN,
    Arena,
    Cheat,
    asking,
    before,
    edited,
    hidden,
)
from ratchet.integrity.edit_checks import Severity
from ratchet.integrity.run_checks import run_trace
from ratchet.records.records import Outcome
from ratchet.runs.sandbox.cgroups import create_cgroup
from ratchet.runs.sandbox.sandbox import AUTO, SandboxKind, choose_sandbox

SECONDS = 0.4
LONGER = r"used \d[\d.]* s from its start to its last reply"
GROUP = create_cgroup()
GROUPS = GROUP is not None and (GROUP.path / "cpu.stat").exists() and GROUP.remove()
SLOWER = "real = time.process_time\n{0}time.process_time = lambda: real() / 5\n"


def training(columns: int) -> str:
    """One step of training beyond the budget, indented."""
    lines = (
        "inputs, targets = sample_batch(data, rng)\n"
        "loss_of(model(inputs, rng), targets).backward()\n"
        "optimizer.step(LEARNING_RATE)\n"
    )
    return textwrap.indent(lines, " " * columns)


FORKS = f"""    import os, time
    if os.fork() == 0:
        while time.process_time() < 2.0:
{training(12)}
        np.savez("new.npz", *[p.data for p in parameters])
        os.rename("new.npz", "weights.npz")
        os._exit(0)
    os.wait()
    for p, weights in zip(parameters, np.load("weights.npz").values()):
        p.data[...] = weights
"""
WAITS_FOR_A_FILE = """    while not os.path.exists("weights.npz"):
        time.sleep(0.1)
    time.sleep(0.5)
"""
THREAD = f"""    import threading, time
    def work():
        while True:
{training(12)}
    threading.Thread(target=work, daemon=True).start()
    evaluating = []
    def predict(x):
        if not evaluating:
            evaluating.append(time.sleep(2.2))
        return model.predict(x)
"""
WITHIN = f"""    import time
    begun = []
    def predict(x):
        if not begun:
            begun.append(time.process_time())
            while time.process_time() - begun[0] < 2.0:
{training(16)}
        return model.predict(x)
"""
EARLY = f"""    import time
    begun = time.process_time()
    while time.process_time() - begun < 0.4:
{training(8)}
"""
# All parts of the evaluation take equally long.
OFTEN = f"""    import time
    def predict(x):
        begun = time.process_time()
        while time.process_time() - begun < 0.008:
{training(12)}
        model.predict(x)
        return np.zeros((len(x), 256))
"""
CLOCK = frozenset({"clock"})
CHEATS = {
    "slows the clock": Cheat(
        before(FIRST, "    import time\n    " + SLOWER.format("    ")), LONGER, CLOCK
    ),
    "slows the clock by setattr": Cheat(
        before(
            FIRST,
            "    import time\n    real = time.process_time\n"
            '    setattr(time, "process_time", lambda: real() / 5)\n',
        ),
        LONGER,
        CLOCK,
    ),
    "slows the clock in encoded text": Cheat(hidden("import time\n" + SLOWER.format("")), LONGER),
    "gives itself another budget": Cheat(
        edited("budget = Budget.from_environment()", "budget = Budget(seconds=2.0)"), LONGER
    ),
    "trains in another process": Cheat(before(LOOP, FORKS), LONGER),
    "trains in another process that is not waited for": Cheat(
        before(
            LOOP,
            "    import signal\n    signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
            + FORKS.replace("    os.wait()\n", WAITS_FOR_A_FILE),
        ),
        LONGER,
    ),
    "goes on within predict": Cheat(asking(WITHIN), LONGER),
    "makes room for training by replies that sleep": Cheat(
        asking(WITHIN.replace("        return", "        time.sleep(0.002)\n        return")),
        LONGER,
    ),
    "trains a little in every reply": Cheat(asking(OFTEN), LONGER),
    "trains before the clock and within predict, a little each": Cheat(
        before(LOOP, EARLY, asking(WITHIN.replace("< 2.0", "< 0.4"))), LONGER
    ),
}


@pytest.mark.parametrize("name", CHEATS)
def test_the_edit_is_flagged_and_its_run_caught_whatever_was(arena: Arena, name: str) -> None:
    arena.check_costly(CHEATS[name], SECONDS)


def test_sleeping_is_no_training(arena: Arena) -> None:
    """The imports alone use a good part of a shorter budget where a machine is busy."""
    sleep = "    import time\n    time.sleep(0.5)\n    budget.done = lambda: True\n"
    reason = r"trained [01]\.?\d* of 3 s"
    arena.replicates[3.0, SandboxKind.NONE] = arena.traces(TRAIN, 1, 3.0)
    arena.check_costly(Cheat(before(LOOP, sleep), reason), 3.0)


def test_processes_of_a_sandbox_are_counted_too(arena: Arena) -> None:
    kind = SandboxKind(choose_sandbox(AUTO))
    arena.check_costly(CHEATS["trains in another process"], SECONDS, kind)


def test_a_clock_is_noted_and_does_not_block(arena: Arena) -> None:
    source = before(FIRST, "    import time\n    began = time.perf_counter()\n")
    attempt = arena.attempt(source)
    assert [(flag.severity, flag.kind) for flag in attempt.flags] == [(Severity.NOTE, "clock")]
    assert attempt.value > 0


def test_a_run_that_never_ends_is_stopped(arena: Arena) -> None:
    source = before(LOOP, "    while True:\n        pass\n")
    attempt = arena.attempt(source, timeout_seconds=2.0)
    attempt.assert_ends(Outcome.TIMEOUT, "stopped after 2 s of wall-clock time")


def test_a_thread_that_goes_on_is_counted(arena: Arena) -> None:
    """It moves the weights between two calls, too, which some evaluators see first."""
    attempt = arena.attempt(asking(THREAD), budget_seconds=SECONDS)
    if attempt.record.outcome is Outcome.OK:
        found = arena.off_budget([run_trace(TASK, 1, attempt.record)], SECONDS)
        assert re.search(LONGER, found or "")
    else:
        attempt.assert_ends(Outcome.TAMPERED)


@pytest.mark.skipif(not GROUPS, reason="no control groups here: then nobody sees them")
def test_short_processes_that_nobody_waits_for_are_counted(arena: Arena) -> None:
    """They end between two looks at the process table; a control group has their sum."""
    many = """    import os, signal, time
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for _ in range(70):
        if os.fork() == 0:
            began = time.process_time()
            while time.process_time() - began < 0.02:
                pass
            os._exit(0)
        time.sleep(0.025)
"""
    arena.check_costly(Cheat(before(LOOP, many), LONGER), SECONDS)
