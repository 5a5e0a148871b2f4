"""How commands start the workflow, and what its end means for them."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers import REPO
from ratchet.base.errors import ANOTHER_SESSION, THIS_SESSION, UsageError
from ratchet.cli.main import CommandParser, spelled
from ratchet.cli.sessions import WorkflowError, add_options, setting

CALL = """
import sys
from pathlib import Path
from ratchet.cli.main import run_command
from ratchet.cli.sessions import snakemake
sys.executable = sys.argv[1]
call = lambda _: snakemake(Path(), Path(), {"a": "two words"}, ["target"], 2)
sys.exit(run_command("x", call, []))
"""
PROGRAM = """#!/bin/sh
trap 'echo ended > ended; exit 7' TERM
echo "$@" > words
while [ ! -e go ]; do sleep 0.05; done
exit 3
"""


def test_values_reach_snakemake_as_they_are() -> None:
    values = {"a": "word", "b": "two words ü", "c": None, "d": ["x", "y"], "e": 1.5}
    shown = {key: setting(value) for key, value in values.items()}
    assert shown == {"a": "word", "b": '"two words ü"', "c": "null", "d": '["x", "y"]', "e": "1.5"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], []),
        (["night"], ['session="night"']),
        (["session=night", "rounds=3"], ['session="night"', "rounds=3"]),
        (["task=a/b", "--config", "rounds=3"], ["task=a/b", "rounds=3"]),
    ],
)
def test_bare_words_are_a_session_and_settings(words: list[str], expected: list[str]) -> None:
    parser = CommandParser("ratchet x", "What it does.\n")
    add_options(parser, named=True)
    assert parser.parse_args(words).config == expected
    with pytest.raises(UsageError, match="one session, found a, b"):
        parser.parse_args(["a", "b"])


@pytest.mark.parametrize(
    ("number", "code"), [(None, 3), (signal.SIGTERM, 143), (signal.SIGINT, 130)]
)
def test_a_signal_ends_the_workflow_first(
    tmp_path: Path, number: signal.Signals | None, code: int
) -> None:
    program, words = tmp_path / "python", tmp_path / "words"
    program.write_text(PROGRAM)
    program.chmod(0o755)
    process = subprocess.Popen(
        [sys.executable, "-c", CALL, str(program)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(REPO / "workflow_scripts"), "PATH": "/usr/bin:/bin"},
        # Of a shell's background job an interrupt is ignored, and so would be its children's.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    limit = time.monotonic() + 60
    while not (words.exists() and words.read_text()):
        assert time.monotonic() < limit
        time.sleep(0.02)
    shown = words.read_text()
    assert "-m snakemake" in shown
    assert '--cores 2 --resources gpu=2 --quiet all --config a="two words" -- target' in shown
    if number is not None:
        process.send_signal(number)
    if number != signal.SIGTERM:
        (tmp_path / "go").touch()  # an interrupt comes from the terminal, to Snakemake too
    assert process.wait(60) == code
    assert (tmp_path / "ended").exists() is (number == signal.SIGTERM)


@pytest.mark.parametrize(
    ("code", "least", "said"),
    [(1, 64, 75), (2, 64, 75), (65, 64, 65), (130, 64, 130), (-9, 64, 137), (1, 1, 1)],
)
def test_a_workflow_that_stops_is_no_verdict(code: int, least: int, said: int) -> None:
    error = WorkflowError("round 3 did not finish", code, least)
    assert error.exit_code == said
    assert str(error).endswith("the reason is above, the same command goes on")


def test_messages_name_the_session_that_they_are_about(tmp_path: Path) -> None:
    place = tmp_path / "results" / "night"
    place.mkdir(parents=True)
    said = spelled(f"{place}/x.json: is bad; {THIS_SESSION} rounds=2")
    assert said.startswith(f"{place}/x.json: is bad; snakemake -s {REPO}/Snakefile --directory ")
    assert said.endswith(f" {tmp_path} --cores 1 --config session=night rounds=2")
    assert spelled(f"{place}/x.json: {ANOTHER_SESSION}").endswith("session=night-2")
    assert spelled("task.yaml: is bad") == "task.yaml: is bad"
