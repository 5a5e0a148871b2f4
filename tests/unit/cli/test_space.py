"""The command `ratchet space`: whose ranges it prints, and in what form."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from helpers import FAKE, REPO
from helpers.autojudge_logs import call
from helpers.boxes import Box
from helpers.clones import Clone
from helpers.repositories import TRACKED, TRAIN
from ratchet.task.task import _space_faults

UPSTREAM = TRAIN.replace(
    "\nrandom.seed", "TOTAL_BATCH_SIZE = 2**19\nADAM_BETAS = (0.8, 0.95)\n\nrandom.seed"
)


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert call("ratchet space", *words) == 0
    return capsys.readouterr().out


def test_a_derived_space_is_ready_to_be_declared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(FAKE, tmp_path / "fake"))
    text = printed(capsys, "--task", str(folder))
    assert text.startswith("# Derived from the code of task fake")
    assert "  - constant: RATE  # 0.1\n    category: hyperparams\n    range: [0.01, 1.0]\n" in text
    found = yaml.safe_load(text)
    assert not list(_space_faults(found))
    path = folder / "task.yaml"
    task = yaml.safe_load(path.read_text())
    task["search_space"] += found["search_space"]
    path.write_text(yaml.safe_dump(task))
    again = printed(capsys, "--task", str(folder))
    assert again.startswith("# Declared by task fake")
    assert yaml.safe_load(again) == found


def test_a_repository_needs_no_definition_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Clone(tmp_path / "clone").commit({**TRACKED, "train.py": UPSTREAM})
    task = f"{{repo: {tmp_path / 'clone'}}}"
    found = json.loads(printed(capsys, "--task", task, "--json", "--root", str(tmp_path)))
    assert (found["declared"], found["files"]) == (False, ["train.py"])
    values = {entry["constant"]: entry["value"] for entry in found["search_space"]}
    assert values == {
        **{"ASPECT_RATIO": 64, "MATRIX_LR": 0.04, "WEIGHT_DECAY": 0.2, "DEPTH": 8},
        "TOTAL_BATCH_SIZE": 2**19,
    }
    (batch,) = (e for e in found["search_space"] if e["constant"] == "TOTAL_BATCH_SIZE")
    assert (batch["range"], batch["power_of"]) == ([2**17, 2**21], 2)


def test_files_and_the_incumbent_of_a_session(
    finished: Box, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(FAKE / "train.py"), str(REPO / "tasks/textclf/config.yaml")]
    text = printed(capsys, *files)
    assert {"RATE", "learning_rate"} <= {
        e["constant"] for e in yaml.safe_load(text)["search_space"]
    }
    words = ("default", "--json", "--root", str(finished.path))
    found = json.loads(printed(capsys, *words, "--config", "task=tasks/fake"))
    assert found["of"] == "task fake, in session default"
    values = {entry["constant"]: entry["value"] for entry in found["search_space"]}
    best = finished.git("show", "ratchet/default:train.py")
    for name in ("RATE", "WIDTH", "DECAY"):
        assert f"{name} = {values[name]!r}\n" in best


def test_files_without_a_constant_have_no_range(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.py").write_text("print(1)\n")
    assert call("ratchet space", str(tmp_path / "a.py")) == 0
    said = capsys.readouterr()
    assert yaml.safe_load(said.out) == {"search_space": []}
    assert "no constant of these files" in said.err
