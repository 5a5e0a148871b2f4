"""Folders outside of a task: fingerprinted, watched, and read-only for runs."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from helpers.run_plans import launch
from ratchet.base import io
from ratchet.base.errors import ConfigError, FixedInputChangedError, InputMissingError
from ratchet.records.paths import StorePaths
from ratchet.records.records import Outcome
from ratchet.records.store import Store
from ratchet.runs.run import lay_out_caches, mounted_caches
from ratchet.runs.sandbox import container
from ratchet.runs.sandbox.container import ContainerEngine, start_command
from ratchet.runs.sandbox.sandbox import SandboxKind, sandbox_fault
from ratchet.runs.spec import Box
from ratchet.steps.prepare import fill_caches
from ratchet.task import environment
from ratchet.task.environment import (
    CacheMount,
    cache_fingerprints,
    cache_mount,
    check_caches,
    require_caches,
)
from ratchet.task.task import Cache

HOME = Cache("~/.cache/mine")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folder = tmp_path / "home" / ".cache" / "mine"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "a.txt").write_text("0.25")
    (folder / "link.txt").symlink_to("data/a.txt")
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(StorePaths(tmp_path / "store"))


def test_a_fingerprint_is_of_names_sizes_and_contents(home: Path, store: Store) -> None:
    (first,) = cache_fingerprints([HOME], None, store)
    assert (first.folder, first.files, first.bytes) == ("~/.cache/mine", 2, 8)
    os.utime(home / "data" / "a.txt", (1, 1))
    assert cache_fingerprints([HOME], None, store) == (first,)
    check_caches([first], [HOME], None, store)
    (home / "data" / "a.txt").write_text("0.26")
    with pytest.raises(FixedInputChangedError, match=r"cache: ~/\.cache/mine: expected contents"):
        check_caches([first], [HOME], None, store)
    (home / "data" / "a.txt").write_text("0.25")
    (home / "new").touch()
    with pytest.raises(FixedInputChangedError):
        check_caches([first], [HOME], None, store)


def test_large_files_are_hashed_once(
    home: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "LARGE_BYTES", 2)
    (first,) = cache_fingerprints([HOME], None, store)
    hashed: list[Path] = []
    monkeypatch.setattr(io, "digest_file", hashed.append)
    assert cache_fingerprints([HOME], None, store) == (first,)
    assert not hashed
    os.utime(home / "data" / "a.txt", (1, 1))
    monkeypatch.undo()
    monkeypatch.setenv("HOME", str(home.parents[1]))
    assert cache_fingerprints([HOME], None, store) == (first,)


def test_what_is_not_there_is_said_unless_it_may_be(home: Path, store: Store) -> None:
    other = Cache("~/.cache/other", prepare="uv run ready.py")
    with pytest.raises(InputMissingError, match=r"found none; run in /clone: uv run ready\.py"):
        require_caches([HOME, other], Path("/clone"))
    assert len(cache_fingerprints([HOME, Cache(other.folder, optional=True)], None, store)) == 1
    (first,) = cache_fingerprints([HOME], None, store)
    (home.parent / "other").mkdir()
    (home.parent / "other" / "x").touch()
    with pytest.raises(FixedInputChangedError, match="was not there when the session started"):
        check_caches([first], [HOME, Cache(other.folder, optional=True)], None, store)
    (home.parent / "empty").mkdir()
    with pytest.raises(InputMissingError, match="expected files that runs read"):
        cache_fingerprints([Cache("~/.cache/empty")], None, store)


def test_where_folders_are_and_where_runs_find_them(home: Path) -> None:
    assert cache_mount(HOME, None) == CacheMount(home, Path(".cache/mine"))
    assert cache_mount(Cache("/data/x"), None) == CacheMount(Path("/data/x"), Path("/data/x"))
    assert cache_mount(Cache("data/x"), Path("/a/clone")) == CacheMount(
        Path("/a/clone/data/x"), Path("data/x")
    )
    with pytest.raises(ConfigError, match="lies in a clone on this machine, and there is none"):
        cache_mount(Cache("data/x"), None)


SOURCE = """
import os
from pathlib import Path
home = Path(os.path.expanduser("~/.cache/mine"))
print("val:", (home / "data" / "a.txt").read_text())
for place in (home / "data" / "a.txt", home / "new", Path({absolute!r}) / "new"):
    try:
        place.write_text("bent")
    except OSError:
        print("kept", place.name)
