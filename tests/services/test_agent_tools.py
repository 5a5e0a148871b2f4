"""Coding agents of others, driven by a scripted model service, through good nights and bad ones.

``RATCHET_AGENTS`` names a folder that has them (`make env-agents` fills `.venv-agents/bin`);
without it they are looked for on the PATH.  Nothing outside of this machine is asked.
"""

import json
import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from helpers.agents import calls
from helpers.boxes import Box, make_box
from helpers.model_service import EDITS, Server, Service
from ratchet.proposers import agent, agent_process
from ratchet.proposers.agent_health import Login, tool_login

TOOLS = ("claude", "codex", "gemini", "opencode", "aider")
PATH = os.pathsep.join(filter(None, (os.environ.get("RATCHET_AGENTS"), os.environ["PATH"])))
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def each(*names: str) -> pytest.MarkDecorator:
    """A test of each of these tools; without the tool it is skipped."""
    missing = "is neither in RATCHET_AGENTS nor on the PATH: make env-agents"
    return pytest.mark.parametrize(
        "tool",
        [
            pytest.param(
                name,
                marks=pytest.mark.skipif(
                    shutil.which(name, path=PATH) is None, reason=f"{name} {missing}"
                ),
            )
            for name in names
        ],
    )


every_tool = each(*TOOLS)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(agent, "FIRST_PAUSE_SECONDS", 0.5)
    with Server() as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield found
        found.service.ended.set()
        found.shutdown()


