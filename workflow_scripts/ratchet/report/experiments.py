"""The experiments of a session, one entry each, and how the failed ones failed."""

from __future__ import annotations

from collections.abc import Sequence

from ratchet.history import Trial
from ratchet.report import text
from ratchet.report.evidence import NORMAL_95
from ratchet.report.inputs import Facts, SessionRecords, measured, run_facts, total, train_seconds

# Findings of one edit that are listed; an edit with more is odd enough as it is.
NOTES_SHOWN = 20


AS_RULED = (
    *("mean", "incumbent", "delta", "delta_sd", "gain", "confidence", "memory_mb", "price"),
    *("net_lines", "changes", "memory_ratio", "pareto", "pareto_low", "pareto_high"),
)
"""What is shown of a ruling as it is; ``None`` before there is one."""


def experiments(records: SessionRecords) -> list[Facts]:
    """One entry per trial, by number; unjudged ones have no verdict."""
    return [_experiment(trial, records) for trial in records.history.trials]


def _experiment(trial: Trial, records: SessionRecords) -> Facts:
    proposal, ruling, telling = trial.proposal, trial.ruling, trial.telling_run
    log = records.logs.get(telling.key) if telling else None
    low, high = interval(trial.delta, ruling.delta_sd if ruling else None)
    return {
        "number": trial.number,
        "retried_as": trial.retried_as,
        "round": trial.round,
        "commit": trial.commit,
        "description": text.label(trial.description),
        "category": text.label(trial.category, 60),
        "hypothesis": text.head(proposal.hypothesis, text.LOG_LIMIT),
        "diff": text.head(proposal.diff, text.DIFF_LIMIT),
        "source": proposal.source,
        "lines_added": proposal.lines_added,
        "lines_removed": proposal.lines_removed,
        "retry_of": proposal.retry_of,
        "proposer": text.label(proposal.proposer, 60),
        "expected_effect": text.label(proposal.expected_effect) or None,
        "verdict": trial.word or None,
        "status": trial.status.value if trial.status else None,
        "reason": text.label(ruling.reason, 600) if ruling else None,
        **{name: getattr(ruling, name, None) for name in AS_RULED},
        "delta_low": low,
        "delta_high": high,
        "n": len(measured(trial.runs)) if ruling else None,
        "near_miss": ruling is not None and ruling.near_miss,
        "quarantined": ruling is not None and ruling.quarantined,
        "notes": [text.label(n, 300) for n in ruling.notes[:NOTES_SHOWN]] if ruling else [],
        "outcome": telling.outcome.value if telling else None,
        "seconds": total(records, trial.runs, train_seconds),
        "log_tail": None if log is None else text.tail(log, text.LOG_LIMIT),
        "runs": [run_facts(run, records) for run in trial.runs],
    }


def interval(delta: float | None, sd: float | None) -> tuple[float | None, float | None]:
    """The 95 % interval of a difference; ``None`` twice where there is none."""
    if delta is None or sd is None:
        return None, None
    return delta - NORMAL_95 * sd, delta + NORMAL_95 * sd


def counts(tried: Sequence[Facts], false_keeps: float | None) -> Facts:
    """How many experiments there are of each status."""
    status = [e["status"] for e in tried]
    judged = sum(e["verdict"] is not None for e in tried)
    return {
        "judged": judged,
        "kept": status.count("keep"),
        "discarded": status.count("discard"),
        "crashed": status.count("crash"),
        "pending": len(tried) - judged,
        "expected_false_keeps": false_keeps,
    }


def crashes(tried: list[Facts]) -> list[Facts]:
    """Experiments without a valid measurement, by the way they failed."""
    found: dict[str, Facts] = {}
    for e in tried:
        if e["status"] == "crash":
            outcome = e["outcome"] if e["outcome"] not in (None, "ok") else e["verdict"].lower()
            entry = found.setdefault(outcome, {"outcome": outcome, "experiments": []})
            entry["experiments"].append(
                {key: e[key] for key in ("number", "description", "reason")}
            )
    return sorted(found.values(), key=lambda entry: (-len(entry["experiments"]), entry["outcome"]))
