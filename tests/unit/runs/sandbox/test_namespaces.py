"""Namespaces of a run's own, entered by a process that is about to become something else."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ratchet.runs.process import keep_others_out
from ratchet.runs.sandbox import sandbox
from ratchet.runs.sandbox.namespaces import Mount, enter_namespaces

NOBODY = 65534
pytestmark = pytest.mark.skipif(
    sandbox.namespaces_fault() is not None, reason="no namespaces can be made"
)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="root alone can become somebody else")


def said(act: Callable[[], object]) -> str:
    """What a function gives in a process of its own, or the class of its error."""
    out, own = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            text = str(act())
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
        os.write(own, text.encode())
        os._exit(0)
    os.close(own)
    with os.fdopen(out) as stream:
        text = stream.read()
    os.waitpid(child, 0)
    return text


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that every user may write to."""
    found = Path(tempfile.mkdtemp(dir="/var/tmp")).resolve()
    found.chmod(0o777)
    (found / "file").write_text("content")
    yield found
    shutil.rmtree(found)


def mounts(place: Path) -> list[Mount]:
    return [
        ("processes", "/proc", "/proc"),
        ("devices", "/dev", ""),
        ("empty", "/tmp", ""),
        ("link", "/name", "usr/bin"),
        ("read", "/usr", "/usr"),
        ("read", f"{place}/file", f"{place}/file"),
        ("read", "/copy/of/it", f"{place}/file"),
        ("try", "/missing", "/no such file"),
        ("write", f"{place}/own", f"{place}"),
    ]


def inside(place: Path, look: Callable[[], object], user: int | None = None) -> str:
    def act() -> object:
        if user is not None:
            os.setgid(user)
            os.setuid(user)
        # As the supervisor is, whose child this is in a run.
        keep_others_out()
        enter_namespaces(mounts(place), False, "/tmp")
        return look()

    return said(act)


def names(folder: str) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def random(device: str) -> int:
    with Path(device).open("rb") as stream:
        return len(stream.read(3))


USERS = [None, pytest.param(NOBODY, marks=as_root)]


@pytest.mark.parametrize("user", USERS)
def test_nothing_is_seen_but_the_mounts(place: Path, user: int | None) -> None:
    def look() -> object:
        return names("/"), str(Path.cwd()), Path("/copy/of/it").read_text()

    roots = sorted({"copy", "dev", "name", "proc", "tmp", "usr", place.parts[1]})
    assert inside(place, look, user) == str((roots, "/tmp", "content"))
    assert inside(place, lambda: names("/tmp"), user) == "[]"
    assert inside(place, lambda: names("/dev/shm"), user) == "[]"
    assert inside(place, lambda: Path("/name").is_dir(), user) == "True"
    assert inside(place, os.getuid, user) == str(os.getuid() if user is None else user)


@pytest.mark.parametrize("user", USERS)
def test_what_is_to_be_read_cannot_be_changed(place: Path, user: int | None) -> None:
    tries: dict[str, Callable[[], object]] = {
        "content": lambda: os.truncate("/copy/of/it", 0),
        "rights": lambda: Path("/copy/of/it").chmod(0),
        "a device's times": lambda: os.utime("/dev/null", (0, 0)),
        "a setting of the kernel": lambda: os.open("/proc/sys/vm/swappiness", os.O_WRONLY),
        "a program": lambda: Path("/usr/bin/ratchet-test").touch(),
    }
    for name, act in tries.items():
        assert "Error" in inside(place, act, user), name
    assert inside(place, lambda: Path("/dev/null").write_text("x"), user) == "1"
    assert inside(place, lambda: random("/dev/urandom"), user) == "3"
    written = inside(place, lambda: Path(place, "own", "new").write_text("kept"), user)
    assert (written, (place / "new").read_text()) == ("4", "kept")
