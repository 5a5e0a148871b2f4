"""One call of a coding agent: the tool's command, its clock, what it used.

The prompt never stands on the command line, where every process of the machine could
read it and where its length is limited: it comes by standard input, or as a file.
"""

from __future__ import annotations

import json
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ratchet.base.errors import THIS_SESSION, ConfigError
from ratchet.base.io import write_bytes
from ratchet.base.structs import Frozen, field
from ratchet.runs.supervisor import STOPPING, start_supervisor, supervisor_answer

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
    ``dollars_option`` takes the most that a call may cost.  ``counts_late`` tells of a
    tool that says only at the end of a call what it used.
    """

    command: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    without: Sequence[str] = ()
    dollars_option: str = ""
    counts_late: bool = False


# Each preset allows edits of files, and no more than the tool needs for them, by the
# tool's own documentation.
AGENT_TOOLS: Mapping[str, Tool] = {
    "claude": Tool(
        (
            *("claude", "-p", "--output-format", "stream-json", "--verbose"),
            *("--permission-mode", "acceptEdits"),
        ),
        # It refuses to start within a session of its own, which this may well be.
        without=("CLAUDECODE",),
        dollars_option="--max-budget-usd",
    ),
    "codex": Tool(
        (
            *("codex", "exec", "--json", "--sandbox", "workspace-write"),
            # Its sandbox lets a shell write all of these, where others' files lie.
            *("-c", "sandbox_workspace_write.exclude_slash_tmp=true"),
            *("-c", "sandbox_workspace_write.exclude_tmpdir_env_var=true", "-"),
        ),
        counts_late=True,
    ),
    "gemini": Tool(
        ("gemini", "--output-format", "stream-json", "--approval-mode", "auto_edit"),
        # Without it nothing may be edited in a folder that nobody has opened before.
        environment={"GEMINI_CLI_TRUST_WORKSPACE": "true"},
        counts_late=True,
    ),
    "aider": Tool(
        (
            *("aider", "--yes-always", "--no-auto-commits", "--no-dirty-commits"),
            *("--no-gitignore", "--no-pretty", "--no-stream", "--no-check-update"),
            *("--no-suggest-shell-commands", "--message-file", PROMPT),
            *(f"--read={READABLE}", f"--file={MUTABLE}", f"--file={PROPOSAL}"),
        ),
    ),
    "opencode": Tool(
        ("opencode", "run", "--format", "json"),
        # What it would ask a person for is denied at once, and the model goes on without.
        environment={
            "OPENCODE_PERMISSION": json.dumps(
                {"external_directory": "deny", "bash": "deny", "webfetch": "deny"}
            )
        },
    ),
    CUSTOM: Tool(),
}


def agent_program(name: str, command: Sequence[str] | None, root: Path) -> str:
    """Program that an agent's command starts."""
    return agent_words(command or AGENT_TOOLS[name].command, Path(), (), (), root)[0]


