"""Commands that tests call, and types of their tests, short enough for one line."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from typing import Any

import pytest

Capsys = pytest.CaptureFixture[str]
Patch = pytest.MonkeyPatch


def printed(command: Sequence[str], **options: Any) -> str:
    """What a command prints, on either stream; it must succeed."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        **options,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout
