"""Failures of agents' tools, by what the tools print; logins, by what they say of themselves."""

import json
import os
import stat
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet.base.text import one_line_label
from ratchet.proposers.agent_health import (
    LONGEST_RETRY_SECONDS,
    WORDS_LIMIT,
    Failure,
    Login,
    call_fault,
    tool_login,
)
from ratchet.proposers.agent_process import CallEnding

FAILED = CallEnding(1, False, 1.0, 0)
DONE = CallEnding(0, False, 1.0, 0)
TOO_LATE = CallEnding(-15, True, 1.0, 0)


def lines(*events: object) -> str:
    return "".join(f"{json.dumps(event)}\n" for event in events)


def claude(words: str, status: int | None = None) -> str:
    # It calls this a success.
    end = {"type": "result", "subtype": "success", "is_error": True, "result": words}
    return lines({"type": "system", "subtype": "init"}, {**end, "api_error_status": status})


def codex(words: str) -> str:
    kinds = (
        {"type": "error", "message": words},
        {"type": "turn.failed", "error": {"message": words}},
    )
    return lines({"type": "turn.started"}, *kinds)


def gemini(words: str) -> str:
    return lines({"type": "result", "status": "error", "error": {"message": words}})


def opencode(words: str, status: int | None = None, **heads: str) -> str:
    data = {"message": words, "responseHeaders": heads}
    data |= {} if status is None else {"statusCode": status}
    return lines({"type": "error", "error": {"name": "APIError", "data": data}})


AIDER = "litellm.{}: OpenAIException - the service says \nno, and so on\n\nTokens of others\n"
QUOTA = "You exceeded your current quota, please check your plan and billing details."
SETTINGS = "Please set an Auth method in your /h/.gemini/settings.json or specify one of these"
RETRIES = {"type": "system", "subtype": "api_retry", "error_status": 429, "error": "rate_limit"}
NETWORK = "Reconnecting... waiting for network (Connection failed: error sending request)"


@pytest.mark.parametrize(
    ("output", "failure"),
    [
        (claude("Not logged in · Please run /login"), Failure.LOGIN),
        (claude("Failed to authenticate. API Error: 401 no", 401), Failure.REFUSED),
        (claude("Credit balance is too low", 400), Failure.CREDIT),
        (claude("API Error: Request rejected (429) · too many", 429), Failure.LIMITED),
        (claude("You've hit your session limit · resets 3pm"), Failure.LIMITED),
        (claude("API Error: 529 Overloaded", 529), Failure.OUTAGE),
        (claude("API Error: Connection error."), Failure.OUTAGE),
        (
            codex("unexpected status 401 Unauthorized: no, url: http://127.0.0.1:1/v1"),
            Failure.REFUSED,
        ),
        (codex("exceeded retry limit, last status: 429 Too Many Requests"), Failure.LIMITED),
        (codex("You've hit your usage limit. Try again in 3 hours."), Failure.LIMITED),
        (codex("We’re currently experiencing high demand, which may cause"), Failure.OUTAGE),
        (codex(f"{QUOTA}"), Failure.CREDIT),
        (gemini('[API Error: {"error":{"code":401,"status":"UNAUTHENTICATED"}}]'), Failure.REFUSED),
        (gemini(f'{{"status":"RESOURCE_EXHAUSTED"}} {QUOTA}'), Failure.LIMITED),
        (gemini(f"{QUOTA} Please retry in 32.5s."), Failure.LIMITED),
        (SETTINGS, Failure.LOGIN),
        ("Attempt 5 failed with status 500. Retrying with backoff...\n", Failure.OUTAGE),
        (opencode("the service says no", 403), Failure.REFUSED),
        (opencode("slow down", 429), Failure.LIMITED),
        (opencode("Rate limit exceeded. Add 10 credits for more", 429), Failure.LIMITED),
        (opencode("This request requires more credits", 402), Failure.CREDIT),
        (opencode("Cannot connect to API: Unable to connect"), Failure.OUTAGE),
        (AIDER.format("AuthenticationError"), Failure.REFUSED),
        (AIDER.format("RateLimitError"), Failure.LIMITED),
        (AIDER.format("InternalServerError"), Failure.OUTAGE),
        (AIDER.format("APIConnectionError"), Failure.OUTAGE),
        (codex("stream disconnected before completion: failed to lookup"), Failure.OUTAGE),
        ("panic: nil pointer\n", Failure.BROKEN),
        ("Error: cannot resolve the module that connects it\n", Failure.BROKEN),
        ("", Failure.BROKEN),
    ],
)
def test_what_the_tools_print_when_they_do_not_work(output: str, failure: Failure) -> None:
    found = call_fault(output, FAILED, is_untouched=True)
    assert found is not None
    assert found.failure is failure


WORK = lines({"type": "item.completed", "item": {"type": "agent_message"}})
LIMIT = lines({"type": "result", "subtype": "error_max_budget_usd", "is_error": True})
WARNING = lines({"type": "error", "severity": "warning", "message": "429, but it went on"})
CLAIM = lines({"type": "assistant", "message": {"content": "HTTP 429: rate limit, not logged in"}})
USED = "Tokens: 1k sent, 5 received.\n"


@pytest.mark.parametrize("output", ["", WORK, LIMIT, WARNING, CLAIM, codex("429") + WORK])
def test_a_tool_that_works_has_no_fault(output: str) -> None:
    assert call_fault(output, DONE, is_untouched=True) is None
    assert call_fault(AIDER.format("RateLimitError") + USED, DONE, is_untouched=True) is None