def variables(tool: str, url: str, home: Path) -> Mapping[str, str]:
    """Environment of a tool that asks the service at ``url`` and keeps its files in ``home``."""
    home.mkdir()
    # Where one of the user's own would lead it elsewhere.
    found = {name: "" for name in os.environ if name.endswith(("_API_KEY", "_BASE_URL", "_PROXY"))}
    found |= {"HOME": str(home), "PATH": PATH, "CLAUDECODE": "", "NO_PROXY": "127.0.0.1"}
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        found[name] = str(home / name.lower())
    files: dict[str, str] = {}
    if tool == "claude":
        found |= {
            "ANTHROPIC_BASE_URL": url,
            "ANTHROPIC_API_KEY": "k",
            "CLAUDE_CODE_MAX_RETRIES": "1",
        }
        found |= {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"}
    elif tool == "codex":
        # It puts what its sandbox needs into its home, unless that is a temporary folder.
        found |= {"CODEX_HOME": str(home / "codex"), "TMPDIR": str(home / "tmp")}
        found |= {"SCRIPTED_KEY": "k"}
        (home / "tmp").mkdir()
        files["codex/config.toml"] = (
            'model = "scripted"\nmodel_provider = "scripted"\n[model_providers.scripted]\n'
            f'name = "scripted"\nbase_url = "{url}/v1"\nwire_api = "responses"\n'
            'env_key = "SCRIPTED_KEY"\nrequest_max_retries = 1\nstream_max_retries = 1\n'
        )
    elif tool == "gemini":
        found |= {"GEMINI_API_KEY": "k", "GOOGLE_GEMINI_BASE_URL": url}
        auth = {"security": {"auth": {"selectedType": "gemini-api-key"}}}
        files[".gemini/settings.json"] = json.dumps({**auth, "general": {"maxAttempts": 2}})
    elif tool == "opencode":
        options = {"baseURL": f"{url}/v1", "apiKey": "k"}
        own = {"npm": "@ai-sdk/openai-compatible", "options": options, "models": {"m": {}}}
        settings = {"model": "scripted/m", "small_model": "scripted/m", "autoupdate": False}
        files["xdg_config_home/opencode/opencode.json"] = json.dumps(
            {**settings, "provider": {"scripted": own}}
        )
    else:
        found |= {"OPENAI_API_BASE": f"{url}/v1", "OPENAI_API_KEY": "k"}
        found |= {"AIDER_MODEL": "openai/scripted", "AIDER_EDIT_FORMAT": "diff"}
        found |= {"AIDER_SHOW_MODEL_WARNINGS": "false", "AIDER_ANALYTICS_DISABLE": "true"}
    for name, text in files.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    return found


@pytest.fixture
def night(tool: str, server: Server, tmp_path: Path) -> Box:
    """A box whose sessions ask a tool."""
    box = make_box(tmp_path / "box", proposer=tool, confirm_replicates=1, agent_minutes=3)
    box.environment |= variables(tool, server.url, tmp_path / "home")
    return box


def outcomes(box: Box) -> list[str]:
    return [call["outcome"] for call in calls(box)]


@every_tool
def test_three_rounds_and_another_session_that_asks_anew(night: Box, server: Server) -> None:
    night.play(last="rounds")
    assert [(c["outcome"], c["stopped_late"]) for c in calls(night)] == [("proposed", False)] * 3
    made = [night.json(f"rounds/000{n}/proposals.json")["proposals"][0] for n in (1, 2, 3)]
    edits = [(p["edit"]["name"], p["edit"]["value"]) for p in made]
    assert edits == [(name, new) for name, _, new in EDITS]
    assert all(call["tokens"] for call in calls(night))
    asked = server.service.requests
    night.play(last="rounds", session="other", rounds=1)
    assert server.service.requests > asked
    assert len(night.events("agent_asked")) == 3


@every_tool
def test_a_service_that_refuses_ends_the_session_with_its_words(night: Box, server: Server) -> None:
    server.service = Service(denied=401)
    said = night.play()
    assert calls(night) == []
    assert night.json("report.json")["stop"]["reason"] == "agent_unusable"
    assert "its service refuses it" in said
    assert "401" in night.json("report.json")["answer"]["rest"]


@every_tool
def test_a_service_that_limits_its_rate_is_waited_for(night: Box, server: Server) -> None:
    server.service = Service(denied=429, times=6)
    night.play(last="rounds", rounds=1, agent_failures=1)
    assert outcomes(night) == ["proposed"]
    for event in night.events("agent_waiting"):
        assert event["why"] == "its service limits the rate"


@every_tool
def test_a_model_that_never_answers_is_too_slow(night: Box, server: Server) -> None:
    server.service = Service(hangs=True)
    night.play(last="rounds", rounds=1, agent_minutes=0.2)
    assert outcomes(night) == ["timeout"] * 2
    assert night.processes() == {}


@each("claude")
def test_no_call_takes_more_dollars_than_are_left(night: Box, server: Server) -> None:
    night.play(last="rounds")
    one = max(call["dollars"] for call in calls(night))
    cap = 1.3 * one
    night.play(last="rounds", session="capped", agent_dollars=cap)
    path = night.path / "results" / "capped" / "rounds"
    made = [json.loads(p.read_text()) for p in sorted(path.glob("*/proposals.json"))]
    spent = [call["dollars"] for each in made for call in each["calls"]]
    # The second call is ended by its tool, a step of it after the cap.
    assert spent[0] == pytest.approx(one)
    assert cap <= sum(spent) < 1.8 * one
    assert made[-1]["stop"] == "agent_budget"


@each("claude", "codex", "gemini", "opencode")
def test_a_finished_proposal_counts_though_the_tool_lingers(
    night: Box, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_process, "LINGER_SECONDS", 2.0)
    server.service = Service(lingers=True)
    night.play(last="rounds", rounds=1)
    assert [(c["outcome"], c["stopped_late"]) for c in calls(night)] == [("proposed", True)]


@every_tool
def test_a_look_outside_is_denied_and_ends_no_proposal(
    night: Box, server: Server, tmp_path: Path
) -> None:
    outside = tmp_path / "outside.txt"
    server.service = Service(outside=str(outside))
    night.play(last="rounds", rounds=1)
    assert not outside.exists()
    assert outcomes(night) == ["proposed"]


@every_tool
def test_a_login_is_known_for_nothing(
    tool: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [*os.environ]:
        if not name.startswith(("LANG", "LC_", "TMP")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", PATH)
    monkeypatch.setenv("HOME", str(tmp_path))
    # It has models that are free.
    expected = Login.UNKNOWN if tool == "opencode" else Login.NO
    assert tool_login(tool)[0] is expected
    for name, value in variables(tool, server.url, tmp_path / "home").items():
        monkeypatch.setenv(name, value)
    assert tool_login(tool)[0] in (Login.YES, Login.UNKNOWN)
    assert server.service.requests == 0
