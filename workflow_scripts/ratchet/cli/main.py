"""The command `ratchet`, and what all command lines share.

Every failure is one line on standard error that begins with the command's name,
and an exit code of sysexits, so that a typo never reads as a verdict.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import json
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ratchet import __version__
from ratchet.base.errors import EXIT_IO, EXIT_SOFTWARE, DataError, RatchetError, UsageError
from ratchet.base.io import read_file, write_bytes
from ratchet.base.terminal import wrap_text
from ratchet.base.text import one_line
from ratchet.logs.table import Table
from ratchet.records.records import Direction

if TYPE_CHECKING:
    from ratchet.logs.experiments import LogExperiments

SHOWN = 20
"""Notes of one kind that are printed one by one; the rest is counted."""

EXIT_INTERRUPTED = 130
RESULTS = Path("results.tsv")

HEAD_BYTES = 8192
"""Within so many bytes a page of ours says what made it."""


class OutputError(RatchetError):
    """A file that was asked for cannot be written."""

    exit_code = EXIT_IO


class CommandParser(argparse.ArgumentParser):
    """Parser whose help is a module's docstring, and that raises what it refuses.

    argparse exits 2 on a wrong option; here that would read as a verdict.
    """

    def __init__(self, prog: str, description: str | None, **options: Any) -> None:
        about = (description or "").removeprefix(f"{prog}: ")
        options |= {"description": about[:1].upper() + about[1:], "allow_abbrev": False}
        if len((options.get("epilog") or "").splitlines()) == 1:
            options["epilog"] = "\n".join(wrap_text(options["epilog"]))
        super().__init__(prog, formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{one_line(message)}; see {self.prog} --help")


def make_command(
    name: str,
    parse: Callable[[Sequence[str]], argparse.Namespace],
    act: Callable[[argparse.Namespace], int],
    hint: str = "please report it",
) -> Callable[[Sequence[str] | None], int]:
    """The ``main`` of a command line: arguments in, exit code out."""

    def main(argv: Sequence[str] | None = None) -> int:
        return run_command(name, lambda given: act(parse(given)), argv, hint)

    return main


def run_command(
    name: str,
    act: Callable[[Sequence[str]], int],
    argv: Sequence[str] | None,
    hint: str = "please report it",
) -> int:
    """Call ``act`` with the arguments; returns its exit code or the error's.

    ``argv`` defaults to the process's own, ``hint`` is said of internal errors.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        try:
            code = act(sys.argv[1:] if argv is None else argv)
        except SystemExit as done:  # --help, --version, and a signal that was passed on
            code = int(done.code or 0)
        sys.stdout.flush()
        return code
    except RatchetError as error:
        tell(name, spelled(str(error)))
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_IO
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except Exception as error:
        tell(name, f"internal error, {type(error).__name__}: {error}; {hint}")
        return EXIT_SOFTWARE


def spelled(text: str) -> str:
    """A message whose commands name the session that it is about, by the path that it names."""
    named = re.search(r"(?:(?P<root>[^\s:]*)/)?\bresults/(?P<name>[^/\s:]+)/", text)
    if named is None or "session=" not in text:
        return text
    from ratchet.cli.sessions import harness_folder  # few errors have one
    from ratchet.config import spell_commands
    from ratchet.records.paths import SessionPaths

    root = Path(named["root"] or ".")
    paths = SessionPaths(named["name"], root if root.is_dir() else Path())
    return spell_commands(text, paths, harness=harness_folder(paths.root))


def tell(name: str, text: str) -> None:
    """Say something on standard error, on one line that begins with the command's name."""
    print(f"{name}: {one_line(text)}", file=sys.stderr)


def print_json(value: Any) -> None:
    """Print one JSON value for tools."""
    print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def list_commands(commands: Mapping[str, str], least: int = 0) -> str:
    """Names of at least so many columns with what they do, for --help."""
    indent = max(least, *map(len, commands)) + 4
    return "\n".join(
        line
        for name, text in commands.items()
        for line in wrap_text(text, first=f"  {name}".ljust(indent), rest=" " * indent)
    )


def unknown_command(name: str, known: Iterable[str], prog: str) -> UsageError:
    """Error for a command that does not exist."""
    close = difflib.get_close_matches(name, known, n=1)
    which = "" if close else f" ({', '.join(known)})"
    hint = f"did you mean {close[0]!r}? " if close else ""
    return UsageError(
        f"expected a command{which}, found {one_line(name)!r:.40}; {hint}see {prog} --help"
    )


