"""File systems of their own: small, full, read-only."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path


def mounted(folder: Path, *options: str) -> bool:
    """Mount a small file system of its own on a folder; False where one may not."""
    command = ["mount", "-t", "tmpfs", *options, "tmpfs", str(folder)]
    return os.geteuid() == 0 and not subprocess.run(command, capture_output=True).returncode


def unmounted(folder: Path) -> None:
    subprocess.run(["umount", "--lazy", str(folder)], check=True, capture_output=True)


def fill(folder: Path, left_kb: int) -> Path:
    """Fill the file system up to some free space; returns what fills it."""
    ballast = folder / "ballast"
    stat = os.statvfs(folder)
    # A session that writes meanwhile may have taken the last of it.
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as stream:
        stream.write(b"\0" * max(0, stat.f_bavail * stat.f_frsize - left_kb * 1024))
    return ballast
