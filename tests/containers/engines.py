"""A container engine for tests, and the options that close a container."""

from __future__ import annotations

import subprocess
import uuid
from dataclasses import dataclass, field
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
IMAGE = "ratchet-test:ci"
# As README.md shows it.
CLOSED = [
    "--network", "none", "--read-only", "--tmpfs", "/tmp:exec,mode=1777",
    "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
]  # fmt: skip


@dataclass
class Docker:
    """An engine with the image under test; removes what it started."""

    program: str
    image: str = IMAGE
    started: list[str] = field(default_factory=list)

    def __call__(self, *words: str, check: bool = True, seconds: float = 240) -> str:
        done = subprocess.run(
            [self.program, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout
        return done.stdout

    def named(self, kind: str) -> str:
        """A new name, of a ``container`` or a ``volume``, that is removed at the end."""
        name = f"ratchet-test-{uuid.uuid4().hex[:12]}"
        self.started.append(f"{kind} {name}")
        return name

    def clean(self) -> None:
        """Remove it all, the last first."""
        for kind, name in reversed([entry.split() for entry in self.started]):
            self(
                *({"container": ["rm"], "volume": ["volume", "rm"]}[kind]), "-f", name, check=False
            )
