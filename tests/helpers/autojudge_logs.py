"""Logs to judge, and calls of the command lines that judge them."""

from __future__ import annotations

import importlib
import json
import random
import shlex
from typing import Any

import pytest

from helpers import REPO, SHARED

PACKAGES = REPO / "workflow_scripts"
CORPUS = SHARED / "corpus"
REFERENCE = CORPUS / "sessions" / "karpathy__autoresearch__mar8.tsv"
needs_logs = pytest.mark.skipif(
    not REFERENCE.exists(), reason="the collection of real logs is not here"
)
HEADER = "commit\tval_bpb\tmemory_gb\tstatus\tdescription\n"


def row(number: int, value: float | str, status: str, text: str = "change") -> str:
    shown = value if isinstance(value, str) else f"{value:.6f}"
    return f"{number:07x}\t{shown}\t44.0\t{status}\t{text} {number}\n"


def history(candidates: int = 20, sign: int = 1, offset: float = 0.0) -> str:
    """A log with noise 3e-4, two runs of the baseline and mostly useless candidates."""
    noise = random.Random(7)
    text = HEADER + row(0, offset + sign * 0.9980, "keep", "baseline")
    text += row(1, offset + sign * 0.9983, "discard", "re-run of the baseline")
    best = 0.9980
    for number in range(2, 2 + candidates):
        value = 0.9980 + abs(noise.gauss(0.002, 0.002)) + noise.gauss(0, 3e-4)
        status = "keep" if value < best else "discard"
        best = min(best, value)
        text += row(number, offset + sign * value, status)
    return text


def call(program: str, *options: object) -> int:
    """Exit code of a command line in this process; ``program`` may hold its first words too."""
    name, *words = shlex.split(program)
    module = importlib.import_module(f"ratchet.cli.{'main' if name == 'ratchet' else name}")
    return int(module.main([*words, *map(str, options)]))


def printed(capsys: pytest.CaptureFixture[str], program: str, *options: object) -> tuple[str, str]:
    """Both outputs of a command line that succeeds."""
    capsys.readouterr()
    assert call(program, *options) == 0
    return capsys.readouterr()


def answer(capsys: pytest.CaptureFixture[str], program: str, *options: object) -> Any:
    """JSON that a command line prints, whatever its exit code."""
    capsys.readouterr()
    call(program, *options, "--json")
    return json.loads(capsys.readouterr().out)
