"""The coding agents that can propose, as data: how each is called without a terminal.

Checked against the tools' own documentation.  The prompt never stands on the
command line, where every process of the machine could read it and where its
length is limited: it comes by standard input, or as a file.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ratchet.codec import Frozen, field

CUSTOM = "custom"

# Words of a command that stand for something.
PROMPT = "{prompt}"
MUTABLE = "{mutable}"
READABLE = "{readable}"
ROOT = "{root}"

PROPOSAL = "proposal.json"
"""What an agent writes beside its edit."""

LITTER = (".aider*", ".claude", ".codex", ".gemini", ".opencode", ".cache", ".DS_Store")
"""What agents leave in a folder for themselves; no part of a proposal."""


class Tool(Frozen):
    """One agent: its command and its variables.

    Variables in ``without`` are kept from it, those of ``environment`` are set.
    """

    command: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    without: Sequence[str] = ()


# Each preset allows edits of files, and no more than the tool needs for them.
TOOLS: Mapping[str, Tool] = {
    "claude": Tool(
        (
            *("claude", "-p", "--output-format", "stream-json", "--verbose"),
            *("--permission-mode", "acceptEdits"),
        ),
        # It refuses to start within a session of its own, which this may well be.
        without=("CLAUDECODE",),
    ),
    "codex": Tool(
        ("codex", "exec", "--json", "--sandbox", "workspace-write", "-"),
    ),
    "gemini": Tool(
        ("gemini", "--output-format", "stream-json", "--approval-mode", "auto_edit"),
        # Without it nothing may be edited in a folder that nobody has opened before.
        environment={"GEMINI_CLI_TRUST_WORKSPACE": "true"},
    ),
    "aider": Tool(
        (
            *("aider", "--yes-always", "--no-auto-commits", "--no-dirty-commits"),
            *("--no-gitignore", "--no-pretty", "--no-stream", "--no-check-update"),
            *("--no-suggest-shell-commands", "--message-file", PROMPT),
            *(f"--read={READABLE}", f"--file={MUTABLE}", f"--file={PROPOSAL}"),
        ),
    ),
    "opencode": Tool(("opencode", "run", "--format", "json")),
    CUSTOM: Tool(),
}


def program(name: str, command: Sequence[str] | None, root: Path) -> str:
    """What an agent's command starts."""
    return words(command or TOOLS[name].command, Path(), (), (), root)[0]


def words(
    command: Sequence[str],
    prompt: Path,
    mutable: Sequence[str],
    readable: Sequence[str],
    root: Path,
) -> list[str]:
    """A command with what its words stand for.

    A word with ``{mutable}`` or ``{readable}`` is repeated for each such file.
    A program given by a relative path is one below ``root``, the working folder.
    """
    found: list[str] = []
    for word in command:
        plain = word.replace(PROMPT, str(prompt)).replace(ROOT, str(root))
        for mark, names in ((MUTABLE, mutable), (READABLE, readable)):
            if mark in plain:
                found += [plain.replace(mark, name) for name in names]
                break
        else:
            found.append(sys.executable if plain == "python" else plain)
    if found and "/" in found[0]:
        found[0] = str(root / found[0])
    return found


def by_file(command: Sequence[str]) -> bool:
    """Whether a command takes its prompt as a file, and not by standard input."""
    return any(PROMPT in word for word in command)


def environment(tool: Tool, inherited: Mapping[str, str]) -> dict[str, str]:
    """The variables of an agent: the user's own, without the harness's.

    Git's variables would lead an agent's git to another repository.
    """
    kept = {
        name: value
        for name, value in inherited.items()
        if not name.startswith(("RATCHET_", "GIT_")) and name not in tool.without
    }
    return {**kept, **tool.environment}
