"""Task files: parsed once, mistakes named with file and key."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from helpers import REPO
from ratchet.base.errors import ConfigError, InputMissingError
from ratchet.records.records import Direction
from ratchet.task.task import load_task

FAKE = REPO / "tests" / "data" / "tasks" / "fake"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FAKE, tmp_path / "fake"))


def edit(folder: Path, old: str, new: str) -> None:
    path = folder / "task.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_good_task() -> None:
    task = load_task(FAKE, REPO)
    assert task.metric.direction is Direction.MINIMIZE
    assert (task.budget_seconds, task.budget_steps) == (0.05, None)
    assert task.environment == REPO / "envs" / "bytelm.lock"
    assert task.locked_data == ("audit.txt",)
    constants = [change for change in task.search_space if change.is_constant]
    assert constants[0].values == (0.2, 0.4, 0.8, 1.6)
    assert task.memory_mb({"peak_mem_mb": 3.0}) == 3.0
    assert task.memory_mb({}) is None


def test_limits_and_the_names_that_decisions_rest_on(folder: Path) -> None:
    assert load_task(FAKE, REPO).limits == {}
    assert load_task(FAKE, REPO).printed == ("peak_mem_mb",)
    edit(folder, "name: fake", "name: fake\nlimits: {memory_mb: 500, processes: 9}")
    assert load_task(folder, REPO).limits == {"memory_mb": 500, "processes": 9}
    default = load_task(REPO / "tasks" / "bytelm", REPO)
    assert default.printed == ("peak_mem_mb", "total_tokens_M")
    assert default.plausible is not None
    assert 0 < default.plausible.min_tokens < 0.2


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("timeout_seconds: 30", "timeout: 30", "unknown key 'timeout'; did you mean"),
        ("timeout_seconds: 30", "", "the key 'timeout_seconds' is missing"),
        ("seconds: 0.05", "seconds: -1", "budget.seconds: expected more than 0, found -1"),
        ("seconds: 0.05", "seconds: 1, steps: 2", "either seconds or steps"),
        ("direction: minimize", "direction: down", "one of minimize, maximize, found 'down'"),
        ("mutable: [train.py]", "mutable: [/etc/passwd]", "a relative path without .."),
        ("mutable: [train.py]", "mutable: [a/../../b]", "a relative path without .."),
        ("fixed: [prepare.py]", "fixed: [train.py]", "the file train.py has two parts"),
        ("category: other", "category: Other!", "a lower-case word, found 'Other!'"),
        ("name: fake", "name: [", "is not valid YAML"),
        ("name: fake", "name: fake\nlimits: {memory_mb: 0}", "limits.memory_mb: expected"),
        ("name: fake", "name: fake\nlimits: {disk_mb: 9}", "unknown key 'disk_mb'"),
        ('prepare: [python, prepare.py, "{out}"]', "", "the command that makes the data files"),
    ],
)
def test_mistakes_are_named(folder: Path, old: str, new: str, words: str) -> None:
    edit(folder, old, new)
    with pytest.raises(ConfigError, match=re.escape(words)) as caught:
        load_task(folder, REPO)
    assert "task.yaml" in str(caught.value)


def test_missing_files_are_named(folder: Path, tmp_path: Path) -> None:
    (folder / "program.md").unlink()
    with pytest.raises(InputMissingError, match=r"names the file program\.md"):
        load_task(folder, REPO)
    with pytest.raises(InputMissingError, match=r"holds no task\.yaml"):
        load_task(tmp_path / "none", REPO)
    shutil.copy(FAKE / "program.md", folder)
    with pytest.raises(InputMissingError, match=r"the lock .* does not exist"):
        load_task(folder, tmp_path)


def test_every_bundled_task_is_valid() -> None:
    folders = [path.parent for path in (REPO / "tasks").glob("*/task.yaml")]
    assert folders
    for found in folders:
        task = load_task(found, REPO)
        assert task.name == found.name
