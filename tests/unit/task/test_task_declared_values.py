"""What a task declares beside its files: seeds, patterns, constraints, caches, variables."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from helpers import REPO
from helpers.run_plans import launch
from ratchet.base.errors import ConfigError
from ratchet.records.records import Outcome
from ratchet.task.task import Cache, Constraint, Seeding, load_task

FAKE = REPO / "tests" / "data" / "tasks" / "fake"
METRIC = "metric: {name: val_loss, direction: minimize, unit: nats}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FAKE, tmp_path / "fake"))


def add(folder: Path, *lines: str) -> None:
    path = folder / "task.yaml"
    path.write_text(path.read_text() + "\n" + "\n".join(lines) + "\n")


def test_what_is_declared_is_read(folder: Path) -> None:
    path = folder / "task.yaml"
    pattern = "{name: val_loss, pattern: 'loss (.+)', direction: maximize}"
    path.write_text(path.read_text().replace(METRIC, f"metric: {pattern}"))
    add(
        folder,
        "target: 0.5",
        "printed: {size: 'Parameters: (\\d+)'}",
        "constraints: [{name: size, max: 60}, {name: wall_seconds, max: 310}]",
        "variables: {HF_HUB_OFFLINE: '1'}",
        "cache: [~/.cache/x, {folder: data, optional: true}]",
        "seed: {argument: '--seed={seed}'}",
    )
    task = load_task(folder, REPO)
    assert task.patterns == {"val_loss": "loss (.+)", "size": r"Parameters: (\d+)"}
    assert task.target == 0.5
    assert task.constraints == (Constraint("size", max=60), Constraint("wall_seconds", max=310))
    assert task.variables == {"HF_HUB_OFFLINE": "1"}
    assert task.caches == (Cache("~/.cache/x"), Cache("data", optional=True))
    assert task.seeding == Seeding(argument="--seed={seed}")
    # Names and words that a candidate has no business to print.
    assert task.printed == ("peak_mem_mb", "size", "Parameters:", "loss")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("printed: {val_loss: 'x(.)'}", "printed.val_loss: is the metric"),
        ("printed: {size: 'x'}", "printed.size: expected exactly one group"),
        ("printed: {size: '(?=a)(b)'}", "printed.size: expected a regular expression of RE2"),
        ("constraints: [{name: size}]", "constraints.0: give min, max or both"),
        ("constraints: [{name: a, min: 2, max: 1}]", "constraints.0: min is more than max"),
        ("constraints: [{name: val_loss, max: 1}]", "constraints.0: val_loss is the metric"),
        ("constraints: [{name: a, most: 1}]", "unknown key 'most'"),
        ("variables: {HOME: x}", "variables: HOME is set otherwise"),
        ("variables: {RATCHET_SEED: x}", "variables: RATCHET_SEED is set otherwise"),
        ("seed: {variable: OMP_NUM_THREADS}", "OMP_NUM_THREADS is set otherwise"),
        ("seed: both", "seed: expected one of environment, hook, found 'both'"),
        ("seed: {argument: --seed}", "expected a word with {seed} in it"),
        ("seed: {number: 3}", "unknown key 'number'"),
        ("seed: {variable: A, constant: B}", "seed: expected"),
        ("cache: [a/../b]", "a folder, without .."),
        ("commit: main", "works only with a `repo`"),
        ("target: high", "target: expected a number"),
    ],
)
def test_mistakes_are_named(folder: Path, line: str, words: str) -> None:
    add(folder, line)
    with pytest.raises(ConfigError, match=re.escape(words)) as caught:
        load_task(folder, REPO)
    assert "task.yaml" in str(caught.value)


def test_a_cache_holds_none_of_the_tasks_files(folder: Path) -> None:
    (folder / "lib").mkdir()
    (folder / "lib" / "a.py").touch()
    path = folder / "task.yaml"
    path.write_text(path.read_text().replace("fixed: [prepare.py]", "fixed: [lib/a.py]"))
    add(folder, "cache: [lib]")
    with pytest.raises(ConfigError, match=r"cache: lib holds the file lib/a\.py of the task"):
        load_task(folder, REPO)


def test_a_preparation_makes_something(folder: Path) -> None:
    path = folder / "task.yaml"
    lines = path.read_text().split("data:\n")
    path.write_text(lines[0] + "budget:" + lines[1].split("budget:")[1])
    with pytest.raises(ConfigError, match="prepare: makes neither files of `data` nor a `cache`"):
        load_task(folder, REPO)
    add(folder, "cache: [~/.cache/x]")
    assert load_task(folder, REPO).fills_caches


SOURCE = """
import os, sys
SEED = 1337  # a number of its own
print("val:", {value})
"""


@pytest.mark.parametrize(
    ("way", "value"),
    [
        ({"variable": "MY_SEED"}, "int(os.environ['MY_SEED'])"),
        ({"argument": "--seed={seed}"}, "int(sys.argv[1].removeprefix('--seed='))"),
        ({"constant": "SEED"}, "SEED"),
    ],
)
def test_a_run_learns_its_seed(tmp_path: Path, way: dict[str, str], value: str) -> None:
    source = SOURCE.format(value=value)
    record = launch(tmp_path, tmp_path, source, seed=77, seeding=Seeding.of(way))
    assert record.outcome is Outcome.OK
    assert record.metrics["val"] == 77
    # What is kept of the candidate is its own code.
    assert (tmp_path / "source" / "train.py").read_text() == source


def test_a_seed_can_be_a_key_of_yaml(tmp_path: Path) -> None:
    source = "print('val:', open('config.yaml').read().split()[1])"
    sources = {"train.py": source.encode(), "config.yaml": b"seed: 1  # ours\n"}
    seeding = Seeding(constant="seed")
    record = launch(tmp_path, tmp_path, source, sources=sources, seed=9, seeding=seeding)
    assert record.metrics["val"] == 9


def test_a_metric_is_found_by_its_pattern_alone(tmp_path: Path) -> None:
    source = "print('val: 0.1'); print('Validation accuracy: 82%'); print('---'); print('n: 3')"
    patterns = {"val": r"accuracy: (\S+)", "none": r"never (\d)"}
    record = launch(tmp_path, tmp_path, source, patterns=patterns)
    assert record.outcome is Outcome.OK
    assert record.metrics == {"val": 82.0, "n": 3.0}
    other = tmp_path / "other"
    other.mkdir()
    record = launch(other, other, "print('val: 0.1')", patterns=patterns)
    assert record.outcome is Outcome.NO_METRIC
