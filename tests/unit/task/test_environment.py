"""Locks, interpreters and caches of tasks: found, compared, and seen by runs."""

import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from helpers import REPO
from helpers.candidates import every_kind
from helpers.commands import Patch
from helpers.repositories import make_environment
from helpers.run_plans import launch, plan, store
from ratchet.base import io
from ratchet.base.errors import ConfigError, DataError, FixedInputChangedError, InputMissingError
from ratchet.records.records import Outcome
from ratchet.records.store import Store
from ratchet.runs.run import Workspace
from ratchet.runs.sandbox.container import ContainerEngine, start_command
from ratchet.runs.sandbox.sandbox import SandboxKind, choose_sandbox, sandbox_fault
from ratchet.steps.prepare import Preparation
from ratchet.task import environment
from ratchet.task.environment import (
    CacheMount,
    Interpreter,
    ask_interpreter,
    cache_fingerprints,
    cache_mount,
    check_caches,
    interpreter_program,
    locked_versions,
    package_deviations,
    package_paths,
    require_caches,
    task_interpreter,
    unneeded_paths,
    verify_packages,
)
from ratchet.task.task import Cache

LOCKS = sorted((REPO / "envs").glob("*.lock"))


def entries(lock: Path) -> dict[str, tuple[str, set[str]]]:
    """Version and hashes by package name (and marker)."""
    found: dict[str, tuple[str, set[str]]] = {}
    name = ""
    for line in lock.read_text().splitlines():
        if match := re.match(r"^([A-Za-z0-9._-]+)==(\S+)(.*)$", line):
            name = match.group(1) + match.group(3).strip(" \\")
            found[name] = (match.group(2), set())
        elif match := re.match(r"^\s+--hash=(sha256:[0-9a-f]{64})", line):
            found[name][1].add(match.group(1))
    return found


@pytest.mark.parametrize("lock", LOCKS, ids=lambda p: p.name)
def test_a_lock_is_whole_hashed_and_names_no_host(lock: Path) -> None:
    assert not re.search(r"https?://|--index|--find-links|file:|@ ", lock.read_text())
    found = entries(lock)
    assert found
    assert all(hashes for _, hashes in found.values())
    versions = {re.split(r"\s*;", name)[0]: version for name, (version, _) in found.items()}
    for line in lock.with_suffix(".in").read_text().splitlines():
        if match := re.match(r"^([A-Za-z0-9._-]+)==(\S+)", line):
            assert versions[match.group(1).lower()] == match.group(2)


def test_the_locks_agree_and_the_tests_run_in_one() -> None:
    workflow = entries(REPO / "envs" / "workflow.lock")
    for other in ("bytelm", "dev"):
        for name, entry in entries(REPO / "envs" / f"{other}.lock").items():
            assert workflow.get(name, entry) == entry, f"{name} differs in {other}.lock"
    assert set(workflow) <= set(entries(REPO / "envs" / "dev.lock"))
    verify_packages(REPO / "envs" / "dev.lock")
    assert locked_versions(REPO / "envs" / "bytelm.lock")["numpy"]


def test_pins_are_read_by_their_markers_and_a_difference_is_named(tmp_path: Path) -> None:
    lock = tmp_path / "x.lock"
    lock.write_text(
        "numpy==1.0 ; sys_platform == 'no-such' \\\n    --hash=sha256:0\nscipy==2.0 \\\n"
        "pyyaml==3.0 ; python_full_version >= '3.11' \\\n"
        "plain == 1.0\nheavy[exact]==2.9 ; os_name == 'posix'\nopen>=3\n# x==1\n"
    )
    pins = {"scipy": "2.0", "pyyaml": "3.0", "plain": "1.0", "heavy": "2.9"}
    assert locked_versions(lock) == pins
    lock.write_text("numpy==0.0.1\nno-such-package==1\n")
    with pytest.raises(DataError, match=r"numpy: expected 0\.0\.1, found .*make env") as caught:
        verify_packages(lock)
    assert "no-such-package: expected 1, found none" in str(caught.value)
    lock.write_text("# empty\nopen>=3\n")
    with pytest.raises(DataError, match="names no package with its version"):
        locked_versions(lock)


