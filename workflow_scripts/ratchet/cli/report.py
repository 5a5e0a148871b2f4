"""``ratchet report``: the report of anybody's log, or of a session, as one page.

    ratchet report --results results.tsv --run-log run.log --repo clone -o report.html
    ratchet report night -o night.html
    ratchet report night

Exit codes: 0, or 64 usage, 65 data, 66 no input, 70 internal, 74 output.  The log, the
session and the repository are never written; the same input gives the same bytes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ratchet.base.errors import InputMissingError, UsageError
from ratchet.base.io import read_file
from ratchet.base.text import one_line
from ratchet.cli.autojudge import MODES
from ratchet.cli.main import (
    CommandParser,
    add_log_options,
    check_positive,
    may_write,
    read_log,
    run_command,
    tell_assumptions,
    write_page,
)
from ratchet.cli.sessions import add_options, session_of

NAME = "ratchet report"
DEFAULT_OUTPUT = Path("report.html")

_OF_A_LOG = ("run_log", "repo", "metric", "direction", "agent", "mode", "noise_sd")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    return run_command(NAME, lambda given: _run(_parse(given)), argv)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(
        prog=NAME,
        description="Write the report of anybody's log, or of a session, as one page.",
        epilog="without --results and -o it says where the session's own report is",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("session", nargs="?", help="name of the session (default: the configured one)")
    add_log_options(parser, None)
    add("--run-log", type=Path, help="run log of one of the log's experiments")
    add("--repo", type=Path, help="git repository of the log's commits, for diffs")
    add("-o", "--output", type=Path, help=f"the page (of a log: default {DEFAULT_OUTPUT})")
    add("--force", action="store_true", help="replace a file that is no report")
    add("--mode", choices=MODES, help="how sure a keep must be for the judge (default auto)")
    add("--noise-sd", type=float, help="noise floor of one run of a log, if it is known")
    add_options(parser)
    options = parser.parse_args(argv)
    _check(options)
    return options


def _check(options: argparse.Namespace) -> None:
    """Refuse combinations without a meaning."""
    if options.results is not None and options.session is not None:
        raise UsageError("expected a session or --results, found both")
    if options.results is None:
        given = [name for name in _OF_A_LOG if getattr(options, name) is not None]
        if given:
            raise UsageError(f"--{given[0].replace('_', '-')} is of a log: add --results FILE")
        if options.force and options.output is None:
            raise UsageError("--force needs a file to replace: add -o FILE")
    check_positive("--noise-sd", options.noise_sd)


def _run(options: argparse.Namespace) -> int:
    if options.results is not None:
        return _of_log(options)
    return _of_session(options)


def _of_log(options: argparse.Namespace) -> int:
    output: Path = options.output or DEFAULT_OUTPUT
    may_write(output, options.force, (options.results, options.run_log))
    from ratchet.logs.analysis import analyzed
    from ratchet.logs.judging import Rules
    from ratchet.report.log_report import log_facts
    from ratchet.report.render import render_html

    every, data = read_log(options)
    rules = Rules(options.mode or "auto", options.noise_sd)
    run = options.run_log and (options.run_log.name, read_file(options.run_log))
    log = analyzed(every, (options.results.name, data), rules, run, options.repo)
    facts = log_facts(log)
    write_page(output, render_html(facts))
    print(one_line(facts["answer"]["sentence"]))
    print(one_line(str(output)))
    tell_assumptions(NAME, log.every.table, log.notes, quiet=False)
    return 0


def _of_session(options: argparse.Namespace) -> int:
    session = session_of(options.session, options.root, options.config)
    page, output = session.paths.report_html, options.output
    if output is None:
        if not page.is_file():
            raise InputMissingError(
                f"{page}: the session has not finished; for a report of its rounds so far: "
                f"{NAME} {session.config.session} -o {DEFAULT_OUTPUT}"
            )
        print(one_line(str(page)))
        return 0
    may_write(output, options.force, ())
    from ratchet.records.history import History
    from ratchet.report.facts import build_facts
    from ratchet.report.render import render_html
    from ratchet.report.session_report import gather_records

    found = build_facts(gather_records(session, History.read(session.paths)))
    write_page(output, render_html(found))
    print(one_line(found["answer"]["sentence"]))
    print(one_line(str(output)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
