"""The command ``ratchet``, and what all command lines share."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import REPO
from ratchet import __version__
from ratchet.base import io
from ratchet.base.errors import DataError
from ratchet.base.io import read_file
from ratchet.cli.main import COMMANDS, MODULES, OutputError, main, run_command

PACKAGES = REPO / "workflow_scripts"


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"ratchet {__version__}\n"
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in COMMANDS)


@pytest.mark.parametrize("argv", [[], ["bogus"], ["--bogus"], ["bogus", "--help-me"], ["\x1b[2J"]])
def test_unknown_commands_are_64(capsys: pytest.CaptureFixture[str], argv: list[str]) -> None:
    assert main(argv) == 64
    out, err = capsys.readouterr()
    assert out == ""
    known = ", ".join(COMMANDS)
    assert err.startswith(f"ratchet: expected a command ({known}), found ")
    assert err.endswith("see ratchet --help\n")
    assert "\x1b" not in err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there(capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert callable(importlib.import_module(f"ratchet.cli.{MODULES.get(name, name)}").main)
    assert main([name, "--help"]) == 0
    assert f"usage: ratchet {name}" in capsys.readouterr().out
    assert main([name, "--bogus"]) == 64
    assert capsys.readouterr().err.startswith(f"ratchet {name}: ")


def test_arguments_reach_the_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = ["power", "--noise-sd", "1", "--experiments", "2", "--sessions", "2"]
    assert main(argv) == 0
    assert capsys.readouterr().out.startswith("noise floor: ±1\n")
    monkeypatch.setattr(sys, "argv", ["ratchet", "power", "--replicates", "1"])
    assert main() == 65


def test_no_command_is_loaded_before_it_is_called() -> None:
    code = (
        "import sys; from ratchet.cli.main import main; main(['--version']); "
        "sys.exit(bool({'numpy', 'scipy', 'yaml', 'vl_convert'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(PACKAGES)})
    assert done.returncode == 0


# --- what all command lines share -------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (DataError("line 3:\nbad"), 65, "name: line 3: bad\n"),
        (OutputError("disk"), 74, "name: disk\n"),
        (KeyboardInterrupt(), 130, ""),
        (SystemExit(0), 0, ""),
        (SystemExit(None), 0, ""),
        (ZeroDivisionError("x"), 70, "name: internal error, ZeroDivisionError: x; tell us\n"),
    ],
)
def test_failures(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, said: str
) -> None:
    def act(_: object) -> int:
        raise error

    assert run_command("name", act, [], hint="tell us") == code
    assert capsys.readouterr() == ("", said)


def test_a_closed_pipe_is_74() -> None:
    code = "import sys; from ratchet.cli.main import main; sys.exit(main(['--help']))"
    child = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PYTHONPATH": str(PACKAGES)},
    )
    assert child.stdout is not None
    assert child.stderr is not None
    child.stdout.close()
    assert child.wait() == 74
    assert b"Traceback" not in child.stderr.read()
    child.stderr.close()


def test_too_large_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(io, "MAX_BYTES", 3)
    path = tmp_path / "log"
    path.write_bytes(b"abc")
    assert read_file(path) == b"abc"
    path.write_bytes(b"abcd")
    with pytest.raises(DataError, match="at most 3 bytes, found 4"):
        read_file(path)
