"""Facts of a task that stand in its own folder: defaults of task.yaml, and what init proposes.

Everything here reads text that anybody wrote, and runs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ratchet.base.errors import ConfigError
from ratchet.task.task import BRIEF

BUDGET_SECONDS = 300.0
"""Training time of a task that names no budget: what karpathy/autoresearch gives each run."""

TIMES_BUDGET, LEAST_TIMEOUT_SECONDS = 3.0, 60.0
"""Wall-clock limit of a task that names none, in budgets: starting, compiling and evaluating
may take as long again; and its least, for a cold disk."""

STEPS_TIMEOUT_SECONDS = 3600.0
"""The same where the budget is in steps, whose time nobody knows before the first run."""


def complete_values(data: Mapping[str, Any], folder: Path, name: str, where: str) -> dict[str, Any]:
    """Checked values of a ``task.yaml`` with defaults for the keys that it does not have.

    ``folder`` has the task's files, and ``name`` is what a task without a name is called.
    Raises :class:`ConfigError` where no file can be told that experiments may change.
    """
    found = {"name": plain_name(name), **data}
    if "mutable" not in found:
        scripts = command_files(found["command"], folder)
        if not scripts:
            raise ConfigError(
                f"{where}: the key 'mutable' is missing, and no word of `command` "
                f"({' '.join(found['command'])}) is a file of {folder}; name the files that "
                "experiments may change, such as mutable: [train.py]"
            )
        found["mutable"] = scripts[:1]
    found.setdefault("fixed", [])
    if "brief" not in found and (folder / BRIEF).is_file():
        found["brief"] = BRIEF
    texts = [_text_of(folder / each) for each in (*found["mutable"], *found["fixed"])]
    if "budget" not in found:
        found["budget"] = default_budget(texts)
    if "timeout_seconds" not in found:
        seconds = found["budget"].get("seconds")
        least = LEAST_TIMEOUT_SECONDS
        limit = STEPS_TIMEOUT_SECONDS if seconds is None else max(TIMES_BUDGET * seconds, least)
        found["timeout_seconds"] = limit
    if "seed" not in found:
        reads = any("RATCHET_SEED" in text for text in texts)
        found["seed"] = "environment" if reads else "hook"
    return found


_TIMED = re.compile(
    r"time_?budget|time_?limit|budget_?(?:seconds|minutes)|max_?(?:seconds|minutes|hours|time\b)",
    re.IGNORECASE,
)
"""Names by which code says how long it trains."""


def default_budget(texts: Iterable[str]) -> dict[str, Any]:
    """Budget of a task whose files have these texts.

    Code that reads Ratchet's variables is given seconds.  All other code sets its budget
    itself: a time, where it names one, or else so much work, which a busy machine does not
    change.
    """
    texts = list(texts)
    if any("RATCHET_BUDGET" in text for text in texts):
        return {"seconds": BUDGET_SECONDS}
    if any(map(_TIMED.search, texts)):
        return {"seconds": BUDGET_SECONDS, "fixed": True}
    return {"steps": 1, "fixed": True}


def plain_name(name: str) -> str:
    """A name of letters, digits and ``. _ -`` that is like another one."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._") or "task"


def command_files(command: Sequence[str], folder: Path) -> list[str]:
    """Names of the task's files among the words of a command; a module counts by its file."""
    found: list[str] = []
    for before, word in zip(["", *command], command, strict=False):
        names = [word.removeprefix("./")]
        if before == "-m":
            module = word.replace(".", "/")
            names = [f"{module}.py", f"{module}/__main__.py"]
        # A path that leads out of the folder is no file of the task.
        inside = [n for n in names if n and not n.startswith("/") and ".." not in Path(n).parts]
        found += [n for n in inside if n not in found and (folder / n).is_file()][:1]
    return found


def _text_of(path: Path) -> str:
    """Text of a file; empty for one that is not there, which is named later, and for a folder."""
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
