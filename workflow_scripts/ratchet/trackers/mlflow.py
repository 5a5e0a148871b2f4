"""Runs in MLflow: where `MLFLOW_TRACKING_URI` says, else where MLflow puts them by itself."""

import logging
from collections.abc import Iterable

from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.tracking import MlflowClient

from ratchet.trackers.tracked import TrackedRun

ID, SESSION = "ratchet.id", "ratchet.session"


class Tracker:
    """One experiment; each run carries its id and its session as tags."""

    def __init__(self, project: str, group: str) -> None:
        logging.getLogger("mlflow").setLevel(logging.ERROR)
        self._client = MlflowClient()
        found = self._client.get_experiment_by_name(project)
        self._experiment = found.experiment_id if found else self._client.create_experiment(project)
        self._known = {run.data.tags[ID]: run.info.run_id for run in self._runs_of(group)}

    def _runs_of(self, group: str) -> Iterable[Run]:
        wanted, token = f"tags.`{SESSION}` = '{group}'", None
        while True:
            page = self._client.search_runs([self._experiment], wanted, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def send(self, run: TrackedRun) -> None:
        """Make a run anew, whatever is there of it."""
        if run.id in self._known:
            self._client.delete_run(self._known.pop(run.id))
        started, ended = (int(1000 * (time or 0)) for time in (run.started, run.ended))
        tags = {ID: run.id, SESSION: run.group}
        made = self._client.create_run(
            self._experiment, start_time=started, tags=tags, run_name=run.name
        ).info.run_id
        metrics = [
            Metric(name, value, started + int(1000 * values.get("train/seconds", 0)), step)
            for step, values in run.points
            for name, value in values.items()
        ]
        metrics += [Metric(_plain(name), value, ended, 0) for name, value in run.numbers.items()]
        # Names that MLflow cannot tell apart are one.
        settings = {_plain(name): str(value) for name, value in run.config.items()}
        params = [Param(name, value) for name, value in settings.items()]
        # As many as the server takes at once.
        for first in range(0, len(metrics), 1000):
            self._client.log_batch(made, metrics=metrics[first : first + 1000])
        for first in range(0, len(params), 100):
            self._client.log_batch(made, params=params[first : first + 100])
        self._client.log_batch(made, tags=[RunTag(_plain(n), v) for n, v in run.texts.items()])
        self._client.set_terminated(made, "FAILED" if run.failed else "FINISHED", ended)

    def close(self) -> None:
        """Nothing is held."""


def _plain(name: str) -> str:
    """A name of characters that MLflow takes."""
    text = "".join(c if c.isalnum() or c in "_-. /" else "_" for c in name)[:250]
    # Nor a path that has a shorter form.
    return "/".join(part for part in text.split("/") if part.strip(".")) or "_"
