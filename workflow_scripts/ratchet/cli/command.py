"""What all command lines share: how they refuse, fail and read files.

Every failure is one line on standard error that begins with the command's name,
and an exit code of sysexits, so that a typo never reads as a verdict.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

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

MAX_BYTES = 512 * 2**20
"""Larger files are refused: no log of experiments is near it, a core dump is."""

SHOWN_PROBLEMS = 20
"""Problems of a log printed one by one; the rest is counted (all are in the JSON)."""

EXIT_INTERRUPTED = 130


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


def tell(name: str, table: Table, notes: Sequence[str], quiet: bool) -> None:
    """Say what was assumed (unless ``quiet``) and what a log's problems are, on stderr."""
    for note in () if quiet else notes:
        print(f"{name}: assumed: {one_line(note)}", file=sys.stderr)
    for problem in table.problems[:SHOWN_PROBLEMS]:
        print(f"{name}: problem: {one_line(str(problem))}", file=sys.stderr)
    left = len(table.problems) - SHOWN_PROBLEMS
    if left > 0:
        print(f"{name}: problem: {left} more; --json lists all", file=sys.stderr)