def agent_words(
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


def agent_environment(tool: Tool, inherited: Mapping[str, str]) -> dict[str, str]:
    """The variables of an agent: the user's own, without the harness's.

    Git's variables would lead an agent's git to another repository.
    """
    kept = {
        name: value
        for name, value in inherited.items()
        if not name.startswith(("RATCHET_", "GIT_")) and name not in tool.without
    }
    return {**kept, **tool.environment}


MOST_DOLLARS = 1e6

MOST_TOKENS = 10**12
"""Beyond these a number is a mistake, and it would stop the session."""

AIDER_USAGE = re.compile(
    r"^>?\s*Tokens: (?P<sent>[\d.,]+[kM]?) sent,(?:.*? (?P<read>[\d.,]+[kM]?) cache hit,)?"
    r".*?(?P<received>[\d.,]+[kM]?) received\."
    r"(?: Cost: \$(?P<cost>[\d.]+) message)?"
)

_FACTOR = {"k": 1e3, "M": 1e6}


class Usage(Frozen):
    """Tokens and dollars; ``None`` where the tool reports none."""

    tokens: int | None = None
    dollars: float | None = None

    def __add__(self, other: Usage) -> Usage:
        return Usage(_sum(self.tokens, other.tokens), _sum(self.dollars, other.dollars))


def _sum(a: Any, b: Any) -> Any:
    return b if a is None else a if b is None else a + b


def agent_usage(output: str) -> Usage:
    """Usage that an agent states in its output.

    The tools report it in lines of JSON, each with a ``type`` of its own, or (aider) in
    words; so one reader does for all, and for a command that wraps one of them.  Tokens
    that were read from a cache are not counted: agents read the same context again at
    each step, and pay a tenth or less for it.
    """
    total, messages, final = Usage(), dict[str, Usage](), False
    for line in output.splitlines():
        if match := AIDER_USAGE.match(line.strip()[:400]):
            total += _in_words(match)
            continue
        event = parse_event(line)
        kind = event.get("type")
        if kind == "result":
            final = True
            total += _result(event)
        elif kind == "assistant":  # claude, before its result: what a stopped call used
            message = json_object(event.get("message"))
            messages[str(message.get("id"))] = _result(message)
        elif kind == "turn.completed":  # codex
            used = json_object(event.get("usage"))
            read = _tokens(used, "input_tokens") - _tokens(used, "cached_input_tokens")
            total += Usage(max(0, read) + _tokens(used, "output_tokens"))
        elif kind == "step_finish":  # opencode
            part = json_object(event.get("part"))
            used = json_object(part.get("tokens"))
            written = _tokens(json_object(used.get("cache")), "write")
            spent = written + _tokens(used, "input", "output", "reasoning")
            total += Usage(spent, _amount(part.get("cost"), MOST_DOLLARS))
    if not final:
        for found in messages.values():
            total += found
    return total


def parse_event(line: str) -> Mapping[str, Any]:
    """One line of a stream of JSON; empty for anything else."""
    if not line.lstrip().startswith("{"):
        return {}
    try:
        return json_object(json.loads(line))
    except (ValueError, RecursionError):
        return {}


def json_object(value: Any) -> Mapping[str, Any]:
    """A JSON object; empty for any other value."""
    return value if isinstance(value, Mapping) else {}


def _result(event: Mapping[str, Any]) -> Usage:
    """The sums that claude and gemini end with, or those of one message of claude."""
    if "stats" in event:
        stats = json_object(event["stats"])
        return Usage(max(0, _tokens(stats, "total_tokens") - _tokens(stats, "cached")))
    if "usage" not in event:
        return Usage()
    names = ("input_tokens", "cache_creation_input_tokens", "output_tokens")
    dollars = _amount(event.get("total_cost_usd"), MOST_DOLLARS)
    tokens = _tokens(json_object(event["usage"]), *names)
    # Where its budget ended a call, claude's sums are 0 but for those of each model.
    names = ("inputTokens", "cacheCreationInputTokens", "outputTokens")
    models = map(json_object, json_object(event.get("modelUsage")).values())
    return Usage(tokens or sum(_tokens(model, *names) for model in models), dollars)


def _in_words(match: re.Match[str]) -> Usage:
    """Usage in aider's words, with counts such as ``900`` and ``4.1k``."""
    # What it sends includes what is then read from a cache.
    sent = max(0.0, _count(match["sent"]) - _count(match["read"] or "0"))
    tokens = round(sent + _count(match["received"]))
    return Usage(tokens, _amount(_float(match["cost"] or ""), MOST_DOLLARS))


def _count(text: str) -> float:
    count = _float(text.rstrip("kM").replace(",", "")) or 0.0
    return min(count * _FACTOR.get(text[-1], 1.0), MOST_TOKENS)


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _amount(value: Any, most: float) -> float | None:
    """A number from 0 to ``most``; ``None`` for whatever else an output holds."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if number and 0 <= value <= most else None


def _tokens(used: Mapping[str, Any], *names: str) -> int:
    return sum(int(_amount(used.get(name), MOST_TOKENS) or 0) for name in names)


LOG_LIMIT_BYTES = 2 << 20
"""Head and tail of the output that are kept once it was read."""

STREAM_LIMIT_BYTES = 64 << 20
"""Head and tail of the output that are read for what was used and what went wrong."""


class CallEnding(Frozen):
    """Ending of a call; ``exit_code`` is negative for a signal, as in Python.

    ``stopped_late``: it was ended since its proposal was finished and it was not.
    ``missing`` says why there was nothing to call.
    """

    exit_code: int
    timed_out: bool
    wall_seconds: float
    leftover: int
    stopped_late: bool = False
    missing: str = ""

    @property
    def stopped(self) -> bool:
        """Whether it was ended here."""
        return self.timed_out or self.stopped_late

    @property
    def from_outside(self) -> bool:
        """Whether somebody else ended it: once that may be an accident of the machine."""
        return not self.stopped and -self.exit_code in (*STOPPING, signal.SIGKILL)


def require_agent(program: str, name: str) -> None:
    """Raise :class:`ConfigError` if the program of agent ``name`` is not to be found."""
    if shutil.which(program) is None:
        raise ConfigError(
            f"the agent {name} cannot be started: there is no program {program!r} on the PATH; "
            "install it, or set agent_command, or take another proposer: "
            f"{THIS_SESSION} proposer=declared"
        )


def run_agent(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    prompt: Path | None,
    log: Path,
    seconds: float,
    finished: Callable[[], str | None] = lambda: None,
) -> CallEnding:
    """Run an agent to its end or its limit, and leave nothing of it alive.

    ``prompt`` is what it reads on its standard input, if anything.  ``finished`` names the
    proposal that lies there, once it is whole; an agent that then changes nothing for
    :data:`LINGER_SECONDS` is ended.  The log is whole up to :data:`STREAM_LIMIT_BYTES`.

    The supervisor that watches over training runs does so here too.  There is no
    isolation beyond that: an agent needs the user's own keys, settings and network.
    Raises :class:`ConfigError` if it cannot be started at all.
    """
    reading = [] if prompt is None else ["sh", "-c", 'exec "$@" <"$0"', str(prompt.resolve())]
    log.parent.mkdir(parents=True, exist_ok=True)
    order: dict[str, Any] = {
        "command": [*reading, *command],
        "folder": str(folder.resolve()),
        "environment": dict(environment),
        "log": str(log.resolve()),
        "log_limit_bytes": STREAM_LIMIT_BYTES,
        "timeout_seconds": seconds,
    }
    with start_supervisor(order) as process:
        stopped_late = _end_lingering(process, finished)
        answer = supervisor_answer(process)
    if not answer["started"]:
        raise ConfigError(
            f"the agent's command {command[0]!r} cannot be started ({answer['error']}); "
            "correct agent_command"
        )
    return CallEnding(
        exit_code=answer["code"],
        timed_out=answer["timed_out"],
        wall_seconds=answer["wall_seconds"],
        leftover=answer["leftover"],
        stopped_late=stopped_late,
    )


LINGER_SECONDS = 120.0
"""An agent may look over a finished proposal for so long; a model's longest thought is over."""

LOOK_SECONDS = 1.0


def _end_lingering(process: subprocess.Popen[bytes], finished: Callable[[], str | None]) -> bool:
    """Wait for a supervisor's answer; end its command if that lingers.  Whether it did."""
    assert process.stdout is not None
    last, since = None, 0.0
    while not select.select([process.stdout], [], [], LOOK_SECONDS)[0]:
        now, left = time.monotonic(), finished()
        if left != last:
            last, since = left, now
        if left is not None and now - since >= LINGER_SECONDS:
            assert process.stdin is not None
            process.stdin.close()
            return True
    return False


def cut_log(log: Path) -> bytes:
    """The whole output in a log, which is then cut to its head and tail."""
    output = log.read_bytes() if log.exists() else b""
    extra = len(output) - LOG_LIMIT_BYTES
    if extra > 0:
        half = LOG_LIMIT_BYTES // 2
        note = f"\n[ratchet: {extra} bytes of output left out here]\n".encode()
        write_bytes(log, output[:half] + note + output[-half:])
    return output
