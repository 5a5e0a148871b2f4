"""From a clone of a training repository to a judged session in two commands, as printed."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.autojudge_logs import call
from helpers.boxes import Box
from helpers.commands import Capsys, Patch
from helpers.standins import FILES, make_standin

SMALL = ("rounds=1", "confirm_replicates=1", "certify=false", "memory_price=0")
METRICS = {
    "numpy": "test_mse",
    "sklearn": "validation_accuracy",
    "torch": "val_loss",
    "upstream": "val_bpb",
    "yaml": "eval/reward",
    "cpp": "final_loss",
}
PLAYED = ("sklearn", "torch", "upstream", "yaml")
"""Sessions that are played here: Snakemake does nothing else for them than for the others."""


@pytest.mark.slow
@pytest.mark.parametrize("kind", FILES)
def test_two_commands_give_a_judged_session(
    tmp_path: Path, capsys: Capsys, monkeypatch: Patch, kind: str
) -> None:
    folder, root = make_standin(kind, tmp_path / "repo"), tmp_path / "sessions"
    root.mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(folder)
    assert call("ratchet init", "--yes", "--root", str(root), "--config", *SMALL) == 0
    command = capsys.readouterr().out.splitlines()[-1]
    _check_session(Box(root), kind, command)


@pytest.mark.slow
@pytest.mark.skipif("RATCHET_GPT_PYTHON" not in os.environ, reason="names no PyTorch")
def test_pytorch_itself_is_found_in_the_shell_s_environment(
    tmp_path: Path, capsys: Capsys, monkeypatch: Patch
) -> None:
    folder, root = make_standin("torch", tmp_path / "repo"), tmp_path / "sessions"
    shutil.rmtree(folder / ".venv")
    root.mkdir()
    monkeypatch.setenv("VIRTUAL_ENV", str(Path(os.environ["RATCHET_GPT_PYTHON"]).parents[1]))
    monkeypatch.chdir(folder)
    assert call("ratchet init", "--yes", "--root", str(root), "--config", *SMALL) == 0
    out = capsys.readouterr().out
    assert "with torch" in out
    _check_session(Box(root), "torch", out.splitlines()[-1])


def _check_session(box: Box, kind: str, command: str) -> None:
    """Run or play the session of a printed command, and look at its verdict."""
    root = box.path
    if kind in PLAYED:
        given = dict(word.partition("=")[::2] for word in shlex.split(command) if "=" in word)
        own = {"budget_steps": None, "proposer": "auto", "seeds": "secret", "session": "default"}
        box.play(**{**given, **own})
    else:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        variables = {**os.environ, "PATH": path}
        done = subprocess.run(["sh", "-c", command], env=variables, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        (root / "results" / "repo").rename(box.session)
    manifest = box.json("manifest.json")
    assert manifest["values"]["metric"]["name"] == METRICS[kind]
    # Its environment is as its lock says; all others are held by what is installed.
    lock = manifest["environment"] and manifest["environment"]["path"]
    assert lock == ("uv.lock" if kind == "upstream" else None)
    assert manifest["python"]["packages_sha256"]
    assert manifest["brief"]["path"] == "program.md"
    (ruling,) = box.rulings()
    assert ruling["verdict"] not in ("CRASH", "TAMPERED")
    assert ruling["mean"] is not None
    assert ruling["memory_mb"] > 5
    assert (box.session / "report.html").exists()
