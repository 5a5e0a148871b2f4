"""The development container: its own tool builds and opens it, and sessions and tests run in it."""

import json
import os
import re
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from helpers.boxes import git
from helpers.engines import REPO, Docker, devcontainer, program

USER = 1000
SETTINGS = ["rounds=1", "budget_steps=40", "baseline_replicates=2", "confirm_replicates=1"]
ENVIRONMENTS, CACHE = "/home/ratchet/environments", "/home/ratchet/.cache"


@dataclass(frozen=True)
class Tool:
    """The tool for one folder; ``label`` names its container."""

    path: str
    docker: Docker
    folder: Path
    label: str

    def __call__(self, action: str, *words: str) -> str:
        """What it prints; warnings and progress are apart."""
        options = ["--workspace-folder", str(self.folder), "--docker-path", self.docker.program]
        done = subprocess.run(
            [self.path, action, *options, "--id-label", self.label, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            # Debian's docker has BuildKit, and not the plugin that the tool looks for.
            env={**os.environ, "DOCKER_BUILDKIT": "1"},
            check=False,
        )
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return done.stdout

    def inspected(self) -> list[dict[str, Any]]:
        """What the engine says of the container; empty without one."""
        shown = self.docker("ps", "--all", "--quiet", "--filter", f"label={self.label}").split()
        found: list[dict[str, Any]] = json.loads(self.docker("inspect", *shown)) if shown else []
        return found

    def forget(self) -> None:
        """Have the container, its image and its volume removed; not the cache."""
        for found in self.inspected():
            self.docker.owned("image", found["Config"]["Image"])
            for mount in found["Mounts"]:
                if mount["Destination"] == ENVIRONMENTS:
                    self.docker.owned("volume", mount["Name"])
            self.docker.owned("container", found["Id"])


def check_out(folder: Path, base: str) -> None:
    """This checkout and a worktree, as a user has them, but with our base and network."""
    listed = git(REPO, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in listed.split("\0"):
        if (REPO / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPO / name, folder / name)
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "as it is")
    git(folder, "worktree", "add", "--quiet", "results/side")
    definition = devcontainer()
    definition["build"]["args"] = {"BASE_IMAGE": base, "BASE_DIGEST": ""}
    definition["build"]["options"] = definition["runArgs"] = ["--network", "host"]
    (folder / ".devcontainer" / "devcontainer.json").write_text(json.dumps(definition))
    if os.getuid() == 0:
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, USER, USER, follow_symlinks=False)


@pytest.fixture
def tool(bare: Docker, base: str, tmp_path: Path) -> Iterator[Tool]:
    found = program("RATCHET_TEST_DEVCONTAINER")
    folder = tmp_path / "checkout"
    folder.mkdir()
    check_out(folder, base)
    made = Tool(found, bare, folder, f"io.github.ratchet.test={uuid.uuid4().hex}")
    yield made
    made.forget()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_it_opens_with_no_further_step(tool: Tool) -> None:
    options = ["--buildkit", "never"]
    if os.getuid() == 0:
        # Nobody's number is to be given to its user, and the engine may have no network for it.
        options += ["--update-remote-user-uid-default", "never"]
    answer = json.loads(tool("up", *options).splitlines()[-1])
    assert answer["outcome"] == "success"
    assert (answer["remoteUser"], answer["remoteWorkspaceFolder"]) == ("ratchet", str(tool.folder))
    mounts = {mount["Destination"]: mount for mount in tool.inspected()[0]["Mounts"]}
    assert [mounts[place]["Type"] for place in (ENVIRONMENTS, CACHE)] == ["volume", "volume"]
    assert mounts[str(tool.folder)]["Type"] == "bind"

    assert tool("exec", "id", "-un") == "ratchet\n"
    # The lock is synchronised, in both environments.
    said = tool("exec", "ratchet", "doctor")
    assert "as locked in envs/workflow.lock" in said
    assert said.splitlines()[-1].startswith("ready")
    # Worktrees made outside are valid inside: they hold absolute paths.
    side = tool.folder / "results" / "side"
    head = ["rev-parse", "HEAD"]
    assert tool("exec", "git", "-C", str(side), *head) == git(side, "-c", "safe.directory=*", *head)

    tool("exec", "snakemake", "--cores", "1", "--config", "session=inside", *SETTINGS)
    report = tool.folder / "results" / "inside" / "report.html"
    assert report.stat().st_uid == (USER if os.getuid() == 0 else os.getuid())
    # A part of the tests: all of them run outside.
    pytest_inside = f"{ENVIRONMENTS}/.venv-dev/bin/pytest"
    said = tool("exec", "env", "CI=true", pytest_inside, "-v", "tests/unit/judge/test_settings.py")
    assert re.search(r"\d{2} passed", said), said[-2000:]
    assert "All checks passed!" in tool("exec", f"{ENVIRONMENTS}/.venv-dev/bin/ruff", "check")
