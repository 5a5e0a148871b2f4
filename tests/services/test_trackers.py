"""The trackers themselves, in their local modes: exactly the runs of the store, whatever is killed.

``RATCHET_TRACKERS`` names the interpreter of an environment that has their packages.
"""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from helpers import REPO
from helpers.boxes import Box
from helpers.tracked import CURVE_STEPS

PYTHON = os.environ.get("RATCHET_TRACKERS", "")
NAMES = ("trackio", "wandb", "mlflow")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON, reason="RATCHET_TRACKERS names no Python: make env-trackers"),
]

READ = """
import glob, json, os, struct, sys
found = {name: [] for name in sys.argv[1:]}
if "trackio" in found:
    import trackio
    from trackio.sqlite_storage import SQLiteStorage
    runs = trackio.Api().runs("ratchet-fake")
for run in runs if "trackio" in found else ():
    logs = SQLiteStorage.get_logs("ratchet-fake", run.name, run_id=run.id)
    losses = [log["train/loss"] for log in logs if "train/loss" in log]
    last = logs[-1]
    found["trackio"].append([run.config["key"], last.get("val_loss"), run.config.get("verdict"),
        run.config.get("verdict_reason"), run.config["seed"], run.config["_Group"], losses])
from mlflow.tracking import MlflowClient
client = MlflowClient()
experiment = client.get_experiment_by_name("ratchet-fake").experiment_id
for run in client.search_runs([experiment]):
    losses = [m.value for m in client.get_metric_history(run.info.run_id, "train/loss")]
    data = run.data
    found["mlflow"].append([data.params["key"], data.metrics.get("val_loss"),
        data.tags.get("verdict"), data.tags.get("verdict_reason"), int(data.params["seed"]),
        data.tags["ratchet.session"], losses])
from wandb.proto.wandb_internal_pb2 import Record
def records(path):
    data, place, parts = open(path, "rb").read(), 7, b""
    while place + 7 <= len(data):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
        _, size, kind = struct.unpack("<IHB", data[place : place + 7])
        parts += data[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):
            record = Record()
            record.ParseFromString(parts)
            parts = b""
            yield record
def items(update):
    return {i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in update}
for folder in glob.glob("wandb/offline-run-*") if "wandb" in found else ():
    config, summary, losses, group = {}, {}, [], ""
    for record in records(glob.glob(folder + "/*.wandb")[0]):
        if record.HasField("run"):
            config.update(items(record.run.config.update))
            group = record.run.run_group
        config.update(items(record.config.update))
        summary.update(items(record.summary.update))
        losses += [v for k, v in items(record.history.item).items() if k == "train/loss"]
    found["wandb"].append([config["key"], summary.get("val_loss"), summary.get("verdict"),
        summary.get("verdict_reason"), config["seed"], group, losses])
print(json.dumps(found))
"""


def variables(folder: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(REPO / "tests"),
        "TRACKIO_DIR": str(folder / "trackio"),
        "WANDB_MODE": "offline",
        "WANDB_ERROR_REPORTING": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "HF_HUB_OFFLINE": "1",
    }


def played(folder: Path, *words: str, trackers: str = ",".join(NAMES)) -> int:
    command = [PYTHON, "-m", "helpers.tracked", str(folder), trackers, *words]
    done = subprocess.run(command, env=variables(folder), capture_output=True, check=False)
    return done.returncode


def sending(box: Box) -> list[int]:
    """Processes that send runs of the box."""
    return [pid for pid, line in box.processes().items() if "tracker.py" in line]


def quiet(box: Box) -> None:
    """Wait until nobody sends runs of the box any more."""
    with (box.session / "trackers/lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)


def kept(folder: Path, *names: str) -> dict[str, list[Any]]:
    """What each tracker has, by its own reading: key, values, curve."""
    command = [PYTHON, "-c", READ, *names]
    own = variables(folder)
    done = subprocess.run(command, cwd=folder, env=own, capture_output=True, text=True, check=True)
    found: dict[str, list[Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_each_has_the_runs_of_the_store_after_kills(tmp_path: Path) -> None:
    folder = tmp_path / "box"
    # In the sixth run the session is killed as nothing else could be.
    assert played(folder, "6") == -signal.SIGKILL
    box = Box(folder)
    # So are those who send, at whatever they are: the session had some runs for them.
    first = box.session / "trackers/trackio.sent"
    limit = time.monotonic() + 300
    while not first.exists() and time.monotonic() < limit:
        time.sleep(0.05)
    for pid in sending(box):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert len(box.runs()) == 5
    assert played(folder) == 0
    quiet(box)
    assert box.events("tracker_failed") == []
    expected = {}
    for key in box.runs():
        record = box.path / "store/runs" / key[:2] / key / "run.json"
        expected[key] = json.loads(record.read_text())["record"]["metrics"].get("val_loss")
    rulings = {run["key"]: ruling for ruling in box.rulings() for run in ruling["runs"]}
    found = kept(folder, *NAMES)
    for name in NAMES:
        assert len(found[name]) == len(expected) > 15, name
        assert {key: value for key, value, *_ in found[name]} == expected, name
        for key, _, verdict, reason, seed, group, losses in found[name]:
            ruling = rulings.get(key)
            assert verdict == (ruling and ruling["verdict"]), name
            assert reason == (ruling and " ".join(ruling["reason"].split())[:500]), name
            if ruling:
                assert seed in {run["seed"] for run in ruling["runs"]}
            assert group == "default"
            assert losses == [pytest.approx(2.0 / (n + 1), 1e-5) for n in range(CURVE_STEPS)]
    # A tracker has no run twice, even where nothing is known of what it was sent.
    (box.session / "trackers/mlflow.sent").unlink()
    export = [PYTHON, "-m", "ratchet.cli.main", "export", "default", "--config", "task=tasks/fake"]
    own = {**variables(folder), "RATCHET_HARNESS": str(REPO)}
    command = [*export, "--to", "mlflow"]
    done = subprocess.run(command, cwd=folder, env=own, capture_output=True, text=True)
    assert f"sent {len(expected)} runs to mlflow" in done.stderr, done.stderr
    assert len(kept(folder, "mlflow")["mlflow"]) == len(expected)