UV_LOCK = """version = 1
package = [
  { name = "project", source = { virtual = "." }, dependencies = [
    { name = "plain" },
    { name = "heavy", version = "2.9+cu", marker = "os_name == 'posix'" },
    { name = "heavy", version = "2.9", source = { registry = "a" }, marker = "os_name != 'posix'" },
    { name = "other-system", marker = "sys_platform == 'win32'" },
    { name = "member" },
  ], dev-dependencies = { dev = [{ name = "tester" }] } },
  { name = "plain", version = "1.0", dependencies = [{ name = "circle" }, { name = "forked" }] },
  { name = "circle", version = "4.0", dependencies = [{ name = "plain" }] },
  { name = "forked", version = "1", resolution-markers = ["os_name != 'posix'"] },
  { name = "forked", version = "2", resolution-markers = ["os_name == 'posix'"] },
  { name = "heavy", version = "2.9", source = { registry = "a" } },
  { name = "heavy", version = "2.9+cu", source = { registry = "b" }, dependencies = [
    { name = "sums", extra = ["exact"] }
  ] },
  { name = "sums", version = "5", optional-dependencies = { exact = [
    { name = "digits" }
  ], never = [{ name = "tester" }] } },
  { name = "digits", version = "6" },
  { name = "member", version = "0.0.0", source = { editable = "packages/member" }, dependencies = [
    { name = "far" }
  ] },
  { name = "far", version = "7" },
  { name = "other-system", version = "8" },
  { name = "tester", version = "9" },
]
"""
PINNED = {
    **{"circle": "4.0", "digits": "6", "far": "7", "forked": "2"},
    **{"heavy": "2.9+cu", "plain": "1.0", "sums": "5"},
}


