"""A session's report in sentences: the answer, how to read the rest, remarks on experiments."""

from ratchet.base.text import DASH, format_duration, format_number, format_percent, plural
from ratchet.records.confirmed import NOT_CARRIED, GainStanding, both_gains
from ratchet.records.history import NO_CHANCE_MEASURED, SeedEffect, name_of
from ratchet.records.records import Standing, StopReason
from ratchet.records.transferred import TransferStanding, transfer_clause
from ratchet.report.inputs import Facts, method_entries, metric_text

STOPPED = {
    StopReason.TARGET: "the target was reached",
    StopReason.DEADLINE: "the deadline passed",
    StopReason.MAX_RUNS: "the allowed number of runs was used up",
    StopReason.EXHAUSTED: "no untried proposal was left",
    StopReason.AGENT_FAILURES: "the agent failed too often in a row",
    StopReason.AGENT_BUDGET: "the agent's budget was used up",
    StopReason.AGENT_UNUSABLE: "the agent could not be asked",
}


def session_answer(facts: Facts) -> Facts:
    """The session in one sentence; ``kind`` names the case, ``headline`` is its core."""
    kind, core, detail = _outcome(facts)
    parts = [*_elsewhere(facts), _kept(facts), _cost(facts), *_intact(facts["soundness"])]
    if facts["disagreement"]:
        parts.insert(0, "search and confirmation disagree by more than noise explains")
    if facts["stop"]:
        parts.append(f"stopped early because {facts['stop']['text']}")
    tail = "; ".join(parts)
    return {
        "kind": kind,
        "headline": core,
        "rest": f"{detail[:1].upper()}{detail[1:]}; {tail}." if detail else f"{tail}.",
        "sentence": f"{core} ({detail}); {tail}." if detail else f"{core}; {tail}.",
        "standard": _standard(facts["judge"], facts["seed"]["effect"] == SeedEffect.NONE),
    }


def _elsewhere(facts: Facts) -> list[str]:
    """Half a sentence on the gain at another scale; empty where there is none to look for."""
    found = facts["transfer"]
    if found is None or found["standing"] == TransferStanding.NOTHING:
        return []
    return [transfer_clause(found)]


def _standard(judge: Facts, seedless: bool) -> str:
    """Standard of a keep in this session, and the bound on false keeps; neither without seeds."""
    needed = judge.get("keep_probability")
    text = f"Mode {judge.get('mode', DASH)}"
    if seedless:
        return text
    if isinstance(needed, int | float):
        text += f": a keep needs an expected gain and P(better) of {format_percent(needed)}"
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
    stop = facts["stop"]
    if stop and stop["reason"] == StopReason.AGENT_UNUSABLE and not facts["counts"]["judged"]:
        return "not_asked", "Nothing was tried: the agent could not be asked", stop["detail"]
    if found is None:
        core = f"Unfinished after {plural(facts['rounds'], 'round')}: {_so_far(facts)}"
        return "unfinished", core, "not confirmed yet" if kept else ""
    if not kept or found["champion"] == 0:
        core = (
            f"No improvement found: {name} stays at {metric_text(facts, facts['baseline']['mean'])}"
        )
        return "nothing_kept", core, _baseline_spread(facts)
    if found["standing"] == GainStanding.FAILED:
        reason = f": {found['detail']}" if found["detail"] else ""
        core = f"Not confirmed: {_so_far(facts)}"
        return found["standing"], core, f"an optimistic estimate; confirmation failed{reason}"
    return _confirmed(facts, found)


def _confirmed(facts: Facts, found: Facts) -> tuple[str, str, str]:
    """Kind, headline and detail; the data that decide are the unseen ones where there are such."""
    kind, name = found["standing"], facts["metric"]["name"]
    gain = both_gains(found, lambda value: metric_text(facts, value))
    seeds = _seeds(found["baseline"]["n"], found["challenger"]["n"])
    if kind == GainStanding.NOT_CARRIED_OVER:
        return kind, f"{NOT_CARRIED.capitalize()}: {gain}", f"gain in {name} with {seeds}"
    sides, place = (found["unseen"], " on unseen data") if found["unseen"] else (found, "")
    before, after = (metric_text(facts, sides[side]["mean"]) for side in ("baseline", "challenger"))
    core = f"{name} {before} → {after}{place}"
    if facts["seed"]["effect"] == SeedEffect.NONE:
        why = f"not a confirmed gain: {NO_CHANCE_MEASURED}"
        return "no_interval", core, f"{gain}, a difference of single measurements; {why}"
    if kind == GainStanding.NO_INTERVAL:
        few = found["baseline"]["n"] < 2
        why = "too few for an interval" if few else "which repeat each other"
        return kind, core, f"{gain}; {seeds}, {why}"
    if kind == GainStanding.CONFIRMED:
        return kind, core, f"confirmed with {seeds}: {gain}"
    if kind == GainStanding.WORSE:
        return kind, f"Confirmed to be worse: {core}", f"{gain}; {seeds}"
    return kind, f"Not confirmed: {core}", f"{gain}; the interval includes zero, {seeds}"


