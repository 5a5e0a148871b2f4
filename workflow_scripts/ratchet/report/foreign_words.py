"""What a report says of a log that Ratchet did not write: the answer and the method.

Nothing in such a log was confirmed, and its words say so everywhere.
"""

from __future__ import annotations

from ratchet.report.inputs import Facts
from ratchet.report.text import number, percent, plural


def answer(facts: Facts) -> Facts:
    """The log in one sentence; ``kind``, ``headline`` and ``rest`` as of a session."""
    kind, core, detail = _outcome(facts)
    log = facts["log"]
    parts = [detail, _kept(facts), f"{plural(log['rows'], 'run')} in the log"]
    parts.append(f"noise floor ± {_show(facts, facts['noise']['sd'])}, {log['noise']}")
    tail = "; ".join(parts)
    judge = facts["judge"]
    return {
        "kind": kind,
        "headline": core,
        "rest": f"{tail[:1].upper()}{tail[1:]}.",
        "sentence": f"{core}; {tail}.",
        "standard": (
            f"Mode {judge['mode']}: the judge would keep a change at P(better) of "
            f"{percent(judge['keep_probability'])}"
        ),
    }


def _outcome(facts: Facts) -> tuple[str, str, str]:
    name, base = facts["metric"]["name"], facts["baseline"]["mean"]
    held = facts["incumbents"][-1]
    if not facts["counts"]["kept"]:
        core = f"Nothing kept: {name} stays at {_show(facts, base)}"
        return "nothing_kept", core, "nothing was confirmed"
    sign = -1 if facts["metric"]["better"] == "lower" else 1
    gain = sign * (held["mean"] - base)
    arrow = f"{name} {_show(facts, base)} → {_show(facts, held['mean'])}"
    best = facts["log"]["best"]
    flatters = (
        f"the best kept measurement, {_show(facts, best['value'])}, was selected and flatters"
    )
    confirmed = "no run was made after the choice, so nothing is confirmed"
    if gain <= 0:
        core = f"No gain by the judge's estimate: {arrow}"
        return "not_confirmed", core, f"{confirmed}; {flatters}"
    core = f"{arrow} by the judge's estimate, not confirmed"
    return (
        "estimated",
        core,
        f"gain {_show(facts, gain)}, with no run made after the choice; {flatters}",
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


def _show(facts: Facts, value: float | None) -> str:
    return number(value, facts["metric"]["decimals"])


def method(facts: Facts) -> list[dict[str, str]]:
    """How to read the report and what it cannot say; ``term`` and ``text``."""
    metric, judge, strict = facts["metric"], facts["judge"], facts["strict"]
    entries = {
        "Decisions and verdicts": (
            "What became the incumbent was decided by the log's author, as the log says. The "
            "judge replays the log in its order with these decisions, and says of each row what "
            "it would have called it, knowing the rows before it alone: KEEP where P(better) "
            f"reaches {percent(judge['keep_probability'])} (mode {judge['mode']}), MARGINAL where "
            "it is rather better than worse, else DISCARD. Every candidate counts with one run, "
            "and neither lines nor memory have a price."
        ),
        "Confidence": (
            "The probability that the change truly improves the metric, given the rows before it "
            "and what changes usually do. Expected false keeps is the sum of the remaining doubts "
            "over all changes that the author kept."
        ),
        "Delta and gain": (
            f"Delta is the measurement minus the judge's estimate of the incumbent; "
            f"{metric['better']} is better for {metric['name']}. Gain is the improvement that the "
            "judge believes in: positive is always better, and it is smaller than the raw "
            "difference, because a lucky measurement is kept more often than an unlucky one."
        ),
        "Selected and optimistic": (
            "The best measurements were picked because they looked good, so they flatter. The "
            "judge's estimate allows for that by a model; only fresh runs of baseline and "
            "champion, made after the choice, can show the gain, and a log has none."
        ),
        "Stricter test": (
            f"Holm's test over all {strict['tested']} measured changes: at most "
            f"{percent(strict['level'])} chance that even one survivor is false, from the "
            "measured differences and the noise floor alone, without a belief about usual "
            "effects."
        ),
        "Noise": (
            "Two runs of the same code with different seeds differ; the noise floor is the "
            f"standard deviation of that. Here it is {facts['log']['noise']}. If it is wrong, so "
            "are all verdicts: where it is known, give it with --noise-sd."
        ),
        "Limits": (
            "The log is taken at its word. Nobody checked that its rows are of the code, the data "
            "and the budget that they claim, that nothing was left out, or that the metric was "
            "measured honestly. Noise is taken as normal and alike for all changes."
        ),
    }
    return [{"term": term, "text": text} for term, text in entries.items()]
