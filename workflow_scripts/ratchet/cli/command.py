"""What all command lines share: how they refuse, fail and read files.

Every failure is one line on standard error that begins with the command's name,
and an exit code of sysexits, so that a typo never reads as a verdict.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from ratchet.dialects import Table
from ratchet.errors import (
    EXIT_IO,
    EXIT_SOFTWARE,
    DataError,
    InputMissingError,
    RatchetError,
    UsageError,
)
from ratchet.results_tsv import one_line
from ratchet.vocabulary import Direction

if TYPE_CHECKING:
    from ratchet.cli.session import Experiments

MAX_BYTES = 512 * 2**20
"""Larger files are refused: no log of experiments is near it, a core dump is."""

SHOWN_PROBLEMS = 20
"""Problems of a log printed one by one; the rest is counted (all are in the JSON)."""

EXIT_INTERRUPTED = 130

RESULTS = Path("results.tsv")

HEAD_BYTES = 8192
"""Within so many bytes a page of ours says what made it."""


class OutputError(RatchetError):
    """A file that was asked for cannot be written."""

    exit_code = EXIT_IO


class Parser(argparse.ArgumentParser):
    """argparse exits 2 on a wrong option; here that would read as a verdict."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{one_line(message)}; see {self.prog} --help")


def run(
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
        except SystemExit as done:  # --help and --version
            code = int(done.code or 0)
        sys.stdout.flush()
        return code
    except RatchetError as error:
        return _fail(name, str(error), error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_IO
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except Exception as error:
        text = f"internal error, {type(error).__name__}: {error}"
        return _fail(name, f"{text}; {hint}", EXIT_SOFTWARE)


def _fail(name: str, message: str, code: int) -> int:
    print(f"{name}: {one_line(message)}", file=sys.stderr)
    return code


def read(path: Path) -> bytes:
    """A file's bytes; raises :class:`InputMissingError` where it cannot be read."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise DataError(f"{path}: expected at most {MAX_BYTES} bytes, found {size}")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputMissingError(f"{path}: cannot be read: {reason}") from None


# ------------------------------------------------------------------------- logs


def add_log_options(
    parser: argparse.ArgumentParser,
    default: Path | None = RESULTS,
    source: argparse._ActionsContainer | None = None,
) -> None:
    """Options that name a log, among those of ``source``, and say what its metric is."""
    add = parser.add_argument
    shown = "the log (default results.tsv)" if default else "a log in any dialect, not a session"
    (source or parser).add_argument("--results", type=Path, default=default, help=shown)
    add("--metric", help="column of a log's metric (default: recognised)")
    add("--direction", choices=[d.value for d in Direction], help="default: by the metric's name")
    add("--agent", help="only a log's rows of this agent, and those that name none")


def read_log(options: argparse.Namespace, path: Path | None = None) -> tuple[Experiments, bytes]:
    """The experiments of the log that the options name, and the file's bytes."""
    from ratchet.cli.session import experiments, of_agent
    from ratchet.dialects import read_table

    path = path or options.results
    data, direction = read(path), options.direction and Direction(options.direction)
    table = read_table(data, one_line(str(path)), options.metric, direction)
    if options.agent is not None:
        table = of_agent(table, options.agent)
    return experiments(table), data


def check_positive(option: str, value: float | None) -> None:
    """Refuse a value that is given and not a positive number."""
    if value is not None and not (math.isfinite(value) and value > 0):
        raise UsageError(f"{option}: expected a positive number, found {value}")


def decimals(noise_sd: float | None, value: float | None = None) -> int:
    """Decimals that show one or two digits of the noise floor."""
    if noise_sd is None or noise_sd <= 0:
        return 6 if value is None or abs(value) < 1000 else 2
    place = math.floor(math.log10(noise_sd))
    fine = noise_sd / 10.0**place < 5
    return min(max(-place + fine, 0), 12)


def tell(name: str, table: Table, notes: Sequence[str], quiet: bool) -> None:
    """Say what was assumed (unless ``quiet``) and what a log's problems are, on stderr."""
    for note in () if quiet else notes:
        print(f"{name}: assumed: {one_line(note)}", file=sys.stderr)
    for problem in table.problems[:SHOWN_PROBLEMS]:
        print(f"{name}: problem: {one_line(str(problem))}", file=sys.stderr)
    left = len(table.problems) - SHOWN_PROBLEMS
    if left > 0:
        print(f"{name}: problem: {left} more; --json lists all", file=sys.stderr)


# ------------------------------------------------------------------------ pages


def may_write(output: Path, force: bool, inputs: Sequence[Path | None], option: str = "-o") -> None:
    """Refuse to replace an input, a file of a session, and what is no report of ours.

    ``option`` names the file on the command line.  Raises
    :class:`ratchet.cli.command.OutputError`.
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
    from ratchet.report.page import GENERATOR

    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return f'<meta name="generator" content="{GENERATOR}">'.encode() in stream.read(HEAD_BYTES)


def write_page(output: Path, page: str) -> None:
    """Write a page; raises :class:`ratchet.cli.command.OutputError` where that fails."""
    from ratchet.files import write_bytes

    try:
        write_bytes(output, page.encode())
    except (OSError, ValueError) as error:
        raise _unwritable(output, error) from None


def _unwritable(output: Path, error: Exception) -> OutputError:
    reason = getattr(error, "strerror", None) or error
    return OutputError(f"{one_line(str(output))}: cannot be written: {reason}")
