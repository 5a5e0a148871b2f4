"""Facts of a task that stand in its own folder."""

from pathlib import Path

import pytest
import yaml

from helpers import load_task
from ratchet.base.errors import ConfigError
from ratchet.task.task import Seeding

TRAIN = "import os\nLR = 0.1\nprint('val_loss: 1')\n"
LEAST = {"command": ["python", "train.py"], "metric": {"name": "val_loss", "direction": "minimize"}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "my model (2)"
    (place / "pkg").mkdir(parents=True)
    for name in ("train.py", "pkg/__init__.py", "pkg/fit.py"):
        (place / name).write_text(TRAIN)
    return place


def define(folder: Path, **values: object) -> None:
    (folder / "task.yaml").write_text(yaml.safe_dump({**LEAST, **values}))


def test_a_task_needs_a_command_and_a_metric_alone(folder: Path) -> None:
    define(folder)
    task = load_task(folder)
    assert (task.name, task.mutable, task.fixed) == ("my-model-2", ("train.py",), ())
    assert (task.brief, task.environment, task.files) == ("", None, ("train.py",))
    assert (task.budget_steps, task.budget_fixed, task.timeout_seconds) == (1, True, 3600)
    assert (task.seeding, task.clone) == (Seeding(hook=True), folder)
    (folder / "program.md").write_text("# mine\n")
    assert load_task(folder).brief == "program.md"


@pytest.mark.parametrize(
    ("text", "budget", "seconds", "seed"),
    [
        ("TIME_BUDGET = 60", {"seconds": 300, "fixed": True}, 900, "hook"),
        ("x['RATCHET_BUDGET_SECONDS']; x['RATCHET_SEED']", {"seconds": 300}, 900, "environment"),
        ("print('training_seconds: 3')", {"steps": 1, "fixed": True}, 3600, "hook"),
    ],
)
def test_defaults_go_by_what_the_files_read(folder, text, budget, seconds, seed) -> None:
    (folder / "train.py").write_text(text)
    define(folder)
    values = load_task(folder).values
    assert (values["budget"], values["timeout_seconds"], values["seed"]) == (budget, seconds, seed)


def test_a_limit_grows_with_the_budget_that_is_given(folder: Path) -> None:
    define(folder, budget={"seconds": 1})
    assert load_task(folder).timeout_seconds == 60


@pytest.mark.parametrize(
    ("command", "mutable"),
    [
        (["python", "-m", "pkg.fit", "--x"], "pkg/fit.py"),
        (["python", "./train.py", "pkg/fit.py"], "train.py"),
        (["sh", "-c", "make && ./fit", "pkg/fit.py"], "pkg/fit.py"),
    ],
)
def test_the_script_of_the_command_is_mutable(folder, command, mutable) -> None:
    define(folder, command=command)
    assert load_task(folder).mutable == (mutable,)


@pytest.mark.parametrize("command", [["make", "run"], ["python", "../x.py"], ["sh", "pkg"]])
def test_a_command_without_a_script_says_what_to_name(folder, command) -> None:
    define(folder, command=command)
    with pytest.raises(ConfigError, match="'mutable' is missing, and no word of `command`"):
        load_task(folder)


def test_folders_of_a_task_stand_for_their_files(folder: Path) -> None:
    define(folder, fixed=["pkg/"])
    (folder / "pkg" / "__pycache__").mkdir()
    (folder / "pkg" / "__pycache__" / "fit.pyc").write_text("")
    assert load_task(folder).fixed == ("pkg/__init__.py", "pkg/fit.py")


def test_an_interpreter_of_the_folder_counts_before_the_harness_s(folder: Path) -> None:
    define(folder, python="envs/mine")
    assert load_task(folder, folder.parent).python == folder.parent / "envs" / "mine"
    (folder / "envs" / "mine").mkdir(parents=True)
    assert load_task(folder, folder.parent).python == folder / "envs" / "mine"
