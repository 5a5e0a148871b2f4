"""Kept changes of a log run again: what is run, how it ends, and what holds."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from helpers.autojudge_logs import HEADER, row
from helpers.clones import Clone
from ratchet.base.errors import InputMissingError, UsageError
from ratchet.base.git import Commits
from ratchet.base.io import digest_bytes, read_record, source_digest, write_json
from ratchet.base.stats import welch_interval
from ratchet.logs import rerun
from ratchet.logs.experiments import log_experiments
from ratchet.logs.reader import read_table
from ratchet.logs.rerun_plan import (
    AUDIT_LEVEL,
    LEAST_SEEDS,
    AuditedCode,
    AuditPlan,
    AuditRun,
    AuditVerdicts,
    HeldChange,
    KeptChange,
    KeptStanding,
)
from ratchet.records.paths import SessionPaths
from ratchet.records.records import Outcome, RunSummary
from ratchet.steps.baseline import write_baseline
from ratchet.task.task import Constraint


class Log:
    """Rows of a log whose commits a clone has, or not."""

    def __init__(self, folder: Path) -> None:
        self.clone = Clone(folder / "clone")
        self.text = HEADER
        self.value = 1.0
        self.commits: list[str] = []

    def add(self, status: str, files: dict[str, str] | None, name: str = "") -> str:
        """A row of a commit with these files, the name overriding what the log says."""
        commit = "" if files is None else self.clone.commit(files)
        self.value -= 0.01
        cells = row(0, self.value, status, "x").split("\t")
        self.text += "\t".join([name or commit[:7], *cells[1:]])
        self.commits.append(commit)
        return commit

    def plan(self, choice: rerun.Choice | None = None, seeds: Any = 5) -> AuditPlan:
        every = log_experiments(read_table(self.text.encode(), "log"))
        kept = [r.line for r, k in zip(every.rows, every.kept, strict=True) if k][1:]
        changes = [{"line": line, "seeds": seeds, "gain": 1 / line} for line in kept]
        clone = rerun.Clone(Commits(self.clone.folder), ["train.py"], digest_bytes)
        return rerun.build_audit_plan(
            every, {"changes": changes}, "0" * 64, clone, choice or rerun.Choice()
        )


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path)


def test_a_change_is_compared_with_the_incumbent_of_its_time(log: Log) -> None:
    first = log.add("keep", {"train.py": "a = 1\n"})
    log.add("discard", {"train.py": "a = 2\n"})
    log.clone.git("reset", "-q", "--hard", first)
    third = log.add("keep", {"train.py": "a = 3\n"})
    fourth = log.add("keep", {"train.py": "a = 4\n", "notes/x.txt": "?"})
    plan = log.plan()
    assert [(c.line, c.parent_line, c.parent_commit) for c in plan.changes] == [
        (4, 2, first),
        (5, 4, third),
    ]
    sources = {code.source: code for code in plan.codes}
    one, two = plan.changes
    assert sources[str(one.parent)].files == {"train.py": digest_bytes(b"a = 1\n")}
    assert one.child == two.parent
    assert [code.label for code in plan.codes] == ["line 2 x 0", "line 4 x 0", "line 5 x 0"]
    assert one.notes == ()
    assert two.notes == ("other files differ too, which are not taken from commits: notes/x.txt",)
    assert two.commit == fourth[:7]
    assert (plan.kept, plan.turns, plan.runs) == (2, 5, 15)


def test_the_commits_own_parent_may_be_another(log: Log) -> None:
    log.add("keep", {"train.py": "a = 1\n"})
    stray = log.add("discard", {"train.py": "a = 2\n"})
    log.add("keep", {"train.py": "a = 2\nb = 1\n"})
    (change,) = log.plan().changes
    assert change.parent_line == 2
    assert change.notes[0] == (
        f"its own parent {stray[:12]} has another train.py than the incumbent (line 2), with which "
        "it is compared"
    )


def test_where_the_incumbents_commit_is_lost_its_own_parent_stands_in(log: Log) -> None:
    log.add("keep", {"train.py": "a = 1\n"}, name="fffffff")
    base = log.clone.git("rev-parse", "HEAD")
    log.add("keep", {"train.py": "a = 2\n"})
    (change,) = log.plan().changes
    assert (change.parent_line, change.parent_commit) == (None, base)
    assert "the commit of its incumbent (line 2) is not in the repository" in change.notes[0]
    assert f"own parent {base[:12]}" in change.notes[0]


def test_what_cannot_be_run_is_named(log: Log) -> None:
    log.add("keep", {"train.py": "a = 1\n"})
    log.add("keep", None, name="eeeeeee")
    log.add("keep", {"README": "same code"})
    (log.clone.folder / "train.py").unlink()
    log.add("keep", {})
    log.add("keep", {"train.py": "b = 1\n"})
    log.add("keep", None, name="-")
    why = [change.unable for change in log.plan().changes]
    assert why[0] == "its commit 'eeeeeee' is not in the repository"
    # Its incumbent's commit is lost, and its own parent has the very same code.
    assert why[1] == "it changes nothing in train.py"
    assert why[2] == "its commit has no file train.py"
    assert why[3].endswith("has no file train.py") and "compared with" in why[3]
    assert why[4].endswith("is not in the repository")
    assert log.plan().runs == 0


def test_a_choice(log: Log) -> None:
    commits = [log.add("keep", {"train.py": f"a = {n}\n"}) for n in range(5)]
    assert [c.line for c in log.plan(rerun.Choice(top=2)).changes] == [3, 4]
    found = log.plan(rerun.Choice(seeds=7, only=[commits[4], commits[2][:9].upper()]))
    assert [(c.line, c.seeds) for c in found.changes] == [(4, 7), (6, 7)]
    assert found.kept == 4
    for advised in (None, 0, 1, 3, 12):  # never too few
        seeds = {c.seeds for c in log.plan(seeds=advised).changes}
        assert seeds == {max(advised or 0, LEAST_SEEDS)}
    with pytest.raises(UsageError, match="--only: expected commits of kept changes"):
        log.plan(rerun.Choice(only=[commits[0]]))


START = "import random\nrandom.seed(1)\na = 1\n"


class Bench:
    """A session and its executor as steps see them; ``values`` are what runs of a code measure."""

    def __init__(self, folder: Path, *texts: str) -> None:
        self.session: Any = self
        self.paths = SessionPaths("again", folder)
        self.texts_by_sha = {digest_bytes(t.encode()): t for t in (START, *texts)}
        files = [{"train.py": sha} for sha in self.texts_by_sha]
        self.codes = [AuditedCode(source_digest(f), f, f"line {n}") for n, f in enumerate(files)]
        self.config = SimpleNamespace(session="again")
        self.baseline_files = files[0]
        self.manifest = SimpleNamespace(hardware={"cpu": "x"})
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
                rerun.write_audit_run(self.session, turn, code.number)

    def record(self, turn: int, code: int) -> AuditRun:
        return read_record(AuditRun, self.paths.rerun(turn, self.codes[code].number))

    def verdicts(self) -> AuditVerdicts:
        return rerun.audit_verdicts(self.session)


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
    bench.plan((0, 1), kept=2)  # a choice of changes says nothing of the whole
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


@pytest.mark.parametrize(
    ("text", "told", "reason"),
    [
        (f"{START}import prepare\nprepare.evaluate = print\n", ["refused"], "prepare.eval"),
        (START.replace("seed(1)", "seed(7)"), [], "nothing but how random numbers start"),
    ],
)
def test_code_that_bends_the_measurement_or_reseeds_is_no_change(
    tmp_path: Path, text: str, told: list[str], reason: str
) -> None:
    bench = Bench(tmp_path, text)
    bench.values = {bench.codes[1].source: 0.5}
    bench.plan((0, 1))
    assert bench.told == told
    assert {label for label, _ in bench.made} == {"line 0"} | ({"line 1"} if not told else set())
    (held,) = bench.verdicts().changes
    assert held.standing is KeptStanding.NOT_RUN
    assert reason in held.reason


def test_a_broken_constraint_is_said(tmp_path: Path) -> None:
    bench = Bench(tmp_path, f"{START}b = 1\n")
    bench.task.constraints = (Constraint("size", max=3.0),)
    sizes = {"size": 5.0}
    spent = {"wall_seconds": 1.0, "cpu_seconds": 1.0, "peak_memory_mb": 1.0}
    record = SimpleNamespace(
        metrics=sizes, numbers=sizes, evaluation=None, compile_cache="", **spent
    )
    bench.task.memory_mb = lambda _: None
    bench.store = SimpleNamespace(lookup=lambda _: record)
    bench.plan((0, 1))
    (held,) = bench.verdicts().changes
    assert held.standing is not KeptStanding.NOT_RUN
    assert held.notes[-1].startswith("it breaks a constraint of the task here (size is 5")


def test_a_session_is_an_audit_or_has_rounds(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    with pytest.raises(InputMissingError, match="ratchet audit"):
        rerun.audit_plan_of(bench.session)
    bench.plan()
    with pytest.raises(UsageError, match="found an audit"):
        write_baseline(bench.session)


SD = 3e-4
CHANGE = HeldChange(3, "abc", "wider", KeptStanding.UNDECIDED, 3)


def runs(rng: np.random.Generator, mean: float, count: int = 3) -> list[float]:
    return [float(mean + SD * x) for x in rng.standard_normal(count)]


def share(effect: float, known: bool) -> dict[KeptStanding, float]:
    """How changes of this effect, in noise sds, stand after three runs of each side."""
    rng = np.random.default_rng(7)
    found = []
    for _ in range(60):
        others = [runs(rng, 1.0) for _ in range(4)] if known else []
        parent, child = runs(rng, 1.0), runs(rng, 1.0 - effect * SD)
        found.append(rerun.judge_kept_change(CHANGE, parent, child, others).standing)
    return {standing: found.count(standing) / 60 for standing in KeptStanding}


def test_what_helps_holds_and_what_does_not_does_not() -> None:
    assert share(6, known=True)[KeptStanding.HOLDS] > 0.95
    for known in (True, False):
        nothing = share(0, known)
        assert nothing[KeptStanding.HOLDS] == 0 and nothing[KeptStanding.FAILS] > 0.75
        assert share(-5, known)[KeptStanding.FAILS] == 1
    # Runs of other codes tell the noise floor.
    known, unknown = (share(4, told)[KeptStanding.HOLDS] for told in (True, False))
    assert known > unknown + 0.1


def test_the_gain_is_the_difference_of_the_means_with_welchs_interval() -> None:
    parent, child = [1.0, 1.0002, 1.0001], [0.998, 0.9983, 0.9981]
    found = rerun.judge_kept_change(CHANGE, parent, child)
    wanted = welch_interval(parent, child, AUDIT_LEVEL)
    assert (found.gain, found.low, found.high) == (wanted.gain, wanted.low, wanted.high)
    assert found.given_runs is not None and found.expected is not None and found.gain is not None
    assert found.standing is KeptStanding.HOLDS and found.given_runs > 0.95
    assert 0 < found.expected < found.gain
    assert (found.line, found.commit, found.seeds) == (3, "abc", 3)


def test_runs_that_only_repeat_each_other_prove_nothing() -> None:
    for child, standing in ((1.0, KeptStanding.FAILS), (0.9, KeptStanding.UNDECIDED)):
        found = rerun.judge_kept_change(CHANGE, [1.0] * 3, [child] * 3, [[1.0] * 3])
        assert (found.standing, found.gain) == (standing, pytest.approx(1.0 - child))
        assert (found.low, found.high, found.given_runs, found.noise_sd) == (None,) * 4
        assert found.reason.startswith("the seed has no effect here")
    # One pair that differs, of any code, tells that there is noise.
    found = rerun.judge_kept_change(CHANGE, [1.0] * 3, [0.9] * 3, [[1.0, 1.001]])
    assert found.given_runs is not None
    assert rerun.pooled_sd([]) == (None, 0) == rerun.pooled_sd([[1.0], [2.0]])
    sd, freedom = rerun.pooled_sd([[0.0, 2.0], [5.0, 5.0, 8.0], [1.0]])
    assert (sd, freedom) == (pytest.approx(np.sqrt((2.0 + 6.0) / 3)), 3)