def _so_far(facts: Facts) -> str:
    name, base = facts["metric"]["name"], metric_text(facts, facts["baseline"]["mean"])
    best = facts["best"]
    if best is None or best["number"] == 0:
        return f"{name} {base}, nothing kept so far"
    measured, estimate = (metric_text(facts, best[key]) for key in ("value", "estimate"))
    return f"{name} {base} → {measured} (the judge's estimate: {estimate})"


def _baseline_spread(facts: Facts) -> str:
    base = facts["baseline"]
    runs = plural(base["n"], "baseline run")
    if facts["seed"]["effect"] == SeedEffect.NONE:
        return NO_CHANCE_MEASURED
    return runs if base["sd"] is None else f"sd {metric_text(facts, base['sd'])} over {runs}"


def _seeds(before: int, after: int) -> str:
    if before == after:
        return f"{plural(after, 'fresh seed')} each"
    return f"{before} and {plural(after, 'fresh seed')}"


def _kept(facts: Facts) -> str:
    counts = facts["counts"]
    text = f"{counts['kept']} of {plural(counts['judged'], 'experiment')} kept"
    if not counts["kept"] or facts["seed"]["effect"] == SeedEffect.NONE:
        return text if counts["judged"] else "no experiment judged"
    if counts["certified"] is not None:
        text += f", {counts['certified'] or 'none'} certified"
        if facts["confirmation"]["standing"] == GainStanding.NOT_CARRIED_OVER:
            text += " on the data of the search"
        gone = removed_changes(facts)
        text += f" ({plural(len(gone), 'passenger')} removed)" if gone else ""
    doubts, strict = counts["expected_false_keeps"], facts["strict"]["survive"]
    return (
        f"{text}, of which {strict or 'none'} would survive a stricter test; "
        f"expected false keeps {DASH if doubts is None else f'{doubts:.1f}'}"
    )


def removed_changes(facts: Facts) -> list[Facts]:
    """Kept changes that were taken out since they contribute nothing."""
    return [
        e
        for e in facts["experiments"]
        if e["contribution"] and e["contribution"]["standing"] == Standing.PASSENGER
    ]


def _intact(soundness: Facts) -> list[str]:
    """Result of hashing everything again; empty where nothing was hashed."""
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


def session_method(facts: Facts) -> list[dict[str, str]]:
    """Method and limits of a session's report: ``term`` and ``text`` of each entry."""
    return method_entries("session_method.md", facts=facts, dash=DASH)


def experiment_remarks(experiment: Facts, decimals: int) -> list[str]:
    """Sentences on price, memory, near misses and second tries; often none."""
    e = experiment
    said = []
    if e["retry_of"] is not None:
        once = "as nothing new was left" if e["second_look"] else "on another incumbent"
        said.append(f"The edit of experiment {e['retry_of']}, tried again: {once}.")
    if e["near_miss"]:
        later = f"; tried again as experiment {e['retried_as']}" if e["retried_as"] else ""
        said.append(
            f"Near miss: probably better, but another candidate of its round was kept{later}."
        )
    if e["quarantined"]:
        said.append(
            "Quarantined: larger than everything seen before, so a fresh run had to confirm it."
        )
    if (e["changes"] or 0) > 1:
        said.append(
            f"It changes {e['changes']} constants or definitions at once, so its effect cannot "
            "be attributed to one of them."
        )
    said += [f"Noticed in the edit: {note}." for note in e["notes"]]
    if e["price"]:
        # What for is in the verdict's reason.
        amount = format_number(abs(e["price"]), decimals + 1)
        dear = "For a keep it had to be better by more than", "It was allowed to cost up to"
        said.append(f"{dear[e['price'] < 0]} {amount}.")
    if e["pareto"]:
        low, high = e["pareto_low"], e["pareto_high"]
        chance = f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} to {high:.2f}"
        said.append(
            f"{e['pareto']} in metric and memory: with a probability of {chance} nothing kept "
            "before is better without needing more memory."
        )
    return said


def disagreement_remark(facts: Facts) -> str:
    """Sentences for a confirmation that disagrees with its search; empty if it agrees."""
    found = facts["disagreement"]
    if not found:
        return ""
    said = [
        f"the {side['code']} measured {metric_text(facts, side['before'])} in the search and "
        f"{metric_text(facts, side['after'])} in the confirmation "
        f"(z = {format_number(side['z'], 1)})"
        for side in found["sides"]
    ]
    changed = [f"experiment {v['number']} ({v['was']} → {v['now']})" for v in found["verdicts"]]
    verdicts = f"these verdicts would be others: {', '.join(changed)}"
    return (
        f"Search and confirmation disagree: {'; '.join(said)}. The machine or the data changed in "
        "between, or the noise is larger than the judge believed. By all runs of equal code the "
        f"noise floor is ± {metric_text(facts, found['noise_sd'])}; with that "
        f"{verdicts if changed else 'no verdict would be another'}."
    )


def alarm_remark(check: Facts, decimals: int) -> str:
    """The sentence for a re-measurement that raised the alarm."""
    expected, sd, value = (
        format_number(check[name], decimals) for name in ("expected", "sd", "value")
    )
    return (
        f"The incumbent moved: before round {check['round']}, {name_of(check['number'])} was "
        f"expected at {expected} ± {sd} and measured {value} "
        f"(z = {format_number(check['z'], 1)}). The machine or the data may have changed."
    )
