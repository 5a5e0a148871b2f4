"""Packages that a task allows beside its lock: resolved, installed, mended, refused."""

from pathlib import Path
from typing import Any

import pytest

from helpers import FAKE, REPO, load_task
from helpers.wheels import wheel
from ratchet.base.errors import ConfigError
from ratchet.base.structs import replace
from ratchet.records.paths import StorePaths
from ratchet.records.store import Store
from ratchet.task.packages import (
    _without,
    installed_packages,
    package_name,
    resolve_packages,
    uv_program,
)
from ratchet.task.task import Task

pytestmark = pytest.mark.skipif(uv_program(REPO) is None, reason="needs uv, which make env sets up")
ENTRY = "numpy==2.0.0 \\\n    --hash=sha256:aa\n"


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "wheels"
    monkeypatch.setenv("UV_FIND_LINKS", str(folder))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    wheel(folder, "tinyops", "1.0", needs="tinybase")
    wheel(folder, "tinybase", "2.0")
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(StorePaths(tmp_path / "store"))


def allowing(*packages: str) -> Task:
    return replace(load_task(FAKE), allow_packages=packages)


def test_they_are_resolved_once_and_installed_whole(wheels: Path, store: Store) -> None:
    task = allowing("tinyops")
    lock = resolve_packages(task, None, store, REPO)
    assert lock is not None
    text = store.get(lock.sha256).decode()
    entries = [line.split()[0] for line in text.splitlines() if line[:1].strip()]
    assert entries == ["tinybase==2.0", "tinyops==1.0"]
    assert text.count("--hash=sha256:") == 2
    assert str(wheels) not in text
    folder = installed_packages(lock, task, None, store, REPO)
    assert (folder / "tinyops.py").read_text() == "SIZE = 3\n"
    # A newer release is of no account any more, nor are the wheels.
    wheel(wheels, "tinyops", "1.1")
    assert resolve_packages(task, None, store, REPO) == lock
    for path in wheels.iterdir():
        path.unlink()
    assert installed_packages(lock, task, None, store, REPO) == folder


def test_a_folder_that_was_changed_is_installed_again(wheels: Path, store: Store) -> None:
    task = allowing("tinybase")
    lock = resolve_packages(task, None, store, REPO)
    assert lock is not None
    folder = installed_packages(lock, task, None, store, REPO)
    module = folder / "tinybase.py"
    assert module.stat().st_mode & 0o222 == 0
    module.chmod(0o644)
    module.write_text("SIZE = 4\n")
    assert installed_packages(lock, task, None, store, REPO) == folder
    assert module.read_text() == "SIZE = 3\n"


def test_what_cannot_be_had_is_named_with_what_to_type(wheels: Path, store: Store) -> None:
    with pytest.raises(ConfigError) as refused:
        resolve_packages(allowing("no-such-ops"), None, store, REPO)
    for words in ("task.yaml: allow_packages: no-such-ops", "UV_FIND_LINKS=FOLDER snakemake"):
        assert words in str(refused.value)
    with pytest.raises(ConfigError, match="NumPy: is in the lock"):
        resolve_packages(allowing("NumPy"), None, store, REPO)


def test_without_the_key_there_is_no_lock(store: Store) -> None:
    assert resolve_packages(allowing(), None, store, REPO) is None
    assert not store.paths.root.exists()


@pytest.mark.parametrize(
    ("lock", "names", "kept"),
    [
        (ENTRY, [], ENTRY),
        (ENTRY, ["numpy"], ""),
        (f"--index-url https://a.b/c\n# by uv\n{ENTRY}", [], ENTRY),
        (
            f"{ENTRY}einops==1.0 \\\n    --hash=sha256:bb\n",
            ["numpy"],
            "einops==1.0 \\\n    --hash=sha256:bb\n",
        ),
    ],
)
def test_what_is_locked_already_is_left_out(lock: str, names: Any, kept: str) -> None:
    assert "\n".join(_without(lock, names)) == kept


@pytest.mark.parametrize(
    ("text", "name"), [("A.b_C[x]>=1", "a-b-c"), ("einops==0.8.1", "einops"), ("-r x", "")]
)
def test_names_are_normalised(text: str, name: str) -> None:
    assert package_name(text) == name
