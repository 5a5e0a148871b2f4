"""``ratchet``: the commands that are no workflow.

    ratchet power --replicates 0.9979 0.9981 0.9975
    ratchet simulate --runs 100
    ratchet try -m "wider layers learn faster"
    ratchet verify

A command's module is loaded when it is called and not before.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from ratchet import __version__
from ratchet.cli import command
from ratchet.errors import UsageError
from ratchet.results_tsv import one_line

COMMANDS = {
    "audit": "which kept changes of a finished session are real, and what to run again",
    "diff": "how the code of two experiments differs",
    "doctor": "whether this machine is ready for a session, and what to do if it is not",
    "export": "a session or any log as results.tsv, CSV, JSON, MLflow or W&B files",
    "power": "what replicates can show at a noise floor, and how many keeps are luck",
    "program": "write, check and update the brief of a task",
    "report": "anybody's log, or a session, as one page",
    "runs": "the experiments of a session as a table",
    "show": "everything about one experiment",
    "simulate": "sessions with known truth, under the judge's modes and other keep rules",
    "status": "how a session stands, also while it runs and after a reboot",
    "try": "take your own edit through experiment, judge and steer",
    "verify": "re-hash a session and its store, and name every deviation",
}

# A module cannot be called what the language calls a statement.
MODULES = {"try": "trying"}


def main(argv: Sequence[str] | None = None) -> int:
    """Hand the arguments to a command; returns its exit code."""
    given = list(sys.argv[1:] if argv is None else argv)
    if given and given[0] in COMMANDS:
        return command.run(f"ratchet {given[0]}", lambda rest: _call(given[0], rest), given[1:])
    return command.run("ratchet", _own, given)


def _call(name: str, argv: Sequence[str]) -> int:
    module = importlib.import_module(f"ratchet.cli.{MODULES.get(name, name)}")
    return int(module.main(argv))


def _own(argv: Sequence[str]) -> int:
    known = ", ".join(COMMANDS)
    parser = command.Parser(
        prog="ratchet",
        usage="ratchet [--help] [--version] COMMAND ...",
        description="Commands beside the workflow; sessions are run with snakemake.",
        epilog="commands: "
        + "; ".join(f"{name}: {text}" for name, text in COMMANDS.items())
        + "; autojudge, autosteer and autoevolve are commands of their own",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"ratchet {__version__}")
    parser.add_argument("command", nargs="?", metavar="COMMAND", help=known)
    options, _ = parser.parse_known_args(argv)
    if options.command is None:
        raise UsageError(f"expected a command ({known}), found none; see ratchet --help")
    raise UsageError(
        f"expected a command ({known}), found {one_line(options.command)!r:.40}; see ratchet --help"
    )


if __name__ == "__main__":
    sys.exit(main())
