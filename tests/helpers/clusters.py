"""Environments and boxes of the tests that need more than one machine's Snakemake."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from helpers.boxes import DEFAULTS, REPO, Box


def program(variable: str, make: str) -> str:
    """Snakemake of the environment that a variable names; skips where there is none."""
    folder = os.environ.get(variable)
    if not folder:
        pytest.skip(f"no environment for this: make {make}, and name its folder in {variable}")
    return str(Path(folder) / "bin" / "snakemake")


@dataclass
class Cluster:
    """A Slurm that a box's session runs on."""

    snakemake: str
    partition: str

    def start(self, box: Box, said: Path) -> subprocess.Popen[bytes]:
        """Start the session; what it prints is added to a file."""
        values = {**DEFAULTS, **box.settings}
        command = [
            *(self.snakemake, "-s", str(REPO / "Snakefile")),
            *("--profile", str(REPO / "profiles/slurm")),
            # What a site sets, and the seconds of a test.
            *("--default-resources", f"slurm_partition={self.partition}", "slurm_account=none"),
            *("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "1"),
            *("--seconds-between-status-checks", "1", "--latency-wait", "10"),
            *("--config", *(f"{key}={value}" for key, value in values.items())),
        ]
        with said.open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=box.path,
                env={**os.environ, **box.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
