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
import sys
from collections.abc import Sequence
from pathlib import Path

from ratchet import __version__
from ratchet.cli import command, printing
from ratchet.cli.session import Experiments, choose
from ratchet.dialects import RunLog, read_run
from ratchet.errors import UsageError
from ratchet.logs_analysis import Answer
from ratchet.results_tsv import one_line

MODES = ("auto", "gain", "balanced", "strict")

_EPILOG = (
    "exit codes: 0 keep; 1 discard, marginal, crash or tampered; 2 retest; "
    "64 usage, 65 data, 66 no input, 70 internal error; --all exits 0"
)


_MEMORY_HELP = (
    "gain per unit of ln(memory ratio), 0 for free memory; default: more memory must bring "
    "5e-3 (scaled to the metric), less earns nothing"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code is the verdict or the error."""
    hint = "please report it together with the log"
    return command.run("autojudge", lambda given: _run(_parse(given)), argv, hint)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = command.Parser(
        prog="autojudge",
        description="Judge the last experiment of a results.tsv by what its noise allows.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    add = parser.add_argument
    command.add_log_options(parser)
    add("--run", "--run-log", type=Path, help="run log of the candidate; its metric is judged")
    add("--row", type=int, help="judge this row, counted from 1, by the rows before it")
    add("--all", action="store_true", help="a verdict for each row, and the noise floor")
    sure = "how sure a keep must be (default auto)"
    add("--mode", type=_mode, choices=MODES, default="auto", help=sure)
    add("--strict", action="store_true", help="the same as --mode strict")
    add("--noise-sd", type=float, help="noise floor of one run, if it is known")
    add(
        "--lines", type=int, help="net lines that the candidate adds, which must pay for themselves"
    )
    add("--line-price", type=float, help="gain per added line, in the metric's unit")
    add("--memory-price", type=float, help=_MEMORY_HELP)
    add("--json", action="store_true", help="the same as --format json")
    add("--format", choices=["text", "human", "json"], default="text", help="default text")
    add("-q", "--quiet", action="store_true", help="one line, and no assumptions")
    add("--no-color", action="store_true", help="accepted; nothing is ever coloured")
    add("--version", action="version", version=f"autojudge (ratchet) {__version__}")
    options = parser.parse_args(argv)
    _check(options)
    options.json |= options.format == "json"
    return options


def _mode(text: str) -> str:
    """A mode's name; ``guaranteed`` needs runs that no finished log can hold."""
    if text == "guaranteed":
        raise UsageError(
            "--mode guaranteed: a keep needs fresh runs of candidate and incumbent, and a "
            "finished log holds none; judge it with --mode strict, or run a session with "
            "snakemake --cores 1 --config mode=guaranteed"
        )
    return text


def _check(options: argparse.Namespace) -> None:
    """Refuse combinations without a meaning."""
    _check_prices(options)
    if options.strict and options.mode not in ("auto", "strict"):
        raise UsageError(f"--strict contradicts --mode {options.mode}; give one of them")
    if options.strict:
        options.mode = "strict"
    if options.all and (options.row is not None or options.run is not None):
        raise UsageError("--all judges every row of the log: it goes without --row and --run")
    command.check_positive("--noise-sd", options.noise_sd)


def _check_prices(options: argparse.Namespace) -> None:
    """Prices are of the candidate's verdict by the judge's own rule."""
    given = {
        name: value
        for name in ("lines", "line_price", "memory_price")
        if (value := getattr(options, name)) is not None
    }
    for name, value in given.items():
        option = f"--{name.replace('_', '-')}"
        if options.all:
            raise UsageError(f"{option} prices one candidate: it goes without --all")
        if name != "lines" and not (math.isfinite(value) and value >= 0):
            raise UsageError(f"{option}: expected a number of at least 0, found {value}")
    if "line_price" in given and "lines" not in given:
        raise UsageError("--line-price needs the number of lines, which no log tells; add --lines")


def _run(options: argparse.Namespace) -> int:
    name = one_line(str(options.results))
    every, _ = command.read_log(options)
    table = every.table
    if options.all:
        return _all(options, every)
    run = None
    if options.run is not None:
        run = read_run(command.read(options.run), one_line(str(options.run)), table.metric)
    answer, notes = _judged(options, every, run, name)
    if options.json:
        print(printing.json_of(answer, every, run, notes))
    else:
        print(printing.quiet_of(answer) if options.quiet else printing.text_of(answer, table))
    command.tell("autojudge", table, notes, options.quiet)
    return answer.exit_code


def _judged(
    options: argparse.Namespace, every: Experiments, run: RunLog | None, name: str
) -> tuple[Answer, list[str]]:
    candidate, chosen = choose(every.table, options.row, run, name)
    notes = [*every.table.assumptions, *(run.assumptions if run else ()), *chosen]
    from ratchet import logs_analysis  # numpy comes with it

    rules = logs_analysis.Rules(options.mode, options.noise_sd)
    paid = logs_analysis.Paid(options.lines or 0, options.line_price, options.memory_price)
    answer, assumed = logs_analysis.judge_candidate(every, candidate, rules, paid)
    return answer, [*notes, *assumed]


def _all(options: argparse.Namespace, every: Experiments) -> int:
    from ratchet import logs_analysis

    rules = logs_analysis.Rules(options.mode, options.noise_sd)
    settings, assumed = logs_analysis.settings_for(every, len(every.rows), rules)
    done = logs_analysis.replayed(every, settings)
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
    command.tell("autojudge", every.table, notes, options.quiet)
    return 0


if __name__ == "__main__":
    sys.exit(main())