def test_a_call_that_its_own_budget_ended_has_no_fault() -> None:
    assert call_fault(LIMIT, FAILED, is_untouched=True) is None


def test_another_status_alone_is_a_fault_only_where_nothing_was_left() -> None:
    assert call_fault("gave up\n", FAILED, is_untouched=False) is None
    # A tool may end with 0 though it was refused, or with its hands full.
    assert call_fault(AIDER.format("RateLimitError"), DONE, is_untouched=False) is not None


def test_a_tool_that_was_stopped_while_it_waited_for_its_service_did_not_work() -> None:
    for output in (lines(RETRIES), lines({"type": "error", "message": NETWORK})):
        assert call_fault(output, TOO_LATE, is_untouched=True) is not None
    assert call_fault("thinking\n", TOO_LATE, is_untouched=True) is None


def test_a_call_that_somebody_else_ended_or_that_never_began_is_no_answer() -> None:
    killed = call_fault(CLAIM, CallEnding(-9, False, 1.0, 0), is_untouched=False)
    gone = call_fault("", CallEnding(127, False, 0.0, 0, missing="no program 'x'"), True)
    assert killed is not None
    assert "signal 9" in killed.note
    assert gone is not None
    assert (gone.note, gone.words) == ("no program 'x'", "")


def test_a_tools_words_are_cleaned_and_cut() -> None:
    found = call_fault(claude("\x1b[31mno\n" + "x" * 9000), FAILED, is_untouched=True)
    assert found is not None
    assert found.words.startswith("no xxx"), found.words
    assert len(found.words) <= WORDS_LIMIT + 50


@pytest.mark.parametrize(
    ("output", "seconds"),
    [
        (opencode("slow down", 429, **{"retry-after": "17"}), 17),
        (opencode("slow down", 429, **{"retry-after": "soon"}), None),
        (codex("429: try again in 3 hours"), 10_800),
        (codex("429: Please try again in 20ms"), 0.02),
        (gemini("retry in 1.5m"), 90),
        (claude("429 {'retry-after': 30}", 429), 30),
        (codex("429: retry after 999999 hours"), LONGEST_RETRY_SECONDS),
        (codex("429"), None),
    ],
)
def test_how_long_a_service_says_to_wait(output: str, seconds: float | None) -> None:
    found = call_fault(output, FAILED, is_untouched=True)
    assert found is not None
    assert found.retry_after == (None if seconds is None else pytest.approx(seconds))


@given(st.text(), st.booleans())
def test_no_output_is_too_strange(text: str, is_untouched: bool) -> None:
    for output in (text, claude(text), codex(text), lines({"type": "error", "error": text})):
        found = call_fault(output, FAILED, is_untouched)
        if found is None:
            assert not is_untouched or output != text, "a failure that left nothing is a fault"
            continue
        assert len(found.words) <= WORDS_LIMIT
        assert found.words == one_line_label(found.words, WORDS_LIMIT)


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without keys, and a folder of programs that comes first."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in [*os.environ]:
        if not name.startswith(("PYTHON", "LANG", "LC_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("gemini", "aider"):
        program(programs, name, "raise SystemExit('asked for nothing')")
    return programs


def program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!{sys.executable} -S\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_claude_and_codex_are_asked_for_their_login(tools: Path, tmp_path: Path) -> None:
    assert tool_login("claude") == (Login.UNKNOWN, "")
    for answer, login in (("true", Login.YES), ("false", Login.NO)):
        program(tools, "claude", f"print('warning'); print('{{\"loggedIn\": {answer}}}')")
        assert tool_login("claude")[0] is login
    program(tools, "claude", "print('a new command line')")
    assert tool_login("claude")[0] is Login.UNKNOWN
    program(tools, "codex", "import sys; print('Not logged in', file=sys.stderr); sys.exit(1)")
    assert tool_login("codex")[0] is Login.NO
    # A provider of one's own needs no login.
    (tmp_path / ".codex").mkdir()
    (tmp_path / ".codex" / "config.toml").write_text('model_provider = "mine"\n')
    assert tool_login("codex")[0] is Login.UNKNOWN


def test_gemini_and_aider_are_known_by_files_and_variables(
    tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [tool_login(name)[0] for name in ("gemini", "aider")] == [Login.NO] * 2
    monkeypatch.setenv("GEMINI_API_KEY", "k")
    assert tool_login("gemini")[0] is Login.YES
    assert tool_login("aider")[0] is Login.UNKNOWN
    # With an address alone it refuses itself.
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1")
    login, why = tool_login("gemini")
    assert login is Login.NO
    assert "security.auth.selectedType" in why
    settings = tmp_path / ".gemini" / "settings.json"
    settings.parent.mkdir()
    settings.write_text('{"security": {"auth": {"selectedType": "gemini-api-key"}}}')
    assert tool_login("gemini")[0] is Login.UNKNOWN
    settings.write_text("// no JSON")
    assert tool_login("gemini")[0] is Login.UNKNOWN


def test_opencode_without_a_login_may_work_all_the_same(tools: Path) -> None:
    program(tools, "opencode", "print('\\x1b[0m└  0 credentials')")
    assert tool_login("opencode")[0] is Login.UNKNOWN
    program(tools, "opencode", "print('└  0 credentials\\n└  1 environment variable')")
    assert tool_login("opencode")[0] is Login.YES
    assert tool_login("custom") == (Login.UNKNOWN, "")
