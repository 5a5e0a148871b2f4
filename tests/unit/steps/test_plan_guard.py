"""What parsing the Snakefile decides: digests of code, ownership of the folder."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import REPO
from ratchet.base.errors import ConfigError, FixedInputChangedError, SessionBusyError
from ratchet.config import read_config
from ratchet.steps.plan import _own, _owner, config_file, load_plan, make_plan, plain

FAKE = {"task": str(REPO / "tests" / "data" / "tasks" / "fake")}


def test_a_plan_is_made_without_touching_the_disk(tmp_path: Path) -> None:
    plan = make_plan(FAKE, tmp_path, REPO, owner=False)
    assert plan.config.rounds == 12
    assert json.loads(plan.environment["RATCHET_CONFIG"])["session"] == "default"
    assert Path(plan.environment["RATCHET_STEP"]).is_file()
    assert not list(tmp_path.iterdir())


def test_the_working_folders_own_settings_count(tmp_path: Path) -> None:
    shutil.copytree(REPO / "config", tmp_path / "config")
    path = tmp_path / "config" / "config.yaml"
    path.write_text(path.read_text().replace("rounds: 12", "rounds: 5"))
    assert make_plan(FAKE, tmp_path, REPO, owner=False).config.rounds == 5
    assert make_plan({**FAKE, "rounds": 7}, tmp_path, REPO, owner=False).config.rounds == 7


def test_null_on_the_command_line_is_null(tmp_path: Path) -> None:
    plan = make_plan({**FAKE, "target": "null"}, tmp_path, REPO, owner=False)
    assert plan.config.target is None


@pytest.mark.parametrize(
    ("text", "value"),
    [("null", None), ("3e-4", 3e-4), ("-1E5", -1e5), ("e5", "e5"), ("3e-4x", "3e-4x"), (4, 4)],
)
def test_what_snakemake_leaves_as_text(text: object, value: object) -> None:
    assert plain({"key": text}) == {"key": value}


def test_settings_that_stand_in_the_file_are_not_named_as_given(tmp_path: Path) -> None:
    shutil.copytree(REPO / "config", tmp_path / "config")
    path = tmp_path / "config" / "config.yaml"
    path.write_text(path.read_text().replace("rounds: 12", "rounds: 0"))
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
    paths = make_plan(FAKE, tmp_path, REPO, owner=False).paths
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
    plain = make_plan(FAKE, tmp_path, REPO, owner=False).judge_digest
    changed = make_plan({**FAKE, **change}, tmp_path, REPO, owner=False).judge_digest
    assert (plain != changed) is judges


def test_frozen_inputs_are_compared(tmp_path: Path) -> None:
    """A manifest that names other digests stops the session."""
    from ratchet.base.io import write_json

    plan = make_plan(FAKE, tmp_path, REPO, owner=False)
    entry = {"path": "x", "sha256": "0" * 64, "bytes": 1}
    write_json(
        plan.paths.manifest,
        {
            "session": "default",
            "task": "fake",
            "fixed": [{**entry, "path": "prepare.py"}],
            "baseline": [],
            "brief": {**entry, "path": "program.md"},
            "values": {},
            "data": [],
            "locked": [],
            "environment": {**entry, "path": "bytelm.lock"},
            "definition": {**entry, "path": "task.yaml"},
            "frozen": {**plan.config.frozen, "seed": 5},
            "config_sha256": "",
            "harness_sha256": "",
            "hardware": {},
        },
    )
    with pytest.raises(FixedInputChangedError) as caught:
        make_plan(FAKE, tmp_path, REPO, owner=False)
    said = str(caught.value)
    for name in ("prepare.py", "program.md", "task.yaml", "bytelm.lock"):
        assert f"{name}: expected sha256 {'0' * 64}, found " in said
    assert "configuration key seed: expected 5, found 1" in said
