"""A container engine for tests, and the options that close a container."""

import contextlib
import fcntl
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from helpers import REPO
from helpers.commands import printed

FOLDER = REPO / ".devcontainer"
IMAGE = "ratchet-test:ci"
# As README.md shows it.
CLOSED = [
    "--network", "none", "--read-only", "--tmpfs", "/tmp:exec,mode=1777",
    "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
]  # fmt: skip


def devcontainer() -> dict[str, Any]:
    """The definition without its comments, which have lines of their own."""
    text = (FOLDER / "devcontainer.json").read_text()
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("//")]
    found: dict[str, Any] = json.loads("\n".join(lines))
    return found


@contextlib.contextmanager
def once(mark: Path) -> Iterator[bool]:
    """Whether what ``mark`` stands for is still to be made; workers wait for each other."""
    with mark.with_suffix(".lock").open("w") as own:
        fcntl.flock(own, fcntl.LOCK_EX)
        yield not mark.exists()
        mark.touch()


def program(variable: str) -> str:
    """A tool that ``.ci/engine`` has installed; the test skips without it."""
    found = shutil.which(os.environ.get(variable, ""))
    if found is None:
        pytest.skip(f"{variable} names no program; .ci/engine installs one and says so")
    return found


@dataclass
class Docker:
    """An engine with the image under test; removes what it started."""

    program: str
    image: str = IMAGE
    started: list[str] = field(default_factory=list)

    def __call__(self, *words: str) -> str:
        """What the engine prints; it must succeed."""
        return printed([self.program, *words], timeout=240)

    def named(self, kind: str) -> str:
        """A new name, of a ``container`` or a ``volume``, that is removed at the end."""
        return self.owned(kind, f"ratchet-test-{uuid.uuid4().hex[:12]}")

    def owned(self, kind: str, name: str) -> str:
        """The name of a ``container``, ``volume`` or ``image`` that is removed at the end."""
        self.started.append(f"{kind} {name}")
        return name

    def clean(self) -> None:
        """Remove it all, the last first."""
        for kind, name in reversed([entry.split() for entry in self.started]):
            with contextlib.suppress(AssertionError):  # What was never made is not there.
                self(kind, "rm", "--force", name)
