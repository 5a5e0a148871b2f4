"""Interpreter, installed packages and caches of a task, compared with its locks."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ratchet.base.errors import (
    NEW_SESSION,
    THIS_SESSION,
    ConfigError,
    DataError,
    FixedInputChangedError,
    InputMissingError,
    raise_faults,
)
from ratchet.base.io import digest, digest_file, read_bytes
from ratchet.base.structs import Frozen
from ratchet.config import Config, resolve_task_folder
from ratchet.records.records import CacheFingerprint
from ratchet.records.store import Store
from ratchet.task.task import DESCRIBE_REPOSITORY, METAL, Cache, Task

# Where packages of an interpreter lie, and of the system's beside it.
PACKAGE_FOLDERS = ("lib/python*/site-packages", "lib/python*/dist-packages")
SYSTEM_PREFIXES = ("/usr", "/usr/local")
UV_LOCK = "uv.lock"
_PIN = re.compile(
    r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?\s*==\s*([^\s;\\]+)\s*(?:;\s*([^\\]+))?"
)


def locked_versions(lock: Path, markers: Mapping[str, str] | None = None) -> dict[str, str]:
    """Versions by package name in a lock of pip's or of uv's, for this platform.

    ``markers`` are conditions of another interpreter than this one.
    Raises :class:`DataError` for a lock without pins.
    """
    if lock.suffix == ".toml" or lock.name == UV_LOCK:
        return uv_lock_versions(lock, lambda marker: _applies(marker, markers))
    found: dict[str, str] = {}
    for line in read_bytes(lock).decode().splitlines():
        match = _PIN.match(line)
        if match and _applies(match.group(3), markers):
            found[match.group(1)] = match.group(2)
    if not found:
        raise DataError(
            f"{lock}: names no package with its version; make it again with: make lock, or: "
            "uv pip compile"
        )
    return found


def _applies(marker: str | None, markers: Mapping[str, str] | None) -> bool:
    if marker is None:
        return True
    from packaging.markers import Marker

    return Marker(marker.strip()).evaluate(dict(markers) if markers else None)


def verify_packages(
    lock: Path, interpreter: Interpreter | None = None, clone: Path | None = None
) -> None:
    """Raise :class:`DataError` if a task's own interpreter, else this one, has other versions.

    ``clone`` is the folder of the repository that the lock is from, if it is one's.
    """
    wrong = package_deviations(lock, interpreter)
    if wrong:
        program = interpreter.executable if interpreter else sys.executable
        own = uv_sync(clone) if lock.name == UV_LOCK else f"make env-{lock.stem}"
        todo = own if interpreter else "make env"
        raise DataError(
            f"{lock}: {program} does not have the locked packages ({'; '.join(wrong)}); "
            f"install them with: {todo}"
        )


def uv_sync(clone: Path | None) -> str:
    """The command that installs the packages of a clone as its ``uv.lock`` names them."""
    return shlex.join(["uv", "sync", *(["--project", str(clone)] if clone else [])])


def package_deviations(lock: Path, interpreter: Interpreter | None = None) -> list[str]:
    """Differences between a lock and the packages of a task's own interpreter, or of this one."""
    import importlib.metadata  # slow; most steps have no question about packages

    from packaging.utils import canonicalize_name

    def installed(name: str) -> str | None:
        if interpreter is not None:
            return interpreter.packages.get(canonicalize_name(name))
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            return None

    wanted = locked_versions(lock, interpreter.markers if interpreter else None)
    return [
        f"{name}: expected {version}, found {installed(name) or 'none'}"
        for name, version in wanted.items()
        if installed(name) != version
    ]


def package_paths(names: Sequence[str], prefixes: Sequence[str] = ()) -> list[Path]:
    """Paths installed under the names of some packages, wherever Python finds them.

    ``prefixes`` are those of an interpreter beside this one.
    """
    found: set[Path] = set()
    own = {sys.prefix, sys.base_prefix, *SYSTEM_PREFIXES, "/usr/lib", "/usr/local/lib"}
    for prefix in own | set(prefixes):
        for pattern in (*PACKAGE_FOLDERS, "python*/dist-packages"):
            for folder in Path(prefix).resolve().glob(pattern):
                for name in names:
                    plain = name.replace("-", "_")
                    found |= {folder / plain, folder / f"{plain}.py"}
                    found |= set(folder.glob(f"{plain}-*.dist-info"))
                    found |= set(folder.glob(f"{plain}-*.egg*"))
    return sorted(path for path in found if path.exists())


