"""ratchet report: anybody's log, or a session, as one page.

    ratchet report --results results.tsv --run-log run.log --repo clone
    ratchet report night -o night.html
    ratchet report night

Without --results and -o it says where the session's own report is.  Log,
session and repository are never written; the same input gives the same bytes.

Exit codes: 0, or 64 usage, 65 data, 66 no input, 70 internal error, 74 output.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ratchet.base.errors import InputMissingError, UsageError
from ratchet.base.io import read_file, read_json
from ratchet.base.terminal import signs_of_life
from ratchet.base.text import one_line
from ratchet.cli.autojudge import MODES
from ratchet.cli.main import (
    CommandParser,
    add_log_options,
    check_log_options,
    check_positive,
    make_command,
    may_write,
    print_json,
    read_log,
    tell_assumptions,
    write_output,
)
from ratchet.cli.sessions import add_session, chosen_session

NAME = "ratchet report"
DEFAULT_OUTPUT = Path("report.html")
_OF_A_LOG = (
    "run_log",
    "repo",
    "metric",
    "direction",
    "status",
    "label",
    "agent",
    "mode",
    "noise_sd",
)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(NAME, __doc__)
    add = parser.add_argument
    add_log_options(parser, None)
    add("--run-log", type=Path, help="run log of one of the log's experiments")
    add("--repo", type=Path, help="git repository of the log's commits, for diffs")
    add("-o", "--output", type=Path, help=f"the page (of a log: default {DEFAULT_OUTPUT})")
    add("--force", action="store_true", help="replace a file that is no report")
    add("--mode", choices=MODES, help="how sure a keep must be for the judge (default auto)")
    add("--noise-sd", type=float, help="noise floor of one run of a log, if it is known")
    add("--json", action="store_true", help="all facts of the page on standard output")
    add_session(parser)
    options = parser.parse_args(argv)
    check_log_options(options, *_OF_A_LOG)
    check_positive("--noise-sd", options.noise_sd)
    if options.force and options.output is None and options.results is None:
        raise UsageError("--force needs a file to replace: add -o FILE")
    return options


def _run(options: argparse.Namespace) -> int:
    return _of_log(options) if options.results is not None else _of_session(options)


def _of_log(options: argparse.Namespace) -> int:
    output: Path = options.output or DEFAULT_OUTPUT
    may_write(output, options.force, (options.results, options.run_log))
    from ratchet.logs.analysis import analyzed
    from ratchet.logs.judging import Rules
    from ratchet.report.log_report import log_facts

    every, data = read_log(options)
    rules = Rules(options.mode or "auto", options.noise_sd)
    run = options.run_log and (options.run_log.name, read_file(options.run_log))
    with signs_of_life(NAME, "judging every row"):
        log = analyzed(every, (options.results.name, data), rules, run, options.repo)
        facts = log_facts(log)
    _write(options, output, facts)
    tell_assumptions(NAME, log.every.table, log.notes, quiet=False)
    return 0


def _of_session(options: argparse.Namespace) -> int:
    session = chosen_session(options)
    page = session.paths.report_html
    if options.output is None:
        if not page.is_file():
            raise InputMissingError(
                f"{page}: the session has not finished; for a report of its rounds so far: "
                f"{NAME} {session.config.session} -o {DEFAULT_OUTPUT}"
            )
        if options.json:
            print_json(read_json(session.paths.report_json))
        else:
            print(one_line(str(page)))
        return 0
    may_write(options.output, options.force, ())
    from ratchet.records.history import History
    from ratchet.report.facts import build_facts
    from ratchet.report.session_report import gather_records

    with signs_of_life(NAME, "reading the session"):
        facts = build_facts(gather_records(session, History.read(session.paths)))
    _write(options, options.output, facts)
    return 0


def _write(options: argparse.Namespace, output: Path, facts: dict[str, Any]) -> None:
    """The page, and on standard output its first sentence and its place, or all facts."""
    from ratchet.report.render import render_html

    with signs_of_life(NAME, "drawing the page"):
        write_output(output, render_html(facts))
    if options.json:
        print_json(facts)
    else:
        print(one_line(facts["answer"]["sentence"]), one_line(str(output)), sep="\n")


main = make_command(NAME, _parse, _run)
