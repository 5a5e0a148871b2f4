"""What an audit runs again, read from a clone and its log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from helpers.autojudge_logs import HEADER, row
from helpers.clones import Clone
from ratchet.base.errors import UsageError
from ratchet.base.git import Commits
from ratchet.base.io import digest_bytes
from ratchet.logs import rerun
from ratchet.logs.experiments import log_experiments
from ratchet.logs.reader import read_table
from ratchet.logs.rerun import Choice, advised_seeds, build_audit_plan
from ratchet.logs.rerun_plan import LEAST_SEEDS, AuditPlan


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

    def plan(self, choice: Choice | None = None, seeds: Any = 5) -> AuditPlan:
        every = log_experiments(read_table(self.text.encode(), "log"))
        kept = [r.line for r, k in zip(every.rows, every.kept, strict=True) if k][1:]
        changes = [{"line": line, "seeds": seeds, "gain": 1 / line} for line in kept]
        clone = rerun.Clone(Commits(self.clone.folder), ["train.py"], digest_bytes)
        return build_audit_plan(every, {"changes": changes}, "0" * 64, clone, choice or Choice())


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
    assert [c.line for c in log.plan(Choice(top=2)).changes] == [3, 4]
    found = log.plan(Choice(seeds=7, only=[commits[4], commits[2][:9].upper()]))
    assert [(c.line, c.seeds) for c in found.changes] == [(4, 7), (6, 7)]
    assert found.kept == 4
    with pytest.raises(UsageError, match="--only: expected commits of kept changes"):
        log.plan(Choice(only=[commits[0]]))


def test_seeds_are_those_that_the_audit_advises() -> None:
    assert [advised_seeds({"seeds": n}) for n in (None, 0, 1, 3, 12)] == [
        *[LEAST_SEEDS] * 4,
        12,
    ]
