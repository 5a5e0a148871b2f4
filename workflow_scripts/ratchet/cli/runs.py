"""``ratchet runs``: the experiments of a session as a table.

    ratchet runs
    ratchet runs night --top 10
    ratchet runs --failed --tsv

Exit codes: 0, or 64 usage, 65 data, 66 no session, 70 internal.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from ratchet.base.errors import UsageError
from ratchet.base.text import decimals_for, format_number, one_line_label
from ratchet.cli.main import CommandParser, run_command
from ratchet.cli.sessions import add_options, session_of
from ratchet.records.history import History, Trial
from ratchet.records.records import Verdict
from ratchet.session import Session

NAME = "ratchet runs"
WIDTH = 80
COLUMNS = (
    *("number", "round", "verdict", "kept", "metric", "delta", "confidence", "n"),
    *("memory_mb", "category", "commit", "description"),
)
_COLOURS = {
    Verdict.STRONG_KEEP: "32",
    Verdict.KEEP: "32",
    Verdict.MARGINAL: "33",
    Verdict.CRASH: "31",
    Verdict.TAMPERED: "31",
}
Key = Callable[[Trial], float | None]
SORTS: dict[str, Key] = {
    "number": lambda e: e.number,
    "metric": lambda e: e.mean,
    "delta": lambda e: e.delta,
    "confidence": lambda e: None if e.confidence is None else -e.confidence,
    "memory": lambda e: e.memory_mb,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Read and print; returns the exit code."""
    return run_command(NAME, lambda given: _run(_parse(given)), argv)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(
        prog=NAME, description="The experiments of a session as a table.", allow_abbrev=False
    )
    add = parser.add_argument
    add("session", nargs="?", help="name of the session (default: the configured one)")
    add("--top", type=int, metavar="N", help="the N best by metric (or by --sort)")
    add("--kept", action="store_true", help="only what was kept")
    add("--failed", action="store_true", help="only what gave no metric")
    add("--sort", choices=sorted(SORTS), help="best first; number: in order (default)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object")
    form.add_argument("--tsv", action="store_true", help="tab-separated values")
    add_options(parser)
    options = parser.parse_args(argv)
    if options.top is not None and options.top < 1:
        raise UsageError(f"--top: expected at least 1, found {options.top}")
    return options


def _run(options: argparse.Namespace) -> int:
    session = session_of(options.session, options.root, options.config)
    history = History.read(session.paths)
    chosen = select_trials((history.start, *history.judged), options, session.sign)
    if options.json:
        fields = {
            "session": session.config.session,
            "metric": session.task.metric.name,
            "direction": session.task.metric.direction.value,
            "experiments": [_fields(trial) for trial in chosen],
        }
        print(json.dumps(fields, indent=2, ensure_ascii=False, allow_nan=False))
    elif options.tsv:
        print("\n".join(_tsv(chosen)))
    else:
        colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        print("\n".join(trials_table(chosen, session, colour)))
    return 0


def select_trials(found: Sequence[Trial], options: argparse.Namespace, sign: int) -> list[Trial]:
    """Those that were asked for, the best first where an order was asked for.

    What has no value in that order comes last, and is never among the top ones.
    """
    chosen = [
        trial
        for trial in found
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


def _fields(trial: Trial) -> dict[str, Any]:
    values = (
        trial.number,
        trial.round,
        trial.word,
        trial.kept,
        trial.mean,
        trial.delta,
        trial.confidence,
        len(trial.values),
        trial.memory_mb,
        one_line_label(trial.category),
        trial.commit,
        one_line_label(trial.description),
    )
    return dict(zip(COLUMNS, values, strict=True))


def _tsv(chosen: Sequence[Trial]) -> list[str]:
    rows = [[_cell(value) for value in _fields(trial).values()] for trial in chosen]
    return ["\t".join(row) for row in (COLUMNS, *rows)]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def trials_table(chosen: Sequence[Trial], session: Session, colour: bool) -> list[str]:
    """Aligned lines of at most :data:`WIDTH` columns."""
    metric = one_line_label(session.task.metric.name, 12)
    deltas = [abs(e.delta) for e in chosen if e.delta]
    digits = decimals_for(min(deltas, default=None), next((e.mean for e in chosen), None))
    digits = max(3, digits)
    rows = [("#", "verdict", metric, "delta", "P", "n", "MiB", "description")]
    for trial in chosen:
        rows.append(
            (
                str(trial.number),
                trial.word,
                format_number(trial.mean, digits),
                format_number(trial.delta, digits, signed=True) if trial.number else "",
                format_number(trial.confidence, 3) if trial.number else "",
                str(len(trial.values)),
                format_number(trial.memory_mb, 1),
                one_line_label(trial.description),
            )
        )
    return _aligned(rows, colour)


def _aligned(rows: Sequence[Sequence[str]], colour: bool) -> list[str]:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if place in (1, 7) else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        line = "  ".join(cells).rstrip()
        line = line if len(line) <= WIDTH else line[: WIDTH - 1].rstrip() + "…"
        code = _COLOURS.get(row[1]) if colour else None  # type: ignore[call-overload]
        lines.append(f"\x1b[{code}m{line}\x1b[0m" if code else line)
    return lines


if __name__ == "__main__":
    sys.exit(main())
