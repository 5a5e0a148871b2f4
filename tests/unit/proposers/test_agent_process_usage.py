"""What agents report of tokens and dollars, in the formats of their tools."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet.proposers.agent_process import MOST_DOLLARS, Usage, agent_usage


def lines(*events: object) -> str:
    return "".join(f"{json.dumps(event)}\n" for event in events)


CLAUDE_USAGE = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 200,
    "cache_read_input_tokens": 90_000,
    "output_tokens": 40,
}
CLAUDE = lines(
    {"type": "system", "subtype": "init"},
    {"type": "assistant", "message": {"id": "m1", "usage": CLAUDE_USAGE}},
    {"type": "result", "subtype": "success", "total_cost_usd": 0.25, "usage": CLAUDE_USAGE},
)
CODEX = lines(
    {"type": "thread.started", "thread_id": "t"},
    {
        "type": "turn.completed",
        "usage": {"input_tokens": 26549, "cached_input_tokens": 22272, "output_tokens": 1590},
    },
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


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (CLAUDE, Usage(250, 0.25)),
        (CODEX, Usage(26549 - 22272 + 1590, None)),
        (GEMINI, Usage(600, None)),
        (OPENCODE, Usage(105 + 10, pytest.approx(0.03))),
        (AIDER, Usage(4100 + 133 + 12000 + 1200, pytest.approx(0.1))),
        ("Tokens: 900 sent, 10 received.\n", Usage(910, None)),
        ("nothing\n{not json\n[1]\n{}\n", Usage()),
        (f"starting\n{CLAUDE}bye\n", Usage(250, 0.25)),
    ],
)
def test_what_each_tool_reports(output: str, expected: Usage) -> None:
    assert agent_usage(output) == expected


def test_a_stopped_call_has_used_what_its_messages_say() -> None:
    stopped = CLAUDE[: CLAUDE.index('{"type": "result"')]
    later = lines({"type": "assistant", "message": {"id": "m2", "usage": {"output_tokens": 7}}})
    assert agent_usage(stopped + stopped + later) == Usage(257, None)


@pytest.mark.parametrize("wrong", [-1, "5", True, None, 10**400, [1], MOST_DOLLARS * 2])
def test_impossible_numbers_count_for_nothing(wrong: object) -> None:
    event = {"type": "result", "total_cost_usd": wrong, "usage": {"output_tokens": wrong}}
    assert agent_usage(lines(event)) in (Usage(0, None), Usage(2_000_000, None))


@given(st.text())
def test_no_output_is_too_strange(text: str) -> None:
    found = agent_usage(text + "\n" + '{"type":' * 2000)
    assert found.tokens is None or found.tokens >= 0
