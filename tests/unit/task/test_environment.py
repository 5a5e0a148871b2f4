"""Locks: complete, consistent, without hosts; and what is installed is what is locked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from helpers import REPO
from ratchet.base.errors import DataError
from ratchet.task.environment import locked_versions, verify_packages

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
def test_every_package_is_pinned_with_hashes_and_no_host_is_named(lock: Path) -> None:
    text = lock.read_text()
    assert not re.search(r"https?://|--index|--find-links|file:|@ ", text)
    found = entries(lock)
    assert found
    assert all(hashes for _, hashes in found.values())


def test_the_locks_agree() -> None:
    workflow = entries(REPO / "envs" / "workflow.lock")
    for other in ("bytelm", "dev"):
        for name, entry in entries(REPO / "envs" / f"{other}.lock").items():
            assert workflow.get(name, entry) == entry, f"{name} differs in {other}.lock"
    assert set(workflow) <= set(entries(REPO / "envs" / "dev.lock"))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda p: p.name)
def test_each_lock_holds_what_its_source_asks_for(lock: Path) -> None:
    found = {re.split(r"\s*;", name)[0]: version for name, (version, _) in entries(lock).items()}
    for line in lock.with_suffix(".in").read_text().splitlines():
        if match := re.match(r"^([A-Za-z0-9._-]+)==(\S+)", line):
            assert found[match.group(1).lower()] == match.group(2)


def test_the_tests_run_in_the_locked_environment() -> None:
    verify_packages(REPO / "envs" / "dev.lock")
    assert locked_versions(REPO / "envs" / "bytelm.lock")["numpy"]


def test_markers_decide_what_applies(tmp_path: Path) -> None:
    lock = tmp_path / "x.lock"
    lock.write_text(
        "numpy==1.0 ; sys_platform == 'no-such' \\\n    --hash=sha256:0\nscipy==2.0 \\\n"
        "pyyaml==3.0 ; python_full_version >= '3.11' \\\n"
    )
    assert locked_versions(lock) == {"scipy": "2.0", "pyyaml": "3.0"}


def test_a_difference_is_named_with_what_to_do(tmp_path: Path) -> None:
    lock = tmp_path / "x.lock"
    lock.write_text("numpy==0.0.1\nno-such-package==1\n")
    with pytest.raises(DataError, match=r"numpy: expected 0\.0\.1, found .*make env") as caught:
        verify_packages(lock)
    assert "no-such-package: expected 1, found none" in str(caught.value)
    lock.write_text("# empty\n")
    with pytest.raises(DataError, match="names no package"):
        locked_versions(lock)
