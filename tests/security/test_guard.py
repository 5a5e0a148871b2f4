"""Cheats in a guard: it runs the candidate's code, and has the training's sandbox."""

import pytest

from helpers.candidates import KINDS, TRAIN, Arena, needs
from ratchet.records.records import Outcome
from ratchet.runs.sandbox.sandbox import SandboxKind

apart = pytest.mark.parametrize("kind", [pytest.param(kind, marks=needs(kind)) for kind in KINDS])
every_kind = pytest.mark.parametrize(
    "kind", [SandboxKind.NONE, *(pytest.param(kind, marks=needs(kind)) for kind in KINDS)]
)

GUARD = "import train\n"
"""A guard that does nothing but load the candidate, which is enough for it to act."""

REACHING = """
import os, socket
def attempt(name, act):
    try:
        act()
        print("REACHED", name)
    except OSError as error:
        print("REFUSED", name, type(error).__name__)
attempt("evaluation data", lambda: open({data!r}).read(1))
attempt("store", lambda: os.listdir({store!r} + "/blobs"))
attempt("network", lambda: socket.create_connection(("127.0.0.1", 9), 0.2))
print("TOLD", sorted(name for name in os.environ if "EVALUAT" in name))
"""


def guarded(arena: Arena, source: str, kind: SandboxKind, seconds: float = 60.0) -> tuple:
    """How the guard of a candidate ended, and what it printed."""
    plan = arena.plan(TRAIN, kind)
    smoke = arena.store.put(GUARD.encode())
    attempt = arena.attempt(
        TRAIN + source,
        kind,
        guard=True,
        command=("python", "smoke.py"),
        fixed={**plan.fixed, "smoke.py": smoke},
        metric="",
        names=(),
        counted=(),
        evaluator=(),
        evaluation_data={},
        timeout_seconds=seconds,
    )
    return attempt.record, attempt.log


@every_kind
def test_an_honest_candidate_passes(arena: Arena, kind: SandboxKind) -> None:
    record, log = guarded(arena, "", kind)
    assert record.outcome is Outcome.OK, log
    assert record.evaluation is None


@apart
def test_evaluation_data_store_and_network_are_out_of_reach(
    arena: Arena, kind: SandboxKind
) -> None:
    evaluation = arena.plan(TRAIN, kind).evaluation_data
    data = arena.store.path(next(iter(evaluation.values())))
    source = REACHING.format(data=str(data), store=str(arena.store.paths.root))
    record, log = guarded(arena, source, kind)
    assert record.outcome is Outcome.OK, log
    assert log.count("REFUSED") == 3, log
    assert "REACHED" not in log
    assert "TOLD []" in log


@every_kind
def test_a_changed_guard_is_tampering(arena: Arena, kind: SandboxKind) -> None:
    change = 'import os\nos.chmod("smoke.py", 0o644)\nopen("smoke.py", "a").write("pass")\n'
    record, log = guarded(arena, change, kind)
    if kind is not SandboxKind.NONE and record.outcome is Outcome.GUARD_FAILED:
        assert "Error" in log, "it could not be changed at all"
        return
    assert record.outcome is Outcome.TAMPERED
    assert "smoke.py" in record.reason


def test_what_a_guard_starts_ends_with_it(arena: Arena) -> None:
    source = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(3600)\n"
    record, log = guarded(arena, source + "print('left', flush=True)\n", SandboxKind.NONE)
    assert record.outcome is Outcome.OK, log


@every_kind
def test_a_guard_that_floods_and_hangs_is_ended(arena: Arena, kind: SandboxKind) -> None:
    source = "import time\nfor _ in range(40): print('x' * 100_000, flush=True)\ntime.sleep(3600)\n"
    record, log = guarded(arena, source, kind, seconds=3.0)
    assert record.outcome is Outcome.GUARD_FAILED
    assert record.reason == "stopped after 3 s of wall-clock time"
    assert len(log) < 1 << 21
