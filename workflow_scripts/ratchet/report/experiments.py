"""The experiments of a session, one entry each, and how the failed ones failed."""

from __future__ import annotations

from ratchet.records import Outcome, Proposal, Ruling
from ratchet.report import text
from ratchet.report.evidence import NORMAL_95
from ratchet.report.inputs import Facts, SessionRecords, measured, run_facts, total

# Findings of one edit that are listed; an edit with more is odd enough as it is.
NOTES_SHOWN = 20


def experiments(records: SessionRecords) -> list[Facts]:
    """One entry per proposal or ruling, by number; unjudged ones have no verdict."""
    proposals = {p.number: p for group in records.proposals for p in group.proposals}
    rulings = {r.number: (v.round, r) for v in records.verdicts for r in v.rulings}
    later = {p.retry_of: p.number for p in proposals.values() if p.retry_of is not None}
    return [
        {
            "number": number,
            "retried_as": later.get(number),
            **_proposed(proposals.get(number), rulings.get(number)),
            **_judged(rulings[number][1] if number in rulings else None, records),
        }
        for number in sorted(proposals.keys() | rulings.keys())
    ]


def _proposed(proposal: Proposal | None, judged: tuple[int, Ruling] | None) -> Facts:
    if proposal is None:
        round_number, ruling = judged if judged else (None, None)
        return {
            "round": round_number,
            "commit": ruling.commit if ruling else None,
            **dict.fromkeys(("description", "category", "hypothesis", "diff", "source")),
            **dict.fromkeys(("lines_added", "lines_removed", "retry_of")),
            **dict.fromkeys(("proposer", "expected_effect")),
        }
    return {
        "round": proposal.round,
        "commit": proposal.commit,
        "description": text.label(proposal.description),
        "category": text.label(proposal.category, 60),
        "hypothesis": text.head(proposal.hypothesis, text.LOG_LIMIT),
        "diff": text.head(proposal.diff, text.DIFF_LIMIT),
        "source": proposal.source,
        "lines_added": proposal.lines_added,
        "lines_removed": proposal.lines_removed,
        "retry_of": proposal.retry_of,
        "proposer": text.label(proposal.proposer, 60),
        "expected_effect": text.label(proposal.expected_effect) or None,
    }


def _judged(ruling: Ruling | None, records: SessionRecords) -> Facts:
    if ruling is None:
        missing = "verdict status reason mean n incumbent delta delta_sd delta_low delta_high gain"
        missing += " confidence memory_mb price net_lines memory_ratio pareto pareto_low"
        missing += " pareto_high changes outcome seconds log_tail"
        plain = {"near_miss": False, "quarantined": False, "notes": [], "runs": []}
        return {**dict.fromkeys(missing.split()), **plain}
    failed = [r for r in ruling.runs if r.outcome is not Outcome.OK]
    telling = failed[0] if failed else ruling.runs[-1] if ruling.runs else None
    details = records.runs.get(telling.key) if telling else None
    low, high = _interval(ruling.delta, ruling.delta_sd)
    return {
        "verdict": ruling.verdict.value,
        "status": ruling.verdict.status.value,
        "reason": text.label(ruling.reason, 600),
        "mean": ruling.mean,
        "n": len(measured(ruling.runs)),
        "incumbent": ruling.incumbent,
        "delta": ruling.delta,
        "delta_sd": ruling.delta_sd,
        "delta_low": low,
        "delta_high": high,
        "gain": ruling.gain,
        "confidence": ruling.confidence,
        "memory_mb": ruling.memory_mb,
        "price": ruling.price,
        "net_lines": ruling.net_lines,
        "changes": ruling.changes,
        "memory_ratio": ruling.memory_ratio,
        "pareto": ruling.pareto,
        "pareto_low": ruling.pareto_low,
        "pareto_high": ruling.pareto_high,
        "near_miss": ruling.near_miss,
        "quarantined": ruling.quarantined,
        "notes": [text.label(note, 300) for note in ruling.notes[:NOTES_SHOWN]],
        "outcome": telling.outcome.value if telling else None,
        "seconds": total(records, ruling.runs, "train_seconds"),
        "log_tail": text.tail(details.log_tail, text.LOG_LIMIT) if details else None,
        "runs": [run_facts(r, records) for r in ruling.runs],
    }


def _interval(delta: float | None, sd: float | None) -> tuple[float | None, float | None]:
    if delta is None or sd is None:
        return None, None
    return delta - NORMAL_95 * sd, delta + NORMAL_95 * sd


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
