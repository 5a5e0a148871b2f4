"""Whole sessions in containers, beside the same ones outside."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.commands import printed
from helpers.engines import CLOSED, FOLDER, REPO, Docker, once, program
from ratchet.runs.sandbox.container import LABEL

pytestmark = pytest.mark.slow
SETTINGS = ["rounds=1", "budget_steps=40", "confirm_replicates=1", "baseline_replicates=2"]
SETTINGS += ["seeds=public"]  # else each session draws its own, and no two are equal
SNAKEMAKE = ["snakemake", "--cores", "1"]
COMPOSE, COMPOSE_GPU = FOLDER / "compose.yaml", FOLDER / "compose.gpu.yaml"
NAMES = ("harness", "candidate")
SYSTEM_PYTHON = "/usr/bin/python3"
# What runs print and no two have in common.
TIMED = ("training_seconds", "total_seconds")


def records(folder: Path) -> dict[str, Any]:
    """What must be equal in equal sessions, by name.

    All records but the limits (they hold the clock) and, in the manifest, the image
    that one of them is in and the checkout, which the other has; the number of every run
    at full precision.
    """
    found: dict[str, Any] = {"results.tsv": (folder / "results.tsv").read_bytes()}
    for path in sorted([*folder.glob("*.json"), *folder.glob("rounds/*/*.json")]):
        if path.name != "report.json":
            found[str(path.relative_to(folder))] = path.read_bytes()
    manifest = json.loads(found["manifest.json"])
    image = manifest["versions"].pop("image", None), manifest["versions"].pop("run image", None)
    manifest.pop("checkout", None)
    found["manifest.json"] = manifest
    found["image"] = image
    for path in sorted((folder.parents[1] / "store" / "runs").glob("*/*/run.json")):
        run = json.loads(path.read_text())["record"]
        metrics = {k: v for k, v in run["metrics"].items() if k not in TIMED}
        measured = (run.get("evaluation") or {}).get("value")
        found[path.parent.name] = (run["outcome"], metrics, measured)
    return found


@pytest.fixture(scope="module")
def outside(docker: Docker, common: Path) -> Path:
    """The same session on the machine: same interpreter, same locks, same package."""
    here = printed([SYSTEM_PYTHON, "-V"]).strip()
    inside = docker("run", "--rm", docker.image, "/opt/venv/bin/python", "-V").strip()
    if here != inside:
        pytest.skip(f"the image has {inside}, the machine {here}")
    places = [REPO / ".uv/bin/uv", Path(sys.prefix).parent / ".uv/bin/uv"]
    uv = next((str(path) for path in places if path.exists()), shutil.which("uv"))
    if uv is None:
        pytest.skip("there is no uv to make the same environment outside; run make test")
    folder = common / "outside"
    with once(common / "outside.made") as missing:
        if missing:
            make_environment(uv, folder)
    return folder


def make_environment(uv: str, folder: Path) -> None:
    environment, package = folder / "venv", folder / "package"
    shutil.copytree(REPO / "workflow_scripts/ratchet", package / "workflow_scripts/ratchet")
    for name in ("pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(REPO / name, package)
    for words in (
        ["venv", "--quiet", "--python", SYSTEM_PYTHON, str(environment)],
        ["pip", "sync", "--quiet", "--require-hashes", "--python", str(environment),
         str(REPO / "envs/workflow.lock")],
        ["pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--python",
         str(environment), str(package)],
    ):  # fmt: skip
        printed([uv, *words])


def session(
    outside: Path, name: str, *settings: str, engine: Docker | None = None
) -> tuple[list[str], dict[str, Any]]:
    """Command and options of a session on the machine, in a folder of this name."""
    variables = {"PATH": f"{outside}/venv/bin:{os.environ['PATH']}"}
    if engine is not None:
        variables |= {"RATCHET_ENGINE": engine.program, "RATCHET_RUN_IMAGE": engine.image}
    folder = outside / name
    folder.mkdir()
    snakemake = [str(outside / "venv/bin/snakemake"), "--cores", "1", "-s", str(REPO / "Snakefile")]
    # Such as the choice of a kernel, which changes the last digit of a verdict.
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OPENBLAS_", "PYTHON"))}
    options = {"cwd": folder, "env": {**kept, **variables}}
    return [*snakemake, "--config", *SETTINGS, *settings], options


@pytest.fixture(scope="module")
def reference(outside: Path) -> dict[str, Any]:
    with once(outside.with_name("outside.run")) as missing:
        if missing:
            command, options = session(outside, "reference")
            printed(command, **options)
    found = records(outside / "reference" / "results" / "default")
    del found["image"]
    return found


def test_a_session_in_a_container_gives_the_same_bytes(
    docker: Docker, reference: dict[str, Any], tmp_path: Path
) -> None:
    volume, holder = docker.named("volume"), docker.named("container")
    image = docker("image", "inspect", "--format", "{{.Id}}", docker.image).strip()
    run = ["run", "--rm", *CLOSED, "-v", f"{volume}:/data", "-e", f"RATCHET_IMAGE={image}"]
    said = docker(*run, docker.image, *SNAKEMAKE, "--config", *SETTINGS)
    assert "isolation of runs:" in said
    docker("create", "--name", holder, "-v", f"{volume}:/data", docker.image)
    docker("cp", f"{holder}:/data", str(tmp_path / "data"))
    folder = tmp_path / "data" / "results" / "default"
    found = records(folder)
    assert found.pop("image") == (image, None)
    assert reference == found
    assert len(reference) > 10
    assert image in (folder / "report.html").read_text()
    assert docker(*run, docker.image, "find", "/data", "!", "-uid", "1000") == ""
    assert "\nready" in docker(*run, docker.image, "ratchet", "doctor", "default")
    # An environment of a task's own, which the image was built with.
    own = ("--config", "session=own", "python=.venv-bytelm", "--json")
    checks = json.loads(docker(*run, docker.image, "ratchet", "doctor", *own))["checks"]
    (locked,) = [c["text"] for c in checks if "bytelm.lock" in c["text"]]
    assert "as locked" in locked
    # Finished: the same again trains nothing.
    assert " run " not in docker(*run, docker.image, *SNAKEMAKE, "--config", *SETTINGS)


def test_candidates_in_containers_give_the_same_bytes(
    docker: Docker, outside: Path, reference: dict[str, Any]
) -> None:
    command, options = session(outside, "candidates", "isolation=container", engine=docker)
    assert "isolation of runs: container" in printed(command, **options)
    found = records(options["cwd"] / "results" / "default")
    image = docker("image", "inspect", "--format", "{{.Id}}", docker.image).strip()
    assert found.pop("image") == (None, f"{docker.image} {image}")
    assert reference == found
    assert docker("ps", "-aq", "--filter", f"label={LABEL}") == ""


def test_a_killed_session_leaves_no_container(docker: Docker, outside: Path) -> None:
    words = ("isolation=container", "session=killed")
    command, options = session(outside, "killed", *words, engine=docker)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, start_new_session=True, **quiet, **options)
    shown = ("ps", "-q", "--filter", f"label={LABEL}")
    wait_for(lambda: docker(*shown) != "" or process.poll() is not None)
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    wait_for(lambda: docker("ps", "-aq", "--filter", f"label={LABEL}") == "")
    assert list((options["cwd"] / "results").glob("killed/events.jsonl"))


def wait_for(condition: Any, seconds: float = 60.0) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.1)


Compose = Callable[..., str]


def composing(services: dict[str, Any], folder: Path, *files: Path) -> tuple[str, Compose]:
    """A new project of these services and of other files, and what calls the tool for it."""
    changed, project = folder / "compose.yaml", f"ratchet-test-{uuid.uuid4().hex[:12]}"
    changed.write_text(yaml.safe_dump(services))
    chosen = [word for path in (changed, *files) for word in ("--file", str(path))]
    tool = Docker(program("RATCHET_TEST_COMPOSE"))
    return project, partial(tool, "--project-name", project, *chosen)


def services() -> dict[str, Any]:
    """The compose file; docker-compose 1 names projects by its option alone."""
    whole: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    del whole["name"]
    return whole


@pytest.fixture
def compose(docker: Docker, tmp_path: Path) -> Iterator[Compose]:
    """The compose file with the image under test and a short session."""
    whole = services()
    for service in whole["services"].values():
        service["image"] = docker.image
        service.pop("build", None)
    whole["services"]["harness"]["command"] += ["--config", *SETTINGS]
    project, made = composing(whole, tmp_path)
    yield made
    made("down", "--volumes", "--timeout", "2")
    for kind in ("container", "volume"):
        of_project = ["--filter", f"label=com.docker.compose.project={project}"]
        assert docker(kind, "ls", "--quiet", *of_project) == ""


def test_two_containers_give_the_same_bytes(
    docker: Docker, compose: Compose, reference: dict[str, Any], tmp_path: Path
) -> None:
    compose("up", "--detach")
    harness, candidate = (compose("ps", "--all", "--quiet", name).strip() for name in NAMES)
    assert docker("wait", harness).strip() == "0", docker("logs", harness)
    assert "isolation of runs: container" in docker("logs", harness)
    docker("cp", f"{harness}:/data", str(tmp_path / "data"))
    found = records(tmp_path / "data" / "results" / "default")
    found.pop("image")
    assert reference == found
    # Nothing of a run is left where the next one is, and its server never ended.
    assert docker("exec", candidate, "ls", "-A", "/exchange", "/tmp", "/dev/shm").split() == [
        "/dev/shm:", "/exchange:", "lock", "/tmp:",
    ]  # fmt: skip
    assert docker("inspect", "--format", "{{.RestartCount}}", candidate).strip() == "0"


def test_gpus_are_for_both_containers(tmp_path: Path) -> None:
    _, compose = composing(services(), tmp_path, COMPOSE_GPU)
    found = yaml.safe_load(compose("config"))
    for name in NAMES:
        service = found["services"][name]
        (device,) = service["deploy"]["resources"]["reservations"]["devices"]
        assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
        assert device["count"] in ("all", -1)
        assert service["read_only"] is True