SELDOM = ("ensurepip", "idlelib", "lib2to3", "pydoc_data", "test", "turtledemo")
"""Folders of the standard library that no program needs while it runs."""

TEXTS = ("doc", "gdb", "gcc/python", "info", "man", "perl", "perl5", "python3", "vim", "emacs")
"""Folders of /usr/share with text that no program needs while it runs."""

PROGRAMS = ("google-cloud-sdk", "node_modules", "ruby", "go", "jvm", "R", "libreoffice", "mono")
"""Folders of /usr/lib that belong to other languages and large programs."""


def unneeded_paths(packages: Iterable[str]) -> list[Path]:
    """Paths of this interpreter and of the system that a run with some packages does not need.

    It would be text to train on, beside what the task gives: other packages, caches of
    package managers, tests and documentation, libraries of other interpreters.
    """
    prefix, base = Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()
    library = Path(sysconfig.get_path("stdlib")).resolve()
    own = {Path(sysconfig.get_path(kind)).resolve() for kind in ("purelib", "platlib")}
    found = {library / name for name in SELDOM} | {Path("/usr/share") / name for name in TEXTS}
    found |= {each / name for each in (prefix, base) for name in ("pkgs", "conda-meta", "envs")}
    needed, tests = _installed(tuple(sorted(set(packages))))
    for site in own:
        found |= {site / name for name in os.listdir(site) if name not in needed}  # noqa: PTH208
        found |= {site / name for name in tests}
    others = {library / "site-packages"}
    for root in ("/usr/lib", "/usr/local/lib"):
        others |= {*Path(root).glob("python*"), *(Path(root) / name for name in PROGRAMS)}
    seen = {library, *own}
    found |= {o for o in others if not any(s == o or s.is_relative_to(o) for s in seen - {library})}
    found -= {library, *library.parents}
    return sorted((path for path in found if path.exists()), key=str)


@functools.cache
def _installed(packages: tuple[str, ...]) -> tuple[frozenset[str], frozenset[str]]:
    """Names in ``site-packages`` of what belongs to some packages, and folders of their tests."""
    import importlib.metadata  # slow; only a run asks

    found: set[str] = set()
    tests: set[str] = set()
    for name in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            for path in importlib.metadata.distribution(name).files or ():
                found.add(path.parts[0])
                if "tests" in path.parts[1:-1]:
                    tests.add("/".join(path.parts[: path.parts.index("tests", 1) + 1]))
    return frozenset(found), frozenset(tests)


# A cold environment on a shared disk may take long to list thousands of files.
PROBE_SECONDS = 120.0
# Run by the interpreter that is asked, isolated: neither the folder nor variables count.
_PROBE = """
import importlib.metadata, json, os, platform, re, sys
packages = {}
for found in importlib.metadata.distributions():
    name = found.metadata["Name"]
    if name:
        packages.setdefault(re.sub(r"[-_.]+", "-", name).lower(), found.version)
print(json.dumps({
    "executable": sys.executable,
    "prefixes": [sys.prefix, sys.base_prefix, sys.base_exec_prefix],
    "version": platform.python_version(),
    "packages": packages,
    "markers": {
        "python_version": ".".join(platform.python_version_tuple()[:2]),
        "python_full_version": platform.python_version(),
        "implementation_name": sys.implementation.name,
        "platform_python_implementation": platform.python_implementation(),
    },
}))
"""


class Interpreter(Frozen):
    """A task's own interpreter, as it describes itself.

    The harness never imports from its environment, but asks it what it has.
    ``prefixes`` are the folders that it reads, ``packages`` the installed
    versions by normalised name, ``markers`` its part of a requirement's conditions.
    """

    executable: str
    prefixes: tuple[str, ...]
    version: str
    packages: Mapping[str, str]
    markers: Mapping[str, str]

    @property
    def packages_sha256(self) -> str:
        """Digest over Python's version and everything that is installed."""
        return digest({"python": self.version, "packages": dict(self.packages)})


