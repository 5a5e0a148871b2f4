"""Report of a log that Ratchet did not write.

Decisions are the log's author's, verdicts the judge's, who replays them; nothing was
confirmed.  What only a session has (confirmation, hashes of inputs, a timeline,
integrity) is missing, and the page says so.  The same log gives the same facts.
"""

from collections.abc import Sequence
from statistics import fmean, stdev

from ratchet.base.text import (
    DIFF_LIMIT,
    LOG_LIMIT,
    format_percent,
    head_text,
    one_line_label,
    plural,
    safe_json,
    tail_text,
)
from ratchet.judge.judge import Assessment
from ratchet.logs.analysis import LogSession, Steered
from ratchet.logs.judging import (
    REPEATED,
    expected_false_keeps,
    repeat_notes,
    repeating_rows,
    verdict_reason,
)
from ratchet.logs.table import LogRow, RowStatus
from ratchet.records.history import SATURATED
from ratchet.records.records import Status
from ratchet.report.facts import AS_RULED, FORMAT, advice, counts, crash_classes, interval
from ratchet.report.inputs import Facts, method_entries, metric_facts, metric_text
from ratchet.report.statistics import front_facts, more_seeds, strict_keeps


def log_answer(facts: Facts) -> Facts:
    """The log in one sentence; ``kind``, ``headline`` and ``rest`` as of a session."""
    kind, core, detail = _outcome(facts)
    log = facts["log"]
    parts = [detail, _kept(facts), f"{plural(log['rows'], 'run')} in the log"]
    sd = facts["noise"]["sd"]
    parts.append(f"noise floor ± {metric_text(facts, sd)}, {log['noise']}")
    tail = "; ".join(parts)
    judge = facts["judge"]
    return {
        "kind": kind,
        "headline": core,
        "rest": f"{tail[:1].upper()}{tail[1:]}.",
        "sentence": f"{core}; {tail}.",
        "standard": (
            f"Mode {judge['mode']}: the judge would keep a change at P(better) of "
            f"{format_percent(judge['keep_probability'])}"
        ),
    }


def _outcome(facts: Facts) -> tuple[str, str, str]:
    name, base = facts["metric"]["name"], facts["baseline"]["mean"]
    held = facts["incumbents"][-1]
    if not facts["counts"]["kept"]:
        core = f"Nothing kept: {name} stays at {metric_text(facts, base)}"
        return "nothing_kept", core, "nothing was confirmed"
    sign = -1 if facts["metric"]["better"] == "lower" else 1
    gain = sign * (held["mean"] - base)
    arrow = f"{name} {metric_text(facts, base)} → {metric_text(facts, held['mean'])}"
    best = facts["log"]["best"]
    flatters = (
        f"the best kept measurement, {metric_text(facts, best['value'])}, was selected and flatters"
    )
    confirmed = "no run was made after the choice, so nothing is confirmed"
    if gain <= 0:
        core = f"No gain by the judge's estimate: {arrow}"
        return "not_confirmed", core, f"{confirmed}; {flatters}"
    core = f"{arrow} by the judge's estimate, not confirmed"
    return (
        "estimated",
        core,
        f"gain {metric_text(facts, gain)}, with no run made after the choice; {flatters}",
    )


def _kept(facts: Facts) -> str:
    counts, strict = facts["counts"], facts["strict"]["survive"]
    said = f"its author kept {counts['kept']} of {plural(counts['judged'], 'change')}"
    if not counts["kept"]:
        return said
    agreed = counts["kept"] - len(facts["log"]["differ"]["doubted"])
    would = f"of which the judge would keep {agreed} and {strict or 'none'} would survive"
    if not agreed and not strict:
        would = "none of which the judge would keep or would survive"
    false = f"expected false keeps {counts['expected_false_keeps']:.1f}"
    return f"{said}, {would} a stricter test; {false}"


def log_method(facts: Facts) -> list[dict[str, str]]:
    """Method and limits of a log's report: ``term`` and ``text`` of each entry."""
    return method_entries("log_method.md", facts=facts)


MB_PER_GB = 1024
MOST_PROBLEMS = 50
"""Lines that could not be understood, shown one by one."""

_EMPTY = (
    "round hypothesis diff source lines_added lines_removed retried_as retry_of second_look "
    "proposer expected_effect outcome diverged seconds wall_seconds machine log_tail delta_low "
    "delta_high contribution verdict called role survives"
)


def log_facts(log: LogSession) -> Facts:
    """All facts of a log, as JSON values."""
    every, judge = log.every, log.done.judge
    table = every.table
    sign = table.direction.sign
    sd, (low, high) = judge.noise_sd, judge.noise_interval()
    baseline = _baseline(log)
    rows = [_row(log, place, yes) for place, yes in enumerate(repeating_rows(every))]
    tried = [e for e in rows if e["verdict"] is not None]
    facts: Facts = {
        "format": FORMAT,
        "log": _about(log, tried),
        "session": one_line_label(log.file.path),
        "task": "a log of experiments",
        "metric": metric_facts(table.metric, None, table.direction, sd, baseline["mean"]),
        "judge": {"mode": log.mode, "keep_probability": judge.settings.keep_probability},
        "baseline": baseline,
        "noise": {"sd": sd, "low": low, "high": high, "from": "log"},
        "experiments": rows,
        "counts": counts(tried, expected_false_keeps(every, log.done)),
        "incumbents": _incumbents(log),
        "remeasurements": [],
        "seeds": more_seeds(sd, None, tried),
        "strict": strict_keeps(tried, sign),
        "code": None,
        "front": front_facts(tried, baseline, sign),
        "crashes": crash_classes(tried),
        "agents": None,
        "steering": _steering(log.steered),
        "confirmation": None,
        "transfer": None,
        "timeline": None,
        "program": None,
    }
    facts["answer"] = log_answer(facts)
    facts["remarks"] = [f"{note[:1].upper()}{note[1:]}." for note in repeat_notes(every)]
    if every.is_saturated:
        facts["remarks"].append(f"{SATURATED[:1].upper()}{SATURATED[1:]}.")
    facts["method"] = log_method(facts)
    safe: Facts = safe_json(facts)
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
        "commit": one_line_label(row.commit, 64),
        "number": every.numbers[every.first],
        "n": len(values),
        "failed": 0,
        "values": values,
        "mean": fmean(values),
        "sd": stdev(values) if len(values) > 1 else None,
        "runs": [{"memory_mb": _memory(row)}],
    }


