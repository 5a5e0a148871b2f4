"""Verdicts as text and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ratchet.cli.session import Experiments
from ratchet.dialects import RunLog, Table
from ratchet.logs_analysis import Answer
from ratchet.vocabulary import Verdict

if TYPE_CHECKING:
    from ratchet.judge import Replay


_NEXT = {
    Verdict.STRONG_KEEP: "Keep the change.",
    Verdict.KEEP: "Keep the change.",
    Verdict.MARGINAL: "Revert the change, or note it for a second try on a later incumbent.",
    Verdict.RETEST: "Run the same code once more with a fresh seed, log it, and ask again.",
    Verdict.DISCARD: "Revert the change.",
    Verdict.CRASH: "Read the run log; fix the change or revert it.",
    Verdict.TAMPERED: "Restore the fixed files and run again.",
}


def decimals(noise_sd: float | None, value: float | None = None) -> int:
    """Decimals that show one or two digits of the noise floor."""
    if noise_sd is None or noise_sd <= 0:
        return 6 if value is None or abs(value) < 1000 else 2
    place = math.floor(math.log10(noise_sd))
    fine = noise_sd / 10.0**place < 5
    return min(max(-place + fine, 0), 12)


def experiment_name(number: int) -> str:
    """``experiment_042``, by the row's number from 1."""
    return f"experiment_{number:03d}"


def text_of(answer: Answer, table: Table) -> str:
    """The verdict in three lines, and why."""
    sure = "" if answer.confidence is None else f" (confidence: {answer.confidence:.2f})"
    places = decimals(answer.noise_sd, answer.value)
    delta = "none" if answer.delta is None else f"{answer.delta:+.{places}f}"
    noise = "unknown" if answer.noise_sd is None else f"±{answer.noise_sd:.{places}f}"
    return "\n".join(
        (
            f"{experiment_name(answer.candidate.number)}: {answer.verdict}{sure}",
            f"{table.metric} delta: {delta} | noise floor: {noise}",
            f"pareto status: {answer.pareto}",
            f"reason: {answer.reason} [{answer.rule}]",
        )
    )


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


def json_of(answer: Answer, every: Experiments, run: RunLog | None, notes: list[str]) -> str:
    """A verdict as JSON; ``val_bpb`` is the metric whatever its name is.

    A missing value is null.  ``delta`` is against the incumbent's estimated true
    metric, ``prev_best`` the best logged value, as lucky as it may be.
    """
    candidate = answer.candidate
    fields = {
        "verdict": answer.verdict.value,
        "confidence": _rounded(answer.confidence, 4),
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
            "line": candidate.line,
            "commit": candidate.commit,
            "description": candidate.description,
            "val_bpb": answer.value,
            "memory_gb": candidate.memory_gb,
            "status": candidate.status_text,
        },
        **_ours(answer, every.table, notes),
    }
    if run is not None:
        fields["run_log"] = {
            name.lower(): value for name, value in run.metrics.items() if math.isfinite(value)
        }
    return json.dumps(fields, indent=2, ensure_ascii=False, allow_nan=False)


def _ours(answer: Answer, table: Table, notes: list[str]) -> dict[str, Any]:
    """What the verdict rests on."""
    return {
        "metric": table.metric,
        "direction": table.direction.value,
        "rule": answer.rule,
        "reason": answer.reason,
        "exit_code": answer.exit_code,
        "runs": list(answer.candidate.values),
        "incumbent": answer.incumbent,
        "incumbent_sd": answer.incumbent_sd,
        "gain": answer.gain,
        "keep_probability": answer.keep_probability,
        "noise_floor_interval": answer.noise_interval,
        "pareto_status": answer.pareto,
        "p_efficient": answer.efficiency,
        "expected_false_keeps": answer.expected_false_keeps,
        "threshold": answer.threshold,
        "confidence_at_threshold": answer.confidence_at_threshold,
        "memory_ratio": answer.memory_ratio,
        "assumptions": notes,
        "problems": [str(problem) for problem in table.problems],
    }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, digits)


def all_rows(every: Experiments, done: Replay) -> Iterator[dict[str, Any]]:
    """Each row with the verdict at its time, as values for JSON."""
    sign = every.table.direction.sign
    for place, (row, number) in enumerate(zip(every.rows, every.numbers, strict=True)):
        assessment = done.assessments[place]
        if assessment is not None:
            verdict = assessment.verdict.value
        elif every.values[place] is None:
            verdict = Verdict.CRASH.value
        else:
            verdict = "BASELINE" if place == every.first else "INCUMBENT_RUN"
        yield {
            "index": number,
            "line": row.line,
            "commit": row.commit,
            "value": row.value,
            "verdict": verdict,
            "confidence": assessment and round(assessment.confidence, 4),
            "delta": assessment and sign * assessment.delta,
            "gain": assessment and assessment.gain,
            "status": row.status.value,
            "description": row.description,
        }


def all_summary(every: Experiments, done: Replay) -> dict[str, Any]:
    """Noise floor, keeps and false keeps of a whole log."""
    judge = done.judge
    keeps = sum(
        keep and assessment is not None
        for keep, assessment in zip(every.kept, done.assessments, strict=True)
    )
    return {
        "metric": every.table.metric,
        "direction": every.table.direction.value,
        "experiments": len(every.rows),
        "noise_floor": judge.noise_sd,
        "noise_floor_interval": judge.noise_interval(),
        "incumbent": every.table.direction.sign * judge.incumbent_mean,
        "incumbent_sd": judge.incumbent_sd,
        "keep_probability": judge.settings.keep_probability,
        "keeps": keeps,
        "expected_false_keeps": judge.expected_false_keeps,
    }


def all_text(every: Experiments, done: Replay) -> Iterator[str]:
    """A line a row, then the summary."""
    summary = all_summary(every, done)
    places = decimals(summary["noise_floor"])
    head = ("experiment", every.table.metric[:14], "delta", "P(better)", "verdict", "logged")
    yield "{:<14} {:>14} {:>12} {:>9}  {:<13} {:<8} description".format(*head)
    for row in all_rows(every, done):
        value = "-" if row["value"] is None else f"{row['value']:.{max(places, 4)}f}"
        delta = "-" if row["delta"] is None else f"{row['delta']:+.{places}f}"
        sure = "-" if row["confidence"] is None else f"{row['confidence']:.2f}"
        name = experiment_name(row["index"])
        yield (
            f"{name:<14} {value:>14} {delta:>12} {sure:>9}  {row['verdict']:<13} "
            f"{row['status']:<8} {row['description'][:80]}"
        )
    low, high = summary["noise_floor_interval"]
    shown = places + 1
    yield (
        f"noise floor: ±{summary['noise_floor']:.{shown}f} "
        f"(90 % interval {low:.{shown}f} to {high:.{shown}f})"
    )
    yield (
        f"keeps after the baseline: {summary['keeps']} of {summary['experiments']} experiments | "
        f"expected false keeps: {summary['expected_false_keeps']:.1f}"
    )
