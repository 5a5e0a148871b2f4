"""``ratchet doctor``: is this machine ready for a session, and if not, what to do?

    ratchet doctor
    ratchet doctor --json --config task=tasks/gpt

Looks at Python, git, Snakemake, uv, locked packages, disk, task and data, GPUs,
isolation, container runtimes, coding agents, and for a session that runs already, and
says how many runs and hours the configured session will take.
Nothing is changed, and nothing is started but ``--version`` of programs and a trivial
command under each kind of isolation.

Exit codes: 0 ready, 1 not ready, 64 usage, 70 internal.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import textwrap
from collections.abc import Sequence

from ratchet import doctor
from ratchet.cli import command, probing, settings
from ratchet.codec import asdict, encode
from ratchet.doctor import Check, State
from ratchet.results_tsv import one_line

NAME = "ratchet doctor"
EXIT_NOT_READY = 1
WIDTH = 80
_COLOURS = {State.OK: "32", State.WARNING: "33", State.PROBLEM: "31"}
_STATE, _NAME = 9, 11


def main(argv: Sequence[str] | None = None) -> int:
    """Look and print; returns the exit code."""
    return command.run(NAME, lambda given: _run(_parse(given)), argv)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = command.Parser(
        prog=NAME,
        description="Whether this machine is ready for a session, and what to do if it is not.",
        epilog="exit codes: 0 ready; 1 not ready; 64 usage, 70 internal error",
        allow_abbrev=False,
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    settings.add_options(parser)
    return parser.parse_args(argv)


def _run(options: argparse.Namespace) -> int:
    machine = probing.machine(options.root, options.config)
    checks = doctor.examine(machine)
    ready = doctor.ready(checks)
    if options.json:
        fields = {
            "ready": ready,
            "conclusion": doctor.conclusion(checks),
            "checks": [{**asdict(check), "state": check.state.value} for check in checks],
            "length": None if machine.outlook is None else encode(machine.outlook),
        }
        print(json.dumps(fields, indent=2, ensure_ascii=False))
    else:
        colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        print(render(checks, colour))
    return 0 if ready else EXIT_NOT_READY


def render(checks: Sequence[Check], colour: bool = False) -> str:
    """All checks within :data:`WIDTH` columns, and the conclusion."""
    lines = [line for check in checks for line in _lines(check, colour)]
    last = textwrap.wrap(one_line(doctor.conclusion(checks)), WIDTH, break_on_hyphens=False)
    return "\n".join([*lines, "", *last])


def _lines(check: Check, colour: bool) -> list[str]:
    indent = " " * (_STATE + _NAME)
    parts = _wrapped(check.text, indent)
    if check.todo:
        parts += _wrapped(f"→ {check.todo}", indent)
    word = f"{check.state.value:<{_STATE}}"
    if colour:
        word = f"\x1b[{_COLOURS[check.state]}m{word}\x1b[0m"
    return [f"{word}{check.name:<{_NAME}}{parts[0].strip()}", *parts[1:]]


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        one_line(text),
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_on_hyphens=False,
    )


if __name__ == "__main__":
    sys.exit(main())
