"""Logs to judge, and calls of the command line, for its tests."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from helpers import REPO, SHARED
from ratchet.cli.autojudge import main

PACKAGES = REPO / "workflow_scripts"
CORPUS = SHARED / "corpus"
HEADER = "commit\tval_bpb\tmemory_gb\tstatus\tdescription\n"

MAIN_FIELDS = """verdict confidence val_bpb prev_best delta delta_pct noise_floor
    on_pareto_frontier suggestion experiment reason exit_code"""


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


def run_log(log: Path, text: str) -> Path:
    path = log.with_name("run.log")
    path.write_text(text)
    return path


def call(*options: object) -> int:
    return main([str(option) for option in options])


def judged(log: Path, value: float, *options: object) -> int:
    run = run_log(log, f"---\nval_bpb: {value}\npeak_vram_mb: 45056.0\n")
    return call("--results", log, "--run", run, *options)


def fields(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)
