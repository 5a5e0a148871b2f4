"""Runs in Weights & Biases: online where it is logged in, else offline files for `wandb sync`."""

import os
import shutil
from pathlib import Path
from typing import Any

import wandb

from ratchet.trackers.tracked import TrackedRun


class Tracker:
    """One project.  A run's id is its own, so that the service has no second one."""

    def __init__(self, project: str, _group: str) -> None:
        self.project = project
        self._mode: Any = os.environ.get("WANDB_MODE")
        if not self._mode:
            self._mode = "online" if wandb.login(prompt=False) else "offline"

    def send(self, run: TrackedRun) -> None:
        """Make a run, or go on with what was begun of it."""
        if self._mode == "offline":
            # What a kill left half written would be synced beside the whole.
            folder = Path(wandb.setup().settings.wandb_dir)
            for begun in folder.glob(f"offline-run-*-{run.id}"):
                shutil.rmtree(begun)
        made = wandb.init(
            project=self.project,
            group=run.group,
            job_type=run.kind or None,
            id=run.id,
            name=run.name,
            config=dict(run.config),
            mode=self._mode,
            resume="allow",
            # No picture of this process: it is not what trained.
            settings=wandb.Settings(
                console="off",
                silent=True,
                disable_git=True,
                save_code=False,
                x_disable_meta=True,
                x_save_requirements=False,
                x_disable_stats=True,
            ),
        )
        for step, values in run.points:
            made.log(values, step=step)
        made.summary.update(dict(run.summary))
        made.finish(exit_code=int(run.failed))

    def close(self) -> None:
        """End the service that writes."""
        wandb.teardown()
