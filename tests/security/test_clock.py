"""Cheats with time: what a run uses is measured by those who watch it."""

import re
import textwrap

import pytest

from helpers.candidates import FIRST, LOOP, Arena, Cheat, asking, before, edited, hidden
from ratchet.integrity.edit_checks import Severity
from ratchet.records.records import Outcome
from ratchet.runs.sandbox.cgroups import create_cgroup
from ratchet.runs.sandbox.sandbox import AUTO, SandboxKind, choose_sandbox

SECONDS = 0.4
WENT_ON = "it went on with something else"
LONGER = r"trained \d[\d.]* CPU seconds, the budget is 0\.4"
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
# All parts of the evaluation take equally long, and together longer than any may.
OFTEN = f"""    import time
    def predict(x):
        begun = time.process_time()
        while time.process_time() - begun < 0.03:
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
    "goes on in a thread": Cheat(asking(THREAD), WENT_ON),
    "goes on within predict": Cheat(asking(WITHIN), WENT_ON),
    "makes room for training by replies that sleep": Cheat(
        asking(WITHIN.replace("        return", "        time.sleep(0.03)\n        return")),
        WENT_ON,
    ),
    "trains a little in every reply": Cheat(asking(OFTEN), WENT_ON),
}


@pytest.mark.parametrize("name", CHEATS)
def test_the_edit_is_flagged_and_its_run_caught_whatever_was(arena: Arena, name: str) -> None:
    arena.check_cheat(CHEATS[name], budget_seconds=SECONDS)


def test_sleeping_is_no_training(arena: Arena) -> None:
    """The imports alone use a good part of a shorter budget where a machine is busy."""
    sleep = "    import time\n    time.sleep(0.5)\n    budget.done = lambda: True\n"
    reason = r"trained [01]\.?\d* of 3 CPU seconds"
    arena.check_cheat(Cheat(before(LOOP, sleep), reason), budget_seconds=3.0)


def test_processes_of_a_sandbox_are_counted_too(arena: Arena) -> None:
    kind = SandboxKind(choose_sandbox(AUTO))
    arena.check_cheat(CHEATS["trains in another process"], kind=kind, budget_seconds=SECONDS)


def test_a_clock_is_noted_and_does_not_block(arena: Arena) -> None:
    source = before(FIRST, "    import time\n    began = time.perf_counter()\n")
    attempt = arena.attempt(source)
    assert [(flag.severity, flag.kind) for flag in attempt.flags] == [(Severity.NOTE, "clock")]
    assert attempt.value > 0


def test_a_run_that_never_ends_is_stopped(arena: Arena) -> None:
    source = before(LOOP, "    while True:\n        pass\n")
    attempt = arena.attempt(source, timeout_seconds=2.0)
    attempt.assert_ends(Outcome.TIMEOUT, "stopped after 2 s of wall-clock time")


def test_training_before_the_clock_starts_is_caught(arena: Arena) -> None:
    """A slow start to each run by itself, but the baseline's do not start so slowly."""
    # Before its budget of training it uses what the baseline uses until its evaluation.
    usual = max(trace.seconds or 0.0 for trace in arena.usual(SECONDS))
    early = f"    import time\n    while time.process_time() < {usual + 0.3}:\n" + training(8)
    found = arena.unlike(arena.traces(before(LOOP, early), 1, SECONDS), SECONDS)
    assert found is not None
    said = re.search(r"used (\S+) s until its evaluation, the baseline's runs (\S+) s", found)
    assert said is not None
    assert float(said[1]) > float(said[2]) + 0.5


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
    arena.check_cheat(Cheat(before(LOOP, many), LONGER), budget_seconds=SECONDS)
