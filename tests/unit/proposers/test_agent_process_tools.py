"""Commands of agents: words, variables, what does not go together."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ratchet.base.errors import ConfigError
from ratchet.config import AGENTS
from ratchet.proposers.agent_process import (
    AGENT_TOOLS,
    agent_environment,
    agent_program,
    agent_words,
    by_file,
    require_agent,
)
from ratchet.proposers.agent_workspace import check_file_names

ROOT = Path("/somewhere/here")
FILES = (Path("/p/PROMPT.md"), ["train.py", "model.py"], ["program.md"], ROOT)


def test_words_stand_for_files_and_folders() -> None:
    command = ["python", "{root}/a.py", "-f", "{prompt}", "--edit={mutable}", "--read={readable}"]
    assert agent_words(command, *FILES) == [
        sys.executable,
        "/somewhere/here/a.py",
        "-f",
        "/p/PROMPT.md",
        "--edit=train.py",
        "--edit=model.py",
        "--read=program.md",
    ]


def test_a_relative_program_is_one_of_the_working_folder() -> None:
    assert agent_words(["./mine.sh", "./x"], *FILES) == ["/somewhere/here/mine.sh", "./x"]
    assert agent_program("custom", ["/bin/sh"], ROOT) == "/bin/sh"
    assert agent_program("codex", None, ROOT) == "codex"


def test_no_preset_has_its_prompt_on_the_command_line() -> None:
    for name, tool in AGENT_TOOLS.items():
        words = agent_words(tool.command, *FILES)
        assert words[:1] in ([name], []), name
        assert by_file(tool.command) == (name == "aider")
        assert not any("{" in word for word in words), name


def test_an_agent_has_the_users_variables_but_not_the_harnesss() -> None:
    inherited = {"HOME": "/h", "API_KEY": "k", "RATCHET_CONFIG": "{}", "GIT_DIR": "/x"}
    inherited |= {"CLAUDECODE": "1"}
    assert agent_environment(AGENT_TOOLS["claude"], inherited) == {"HOME": "/h", "API_KEY": "k"}
    codex = agent_environment(AGENT_TOOLS["codex"], inherited)
    assert codex["CLAUDECODE"] == "1"
    assert agent_environment(AGENT_TOOLS["gemini"], {})["GEMINI_CLI_TRUST_WORKSPACE"] == "true"


def test_the_configuration_knows_each_agent() -> None:
    assert set(AGENT_TOOLS) == set(AGENTS)


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="no program 'no-such-agent' on the PATH"):
        require_agent("no-such-agent", "claude")
    assert require_agent("sh", "custom") is None


def test_a_task_cannot_have_files_named_like_the_agents_own() -> None:
    with pytest.raises(ConfigError, match=r"t\.yaml: the file untrusted/a\.py has a name"):
        check_file_names(["train.py", "untrusted/a.py"], "t.yaml")
    assert check_file_names(["train.py", "lib/BRIEF.md"], "t.yaml") is None
