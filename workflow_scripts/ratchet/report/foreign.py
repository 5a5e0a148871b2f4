"""The report of a log that Ratchet did not write: its rows as the facts of a page.

Decisions are the log's author's, verdicts the judge's, who replays them; see
:mod:`ratchet.judge.replay`.  What only a session of Ratchet's has (confirmation, hashes
of inputs, a timeline, integrity) is missing here, and the page says so.  Pure: the same
log gives the same facts.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any

from ratchet.dialects import LogRow, RowStatus
from ratchet.judge import Assessment
from ratchet.logs_analysis import LogSession, Steered, reason
from ratchet.report import evidence, foreign_words, text
from ratchet.report.experiments import AS_RULED, counts, crashes, interval
from ratchet.report.front import front
from ratchet.report.inputs import Facts, metric_facts
from ratchet.report.steering import advice
from ratchet.vocabulary import Status

MB_PER_GB = 1024
MOST_PROBLEMS = 50
"""Lines that could not be understood, shown one by one."""

_EMPTY = (
    "round hypothesis diff source lines_added lines_removed retried_as retry_of proposer "
    "expected_effect outcome seconds log_tail delta_low delta_high verdict called role survives"
)


def build(log: LogSession) -> Facts:
    """All facts of a log, as JSON values."""
    every, judge = log.every, log.done.judge
    table = every.table
    sign = table.direction.sign
    low, high = judge.noise_interval()
    baseline = _baseline(log)
    rows = [_row(log, place) for place in range(len(every.rows))]
    tried = [e for e in rows if e["verdict"] is not None]
    evidence.mark(tried, sign)
    facts: Facts = {
        "format": 1,
        "log": _about(log, tried),
        "session": text.label(log.file.name),
        "task": "a log of experiments",
        "metric": metric_facts(
            table.metric, None, table.direction, judge.noise_sd, baseline["mean"]
        ),
        "judge": {"mode": log.mode, "keep_probability": judge.settings.keep_probability},
        "baseline": baseline,
        "noise": {"sd": judge.noise_sd, "low": low, "high": high, "from": "log"},
        "experiments": rows,
        "counts": counts(tried, judge.expected_false_keeps),
        "incumbents": _incumbents(log),
        "remeasurements": [],
        "seeds": evidence.seeds(judge.noise_sd, None, tried),
        "strict": evidence.strict(tried, sign),
        "front": front(tried, baseline, sign),
        "crashes": crashes(tried),
        "agents": None,
        "steering": _steering(log.steered),
        "confirmation": None,
        "timeline": None,
        "program": None,
    }
    facts["answer"] = foreign_words.answer(facts)
    facts["method"] = foreign_words.method(facts)
    safe: Facts = text.safe_json(facts)
    return safe


def _memory(row: LogRow) -> float | None:
    """In megabytes; a log's 0 means that nobody measured it."""
    return row.memory_gb * MB_PER_GB if row.memory_gb is not None and row.memory_gb > 0 else None


def _baseline(log: LogSession) -> Facts:
    every = log.every
    assert every.first is not None  # a log without a metric has no replay
    row, sign = every.rows[every.first], every.table.direction.sign
    values = [sign * value for value in every.baseline_runs]
    return {
        "commit": text.label(row.commit, 64),
        "number": every.numbers[every.first],
        "n": len(values),
        "failed": 0,
        "values": values,
        "mean": fmean(values),
        "sd": stdev(values) if len(values) > 1 else None,
        "runs": [{"memory_mb": _memory(row)}],
    }


def _row(log: LogSession, place: int) -> Facts:
    """One row of the log, judged or not."""
    every = log.every
    row, number, value = every.rows[place], every.numbers[place], every.values[place]
    assessment = log.done.assessments[place]
    e: Facts = {
        **dict.fromkeys((*_EMPTY.split(), *AS_RULED)),
        **{"near_miss": False, "quarantined": False, "notes": [], "runs": [], "commands": []},
        "number": number,
        "line": row.line,
        "logged": text.label(row.status_text or row.status.value, 60),
        "agent": text.label(row.agent, 60) if row.agent else None,
        "commit": text.label(row.commit, 64),
        "description": text.label(row.description),
        "category": text.label(log.categories.get(number, ""), 60) or None,
        "mean": None if value is None else row.value,
        "n": 0 if value is None else 1,
        "memory_mb": _memory(row),
        "status": Status.KEEP.value if every.kept[place] else Status.DISCARD.value,
        "reason": "",
    }
    if assessment is not None:
        e.update(_judged(assessment, every.table.direction.sign))
    elif value is None:
        said = text.label(row.description, 600)
        kind = _kind(row) if row.status is RowStatus.CRASH else "no metric"
        crash = Status.CRASH.value
        e.update(verdict="CRASH", status=crash, called=crash, reason=said, outcome=kind)
    else:
        e["role"] = "baseline" if place == every.first else "incumbent again"
    if log.run is not None and log.run.number == number:
        e["log_tail"] = text.tail(log.run.text, text.LOG_LIMIT)
    edit = (log.edits or {}).get(number)
    if edit is not None:
        e["diff"] = text.head(edit.diff, text.DIFF_LIMIT) or None
        e.update(lines_added=edit.added, lines_removed=edit.removed, net_lines=edit.net_lines)
        e["changes"] = edit.changes
    return e


