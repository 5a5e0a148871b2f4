"""``autosteer``: what to try next, by the log of an autoresearch session.

    autosteer --results results.tsv
    autosteer --results results.tsv --mode exploit --repo .

Exit codes: 0, or 64 usage, 65 data, 66 no input, 70 internal.  Suggestions go to
standard output, assumptions and problems to standard error.  The same log gives
the same suggestions.  The log and the repository are never written.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

from ratchet import __version__
from ratchet.cli import command
from ratchet.cli.session import experiments, of_agent
from ratchet.dialects import read_table
from ratchet.errors import DataError, UsageError
from ratchet.results_tsv import one_line
from ratchet.steer import Mode
from ratchet.vocabulary import Direction

DEFAULT_SUGGESTIONS, MOST_SUGGESTIONS = 5, 20


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    hint = "please report it together with the log"
    return command.run("autosteer", lambda given: _run(_parse(given)), argv, hint)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = command.Parser(
        prog="autosteer",
        description="Say what to try next, by what was kept in a results.tsv.",
        epilog="exit codes: 0; 64 usage, 65 data, 66 no input, 70 internal error",
        allow_abbrev=False,
    )
    add = parser.add_argument
    modes = [mode.value for mode in Mode]
    add("--results", type=Path, default=Path("results.tsv"), help="the log (default results.tsv)")
    add("--mode", type=str.lower, choices=modes, help="auto, the least known first, or what works")
    add("--strategy", type=str.lower, choices=modes, help="the same as --mode")
    add("--num-suggestions", type=int, default=DEFAULT_SUGGESTIONS, help="1 to 20 (default 5)")
    add("--repo", "--repo-dir", type=Path, help="git repository of the log's commits, for diffs")
    add("--metric", help="column of the metric (default: recognised)")
    add("--direction", choices=[d.value for d in Direction], help="default: by the metric's name")
    add("--agent", help="only the rows of this agent, and those that name none")
    add("--json", action="store_true", help="the same as --format json")
    add("--format", choices=["text", "json"], default="text", help="default text")
    add("-q", "--quiet", action="store_true", help="one line per suggestion, and no assumptions")
    add("--no-color", action="store_true", help="accepted; nothing is ever coloured")
    add("--version", action="version", version=f"autosteer (ratchet) {__version__}")
    options = parser.parse_args(argv)
    if options.mode and options.strategy and options.mode != options.strategy:
        raise UsageError(f"--mode {options.mode} contradicts --strategy {options.strategy}")
    if not 1 <= options.num_suggestions <= MOST_SUGGESTIONS:
        raise UsageError(
            f"--num-suggestions: expected 1 to {MOST_SUGGESTIONS}, found {options.num_suggestions}"
        )
    options.mode = Mode(options.mode or options.strategy or Mode.AUTO)
    options.json |= options.format == "json"
    return options


def _run(options: argparse.Namespace) -> int:
    direction = None if options.direction is None else Direction(options.direction)
    path = _log(options.results, options.repo)
    name = one_line(str(path))
    data = command.read(path)
    table = read_table(data, name, options.metric, direction)
    if options.agent is not None:
        table = of_agent(table, options.agent)
    every = experiments(table)
    if not every.rows:
        raise DataError(f"{name}: line 1, column 1: expected an experiment, found only notes")
    from ratchet.cli import autosteer_log, autosteer_text

    sources = None
    if options.repo is not None:
        from ratchet.commits import Commits

        sources = Commits(options.repo).sources
    seed = int(hashlib.sha256(data).hexdigest()[:15], 16)
    found = autosteer_log.analyze(every, options.mode, options.num_suggestions, seed, sources)
    notes = [*table.assumptions, *every.assumptions(), *found.judged.notes]
    if options.json:
        print(autosteer_text.json_of(found, table, options.mode, notes))
    else:
        print(autosteer_text.quiet_of(found) if options.quiet else autosteer_text.text_of(found))
    command.tell("autosteer", table, notes, options.quiet)
    return 0


def _log(path: Path, repo: Path | None) -> Path:
    """The log, which the released tool looks for in the repository."""
    inside = path if repo is None else repo / path
    try:
        return inside if not path.is_file() and inside.is_file() else path
    except ValueError:  # a name with a zero byte
        return path


if __name__ == "__main__":
    sys.exit(main())
