"""What parsing the Snakefile decides: settings, ownership, digests of code, needs of a training."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import REPO
from ratchet.base.errors import ConfigError, FixedInputChangedError, SessionBusyError
from ratchet.base.io import write_json
from ratchet.config import read_config
from ratchet.steps import plan
from ratchet.steps.plan import (
    DEFAULT_MEMORY_MB,
    HARNESS_MEMORY_MB,
    Needs,
    WorkflowPlan,
    _module_path,
    _own,
    _owner,
    _part,
    code_digest,
    config_file,
    imported_modules,
    load_plan,
    make_plan,
    plain,
)

FAKE = {"task": str(REPO / "tests" / "data" / "tasks" / "fake")}


def planned(root: Path, **settings: object) -> WorkflowPlan:
    return make_plan({**FAKE, **settings}, root, REPO, owner=False)


def own_config(root: Path, rounds: int) -> Path:
    """A configuration file of the working folder with another number of rounds."""
    shutil.copytree(REPO / "config", root / "config")
    path = root / "config" / "config.yaml"
    path.write_text(path.read_text().replace("rounds: 12", f"rounds: {rounds}"))
    return path


def test_a_plan_is_made_without_touching_the_disk(tmp_path: Path) -> None:
    made = planned(tmp_path, target="null")
    assert made.config.rounds == 12
    assert made.config.target is None, "null on the command line is null"
    assert json.loads(made.environment["RATCHET_CONFIG"])["session"] == "default"
    assert Path(made.environment["RATCHET_STEP"]).is_file()
    assert not list(tmp_path.iterdir())


def test_the_working_folders_own_settings_count(tmp_path: Path) -> None:
    own_config(tmp_path, rounds=5)
    assert planned(tmp_path).config.rounds == 5
    assert planned(tmp_path, rounds=7).config.rounds == 7


@pytest.mark.parametrize(
    ("text", "value"),
    [("null", None), ("3e-4", 3e-4), ("-1E5", -1e5), ("e5", "e5"), ("3e-4x", "3e-4x"), (4, 4)],
)
def test_what_snakemake_leaves_as_text(text: object, value: object) -> None:
    assert plain({"key": text}) == {"key": value}


def test_settings_that_stand_in_the_file_are_not_named_as_given(tmp_path: Path) -> None:
    path = own_config(tmp_path, rounds=0)
    written = read_config(path)
    for overrides, where in ((written, str(path)), ({**written, "seed": 2}, f"{path}, --config")):
        with pytest.raises(ConfigError, match=re.escape(f"{where}: rounds: expected at least 1")):
            make_plan(overrides, tmp_path, REPO, owner=False)


def test_the_configuration_file_that_counts(tmp_path: Path, capsys) -> None:
    assert config_file(tmp_path, REPO) == str(REPO / "config/config.yaml")
    own = tmp_path / "config" / "config.yaml"
    own.parent.mkdir()
    own.write_text("rounds: 3\n")
    assert config_file(tmp_path, REPO) == str(own)
    own.write_text("rounds: 3\nseed: [1\n")
    with pytest.raises(SystemExit) as caught:
        config_file(tmp_path, REPO)
    assert caught.value.code == 64
    assert capsys.readouterr().err.startswith(f"ratchet: {own}:3:1: is not valid YAML")


def test_a_refusal_is_one_message_and_an_exit_code(tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        load_plan({**FAKE, "rounds": 0}, tmp_path, REPO, owner=True)
    assert caught.value.code == 64
    assert capsys.readouterr().err.count("\n") == 1
    assert not list(tmp_path.iterdir())


OWNER = """
import sys, time
from pathlib import Path
from ratchet.steps import plan
from ratchet.records.paths import SessionPaths
plan._own(Path(sys.argv[1]), SessionPaths("s", Path(sys.argv[1])))
print("mine", flush=True)
time.sleep(60)
"""


def test_one_owner_at_a_time_and_none_after_its_death(tmp_path: Path) -> None:
    paths = planned(tmp_path).paths
    locks = tmp_path / ".snakemake" / "locks"
    locks.mkdir(parents=True)
    (locks / "0.input.lock").touch()
    command = [sys.executable, "-c", OWNER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "mine\n"
        assert not locks.exists(), "the new owner removes the locks of the dead"
        locks.mkdir()
        with pytest.raises(SessionBusyError, match=f"process {other.pid}"):
            _own(tmp_path, paths)
        assert locks.exists(), "whoever is refused removes nothing"
        other.kill()
    _own(tmp_path, paths)
    assert not locks.exists()
    _owner.clear()


@pytest.mark.parametrize(
    ("change", "judges"),
    [
        ({"mode": "strict"}, True),
        ({"line_price": 0}, True),
        ({"memory_price": 0.1}, True),
        ({"remeasure_every": 3}, True),
        ({"max_replicates": 4}, True),
        ({"rounds": 13}, False),
        ({"target": 1.0}, False),
    ],
)
def test_only_what_a_verdict_depends_on_judges_again(
    tmp_path: Path, change: dict, judges: bool
) -> None:
    before, after = planned(tmp_path).judge_digest, planned(tmp_path, **change).judge_digest
    assert (before != after) is judges


def test_frozen_inputs_are_compared(tmp_path: Path) -> None:
    """A manifest that names other digests stops the session."""
    found = planned(tmp_path)

    def entry(name: str) -> dict[str, object]:
        return {"path": name, "sha256": "0" * 64, "bytes": 1}

    manifest = {
        "session": "default",
        "task": "fake",
        "fixed": [entry("prepare.py")],
        "baseline": [],
        "brief": entry("program.md"),
        "values": {},
        "data": [],
        "locked": [],
        "environment": entry("bytelm.lock"),
        "definition": entry("task.yaml"),
        "frozen": {**found.config.frozen, "seed": 5},
        "config_sha256": "",
        "harness_sha256": "",
        "hardware": {},
    }
    write_json(found.paths.manifest, manifest)
    with pytest.raises(FixedInputChangedError) as caught:
        planned(tmp_path)
    said = str(caught.value)
    for name in ("prepare.py", "program.md", "task.yaml", "bytelm.lock"):
        assert f"{name}: expected sha256 {'0' * 64}, found " in said
    assert "configuration key seed: expected 5, found 1" in said


# ------------------------------------------------------------- digests of code

PACKAGE = REPO / "workflow_scripts" / "ratchet"


def parsed(source: str) -> set[str]:
    """The same as :func:`imported` by Python's own parser, which is slow."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ratchet"):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {str(node.module)} - {"ratchet"}
        elif isinstance(node, ast.Import):
            names |= {a.name for a in node.names if a.name.startswith("ratchet.")}
    return names


