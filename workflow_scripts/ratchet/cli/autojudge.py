"""autojudge: is the last experiment of a log truly better?

    autojudge --results results.tsv --run run.log
    autojudge --results results.tsv --all

Verdicts go to standard output, assumptions and problems to standard error.  The
log is never written.

Exit codes: 0 keep; 1 discard, marginal, crash or tampered; 2 retest; 64 usage,
65 data, 66 no input, 70 internal error.  --all is a report and exits 0.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ratchet import __version__
from ratchet.base.errors import UsageError
from ratchet.base.io import read_file
from ratchet.base.terminal import align_columns, cut_line, fit_lines, is_terminal, terminal_width
from ratchet.base.text import decimals_for, one_line
from ratchet.cli.main import (
    CommandParser,
    add_log_options,
    check_positive,
    make_command,
    print_json,
    read_log,
    tell_assumptions,
)
from ratchet.logs.table import Table
from ratchet.records.history import seed_effect
from ratchet.records.records import Verdict

if TYPE_CHECKING:
    from ratchet.judge.judge import Replay
    from ratchet.logs.experiments import LogExperiments
    from ratchet.logs.judging import Answer
    from ratchet.logs.reader import RunLog

NAME = "autojudge"
MODES = ("auto", "liberal", "gain", "balanced", "strict")
RULE = "probability that the true metric is better"
_NEXT = {
    Verdict.STRONG_KEEP: "Keep the change.",
    Verdict.KEEP: "Keep the change.",
    Verdict.MARGINAL: "Revert the change, or note it for a second try on a later incumbent.",
    Verdict.RETEST: "Run the same code once more with a fresh seed, log it, and ask again.",
    Verdict.DISCARD: "Revert the change.",
    Verdict.CRASH: "Read the run log; fix the change or revert it.",
    Verdict.TAMPERED: "Restore the fixed files and run again.",
}


def experiment_name(number: int) -> str:
    """``experiment_042``, by the number of its row; row 0 is the baseline."""
    return f"experiment_{number:03d}"


def text_of(answer: Answer, table: Table) -> list[str]:
    """The verdict in three lines, and why."""
    sure = "" if answer.confidence is None else f" (confidence: {answer.confidence:.2f})"
    places = decimals_for(answer.noise_sd, answer.value)
    delta = "none" if answer.delta is None else f"{answer.delta:+.{places}f}"
    noise = "unknown" if answer.noise_sd is None else f"±{answer.noise_sd:.{places}f}"
    return [
        f"{experiment_name(answer.candidate.number)}: {answer.verdict}{sure}",
        f"{table.metric} delta: {delta} | noise floor: {noise}",
        f"pareto status: {answer.pareto}",
        f"reason: {answer.reason}" + ("" if answer.repeats else f" [{RULE}]"),
    ]


def quiet_of(answer: Answer) -> str:
    """Verdict, confidence, value and change on one line."""
    sure = "-" if answer.confidence is None else f"{answer.confidence:.0%}"
    value = "-" if answer.value is None else f"{answer.value:.6f}"
    percent = _percent(answer)
    return f"{answer.verdict} {sure} {value} {'-' if percent is None else f'{percent:+.2f}%'}"


def _percent(answer: Answer) -> float | None:
    if answer.delta is None or not answer.incumbent:
        return None
    return round(100 * answer.delta / abs(answer.incumbent), 4)


def json_of(
    answer: Answer, every: LogExperiments, run: RunLog | None, notes: list[str]
) -> dict[str, Any]:
    """A verdict for tools; ``val_bpb`` is the metric whatever its name is.

    A missing value is null.  ``delta`` is against the incumbent's estimated true
    metric, ``prev_best`` the best logged value, as lucky as it may be.
    """
    candidate, row, table = answer.candidate, answer.candidate.row, every.table
    fields: dict[str, Any] = {
        "verdict": answer.verdict.value,
        "confidence": answer.confidence and round(answer.confidence, 4),
        "val_bpb": answer.value,
        "prev_best": answer.best,
        "delta": answer.delta,
        "delta_pct": _percent(answer),
        "noise_floor": answer.noise_sd,
        "on_pareto_frontier": None if answer.efficiency is None else answer.pareto == "EFFICIENT",
        "suggestion": _NEXT[answer.verdict],
        "experiment": {
            "index": candidate.number,
            "name": experiment_name(candidate.number),
            "line": row and row.line,
            "commit": row.commit if row else "",
            "description": row.description if row else "",
            "val_bpb": answer.value,
            "memory_gb": candidate.memory_gb,
            "status": row.status_text if row else "",
        },
        # What the verdict rests on.
        "metric": table.metric,
        "direction": table.direction.value,
        "rule": RULE,
        "reason": answer.reason,
        "exit_code": answer.exit_code,
        "seed_effect": seed_effect([*every.replicates, candidate.values]).value,
        "repeats": answer.repeats,
        "saturated": every.is_saturated,
        "runs": list(candidate.values),
        "incumbent": answer.incumbent,
        "incumbent_sd": answer.incumbent_sd,
        "gain": answer.gain,
        "keep_probability": answer.keep_probability,
        "noise_floor_interval": answer.noise_interval,
        "pareto_status": answer.pareto,
        "p_efficient": answer.efficiency and (answer.efficiency.low, answer.efficiency.high),
        "expected_false_keeps": answer.expected_false_keeps,
        "assumptions": notes,
        "problems": [str(problem) for problem in table.problems],
    }
    if run is not None:
        fields["run_log"] = {
            name.lower(): value for name, value in run.metrics.items() if math.isfinite(value)
        }
    return fields


def all_rows(every: LogExperiments, done: Replay) -> Iterator[dict[str, Any]]:
    """Each row with the verdict at its time, as values for JSON.

    What repeats a value to the last digit has no confidence.
    """
    from ratchet.logs.judging import repeating_rows

    sign, repeating = every.table.direction.sign, repeating_rows(every)
    for place, (row, number) in enumerate(zip(every.rows, every.numbers, strict=True)):
        anew = every.starts_anew[place]
        assessment = None if anew else done.assessments[place]
        repeats = repeating[place] and not (anew or every.again[place] or every.undecided[place])
        if assessment is not None:
            verdict = assessment.verdict.value
        elif every.values[place] is None:
            verdict = Verdict.CRASH.value
        elif repeats:
            verdict = Verdict.DISCARD.value
        elif every.undecided[place]:
            verdict = "UNDECIDED_RUN"
        else:
            verdict = "BASELINE" if anew else "INCUMBENT_RUN"
        yield {
            "index": number,
            "line": row.line,
            "commit": row.commit,
            "value": row.value,
            "verdict": verdict,
            "confidence": assessment and round(assessment.confidence, 4),
            "delta": 0.0 if repeats else assessment and sign * assessment.delta,
            "gain": assessment and assessment.gain,
            "repeats": repeating[place],
            "status": row.status.value,
            "description": row.description,
        }


def all_summary(every: LogExperiments, done: Replay) -> dict[str, Any]:
    """Noise floor, keeps and false keeps of a whole log."""
    from ratchet.logs.judging import expected_false_keeps

    judge = done.judge
    return {
        "metric": every.table.metric,
        "direction": every.table.direction.value,
        "experiments": every.count,
        "noise_floor": judge.noise_sd,
        "noise_floor_interval": judge.noise_interval(),
        "seed_effect": seed_effect(every.replicates).value,
        "saturated": every.is_saturated,
        "incumbent": every.table.direction.sign * judge.incumbent_mean,
        "incumbent_sd": judge.incumbent_sd,
        "keep_probability": judge.settings.keep_probability,
        "keeps": sum(every.kept_changes),
        "expected_false_keeps": expected_false_keeps(every, done),
    }


def all_text(every: LogExperiments, done: Replay) -> Iterator[str]:
    """A line a row, then the summary."""
    summary = all_summary(every, done)
    places = decimals_for(summary["noise_floor"], summary["incumbent"])
    metric = every.table.metric[:14]
    rows = [("experiment", metric, "delta", "P(better)", "verdict", "logged", "description")]
    for row in all_rows(every, done):
        value = "-" if row["value"] is None else f"{row['value']:.{max(places, 4)}f}"
        delta = "-" if row["delta"] is None else f"{row['delta']:+.{places}f}"
        sure = "-" if row["confidence"] is None else f"{row['confidence']:.2f}"
        name, about = experiment_name(row["index"]), row["description"][:80]
        rows.append((name, value, delta, sure, row["verdict"], row["status"], about))
    width = terminal_width() if is_terminal() else None
    for line in align_columns(rows, left=(0, 4, 5, 6)):
        yield line if width is None else cut_line(line, width)
    kept = f"keeps after the baseline: {summary['keeps']} of {summary['experiments']} experiments"
    low, high = summary["noise_floor_interval"]
    shown = places + 1
    yield (
        f"noise floor: ±{summary['noise_floor']:.{shown}f} "
        f"(90 % interval {low:.{shown}f} to {high:.{shown}f})"
    )
    yield f"{kept} | expected false keeps: {summary['expected_false_keeps']:.1f}"


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(NAME, __doc__)
    add = parser.add_argument
    add_log_options(parser)
    add("--run", "--run-log", type=Path, help="run log of the candidate; its metric is judged")
    add(
        "--row", type=int, help="judge this experiment by the rows before it; row 0 is the baseline"
    )
    add("--all", action="store_true", help="a verdict for each row, and the noise floor")
    sure = "how sure a keep must be (default auto)"
    add("--mode", type=_mode, choices=MODES, default="auto", help=sure)
    add("--strict", action="store_true", help="the same as --mode strict")
    add("--noise-sd", type=float, help="noise floor of one run, if it is known")
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
    if options.strict and options.mode not in ("auto", "strict"):
        raise UsageError(f"--strict contradicts --mode {options.mode}; give one of them")
    if options.strict:
        options.mode = "strict"
    if options.all and (options.row is not None or options.run is not None):
        raise UsageError("--all judges every row of the log: it goes without --row and --run")
    check_positive("--noise-sd", options.noise_sd)


def _run(options: argparse.Namespace) -> int:
    name = one_line(str(options.results))
    every, _ = read_log(options)
    table = every.table
    if options.all:
        return _all(options, every)
    from ratchet.logs.reader import read_run

    run = None
    if options.run is not None:
        run = read_run(read_file(options.run), one_line(str(options.run)), table.metric)
    answer, notes = _judged(options, every, run, name)
    if options.json:
        print_json(json_of(answer, every, run, notes))
    else:
        lines = [quiet_of(answer)] if options.quiet else text_of(answer, table)
        print("\n".join(fit_lines(lines)))
    tell_assumptions(NAME, table, notes, options.quiet)
    return answer.exit_code


def _judged(
    options: argparse.Namespace, every: LogExperiments, run: RunLog | None, name: str
) -> tuple[Answer, list[str]]:
    from ratchet.logs.experiments import choose_experiment
    from ratchet.logs.judging import Rules, judge_candidate  # numpy comes with it

    candidate, chosen = choose_experiment(every.table, options.row, run, name)
    notes = [*every.table.assumptions, *(run.assumptions if run else ()), *chosen]
    rules = Rules(options.mode, options.noise_sd)
    answer, assumed = judge_candidate(every, candidate, rules)
    return answer, [*notes, *assumed]


def _all(options: argparse.Namespace, every: LogExperiments) -> int:
    from ratchet.logs.judging import Rules, repeat_notes, replay_rows, settings_for

    rules = Rules(options.mode, options.noise_sd)
    settings = settings_for(every, len(every.rows), rules)
    done = replay_rows(every, settings)
    notes = [*every.table.assumptions, *every.assumptions(), *repeat_notes(every)]
    if options.json:
        rows = list(all_rows(every, done))
        fields = {**all_summary(every, done), "rows": rows}
        problems = [str(problem) for problem in every.table.problems]
        print_json({**fields, "assumptions": notes, "problems": problems})
    else:
        lines = list(all_text(every, done))
        print("\n".join(lines[-2:] if options.quiet else lines))
    tell_assumptions(NAME, every.table, notes, options.quiet)
    return 0


main = make_command(NAME, _parse, _run, "please report it together with the log")
