"""Where candidates are tried: the default task, run as a session runs it.

A session first reads the edit (:func:`ratchet.integrity.edit_checks`) and then runs it
under watch.  Here both always happen, so that a test can say what the run itself
catches when the reading is circumvented.
"""

from __future__ import annotations

import base64
import fcntl
import itertools
import pickle
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

import pytest

from helpers import REPO, load_task
from ratchet.base.structs import replace
from ratchet.integrity.edit_checks import EditContract, Flag, Severity, edit_flags
from ratchet.integrity.run_checks import (
    RunTrace,
    charged_mb,
    off_budget,
    run_trace,
    unlike_baseline,
)
from ratchet.records.paths import StorePaths
from ratchet.records.records import Outcome
from ratchet.records.store import LOG, LOG_ASKED, RunRecord, Store
from ratchet.runs import supervisor
from ratchet.runs.run import execute_run
from ratchet.runs.sandbox import sandbox
from ratchet.runs.sandbox.sandbox import SandboxKind
from ratchet.runs.spec import RunSpec
from ratchet.task.environment import locked_versions
from ratchet.task.task import Task

T = TypeVar("T")

TASK: Task = load_task(REPO / "tasks" / "bytelm", REPO)
TRAIN = (TASK.folder / "train.py").read_text(encoding="utf-8")
CONTRACT = EditContract(tuple(TASK.fixed), TASK.metric.name, TASK.printed)

# Few enough to be quick, enough to be trained: below 6 bits per byte.
STEPS = 40

# Where all that counts comes after the training.
FEW_STEPS = 4

# Half of the windows that sessions evaluate, in half of the groups: enough for every check.
WINDOWS, GROUPS = (
    ("EVAL_WINDOWS = 512", "EVAL_WINDOWS = 256"),
    ("EVAL_GROUPS = 8", "EVAL_GROUPS = 4"),
)

# Untrained, the default model needs 8 bits per byte and more.
LEARNT = 8.0

# Of a budget of some tenths of a second the imports are a large part, and they vary.
TOLERANCE = 0.3

# Places of the default train.py where edits go.
MAIN = "def main() -> None:\n"
FIRST = "    rng = np.random.default_rng(SEED)\n"
LOOP = "    while not budget.done():\n"
END = "    tokens = budget.steps * BATCH_SIZE * SEQ_LEN\n"
ASK = "    print_summary(evaluate_bpb(model.predict), budget, tokens, size, DEPTH)\n"


def needs(kind: SandboxKind) -> pytest.MarkDecorator:
    """Skips a test where a kind of isolation does not work."""
    return pytest.mark.skipif(
        sandbox.sandbox_fault(kind) is not None, reason=f"{kind} does not work"
    )


KINDS = (SandboxKind.LANDLOCK, SandboxKind.BUBBLEWRAP)
APART = [pytest.param(kind, marks=needs(kind)) for kind in KINDS]
apart = pytest.mark.parametrize("kind", APART)
every_kind = pytest.mark.parametrize("kind", [SandboxKind.NONE, *APART])
STRONGEST = next((k for k in KINDS[::-1] if sandbox.sandbox_fault(k) is None), SandboxKind.NONE)


def layered(names: Iterable[str], none: bool = False) -> pytest.MarkDecorator:
    """Parametrizes ``name`` and ``kind``: all under the strongest sandbox, the first under each."""
    first, *others = names
    kinds = (SandboxKind.NONE, *KINDS) if none else KINDS
    pairs = [pytest.param(first, kind, marks=needs(kind)) for kind in kinds]
    # Where there is no sandbox, what needs one skips.
    strongest = STRONGEST if none or STRONGEST is not SandboxKind.NONE else SandboxKind.LANDLOCK
    pairs += [pytest.param(name, strongest, marks=needs(strongest)) for name in others]
    return pytest.mark.parametrize(("name", "kind"), pairs)


def edited(old: str, new: str, text: str = TRAIN) -> str:
    """The default candidate with one place changed."""
    assert text.count(old) == 1, old
    return text.replace(old, new)


def fixed_file(name: str, whole: bool) -> bytes:
    """A fixed file of the task; unless ``whole``, evaluations are smaller than in sessions."""
    text = (TASK.folder / name).read_text(encoding="utf-8")
    if name == "prepare.py" and not whole:
        for old, new in (WINDOWS, GROUPS):
            text = edited(old, new, text)
    return text.encode()


def before(place: str, lines: str, text: str = TRAIN) -> str:
    """The default candidate with lines put in before a place."""
    return edited(place, lines + place, text)


def asking(lines: str, value: str = "evaluate_bpb(predict)", text: str = TRAIN) -> str:
    """The default candidate that does something before it is evaluated, and prints ``value``."""
    return edited(ASK, lines + ASK.replace("evaluate_bpb(model.predict)", value), text)