def task_interpreter(config: Config, task: Task, root: Path, harness: Path) -> Interpreter | None:
    """Interpreter of a task's commands, if it has its own: the configuration comes first.

    Where there is no lock that says what the harness's own has, that counts as the task's.
    Raises :class:`ConfigError` if there is none where it is said to be.
    """
    if config.python is not None:
        place = resolve_task_folder(config.python, root, harness)
        return ask_interpreter(interpreter_program(place, "correct the configuration key python"))
    if task.python is None:
        return None if task.environment else ask_interpreter(Path(sys.executable))
    todo = f"make it with: make env-{task.environment.stem}" if task.environment else "make it"
    if task.origin is not None:
        place = Path(task.values["python"]).expanduser()
        if task.clone is None and not place.is_absolute():
            raise ConfigError(
                f"python: {place} lies in a clone of {task.origin.repo} on this machine, and there "
                "is none; name an environment with its packages by --config python=PLACE, or clone "
                "it and name the clone's folder by `repo`"
            )
        todo = f"make it: {uv_sync(task.clone)}" if task.clone else "clone the repository"
    return ask_interpreter(
        interpreter_program(task.python, f"{todo}, or name another one: --config python=PLACE")
    )


def interpreter_program(place: Path, todo: str) -> Path:
    """The program at ``place``, the folder of an environment or the program itself.

    Raises :class:`ConfigError`, which says what ``todo``, if there is none.
    """
    program = place / "bin" / "python" if place.is_dir() else place
    # Not resolved: an environment's program is a link, and its place says which one it is.
    program = Path(os.path.abspath(program))  # noqa: PTH100
    if not (program.is_file() and os.access(program, os.X_OK)):
        raise ConfigError(
            f"python: expected the folder of an environment or its interpreter, found nothing to "
            f"run at {program}; {todo}"
        )
    return program


@functools.cache
def ask_interpreter(program: Path) -> Interpreter:
    """Let an interpreter describe itself; asked once per process.

    Raises :class:`ConfigError` if it does not answer.
    """
    try:
        done = subprocess.run(
            [str(program), "-I", "-c", _PROBE],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PROBE_SECONDS,
            check=False,
        )
        said = json.loads(done.stdout) if done.returncode == 0 else None
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise ConfigError(f"python: {program} does not answer as a Python does: {error}") from None
    if said is None:
        last = done.stderr.decode(errors="replace").strip()[-300:]
        raise ConfigError(
            f"python: {program} ended with status {done.returncode} when asked what it is: {last}"
        )
    return Interpreter(**{**said, "prefixes": tuple(said["prefixes"])})


def resolve_command(command: Sequence[str], python: Interpreter | None = None) -> list[str]:
    """A task's command with the places of its programs.

    ``python`` is the task's own interpreter, or the harness's.  A program that is installed
    beside that, such as ``pytest``, counts before one on the path.
    """
    interpreter = python.executable if python else sys.executable
    words = [interpreter if word == "python" else word for word in command]
    installed = Path(interpreter).parent / words[0]
    if "/" not in words[0] and installed.is_file():
        words[0] = str(installed)
    return words


# Where the project's own packages are from, as uv writes it.
OWN = ("virtual", "editable", "directory")


def uv_lock_versions(lock: Path, applies: Callable[[str | None], bool]) -> dict[str, str]:
    """Versions by package name in a ``uv.lock``: what its project needs on this platform.

    Such a lock holds all platforms, groups and extras at once; what ``uv sync`` installs
    is what can be reached from the project itself.  Development groups are left out: a
    run needs none of them.  ``applies`` evaluates the condition of a requirement.

    Raises :class:`DataError` for a file that is no lock of uv's.
    """
    packages = _packages(lock)
    own = [entry for entry in packages if _is_own(entry)]
    if not own:
        raise DataError(f"{lock}: holds no project of its own; make it again with: uv lock")
    named: dict[str, list[Mapping[str, Any]]] = {}
    for entry in packages:
        named.setdefault(entry["name"], []).append(entry)
    found: dict[str, str] = {}
    todo = [need for entry in own for need in entry.get("dependencies", ())]
    seen = set()
    while todo:
        need = todo.pop()
        if not applies(need.get("marker")):
            continue
        here = _chosen(need, named.get(need["name"], ()), applies)
        extras = tuple(sorted(need.get("extra", ())))
        if here is None or (id(here), extras) in seen:
            continue
        seen.add((id(here), extras))
        if not _is_own(here) and "version" in here:
            found[here["name"]] = here["version"]
        todo += here.get("dependencies", ())
        optional = here.get("optional-dependencies", {})
        todo += [more for extra in extras for more in optional.get(extra, ())]
    if not found:
        raise DataError(f"{lock}: its project needs no package; make it again with: uv lock")
    return dict(sorted(found.items()))


