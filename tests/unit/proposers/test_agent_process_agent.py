"""One call of an agent: its prompt, its clock, its descendants."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from ratchet.base.errors import ConfigError
from ratchet.proposers.agent_process import LOG_LIMIT_BYTES, AgentProcess, CallEnding, run_agent


def call(
    tmp_path: Path, script: str, seconds: float = 20, prompt: str | None = "hello"
) -> CallEnding:
    (tmp_path / 'it\'s a "prompt"').write_text(prompt or "")
    return run_agent(
        AgentProcess(
            command=[sys.executable, "-S", "-c", script],
            folder=tmp_path,
            environment={"PATH": os.environ["PATH"]},
            prompt=None if prompt is None else tmp_path / 'it\'s a "prompt"',
            log=tmp_path / "logs" / "agent.log",
            seconds=seconds,
        )
    )


def said(tmp_path: Path) -> str:
    return (tmp_path / "logs" / "agent.log").read_text()


def test_the_prompt_comes_by_standard_input_and_on_no_command_line(tmp_path: Path) -> None:
    shown = "open('/proc/self/cmdline').read().count('hel' 'lo')"
    script = f"import sys; print(sys.stdin.read(), {shown})"
    ending = call(tmp_path, script)
    assert (ending.exit_code, ending.timed_out) == (0, False)
    assert said(tmp_path) == "hello 0\n"


def test_without_a_prompt_there_is_nothing_to_read(tmp_path: Path) -> None:
    assert call(tmp_path, "import sys; print([sys.stdin.read()])", prompt=None).exit_code == 0
    assert said(tmp_path) == "['']\n"


def test_status_and_signals_are_told(tmp_path: Path) -> None:
    assert call(tmp_path, "raise SystemExit(7)").exit_code == 7
    ending = call(tmp_path, "import os; os.kill(os.getpid(), 15)")
    assert (ending.exit_code, ending.from_outside) == (-15, True)
    assert not call(tmp_path, "import os; os.abort()").from_outside


def test_at_the_limit_the_whole_tree_is_stopped(tmp_path: Path) -> None:
    script = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen(['sleep', '3600'], start_new_session=True)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(3600)"
    )
    began = time.monotonic()
    ending = call(tmp_path, script, seconds=1.0)
    assert ending.timed_out
    assert not ending.from_outside
    assert time.monotonic() - began < 60
    assert not (Path("/proc") / said(tmp_path).strip()).exists()


def test_a_flood_of_output_keeps_its_head_and_tail(tmp_path: Path) -> None:
    script = "print('first'); [print('x' * 100_000) for _ in range(60)]; print('last')"
    assert call(tmp_path, script).exit_code == 0
    text = said(tmp_path)
    assert text.startswith("first")
    assert text.endswith("last\n")
    assert len(text) < LOG_LIMIT_BYTES + 1000


def test_a_command_that_cannot_be_started_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'/no/such' cannot be started"):
        run_agent(AgentProcess(["/no/such"], tmp_path, {}, None, tmp_path / "log", 5))
    assert "/no/such" in (tmp_path / "log").read_text()
