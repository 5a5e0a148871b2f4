"""``ratchet show N``: everything about one experiment of a session.

    ratchet show 7
    ratchet show 7 --session night

Verdict, measurements, hypothesis, edit and the end of its log; 0 is the baseline.
Exit codes: 0, or 64 usage, 65 data, 66 no session, 70 internal.
"""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
from collections.abc import Iterator, Sequence
from shlex import quote

from ratchet.base.text import (
    DIFF_LIMIT,
    LOG_LIMIT,
    format_number,
    format_percent,
    head_text,
    one_line_label,
    tail_text,
)
from ratchet.cli.diff import coloured
from ratchet.cli.main import CommandParser, run_command
from ratchet.cli.sessions import add_options, session_of, trial_of
from ratchet.records.history import History, Trial
from ratchet.records.records import RunSummary
from ratchet.session import Session

NAME = "ratchet show"
WIDTH = 80
_INDENT = 15
LONG = 2_000
"""Characters of a hypothesis or a reason that are shown."""


def main(argv: Sequence[str] | None = None) -> int:
    """Read and print; returns the exit code."""
    return run_command(NAME, lambda given: _run(_parse(given)), argv)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(
        prog=NAME, description="Everything about one experiment.", allow_abbrev=False
    )
    parser.add_argument("number", type=int, help="of the experiment; 0 is the baseline")
    parser.add_argument("--session", help="name of the session (default: the configured one)")
    add_options(parser)
    return parser.parse_args(argv)


def _run(options: argparse.Namespace) -> int:
    session = session_of(options.session, options.root, options.config)
    chosen = trial_of(session, History.read(session.paths), options.number)
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    print("\n".join(experiment_lines(chosen, session, colour)))
    return 0


def experiment_lines(trial: Trial, session: Session, colour: bool = False) -> Iterator[str]:
    """The whole of it, cleaned; prose within :data:`WIDTH` columns."""
    name = f"experiment {trial.number}" if trial.number else "baseline"
    yield from _field(name, one_line_label(trial.description))
    if trial.number:
        yield from _field("hypothesis", one_line_label(trial.proposal.hypothesis, LONG))
        yield from _field("category", f"{one_line_label(trial.category, 60)}, round {trial.round}")
    ruling = trial.ruling
    if ruling is not None:
        sure = (
            "" if ruling.confidence is None else f", P(better) {format_percent(ruling.confidence)}"
        )
        kept = ", kept" if trial.kept else ""
        yield from _field("verdict", f"{ruling.verdict.value}{kept}{sure}")
        yield from _field("reason", one_line_label(ruling.reason, LONG))
        for note in ruling.notes:
            yield from _field("note", one_line_label(note))
    metric = session.task.metric
    unit = f" {one_line_label(metric.unit, 40)}" if metric.unit else ""
    value = format_number(trial.mean, 6)
    yield from _field(one_line_label(metric.name, 10), f"{value}{unit if trial.mean else ''}")
    yield from _field(
        "commit", f"git -C {quote(str(session.paths.folder))} show {trial.commit[:12]}"
    )
    for run in trial.runs:
        yield from _field("run", _one_run(run))
    if trial.number:
        yield ""
        text = head_text(trial.proposal.diff, DIFF_LIMIT)
        yield from (coloured(line) if colour else line for line in text.splitlines())
    telling = trial.telling_run
    if telling is not None:
        path = session.log_path(telling.key)
        content = path.read_bytes() if path.is_file() else None
        yield ""
        yield f"log of run {telling.key[:12]}:"
        yield (
            "[the store no longer holds it]"
            if content is None
            else tail_text(content.decode(errors="replace"), LOG_LIMIT)
        )


def _one_run(run: RunSummary) -> str:
    memory = "" if run.memory_mb is None else f", {format_number(run.memory_mb, 1)} MiB"
    value = run.outcome.value if run.value is None else format_number(run.value, 6)
    why = f" ({one_line_label(run.reason, 200)})" if run.value is None and run.reason else ""
    return f"{run.key[:12]} seed {run.seed}: {value}{why}{memory}"


def _field(name: str, text: str) -> list[str]:
    first = f"{name:<{_INDENT - 1}} "
    wrapped = textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=" " * _INDENT,
        break_on_hyphens=False,
    )
    return wrapped or [first.rstrip()]


if __name__ == "__main__":
    sys.exit(main())
