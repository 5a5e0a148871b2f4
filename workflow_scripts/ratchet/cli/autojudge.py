"""``autojudge``: is the last experiment of a log truly better?

    autojudge --results results.tsv --run run.log
    autojudge --results results.tsv --all

Exit codes: 0 keep, 1 discard, marginal, crash or tampered, 2 retest; errors are
64 usage, 65 data, 66 no input, 70 internal.  ``--all`` is a report and exits 0.
Verdicts go to standard output, assumptions and problems to standard error.  The
log is never written.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from ratchet import __version__
from ratchet.cli import printing
from ratchet.cli.answer import Answer
from ratchet.cli.session import Experiments, choose, experiments
from ratchet.dialects import RunLog, Table, read_run, read_table
from ratchet.errors import (
    EXIT_IO,
    EXIT_SOFTWARE,
    DataError,
    InputMissingError,
    RatchetError,
    UsageError,
)
from ratchet.records import Direction
from ratchet.results_tsv import one_line

MODES = ("auto", "gain", "balanced", "strict")
DEFAULT_WINDOW = 5
MAX_BYTES = 512 * 2**20
"""Larger files are refused: no log of experiments is near it, a core dump is."""

SHOWN_PROBLEMS = 20
"""Problems printed one by one; the rest is counted (all of them are in the JSON)."""

_EPILOG = (
    "exit codes: 0 keep; 1 discard, marginal, crash or tampered; 2 retest; "
    "64 usage, 65 data, 66 no input, 70 internal error; --all exits 0"
)


class _Parser(argparse.ArgumentParser):
    """argparse exits 2 on a wrong option; here that would read as a verdict."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{one_line(message)}; see {self.prog} --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code is the verdict or the error."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        code = _run(_parse(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
        return code
    except SystemExit as done:  # --help and --version
        return int(done.code or 0)
    except RatchetError as error:
        return _fail(str(error), error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_IO
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        text = f"internal error, {type(error).__name__}: {error}"
        return _fail(f"{text}; please report it together with the log", EXIT_SOFTWARE)


def _fail(message: str, code: int) -> int:
    print(f"autojudge: {one_line(message)}", file=sys.stderr)
    return code


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = _Parser(
        prog="autojudge",
        description="Judge the last experiment of a results.tsv by what its noise allows.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--results", type=Path, default=Path("results.tsv"), help="the log (default results.tsv)")
    add("--run", "--run-log", type=Path, help="run log of the candidate; its metric is judged")
    add("--row", type=int, help="judge this row, counted from 1, by the rows before it")
    add("--all", action="store_true", help="a verdict for each row, and the noise floor")
    add("--metric", help="column of the metric (default: recognised)")
    add("--direction", choices=[d.value for d in Direction], help="default: by the metric's name")
    add("--mode", choices=MODES, default="auto", help="how sure a keep must be (default auto)")
    add("--strict", action="store_true", help="the same as --mode strict")
    add("--noise-sd", type=float, help="noise floor of one run, if it is known")
    add("--legacy", action="store_true", help="the article's rolling-window rule, to compare")
    add("--window", type=int, help=f"its number of kept results (default {DEFAULT_WINDOW})")
    add("--json", action="store_true", help="the same as --format json")
    add("--format", choices=["text", "human", "json"], default="text", help="default text")
    add("-q", "--quiet", action="store_true", help="one line, and no assumptions")
    add("--no-color", action="store_true", help="accepted; nothing is ever coloured")
    add("--version", action="version", version=f"autojudge (ratchet) {__version__}")
    options = parser.parse_args(argv)
    _check(options)
    options.json |= options.format == "json"
    return options


def _check(options: argparse.Namespace) -> None:
    """Refuse combinations without a meaning."""
    if options.strict and options.mode not in ("auto", "strict"):
        raise UsageError(f"--strict contradicts --mode {options.mode}; give one of them")
    if options.strict:
        options.mode = "strict"
    if options.all and (options.row is not None or options.run is not None or options.legacy):
        raise UsageError(
            "--all judges every row of the log: it goes without --row, --run, --legacy"
        )
    if options.window is not None and not options.legacy:
        raise UsageError("--window belongs to the rolling-window rule; add --legacy")
    if options.legacy and (options.noise_sd is not None or options.mode != "auto"):
        raise UsageError("--legacy has a noise floor and thresholds of its own; leave out the rest")
    if options.window is not None and options.window < 3:
        raise UsageError(f"--window: expected at least 3 kept results, found {options.window}")
    noise = options.noise_sd
    if noise is not None and not (math.isfinite(noise) and noise > 0):
        raise UsageError(f"--noise-sd: expected a positive number, found {noise}")


def _run(options: argparse.Namespace) -> int:
    direction = None if options.direction is None else Direction(options.direction)
    name = one_line(str(options.results))
    table = read_table(_read(options.results), name, options.metric, direction)
    every = experiments(table)
    if options.all:
        return _all(options, every)
    run = None
    if options.run is not None:
        run = read_run(_read(options.run), one_line(str(options.run)), table.metric)
    answer, notes = _judged(options, every, run, name)
    if options.json:
        print(printing.json_of(answer, every, run, notes))
    else:
        print(printing.quiet_of(answer) if options.quiet else printing.text_of(answer, table))
    _tell(options, table, notes)
    return answer.exit_code


def _judged(
    options: argparse.Namespace, every: Experiments, run: RunLog | None, name: str
) -> tuple[Answer, list[str]]:
    candidate, chosen = choose(every.table, options.row, run, name)
    notes = [*every.table.assumptions, *(run.assumptions if run else ()), *chosen]
    if options.legacy:
        from ratchet.cli import legacy

        window = options.window or DEFAULT_WINDOW
        return legacy.judge_candidate(every, candidate, window), notes
    from ratchet.cli import judging  # numpy and scipy come with it

    rules = judging.Rules(options.mode, options.noise_sd)
    answer, assumed = judging.judge_candidate(every, candidate, rules)
    return answer, [*notes, *assumed]


def _all(options: argparse.Namespace, every: Experiments) -> int:
    from ratchet.cli import judging

    rules = judging.Rules(options.mode, options.noise_sd)
    settings, assumed = judging.settings_for(every, len(every.rows), rules)
    done = judging.replayed(every, settings)
    notes = [*every.table.assumptions, *every.assumptions(), *assumed]
    if options.json:
        fields = {
            **printing.all_summary(every, done),
            "rows": list(printing.all_rows(every, done)),
            "assumptions": notes,
            "problems": [str(problem) for problem in every.table.problems],
        }
        print(json.dumps(fields, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        lines = list(printing.all_text(every, done))
        print("\n".join(lines[-2:] if options.quiet else lines))
    _tell(options, every.table, notes)
    return 0


def _tell(options: argparse.Namespace, table: Table, notes: list[str]) -> None:
    """Assumptions and problems, on standard error."""
    for note in () if options.quiet else notes:
        print(f"autojudge: assumed: {one_line(note)}", file=sys.stderr)
    for problem in table.problems[:SHOWN_PROBLEMS]:
        print(f"autojudge: problem: {one_line(str(problem))}", file=sys.stderr)
    left = len(table.problems) - SHOWN_PROBLEMS
    if left > 0:
        print(f"autojudge: problem: {left} more; --json lists all", file=sys.stderr)


def _read(path: Path) -> bytes:
    """A file's bytes; raises :class:`InputMissingError` where it cannot be read."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise DataError(f"{path}: expected at most {MAX_BYTES} bytes, found {size}")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputMissingError(f"{path}: cannot be read: {reason}") from None


if __name__ == "__main__":
    sys.exit(main())
