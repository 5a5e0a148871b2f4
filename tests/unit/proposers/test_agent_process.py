"""Commands of coding agents, one call of them, and what they report of their use."""

import json
import os
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet.base.errors import ConfigError
from ratchet.config import AGENTS
from ratchet.proposers import agent_process
from ratchet.proposers.agent_process import (
    AGENT_TOOLS,
    LOG_LIMIT_BYTES,
    MOST_DOLLARS,
    CallEnding,
    Usage,
    agent_environment,
    agent_program,
    agent_usage,
    agent_words,
    cut_log,
    require_agent,
    run_agent,
)

ROOT = Path("/somewhere/here")
FILES = (Path("/p/PROMPT.md"), ["train.py", "model.py"], ["program.md"], ROOT)


def test_words_stand_for_files_and_folders() -> None:
    command = ["python", "{root}/a.py", "-f", "{prompt}", "--edit={mutable}", "--read={readable}"]
    said = "/somewhere/here/a.py -f /p/PROMPT.md --edit=train.py --edit=model.py --read=program.md"
    assert agent_words(command, *FILES) == [sys.executable, *said.split()]
    assert agent_words(["./mine.sh", "./x"], *FILES) == ["/somewhere/here/mine.sh", "./x"]
    assert agent_program("custom", ["/bin/sh"], ROOT) == "/bin/sh"
    assert agent_program("codex", None, ROOT) == "codex"


def test_each_agent_of_the_configuration_has_a_command_without_its_prompt() -> None:
    assert set(AGENT_TOOLS) == set(AGENTS)
    for name, tool in AGENT_TOOLS.items():
        words = agent_words(tool.command, *FILES)
        assert words[:1] in ([name], []), name
        assert any("{prompt}" in word for word in tool.command) == (name == "aider")
        assert not any("{" in word for word in words), name


def test_an_agent_has_the_users_variables_but_not_the_harnesss() -> None:
    inherited = {"HOME": "/h", "API_KEY": "k", "RATCHET_CONFIG": "{}", "GIT_DIR": "/x"}
    inherited |= {"CLAUDECODE": "1"}
    assert agent_environment(AGENT_TOOLS["claude"], inherited) == {"HOME": "/h", "API_KEY": "k"}
    assert agent_environment(AGENT_TOOLS["codex"], inherited)["CLAUDECODE"] == "1"
    assert agent_environment(AGENT_TOOLS["gemini"], {})["GEMINI_CLI_TRUST_WORKSPACE"] == "true"


def call(
    tmp_path: Path, script: str, seconds: float = 20, prompt: str | None = "hello"
) -> tuple[CallEnding, str]:
    """How a call ends that runs a script, and what stands in its log."""
    place, log = tmp_path / 'it\'s a "prompt"', tmp_path / "logs" / "agent.log"
    place.write_text(prompt or "")
    words = [sys.executable, "-S", "-c", script]
    read = None if prompt is None else place
    ending = run_agent(words, tmp_path, {"PATH": os.environ["PATH"]}, read, log, seconds)
    return ending, log.read_text()


def test_the_prompt_comes_by_standard_input_and_on_no_command_line(tmp_path: Path) -> None:
    shown = "open('/proc/self/cmdline').read().count('hel' 'lo')"
    ending, said = call(tmp_path, f"import sys; print(sys.stdin.read(), {shown})")
    assert (ending.exit_code, ending.timed_out, said) == (0, False, "hello 0\n")
    assert call(tmp_path, "import sys; print([sys.stdin.read()])", prompt=None)[1] == "['']\n"


def test_status_and_signals_are_told(tmp_path: Path) -> None:
    assert call(tmp_path, "raise SystemExit(7)")[0].exit_code == 7
    ending, _ = call(tmp_path, "import os; os.kill(os.getpid(), 15)")
    assert (ending.exit_code, ending.from_outside) == (-15, True)
    assert not call(tmp_path, "import os; os.abort()")[0].from_outside


def test_a_program_that_is_not_there_or_cannot_be_started_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no program 'no-such-agent' on the PATH"):
        require_agent("no-such-agent", "claude")
    require_agent("sh", "custom")
    with pytest.raises(ConfigError, match="'/no/such' cannot be started"):
        run_agent(["/no/such"], tmp_path, {}, None, tmp_path / "log", 5)
    assert "/no/such" in (tmp_path / "log").read_text()


def test_at_the_limit_the_whole_tree_is_stopped(tmp_path: Path) -> None:
    script = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen(['sleep', '3600'], start_new_session=True)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(3600)"
    )
    began = time.monotonic()
    ending, child = call(tmp_path, script, seconds=1.0)
    assert (ending.timed_out, ending.from_outside) == (True, False)
    assert time.monotonic() - began < 60
    assert not (Path("/proc") / child.strip()).exists()


