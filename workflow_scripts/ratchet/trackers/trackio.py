"""Runs in trackio: its own folder, or the server or Space that its variables name."""

import os

import trackio

from ratchet.trackers.tracked import TrackedRun
from ratchet.trackers.tracker import TRACKIO_REMOTE


class Tracker:
    """One project; what it has of a name is known where it lies on this machine."""

    def __init__(self, project: str, _group: str) -> None:
        self.project = project
        self._local = not any(os.environ.get(name) for name in TRACKIO_REMOTE)
        self._known = dict[str, trackio.Run]()
        if self._local:
            try:
                runs = list(trackio.Api().runs(project))
            except ValueError:  # there is no such project yet
                runs = []
            for run in runs:
                self._known[str((run.config or {}).get("id", ""))] = run

    def send(self, run: TrackedRun) -> None:
        """Make a run anew, whatever is there of it."""
        if run.id in self._known:
            self._known.pop(run.id).delete()
        made = trackio.init(
            project=self.project,
            name=run.name,
            group=run.group,
            config={**run.config, **run.texts, "id": run.id},
            resume="never" if self._local else "allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )
        last = -1
        for last, values in run.points:
            made.log(values, step=last)
        made.log(run.numbers, step=last + 1)
        trackio.finish()
        # It warns of what it could not write, and goes on.
        if self._local and all(each.name != run.name for each in trackio.Api().runs(self.project)):
            raise OSError(f"trackio has not written the run {run.name!r}")

    def close(self) -> None:
        """Nothing is held."""