def _packages(lock: Path) -> Sequence[Mapping[str, Any]]:
    try:
        data = tomllib.loads(read_bytes(lock).decode())
        packages = data["package"]
        whole = all(isinstance(p, dict) and isinstance(p["name"], str) for p in packages)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{lock}: is no lock of uv's ({type(error).__name__}: {error}); make it with: uv lock"
        ) from None
    if not whole:
        raise DataError(f"{lock}: has packages without a name; make it again with: uv lock")
    found: Sequence[Mapping[str, Any]] = packages
    return found


def _is_own(entry: Mapping[str, Any]) -> bool:
    source = entry.get("source", {})
    return isinstance(source, dict) and any(kind in source for kind in OWN)


def _chosen(
    need: Mapping[str, Any],
    entries: Sequence[Mapping[str, Any]],
    applies: Callable[[str | None], bool],
) -> Mapping[str, Any] | None:
    """The one of several versions of a package that a requirement means here."""
    exact = [e for e in entries if need.get("version") in (None, e.get("version"))]
    exact = [e for e in exact if need.get("source") in (None, e.get("source"))]
    here = [
        e
        for e in exact
        if "resolution-markers" not in e or any(applies(m) for m in e["resolution-markers"])
    ]
    return next(iter(here or exact), None)


LARGE_BYTES = 32 << 20
"""A file from this size on takes long enough to hash that its digest is worth keeping."""
DIGESTS = "digests"
HOME = "~"


class CacheMount(Frozen):
    """A folder of this machine, and where a run finds it.

    ``place`` is relative to the run's folder, which is its home too, or absolute.
    """

    source: Path
    place: Path


def cache_source(cache: Cache, clone: Path | None) -> Path:
    """Path of a declared folder on this machine.

    Raises :class:`ConfigError` for a relative one without a clone that it is in.
    """
    path = Path(cache.folder).expanduser()
    if path.is_absolute():
        return path
    if clone is None:
        raise ConfigError(
            f"cache: {cache.folder} is relative, so that it lies in a clone on this machine, and "
            "there is none; clone the repository and name the clone's folder by `repo`"
        )
    return Path(os.path.abspath(clone / path))  # noqa: PTH100


def cache_mount(cache: Cache, clone: Path | None) -> CacheMount:
    """A declared folder with the place where runs find it."""
    place = Path(cache.folder)
    if cache.folder.startswith(HOME):
        place = Path(*place.parts[1:])
    return CacheMount(cache_source(cache, clone), place)


def require_caches(
    caches: Sequence[Cache], clone: Path | None, advice: Callable[[Cache], str] | None = None
) -> None:
    """Raise :class:`InputMissingError` for folders that are not there and are not optional.

    ``advice`` says how one is made, by default with the cache's own command.
    """
    missing = [
        InputMissingError(
            f"{folder}: expected the folder that runs read (`cache`), found none; "
            f"{(advice or _run_its_command)(cache)}"
        )
        for cache in caches
        if not cache.optional and not (folder := cache_source(cache, clone)).is_dir()
    ]
    raise_faults(missing)


def _run_its_command(cache: Cache) -> str:
    return f"run: {cache.prepare}" if cache.prepare else "make it as the README of its code says"


def require_task_caches(task: Task) -> None:
    """Raise :class:`InputMissingError` where a folder is missing that runs of a task read.

    Nobody is sent to a script that the repository does not have, or that makes another folder.
    """
    texts = [
        path.read_text(encoding="utf-8", errors="replace")
        for name in task.fixed
        if (path := task.folder / name).is_file()
    ]

    def advice(cache: Cache) -> str:
        words, name = shlex.split(cache.prepare), Path(cache.folder).name
        scripts = [word for word in words if word.endswith((".py", ".sh"))]
        have = all((task.folder / script).is_file() for script in scripts)
        if task.origin is None or (cache.prepare and have and any(name in t for t in texts)):
            if task.clone is None or words[:2] != ["uv", "run"]:
                where = f" in {task.clone}" if task.clone else ""
                return f"run{where}: {cache.prepare}" if cache.prepare else _run_its_command(cache)
            return f"run: {shlex.join(['uv', 'run', '--directory', str(task.clone), *words[2:]])}"
        return (
            f"and no file of {task.origin.repo} names such a folder: it is not laid out as "
            f"{task.definition} says. {DESCRIBE_REPOSITORY}"
        )

    require_caches(task.caches, task.clone, advice)