def add_log_options(
    parser: argparse.ArgumentParser,
    default: Path | None = RESULTS,
    source: argparse._ActionsContainer | None = None,
) -> None:
    """Options that name a log, among those of ``source``, and say what its metric is."""
    add = parser.add_argument
    shown = "the log (default results.tsv)" if default else "a log in any dialect, not a session"
    (source or parser).add_argument(
        "--results", type=Path, metavar="FILE", default=default, help=shown
    )
    add("--metric", metavar="COLUMN", help="column of a log's metric (default: recognised)")
    ways = [d.value for d in Direction]
    add("--direction", choices=ways, help="default: by what was kept, else by the metric's name")
    said = "column that says what was kept, or what a word in it means: champion=keep (repeatable)"
    add("--status", metavar="COLUMN|WORD=MEANING", action="append", help=said)
    add("--label", metavar="NAME", help="only a log's rows about this metric, target or task")
    add("--agent", metavar="NAME", help="only a log's rows of this agent, and those that name none")


def check_log_options(options: argparse.Namespace, *names: str) -> None:
    """Refuse a session beside a log, and options of a log without one."""
    if options.results is not None and options.session is not None:
        raise UsageError("expected a session or --results, found both")
    given = [name for name in names if getattr(options, name) is not None]
    if options.results is None and given:
        raise UsageError(f"--{given[0].replace('_', '-')} is of a log: add --results FILE")


SETTLED = "ratchet.toml"
"""The file beside a log that settles how it is read."""


def read_log(options: argparse.Namespace, path: Path | None = None) -> tuple[LogExperiments, bytes]:
    """The experiments of the log that the options name, and the file's bytes.

    What no option says is taken from ``ratchet.toml`` beside the log.
    """
    from ratchet.logs.experiments import log_experiments, of_agent
    from ratchet.logs.reader import read_table

    path = path or options.results
    data, settled = read_file(path), _settled(path.parent / SETTLED)
    for name in ("metric", "direction", "status", "label"):
        settled[name] = getattr(options, name) or settled.get(name)
    direction = settled["direction"] and Direction(settled["direction"])
    status, label = settled["status"] or (), settled["label"]
    table = read_table(data, one_line(str(path)), settled["metric"], direction, status, label)
    if options.agent is not None:
        table = of_agent(table, options.agent)
    return log_experiments(table), data


def _settled(path: Path) -> dict[str, Any]:
    """What a log's ``ratchet.toml`` says: metric, direction, label, and status, a list."""
    if not path.is_file():
        return {}
    import tomllib

    where = one_line(str(path))
    try:
        found = tomllib.loads(read_file(path).decode())
    except ValueError as error:
        raise DataError(f"{where}: expected TOML, found {one_line(str(error))[:120]}") from None
    if isinstance(found.get("status"), str):
        found["status"] = [found["status"]]
    ways = [d.value for d in Direction]
    for name, value in found.items():
        if name not in ("metric", "direction", "status", "label"):
            wanted = "metric, direction, status or label"
            raise DataError(f"{where}: expected {wanted}, found the key {one_line(name)!r:.60}")
        texts = value if isinstance(value, list) and name == "status" else [value]
        if not all(isinstance(text, str) for text in texts):
            raise DataError(f"{where}: {name}: expected text, found {one_line(str(value))!r:.60}")
        if name == "direction" and value not in ways:
            raise DataError(
                f"{where}: direction: expected {' or '.join(ways)}, found {value!r:.60}"
            )
    return found


def check_positive(option: str, value: float | None) -> None:
    """Refuse a value that is given and not a positive number."""
    if value is not None and not (math.isfinite(value) and value > 0):
        raise UsageError(f"{option}: expected a positive number, found {value}")


def tell_assumptions(name: str, table: Table, notes: Sequence[str], quiet: bool) -> None:
    """Say what was assumed (unless ``quiet``) and what a log's problems are, on stderr."""
    for note in () if quiet else notes:
        tell(name, f"assumed: {note}")
    tell_some(name, "problem", table.problems, "; --json lists all")


def tell_some(name: str, kind: str, notes: Sequence[object], rest: str = "") -> None:
    """Say the first notes of a kind one by one, and how many more there are."""
    for note in notes[:SHOWN]:
        tell(name, f"{kind}: {note}")
    if len(notes) > SHOWN:
        tell(name, f"{kind}: {len(notes) - SHOWN} more{rest}")


