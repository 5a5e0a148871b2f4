"""The skill in the tools themselves: claude loads it and calls a script; others list it.

A scripted service stands in for the model, so no account and no network is needed.
``RATCHET_AGENTS`` names a folder that has the tools; without it those on the PATH are driven.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import REPO
from helpers.autojudge_logs import call
from helpers.clones import Clone
from helpers.commands import Patch
from helpers.scripted_model import Model, serving, variables
from ratchet.cli.skill import SKILL

DESCRIPTION = "Run autoresearch with Ratchet"
SECONDS = 300


def program(name: str) -> str:
    places = filter(None, (os.environ.get("RATCHET_AGENTS"), os.environ["PATH"]))
    found = shutil.which(name, path=os.pathsep.join(places))
    if found is None:
        pytest.skip(f"{name} is neither in RATCHET_AGENTS nor on the PATH")
    return found


@pytest.fixture
def project(tmp_path: Path, monkeypatch: Patch) -> Path:
    """A clone in a home of its own, where no tool has ever been."""
    clone = Clone(tmp_path / "auto research")
    clone.commit({"train.py": "", "prepare.py": "", "program.md": "# autoresearch\n"})
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("CLAUDE_CONFIG_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(clone.folder)
    return clone.folder


def started(words: list[str], folder: Path, **variables: str) -> str:
    """What a tool prints, started in a folder with Ratchet's programs on its PATH."""
    programs = Path(sys.executable).parent
    done = subprocess.run(
        words,
        cwd=folder,
        env={**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


def ask_claude(folder: Path, *calls: tuple[str, dict[str, str]]) -> Model:
    """Have claude do what a scripted model wants; the model, and what it was asked."""
    claude = program("claude")
    words = [claude, "-p", "check this setup", "--allowedTools", "Bash,Skill"]
    with serving(calls) as model:
        started(words, folder, **variables(model))
    return model


@pytest.mark.parametrize("where", ["project", "home", "home elsewhere"])
def test_claude_loads_the_skill_and_calls_a_script(
    where: str, project: Path, monkeypatch: Patch
) -> None:
    program("claude")
    skills = project / ".claude/skills"
    if where == "home":
        skills = Path(os.environ["HOME"]) / ".claude/skills"
    elif where == "home elsewhere":
        skills = project.parent / "elsewhere/skills"
        monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(skills.parent))
    call("ratchet skill install", *([] if where == "project" else ["--user"]))
    script = skills / SKILL / "scripts/check-hardware.sh"
    bash = {"command": f"'{script}'", "description": "look at the machine"}
    model = ask_claude(project, ("Skill", {"skill": SKILL}), ("Bash", bash))
    talk = [body for body in model.asked if body.get("tools")]
    assert DESCRIPTION in json.dumps(talk[0])
    loaded = json.dumps(talk[1]["messages"])
    assert "Choose one mode" not in json.dumps(talk[0])
    assert "Choose one mode" in loaded
    assert str(script.parents[1]) in loaded
    assert "accelerator" in model.results[-1]


def test_claude_reads_the_rules_for_agents_of_this_repository(project: Path) -> None:
    for name in ("CLAUDE.md", "AGENTS.md"):
        shutil.copy(REPO / name, project)
    model = ask_claude(project)
    assert "ratchet skill install" in json.dumps(model.asked[0])


@pytest.mark.parametrize("where", ["", "--user"])
@pytest.mark.parametrize(
    ("tool", "words"), [("gemini", "skills list"), ("opencode", "debug skill")]
)
def test_others_list_the_skill_where_it_was_installed(
    tool: str, words: str, where: str, project: Path
) -> None:
    listing = [program(tool), *words.split()]
    assert DESCRIPTION not in started(listing, project, GEMINI_CLI_TRUST_WORKSPACE="true")
    call("ratchet skill install --target", tool, *where.split())
    assert DESCRIPTION in started(listing, project, GEMINI_CLI_TRUST_WORKSPACE="true")
