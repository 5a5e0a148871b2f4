"""What a training asks of the machine that it is sent to, for the rules' resources.

On one machine these say nothing but how many trainings run at once; a cluster
finds the place, and the hour, by them.
"""

from __future__ import annotations

import math

from ratchet.codec import Frozen

DEFAULT_MEMORY_MB = 4000
"""Where a task names no limit: room for the default task and small models; a cluster
that enforces it is told of more by ``limits: memory_mb`` of the task, or by
``--set-resources``."""

HARNESS_MEMORY_MB = 1000
"""What harness, evaluator and Snakemake take beside a run that has a limit."""

BESIDE_A_RUN_SECONDS = 60.0
"""Laying out, evaluating and storing a run; with a slow shared file system too."""

PREPARE_MINUTES = 240
"""Data may have to be fetched and tokenised, once for all sessions."""

START_MINUTES = 5.0
"""Start of a job on a cold node, its interpreter and packages read over the network."""


class Needs(Frozen):
    """Of one task: ``timeout_seconds`` is the longest that one of its runs may take."""

    device: str = "cpu"
    threads: int = 1
    timeout_seconds: float = 0.0
    limit_mb: int | None = None

    @property
    def memory_mb(self) -> int:
        """Memory of a job that runs one training after the other."""
        if self.limit_mb is None:
            return DEFAULT_MEMORY_MB
        return self.limit_mb + HARNESS_MEMORY_MB

    def gpus(self, elsewhere: bool) -> int:
        """How many GPUs a job asks for.

        On one machine this counts trainings, so that not all that are ready start
        at once, with or without a GPU.  Sent ``elsewhere``, a training that needs
        no GPU must not ask for one.
        """
        return int(self.device == "gpu" or not elsewhere)

    def cores(self, elsewhere: bool) -> int:
        """Threads of a job; none on one machine, where ``gpus`` is what limits."""
        return self.threads if elsewhere else 0

    def prepare_minutes(self, attempt: int = 1) -> int:
        """Time limit of the job that prepares the data."""
        return attempt * PREPARE_MINUTES

    def minutes(self, runs: int, attempt: int = 1) -> int:
        """Time limit of a job of so many runs; more for each further attempt."""
        seconds = runs * (self.timeout_seconds + BESIDE_A_RUN_SECONDS)
        return attempt * math.ceil(START_MINUTES + seconds / 60)
