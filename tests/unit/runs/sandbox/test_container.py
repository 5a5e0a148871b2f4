"""What a container engine is told, what is said where there is none, and the image's last step."""

import grp
import json
import os
from pathlib import Path

import pytest

from helpers import REPO
from helpers.commands import Capsys, Patch
from ratchet.base.errors import ConfigError
from ratchet.base.io import digest_file
from ratchet.runs.sandbox import container, sandbox
from ratchet.runs.sandbox.container import (
    ContainerEngine,
    _image_id,
    _me,
    check_image,
    container_engine,
    container_order,
    held_locks,
    own_facts,
    remove_left_over,
    run_facts,
    run_workplace,
    start_command,
)
from ratchet.runs.sandbox.sandbox import SandboxKind, choose_sandbox
from ratchet.runs.spec import Box
from ratchet.task.environment import package_paths

DOCKER = ContainerEngine("/usr/bin/docker", "ratchet:test")
PODMAN = ContainerEngine("/usr/bin/podman", "ratchet:test")
NAMES = ("RATCHET_ENGINE", "RATCHET_RUN_IMAGE", "RATCHET_EXCHANGE")


@pytest.fixture(autouse=True)
def clean(monkeypatch: Patch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    sandbox.sandbox_fault.cache_clear()
    _image_id.cache_clear()


@pytest.fixture
def box(tmp_path: Path) -> Box:
    work = tmp_path / "work"
    return Box(
        work=work,
        fixed=[work / "prepare.py", work / "data"],
        mounts={work / "data" / "a,b.bin": Path("/store/blobs/ab")},
    )


def command(box: Box, engine: ContainerEngine = DOCKER, **limits: int) -> list[str]:
    return start_command(engine, box, limits, box.work.parent / "call", "name")


def options(words: list[str], name: str) -> list[str]:
    return [words[i + 1] for i, word in enumerate(words) if word == name]


def test_everything_is_closed_but_what_is_named(box: Box) -> None:
    words = command(box)
    assert words[:3] == ["/usr/bin/docker", "run", "--rm"]
    assert options(words, "--network") == ["none"]
    assert options(words, "--cap-drop") == ["ALL"]
    assert options(words, "--security-opt") == ["no-new-privileges"]
    assert options(words, "--pids-limit") == ["1024"]
    assert options(words, "--pull") == ["never"]
    assert "--read-only" in words
    assert not {"--privileged", "--cap-add", "--pid", "--volume", "-v", "--env"} & set(words)
    assert words[-6] == "ratchet:test"
    assert words[-2:] == ["/opt/ratchet/cell.py", "/exchange/call"]


def test_one_folder_is_writable(box: Box) -> None:
    mounts = options(command(box), "--mount")
    assert [m for m in mounts if "readonly" not in m] == [
        f"type=bind,source={box.work},target=/exchange/work"
    ]
    assert f"type=bind,source={box.work}/prepare.py,target=/exchange/work/prepare.py,readonly" in (
        mounts
    )
    # A comma would end the value.
    assert mounts[-1] == (
        'type=bind,source=/store/blobs/ab,"target=/exchange/work/data/a,b.bin",readonly'
    )


def test_nobody_is_root(box: Box, monkeypatch: Patch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 0)
    assert options(command(box), "--user") == ["10001:65534"]
    monkeypatch.setattr(os, "getuid", lambda: 1234)
    assert options(command(box), "--user") == ["1234:65534"]
    assert options(command(box, PODMAN), "--userns") == ["keep-id"]
    assert options(command(box), "--userns") == []


def test_network_limits_and_gpu_are_given_when_asked_for(box: Box) -> None:
    open_box = Box(work=box.work, network=True)
    assert options(command(open_box), "--network") == []
    assert options(command(box), "--memory") == []
    limited = command(box, memory_mb=512, processes=7)
    assert options(limited, "--memory") == ["512m"]
    assert options(limited, "--pids-limit") == ["7"]
    with_gpu = container.with_gpu(command(box), "GPU-1")
    assert options(with_gpu, "--gpus") == ["device=GPU-1"]
    assert with_gpu.index("--gpus") < with_gpu.index("ratchet:test")
    podman = container.with_gpu(command(box, PODMAN), "GPU-1")
    assert options(podman, "--device") == ["nvidia.com/gpu=GPU-1"]
    assert container.with_gpu([], "GPU-1") == []


def fake(folder: Path, lines: str, name: str = "docker") -> Path:
    """An engine that is a shell script."""
    program = folder / name
    program.write_text(f"#!/bin/sh\n{lines}\n")
    program.chmod(0o755)
    return program


def test_docker_is_taken_before_podman_and_a_variable_before_both(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert container_engine() is None
    podman = fake(tmp_path, "", "podman")
    assert container_engine() == ContainerEngine(str(podman), "ratchet:0.1.0")
    docker = fake(tmp_path, "")
    assert container_engine() == ContainerEngine(str(docker), "ratchet:0.1.0")
    monkeypatch.setenv("RATCHET_ENGINE", "podman")
    monkeypatch.setenv("RATCHET_RUN_IMAGE", "mine:1")
    assert container_engine() == ContainerEngine(str(podman), "mine:1")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (None, "there is no program docker or podman"),
        ("echo 'Cannot connect to the Docker daemon' >&2; exit 1", "Cannot connect to the Docker"),
        ("echo 'Error: No such image: ratchet:0.1.0' >&2; exit 1", "No such image: ratchet:0.1.0"),
        ("exit 3", "exit status 3"),
    ],
)
def test_what_is_missing_is_said_with_what_to_do(
    tmp_path: Path, monkeypatch: Patch, lines: str | None, words: str
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/nowhere")
    if lines is not None:
        fake(tmp_path, lines)
    with pytest.raises(ConfigError) as found:
        choose_sandbox("container")
    assert words in str(found.value)
    assert "make image" in str(found.value)


def test_an_image_that_is_there_is_enough_to_be_chosen(tmp_path: Path, monkeypatch: Patch) -> None:
    fake(tmp_path, "echo sha256:12")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert choose_sandbox("container") is SandboxKind.CONTAINER
    assert run_facts() == {"run image": "ratchet:0.1.0 sha256:12"}


def test_containers_of_dead_owners_are_removed(tmp_path: Path) -> None:
    me = _me()
    program = fake(
        tmp_path,
        f'echo "$@" >> {tmp_path}/asked\n'
        f'[ "$1" = ps ] && printf "a1 {me}\\nb2 {os.getpid()}-1\\nc3 999999999-5\\nd4 odd\\n"',
    )
    remove_left_over(ContainerEngine(str(program), "x"))
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked[0].startswith("ps --all --filter label=")
    assert asked[1:] == ["rm --force b2", "rm --force c3"]


def test_the_image_around_the_harness_is_told(tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.delenv("RATCHET_IMAGE", raising=False)
    monkeypatch.setattr(container, "OWN_FACTS", tmp_path / "image.json")
    assert own_facts() == {}
    (tmp_path / "image.json").write_text('{"base": "debian@sha256:1", "revision": "abc"}')
    assert own_facts() == {"image": "debian@sha256:1, revision abc"}
    monkeypatch.setenv("RATCHET_IMAGE", "sha256:34")
    assert own_facts() == {"image": "sha256:34"}


def test_two_containers_hand_over_one_run_at_a_time(tmp_path: Path, monkeypatch: Patch) -> None:
    with run_workplace(tmp_path / "own") as place:
        assert place == tmp_path / "own"
    monkeypatch.setenv("RATCHET_EXCHANGE", str(tmp_path))
    assert not container.container_mounts_inputs()
    with run_workplace(tmp_path / "own") as place:
        assert place == tmp_path
        (tmp_path / "work").mkdir()
        order = container_order(Box(work=tmp_path / "work"), {}, {"hidden": []})
        assert (order["start"], order["folder"]) == ([], str(tmp_path / "call"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock"]
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600


WORDS = ["--base", "debian@sha256:1", "--revision", "abc"]
WORDS += ["--group", grp.getgrgid(os.getgid()).gr_name]


def test_what_the_image_holds_is_written_down_and_what_is_hidden_closed(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    packages = tmp_path / ".venv-own" / "lib" / "python3.11" / "site-packages"
    hidden, seen = packages / "networkx" / "below" / "a.py", packages / "numpy" / "a.py"
    for path in (hidden, seen):
        path.parent.mkdir(parents=True)
        path.write_text("x")

    def within(names: list[str], prefixes: list[str]) -> list[Path]:
        """Without what is installed for this test itself."""
        return [p for p in package_paths(names, prefixes) if p.is_relative_to(tmp_path)]

    monkeypatch.setattr(container, "package_paths", within)
    monkeypatch.chdir(REPO)
    output = tmp_path / "image.json"
    places = ["--environments", str(tmp_path), "--output", str(output)]
    assert check_image([*WORDS, *places, "tasks/bytelm/task.yaml"]) == 0
    facts = json.loads(output.read_text())
    assert (facts["base"], facts["revision"]) == ("debian@sha256:1", "abc")
    assert facts["hidden"] == ["docutils", "networkx"]
    assert digest_file(Path("envs/bytelm.lock")) in facts["locks"]
    for path in (hidden, hidden.parent, packages / "networkx"):
        assert path.stat().st_mode & 0o007 == 0
    assert seen.stat().st_mode & 0o004


def test_a_lock_that_is_not_installed_is_not_named(tmp_path: Path) -> None:
    missing, held = tmp_path / "a.lock", tmp_path / "b.lock"
    missing.write_text("no-such-package==1.0\n")
    held.write_text((REPO / "envs/bytelm.lock").read_text())
    assert held_locks([missing, held]) == [digest_file(held)]


@pytest.mark.parametrize("text", ["hidden: docutils", "[1, 2", "- a list"])
def test_what_is_no_task_is_refused(tmp_path: Path, text: str, capsys: Capsys) -> None:
    task = tmp_path / "task.yaml"
    task.write_text(text)
    assert check_image([*WORDS, "--output", "x", str(task)]) == 65
    assert str(task) in capsys.readouterr().err