def check_platform(task: Task) -> None:
    """Raise :class:`ConfigError` for a task that needs what this kind of machine cannot have."""
    here = f"{platform.system()} on {platform.machine()}"
    if task.needs == METAL and (platform.system(), platform.machine()) != ("Darwin", "arm64"):
        other = ""
        if task.origin is not None:
            other = (
                ", or take the definition for an NVIDIA GPU: "
                f"{THIS_SESSION} 'task={{repo: {task.origin.repo}, definition: upstream}}'"
            )
        raise ConfigError(
            f"{task.definition}: needs Metal, which a Mac with Apple silicon has, found {here}; "
            f"run it on such a Mac{other}"
        )


def check_guard(task: Task, python: Interpreter | None) -> None:
    """Raise :class:`ConfigError` for a guard whose program is not there."""
    program = resolve_command(task.guard, python)[0] if task.guard else None
    if program is not None and shutil.which(program) is None:
        raise ConfigError(
            f"{task.definition}: guard: {' '.join(task.guard)}: {program!r} cannot be started, "
            "since there is no such program; set `guard` to a command that is installed"
        )


def caches_complete(caches: Sequence[Cache], clone: Path | None) -> bool:
    """Whether all folders that have to be there are."""
    return all(cache.optional or cache_source(cache, clone).is_dir() for cache in caches)


def cache_fingerprints(
    caches: Sequence[Cache], clone: Path | None, store: Store
) -> tuple[CacheFingerprint, ...]:
    """All folders that are there, by names, sizes and digests of their files.

    The digest of a large file is remembered by its size and time.  Raises
    :class:`InputMissingError` as :func:`require_caches` does.
    """
    require_caches(caches, clone)
    folders = [(cache.folder, cache_source(cache, clone)) for cache in caches]
    found = [folder_fingerprint(name, folder, store) for name, folder in folders if folder.is_dir()]
    return tuple(found)


def folder_fingerprint(name: str, folder: Path, store: Store) -> CacheFingerprint:
    """A folder by names, sizes and digests of its files, under a name.

    Raises :class:`InputMissingError` for one without files.
    """
    entries: dict[str, tuple[int, str]] = {}
    for path in _files(folder):
        size = path.stat().st_size
        entries[str(path.relative_to(folder))] = (size, _digest(path, store))
    if not entries:
        raise InputMissingError(f"{folder}: expected files that runs read (`cache`), found none")
    total = sum(size for size, _ in entries.values())
    return CacheFingerprint(name, digest(entries), len(entries), total)


def _files(folder: Path) -> Iterable[Path]:
    """All files below a folder in a fixed order, also those that links lead to."""
    for place, folders, names in os.walk(folder, followlinks=False):
        folders.sort()
        yield from (path for n in sorted(names) if (path := Path(place) / n).is_file())


def _digest(path: Path, store: Store) -> str:
    state = path.stat()
    if state.st_size < LARGE_BYTES:
        return digest_file(path)
    question = {"path": str(path), "bytes": state.st_size, "time": state.st_mtime_ns}
    return str(store.memo(DIGESTS, question, lambda: digest_file(path)))


def check_caches(
    frozen: Sequence[CacheFingerprint], caches: Sequence[Cache], clone: Path | None, store: Store
) -> None:
    """Raise :class:`FixedInputChangedError` for a folder that is not what it was."""
    if not caches:
        return
    now = {entry.folder: entry.sha256 for entry in cache_fingerprints(caches, clone, store)}
    for entry in frozen:
        found = now.pop(entry.folder, "no such folder")
        if found != entry.sha256:
            raise FixedInputChangedError(
                f"cache: {entry.folder}: expected contents with sha256 {entry.sha256}, found "
                f"{found}; put them back as they were, or {NEW_SESSION}"
            )
    if now:
        raise FixedInputChangedError(
            f"cache: {next(iter(now))}: was not there when the session started; take it away, or "
            f"{NEW_SESSION}"
        )
