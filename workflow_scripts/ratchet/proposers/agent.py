"""Runs one call of a coding agent: with the user's rights, a clock, and no descendants left.

The supervisor that watches over training runs watches over agents too: a session
of its own, output to a log of bounded size, TERM and then KILL for the whole
tree at the limit, and nothing survives the harness's death.  There is no
isolation beyond that: an agent needs the user's own keys, settings and network.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ratchet import supervisor
from ratchet.codec import Frozen
from ratchet.errors import ConfigError
from ratchet.processes import adopt_orphans, kill_descendants

LOG_LIMIT_BYTES = 2 << 20
"""Head and tail of the output are kept; what was used stands at the end."""

# These come from outside: whoever stops a service sends them to every process.
OUTSIDE_SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Call(Frozen):
    """What to run: ``prompt`` is what it reads on its standard input, if anything."""

    command: Sequence[str]
    folder: Path
    environment: Mapping[str, str]
    prompt: Path | None
    log: Path
    seconds: float


class Ending(Frozen):
    """How a call ended; ``exit_code`` is negative for a signal, as in Python."""

    exit_code: int
    timed_out: bool
    wall_seconds: float
    leftover: int

    @property
    def from_outside(self) -> bool:
        """Whether somebody else ended it: once that may be an accident of the machine."""
        return not self.timed_out and -self.exit_code in OUTSIDE_SIGNALS


def find(program: str, name: str) -> None:
    """Raise :class:`ConfigError` if the program of agent ``name`` is not to be found."""
    if shutil.which(program) is None:
        raise ConfigError(
            f"the agent {name} cannot be started: there is no program {program!r} on the PATH; "
            "install it, or set agent_command, or take another proposer: "
            "snakemake --cores 1 --config proposer=declared"
        )


def _reading(prompt: Path | None) -> list[str]:
    """Words before a command that let it read a file as its standard input."""
    return [] if prompt is None else ["sh", "-c", 'exec "$@" <"$0"', str(prompt.resolve())]


def run(call: Call) -> Ending:
    """Run an agent to its end or its limit.

    Raises :class:`ConfigError` if it cannot be started at all.
    """
    call.log.parent.mkdir(parents=True, exist_ok=True)
    order: dict[str, Any] = {
        "command": [*_reading(call.prompt), *call.command],
        "folder": str(call.folder.resolve()),
        "environment": dict(call.environment),
        "log": str(call.log.resolve()),
        "log_limit_bytes": LOG_LIMIT_BYTES,
        "timeout_seconds": call.seconds,
    }
    adopt_orphans()
    process = subprocess.Popen(
        [sys.executable, "-S", "-E", supervisor.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with contextlib.suppress(OSError):
            process.stdin.write(json.dumps(order).encode() + b"\n")
            process.stdin.flush()
        line = process.stdout.readline()
    finally:
        # Closing the pipe ends the agent, whatever brought us here.
        with contextlib.suppress(OSError):
            process.stdin.close()
        process.wait()
        process.stdout.close()
        kill_descendants()
    if not line:
        # The supervisor was killed; what it watched died with it.
        return Ending(-signal.SIGKILL, timed_out=False, wall_seconds=0.0, leftover=0)
    answer = json.loads(line)
    if not answer["started"]:
        raise ConfigError(
            f"the agent's command {call.command[0]!r} cannot be started ({answer['error']}); "
            "correct agent_command"
        )
    return Ending(answer["code"], answer["timed_out"], answer["wall_seconds"], answer["leftover"])