def test_a_flood_of_output_keeps_its_head_and_tail(tmp_path: Path) -> None:
    script = "print('first'); [print('x' * 100_000) for _ in range(60)]; print('last')"
    ending, said = call(tmp_path, script)
    assert ending.exit_code == 0
    assert len(said) > 3 * LOG_LIMIT_BYTES - 1_000_000, "all of it is read once"
    log = tmp_path / "logs" / "agent.log"
    assert cut_log(log).decode() == said
    kept = log.read_text()
    assert (kept[:5], kept[-5:]) == ("first", "last\n")
    assert "bytes of output left out here" in kept
    assert len(kept) < LOG_LIMIT_BYTES + 1000


def test_an_agent_that_lingers_over_a_finished_proposal_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_process, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(agent_process, "LINGER_SECONDS", 0.2)
    looks = iter([None, "a first edit", *["the whole"] * 10_000])
    words = [sys.executable, "-S", "-c", "import time; time.sleep(3600)"]
    log = tmp_path / "log"
    ending = run_agent(words, tmp_path, {}, None, log, 600, lambda: next(looks))
    assert (ending.stopped_late, ending.stopped, ending.timed_out) == (True, True, False)
    assert not ending.from_outside


def lines(*events: object) -> str:
    return "".join(f"{json.dumps(event)}\n" for event in events)


USED = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 200,
    "cache_read_input_tokens": 90_000,
    "output_tokens": 40,
}
CLAUDE = lines(
    {"type": "system", "subtype": "init"},
    {"type": "assistant", "message": {"id": "m1", "usage": USED}},
    {"type": "result", "subtype": "success", "total_cost_usd": 0.25, "usage": USED},
)
CODEX_USED = {"input_tokens": 26549, "cached_input_tokens": 22272, "output_tokens": 1590}
CODEX = lines(
    {"type": "thread.started", "thread_id": "t"}, {"type": "turn.completed", "usage": CODEX_USED}
)
GEMINI = lines(
    {"type": "init", "model": "m"},
    {"type": "result", "status": "success", "stats": {"total_tokens": 900, "cached": 300}},
)
STEP = {"type": "step_finish", "part": {"cost": 0.01, "tokens": {"input": 100, "output": 5}}}
CACHED = {"input": 1, "output": 2, "reasoning": 3, "cache": {"read": 1000, "write": 4}}
OPENCODE = lines(STEP, {"type": "step_finish", "part": {"cost": 0.02, "tokens": CACHED}})
AIDER = """\
Tokens: 4.1k sent, 133 received. Cost: $0.04 message, $0.04 session.
> Tokens: 12k sent, 1.5k cache hit, 1.2k received. Cost: $0.06 message, $0.10 session.
"""
NOTHING = {"input_tokens": 0, "output_tokens": 0}
SONNET = {"inputTokens": 30, "cacheReadInputTokens": 9000, "outputTokens": 4}
CAPPED = {"type": "result", "subtype": "error_max_budget_usd", "total_cost_usd": 0.02}
CAPPED |= {"usage": NOTHING, "modelUsage": {"sonnet": SONNET, "haiku": {"outputTokens": 1}}}
STOPPED = CLAUDE[: CLAUDE.index('{"type": "result"')]
LATER = lines({"type": "assistant", "message": {"id": "m2", "usage": {"output_tokens": 7}}})


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (CLAUDE, Usage(250, 0.25)),
        (lines(CAPPED), Usage(35, 0.02)),
        (CODEX, Usage(26549 - 22272 + 1590, None)),
        (GEMINI, Usage(600, None)),
        (OPENCODE, Usage(105 + 10, pytest.approx(0.03))),
        (AIDER, Usage(4100 + 133 + 12000 - 1500 + 1200, pytest.approx(0.1))),
        ("Tokens: 900 sent, 10 received.\n", Usage(910, None)),
        ("nothing\n{not json\n[1]\n{}\n", Usage()),
        (f"starting\n{CLAUDE}bye\n", Usage(250, 0.25)),
        # A stopped call has used what its messages say, each counted once.
        (STOPPED + STOPPED + LATER, Usage(257, None)),
    ],
)
def test_what_each_tool_reports(output: str, expected: Usage) -> None:
    assert agent_usage(output) == expected


@pytest.mark.parametrize("wrong", [-1, "5", True, None, 10**400, [1], MOST_DOLLARS * 2])
def test_impossible_numbers_count_for_nothing(wrong: object) -> None:
    event = {"type": "result", "total_cost_usd": wrong, "usage": {"output_tokens": wrong}}
    assert agent_usage(lines(event)) in (Usage(0, None), Usage(2_000_000, None))


@given(st.text())
def test_no_output_is_too_strange(text: str) -> None:
    found = agent_usage(text + "\n" + '{"type":' * 2000)
    assert found.tokens is None or found.tokens >= 0
