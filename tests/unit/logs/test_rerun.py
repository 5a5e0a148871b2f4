"""The steps of an audit: one code's run of one turn, and what all runs say."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ratchet.base.errors import InputMissingError, UsageError
from ratchet.base.io import Fingerprint, digest_bytes, read_record, source_digest, write_json
from ratchet.logs import rerun
from ratchet.logs.rerun import audit_plan_of, audit_verdicts, write_audit_run
from ratchet.logs.rerun_plan import (
    AuditedCode,
    AuditPlan,
    AuditRun,
    AuditVerdicts,
    KeptChange,
    KeptStanding,
)
from ratchet.records.paths import SessionPaths
from ratchet.records.records import Outcome, RunSummary
from ratchet.steps.baseline import write_baseline
from ratchet.task.task import Constraint

START = "import random\nrandom.seed(1)\na = 1\n"


@pytest.fixture(autouse=True)
def bench_makes_the_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bench stands for the session, and for the executor of its runs."""
    monkeypatch.setattr(rerun, "Executor", lambda session: session)


class Bench:
    """A session as the steps see it; ``values`` are what runs of a text measure, by turn."""

    def __init__(self, folder: Path, *texts: str) -> None:
        self.paths = SessionPaths("again", folder)
        self.texts_by_sha = {digest_bytes(t.encode()): t for t in (START, *texts)}
        self.codes = [
            AuditedCode(source_digest(f), f, f"line {n}") for n, f in enumerate(self._files())
        ]
        self.config = SimpleNamespace(session="again")
        self.manifest = SimpleNamespace(
            baseline=(Fingerprint("train.py", digest_bytes(START.encode()), 1),),
            hardware={"cpu": "x"},
        )
        metric = SimpleNamespace(name="loss")
        self.task = SimpleNamespace(
            name="fake", fixed=("prepare.py",), metric=metric, printed=(), plausible=None,
            device="cpu", limits={}, constraints=(),
        )  # fmt: skip
        self.store = SimpleNamespace(lookup=lambda _: None)
        self.budget = {"seconds": 1.0}
        self.values: dict[str, float | None] = {}
        self.made: list[tuple[str, int]] = []
        self.told: list[str] = []
        self.journal = SimpleNamespace(append=lambda event, **_: self.told.append(event))

    def _files(self) -> list[dict[str, str]]:
        return [{"train.py": sha} for sha in self.texts_by_sha]

    def texts(self, sources: dict[str, str]) -> dict[str, str]:
        return {name: self.texts_by_sha[sha] for name, sha in sources.items()}

    def value(self, run: RunSummary) -> float:
        assert run.value is not None
        return run.value

    def run(self, sources: dict[str, str], _role: Any, replicate: int, *about: Any) -> RunSummary:
        source = source_digest(sources)
        self.made.append((str(about[1]), replicate))
        value = self.values.get(source, 1.0)
        if value is None:
            return RunSummary("k", replicate, Outcome.CRASH, "boom", None, None)
        return RunSummary("k", replicate, Outcome.OK, "", value + 1e-3 * (replicate % 2), None)

    def plan(self, *pairs: tuple[int, int], seeds: int = 3, kept: int | None = None) -> None:
        sources = [code.source for code in self.codes]
        changes = tuple(
            KeptChange(n, f"{n:07x}", "x", seeds, sources[a], sources[b], parent_line=n - 1)
            for n, (a, b) in enumerate(pairs, 3)
        )
        count = len(pairs) if kept is None else kept
        wanted = AuditPlan("0", {}, count, tuple(self.codes), changes)
        write_json(self.paths.rerun_plan, wanted)
        for turn in range(1, wanted.turns + 1):
            for code in wanted.wanted(turn):
                write_audit_run(self, turn, code.number)  # type: ignore[arg-type]

    def record(self, turn: int, code: int) -> AuditRun:
        return read_record(AuditRun, self.paths.rerun(turn, self.codes[code].number))

    def verdicts(self) -> AuditVerdicts:
        return audit_verdicts(self)  # type: ignore[arg-type]


