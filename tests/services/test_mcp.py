"""claude calls Ratchet's tools: started by it, over standard input and output.

A scripted service stands for the model; nothing outside of this machine is asked.
``RATCHET_AGENTS`` names a folder with claude; without it the PATH is searched.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from helpers.boxes import Box
from helpers.edits import change
from helpers.mcp_client import quarantine, settings
from helpers.scripted_model import Model, serving, variables

PATH = os.pathsep.join(filter(None, (os.environ.get("RATCHET_AGENTS"), os.environ["PATH"])))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("claude", path=PATH) is None,
        reason="claude is neither in RATCHET_AGENTS nor on the PATH: npm install it",
    ),
]


SCRIPT: Sequence[tuple[str, Mapping[str, Any]]] = (
    ("mcp__ratchet__suggestions", {}),
    ("mcp__ratchet__try", {"message": "a larger rate"}),
    ("mcp__ratchet__runs", {}),
    ("mcp__ratchet__show", {"number": 7}),
)


@pytest.fixture
def model() -> Iterator[Model]:
    with serving(SCRIPT) as found:
        yield found


def claude(box: Box, model: Model, home: Path) -> str:
    """What claude says in the end, asked to use the tools of a box."""
    home.mkdir()
    words = ["-m", "ratchet.cli.main", "mcp", "--root", str(box.path), "--config", *settings(box)]
    own = {"RATCHET_HARNESS": str(box.harness)}
    server = {"command": sys.executable, "args": words, "env": own}
    (home / "mcp.json").write_text(json.dumps({"mcpServers": {"ratchet": server}}))
    prompt = "Improve the task with Ratchet's tools."
    allowed = ",".join(name for name, _ in SCRIPT)
    command = ["claude", "-p", prompt, "--allowedTools", allowed, "--strict-mcp-config"]
    done = subprocess.run(
        [*command, "--mcp-config", str(home / "mcp.json")],
        cwd=home,
        env={
            **os.environ,
            **{n: "" for n in os.environ if n.endswith(("_API_KEY", "_BASE_URL", "_PROXY"))},
            **variables(model),
            "PATH": PATH,
            "HOME": str(home),
            "CLAUDECODE": "",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_claude_calls_the_tools_and_reads_their_answers(
    box: Box, model: Model, tmp_path: Path
) -> None:
    box.settings["proposer"] = "hand"
    box.play(last="baseline")
    change(box, "RATE = 0.1", "RATE = 0.8")
    assert "Done." in claude(box, model, tmp_path / "home")
    wanted = {"try", "status", "runs", "show", "diff", "suggestions", "power"}
    assert {name for name in model.offered if name.startswith("mcp__ratchet__")} == {
        f"mcp__ratchet__{name}" for name in wanted
    }
    suggested, tried, listed, missing = model.results
    for answer in (suggested, tried, listed):
        assert quarantine() in answer
    assert "STRONG_KEEP" in tried
    assert "a larger rate" in listed
    assert "expected an experiment from 0 (the baseline) to 1 that was judged" in missing
    assert [event["verdict"] for event in box.events("verdict")] == ["STRONG_KEEP"]