def test_imports_are_read_as_python_reads_them() -> None:
    sources = {path: path.read_text() for path in PACKAGE.rglob("*.py")}
    assert len(sources) > 100
    for path, source in sources.items():
        assert set(imported_modules(source)) == parsed(source), path


@pytest.mark.parametrize(
    "source",
    [
        "from ratchet import a\n",
        "from ratchet import a, b as c\n",
        "def f():\n    from ratchet.a import b  # slow\n",
        "from ratchet.a import (\n    b,  # with a comma, here\n    c as d,\n)\n",
        "import ratchet.a\nimport os\nfrom os import path\n",
        "if x:\n\tfrom ratchet.a import b\n",
    ],
)
def test_every_form_of_an_import_is_read(source: str) -> None:
    assert set(imported_modules(source)) == parsed(source) != set()


def test_an_edit_far_down_changes_the_digest_of_what_rests_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "ratchet"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(plan, "__file__", str(copy / "steps" / "plan.py"))
    names = ("ratchet.steps.judge", "ratchet.report.session_report")

    def digests() -> dict[str, str]:
        code_digest.cache_clear()
        _part.cache_clear()
        return {name: code_digest(name) for name in names}

    try:
        before = digests()
        assert before == digests()
        assert len({*before.values()}) == 2
        edited = copy / "judge" / "judge.py"
        edited.write_text(edited.read_text() + "\n# new\n")
        after = digests()
        assert before["ratchet.steps.judge"] != after["ratchet.steps.judge"]
        style = next((copy / "report").glob("*.css"))
        style.write_text(style.read_text() + "\n")
        styled = digests()
        assert styled["ratchet.report.session_report"] != after["ratchet.report.session_report"]
        assert styled["ratchet.steps.judge"] == after["ratchet.steps.judge"]
    finally:
        code_digest.cache_clear()
        _part.cache_clear()


def covered(*modules: str) -> set[str]:
    todo, seen = list(modules), set()
    while todo:
        path = _module_path(PACKAGE, todo.pop())
        if path is not None and path not in seen:
            seen.add(path)
            todo += imported_modules(path.read_text())
    return {str(path.relative_to(PACKAGE)) for path in seen}


def test_the_judge_rests_on_its_core_and_not_on_the_report() -> None:
    found = covered("ratchet.steps.judge")
    assert {"judge/judge.py", "judge/effects.py", "steps/judge.py", "records/records.py"} <= found
    others = ("report/", "runs/", "proposers/", "monitor/", "steps/steer")
    assert not any(name.startswith(others) for name in found)
    page = covered("ratchet.report.session_report")
    assert {"report/render.py", "report/facts.py", "report/figures.py"} <= page


# ------------------------------------------------------------- needs of a training

GPU = Needs(device="gpu", threads=4, timeout_seconds=540.0)
CPU = Needs(device="cpu", threads=2, timeout_seconds=540.0)


def test_here_a_training_is_one_of_so_many_and_elsewhere_asks_for_what_it_uses() -> None:
    asked = [
        (one.gpus(elsewhere=far), one.cores(elsewhere=far))
        for one in (GPU, CPU)
        for far in (False, True)
    ]
    assert asked == [(1, 0), (1, 4), (1, 0), (0, 2)]


def test_time_grows_with_runs_and_attempts() -> None:
    assert [CPU.minutes(runs) for runs in (0, 1, 3)] == [5, 15, 35]
    assert CPU.minutes(3, attempt=2) == 70
    assert CPU.prepare_minutes(attempt=2) == 2 * CPU.prepare_minutes() > 60


def test_memory_is_the_tasks_limit_and_room_for_the_harness() -> None:
    assert CPU.memory_mb == DEFAULT_MEMORY_MB
    assert Needs(limit_mb=3000).memory_mb == 3000 + HARNESS_MEMORY_MB