def ending(lines: str) -> str:
    """The default candidate that does something after it was evaluated."""
    return edited(ASK, ASK + lines)


def hidden(lines: str, text: str = TRAIN) -> str:
    """A candidate that runs ``lines`` first, with no name in it that a reader could find."""
    encoded = base64.b64encode(lines.encode()).decode()
    call = (
        'getattr(__builtins__, "".join(("ex", "ec")))'
        f'(__import__("base64").b64decode("{encoded}"), globals())'
    )
    return before(MAIN, f"{call}\n\n\n", text)


class Cheat(NamedTuple):
    """A candidate, what a run of it says, and the flags that keep it from being run."""

    source: str
    reason: str
    flags: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Attempt:
    """What became of one candidate, and all that it printed."""

    flags: tuple[Flag, ...]
    record: RunRecord
    log: str

    @property
    def blocked(self) -> set[str]:
        """Kinds of the flags that would have kept it from being run."""
        return {flag.kind for flag in self.flags if flag.severity is Severity.BLOCK}

    @property
    def notes(self) -> set[str]:
        """Kinds of the flags that are shown and decide nothing."""
        return {flag.kind for flag in self.flags if flag.severity is Severity.NOTE}

    @property
    def value(self) -> float:
        """The metric of a run that counts."""
        assert self.record.outcome is Outcome.OK, (self.record, self.log)
        assert self.record.evaluation is not None
        value = self.record.metrics[TASK.metric.name]
        assert value is not None
        assert value == self.record.evaluation.value
        return value

    def assert_ends(self, outcome: Outcome, words: str = "") -> None:
        """The run must have ended like this."""
        assert self.record.outcome is outcome, (self.record, self.log)
        assert re.search(words, self.record.reason), self.record.reason

    def assert_caught(self) -> None:
        """The harness must have seen through it; a broken cheat is no proof."""
        if self.record.outcome not in (Outcome.OK, Outcome.TAMPERED):
            raise RuntimeError(f"{self.record}\n{self.log}")
        assert self.record.outcome is Outcome.TAMPERED


def open_hole(reason: str) -> pytest.MarkDecorator:
    """A cheat that nothing catches yet; docs/security.md names it."""
    return pytest.mark.xfail(strict=True, raises=AssertionError, reason=reason)


def read(source: str) -> tuple[Flag, ...]:
    """All flags of a candidate."""
    return edit_flags({"train.py": TRAIN}, {"train.py": source}, CONTRACT)


def blocked(source: str) -> set[str]:
    """Kinds of the flags that keep a candidate from being run."""
    return {flag.kind for flag in read(source) if flag.severity is Severity.BLOCK}


