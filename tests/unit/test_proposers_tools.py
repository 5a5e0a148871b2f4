"""Commands of agents: words, variables, what does not go together."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ratchet.config import AGENTS
from ratchet.errors import ConfigError
from ratchet.proposers import agent, tools
from ratchet.proposers.workplace import check_names

ROOT = Path("/somewhere/here")
FILES = (Path("/p/PROMPT.md"), ["train.py", "model.py"], ["program.md"], ROOT)


def test_words_stand_for_files_and_folders() -> None:
    command = ["python", "{root}/a.py", "-f", "{prompt}", "--edit={mutable}", "--read={readable}"]
    assert tools.words(command, *FILES) == [
        sys.executable,
        "/somewhere/here/a.py",
        "-f",
        "/p/PROMPT.md",
        "--edit=train.py",
        "--edit=model.py",
        "--read=program.md",
    ]


def test_a_relative_program_is_one_of_the_working_folder() -> None:
    assert tools.words(["./mine.sh", "./x"], *FILES) == ["/somewhere/here/mine.sh", "./x"]
    assert tools.program("custom", ["/bin/sh"], ROOT) == "/bin/sh"
    assert tools.program("codex", None, ROOT) == "codex"


def test_no_preset_has_its_prompt_on_the_command_line() -> None:
    for name, tool in tools.TOOLS.items():
        words = tools.words(tool.command, *FILES)
        assert words[:1] in ([name], []), name
        assert tools.by_file(tool.command) == (name == "aider")
        assert not any("{" in word for word in words), name


def test_an_agent_has_the_users_variables_but_not_the_harnesss() -> None:
    inherited = {"HOME": "/h", "API_KEY": "k", "RATCHET_CONFIG": "{}", "GIT_DIR": "/x"}
    inherited |= {"CLAUDECODE": "1"}
    assert tools.environment(tools.TOOLS["claude"], inherited) == {"HOME": "/h", "API_KEY": "k"}
    codex = tools.environment(tools.TOOLS["codex"], inherited)
    assert codex["CLAUDECODE"] == "1"
    assert tools.environment(tools.TOOLS["gemini"], {})["GEMINI_CLI_TRUST_WORKSPACE"] == "true"


def test_the_configuration_knows_each_agent() -> None:
    assert set(tools.TOOLS) == set(AGENTS)


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="no program 'no-such-agent' on the PATH"):
        agent.find("no-such-agent", "claude")
    assert agent.find("sh", "custom") is None


def test_a_task_cannot_have_files_named_like_the_agents_own() -> None:
    with pytest.raises(ConfigError, match=r"t\.yaml: the file untrusted/a\.py has a name"):
        check_names(["train.py", "untrusted/a.py"], "t.yaml")
    assert check_names(["train.py", "lib/BRIEF.md"], "t.yaml") is None
