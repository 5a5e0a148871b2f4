"""The report's sentences: the answer, why the session stopped, how to read it."""

from __future__ import annotations

from typing import Any

from ratchet.base.text import DASH, format_duration, format_number, format_percent, plural
from ratchet.records.records import StopReason

Facts = dict[str, Any]
STOPPED = {
    StopReason.TARGET: "the target was reached",
    StopReason.DEADLINE: "the deadline passed",
    StopReason.MAX_RUNS: "the allowed number of runs was used up",
    StopReason.EXHAUSTED: "no untried proposal was left",
    StopReason.AGENT_FAILURES: "the agent failed too often in a row",
    StopReason.AGENT_BUDGET: "the agent's budget was used up",
}


def session_answer(facts: Facts) -> Facts:
    """The session in one sentence; ``kind`` names the case, ``headline`` is its core."""
    kind, core, detail = _outcome(facts)
    parts = [_kept(facts), _cost(facts), *_intact(facts["soundness"])]
    if facts["stop"]:
        parts.append(f"stopped early because {facts['stop']['text']}")
    tail = "; ".join(parts)
    return {
        "kind": kind,
        "headline": core,
        "rest": f"{detail[:1].upper()}{detail[1:]}; {tail}." if detail else f"{tail}.",
        "sentence": f"{core} ({detail}); {tail}." if detail else f"{core}; {tail}.",
        "standard": _standard(facts["judge"]),
    }


def _standard(judge: Facts) -> str:
    """What a keep needed in this session, and what was promised of false ones."""
    needed = judge.get("keep_probability")
    text = f"Mode {judge.get('mode', DASH)}"
    if isinstance(needed, int | float):
        text += f": a keep needs P(better) of {format_percent(needed)}"
    bound = judge.get("false_keep_bound")
    if bound is not None:
        spent = judge["error_spent"]
        used = "" if spent is None else f", {spent:.2g} spent"
        text += f" and a test; at most {bound:g} false keeps are to be expected{used}"
    return text


def _outcome(facts: Facts) -> tuple[str, str, str]:
    found, kept = facts["confirmation"], facts["counts"]["kept"]
    name = facts["metric"]["name"]
    if facts["baseline"]["mean"] is None:
        return "no_baseline", f"No answer: no run of the baseline gave {name}", ""
    if found is None:
        core = f"Unfinished after {plural(facts['rounds'], 'round')}: {_so_far(facts)}"
        return "unfinished", core, "not confirmed yet" if kept else ""
    if not kept or found["champion"] == 0:
        core = f"No improvement found: {name} stays at {_show(facts, facts['baseline']['mean'])}"
        return "nothing_kept", core, _baseline_spread(facts)
    if found["gain"] is None:
        reason = f": {found['detail']}" if found["detail"] else ""
        core = f"Not confirmed: {_so_far(facts)}"
        return "confirmation_failed", core, f"an optimistic estimate; confirmation failed{reason}"
    return _confirmed(facts, found)


def _confirmed(facts: Facts, found: Facts) -> tuple[str, str, str]:
    before, after = found["baseline"], found["challenger"]
    arrow = f"{_show(facts, before['mean'])} → {_show(facts, after['mean'])}"
    core = f"{facts['metric']['name']} {arrow}"
    gain = f"gain {_show(facts, found['gain'])}"
    seeds = _seeds(before["n"], after["n"])
    if found["low"] is None or found["high"] is None:
        return "no_interval", core, f"{gain} with {seeds}, too few for an interval"
    interval = f"{interval_name(found['level'])} {_range(facts, found['low'], found['high'])}"
    if found["low"] > 0:
        return "confirmed", core, f"{gain}, {interval}, confirmed with {seeds}"
    if found["high"] < 0:
        return "worse", f"Confirmed to be worse: {core}", f"{gain}, {interval}, {seeds}"
    return "not_confirmed", f"Not confirmed: {core}", f"{gain}, {interval} includes zero, {seeds}"


def interval_name(level: float) -> str:
    """``95 % interval``."""
    return f"{100 * level:g} % interval"


def _so_far(facts: Facts) -> str:
    name, base = facts["metric"]["name"], _show(facts, facts["baseline"]["mean"])
    held = facts["incumbents"][-1] if facts["incumbents"] else None
    if held is None or held["number"] == 0:
        return f"{name} {base}, nothing kept so far"
    return f"{name} {base} → {_show(facts, held['mean'])}"


def _baseline_spread(facts: Facts) -> str:
    base = facts["baseline"]
    runs = plural(base["n"], "baseline run")
    return runs if base["sd"] is None else f"sd {_show(facts, base['sd'])} over {runs}"


def _seeds(before: int, after: int) -> str:
    if before == after:
        return f"{plural(after, 'fresh seed')} each"
    return f"{before} and {plural(after, 'fresh seed')}"


def _kept(facts: Facts) -> str:
    counts = facts["counts"]
    text = f"{counts['kept']} of {plural(counts['judged'], 'experiment')} kept"
    if not counts["kept"]:
        return text if counts["judged"] else "no experiment judged"
    doubts, strict = counts["expected_false_keeps"], facts["strict"]["survive"]
    return (
        f"{text}, of which {strict or 'none'} would survive a stricter test; "
        f"expected false keeps {DASH if doubts is None else f'{doubts:.1f}'}"
    )


