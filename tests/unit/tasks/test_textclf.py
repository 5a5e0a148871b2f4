"""The task tasks/textclf: its data, its settings, what it prints."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from helpers import REPO, import_modules
from ratchet.records.paths import StorePaths
from ratchet.task.edits import applicable_changes
from ratchet.task.repository import find_task
from ratchet.task.task import search_patterns

TASK = REPO / "tasks" / "textclf"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("textclf") / "data"
    words = [sys.executable, "-B", str(TASK / "prepare.py"), "--out", str(folder)]
    subprocess.run(words, check=True, capture_output=True)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("prepare.py", "train.py", "config.yaml", "serving.py"):
        shutil.copy(TASK / name, tmp_path / name)
    return tmp_path


def train(folder: Path, data: Path, seed: int = 1) -> subprocess.CompletedProcess[str]:
    settings = {"RATCHET_DATA": str(data), "RATCHET_SEED": str(seed), "RATCHET_BUDGET_STEPS": "200"}
    return subprocess.run(
        [sys.executable, "train.py"],
        cwd=folder,
        env={**os.environ, **settings, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def modules(folder: Path) -> dict[str, ModuleType]:
    return import_modules(folder, ("prepare", "train"))


def set_to(folder: Path, old: str, new: str) -> None:
    path = folder / "config.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_no_text_is_in_both_splits(data: Path) -> None:
    splits = [(data / f"{name}.tsv").read_text().splitlines() for name in ("train", "val")]
    assert [len(lines) for lines in splits] == [1806, 775]
    train, val = ({line.split("\t")[1] for line in lines} for lines in splits)
    assert not train & val
    assert len({line.split("\t")[0] for line in splits[1]}) == 6


def test_the_task_reads_what_it_prints(folder: Path, data: Path, tmp_path: Path) -> None:
    task = find_task("tasks/textclf", REPO, REPO, StorePaths(tmp_path / "store"))
    first, again, other = (train(folder, data, seed).stdout for seed in (1, 1, 2))
    found = search_patterns(first, task.patterns)
    assert 0.7 < found["accuracy"] < task.target < 0.9
    assert found["parameters"] == 2048 * 32 + 32 + 32 * 6 + 6
    assert task.memory_mb(found) > 10
    assert search_patterns(again, task.patterns)["accuracy"] == found["accuracy"]
    assert search_patterns(other, task.patterns)["accuracy"] != found["accuracy"]
    set_to(folder, "batch_size: 16", "batch_size: 64")
    assert search_patterns(train(folder, data).stdout, task.patterns)["accuracy"] > task.target


SCORES = """
import json, numpy as np, prepare
SEEN = []
def score(texts):
    SEEN.append(texts)
    scores = np.zeros((len(texts), 6))
    for row, text in zip(scores, texts):
        row[len(text) % 6] = {value}
    return scores
value = prepare.evaluate(score)
print(json.dumps([value, SEEN[0]]))
"""


def evaluated(folder: Path, data: Path, served: bool, value: str) -> tuple[list, list]:
    """What is printed where guesses follow the length of a text, and what the evaluator says."""
    environment = {**os.environ, "RATCHET_DATA": str(data)}
    own, other = socket.socketpair()
    events = []
    with own, other:
        if served:
            order = {"data": {"val.tsv": str(data / "val.tsv")}, "audit": {}, "reply_seconds": 30}
            trusted = subprocess.Popen(
                [sys.executable, TASK / "evaluator.py"],
                env={
                    **os.environ,
                    "RATCHET_EVALUATOR_FD": str(other.fileno()),
                    "RATCHET_EVALUATION": json.dumps(order),
                },
                pass_fds=[other.fileno()],
                stdout=subprocess.PIPE,
                text=True,
            )
            environment["RATCHET_EVALUATOR_FD"] = str(own.fileno())
            environment["RATCHET_DATA"] = str(folder / "none")
        done = subprocess.run(
            [sys.executable, "-c", SCORES.format(value=value)],
            cwd=folder,
            env=environment,
            pass_fds=[own.fileno()],
            capture_output=True,
            text=True,
            check=True,
        )
    if served:
        events = [json.loads(line) for line in trusted.communicate()[0].splitlines()]
    return json.loads(done.stdout), events


def test_no_topic_leaves_the_evaluator(folder: Path, data: Path) -> None:
    (by_hand, texts), _ = evaluated(folder, data, served=False, value="1.0")
    (value, seen), events = evaluated(folder, data, served=True, value="1.0")
    assert value == by_hand > 0.1
    assert sorted(seen) == sorted(texts)
    assert seen != texts, "the order of the file tells the topics"
    assert [event["event"] for event in events] == ["ready", "asked", "result"]
    assert (events[-1]["value"], events[-1]["tokens"]) == (value, 775)
    (value, _), events = evaluated(folder, data, served=True, value="np.nan")
    assert value != value
    assert events[-1]["value"] is None


def test_an_evaluator_that_is_left_alone_says_so(data: Path) -> None:
    own, other = socket.socketpair()
    order = {"data": {"val.tsv": str(data / "val.tsv")}, "audit": {}, "reply_seconds": 30}
    environment = {
        "RATCHET_EVALUATOR_FD": str(other.fileno()),
        "RATCHET_EVALUATION": json.dumps(order),
    }
    with other:
        own.sendall(b"evaluate" + bytes(9))
        own.shutdown(socket.SHUT_WR)
        done = subprocess.run(
            [sys.executable, TASK / "evaluator.py"],
            env={**os.environ, **environment},
            pass_fds=[other.fileno()],
            capture_output=True,
            text=True,
            check=True,
        )
    own.close()
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["event"] == "failed"
    assert "sent more than it was asked for, or went away" in last["reason"]


def test_every_declared_change_is_one_that_the_code_accepts(tmp_path: Path) -> None:
    task = find_task("tasks/textclf", REPO, REPO, StorePaths(tmp_path / "store"))
    files = {"config.yaml": (TASK / "config.yaml").read_text()}
    drafts = list(applicable_changes(task.search_space, files))
    assert len(drafts) == sum(len(change.values) for change in task.search_space)
    path = tmp_path / "config.yaml"
    for draft in drafts:
        path.write_text(draft.contents["config.yaml"])
        assert modules(TASK)["train"].read_settings(path)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("batch_size: 16", "batch_size: 0", "batch_size: expected int from 1 to 512, found 0"),
        ("batch_size: 16", "batch_size: 1.5", "found 1.5"),
        ("dropout_rate: 0.5", "dropout_rate: yes", "found True"),
        ("num_layers: 1", "layers: 1", "expected the keys"),
        ("num_layers: 1", "num_layers: [", "train.py:"),
    ],
)
def test_other_settings_are_refused(folder, capsys, old, new, words) -> None:
    set_to(folder, old, new)
    assert modules(folder)["train"].main() == 64
    out, err = capsys.readouterr()
    assert words in err
    assert out == ""