def _row(log: LogSession, place: int, repeats: bool) -> Facts:
    """One row of the log, judged or not; it may repeat its incumbent's value."""
    every = log.every
    row, number, value = every.rows[place], every.numbers[place], every.values[place]
    anew = every.starts_anew[place]
    assessment = None if anew else log.done.assessments[place]
    e: Facts = {
        **dict.fromkeys((*_EMPTY.split(), *AS_RULED)),
        **{"near_miss": False, "quarantined": False, "notes": [], "runs": [], "commands": []},
        "number": number,
        "line": row.line,
        "logged": one_line_label(row.status_text or row.status.value, 60),
        "agent": one_line_label(row.agent, 60) if row.agent else None,
        "commit": one_line_label(row.commit, 64),
        "description": one_line_label(row.description),
        "category": one_line_label(log.categories.get(number, ""), 60) or None,
        "mean": None if value is None else row.value,
        "n": 0 if value is None else 1,
        "memory_mb": _memory(row),
        "status": Status.KEEP.value if every.kept[place] else Status.DISCARD.value,
        "reason": "",
    }
    if assessment is not None:
        e.update(_judged(assessment, every.table.direction.sign))
    elif value is None:
        said = one_line_label(row.description, 600)
        kind = _kind(row) if row.status is RowStatus.CRASH else "no metric"
        crash = Status.CRASH.value
        e.update(verdict="CRASH", status=crash, called=crash, reason=said, outcome=kind)
    elif repeats and not (anew or every.again[place] or every.undecided[place]):
        discard = Status.DISCARD.value
        e.update(verdict="DISCARD", called=discard, delta=0.0, reason=f"{REPEATED}.")
    else:
        e["role"] = "baseline" if anew else "incumbent again"
    if log.run is not None and log.run.number == number:
        e["log_tail"] = tail_text(log.run.text, LOG_LIMIT)
    edit = (log.edits or {}).get(number)
    if edit is not None:
        e["diff"] = head_text(edit.diff, DIFF_LIMIT) or None
        e.update(lines_added=edit.added, lines_removed=edit.removed, net_lines=edit.net_lines)
        e["changes"] = edit.changes
    return e


def _kind(row: LogRow) -> str:
    """Failure in the author's own word, such as ``timeout``."""
    return one_line_label(row.status_text.split("(")[0], 40).strip().lower() or "crash"


def _judged(found: Assessment, sign: int) -> Facts:
    delta = sign * found.delta
    low, high = interval(delta, found.delta_sd)
    return {
        "verdict": found.verdict.value,
        "called": Status.KEEP.value if found.keep else Status.DISCARD.value,
        "reason": f"{verdict_reason(found)}.",
        "delta": delta,
        "delta_sd": found.delta_sd,
        "delta_low": low,
        "delta_high": high,
        "gain": found.gain,
        "confidence": found.confidence,
    }


def _incumbents(log: LogSession) -> list[Facts]:
    """The judge's belief about the author's incumbent after each row."""
    every = log.every
    held = every.numbers[every.first or 0]
    line: list[Facts] = []
    sign = every.table.direction.sign
    for place, belief in enumerate(log.done.beliefs):
        if belief is None:
            continue
        number = every.numbers[place]
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
    # The best measurement that its author kept, the baseline included.
    rows = zip(every.values, every.kept, every.numbers, every.rows, strict=True)
    kept = [(n, row.value) for value, keep, n, row in rows if keep and value is not None]
    best = min(kept, key=lambda pair: (sign * (pair[1] or 0.0), pair[0]), default=None)
    return {
        "files": [
            {"role": role, "name": one_line_label(f.path), "bytes": f.bytes, "sha256": f.sha256}
            for role, f in (("results", log.file), ("run log", log.run.file if log.run else None))
            if f is not None
        ],
        "lines": table.line_count,
        "notes": sum(not row.status.is_experiment for row in table.rows),
        "unread": sum(problem.unread for problem in table.problems),
        "rows": len(every.rows),
        "noise": one_line_label(log.noise, 600),
        "guess": one_line_label(log.guess, 300) or None,
        "assumed": [one_line_label(note, 600) for note in log.notes],
        "problems": [one_line_label(line, 600) for line in unread[:MOST_PROBLEMS]],
        "problems_in_all": len(unread),
        "again": [{"number": every.numbers[p], "value": every.rows[p].value} for p in again],
        "best": best and {"number": best[0], "value": best[1]},
        "run_of": log.run.number if log.run else None,
        "edits": None if log.edits is None else len(log.edits),
        "differ": {
            "doubted": _numbers(tried, "keep", judged_keep=False),
            "missed": _numbers(tried, "discard", judged_keep=True),
        },
    }


def _numbers(tried: Sequence[Facts], status: str, *, judged_keep: bool) -> list[int]:
    """Experiments that their author treated so, while the judge would have kept them or not."""
    return [
        e["number"]
        for e in tried
        if e["status"] == status and (e["called"] == Status.KEEP.value) is judged_keep
    ]