def may_write(output: Path, force: bool, inputs: Sequence[Path | None], option: str = "-o") -> None:
    """Refuse to replace an input, a file of a session, and what is no report of ours.

    ``option`` names the file on the command line.  Raises :class:`OutputError`.
    """
    shown = one_line(str(output))
    try:
        if output.is_dir():
            raise OutputError(f"{shown}: is a folder; name a file in it with {option}")
        if not output.parent.is_dir():
            raise OutputError(f"{shown}: there is no such folder; make it, or name another")
        if (output.parent / "manifest.json").is_file():
            raise OutputError(
                f"{shown}: that folder is a session's, whose files are sealed; name another with "
                f"{option}"
            )
        if not (output.exists() or output.is_symlink()):
            return
        if any(path is not None and path.exists() and output.samefile(path) for path in inputs):
            raise OutputError(f"{shown}: is what the report is made of; name another file")
        if not force and not _is_report(output):
            raise OutputError(
                f"{shown}: exists and is no report of this program; name another with {option}, or "
                "replace it with --force"
            )
    except (OSError, ValueError) as error:
        raise _unwritable(output, error) from None


def _is_report(path: Path) -> bool:
    """Whether a page says of itself that it was made here."""
    from ratchet.report.render import GENERATOR

    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return f'<meta name="generator" content="{GENERATOR}">'.encode() in stream.read(HEAD_BYTES)


def write_output(output: Path, content: str | bytes) -> None:
    """Write a file that was asked for; raises :class:`OutputError` where that fails."""
    data = content.encode(errors="replace") if isinstance(content, str) else content
    try:
        write_bytes(output, data)
    except (OSError, ValueError) as error:
        raise _unwritable(output, error) from None


def _unwritable(output: Path, error: Exception) -> OutputError:
    reason = getattr(error, "strerror", None) or error
    return OutputError(f"{one_line(str(output))}: cannot be written: {reason}")


GROUPS = {
    "a session": {
        "status": "how it stands, also while it runs and after a reboot",
        "runs": "its experiments as a table",
        "show": "everything about one experiment",
        "diff": "how the code of two experiments differs",
        "compare": "sessions of one task side by side",
        "try": "take your own edit through experiment, judge and steer",
        "report": "the page of a session, or of anybody's log",
        "export": "results.tsv, CSV or JSON of a session or a log",
        "finalize": "a branch and a patch for each certified change",
        "mirror": "send a session to another place, from which it can go on",
        "restore": "bring a session back from its mirror",
        "verify": "hash a session and its store again",
    },
    "a task": {
        "init": "write the task of any training script",
        "space": "the ranges that an optimiser searches",
        "program": "write, check and update the brief of a task",
        "doctor": "whether this machine is ready for a session",
        "plan": "how many hours a session will take, and what that costs",
    },
    "chance": {
        "audit": "which kept changes of a finished log are real",
        "power": "what replicates can show, and which keeps are luck",
        "simulate": "sessions with known truth, under several keep rules",
    },
    "agents": {
        "skill": "give a coding agent the autoresearch skill",
        "mcp": "the tools of a session (Model Context Protocol)",
    },
}
"""Commands by what they are about, each with what it does."""

COMMANDS = {name: text for group in GROUPS.values() for name, text in group.items()}

MODULES = {"try": "tryout"}
"""A module cannot be called what the language calls a statement."""


def main(argv: Sequence[str] | None = None) -> int:
    """Hand the arguments to a command, whose module is loaded now; returns its exit code."""
    given = list(sys.argv[1:] if argv is None else argv)
    if given and given[0] in COMMANDS:
        return run_command(f"ratchet {given[0]}", lambda rest: _call(given[0], rest), given[1:])
    return run_command("ratchet", _own, given)


def _call(name: str, argv: Sequence[str]) -> int:
    module = importlib.import_module(f"ratchet.cli.{MODULES.get(name, name)}")
    return int(module.main(argv))


def _own(argv: Sequence[str]) -> int:
    parser = CommandParser(
        prog="ratchet",
        usage="ratchet [--help] [--version] COMMAND ...",
        description="Commands beside the workflow; sessions are run with snakemake.\n\n"
        + "\n\n".join(f"{name}:\n{list_commands(some, 10)}" for name, some in GROUPS.items()),
        epilog="autojudge, autosteer and autoevolve are commands of their own",
    )
    parser.add_argument("--version", action="version", version=f"ratchet {__version__}")
    parser.add_argument("command", nargs="?", metavar="COMMAND", help="one of these commands")
    options, _ = parser.parse_known_args(argv)
    if options.command is None:
        known = ", ".join(COMMANDS)
        raise UsageError(f"expected a command ({known}), found none; see ratchet --help")
    raise unknown_command(options.command, COMMANDS, "ratchet")


if __name__ == "__main__":
    sys.exit(main())
