"""``ratchet export`` on the command line, and offline files of other trackers."""

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from helpers.autojudge_logs import call, printed
from helpers.commands import Capsys, Patch
from helpers.trials import history, trial
from ratchet.base.errors import InputMissingError
from ratchet.cli.export import (
    WRITERS,
    ExportedExperiment,
    Sheet,
    exported_experiment,
    to_mlflow,
    to_wandb,
)
from ratchet.records.records import Verdict

LOG = (
    "commit\tval_bpb\tmemory_gb\tmfu\tstatus\tdescription\n"
    "a1\t0.99\t44.0\t39.8\tkeep\tbaseline\n"
    "b2\t\t\t\tcrash\tOOM\x1b[2J\n"
    "c3\t0.98\t44.1\t40\tkeep\twider\n"
)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.tsv"
    path.write_text(LOG)
    return path


def test_a_log_goes_to_standard_output(log: Path, capsys: Capsys) -> None:
    out, err = printed(capsys, "ratchet export --results", log, "--to", "results.tsv")
    assert out.splitlines()[1:] == [
        "a1\t0.990000\t44.0\tkeep\tbaseline",
        "b2\t0.000000\t0.0\tcrash\tOOM",
        "c3\t0.980000\t44.1\tkeep\twider",
    ]
    assert "left out: 1 columns that results.tsv does not have (log.mfu)" in err
    out, _ = printed(capsys, "ratchet export --to json --results", log)
    assert len(json.loads(out)["experiments"]) == 3


def test_a_file_is_written_once(log: Path, tmp_path: Path, capsys: Capsys) -> None:
    made = tmp_path / "new" / "made.csv"
    assert call("ratchet export --results", log, "--to", "csv", "-o", made) == 0
    assert made.read_text().splitlines()[1].startswith("0,2,a1,0.99,44.0,keep,")
    before = made.read_bytes()
    assert call("ratchet export --results", log, "--to", "json", "-o", made) == 74
    assert "exists already" in capsys.readouterr().err
    assert call("ratchet export --results", log, "--to", "json", "-o", log) == 74
    assert (made.read_bytes(), log.read_text()) == (before, LOG)
    assert call("ratchet export --results", log, "--to", "json", "-o", log / "x") == 74


def test_an_experiment_of_a_session_keeps_everything() -> None:
    made = trial(1, "data", "wider", Verdict.MARGINAL, mean=0.25, gain=0.5, memory_mb=512.0)
    entry = exported_experiment(made)
    assert (entry.value, entry.memory_gb, entry.status) == (0.25, 0.5, "discard")
    assert (entry.commit, entry.number) == ("commit 1", 1)
    assert entry.fields["gain"] == 0.5
    assert entry.fields["price"] is None
    assert entry.fields["verdict"] == "MARGINAL"
    assert entry.fields["runs"][0]["seed"] == 1
    assert json.loads(json.dumps(entry.fields)) == entry.fields


def test_verdicts_are_the_words_of_results_tsv() -> None:
    words = {v: exported_experiment(trial(1, verdict=v)).status for v in Verdict}
    failed = {Verdict.CRASH, Verdict.TAMPERED}
    assert {v for v, status in words.items() if status == "crash"} == failed
    keeps = {v for v, status in words.items() if status == "keep"}
    assert keeps == {Verdict.KEEP, Verdict.STRONG_KEEP}
    crashed = exported_experiment(trial(1, verdict=Verdict.CRASH))
    assert crashed.value is None and crashed.memory_gb is None
    entry = exported_experiment(history(baseline=(3.0, 5.0)).start)
    assert (entry.number, entry.value, entry.status) == (0, 4.0, "keep")
    assert (entry.fields["verdict"], entry.fields["proposer"]) == ("BASELINE", "")
    assert len(entry.fields["runs"]) == 2


ENTRIES = (
    ExportedExperiment(
        1, 2, "a1", 0.99, 44.0, "keep", "base", None, {"log.mfu": "39.8", "x": True}
    ),
    ExportedExperiment(
        2, 3, "b2", None, None, "crash", "OOM", None, {"runs": [{"seed": 1}], "x": None}
    ),
    ExportedExperiment(3, 4, "c3", 0.98, 44.0, "keep", "w" * 9000),
)
SHEET = Sheet("a/night", "val_bpb", "minimize", ENTRIES, problems=("line 9: expected a status",))


