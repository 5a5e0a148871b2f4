"""``ratchet diff N M``: how the code of two experiments differs.

    ratchet diff 0 7          # the baseline and experiment 7
    ratchet diff 3 7 --session night

Exit codes: 0, or 64 usage, 65 data, 66 no session, 70 internal.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from ratchet.base.text import clean_text
from ratchet.cli.main import CommandParser, run_command
from ratchet.cli.sessions import add_options, session_of, trial_of
from ratchet.proposers.declared import unified_diff
from ratchet.records.history import History

NAME = "ratchet diff"
_COLOURS = {"+": "32", "-": "31", "@": "36"}


def main(argv: Sequence[str] | None = None) -> int:
    """Read and print; returns the exit code."""
    return run_command(NAME, lambda given: _run(_parse(given)), argv)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(
        prog=NAME, description="How the code of two experiments differs.", allow_abbrev=False
    )
    parser.add_argument("old", type=int, help="number of an experiment; 0 is the baseline")
    parser.add_argument("new", type=int, help="number of another one")
    parser.add_argument("--session", help="name of the session (default: the configured one)")
    add_options(parser)
    return parser.parse_args(argv)


def _run(options: argparse.Namespace) -> int:
    session = session_of(options.session, options.root, options.config)
    history = History.read(session.paths)
    old, new = (trial_of(session, history, n) for n in (options.old, options.new))
    text, added, removed = unified_diff(session.texts(old.files), session.texts(new.files))
    shown = clean_text(text.encode("utf-8", errors="replace").decode())
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    for line in shown.splitlines():
        print(coloured(line) if colour else line)
    print(
        f"{NAME}: from {old.number} to {new.number}: {added} lines added, {removed} removed",
        file=sys.stderr,
    )
    return 0


def coloured(line: str) -> str:
    """A line of a diff in the colour of its kind."""
    code = _COLOURS.get(line[:1])
    return f"\x1b[{code}m{line}\x1b[0m" if code else line


if __name__ == "__main__":
    sys.exit(main())