def _kind(row: LogRow) -> str:
    """How it failed by the author's own word, such as ``timeout``."""
    return text.label(row.status_text.split("(")[0], 40).strip().lower() or "crash"


def _judged(found: Assessment, sign: int) -> Facts:
    delta = sign * found.delta
    low, high = interval(delta, found.delta_sd)
    return {
        "verdict": found.verdict.value,
        "called": found.verdict.status.value,
        "reason": f"{reason(found)}.",
        "delta": delta,
        "delta_sd": found.delta_sd,
        "delta_low": low,
        "delta_high": high,
        "gain": found.gain,
        "confidence": found.confidence,
    }


def _incumbents(log: LogSession) -> list[Facts]:
    """What the judge believed of the author's incumbent after each row."""
    every, held = log.every, 0
    line: list[Facts] = []
    sign = every.table.direction.sign
    for place, belief in enumerate(log.done.beliefs):
        if belief is None:
            continue
        number = every.numbers[place] if line else 0
        if every.kept[place] and every.values[place] is not None:
            held = number
        line.append({"from": number, "number": held, "mean": sign * belief[0], "sd": belief[1]})
    return line


def _steering(found: Steered) -> Facts | None:
    if not found.attempts:
        return None
    avoid = [note.text for note in (*found.crashes, *found.exhausted)]
    said = advice(found.ranking, found.scores, found.suggestions, avoid)
    return {**said, "followed": []}


def _about(log: LogSession, tried: Sequence[Facts]) -> Facts:
    """The files, what was assumed and not understood, and where judge and author differ."""
    every, table = log.every, log.every.table
    sign = table.direction.sign
    unread = [str(problem) for problem in table.problems]
    again = [place for place, yes in enumerate(every.again) if yes and place != every.first]
    kept = [
        (sign * value, number, row.value)
        for value, keep, number, row in zip(
            every.values, every.kept, every.numbers, every.rows, strict=True
        )
        if keep and value is not None
    ]
    return {
        "files": [
            {"role": role, "name": text.label(f.name), "bytes": f.bytes, "sha256": f.sha256}
            for role, f in (("results", log.file), ("run log", log.run.file if log.run else None))
            if f is not None
        ],
        "lines": table.line_count,
        "notes": sum(not row.status.is_experiment for row in table.rows),
        "unread": sum(problem.unread for problem in table.problems),
        "rows": len(every.rows),
        "noise": text.label(log.noise, 600),
        "guess": text.label(log.guess, 300) or None,
        "assumed": [text.label(note, 600) for note in log.notes],
        "problems": [text.label(line, 600) for line in unread[:MOST_PROBLEMS]],
        "problems_in_all": len(unread),
        "again": [{"number": every.numbers[p], "value": every.rows[p].value} for p in again],
        "best": _best(kept, sign),
        "run_of": log.run.number if log.run else None,
        "edits": None if log.edits is None else len(log.edits),
        "differ": {
            "doubted": _numbers(tried, "keep", judged_keep=False),
            "missed": _numbers(tried, "discard", judged_keep=True),
        },
    }


def _best(kept: Sequence[tuple[float, int, Any]], sign: int) -> Facts | None:
    """The best measurement that its author kept, the baseline included."""
    if not kept:
        return None
    _, number, value = min(kept, key=lambda each: (sign * each[2], each[1]))
    return {"number": number, "value": value}


def _numbers(tried: Sequence[Facts], status: str, *, judged_keep: bool) -> list[int]:
    """Experiments that their author treated so, while the judge would have kept them or not."""
    return [
        e["number"]
        for e in tried
        if e["status"] == status and (e["called"] == Status.KEEP.value) is judged_keep
    ]
