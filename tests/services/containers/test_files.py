"""What the files around containers promise; no engine needed."""

import json
import re
import subprocess
import sys
import tomllib
from typing import Any

import yaml

from helpers.engines import FOLDER, REPO, devcontainer
from ratchet.runs.sandbox import container_init
from ratchet.runs.sandbox.container import (
    CANDIDATE_GROUP,
    CANDIDATE_USER,
    DEFAULT_IMAGE,
    EXCHANGE,
    EXCHANGE_VARIABLE,
    LARGEST_PROCESSES,
)

DOCKERFILE = (REPO / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
# The keys of the public specification (containers.dev) for a container built from a
# Dockerfile; a key that is none of them is a mistake.
KNOWN = """$schema name workspaceFolder workspaceMount containerUser remoteUser
overrideCommand updateRemoteUserUID init privileged build features secrets portsAttributes
otherPortsAttributes containerEnv remoteEnv hostRequirements customizations
overrideFeatureInstallOrder forwardPorts runArgs mounts capAdd securityOpt appPort
shutdownAction waitFor userEnvProbe initializeCommand onCreateCommand updateContentCommand
postCreateCommand postStartCommand postAttachCommand"""
WITHIN = {
    "build": {"dockerfile", "context", "target", "args", "cacheFrom", "options"},
    "hostRequirements": {"cpus", "memory", "storage", "gpu"},
}


def test_the_development_container_keeps_to_the_specification() -> None:
    found = devcontainer()
    assert set(found) <= set(KNOWN.split())
    assert all(set(found[key]) <= names for key, names in WITHIN.items())
    assert found["hostRequirements"]["gpu"] == "optional"


def test_the_development_container_builds_this_dockerfile() -> None:
    found = devcontainer()
    build = found["build"]
    assert (FOLDER / build["dockerfile"]).resolve() == REPO / "Dockerfile"
    assert (FOLDER / build["context"]).resolve() == REPO
    assert f" AS {build['target']}\n" in DOCKERFILE
    # Worktrees hold absolute paths.
    assert f"target={found['workspaceFolder']}," in found["workspaceMount"]
    assert found["containerEnv"]["ENVS"] in found["mounts"][0]


def test_the_notebook_has_its_kernel_in_the_development_container() -> None:
    editor = devcontainer()["customizations"]["vscode"]
    assert "ms-toolsai.jupyter" in editor["extensions"]
    place = editor["settings"]["python.defaultInterpreterPath"].split("/")[-3]
    assert (place, "env-dev" in devcontainer()["updateContentCommand"]) == (".venv-dev", True)
    locked = (REPO / "envs" / "dev.lock").read_text()
    kernel = json.loads((REPO / "docs" / "analysis.ipynb").read_text())["metadata"]["kernelspec"]
    assert kernel["name"] == "python3"
    for name in ("ipykernel", "matplotlib", "pandas"):
        assert re.search(rf"^{name}==", locked, re.MULTILINE), name


def test_uv_has_the_locked_version_and_hashes() -> None:
    assert "--require-hashes -r envs/uv.lock" in DOCKERFILE
    assert re.search(r"pip sync --require-hashes .*environment\.lock", DOCKERFILE)
    assert "--editable" not in DOCKERFILE
    assert re.search(r"ARG BASE_IMAGE=\S+:\S+\nARG BASE_DIGEST=sha256:[0-9a-f]{64}\n", DOCKERFILE)
    # The tool of development containers looks for the base itself, and reads no nested braces.
    assert not re.search(r"^FROM .*\$\{[^}]*\$", DOCKERFILE, re.MULTILINE)


def test_one_version_everywhere() -> None:
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    name = f"ratchet:{project['version']}"
    assert name == DEFAULT_IMAGE
    assert f'image.version="{project["version"]}"' in DOCKERFILE
    assert f"docker://{name}" in (REPO / "Snakefile").read_text()
    assert f"IMAGE ?= {name}\n" in (REPO / "Makefile").read_text()
    assert {service["image"] for service in COMPOSE["services"].values()} == {name}


def test_a_session_is_the_default_and_nobody_is_root() -> None:
    last = DOCKERFILE.rsplit("\nFROM ", 1)[1]
    assert last.startswith("system AS image\n")
    assert re.findall(r"^USER (\S+)$", last, re.MULTILINE) == ["1000:64000"]
    assert last.rstrip().endswith('CMD ["snakemake", "--cores", "1"]')
    assert "PYTHONHASHSEED=0" in last


def test_both_containers_are_closed() -> None:
    for service in COMPOSE["services"].values():
        assert service["network_mode"] == "none"
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_the_candidates_container_sees_one_run_alone() -> None:
    harness, candidate = COMPOSE["services"]["harness"], COMPOSE["services"]["candidate"]
    assert candidate["volumes"] == ["exchange:/exchange"]
    assert candidate["user"] == f"{CANDIDATE_USER}:{CANDIDATE_GROUP}"
    assert candidate["command"][-2:] == ["/exchange/call", "--stay"]
    assert candidate["pids_limit"] == LARGEST_PROCESSES
    assert harness["environment"] == {EXCHANGE_VARIABLE: str(EXCHANGE)}
    assert "exchange:/exchange" in harness["volumes"]


def test_what_the_image_is_made_of_is_all_that_is_sent() -> None:
    sent = {
        line[1:]
        for line in (REPO / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = set()
    for line in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE):
        copied |= {word.split("/")[0] for word in line.split()}
    assert copied - {"${LOCK}"} == sent
    assert all((REPO / name).exists() for name in sent)


def test_a_container_that_nobody_calls_says_so() -> None:
    words = [sys.executable, "-S", "-E", container_init.__file__, "/nowhere"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "the harness cannot be called" in done.stderr