print("own", Path("relative/x.txt").read_text() + (Path({absolute!r}) / "x.txt").read_text())
"""


@pytest.mark.parametrize("kind", [SandboxKind.BUBBLEWRAP, SandboxKind.LANDLOCK, SandboxKind.NONE])
def test_runs_see_them_and_leave_them(home: Path, tmp_path: Path, kind: SandboxKind) -> None:
    if sandbox_fault(kind) is not None:
        pytest.skip(f"{kind} does not work here")
    absolute = tmp_path / "somewhere else"
    absolute.mkdir()
    (absolute / "x.txt").write_text("here")
    mounts = [
        cache_mount(HOME, None),
        CacheMount(absolute, absolute),
        CacheMount(absolute, Path("relative")),
    ]
    folder = tmp_path / "run"
    folder.mkdir()
    source = SOURCE.format(absolute=str(absolute))
    record = launch(tmp_path, folder, source, mounts=mounts, isolation=kind.value)
    log = (folder / "run.log").read_text()
    assert record.outcome is Outcome.OK, log
    assert record.metrics["val"] == 0.25
    assert "own herehere" in log
    if kind is not SandboxKind.NONE:
        assert log.count("kept") == 3
        assert (home / "data" / "a.txt").read_text() == "0.25"
        assert sorted(p.name for p in home.iterdir()) == ["data", "link.txt"]
    assert home.is_dir()


def test_containers_mount_them_or_get_copies(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = [cache_mount(HOME, None), CacheMount(home, Path("/data set"))]
    work = tmp_path / "work"
    work.mkdir()
    lay_out_caches(mounts, work, SandboxKind.CONTAINER)
    assert list((work / ".cache" / "mine").iterdir()) == []
    box = Box(work=work, mounts=mounted_caches(mounts, work))
    engine = ContainerEngine("docker", "image")
    words = start_command(engine, box, {}, tmp_path / "call", "name")
    shown = [word for word in words if f"source={home}" in word]
    assert [word.partition("target=")[2] for word in shown] == [
        "/exchange/work/.cache/mine,readonly",
        "/data set,readonly",
    ]

    monkeypatch.setattr(container, "container_mounts_inputs", lambda: False)
    other = tmp_path / "other"
    other.mkdir()
    lay_out_caches(mounts[:1], other, SandboxKind.CONTAINER)
    assert (other / ".cache" / "mine" / "data" / "a.txt").read_text() == "0.25"
    with pytest.raises(ConfigError, match="cannot be shown to a run in another container"):
        lay_out_caches(mounts, tmp_path / "none", SandboxKind.CONTAINER)


def test_a_declared_preparation_fills_what_is_missing(home: Path, store: Store) -> None:
    folder = home.parent / "made"
    task = SimpleNamespace(
        fills_caches=True,
        caches=[Cache("~/.cache/made")],
        clone=None,
        fixed=["ready.py"],
        folder=home,
        prepare=["python", "ready.py", "{out}"],
        definition=Path("mine.yaml"),
    )
    (home / "ready.py").write_text(
        "import os, pathlib\n"
        "place = pathlib.Path('~/.cache/made').expanduser()\n"
        "place.mkdir()\n"
        "(place / 'x').write_text(os.environ['WHAT'])\n"
    )
    fill_caches(task, store, {"WHAT": "made"}, None)  # type: ignore[arg-type]
    assert (folder / "x").read_text() == "made"
    assert len(cache_fingerprints(task.caches, None, store)) == 1
    # It is there now, and so it is not made again.
    fill_caches(task, store, {}, None)  # type: ignore[arg-type]
    (folder / "x").unlink()
    folder.rmdir()
    task.caches = [Cache("~/.cache/made", optional=True)]
    fill_caches(task, store, {}, None)  # type: ignore[arg-type]
    assert not folder.exists()
