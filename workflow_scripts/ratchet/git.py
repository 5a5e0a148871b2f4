"""Git: our own calls, and GitPython for repositories that are not ours.

Nobody's settings, hooks or variables change what our calls do.  They start the program
directly: GitPython takes longer to import than Git takes to make a commit.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_ALONE = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "LC_ALL": "C.UTF-8",
}


def call(
    *words: str,
    bare: Path | None = None,
    within: Path | None = None,
    given: bytes = b"",
    variables: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run Git on the repository ``bare``, in the folder ``within``, or on no repository."""
    outside = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    place = [f"--git-dir={bare.resolve()}"] if bare else ["-C", str(within)] if within else []
    return subprocess.run(
        ["git", "-c", "core.hooksPath=/dev/null", "-c", "safe.directory=*", *place, *words],
        env={**outside, **_ALONE, **(variables or {})},
        input=given,
        capture_output=True,
        check=False,
    )


def complaint(done: subprocess.CompletedProcess[bytes]) -> str:
    """What Git said of a call that failed."""
    return done.stderr.decode(errors="replace").strip()


def foreign(folder: Path, **variables: str) -> tuple[Any, tuple[type[Exception], ...]]:
    """GitPython's commands in somebody's repository, and the exceptions of failed ones."""
    import git  # slow to import, and most sessions have files of their own

    commands = git.Git(str(folder))
    commands.update_environment(GIT_TERMINAL_PROMPT="0", **variables)
    return commands, (git.GitCommandError, git.GitCommandNotFound)
