"""A task's own interpreter: found, asked, compared with the task's lock."""

from __future__ import annotations

import os
import sys
import venv
from pathlib import Path

import pytest

from helpers.run_plans import launch
from ratchet.base.errors import ConfigError, DataError
from ratchet.records.records import Outcome
from ratchet.runs.sandbox.sandbox import SandboxKind, choose_sandbox, sandbox_fault
from ratchet.task.environment import (
    Interpreter,
    ask_interpreter,
    interpreter_program,
    package_deviations,
    task_interpreter,
    verify_packages_of,
)

LOCKED = """numpy==9.9.9 \\
    --hash=sha256:00
extra==1.0 ; python_version < '3.0' \\
    --hash=sha256:00
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with one made-up package in it, outside of all others."""
    folder = tmp_path_factory.mktemp("own") / "an environment"
    venv.create(folder, with_pip=False)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "made_up.py").write_text("VALUE = 0.25\n")
    told = packages / "Made_Up-1.5.dist-info"
    told.mkdir()
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: Made_Up\nVersion: 1.5\n")
    return folder


def test_an_environment_is_found_by_its_folder_and_by_its_program(own: Path) -> None:
    program = own / "bin" / "python"
    assert interpreter_program(own, "") == interpreter_program(program, "") == program


def test_it_says_what_it_has(own: Path) -> None:
    found = ask_interpreter(interpreter_program(own, ""))
    assert found.packages == {"made-up": "1.5"}
    assert found.version.split(".")[:2] == [str(part) for part in sys.version_info[:2]]
    assert {str(own), sys.base_prefix} <= set(found.prefixes)


def test_the_digest_is_of_version_and_packages_alone(own: Path) -> None:
    found = ask_interpreter(interpreter_program(own, ""))
    moved = Interpreter("/elsewhere", ("/",), found.version, {"made-up": "1.5"}, {})
    other = Interpreter("/elsewhere", ("/",), found.version, {"made-up": "1.6"}, {})
    assert found.packages_sha256 == moved.packages_sha256 != other.packages_sha256


def test_nothing_there_is_said_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing to run at .*gone; make it with: make env-x"):
        interpreter_program(tmp_path / "gone", "make it with: make env-x")
    (tmp_path / "text").write_text("")
    with pytest.raises(ConfigError, match="nothing to run at"):
        interpreter_program(tmp_path / "text", "")


@pytest.mark.parametrize("words", ["exit 3", "echo no", "echo '{}' | cut -c 1"])
def test_what_is_no_python_is_refused(tmp_path: Path, words: str) -> None:
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\n{words}\n")
    program.chmod(0o755)
    with pytest.raises(ConfigError, match=r"python: .*(status 3|does not answer)"):
        ask_interpreter(program)


def test_it_is_compared_with_a_lock(own: Path, tmp_path: Path) -> None:
    lock = tmp_path / "mine.lock"
    lock.write_text(LOCKED)
    found = ask_interpreter(interpreter_program(own, ""))
    assert package_deviations(lock, found) == ["numpy: expected 9.9.9, found none"]
    with pytest.raises(DataError, match=r"numpy: expected 9.9.9, found none.*make env-mine"):
        verify_packages_of(lock, found)
    old = Interpreter("", (), "2.7", {"numpy": "9.9.9"}, {"python_version": "2.7"})
    assert package_deviations(lock, old) == ["extra: expected 1.0, found none"]
    lock.write_text("Made_Up==1.5 \\\n    --hash=sha256:00\n")
    assert package_deviations(lock, found) == []


@pytest.mark.parametrize("kind", [SandboxKind.NONE, SandboxKind.LANDLOCK, SandboxKind.BUBBLEWRAP])
def test_runs_use_it_and_its_packages(own: Path, tmp_path: Path, kind: SandboxKind) -> None:
    if sandbox_fault(kind):
        pytest.skip(f"{kind} does not work here: {sandbox_fault(kind)}")
    source = "import made_up, sys\nprint('---\\nval:', made_up.VALUE)\nprint('at:', sys.prefix)\n"
    python = ask_interpreter(interpreter_program(own, ""))
    record = launch(tmp_path, tmp_path / "run", source, isolation=kind.value, python=python)
    said = (tmp_path / "run" / "run.log").read_text()
    assert (record.outcome, record.metrics.get("val")) == (Outcome.OK, 0.25), said
    assert str(own) in said


def test_a_container_has_no_place_for_it(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ratchet.runs.sandbox.sandbox.container_fault", lambda: None)
    sandbox_fault.cache_clear()
    try:
        assert choose_sandbox("container") is SandboxKind.CONTAINER
        python = ask_interpreter(interpreter_program(own, ""))
        with pytest.raises(ConfigError, match="interpreter of its own"):
            launch(tmp_path, tmp_path, "", isolation="container", python=python)
    finally:
        sandbox_fault.cache_clear()


def test_the_configuration_comes_before_the_task(own: Path, tmp_path: Path) -> None:
    class Given:
        python: str | None = None
        environment = Path("envs/mine.lock")
        origin = None

    config, task = Given(), Given()
    assert task_interpreter(config, task, tmp_path, tmp_path) is None  # type: ignore[arg-type]
    task.python = tmp_path / "gone"  # type: ignore[assignment]
    with pytest.raises(ConfigError, match="make env-mine"):
        task_interpreter(config, task, tmp_path, tmp_path)  # type: ignore[arg-type]
    config.python = os.path.relpath(own, tmp_path)
    found = task_interpreter(config, task, tmp_path, tmp_path)  # type: ignore[arg-type]
    assert found is not None
    assert found.packages == {"made-up": "1.5"}
