"""ratchet show: everything about one experiment of a session.

    ratchet show 7
    ratchet show night
    ratchet show 7 night

Verdict, measurements, hypothesis, edit and the end of its log; 0 is the
baseline.  Without a number it is the best experiment so far.

Exit codes: 0, or 64 usage, 65 data, 66 no session, 70 internal error.
"""

import argparse
from collections.abc import Iterator, Sequence
from shlex import quote
from typing import Any

from ratchet.base.structs import to_json_values
from ratchet.base.terminal import use_colour, wrap_text
from ratchet.base.text import (
    DIFF_LIMIT,
    LOG_LIMIT,
    format_number,
    format_percent,
    head_text,
    one_line_label,
    safe_json,
    tail_text,
)
from ratchet.cli.diff import diff_lines
from ratchet.cli.main import CommandParser, make_command, print_json
from ratchet.cli.sessions import add_numbers, chosen_session, take_numbers, trial_of
from ratchet.records.events import store_words
from ratchet.records.history import History, Trial
from ratchet.records.records import RunSummary, chance_name
from ratchet.runs.throughput import use_of_trial, use_sentence
from ratchet.session import Session

NAME = "ratchet show"
_INDENT = 15
BLAME = "The machine may be to blame"
AGAIN = (
    "another session runs it again, as does snakemake with --forcerun experiment (of the baseline: "
    "--forcerun baseline_run)"
)
LONG = 2_000
"""Characters of a hypothesis or a reason that are shown."""


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(NAME, __doc__)
    add_numbers(parser, "number of an experiment (default: the best one), and a session")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    return parser.parse_args(argv)


def _run(options: argparse.Namespace) -> int:
    numbers = take_numbers(options, (0, 1))
    session = chosen_session(options)
    history = History.read(session.paths)
    number = numbers[0] if numbers else history.state.incumbent.number
    trial = trial_of(session, history, number)
    if options.json:
        print_json(safe_json(experiment_facts(trial, session)))
    else:
        print("\n".join(experiment_lines(trial, session, use_colour())))
    return 0


def experiment_facts(trial: Trial, session: Session) -> dict[str, Any]:
    """One experiment as JSON values."""
    return {
        "number": trial.number,
        "round": trial.round,
        "verdict": trial.word,
        "kept": trial.kept,
        "metric": trial.mean,
        "proposal": to_json_values(trial.proposal),
        "ruling": to_json_values(trial.ruling),
        "machine": to_json_values(use_of_trial(trial, session.store)),
        "runs": [
            {**to_json_values(run), "from_store": session.replayed.get(run.key)}
            for run in trial.runs
        ],
        "log": _log(trial, session),
    }


def _log(trial: Trial, session: Session) -> str | None:
    """The end of the telling run's log; ``None`` without one."""
    telling = trial.telling_run
    path = session.log_path(telling.key) if telling is not None else None
    if path is None or not path.is_file():
        return None
    return tail_text(path.read_bytes().decode(errors="replace"), LOG_LIMIT)


def experiment_lines(trial: Trial, session: Session, colour: bool = False) -> Iterator[str]:
    """Lines about one experiment, cleaned; prose within 80 columns."""
    name = f"experiment {trial.number}" if trial.number else "baseline"
    yield from _field(name, one_line_label(trial.description))
    if trial.number:
        yield from _field("hypothesis", one_line_label(trial.proposal.hypothesis, LONG))
        yield from _field("category", f"{one_line_label(trial.category, 60)}, round {trial.round}")
    ruling = trial.ruling
    if ruling is not None:
        kept = ", kept" if trial.kept else ""
        sure = ruling.confidence
        better = "" if sure is None else f", {chance_name(ruling.price)} {format_percent(sure)}"
        yield from _field("verdict", f"{ruling.verdict.value}{kept}{better}")
        yield from _field("reason", one_line_label(ruling.reason, LONG))
        for note in ruling.notes:
            yield from _field("note", one_line_label(note))
    if trial.diverged:
        yield from _field("diverged", one_line_label(trial.diverged, LONG))
    metric = session.task.metric
    unit = f" {one_line_label(metric.unit, 40)}" if metric.unit and trial.mean else ""
    yield from _field(one_line_label(metric.name, 10), f"{format_number(trial.mean, 6)}{unit}")
    # Not wrapped: it is there to be copied.
    folder = quote(str(session.paths.folder))
    yield f"{'commit':<{_INDENT}}git -C {folder} show {trial.commit[:12]}"
    if trial.number and session.paths.report_html.is_file():
        yield f"{'page':<{_INDENT}}{session.paths.report_html}#{address(trial.number)}"
    for run in trial.runs:
        made = session.replayed.get(run.key)
        yield from _field("run", _one_run(run) + (f", {store_words(made)}" if made else ""))
        record = session.store.lookup(run.key) if run.value is None else None
        if record is not None and record.is_of_machine:
            yield from _field("", f"{BLAME} ({record.machine or record.outcome.value}); {AGAIN}")
    yield from _machine(trial, session)
    if trial.number:
        yield ""
        yield from diff_lines(head_text(trial.proposal.diff, DIFF_LIMIT), colour)
    if trial.telling_run is not None:
        yield ""
        yield f"log of run {trial.telling_run.key[:12]}:"
        yield _log(trial, session) or "[the store no longer holds it]"


def address(number: int) -> str:
    """Anchor of an experiment in its session's report."""
    return f"exp-{number}"


def _machine(trial: Trial, session: Session) -> Iterator[str]:
    """Times of a trial's runs, and how they used their machine."""
    use = use_of_trial(trial, session.store)
    if use is None:
        return
    each = "in each run, " if len(trial.runs) > 1 else ""
    training = use.train_seconds
    trained = "" if training is None else f"{format_number(training, 1)} s of training in "
    yield from _field("time", f"{each}{trained}{format_number(use.wall_seconds, 1)} s")
    gpu = f"{one_line_label(use.gpu, 60)}: " if use.gpu else ""
    said = use_sentence(use)
    if said:
        yield from _field("machine", gpu + one_line_label(said, 400))


def _one_run(run: RunSummary) -> str:
    memory = "" if run.memory_mb is None else f", {format_number(run.memory_mb, 1)} MiB"
    value = run.outcome.value if run.value is None else format_number(run.value, 6)
    why = f" ({one_line_label(run.reason, 200)})" if run.value is None and run.reason else ""
    return f"{run.key[:12]} seed {run.seed}: {value}{why}{memory}"


def _field(name: str, text: str) -> list[str]:
    return wrap_text(text, first=f"{name:<{_INDENT - 1}} ", rest=" " * _INDENT)


main = make_command(NAME, _parse, _run)