def test_a_uv_lock_pins_what_the_project_needs_here(tmp_path: Path) -> None:
    path = tmp_path / "uv.lock"
    path.write_text(UV_LOCK)
    assert locked_versions(path) == PINNED
    python = Interpreter("/p", ("/",), "3.12.0", {**PINNED, "far": "6.9", "more": "1"}, {})
    assert package_deviations(path, python) == ["far: expected 7, found 6.9"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("version = [", "is no lock of uv's"),
        ("version = 1\n", "is no lock of uv's"),
        ('[[package]]\nversion = "1"\n', "is no lock of uv's"),
        ('package = ["a"]\n', "has packages without a name"),
        ('[[package]]\nname = "a"\nversion = "1"\n', "holds no project of its own"),
        ('[[package]]\nname = "a"\nsource = { virtual = "." }\n', "needs no package"),
    ],
)
def test_other_files_are_no_uv_locks(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "uv.lock"
    path.write_text(text)
    with pytest.raises(DataError, match=words):
        locked_versions(path)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with one made-up package in it, outside of all others."""
    return make_environment(tmp_path_factory.mktemp("own") / "an environment")


@pytest.fixture(scope="module")
def python(own: Path) -> Interpreter:
    return ask_interpreter(interpreter_program(own, ""))


def test_all_of_a_package_is_hidden() -> None:
    names = [path.name for path in package_paths(["docutils"])]
    assert "docutils" in names
    assert any(name.endswith(".dist-info") for name in names)


def test_an_interpreter_is_found_and_says_what_it_has(own: Path, python: Interpreter) -> None:
    program = own / "bin" / "python"
    assert interpreter_program(own, "") == interpreter_program(program, "") == program
    assert python.packages == {"made-up": "1.5"}
    assert python.version.split(".")[:2] == [str(part) for part in sys.version_info[:2]]
    assert {str(own), sys.base_prefix} <= set(python.prefixes)
    moved = Interpreter("/elsewhere", ("/",), python.version, {"made-up": "1.5"}, {})
    other = Interpreter("/elsewhere", ("/",), python.version, {"made-up": "1.6"}, {})
    assert python.packages_sha256 == moved.packages_sha256 != other.packages_sha256


def test_what_is_no_python_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing to run at .*gone; make it with: make env-x"):
        interpreter_program(tmp_path / "gone", "make it with: make env-x")
    program = tmp_path / "python"
    program.write_text("")
    with pytest.raises(ConfigError, match="nothing to run at"):
        interpreter_program(program, "")
    program.chmod(0o755)
    for words in ("exit 3", "echo no", "echo '{}' | cut -c 1"):
        program.write_text(f"#!/bin/sh\n{words}\n")
        with pytest.raises(ConfigError, match=r"python: .*(status 3|does not answer)"):
            ask_interpreter(program)


def test_an_interpreter_is_compared_with_a_lock(python: Interpreter, tmp_path: Path) -> None:
    lock = tmp_path / "mine.lock"
    lock.write_text("numpy==9.9.9\nextra==1.0 ; python_version < '3.0' \\\n    --hash=sha256:00\n")
    assert package_deviations(lock, python) == ["numpy: expected 9.9.9, found none"]
    with pytest.raises(DataError, match=r"numpy: expected 9.9.9, found none.*make env-mine"):
        verify_packages(lock, python)
    old = Interpreter("", (), "2.7", {"numpy": "9.9.9"}, {"python_version": "2.7"})
    assert package_deviations(lock, old) == ["extra: expected 1.0, found none"]
    lock.write_text("Made_Up==1.5 \\\n    --hash=sha256:00\n")
    assert package_deviations(lock, python) == []


@every_kind
def test_runs_use_an_own_interpreter(own, python, tmp_path, kind) -> None:
    source = "import made_up, sys\nprint('val:', made_up.VALUE)\nprint('at:', sys.prefix)\n"
    record, said = launch(tmp_path, source, isolation=kind.value, python=python)
    assert (record.outcome, record.metrics.get("val")) == (Outcome.OK, 1.0), said
    assert str(own) in said


def test_a_container_has_no_place_for_it(python, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("RATCHET_EXCHANGE", str(tmp_path))
    sandbox_fault.cache_clear()
    assert choose_sandbox("container") is SandboxKind.CONTAINER
    with pytest.raises(ConfigError, match="interpreter of its own"):
        launch(tmp_path, "", isolation="container", python=python)
    sandbox_fault.cache_clear()


def test_the_configuration_comes_before_the_task(own: Path, tmp_path: Path) -> None:
    config = SimpleNamespace(python=None)
    task = SimpleNamespace(python=None, environment=Path("envs/mine.lock"), origin=None)

    def chosen() -> Interpreter | None:
        return task_interpreter(config, task, tmp_path, tmp_path)

    assert chosen() is None
    task.python = tmp_path / "gone"
    with pytest.raises(ConfigError, match="make env-mine"):
        chosen()
    config.python = os.path.relpath(own, tmp_path)
    found = chosen()
    assert found.packages == {"made-up": "1.5"}


HOME = Cache("~/.cache/mine")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: Patch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folder = tmp_path / "home" / ".cache" / "mine"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "a.txt").write_text("0.25")
    (folder / "link.txt").symlink_to("data/a.txt")
    return folder


@pytest.fixture
def blobs(tmp_path: Path) -> Store:
    return store(tmp_path)


def test_a_fingerprint_is_of_names_sizes_and_contents(home: Path, blobs: Store) -> None:
    (first,) = cache_fingerprints([HOME], None, blobs)
    assert (first.folder, first.files, first.bytes) == ("~/.cache/mine", 2, 8)
    os.utime(home / "data" / "a.txt", (1, 1))
    assert cache_fingerprints([HOME], None, blobs) == (first,)
    check_caches([first], [HOME], None, blobs)
    (home / "data" / "a.txt").write_text("0.26")
    with pytest.raises(FixedInputChangedError, match=r"cache: ~/\.cache/mine: expected contents"):
        check_caches([first], [HOME], None, blobs)
    (home / "data" / "a.txt").write_text("0.25")
    (home / "new").touch()
    with pytest.raises(FixedInputChangedError):
        check_caches([first], [HOME], None, blobs)


def test_large_files_are_hashed_once(home: Path, blobs: Store, monkeypatch: Patch) -> None:
    monkeypatch.setattr(environment, "LARGE_BYTES", 2)
    first = cache_fingerprints([HOME], None, blobs)
    with monkeypatch.context() as patched:
        hashed: list[Path] = []
        patched.setattr(io, "digest_file", hashed.append)
        assert cache_fingerprints([HOME], None, blobs) == first
        assert not hashed
    os.utime(home / "data" / "a.txt", (1, 1))
    assert cache_fingerprints([HOME], None, blobs) == first


def test_what_is_not_there_is_said_unless_it_may_be(home: Path, blobs: Store) -> None:
    other = Cache("~/.cache/other", prepare="uv run ready.py")
    maybe = Cache(other.folder, optional=True)
    with pytest.raises(InputMissingError, match=r"found none; run: uv run ready\.py"):
        require_caches([HOME, other], Path("/clone"))
    (first,) = cache_fingerprints([HOME, maybe], None, blobs)
    (home.parent / "other").mkdir()
    (home.parent / "other" / "x").touch()
    with pytest.raises(FixedInputChangedError, match="was not there when the session started"):
        check_caches([first], [HOME, maybe], None, blobs)
    (home.parent / "empty").mkdir()
    with pytest.raises(InputMissingError, match="expected files that runs read"):
        cache_fingerprints([Cache("~/.cache/empty")], None, blobs)


def test_where_caches_are_and_where_runs_find_them(home: Path) -> None:
    assert cache_mount(HOME, None) == CacheMount(home, Path(".cache/mine"))
    assert cache_mount(Cache("/data/x"), None) == CacheMount(Path("/data/x"), Path("/data/x"))
    relative = CacheMount(Path("/a/clone/data/x"), Path("data/x"))
    assert cache_mount(Cache("data/x"), Path("/a/clone")) == relative
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


@every_kind
def test_runs_see_caches_and_leave_them(home: Path, tmp_path: Path, kind: SandboxKind) -> None:
    absolute = tmp_path / "somewhere else"
    absolute.mkdir()
    (absolute / "x.txt").write_text("here")
    mounts = [CacheMount(absolute, absolute), CacheMount(absolute, Path("relative"))]
    mounts = [cache_mount(HOME, None), *mounts]
    source = SOURCE.format(absolute=str(absolute))
    record, log = launch(tmp_path, source, mounts=mounts, isolation=kind.value)
    assert record.outcome is Outcome.OK, log
    assert record.metrics["val"] == 0.25
    assert "own herehere" in log
    if kind is not SandboxKind.NONE:
        assert log.count("kept") == 3
        assert (home / "data" / "a.txt").read_text() == "0.25"
        assert sorted(p.name for p in home.iterdir()) == ["data", "link.txt"]


def test_containers_mount_caches_or_get_copies(home, tmp_path, monkeypatch) -> None:
    mounts = [cache_mount(HOME, None), CacheMount(home, Path("/data set"))]

    def filled(name: str, mounts: list[CacheMount]) -> Workspace:
        spec, work = plan(tmp_path, "", mounts=mounts, data={}), tmp_path / name
        space = Workspace(spec, store(tmp_path), SandboxKind.CONTAINER, work, tmp_path / "none")
        space.fill()
        return space

    space = filled("work", mounts)
    assert list((space.work / ".cache" / "mine").iterdir()) == []
    engine = ContainerEngine("docker", "image")
    words = start_command(engine, space.box(), {}, tmp_path / "call", "name")
    shown = [word.partition("target=")[2] for word in words if f"source={home}" in word]
    assert shown == ["/exchange/work/.cache/mine,readonly", "/data set,readonly"]
    monkeypatch.setenv("RATCHET_EXCHANGE", str(tmp_path))
    copied = filled("other", mounts[:1]).work
    assert (copied / ".cache" / "mine" / "data" / "a.txt").read_text() == "0.25"
    with pytest.raises(ConfigError, match="cannot be shown to a run in another container"):
        filled("refused", mounts)


def test_a_declared_preparation_fills_what_is_missing(home: Path, blobs: Store) -> None:
    folder = home.parent / "made"
    task = SimpleNamespace(fills_caches=True, clone=None, definition=Path("mine.yaml"))
    task.environment, task.data_names = None, ()
    task.fixed, task.folder, task.prepare = ["ready.py"], home, ["python", "ready.py", "{out}"]
    task.caches = [Cache("~/.cache/made")]
    (home / "ready.py").write_text(
        "import os, pathlib\nplace = pathlib.Path('~/.cache/made').expanduser()\n"
        "place.mkdir()\n(place / 'x').write_text(os.environ['WHAT'])\n"
    )
    Preparation(task, {"WHAT": "made"}).fill_caches(blobs)
    assert (folder / "x").read_text() == "made"
    assert len(cache_fingerprints(task.caches, None, blobs)) == 1
    # It is there now, and so it is not made again.
    Preparation(task, {}).fill_caches(blobs)
    (folder / "x").unlink()
    folder.rmdir()
    task.caches = [Cache("~/.cache/made", optional=True)]
    Preparation(task, {}).fill_caches(blobs)
    assert not folder.exists()


def test_a_run_needs_the_packages_of_its_lock_and_no_others() -> None:
    paths = unneeded_paths(["numpy"])
    names = {path.name for path in paths}
    assert {"pytest", "snakemake", "ratchet", "networkx"} & names
    assert not {"numpy", "numpy.libs"} & names
    library = Path(os.__file__).resolve().parent
    assert library / "test" in paths or not (library / "test").exists()
    for needed in (library / "json", library, Path(sys.prefix), Path(sys.executable)):
        assert not any(needed.resolve().is_relative_to(path) for path in paths)


@every_kind
def test_what_a_run_does_not_need_is_no_text_to_train_on(tmp_path: Path, kind: SandboxKind) -> None:
    other = Path(pytest.__file__).parent
    source = f"""
import numpy, json, multiprocessing
from pathlib import Path
read = 0
for path in Path({str(other)!r}).glob("*.py"):
    try:
        read += len(path.read_text())
    except OSError:
        pass
print("---")
print("val:", int(numpy.float64(read) > 0))
"""
    record, log = launch(tmp_path, source, isolation=kind.value, packages=("numpy",))
    assert record.outcome is Outcome.OK, log
    assert log.startswith("---"), "the interpreter complained at its start"
    assert record.metrics["val"] == (kind is SandboxKind.NONE)
