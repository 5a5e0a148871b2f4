"""Commands that tests call, and types of their tests, short enough for one line."""

import os
import re
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
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


def snakemake_of(variable: str, make: str) -> str:
    """Snakemake of the environment that a variable names; skips where there is none."""
    folder = os.environ.get(variable)
    if not folder:
        pytest.skip(f"no environment for this: make {make}, and name its folder in {variable}")
    return str(Path(folder) / "bin" / "snakemake")


def workflow_words(said: str, which: int = 0) -> list[str]:
    """The words of a command that a message advises, as a shell reads them."""
    line = re.split(r"(?=snakemake (?:-s|--directory|--cores) )", said)[1:][which].split("\n")[0]
    found = list[str]()
    for word in shlex.split(re.sub(r"(?<=[\w}'])[.,;)](?= |$).*", "", line)):
        if "--config" in found and not re.match(r"[a-z_]+=", word):
            break
        found.append(word)
    return found