def test_each_change_is_judged_by_its_own_runs(tmp_path: Path) -> None:
    bench = Bench(tmp_path, f"{START}b = 1\n", f"{START}b = 2\n")
    bench.values = {bench.codes[1].source: 0.9, bench.codes[2].source: 0.9}
    bench.plan((0, 1), (1, 2))
    found = bench.verdicts()
    assert [held.standing for held in found.changes] == [KeptStanding.HOLDS, KeptStanding.FAILS]
    assert found.counts == {"holds": 1, "does not hold": 1, "undecided": 0, "not run": 0}
    assert len(bench.made) == found.runs == 9
    assert [turn for _, turn in bench.made] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert found.whole is not None
    assert (found.whole.start, found.whole.end) == (2, 4)
    assert found.whole.gain == pytest.approx(0.1)
    assert found.freedom == 6


def test_a_choice_of_changes_says_nothing_of_the_whole(tmp_path: Path) -> None:
    bench = Bench(tmp_path, f"{START}b = 1\n")
    bench.plan((0, 1), kept=2)
    assert bench.verdicts().whole is None


def test_a_code_that_fails_is_not_run_again_nor_is_what_it_is_compared_with(tmp_path: Path) -> None:
    bench = Bench(tmp_path, f"{START}b = 1\n", f"{START}c = 1\n")
    bench.values = {bench.codes[1].source: None}
    bench.plan((0, 1), (1, 2))
    assert [turn for _, turn in bench.made] == [0, 0, 0]
    assert bench.record(2, 0).skipped == "a side of each of its changes has failed"
    first, second = bench.verdicts().changes
    assert first.standing is second.standing is KeptStanding.NOT_RUN
    assert first.reason == "it failed here with seed 0 (crash: boom)"
    assert second.reason == "its incumbent failed here with seed 0 (crash: boom)"


def test_code_that_would_bend_the_measurement_is_not_run(tmp_path: Path) -> None:
    cheat = f"{START}import prepare\nprepare.evaluate = lambda *_: 0.0\n"
    bench = Bench(tmp_path, cheat)
    bench.plan((0, 1))
    assert [label for label, _ in bench.made] == ["line 0"]
    assert bench.told == ["refused"]
    (held,) = bench.verdicts().changes
    assert held.standing is KeptStanding.NOT_RUN
    assert "prepare.evaluate" in held.reason


def test_a_broken_constraint_is_said(tmp_path: Path) -> None:
    bench = Bench(tmp_path, f"{START}b = 1\n")
    bench.task.constraints = (Constraint("size", max=3.0),)
    record = SimpleNamespace(
        metrics={"size": 5.0}, wall_seconds=1.0, cpu_seconds=1.0, peak_memory_mb=1.0,
        evaluation=None,
    )  # fmt: skip
    bench.task.memory_mb = lambda _: None
    bench.store = SimpleNamespace(lookup=lambda _: record)
    bench.plan((0, 1))
    (held,) = bench.verdicts().changes
    assert held.standing is not KeptStanding.NOT_RUN
    assert held.notes[-1].startswith("it breaks a constraint of the task here (size is 5")


def test_another_seed_is_no_change(tmp_path: Path) -> None:
    bench = Bench(tmp_path, START.replace("seed(1)", "seed(7)"))
    bench.values = {bench.codes[1].source: 0.5}
    bench.plan((0, 1))
    (held,) = bench.verdicts().changes
    assert held.standing is KeptStanding.NOT_RUN
    assert held.reason.endswith("changes nothing but how random numbers start")


def test_a_session_is_an_audit_or_has_rounds(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    with pytest.raises(InputMissingError, match="ratchet audit"):
        audit_plan_of(bench)  # type: ignore[arg-type]
    bench.plan()
    with pytest.raises(UsageError, match="found an audit"):
        write_baseline(bench)  # type: ignore[arg-type]
