"""What a lock of uv's pins on this platform."""

from __future__ import annotations

from pathlib import Path

import pytest

from ratchet.base.errors import DataError
from ratchet.task.environment import Interpreter, locked_versions, package_deviations

LOCK = """version = 1
requires-python = ">=3.10"

[[package]]
name = "project"
version = "0.1.0"
source = { virtual = "." }
dependencies = [
    { name = "plain" },
    { name = "heavy", version = "2.9+cu", marker = "os_name == 'posix'" },
    { name = "heavy", version = "2.9", source = { registry = "a" }, marker = "os_name != 'posix'" },
    { name = "other-system", marker = "sys_platform == 'win32'" },
    { name = "member" },
]

[package.dev-dependencies]
dev = [{ name = "tester" }]

[[package]]
name = "plain"
version = "1.0"
dependencies = [{ name = "circle" }, { name = "forked" }]

[[package]]
name = "circle"
version = "4.0"
dependencies = [{ name = "plain" }]

[[package]]
name = "forked"
version = "1"
resolution-markers = ["os_name != 'posix'"]

[[package]]
name = "forked"
version = "2"
resolution-markers = ["os_name == 'posix'"]

[[package]]
name = "heavy"
version = "2.9"
source = { registry = "a" }

[[package]]
name = "heavy"
version = "2.9+cu"
source = { registry = "b" }
dependencies = [{ name = "sums", extra = ["exact"] }]

[[package]]
name = "sums"
version = "5"

[package.optional-dependencies]
exact = [{ name = "digits" }]
never = [{ name = "tester" }]

[[package]]
name = "digits"
version = "6"

[[package]]
name = "member"
version = "0.0.0"
source = { editable = "packages/member" }
dependencies = [{ name = "far" }]

[[package]]
name = "far"
version = "7"

[[package]]
name = "other-system"
version = "8"

[[package]]
name = "tester"
version = "9"
"""
PINNED = {
    "circle": "4.0",
    "digits": "6",
    "far": "7",
    "forked": "2",
    "heavy": "2.9+cu",
    "plain": "1.0",
    "sums": "5",
}


def test_what_the_project_needs_here_is_pinned(tmp_path: Path) -> None:
    path = tmp_path / "uv.lock"
    path.write_text(LOCK)
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
def test_other_files_are_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "uv.lock"
    path.write_text(text)
    with pytest.raises(DataError, match=words):
        locked_versions(path)


def test_requirements_with_extras_and_blanks_are_pins_too(tmp_path: Path) -> None:
    path = tmp_path / "requirements.txt"
    path.write_text("plain == 1.0\nheavy[exact]==2.9 ; os_name == 'posix'\nopen>=3\n# x==1\n")
    assert locked_versions(path) == {"plain": "1.0", "heavy": "2.9"}
    path.write_text("open>=3\n")
    with pytest.raises(DataError, match="names no package with its version"):
        locked_versions(path)