class Client:
    """Stands in for MLflow's client and writes down what it is told."""

    made: "Client"

    def __init__(self, tracking_uri: str) -> None:
        self.uri = tracking_uri
        self.runs: list[dict[str, Any]] = []
        Client.made = self

    def create_experiment(self, name: str, tags: dict[str, str]) -> str:
        self.name, self.tags = name, tags
        return "7"

    def create_run(self, experiment: str, **values: Any) -> Any:
        assert experiment == "7"
        self.runs.append({**values, "metrics": {}})
        return SimpleNamespace(info=SimpleNamespace(run_id=len(self.runs) - 1))

    def log_metric(self, run: int, name: str, value: float, **_: Any) -> None:
        self.runs[run]["metrics"][name] = value

    def set_terminated(self, run: int, status: str, end: int) -> None:
        self.runs[run]["end"] = status


def test_mlflow_gets_a_run_for_each_row(monkeypatch: Patch, tmp_path: Path) -> None:
    tracking = ModuleType("mlflow.tracking")
    tracking.MlflowClient = Client  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mlflow", ModuleType("mlflow"))
    monkeypatch.setitem(sys.modules, "mlflow.tracking", tracking)
    left_out = to_mlflow(SHEET, tmp_path / "out")
    client = Client.made
    assert client.uri == (tmp_path / "out").as_uri()
    assert (client.name, client.tags["direction"]) == ("a night", "minimize")
    first, crashed, long = client.runs
    assert first["metrics"] == {"val_bpb": 0.99, "memory_gb": 44.0, "number": 1, "line": 2}
    assert first["tags"]["log.mfu"] == "39.8"
    assert first["tags"]["x"] == "true"
    assert "val_bpb" not in crashed["metrics"] and "memory_gb" not in crashed["metrics"]
    assert "x" not in crashed["tags"] and crashed["tags"]["runs"] == '[{"seed": 1}]'
    assert (first["end"], crashed["end"]) == ("FINISHED", "FAILED")
    assert len(long["tags"]["description"]) == 5000
    assert left_out == (
        "line 9: expected a status",
        "experiment 3: the last 4000 characters of description",
    )


def test_wandb_gets_a_step_for_each_row(monkeypatch: Patch, tmp_path: Path) -> None:
    steps: list[tuple[int, dict[str, Any]]] = []
    asked: dict[str, Any] = {}
    run = SimpleNamespace(
        log=lambda values, step: steps.append((step, values)), finish=lambda: asked.update(end=True)
    )
    library = ModuleType("wandb")
    library.init = lambda **values: asked.update(values) or run  # type: ignore[attr-defined]
    library.Settings = lambda **values: values  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", library)
    assert to_wandb(SHEET, tmp_path / "out") == SHEET.problems
    assert (asked["mode"], asked["dir"], asked["end"]) == ("offline", str(tmp_path / "out"), True)
    assert [step for step, _ in steps] == [1, 2, 3]
    assert steps[0][1]["val_bpb"] == 0.99
    assert "val_bpb" not in steps[1][1]
    assert len(steps[2][1]["description"]) == 9000


@pytest.mark.parametrize(("name", "package"), [("mlflow", "mlflow-skinny"), ("wandb", "wandb")])
def test_without_the_library_it_says_how_to_get_it(
    name: str, package: str, log: Path, monkeypatch: Patch, tmp_path: Path, capsys: Capsys
) -> None:
    for module in (name, f"{name}.tracking"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputMissingError):
        WRITERS[name](SHEET, tmp_path / "out")
    assert call("ratchet export --results", log, "--to", name, "-o", tmp_path / "out") == 66
    assert f"pip install {package}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("name", "package"), [("mlflow", "mlflow.tracking"), ("wandb", "wandb")])
def test_the_libraries_themselves_write_files(
    name: str, package: str, log: Path, tmp_path: Path
) -> None:
    pytest.importorskip(package)
    out = tmp_path / "out"
    assert call("ratchet export --results", log, "--to", name, "-o", out) == 0
    if name == "mlflow":
        values = [path.read_text().split()[1] for path in out.rglob("metrics/val_bpb")]
        assert sorted(map(float, values)) == [0.98, 0.99]
    else:
        (found,) = out.rglob("*.wandb")
        assert b"val_bpb" in found.read_bytes()
