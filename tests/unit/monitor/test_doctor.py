"""``ratchet doctor``: what it says of machines of all kinds, and of this one."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from helpers.machines import GOOD
from ratchet.base.errors import DataError
from ratchet.base.structs import replace
from ratchet.cli import doctor
from ratchet.cli.doctor import (
    _process,
    _with_agent,
    free_space,
    lock,
    main,
    owner,
    package,
    render_checks,
    writable,
)
from ratchet.cli.sessions import read_settings
from ratchet.monitor.doctor import (
    AgentTool,
    Check,
    CheckState,
    GpuCheck,
    LockCheck,
    Machine,
    conclusion,
    examine_machine,
    is_ready,
)
from ratchet.task.environment import verify_packages


def said(machine: Machine, name: str) -> list[Check]:
    return [check for check in examine_machine(machine) if check.name == name]


def test_a_good_machine_is_ready() -> None:
    checks = examine_machine(GOOD)
    assert {check.state for check in checks} == {CheckState.OK}
    assert is_ready(checks)
    assert conclusion(checks) == "ready; start with: snakemake --cores 1"
    names = [check.name for check in checks]
    assert " ".join(names) == (
        "python git snakemake uv packages disk task data gpu gpu isolation container agent"
    )


CASES: list[tuple[dict[str, Any], str, str, str, str]] = [
    ({"python": (3, 10, 1)}, "python", "problem", "3.10.1", "install Python 3.11"),
    ({"tools": {}}, "git", "problem", "not found", "apt-get install git"),
    ({"tools": {}}, "snakemake", "problem", "not in this environment", "make env"),
    (
        {"tools": {"snakemake": AgentTool("9.3.0")}},
        "snakemake",
        "problem",
        "9.27 or newer",
        "make env",
    ),
    ({"tools": {}}, "uv", "ok", "`make env` sets up one of its own", ""),
    (
        {"locks": [LockCheck("l", "d", "a: none")]},
        "packages",
        "problem",
        "l d: a: none",
        "make env",
    ),
    ({"locks": [LockCheck("l", "d", "a", "b-c")]}, "packages", "problem", "l d: a", "b-c"),
    ({"locks": [LockCheck("l", "d", "a", "b-c", True)]}, "packages", "warning", "l d: a", "b-c"),
    ({"disk": {"store": 0.1}}, "disk", "problem", "0.1 GB free for store", "free some space"),
    ({"disk": {"store": 2.0}}, "disk", "warning", "2.0 GB free for store", "may need more"),
    ({"writable": False}, "disk", "problem", "/work: cannot be written", "a folder of your own"),
    ({"configuration": "rounds: bad"}, "config", "problem", "rounds: bad", "mend the config"),
    ({"task_fault": "no task.yaml"}, "task", "problem", "no task.yaml", "mend the task"),
    ({"prepared": False}, "data", "ok", "the first session does it", ""),
    ({"gpus": ()}, "gpu", "problem", "the task needs one", "install the NVIDIA driver"),
    ({"gpus": (), "device": "cpu"}, "gpu", "ok", "the task needs none", ""),
    (
        {"isolation": "bubblewrap", "faults": {"none": None, "bubblewrap": "no bwrap"}},
        "isolation",
        "problem",
        "bubblewrap is wanted and does not work (bubblewrap: no bwrap)",
        "apt-get install bubblewrap, or set isolation to auto",
    ),
    (
        {"faults": {"none": None, "landlock": None, "bubblewrap": "no bwrap"}},
        "isolation",
        "warning",
        "landlock is used (bubblewrap: no bwrap)",
        "apt-get install bubblewrap",
    ),
    ({"isolation": "none"}, "isolation", "warning", "none is wanted", "set isolation to auto"),
    ({"containers": {}}, "container", "ok", "only runs in containers need one", ""),
    ({"agents": {}}, "agent", "ok", "the built-in proposer needs none", ""),
    ({"agent": "codex"}, "agent", "problem", "codex is to propose", "install codex"),
    (
        {"agents": {"aider": AgentTool("", "does not answer")}},
        "agent",
        "warning",
        "aider",
        "by hand",
    ),
    ({"running": "123"}, "session", "problem", "(process 123)", "wait for it"),
]


@pytest.mark.parametrize(("change", "name", "state", "text", "todo"), CASES)
def test_what_is_said_and_what_to_do(
    change: dict[str, Any], name: str, state: str, text: str, todo: str
) -> None:
    machine = replace(GOOD, **change)
    check = said(machine, name)[0]
    assert check.state == state
    assert text in check.text
    assert todo in check.todo
    assert bool(check.todo) == (state != "ok")
    checks = examine_machine(machine)
    assert is_ready(checks) == (CheckState.PROBLEM not in {one.state for one in checks})
    if state == "problem":
        assert conclusion(checks).startswith("not ready; first: ")
    if state == "warning":
        assert conclusion(checks).startswith("ready, with 1 warning; ")


@pytest.mark.parametrize(
    ("gpu", "state", "text"),
    [
        (GpuCheck("A", 80.0, 40.0), "warning", "A, 80.0 GB, 40.0 GB of it in use"),
        (GpuCheck("A", 80.0, 1.0, ["process 7 (x)"]), "warning", "in use by process 7 (x)"),
        (GpuCheck("A", None, None), "ok", "A, memory unknown, nobody else on it"),
    ],
)
def test_others_on_the_gpu(gpu: GpuCheck, state: str, text: str) -> None:
    check = said(replace(GOOD, gpus=[gpu]), "gpu")[-1]
    assert check.state == state
    assert text in check.text
    assert said(replace(GOOD, gpus=[gpu], device="cpu"), "gpu")[-1].state == "ok"


# ----------------------------------------------------------------------- showing


def test_lines_fit_a_terminal_and_cannot_break_it() -> None:
    nasty = replace(GOOD, task_fault="x" * 100 + " \x1b[2J\nnext " + "word " * 40, running="1")
    text = render_checks(examine_machine(nasty))
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "\x1b" not in text
    assert text.splitlines()[0] == "ok       python     3.11.7 (/env/bin/python)"
    assert text.splitlines()[-2] == ""
    coloured = render_checks(examine_machine(nasty), colour=True)
    assert "\x1b[31mproblem  \x1b[0mtask" in coloured
    assert "\x1b[32mok       \x1b[0mpython" in coloured


def test_this_machine(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code = main(["--json", "--root", str(tmp_path)])
    found = json.loads(capsys.readouterr().out)
    assert code == (0 if found["ready"] else 1)
    names = [check["name"] for check in found["checks"]]
    assert {"python", "git", "snakemake", "packages", "disk", "task", "data", "isolation"} <= {
        *names
    }
    assert all(check["state"] in ("ok", "warning", "problem") for check in found["checks"])
    assert list(tmp_path.iterdir()) == []


def test_mistakes_in_the_settings_are_a_problem(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for setting, words in (
        ("rounds=0", "rounds: expected at least 1, found 0"),
        ("task=nowhere", "holds no task.yaml"),
        ("preset=huge", "found 'huge'"),
    ):
        assert main(["--root", str(tmp_path), "--config", setting]) == 1
        assert words in " ".join(capsys.readouterr().out.split())
    assert main(["--root", str(tmp_path), "--config", "rounds"]) == 64
    assert "expected KEY=VALUE, found 'rounds'" in capsys.readouterr().err


# ----------------------------------------------------------------------- probing


@pytest.mark.parametrize(
    ("body", "tool"),
    [
        ("echo 'thing version 1.2 (x)'", AgentTool("1.2 (x)")),
        ("echo 3.4", AgentTool("3.4")),
        ("echo >&2 'Thing 5'", AgentTool("5")),
        ("printf 'a\\033[2Jb'", AgentTool("a [2Jb")),
        ("exit 0", AgentTool("")),
        ("echo broken; exit 3", AgentTool("", "--version ended with status 3: broken")),
        ("sleep 30", AgentTool("", "does not answer")),
    ],
)
def test_programs_tell_their_version(
    body: str, tool: AgentTool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "thing"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(doctor, "SECONDS", 0.5)
    assert doctor.tool("thing") == tool
    assert doctor.tool("no-such-thing") == AgentTool(None)
    assert package("no-such-package") == AgentTool(None)


def test_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "envs" / "a.lock"
    path.parent.mkdir()
    assert lock(path).fault
    path.write_text("")
    assert "names no package" in lock(path).fault
    path.write_text("no-such-package==1 --hash=x\n")
    found = lock(path)
    assert found.path == "envs/a.lock"
    assert found.fault == "no-such-package: expected 1, found none"
    path.write_text(f"pytest=={pytest.__version__} --hash=x\n")
    assert lock(path).fault == ""


def test_a_running_session_is_seen_and_not_disturbed(tmp_path: Path) -> None:
    assert owner(tmp_path) is None
    state = tmp_path / ".snakemake"
    state.mkdir()
    (state / "ratchet.owner").write_text("4711\n")
    assert owner(tmp_path) is None
    code = (
        "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_EX); "
        "print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(state / "ratchet.owner")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    assert owner(tmp_path) == "4711"
    holder.communicate()
    handle = os.open(state / "ratchet.owner", os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(handle)


def test_agents_of_the_configuration(tmp_path: Path) -> None:
    chosen = read_settings(tmp_path)
    own = replace(chosen, proposer="custom", agent_command=("no-such-agent", "-p"))
    found = _with_agent(GOOD, own)
    assert found.agent == "no-such-agent"
    assert said(found, "agent")[0].state == "problem"
    shell = replace(own, agent_command=("sh",))
    assert said(_with_agent(GOOD, shell), "agent")[0].state == "ok"
    assert _with_agent(GOOD, replace(own, proposer="claude")).agent == "claude"
    assert _with_agent(GOOD, chosen).agent is None


def test_folders_of_a_session_may_be_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert writable(tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    assert not writable(tmp_path)
    for name in ("results", "store", ".snakemake"):
        (tmp_path / "volume" / name).mkdir(parents=True)
        assert not writable(tmp_path)
        (tmp_path / name).symlink_to(tmp_path / "volume" / name)
    assert writable(tmp_path)


def test_space_and_processes(tmp_path: Path) -> None:
    assert list(free_space(tmp_path)) == ["results and store"]
    assert all(free > 0 for free in free_space(tmp_path).values())
    assert _process(os.getpid()).startswith(f"process {os.getpid()} (")
    assert _process(2**22 + 1) == f"process {2**22 + 1}"


def test_a_damaged_lock_is_no_internal_error(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        verify_packages(_empty(tmp_path))
    assert lock(_empty(tmp_path)).fault != ""


def _empty(folder: Path) -> Path:
    path = folder / "x.lock"
    path.write_text("# nothing\n")
    return path