def _intact(soundness: Facts) -> list[str]:
    """What hashing again found; nothing where nothing was hashed."""
    if soundness["intact"] is None:
        return []
    if soundness["intact"]:
        return ["inputs intact"]
    return [f"NOT INTACT: {plural(soundness['deviations_in_all'], 'deviation')}"]


def _cost(facts: Facts) -> str:
    totals = facts["totals"]
    text = plural(totals["runs"], "run")
    if totals["train_seconds"] is None:
        return text
    if totals["device"] == "gpu":
        return f"{text}, {totals['train_seconds'] / 3600:.1f} GPU-hours"
    return f"{text}, {format_duration(totals['train_seconds'])} of training"


def _show(facts: Facts, value: float | None) -> str:
    return format_number(value, facts["metric"]["decimals"])


def _range(facts: Facts, low: float, high: float) -> str:
    return f"{_show(facts, low)} to {_show(facts, high)}"


def _guarantee(judge: Facts) -> str:
    if judge.get("false_keep_bound") is None:
        return ""
    return (
        " In this mode runs that were made after the choice, of the change and of the incumbent, "
        "must show the improvement alone, at levels that sum to "
        f"{judge['false_keep_bound']:g} over the session: so many false keeps are to be expected "
        "at most, whatever was proposed, if noise is alike for all changes."
    )


def _prices(facts: Facts) -> str:
    line, memory = facts["judge"].get("line_price"), facts["judge"].get("memory_price")
    if line is None or memory is None:
        return ""
    if not line and not memory:
        return " In this session both were free."
    decimals = facts["metric"]["decimals"] + 2
    return (
        f" Here a line of code cost {format_number(line, decimals)} and twice the memory "
        f"{format_number(0.6931 * memory, decimals)}."
    )


def session_method(facts: Facts) -> list[dict[str, str]]:
    """How to read the report and what it cannot say; ``term`` and ``text``."""
    metric = facts["metric"]
    threshold = facts["judge"].get("keep_probability")
    bar = format_percent(threshold) if isinstance(threshold, int | float) else "its threshold"
    mode = facts["judge"].get("mode", DASH)
    entries = {
        "Verdict": (
            "A change becomes the new starting point (KEEP, STRONG_KEEP) when it is probably "
            f"better than the incumbent, the code it started from: here at {bar} or more (mode "
            f"{mode}). MARGINAL means rather better than worse, yet not kept. DISCARD means not "
            "shown to be better, which is not the same as shown to be worse. CRASH means that no "
            "valid measurement exists; TAMPERED, that the run touched what it must not."
            f"{_guarantee(facts['judge'])}"
        ),
        "Confidence": (
            "The probability that the change truly improves the metric, given all runs so far "
            "and what changes usually do. Expected false keeps is the sum of the remaining "
            "doubts over all kept changes."
        ),
        "Delta and gain": (
            f"Delta is the measured mean minus the incumbent's; {metric['better']} is better for "
            f"{metric['name']}. Gain is the improvement that the judge believes in: positive is "
            "always better, and it is smaller than the raw difference, because a lucky "
            "measurement is kept more often than an unlucky one."
        ),
        "Stricter test": (
            f"Holm's test over all {facts['strict']['tested']} measured changes: at most "
            f"{format_percent(facts['strict']['level'])} chance that even one survivor is false, "
            "from the "
            "measured differences alone, without a belief about usual effects. A kept change that "
            "does not survive it is not refuted: more seeds would tell."
        ),
        "Price": (
            "Code and memory that a change adds must be paid for: it is kept if it is probably "
            f"better by more than its price.{_prices(facts)} What a change removes may cost a "
            "little of the metric, within a limit for the session. Comments and blank lines are "
            "free."
        ),
        "Efficient": (
            "EFFICIENT: probably no configuration kept before is better without needing more "
            "memory. DOMINATED: probably one is."
        ),
        "Selected and optimistic": (
            "The best measurements were picked because they looked good, so they flatter. Only "
            "the confirmation runs, made afterwards with fresh seeds for the champion and the "
            "baseline alike, enter the reported gain and its interval."
        ),
        "Noise": (
            "Two runs of the same code with different seeds differ; the noise floor is the "
            "standard deviation of that. The interval of a single delta is a normal "
            "approximation. A re-measurement of the incumbent that lies more than 3 standard "
            "deviations from what was expected, at the upper end of the noise floor's interval, "
            "is an alarm: luck is an unlikely reason."
        ),
        "Limits": (
            "The gain holds for this budget, this data and this hardware; a longer training may "
            "rank the changes differently. Many changes were tried against one validation set, "
            "which it slowly wears out"
            + ("; the locked data were not touched by that." if _audited(facts) else ".")
        ),
        "Isolation": _isolation(facts["provenance"]["isolation"]),
    }
    return [{"term": term, "text": text} for term, text in entries.items()]


def _audited(facts: Facts) -> bool:
    return bool(facts["confirmation"] and facts["confirmation"]["audit"])


def _isolation(kinds: list[str]) -> str:
    """What kept the runs from everything else on the machine."""
    if kinds and "none" not in kinds:
        how = " and ".join(kinds)
        return (
            f"Runs were kept apart by {how}: they saw their own folder, read-only inputs and no "
            "network. SECURITY.md lists what that stops and what it cannot."
        )
    return (
        "Runs were ordinary processes of the user. Limits inside one Python process stop "
        "accidents, not a determined attacker: for code that you do not trust, set isolation to "
        "bubblewrap."
    )
