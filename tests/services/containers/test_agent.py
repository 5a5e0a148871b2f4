"""A coding agent in the image: one tool, at its pinned version, for the user who is not root."""

import json
import os
from pathlib import Path

import pytest

from helpers.commands import printed
from helpers.engines import REPO, Docker, once
from helpers.scripted_model import serving, variables

pytestmark = pytest.mark.slow
IMAGE = "ratchet-test:claude"
VERSION = json.loads((REPO / "envs/agents/package.json").read_text())["dependencies"][
    "@anthropic-ai/claude-code"
]


@pytest.fixture(scope="module")
def image(bare: Docker, base: str, common: Path) -> str:
    """An image with claude in it, built by ``make image``."""
    make = ["make", "--no-print-directory", "-C", str(REPO), "image", f"ENGINE={bare.program}"]
    build = "BUILD=--network host --build-arg AGENT=claude"
    with once(common / "claude") as missing:
        if missing:
            printed([*make, f"IMAGE={IMAGE}", f"BASE_IMAGE={base}", build])
    return IMAGE


def test_the_agent_is_there_at_its_pinned_version(bare: Docker, image: str) -> None:
    said = bare("run", "--rm", image, "sh", "-c", "id -u; claude --version; which python")
    user, version, python = said.splitlines()
    assert user == "1000"
    assert version.split()[0] == VERSION
    assert python == "/opt/venv/bin/python"


def test_the_agent_asks_its_model(bare: Docker, image: str) -> None:
    with serving() as model:
        told = [word for pair in variables(model).items() for word in ("-e", "=".join(pair))]
        closed = ["--network", "host", "--read-only", "--tmpfs", "/tmp:exec,mode=1777"]
        said = bare("run", "--rm", *closed, *told, image, "claude", "-p", "Say something.")
    assert said.strip() == "Done."
    assert model.asked


def test_an_unknown_agent_is_refused(bare: Docker, base: str) -> None:
    settings = [f"BASE_IMAGE={base}", "BASE_DIGEST=", "AGENT=hal"]
    arguments = [word for setting in settings for word in ("--build-arg", setting)]
    command = [bare.program, "build", "--target", "agent", "--network", "host", *arguments]
    with pytest.raises(AssertionError, match="expected claude, codex, gemini, opencode or aider"):
        printed([*command, str(REPO)], env={**os.environ, "DOCKER_BUILDKIT": "1"})
