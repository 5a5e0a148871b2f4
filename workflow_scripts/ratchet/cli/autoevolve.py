"""``autoevolve``: competing strategies, run, re-tested and compared.

    autoevolve --strategies conservative aggressive random --rounds 3
    autoevolve init --agents 3 --tag mar15
    autoevolve --tag mar15 --rounds 3
    autoevolve status
    autoevolve leaderboard --detailed
    autoevolve pollinate
    autoevolve export --format tsv -o results.tsv
    autoevolve cleanup --yes

Runs go through Snakemake and go on where they were stopped.  Standard output
carries data, standard error progress.

Exit codes: 0; 1 nothing to show yet, or cleaning up was declined; 64 usage, 65 data,
66 no tournament, 75 another session is running here, others as the workflow's own.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from ratchet import __version__
from ratchet.cli import command
from ratchet.codec import Frozen
from ratchet.errors import UsageError
from ratchet.results_tsv import one_line

NAME = "autoevolve"
COMMANDS = {
    "init": "set competitors up: sessions, branches and worktrees at the baseline",
    "status": "where everybody stands, in a line each",
    "leaderboard": "the ranking; --detailed with trajectories and wins passed on",
    "pollinate": "one more round, in which the wins of others are re-tested first",
    "export": "everything as JSON or TSV",
    "cleanup": "remove the worktrees; no record is deleted",
}
_EPILOG = "commands: " + "; ".join(f"{name}: {text}" for name, text in COMMANDS.items())


class Output(Frozen):
    """How to print: ``quiet`` the least, ``colour`` with emphasis."""

    quiet: bool
    colour: bool

    def strong(self, text: str) -> str:
        """A text that stands out."""
        return f"\x1b[1m{text}\x1b[0m" if self.colour else text


def main(argv: Sequence[str] | None = None) -> int:
    """Run a tournament or one of the commands; returns the exit code."""
    return command.run(NAME, _run, argv)


def _run(argv: Sequence[str]) -> int:
    rest, quiet, colour = list(argv), False, sys.stdout.isatty()
    while rest and rest[0] in ("--no-color", "--quiet", "-q"):
        colour, quiet = colour and rest[0] != "--no-color", quiet or rest[0] != "--no-color"
        rest.pop(0)
    output = Output(quiet, colour)
    if rest and not rest[0].startswith("-"):
        if rest[0] not in COMMANDS:
            raise UsageError(
                f"expected a command ({', '.join(COMMANDS)}) or --strategies, found "
                f"{one_line(rest[0])!r:.40}; see {NAME} --help"
            )
        where = "showing" if rest[0] in ("status", "leaderboard", "export") else "evolving"
        module = importlib.import_module(f"ratchet.cli.{where}")
        return int(getattr(module, rest[0])(_parse(rest[0], rest[1:]), output))
    options = _parse("", rest)
    from ratchet.cli import evolving

    return evolving.run(options, output)


def _parse(name: str, argv: Sequence[str]) -> argparse.Namespace:
    parser = command.Parser(
        prog=f"{NAME} {name}".strip(),
        description=COMMANDS.get(name, "Let strategies compete, and pass their wins on."),
        epilog=None if name else _EPILOG,
        allow_abbrev=False,
    )
    add = parser.add_argument
    if not name:
        add("--version", action="version", version=f"{NAME} {__version__}")
        add("--no-color", action="store_true", help="before a command: no emphasis")
        add("-q", "--quiet", action="store_true", help="before a command: the least output")
    _OPTIONS[name](parser)
    add("-t", "--tag", help="name of the tournament (default: the only one, or `session`)")
    from ratchet.cli import settings  # slow to import

    settings.add_options(parser)
    return parser.parse_args(argv)


def _playing(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--strategies", nargs="+", metavar="NAME", help="who competes, from config/strategies.yaml")
    add("--rounds", type=int, help="rounds of the tournament (more of them: go on)")
    add("--runs", type=int, help="training runs of each competitor in each round")
    add("--pollination", choices=("patches", "best", "none"), help="how wins are passed on")
    _workers(parser)


def _workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--gpus", type=int, default=1, help="competitors that train side by side (default: 1)"
    )


def _init(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("-n", "--agents", type=int, help="competitors: so many of the strategies")
    who.add_argument("--strategies", nargs="+", metavar="NAME", help="or exactly these")
    add("-b", "--base-branch", help="branch that the task's files must be as in")
    add("--worktree-dir", help="folder for the worktrees (default: in each session's own)")


def _pollinate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-n", "--dry-run", action="store_true", help="only say what would be offered to whom"
    )
    _workers(parser)


def _leaderboard(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--detailed", action="store_true", help="trajectories and wins passed on")
    parser.add_argument("--json", action="store_true", help="all facts as one JSON object")


def _export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", choices=("json", "tsv"), default="json", help="default: json")
    parser.add_argument("-o", "--output", help="file to write (default: standard output)")


def _cleanup(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--export-first", action="store_true", help="export as JSON before")
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")


_OPTIONS = {
    "": _playing,
    "init": _init,
    "status": lambda parser: None,  # noqa: ARG005
    "leaderboard": _leaderboard,
    "pollinate": _pollinate,
    "export": _export,
    "cleanup": _cleanup,
}


if __name__ == "__main__":
    sys.exit(main())
