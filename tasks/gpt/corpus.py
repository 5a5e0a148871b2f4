"""The offline corpus: sources of two locked wheels, as installed.

Fixed file of the task; ``prepare.py`` imports it and there is nothing to run.  Every
file is checked against the wheel's own record, and the three splits against digests
below, so that all machines train on the same text.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import sys
from pathlib import Path

PACKAGES = {"docutils": "0.22.4", "django": "5.2.19"}
# Large files are tables; translations, migrations and tests are not what is to be learnt.
LARGEST_FILE = 48 * 1024
LEFT_OUT = frozenset({"tests", "test", "languages", "locale", "migrations", "conftest.py"})
# Of 100 hash values, the first 7 are validation and the next 7 audit.
VAL_BELOW, AUDIT_BELOW = 7, 14
SPLIT_SHA256 = {
    "train": "de4c1d8bb2ca277af3c518995e07779e80d7800ac1af9fc911232feeef7ebc6d",
    "val": "a71c715fe72d40d51fe4dbb8809412a817e04811866597bb7718f2cc48301f89",
    "audit": "6434ae9c78afc0c70f5bf50239fcd8b87a963d79c3eacbb5c48fe4451add47c0",
}

EXIT_WRONG_DATA, EXIT_MISSING_DATA, EXIT_UNAVAILABLE = 65, 66, 69


class PreparationError(Exception):
    """The data cannot be made; ``code`` is the exit code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def documents() -> dict[str, list[str]]:
    """Texts of the three splits ("train", "val", "audit"), checked."""
    parts: dict[str, list[bytes]] = {name: [] for name in SPLIT_SHA256}
    for package, version in PACKAGES.items():
        for path, content in sorted(read_sources(package, version).items()):
            parts[split_of(path)].append(content)
    for name, contents in parts.items():
        found = digest(contents)
        if found != SPLIT_SHA256[name]:
            raise PreparationError(
                EXIT_WRONG_DATA,
                f"{name}: expected sha256 {SPLIT_SHA256[name]}, found {found}; an installed "
                f"package is not the wheel of that version; {_install(*PACKAGES)}",
            )
    return {name: [c.decode("utf-8") for c in contents] for name, contents in parts.items()}


def digest(contents: list[bytes]) -> str:
    """Digest of documents one after the other, each with its length before it."""
    found = hashlib.sha256()
    for content in contents:
        found.update(len(content).to_bytes(8, "big") + content)
    return found.hexdigest()


def split_of(path: str) -> str:
    """Name of the split that a source file belongs to, by the hash of its path."""
    value = int.from_bytes(hashlib.sha256(path.encode()).digest()[:8], "big") % 100
    return "val" if value < VAL_BELOW else "audit" if value < AUDIT_BELOW else "train"


def read_sources(package: str, version: str) -> dict[str, bytes]:
    """Chosen source files of an installed package by path, each one verified."""
    try:
        distribution = importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        raise PreparationError(
            EXIT_MISSING_DATA,
            f"{package}: not installed for {sys.executable}; expected version {version}, "
            f"found none; {_install(package)}",
        ) from None
    if distribution.version != version:
        raise PreparationError(
            EXIT_WRONG_DATA,
            f"{package}: expected version {version}, found {distribution.version}; "
            f"{_install(package)}",
        )
    return {
        record.as_posix(): _verified(record, package)
        for record in distribution.files or ()
        if record.parts[0] == package
        and record.suffix == ".py"
        and LEFT_OUT.isdisjoint(record.parts)
        and 0 < (record.size or 0) <= LARGEST_FILE
    }


def _verified(record: importlib.metadata.PackagePath, package: str) -> bytes:
    path = Path(str(record.locate()))
    expected = record.hash.value if record.hash else "no digest"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PreparationError(
            EXIT_MISSING_DATA,
            f"{path}: cannot be read ({error.strerror}); expected the file with sha256 "
            f"{expected} that the wheel's RECORD names, found none; {_install(package)}",
        ) from None
    found = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    if found != expected:
        raise PreparationError(
            EXIT_WRONG_DATA,
            f"{path}: was changed after its installation; expected sha256 {expected} (the "
            f"wheel's RECORD), found {found}; {_install(package)}",
        )
    return content


def _install(*packages: str) -> str:
    wanted = " ".join(f"{package}=={PACKAGES[package]}" for package in packages)
    return f"type: {sys.executable} -m pip install --force-reinstall {wanted}"
