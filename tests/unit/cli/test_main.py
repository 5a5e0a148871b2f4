"""The command ``ratchet``, and what all command lines share."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from helpers import REPO
from helpers.commands import Capsys, Patch
from ratchet import __version__
from ratchet.base.errors import DataError
from ratchet.cli import autoevolve, autojudge, autosteer
from ratchet.cli.main import COMMANDS, OutputError, main, run_command

PACKAGES = REPO / "workflow_scripts"

CALLS = {
    "ratchet": main,
    "autojudge": autojudge.main,
    "autosteer": autosteer.main,
    "autoevolve": autoevolve.main,
}


@pytest.mark.parametrize("name", CALLS)
def test_version_and_help(capsys: Capsys, name: str) -> None:
    assert CALLS[name](["--version"]) == 0
    out = capsys.readouterr().out
    assert out.replace(" (ratchet)", "") == f"{name} {__version__}\n"
    assert CALLS[name](["--help"]) == 0
    shown = capsys.readouterr().out
    commands = {"ratchet": COMMANDS, "autoevolve": autoevolve.COMMANDS}.get(name, {})
    assert [each for each in commands if f"  {each}  " not in shown] == []


@pytest.mark.parametrize("argv", [[], ["bogus"], ["--bogus"], ["bogus", "--help-me"], ["\x1b[2J"]])
def test_unknown_commands_are_64(capsys: Capsys, argv: list[str]) -> None:
    assert main(argv) == 64
    out, err = capsys.readouterr()
    assert out == ""
    known = ", ".join(COMMANDS)
    assert err.startswith(f"ratchet: expected a command ({known}), found ")
    assert err.endswith("see ratchet --help\n")
    assert "\x1b" not in err


WORDS = [
    *(f"ratchet {name}" for name in COMMANDS),
    *(f"ratchet program {name}" for name in ("new", "check", "update")),
    *("autojudge", "autosteer", "autoevolve"),
    *(f"autoevolve {name}" for name in autoevolve.COMMANDS),
]


@pytest.mark.parametrize("words", WORDS)
def test_help_has_80_columns(capsys: Capsys, monkeypatch: Patch, words: str) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    first, *rest = words.split()
    assert CALLS[first]([*rest, "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: {words} ")
    assert [line for line in shown.splitlines() if len(line) > 80] == []
    alone = len(rest) == (first == "ratchet")
    assert ("xit codes: 0" in shown) is alone
    assert CALLS[first]([*rest, "--bogus"]) == 64
    prefix = " ".join([first, *rest[:1]]) if first == "ratchet" else first
    assert capsys.readouterr().err.startswith(f"{prefix}: ")


def test_a_slip_of_the_finger_is_understood(capsys: Capsys) -> None:
    assert main(["stauts"]) == 64
    assert "did you mean 'status'?" in capsys.readouterr().err


def test_arguments_reach_the_command(capsys: Capsys, monkeypatch: Patch) -> None:
    argv = ["power", "--noise-sd", "1", "--experiments", "2", "--sessions", "2"]
    assert main(argv) == 0
    assert capsys.readouterr().out.startswith("noise floor: ±1\n")
    monkeypatch.setattr(sys, "argv", ["ratchet", "power", "--replicates", "1"])
    assert main() == 65


@pytest.mark.parametrize(
    ("module", "argv", "absent"),
    [
        ("main", ["--version"], "numpy scipy yaml vl_convert"),
        ("autojudge", ["--all", "--row", "1"], "numpy scipy pandas yaml"),
        ("autosteer", ["-q", "--results", "LOG"], "scipy git yaml pandas"),
    ],
)
def test_nothing_is_loaded_before_it_is_needed(
    log: Path, module: str, argv: list[str], absent: str
) -> None:
    words = [str(log) if word == "LOG" else word for word in argv]
    code = (
        f"import sys; from ratchet.cli.{module} import main; main({words!r}); "
        f"sys.exit(bool(set({absent!r}.split()) & set(sys.modules)))"
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
def test_failures(capsys: Capsys, error: BaseException, code: int, said: str) -> None:
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