@dataclass
class Arena:
    """A store with the prepared data, and runs in it.

    Runs of the unchanged candidate are made once for all workers that have ``common``.
    """

    root: Path
    common: Path | None = None
    store: Store = field(init=False)
    data: dict[str, str] = field(init=False)
    count: itertools.count[int] = field(default_factory=itertools.count)
    baseline: dict[SandboxKind, Attempt] = field(default_factory=dict)
    replicates: dict[tuple[float | None, SandboxKind], list[RunTrace]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store = Store(StorePaths(self.root / "store"))
        out = self.root / "prepared"
        words = [sys.executable, "prepare.py", "--out", str(out)]
        subprocess.run(words, cwd=TASK.folder, check=True, stdout=subprocess.DEVNULL)
        self.data = {}
        for name in TASK.data_names:
            self.data[name] = self.store.put((out / name).read_bytes())
            (out / name).unlink()

    def plan(
        self, source: str, kind: SandboxKind, whole: bool = False, **changes: object
    ) -> RunSpec:
        """The plan of a session, with a budget of few steps, and with the ``whole`` evaluation."""

        def data(names: tuple[str, ...]) -> dict[str, str]:
            return {name: self.data[name] for name in names}

        plan = RunSpec(
            command=TASK.command,
            sources={"train.py": self.store.put(source.encode())},
            fixed={name: self.store.put(fixed_file(name, whole)) for name in TASK.fixed},
            data=data(tuple(TASK.visible_data)),
            seed=1,
            budget_seconds=None,
            budget_steps=STEPS,
            timeout_seconds=TASK.timeout_seconds,
            threads=TASK.threads,
            metric=TASK.metric.name,
            device=TASK.device,
            evaluator=TASK.evaluator,
            evaluation_data=data(tuple(TASK.evaluation_data)),
            names=TASK.printed_names,
            counted=TASK.counted_names,
            isolation=kind.value,
            network=TASK.network,
            hidden=TASK.hidden,
            packages=tuple(locked_versions(TASK.environment)),
            seeding=TASK.seeding,
            draws="7",
        )
        if "budget_seconds" in changes:
            changes["budget_steps"] = None
        return replace(plan, **changes)  # type: ignore[arg-type]

    def attempt(
        self, source: str, kind: SandboxKind = SandboxKind.NONE, **changes: object
    ) -> Attempt:
        """Read a candidate, run it whatever was found, and keep the run."""
        plan = self.plan(source, kind, **changes)
        key, record, executed = self.store.run(
            {"number": next(self.count)}, lambda folder: execute_run(plan, self.store, folder)
        )
        assert executed
        # A line printed just before the evaluation is kept apart where it was read too late.
        first, apart = (
            path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
            for path in (self.store.paths.run(key) / name for name in (LOG, LOG_ASKED))
        )
        return Attempt(read(source), record, first.replace(supervisor.APART.decode(), apart))

    def check_cheat(self, cheat: Cheat, **changes: object) -> None:
        """The edit is flagged as it should be, and its run caught whatever was found."""
        attempt = self.attempt(cheat.source, **{"budget_steps": FEW_STEPS, **changes})
        assert attempt.blocked == cheat.flags
        attempt.assert_ends(Outcome.TAMPERED, cheat.reason)

    def unchanged(self, kind: SandboxKind = SandboxKind.NONE) -> Attempt:
        """The unchanged candidate, which is run once for all tests."""
        if kind not in self.baseline:
            made = self._once(f"unchanged-{kind}", lambda: self.attempt(TRAIN, kind))
            self.baseline[kind] = made
        return self.baseline[kind]

    def honest(self, kind: SandboxKind = SandboxKind.NONE) -> float:
        """The metric of the unchanged candidate."""
        return self.unchanged(kind).value

    def usual(
        self, budget_seconds: float | None = None, kind: SandboxKind = SandboxKind.NONE
    ) -> list[RunTrace]:
        """Replicates of the unchanged candidate, as a session's baseline has them."""
        key = budget_seconds, kind
        if key not in self.replicates:
            made = self._once(f"usual-{budget_seconds}-{kind}", lambda: self.traces(TRAIN, 3, *key))
            self.replicates[key] = made
        return self.replicates[key]

    def _once(self, name: str, make: Callable[[], T]) -> T:
        """What the first worker makes and the others read."""
        if self.common is None:
            return make()
        path = self.common / f"{name}.pickle"
        with path.with_suffix(".lock").open("w") as own:
            fcntl.flock(own, fcntl.LOCK_EX)
            if not path.exists():
                path.write_bytes(pickle.dumps(make()))
            found: T = pickle.loads(path.read_bytes())
            return found

    def traces(
        self,
        source: str,
        count: int = 1,
        budget_seconds: float | None = None,
        kind: SandboxKind = SandboxKind.NONE,
    ) -> list[RunTrace]:
        """Replicates of a candidate; all of them must count, and have learnt something."""
        budget = {} if budget_seconds is None else {"budget_seconds": budget_seconds}
        found = []
        for seed in range(1, count + 1):
            attempt = self.attempt(source, kind, seed=seed, **budget)
            assert 0 < attempt.value < LEARNT
            found.append(run_trace(TASK, seed, attempt.record))
        return found

    def check_costly(
        self, cheat: Cheat, budget_seconds: float, kind: SandboxKind = SandboxKind.NONE
    ) -> None:
        """The edit is flagged as it should be, and its run is off the budget whatever was found."""
        attempt = self.attempt(cheat.source, kind, budget_seconds=budget_seconds)
        assert attempt.blocked == cheat.flags
        if attempt.record.outcome is not Outcome.OK:
            raise RuntimeError(f"{attempt.record}\n{attempt.log}")
        found = self.off_budget([run_trace(TASK, 1, attempt.record)], budget_seconds, kind)
        assert re.search(cheat.reason, found or "within its budget"), found

    def off_budget(
        self, runs: list[RunTrace], budget_seconds: float, kind: SandboxKind = SandboxKind.NONE
    ) -> str | None:
        """How runs did not keep to their budget beside the baseline's."""
        usual = self.usual(budget_seconds, kind)
        assert TASK.plausible is not None
        limits = replace(TASK.plausible, tolerance=TOLERANCE)
        return off_budget(usual, runs, limits, budget_seconds)

    def unlike(self, runs: list[RunTrace]) -> str | None:
        """What a session finds in what runs printed, beside its baseline's."""
        return unlike_baseline(self.usual(), runs, TASK.plausible)

    def accused(self, source: str, budget_seconds: float, kind: SandboxKind) -> str | None:
        """What is found against an honest candidate; one off its budget is not accused."""
        usual = self.usual(budget_seconds, kind)
        runs = self.traces(source, 1, budget_seconds, kind)
        return unlike_baseline(usual, runs, TASK.plausible)

    def charged_mb(self, source: str) -> tuple[float | None, float | None]:
        """Memory that a candidate prints, and memory that a session charges."""
        (run,) = self.traces(source)
        return run.printed_mb, charged_mb(self.usual(), run)
