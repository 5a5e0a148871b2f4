"""``ratchet doctor``: what it says of machines of all kinds and this one, and of the length."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from helpers import FAKE, REPO
from helpers.commands import Capsys, Patch
from ratchet.base.errors import DataError
from ratchet.base.structs import replace
from ratchet.cli import doctor
from ratchet.cli.sessions import read_settings
from ratchet.monitor.doctor import (
    GIB,
    AgentTool,
    Check,
    CheckState,
    LockCheck,
    Machine,
    conclusion,
    examine_machine,
    is_ready,
    process_name,
)
from ratchet.monitor.outlook import Outlook, Shape, Timing, session_outlook
from ratchet.records.ownership import Owner
from ratchet.runs.hardware import GpuState
from ratchet.task.environment import verify_packages

GOOD = Machine(
    about="EPYC, 8 threads",
    python=(3, 11, 7),
    executable="/env/bin/python",
    root="/work",
    tools={"git": AgentTool("2.39.5"), "snakemake": AgentTool("9.27.1"), "uv": AgentTool("0.9")},
    disk={"results and store": 78.9},
    writable=True,
    locks=(LockCheck("envs/workflow.lock", "a" * 64),),
    gpus=(GpuState("NVIDIA H200", "", 140.4 * GIB, 0.5 * GIB, ()),),
    driver="550.1",
    cuda="12.4",
    containers={"docker": AgentTool("28.1"), "podman": AgentTool(None)},
    faults={"none": None, "landlock": None, "bubblewrap": None},
    holds={"none": "no sandbox", "landlock": "open: much", "bubblewrap": "open: the kernel"},
    agents={"claude": AgentTool("1.0"), "codex": AgentTool(None)},
    task="gpt",
    device="gpu",
    preset="large",
    prepared=True,
)
"""A machine without faults."""


def said(machine: Machine, name: str) -> list[Check]:
    return [check for check in examine_machine(machine) if check.name == name]


def test_a_good_machine_is_ready() -> None:
    checks = examine_machine(GOOD)
    assert {check.state for check in checks} == {CheckState.OK}
    assert is_ready(checks)
    assert conclusion(checks) == "ready; start with: snakemake --cores 1"
    names = [check.name for check in checks]
    assert " ".join(names) == (
        "machine python git snakemake uv packages disk task data gpu gpu isolation container agent"
    )


OLD = {"tools": {"snakemake": AgentTool("9.3.0")}}
WANTED = {"isolation": "bubblewrap", "faults": {"none": None, "bubblewrap": "no bwrap"}}
WEAKER = {"faults": {"none": None, "landlock": None, "bubblewrap": "no bwrap"}}
OUT = AgentTool("2.1", "", "not logged in", "it says so", "claude auth login")
LOGGED_OUT = {"agents": {"claude": OUT}, "agent": "claude"}
MUTE = {"agents": {"aider": AgentTool("", "does not answer")}}
LOOSE = {"locks": [LockCheck("l", "d", "a", "b-c", True)]}
CASES: list[tuple[dict[str, Any], str, str, str]] = [
    ({"python": (3, 10, 1)}, "problem python", "3.10.1", "install Python 3.11"),
    ({"tools": {}}, "problem git", "not found", "apt-get install git"),
    ({"tools": {}}, "problem snakemake", "not in this environment", "make env"),
    (OLD, "problem snakemake", "9.27 or newer", "make env"),
    ({"tools": {}}, "ok uv", "`make env` sets up one of its own", ""),
    ({"locks": [LockCheck("l", "d", "a: none")]}, "problem packages", "l d: a: none", "make env"),
    ({"locks": [LockCheck("l", "d", "a", "b-c")]}, "problem packages", "l d: a", "b-c"),
    (LOOSE, "warning packages", "l d: a", "b-c"),
    ({"disk": {"store": 0.1}}, "problem disk", "0.1 GiB free for store", "free some space"),
    ({"disk": {"store": 2.0}}, "warning disk", "2.0 GiB free for store", "may need more"),
    ({"writable": False}, "problem disk", "/work: cannot be written", "a folder of your own"),
    ({"configuration": "rounds: bad"}, "problem config", "rounds: bad", "mend the config"),
    ({"task_faults": [("task", "no x")]}, "problem task", "no x", "mend the task"),
    ({"prepared": False}, "ok data", "the first session does it", ""),
    ({"seedless": "night"}, "warning seed", "no effect here, by session night", "`seed: hook`"),
    ({"guard": "pytest -q smoke.py"}, "ok guard", "the baseline must pass it first", ""),
    ({"task_faults": [("guard", "x: none; set it")]}, "problem guard", "x: none", "set it"),
    (
        {"task_faults": [("task", "no key x; did you mean y?")]},
        "problem task",
        "no key x",
        "correct the task: did you mean y?",
    ),
    (
        {"task_faults": [("session", "changed:\n  a: b; c\nPut it back; or go on")]},
        "problem session",
        "a: b; c",
        "Put it back; or go on",
    ),
    ({"gpus": ()}, "problem gpu", "the task needs one", "install the NVIDIA driver"),
    ({"gpus": (), "device": "cpu"}, "ok gpu", "the task needs none", ""),
    (WANTED, "problem isolation", "does not work (bubblewrap: no bwrap)", "isolation to auto"),
    ({}, "ok isolation", "bubblewrap: open: the kernel", ""),
    (WEAKER, "warning isolation", "landlock is used (bubblewrap: no bwrap)", "apt-get install"),
    (WEAKER, "warning isolation", "; open: much", "apt-get install bubblewrap"),
    ({"isolation": "none"}, "warning isolation", "none is wanted; no sandbox", "set isolation"),
    ({"containers": {}}, "ok container", "only runs in containers need one", ""),
    ({"agents": {}}, "ok agent", "the built-in proposer needs none", ""),
    ({"agent": "codex"}, "problem agent", "codex is to propose", "install codex"),
    (
        LOGGED_OUT,
        "problem agent",
        "claude is to propose and is not logged in (it says so)",
        "claude auth login",
    ),
    ({"agents": {"claude": OUT}}, "ok agent", "claude 2.1 (not logged in)", ""),
    (MUTE, "warning agent", "aider", "by hand"),
    (
        {"session": "night", "running": {"night": Owner(123, "night")}},
        *("problem session", "(process 123, session night)", "start another beside it"),
    ),
]


@pytest.mark.parametrize(("change", "what", "text", "todo"), CASES)
def test_what_is_said_and_what_to_do(
    change: dict[str, Any], what: str, text: str, todo: str
) -> None:
    machine, (state, name) = replace(GOOD, **change), what.split()
    check = said(machine, name)[0]
    assert check.state == state
    assert text in check.text and todo in check.todo
    assert bool(check.todo) == (state != "ok")
    checks = examine_machine(machine)
    assert is_ready(checks) == (CheckState.PROBLEM not in {one.state for one in checks})
    if state == "problem":
        assert conclusion(checks).startswith("not ready; ")
        # All of it, in the order of the checks.
        faults = [check for check in checks if check.state is CheckState.PROBLEM]
        places = [conclusion(checks).index(check.todo) for check in faults]
        assert places == sorted(places)
    if state == "warning":
        assert conclusion(checks).startswith("ready, with 1 warning; ")


@pytest.mark.parametrize(
    ("gpu", "state", "text"),
    [
        (
            GpuState("A", "", 80 * GIB, 40 * GIB, ()),
            "warning",
            "A, 80.0 GiB, 40.0 GiB of it in use",
        ),
        (GpuState("A", "", 80 * GIB, GIB, (1,)), "warning", "in use by process 1"),
        (
            GpuState("A", "", 80 * GIB, GIB, (1,), 2, "session night (experiment 3)"),
            "ok",
            "2: A, 80.0 GiB, leased by session night (experiment 3)",
        ),
        (GpuState("A", "", None, None, ()), "ok", "A, memory unknown, nobody else on it"),
    ],
)
def test_others_on_the_gpu(gpu: GpuState, state: str, text: str) -> None:
    check = said(replace(GOOD, gpus=[gpu]), "gpu")[-1]
    assert check.state == state
    assert text in check.text
    assert said(replace(GOOD, gpus=[gpu], device="cpu"), "gpu")[-1].state == "ok"


def test_lines_fit_a_terminal_and_cannot_break_it() -> None:
    nasty = replace(
        GOOD,
        task_faults=[("task", "x" * 100 + " \x1b[2J\nnext " + "word " * 40)],
        session="night",
        running={"night": Owner(1, "night")},
    )
    text = doctor.render_checks(examine_machine(nasty))
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "\x1b" not in text
    assert text.splitlines()[:2] == [
        "ok       machine    EPYC, 8 threads",
        "ok       python     3.11.7 (/env/bin/python)",
    ]
    assert "\n\nnot ready; to be mended, in this order:\n" in text
    coloured = doctor.render_checks(examine_machine(nasty), colour=True)
    assert "\x1b[31mproblem  \x1b[0mtask" in coloured
    assert "\x1b[32mok       \x1b[0mpython" in coloured


def test_this_machine(capsys: Capsys, tmp_path: Path) -> None:
    settings = ["rounds=100", "budget_seconds=300"]
    code = doctor.main(["--json", "--root", str(tmp_path), "--config", *settings])
    found = json.loads(capsys.readouterr().out)
    assert code == (0 if found["ready"] else 1)
    checks = {check["name"]: check for check in found["checks"]}
    wanted = {"python", "git", "snakemake", "packages", "disk", "task", "data", "isolation"}
    assert wanted <= set(checks)
    assert {check["state"] for check in checks.values()} <= {"ok", "warning", "problem"}
    assert found["length"]["experiments"] == 100
    line = checks["length"]["text"]
    assert line.startswith("100 experiments, ")
    assert " h one after another (a guess: the budget, and up to 2 min to start" in line
    assert list(tmp_path.iterdir()) == []


def test_mistakes_in_the_settings_are_a_problem(capsys: Capsys, tmp_path: Path) -> None:
    for setting, words in (
        ("rounds=0", "rounds: expected at least 1, found 0"),
        ("task=nowhere", "holds no task.yaml"),
        ("preset=huge", "found 'huge'"),
    ):
        assert doctor.main(["--root", str(tmp_path), "--config", setting]) == 1
        assert words in " ".join(capsys.readouterr().out.split())
    assert doctor.main(["--root", str(tmp_path), "--config", "rounds"]) == 64
    assert "expected KEY=VALUE, found 'rounds'" in capsys.readouterr().err


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
    body: str, tool: AgentTool, tmp_path: Path, monkeypatch: Patch
) -> None:
    program = tmp_path / "thing"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(doctor, "SECONDS", 0.5)
    assert doctor.tool("thing") == tool
    assert doctor.tool("no-such-thing") == AgentTool(None)
    assert doctor.package("no-such-package") == AgentTool(None)


def test_locks(tmp_path: Path, monkeypatch: Patch) -> None:
    path = tmp_path / "envs" / "a.lock"
    path.parent.mkdir()
    assert doctor.lock(path).fault
    for empty in ("", "# nothing\n"):
        path.write_text(empty)
        assert "names no package" in doctor.lock(path).fault
        with pytest.raises(DataError):
            verify_packages(path)
    path.write_text("no-such-package==1 --hash=x\n")
    found = doctor.lock(path)
    assert found.path == "envs/a.lock"
    assert found.fault == "no-such-package: expected 1, found none"
    path.write_text(f"pytest=={pytest.__version__} --hash=x\n")
    assert doctor.lock(path).fault == ""


def test_only_the_same_session_is_in_the_way() -> None:
    there = replace(GOOD, session="night", running={"other": Owner(7, "other")})
    (check,) = said(there, "session")
    assert (check.state, check.text) == (
        CheckState.OK,
        "others run here, which share machine and store: other",
    )
    (check,) = said(replace(there, session="other"), "session")
    assert check.state is CheckState.PROBLEM
    assert "other is running here (process 7, session other)" in check.text
    assert not said(GOOD, "session")


@pytest.mark.parametrize(("program", "state"), [("python", "ok"), ("no-such-tool", "problem")])
def test_the_guard_of_the_configured_task(tmp_path: Path, program: str, state: str) -> None:
    task = tmp_path / "tasks" / "fake"
    shutil.copytree(FAKE, task)
    with (task / "task.yaml").open("a") as file:
        file.write(f"guard: [{program}, prepare.py]\nguard_seconds: 7\n")
    found = doctor._with_task(GOOD, tmp_path, ["task=tasks/fake"])
    (check,) = said(found, "guard")
    assert check.state == state
    assert f"{program} prepare.py" in check.text
    assert "the guard's, up to 7 s each" in said(found, "length")[0].text


def test_agents_of_the_configuration(tmp_path: Path) -> None:
    chosen = read_settings(tmp_path)
    own = replace(chosen, proposer="custom", agent_command=("no-such-agent", "-p"))
    found = doctor._with_agent(GOOD, own)
    assert found.agent == "no-such-agent"
    assert said(found, "agent")[0].state == "problem"
    shell = replace(own, agent_command=("sh",))
    assert said(doctor._with_agent(GOOD, shell), "agent")[0].state == "ok"
    assert doctor._with_agent(GOOD, replace(own, proposer="claude")).agent == "claude"
    assert doctor._with_agent(GOOD, chosen).agent is None
    out = replace(GOOD, agents=LOGGED_OUT["agents"])
    assert said(doctor._with_agent(out, replace(own, proposer="claude")), "agent")[0].state == "ok"


def test_an_agent_has_time_for_its_first_start_and_tells_of_its_login(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(doctor, "SECONDS", 0.01)
    for name in ("codex", "uv"):
        (tmp_path / name).write_text("#!/bin/sh\nsleep 0.5\necho Not logged in; [ $1 != login ]\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("CODEX_HOME", str(tmp_path))
    assert doctor.tool("uv").fault == "does not answer"
    found = doctor.agent_tool("codex", doctor.tool("codex"))
    assert found.login == "not logged in"
    assert (found.login_why, found.login_todo) == (
        "codex login status: Not logged in",
        "codex login",
    )


def test_folders_of_a_session_may_be_elsewhere(tmp_path: Path, monkeypatch: Patch) -> None:
    assert doctor.writable(tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    assert not doctor.writable(tmp_path)
    for name in ("results", "store", ".snakemake"):
        (tmp_path / "volume" / name).mkdir(parents=True)
        assert not doctor.writable(tmp_path)
        (tmp_path / name).symlink_to(tmp_path / "volume" / name)
    assert doctor.writable(tmp_path)


def test_space_and_processes(tmp_path: Path) -> None:
    assert list(doctor.free_space(tmp_path)) == ["results and store"]
    assert all(free > 0 for free in doctor.free_space(tmp_path).values())
    assert process_name(os.getpid()).startswith(f"process {os.getpid()} (")
    assert process_name(2**22 + 1) == f"process {2**22 + 1}"


NIGHT = replace(read_settings(REPO), rounds=100, mode="gain", deadline_hours=12.0, certify=False)


def night(hours: float) -> Outlook:
    timing = Timing.of_budget(300.0)
    return session_outlook(NIGHT, [Shape(0.0, 3), Shape(0.1, 9)], timing, 3600 * hours)


def test_a_limit_that_is_too_short_is_a_warning() -> None:
    checks = examine_machine(replace(GOOD, outlook=night(6.0)))
    (check,) = [check for check in checks if check.name == "length"]
    assert check.state is CheckState.WARNING
    assert check.todo.startswith("that is time for about ")
    assert is_ready(checks)
    enough = examine_machine(replace(GOOD, outlook=night(16.0)))
    assert [c.state for c in enough if c.name == "length"] == [CheckState.OK]
