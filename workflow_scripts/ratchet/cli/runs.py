"""ratchet runs: the experiments of a session as a table.

    ratchet runs
    ratchet runs night --top 10
    ratchet runs --failed --tsv

The column `store` tells when runs were made that were found in the store.  In a
terminal of 100 columns, --json and --tsv there are the seconds of training and
of all time, of an experiment's runs together.

Exit codes: 0, or 64 usage, 65 data, 66 no session, 70 internal error.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ratchet.base.errors import UsageError
from ratchet.base.terminal import (
    GREEN,
    RED,
    WIDTH,
    YELLOW,
    align_columns,
    coloured,
    cut_line,
    terminal_width,
    use_colour,
)
from ratchet.base.text import decimals_for, format_number, one_line_label
from ratchet.cli.main import CommandParser, make_command, print_json
from ratchet.cli.sessions import add_session, chosen_session
from ratchet.records.history import History, Trial
from ratchet.records.records import Verdict
from ratchet.records.store import Store
from ratchet.runs.throughput import seconds_of_trial
from ratchet.session import Session

NAME = "ratchet runs"
_COLOURS: dict[str, str] = {
    Verdict.STRONG_KEEP: GREEN,
    Verdict.KEEP: GREEN,
    Verdict.MARGINAL: YELLOW,
    Verdict.CRASH: RED,
    Verdict.TAMPERED: RED,
    Verdict.GUARD_FAILED: RED,
}
ROOMY = 100
"""Columns of a terminal in which a table has room for the times of runs."""
Key = Callable[[Trial], float | None]
SORTS: dict[str, Key] = {
    "number": lambda e: e.number,
    "metric": lambda e: e.mean,
    "delta": lambda e: e.delta,
    "confidence": lambda e: None if e.confidence is None else -e.confidence,
    "memory": lambda e: e.memory_mb,
}


def parse_options(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(NAME, __doc__)
    add = parser.add_argument
    add("--top", type=int, metavar="N", help="the N best by metric (or by --sort)")
    add("--kept", action="store_true", help="only what was kept")
    add("--failed", action="store_true", help="only what gave no metric")
    add("--sort", choices=sorted(SORTS), help="best first; number: in order (default)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object")
    form.add_argument("--tsv", action="store_true", help="tab-separated values")
    add_session(parser)
    options = parser.parse_args(argv)
    if options.top is not None and options.top < 1:
        raise UsageError(f"--top: expected at least 1, found {options.top}")
    return options


def _run(options: argparse.Namespace) -> int:
    session = chosen_session(options)
    history = History.read(session.paths)
    chosen = select_trials((history.start, *history.judged), options, session.sign)
    if options.json:
        print_json(runs_facts(chosen, session))
    elif options.tsv:
        replayed = session.replayed
        fields = [_fields(trial, replayed, session.store) for trial in (history.start, *chosen)]
        rows = [[_cell(value) for value in each.values()] for each in fields[1:]]
        print("\n".join("\t".join(row) for row in ([*fields[0]], *rows)))
    else:
        print("\n".join(trials_table(chosen, session, use_colour(), terminal_width())))
    return 0


def runs_facts(chosen: Sequence[Trial], session: Session) -> dict[str, Any]:
    """The table as JSON values."""
    metric = session.task.metric
    fields = {"session": session.config.session, "metric": metric.name}
    fields["direction"] = metric.direction.value
    replayed = session.replayed
    return {**fields, "experiments": [_fields(trial, replayed, session.store) for trial in chosen]}


def select_trials(trials: Sequence[Trial], options: argparse.Namespace, sign: int) -> list[Trial]:
    """Trials that were asked for, the best first where an order was asked for.

    What has no value in that order comes last, and is never among the top ones.
    """
    chosen = [
        trial
        for trial in trials
        if (trial.kept or not options.kept) and (trial.failed or not options.failed)
    ]
    name = options.sort or ("metric" if options.top is not None else "number")
    turned = sign if name in ("metric", "delta") else 1
    key = SORTS[name]
    known = [(value, e) for e in chosen if (value := key(e)) is not None]
    known.sort(key=lambda pair: (turned * pair[0], pair[1].number))
    best = [trial for _, trial in known]
    if options.top is not None:
        return best[: options.top]
    return [*best, *(trial for trial in chosen if key(trial) is None)]


def _fields(trial: Trial, replayed: Mapping[str, str], store: Store) -> dict[str, Any]:
    training, wall = seconds_of_trial(trial, store)
    return {
        "number": trial.number,
        "round": trial.round,
        "verdict": trial.word,
        "kept": trial.kept,
        "metric": trial.mean,
        "delta": trial.delta,
        "confidence": trial.confidence,
        "n": len(trial.values),
        "memory_mb": trial.memory_mb,
        "train_seconds": training,
        "wall_seconds": wall,
        "category": one_line_label(trial.category),
        "commit": trial.commit,
        "description": one_line_label(trial.description),
        "diverged": one_line_label(trial.diverged) or None,
        "from_store": _from_store(trial, replayed),
    }


def _from_store(trial: Trial, replayed: Mapping[str, str]) -> str | None:
    """When the last of a trial's runs was made that is from the store; ``None`` if none is."""
    return max((replayed[run.key] for run in trial.runs if run.key in replayed), default=None)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def trials_table(
    chosen: Sequence[Trial], session: Session, colour: bool, width: int = WIDTH
) -> list[str]:
    """Aligned lines of at most ``width`` columns; times of runs where there is room for them."""
    metric = one_line_label(session.task.metric.name, 12)
    deltas = [abs(e.delta) for e in chosen if e.delta]
    digits = decimals_for(min(deltas, default=None), next((e.mean for e in chosen), None))
    digits = max(3, digits)
    replayed = session.replayed
    found = [_from_store(trial, replayed) for trial in chosen]
    # Where all runs are the session's own there is nothing to say.
    shown = ("store", *(made[:16].replace("T", " ") if made else "" for made in found))
    timed = width >= ROOMY
    heads = ("train s", "wall s") if timed else ()
    rows: list[tuple[str, ...]]
    rows = [("#", "verdict", metric, "delta", "P", "n", "MiB", *heads, "description")]
    for trial in chosen:
        seconds = seconds_of_trial(trial, session.store) if timed else ()
        rows.append(
            (
                str(trial.number),
                trial.word,
                format_number(trial.mean, digits),
                format_number(trial.delta, digits, signed=True) if trial.number else "",
                format_number(trial.confidence, 3) if trial.number else "",
                str(len(trial.values)),
                format_number(trial.memory_mb, 1),
                *(format_number(each, 1) for each in seconds),
                one_line_label(trial.title),
            )
        )
    codes = [_COLOURS.get(row[1]) if colour else None for row in rows]
    wide = [(*row[:-1], time, row[-1]) for row, time in zip(rows, shown, strict=True)]
    last = len(rows[0]) - 1
    stored = any(found)
    lines = align_columns(wide if stored else rows, left=(1, last + 1 if stored else last))
    return [coloured(cut_line(line, width), code) for line, code in zip(lines, codes, strict=True)]


main = make_command(NAME, parse_options, _run)
