"""Records of a session as one JSON value: all that the report says.

Pure: no file, no clock.  The page, the pictures and ``report.json`` show these
facts and nothing else.  A missing measurement stays ``None``; every text that
came from a candidate is cleaned and cut here, once.
"""

import contextlib
import shlex
from collections.abc import Iterable, Iterator, Sequence
from math import fsum
from statistics import fmean, stdev
from typing import Any

from ratchet.base.errors import OtherHardwareError
from ratchet.base.io import Fingerprint
from ratchet.base.structs import to_json_values
from ratchet.base.text import (
    DIFF_LIMIT,
    LOG_LIMIT,
    clean_text,
    head_text,
    one_line_label,
    safe_json,
    tail_text,
)
from ratchet.records.confirmed import confirmed_gain
from ratchet.records.events import event_seconds
from ratchet.records.history import (
    NO_CHANCE_MEASURED,
    NO_SEED_EFFECT,
    NOISE_UNKNOWN,
    SATURATED,
    SEED_HINT,
    History,
    SeedEffect,
    Trial,
    name_of,
)
from ratchet.records.proposals import Proposals
from ratchet.records.records import (
    Confirmation,
    Manifest,
    Outcome,
    RoundVerdict,
    RunSummary,
    SessionState,
    Standing,
    Suggestion,
)
from ratchet.records.transferred import transferred_gain
from ratchet.report.answer import STOPPED, disagreement_remark, session_answer, session_method
from ratchet.report.curves import curve_facts
from ratchet.report.influence import constant_facts, lineage_facts, parents
from ratchet.report.inputs import (
    Facts,
    Integrity,
    Recipe,
    SessionRecords,
    metric_facts,
    total_of_runs,
)
from ratchet.report.machine import machine_facts, throttling
from ratchet.report.proposing import agent_calls, move_facts, proposer_facts
from ratchet.report.statistics import NORMAL_95, disagreement, front_facts, more_seeds, strict_keeps
from ratchet.runs.hardware import describe_machine
from ratchet.steering.bandit import CategoryScore
from ratchet.steering.suggestions import followed_suggestion
from ratchet.task.task import SEED

FORMAT = 2

# Bytes of a brief that are shown; nobody writes a longer one.
PROGRAM_LIMIT = 200_000


def build_facts(records: SessionRecords) -> Facts:
    """All facts of a session, finished or not, as JSON values."""
    history = records.history
    baseline = _baseline(records)
    noise = noise_facts(history, baseline)
    on = parents(history)
    tried = [_experiment(trial, on[trial.number], records) for trial in history.trials]
    checks = _remeasurements(history)
    totals = _totals(records)
    sign, last = records.direction.sign, history.verdicts[-1] if history.verdicts else None
    for e in tried:
        e["commands"] = run_again_commands(records.recipe, e) if records.recipe else []
    facts: Facts = {
        "format": FORMAT,
        # Filled where a log of somebody else's is reported; see log_report.
        "log": None,
        "session": one_line_label(records.manifest.session),
        "task": one_line_label(records.manifest.task),
        "metric": metric_facts(
            *(records.metric, records.unit, records.direction),
            *(noise["sd"] or baseline["sd"], baseline["mean"]),
        ),
        "judge": {**to_json_values(records.judge), "error_spent": last and last.error_spent},
        "stop": _stop(history),
        "rounds": max((trial.round for trial in history.judged), default=0),
        "baseline": baseline,
        "noise": noise,
        "seed": _seed(records, tried),
        "experiments": tried,
        "counts": _counts(tried, history),
        "best": _best(history),
        "incumbents": incumbent_facts(history, baseline),
        "lineage": lineage_facts(history),
        "curves": curve_facts(records),
        "remeasurements": checks,
        "seeds": more_seeds(noise["sd"], _training_of_a_run(records), tried),
        "strict": strict_keeps(tried, sign),
        "code": records.code,
        "front": front_facts(tried, baseline, sign),
        "crashes": crash_classes(tried),
        "agents": agent_calls(records),
        "steering": steering_facts(records),
        "proposers": proposer_facts(records),
        "constants": constant_facts(records),
        "confirmation": _confirmation(records, tried),
        "transfer": _transfer(records),
        "disagreement": records.settings
        and disagreement(records.history, records.direction.sign, records.settings),
        "totals": totals,
        "timeline": run_timeline(map(dict, records.events), _gpu_utilisation(records)),
        "soundness": soundness_facts(records, tried, checks),
        "provenance": _provenance(records),
        "preparation": run_again_preparation(records.recipe) if records.recipe else [],
        "program": head_text(records.program, PROGRAM_LIMIT) if records.program else None,
    }
    facts["answer"] = session_answer(facts)
    facts["remarks"] = [*facts["seed"]["notes"], *filter(None, [disagreement_remark(facts)])]
    facts["method"] = session_method(facts)
    safe: Facts = safe_json(facts)
    return safe


def _gpu_utilisation(records: SessionRecords) -> float | None:
    watched = [(record.telemetry or {}).get("utilisation") for record in records.runs.values()]
    known = [used["mean"] for used in watched if used and used.get("mean") is not None]
    return fmean(known) if known else None


def _baseline(records: SessionRecords) -> Facts:
    base = records.history.baseline
    return {"commit": base.commit, "source": base.source, **_replicates(base.runs, records)}


def _replicates(runs: Sequence[RunSummary], records: SessionRecords) -> Facts:
    return {**replicate_facts(runs), "runs": [run_facts(run, records) for run in runs]}


def replicate_facts(runs: Sequence[RunSummary]) -> Facts:
    """Runs of one code: number, values, mean and standard deviation."""
    values = measured_values(runs)
    return {
        "n": len(values),
        "failed": len(runs) - len(values),
        "values": values,
        "mean": fmean(values) if values else None,
        "sd": stdev(values) if len(values) > 1 else None,
    }


def noise_facts(history: History, baseline: Facts) -> Facts:
    """The judge's last noise floor, or else the spread of the baseline; unknown without either."""
    if history.seed_effect is SeedEffect.NONE:
        return {"sd": None, "low": None, "high": None, "from": NO_SEED_EFFECT}
    for verdict in reversed(history.verdicts):
        if verdict.noise_sd is not None:
            low, high = verdict.noise_low, verdict.noise_high
            return {"sd": verdict.noise_sd, "low": low, "high": high, "from": "judge"}
    return {"sd": baseline["sd"] or None, "low": None, "high": None, "from": "baseline replicates"}


def _seed(records: SessionRecords, tried: list[Facts]) -> Facts:
    """Effect of the seed on the metric, and notes on what that means for the session."""
    effect, notes = records.history.seed_effect, []
    if effect is SeedEffect.NONE:
        hint = "" if records.recipe and records.recipe.hook else f" ({SEED_HINT})"
        notes.append(
            f"{NO_SEED_EFFECT}{hint}: {NO_CHANCE_MEASURED}. Every number is a single measurement; "
            f"{NOISE_UNKNOWN}."
        )
    values = {value for group in records.history.replicates.values() for value in group}
    if len(values) == 1 and sum(e["mean"] is not None for e in tried) > 1:
        notes.append(f"{SATURATED}.")
    return {"effect": effect.value, "notes": [f"{note[:1].upper()}{note[1:]}" for note in notes]}


def _counts(tried: list[Facts], history: History) -> Facts:
    """Experiments by status, and the number of keeps that chance alone would explain."""
    if history.seed_effect is SeedEffect.NONE:
        return counts(tried, None)
    risks = (v.expected_false_keeps for v in reversed(history.verdicts))
    last = next((risk for risk in risks if risk is not None), None)
    if last is None:
        kept = [e for e in tried if e["status"] == "keep"]
        doubts = [1 - e["confidence"] for e in kept if e["confidence"] is not None]
        last = sum(doubts) if doubts or not kept else None
    return counts(tried, last)


def _stop(history: History) -> Facts | None:
    """The first reason that a round gives for not going on."""
    entries: list[Proposals | RoundVerdict | SessionState] = []
    entries += [*history.proposals, *history.verdicts, *history.states]
    stops = [(e.round, e.stop, e.detail) for e in entries if e.stop is not None]
    if not stops:
        return None
    first, reason, detail = min(stops, key=lambda stop: stop[0])
    return {
        "reason": reason.value,
        "round": first,
        "text": STOPPED[reason],
        "detail": one_line_label(detail),
    }


def _best(history: History) -> Facts | None:
    """The incumbent as it was measured, with the judge's estimate."""
    if not history.states:
        return None
    held = history.state.incumbent
    return {"number": held.number, "value": held.measured, "estimate": held.mean, "sd": held.sd}


def incumbent_facts(history: History, baseline: Facts) -> list[Facts]:
    """Belief about the incumbent, and the experiment from which on it held.

    Without an sd where the seed has no effect.
    """
    known = history.seed_effect is not SeedEffect.NONE
    last = {v.round: max((r.number for r in v.rulings), default=None) for v in history.verdicts}
    line: list[Facts] = []
    if baseline["mean"] is not None and all(s.round > 0 for s in history.states):
        sd = baseline["sd"] / baseline["n"] ** 0.5 if baseline["sd"] is not None else None
        line.append({"from": 0, "number": 0, "mean": baseline["mean"], "sd": sd})
    for state in history.states:
        held = state.incumbent
        fresh = not line or held.number != line[-1]["number"]
        start = held.number if fresh else last.get(state.round)
        if start is None:
            continue
        sd = held.sd if known else None
        line.append({"from": start, "number": held.number, "mean": held.mean, "sd": sd})
    return line


def _remeasurements(history: History) -> list[Facts]:
    """The regular checks of the incumbent, by round."""
    return [
        {
            "round": verdict.round,
            "value": check.run.value,
            "outcome": check.run.outcome.value,
            "key": check.run.key,
            **{name: getattr(check, name) for name in AS_CHECKED},
        }
        for verdict in history.verdicts
        for check in (verdict.remeasured,)
        if check is not None
    ]


def _confirmation(records: SessionRecords, tried: list[Facts]) -> Facts | None:
    found = records.history.confirmation
    if found is None:
        return None
    names = {e["number"]: e["description"] for e in tried}
    return {
        "champion": found.champion,
        "description": names.get(found.champion),
        "baseline": _replicates(found.baseline_runs, records),
        "challenger": _replicates(found.champion_runs, records),
        **confirmed_gain(found),
        "detail": one_line_label(found.detail),
        "unseen": _unseen(found),
    }


def _transfer(records: SessionRecords) -> Facts | None:
    """Champion and baseline at another scale; ``None`` where they were not compared there."""
    found = records.history.transfer
    if found is None:
        return None
    measured, gain = found.measured, transferred_gain(found)
    names = [one_line_label(name, 80) for name in found.kept_constants]
    return {
        "champion": measured.champion,
        "baseline": _replicates(measured.baseline_runs, records),
        "challenger": _replicates(measured.champion_runs, records),
        **gain,
        "kept_constants": names,
        "detail": one_line_label(measured.detail),
        "unseen": _unseen(measured),
    }


def _unseen(found: Confirmation) -> Facts | None:
    """Champion and baseline on unseen data, where the task has such."""
    gain = confirmed_gain(found)["unseen"]
    if gain is None:
        return None
    sides = {"baseline": found.baseline_runs, "challenger": found.champion_runs}
    values = {name: [run.audit for run in runs] for name, runs in sides.items()}
    means = {
        name: {"mean": fmean(known), "sd": stdev(known) if len(known) > 1 else None}
        for name, some in values.items()
        for known in [[value for value in some if value is not None]]
    }
    return {**gain, **{name: {**means[name], "values": values[name]} for name in sides}}


def _totals(records: SessionRecords) -> Facts:
    """Runs by phase and what they cost; a run used twice counts once."""
    history = records.history
    phases: dict[str, Sequence[RunSummary]] = {
        "baseline": history.baseline.runs,
        "experiments": history.search_runs,
        "incumbent": history.incumbent_runs,
        "certification": history.certification_runs,
        "confirmation": history.confirmation_runs,
        "transfer": history.transfer_runs,
    }
    runs = history.runs
    known = [records.runs[k] for k in {r.key for r in runs} if k in records.runs]
    trained = [seconds for record in known if (seconds := record.train_seconds) is not None]
    peaks = [record.peak_rss_mb for record in known if record.peak_rss_mb is not None]
    return {
        "device": records.device,
        "runs": len({r.key for r in runs}),
        "phases": {name: len({r.key for r in group}) for name, group in phases.items()},
        "train_seconds": fsum(trained) if trained else None,
        "train_seconds_of_runs": len(trained),
        "wall_seconds": total_of_runs(records, runs, lambda record: record.wall_seconds),
        "cpu_seconds": total_of_runs(records, runs, lambda record: record.cpu_seconds),
        "peak_rss_mb": max(peaks, default=None),
    }


def _training_of_a_run(records: SessionRecords) -> float | None:
    """Mean training seconds of a run at the scale of the search."""
    elsewhere = {run.key for run in records.history.transfer_runs}
    keys = {run.key for run in records.history.runs} - elsewhere
    known = [records.runs[key] for key in sorted(keys) if key in records.runs]
    trained = [seconds for record in known if (seconds := record.train_seconds) is not None]
    return fmean(trained) if trained else None


def _task_python(manifest: Manifest) -> dict[str, str]:
    """Origin of task and session, and the task's interpreter if it has one of its own."""
    own, origin, start = manifest.python, manifest.origin, manifest.start
    told = {f"commit of {one_line_label(origin.repo)}": origin.commit} if origin else {}
    if start is not None:
        told |= {"starts from": f"{name_of(start.number)} of session {start.session}"}
    if own is None:
        return told
    told |= {"python of the task": own.version}
    return {**told, "not as locked": "; ".join(own.deviations)} if own.deviations else told


def _provenance(records: SessionRecords) -> Facts:
    """Every digest that the session froze, with the machine and the versions."""
    m = records.manifest
    groups = {
        "fixed": m.fixed,
        "baseline": m.baseline,
        "brief": (m.brief,),
        "data": m.data,
        "evaluation": m.evaluation,
        "locked": m.locked,
        "environment": tuple(each for each in (m.environment, m.allowed) if each),
        "definition": (m.definition,),
        "remembered": m.remembered,
        "cache": tuple(Fingerprint(c.folder, c.sha256, c.bytes) for c in m.caches),
    }
    return {
        "files": [
            {"role": role, **to_json_values(f)} for role, group in groups.items() for f in group
        ],
        "config_sha256": m.config_sha256,
        "harness_sha256": m.harness_sha256,
        "frozen": to_json_values(m.frozen),
        "isolation": sorted({d.isolation for d in records.runs.values() if d.isolation}),
        "held": sorted({f"{d.isolation}: {d.holds}" for d in records.runs.values() if d.holds}),
        "hardware": to_json_values(m.hardware),
        "machine": {**to_json_values(m.machine), "words": describe_machine(m.machine)},
        "versions": {**m.versions, **_task_python(m)},
    }


# Findings of one edit that are listed; an edit with more is odd enough as it is.
NOTES_SHOWN = 20
AS_CHECKED = ("number", "expected", "sd", "z", "alarm", "anew")
"""Fields of a re-measurement that are shown as they are."""

AS_RULED = (
    *("mean", "incumbent", "delta", "delta_sd", "gain", "confidence", "memory_mb", "price"),
    *("net_lines", "changes", "memory_ratio", "pareto", "pareto_low", "pareto_high"),
)
"""Fields of a ruling that are shown as they are; ``None`` before there is one."""


def _experiment(trial: Trial, parent: int, records: SessionRecords) -> Facts:
    """A trial, built on the code of number ``parent``; one that was not judged has no verdict."""
    proposal, ruling, telling = trial.proposal, trial.ruling, trial.telling_run
    log = records.logs.get(telling.key) if telling else None
    low, high = interval(trial.delta, ruling.delta_sd if ruling else None)
    return {
        "number": trial.number,
        "parent": parent,
        "retried_as": trial.retried_as,
        "round": trial.round,
        "commit": trial.commit,
        "description": one_line_label(trial.description),
        "category": one_line_label(trial.category, 60),
        "hypothesis": head_text(proposal.hypothesis, LOG_LIMIT),
        "diff": head_text(proposal.diff, DIFF_LIMIT),
        "source": proposal.source,
        "lines_added": proposal.lines_added,
        "lines_removed": proposal.lines_removed,
        "retry_of": proposal.retry_of,
        "second_look": proposal.second_look,
        "proposer": one_line_label(proposal.proposer, 60),
        "moves": move_facts(records.moves.get(trial.number, ())),
        "expected_effect": one_line_label(proposal.expected_effect) or None,
        "verdict": trial.word or None,
        "status": trial.status.value if trial.status else None,
        "reason": one_line_label(ruling.reason, 600) if ruling else None,
        **{name: getattr(ruling, name, None) for name in AS_RULED},
        "delta_low": low,
        "delta_high": high,
        "n": len(measured_values(trial.runs)) if ruling else None,
        "near_miss": ruling is not None and ruling.near_miss,
        "quarantined": ruling is not None and ruling.quarantined,
        "contribution": to_json_values(records.history.contributions.get(trial.number)),
        "notes": [one_line_label(n, 300) for n in ruling.notes[:NOTES_SHOWN]] if ruling else [],
        "outcome": telling.outcome.value if telling else None,
        "seconds": total_of_runs(records, trial.runs, lambda record: record.train_seconds),
        "wall_seconds": total_of_runs(records, trial.runs, lambda record: record.wall_seconds),
        "machine": machine_facts(trial, records),
        "diverged": one_line_label(trial.diverged, 300) or None,
        "log_tail": None if log is None else tail_text(log, LOG_LIMIT),
        "runs": [run_facts(run, records) for run in trial.runs],
    }


def interval(delta: float | None, sd: float | None) -> tuple[float | None, float | None]:
    """The 95 % interval of a difference; ``None`` twice where there is none."""
    if delta is None or sd is None:
        return None, None
    return delta - NORMAL_95 * sd, delta + NORMAL_95 * sd


def _certified(tried: Sequence[Facts]) -> int | None:
    """Number of certified changes; ``None`` where nothing was certified or asked."""
    found = [e["contribution"]["standing"] for e in tried if e.get("contribution")]
    return found.count(Standing.CERTIFIED) if found else None


def counts(tried: Sequence[Facts], false_keeps: float | None) -> Facts:
    """Number of experiments of each status."""
    status = [e["status"] for e in tried]
    judged = sum(e["verdict"] is not None for e in tried)
    return {
        "judged": judged,
        "kept": status.count("keep"),
        "discarded": status.count("discard"),
        "crashed": status.count("crash"),
        "pending": len(tried) - judged,
        "certified": _certified(tried),
        "expected_false_keeps": false_keeps,
    }


def crash_classes(tried: list[Facts]) -> list[Facts]:
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


def measured_values(runs: Iterable[RunSummary]) -> list[float]:
    """The metric of every run that has one."""
    return [r.value for r in runs if r.outcome is Outcome.OK and r.value is not None]


def run_facts(run: RunSummary, records: SessionRecords) -> Facts:
    """One run as the report shows it."""
    record = records.runs.get(run.key)
    return {
        "key": run.key,
        "seed": run.seed,
        "outcome": run.outcome.value,
        "reason": one_line_label(run.reason),
        "value": run.value,
        "memory_mb": run.memory_mb,
        "train_seconds": record.train_seconds if record else None,
        "wall_seconds": record.wall_seconds if record else None,
        "start_seconds": record.start_seconds if record else None,
        "compile_cache": record.compile_cache if record else "",
        "machine": record.machine if record else "",
        "from_store": records.replayed.get(run.key),
    }


def steering_facts(records: SessionRecords) -> Facts | None:
    """Record by category, what to try next, and which suggestions were taken up."""
    if not records.history.states:
        return None
    state = records.history.state
    return {
        "round": state.round,
        **advice(state.ranking, records.categories, state.suggestions, state.avoid),
        "followed": _followed(records.history),
    }


def advice(
    ranking: Iterable[str],
    categories: Iterable[CategoryScore],
    suggestions: Iterable[Suggestion],
    avoid: Iterable[str],
) -> Facts:
    """Advice of steering: what to try next, and what to leave alone."""
    return {
        "ranking": [one_line_label(name, 60) for name in ranking],
        "categories": [to_json_values(score) for score in categories],
        "suggestions": [
            {
                "kind": one.kind.value,
                "category": one_line_label(one.category, 60),
                "title": one_line_label(one.title),
                "evidence": one_line_label(one.evidence),
                "experiments": list(one.experiments),
            }
            for one in suggestions
        ],
        "avoid": [one_line_label(note) for note in avoid],
    }


def _followed(history: History) -> list[Facts]:
    """Each new proposal with the suggestion of the round before that it took up."""
    before = {state.round + 1: state.suggestions for state in history.states}
    found = []
    for trial in history.trials:
        if trial.proposal.retry_of is not None or trial.round not in before:
            continue
        suggestions = before[trial.round]
        taken = followed_suggestion(suggestions, trial.category, trial.description)
        found.append(
            {
                "number": trial.number,
                "place": taken[0] if taken else None,
                "exactly": taken[1] if taken else False,
                "title": one_line_label(suggestions[taken[0] - 1].title) if taken else None,
                "verdict": trial.word or None,
                "status": trial.status.value if trial.status else None,
            }
        )
    return found


MOST_FLAGS = 200
MOST_DEVIATIONS = 50


def soundness_facts(records: SessionRecords, tried: list[Facts], checks: list[Facts]) -> Facts:
    """Inputs hashed again for this report, deviations, and the flags raised.

    ``intact`` is ``None`` where nothing was hashed again.
    """
    found = records.integrity or Integrity()
    flags = [{"number": number, "text": words} for number, words in _flags(records, tried, checks)]
    return {
        "intact": None if records.integrity is None else not found.deviations,
        "checked": [one_line_label(line) for line in found.checked],
        "deviations": [one_line_label(line, 600) for line in found.deviations[:MOST_DEVIATIONS]],
        "deviations_in_all": len(found.deviations),
        "flags": flags[:MOST_FLAGS],
        "flags_in_all": len(flags),
        "busy": busy_runs(records.history),
    }


def busy_runs(history: History) -> Facts | None:
    """Runs that a busy machine or a shared GPU spoilt, and whose they were; ``None`` for none."""
    groups = {
        "baseline": history.baseline.runs,
        **{name_of(trial.number): trial.runs for trial in history.trials},
        "incumbent": history.incumbent_runs,
        "confirmation": history.confirmation_runs,
        "transfer": history.transfer_runs,
    }
    spoilt = {name: {r.key: r for r in runs if r.set_aside} for name, runs in groups.items()}
    repeated = {key: run for runs in spoilt.values() for key, run in runs.items()}
    if not repeated:
        return None
    return {
        "repeated": len(repeated),
        "set_aside": sum(len(run.set_aside) for run in repeated.values()),
        "stayed": sum(bool(run.slowed) for run in repeated.values()),
        "of": [name for name, runs in spoilt.items() if runs],
    }


def _flags(
    records: SessionRecords, tried: list[Facts], checks: list[Facts]
) -> Iterator[tuple[int | None, str]]:
    """Limits that could not be enforced, moves of the incumbent, and findings, by experiment."""
    for line in sorted({line for d in records.runs.values() for line in d.unenforced}):
        yield None, f"not enforced on this machine: {one_line_label(line)}"
    if any(d.isolation == "none" for d in records.runs.values()):
        yield None, "runs were ordinary processes, not isolated"
    for c in checks:
        if c["alarm"]:
            yield c["number"] or None, f"the incumbent moved before round {c['round']} (alarm)"
    for e in tried:
        if e["verdict"] == "TAMPERED":
            yield e["number"], f"TAMPERED: {e['reason']}"
        if e["quarantined"]:
            yield e["number"], "quarantined: larger than everything seen before"
        yield from ((e["number"], note) for note in e["notes"])
    yield from throttling(tried)


LANES = {
    "search": "experiments",
    "remeasure": "incumbent",
    "certify": "certification",
    "confirm": "confirmation",
    "transfer": "transfer",
}
"""Lane of a run by its role; the first runs of the unchanged code are the baseline."""

AGENT = "agent"
"""The lane of an agent's calls."""

_TIMED = {"session_started", "run_started", "run_finished", "agent_asked", "agent_answered"}


def run_timeline(events: Iterable[dict[str, Any]], busy_gpu: float | None) -> Facts | None:
    """Runs by start and end in seconds; ``None`` if none was made in this session.

    Only runs and calls of agents count, so that a session reported once more has the same
    timeline.  ``search_share`` is the part of the search, from the first run of a candidate
    to the last, in which a run was at work, where an agent was asked.
    ``busy_gpu`` is the mean utilisation of the GPU during runs, in percent.  Runs
    that came from the store took no time and are missing; those that a stop cut
    short are counted as ``interrupted``, and as ``misplaced`` those that were not
    started, since they had landed on hardware of another class.
    """
    start: float | None = None
    open_runs: dict[tuple[Any, ...], float] = {}
    runs: list[Facts] = []
    calls: list[Facts] = []
    interrupted = misplaced = 0
    for event in events:
        kind, when = event.get("event"), None
        with contextlib.suppress(KeyError, TypeError, ValueError):  # a damaged line
            when = event_seconds(event)
        misplaced += kind == "failed" and event.get("error") == OtherHardwareError.__name__
        if when is None or kind not in _TIMED:
            continue
        start = when if start is None else start
        seconds = round(when - start, 3)
        name = (event.get("number"), event.get("role"), event.get("replicate"), event.get("seed"))
        if kind in ("agent_asked", "agent_answered"):
            name = ("agent", event.get("round"), event.get("slot"), event.get("attempt"))
        if kind == "agent_asked":
            open_runs[name] = seconds
        elif kind == "agent_answered" and name in open_runs:
            calls.append(_call(event, open_runs.pop(name), seconds))
        elif kind == "run_started":
            interrupted += name in open_runs
            open_runs[name] = seconds
        elif kind == "run_finished" and name in open_runs:
            runs.append(_run(event, open_runs.pop(name), seconds))
    if not runs:
        return None
    runs.sort(key=lambda run: (run["start"], run["number"]))
    end = max(run["end"] for run in runs)
    gaps = _gaps(runs)
    idle = fsum(length for _, length in gaps)
    open_calls = sum(name[0] == "agent" for name in open_runs)
    longest = max(gaps, key=lambda gap: gap[1], default=None)
    return {
        "runs": runs,
        "calls": calls,
        "search_share": _search_share(runs) if calls else None,
        "seconds": end,
        "idle_seconds": idle,
        "busy_share": (end - idle) / end if end > 0 else None,
        "longest_gap": {"from": longest[0], "seconds": longest[1]} if longest else None,
        "interrupted": interrupted + len(open_runs) - open_calls,
        "misplaced": misplaced,
        "gpu_utilisation": busy_gpu,
    }


def _run(event: dict[str, Any], start: float, end: float) -> Facts:
    number = event.get("number") if isinstance(event.get("number"), int) else 0
    lane = LANES.get(str(event.get("role")), "experiments")
    if lane == "experiments" and number == 0:
        lane = "baseline"
    return {
        "number": number,
        "lane": lane,
        "start": start,
        "end": max(start, end),
        "outcome": one_line_label(str(event.get("outcome")), 40),
        "key": one_line_label(str(event.get("key")), 64),
    }


def _call(event: dict[str, Any], start: float, end: float) -> Facts:
    """A call of an agent in the timeline."""
    outcome = "out of time" if event.get("timed_out") else "answered"
    return {"number": 0, "lane": AGENT, "start": start, "end": max(start, end), "outcome": outcome}


def _search_share(runs: Sequence[Facts]) -> float | None:
    """Share of the search in which a run was at work; ``None`` without a search."""
    search = [run for run in runs if run["lane"] in ("experiments", "incumbent")]
    if not search:
        return None
    start, end = search[0]["start"], max(run["end"] for run in search)
    moved = [{**run, "start": run["start"] - start, "end": run["end"] - start} for run in search]
    idle = fsum(length for _, length in _gaps(moved))
    return 1 - idle / (end - start) if end > start else None


def _gaps(runs: Sequence[Facts]) -> list[tuple[float, float]]:
    """Begin and length of the times in which no run was at work."""
    gaps, free_from = [], 0.0
    for run in runs:
        if run["start"] > free_from:
            gaps.append((free_from, run["start"] - free_from))
        free_from = max(free_from, run["end"])
    return gaps


REFS = "refs/ratchet/experiments"
"""Refs of a session's repository that name the commit of every experiment."""

PLACE = "again"
"""Folder, beside results and store, where the commands work."""


def run_again_preparation(recipe: Recipe) -> list[str]:
    """Commands to prepare a shell, once, for running experiments again.

    Git, the session's folder, the store and the task's environment are needed, and
    nothing is recorded.  A run started so measures the metric itself, without the
    evaluator.
    """
    places = sorted({f"{PLACE}/data/{name}".rpartition("/")[0] for name in recipe.data})
    lines = [f"mkdir -p {' '.join(map(shlex.quote, places or [f'{PLACE}/data']))}"]
    lines += [
        f"cp -f {shlex.quote(place)} {shlex.quote(f'{PLACE}/data/{name}')}"
        for name, place in sorted(recipe.data.items())
    ]
    lines += [
        f"again() {{ (mkdir -p {PLACE}/$1 && {_git(recipe)} archive {REFS}/$1"
        f" | tar -x -C {PLACE}/$1 && cd {PLACE}/$1",
        '  export RATCHET_SEED="$2" RATCHET_DATA="$PWD/../data"',
    ]
    lines += [
        f"  export {name}={shlex.quote(value)}" for name, value in sorted(recipe.variables.items())
    ]
    if recipe.hook:
        found = "import ratchet.runs.seed_hook as h; print(*h.__path__)"
        lines.append(f'  export PYTHONPATH="$(python -c {shlex.quote(found)})"')
    if recipe.packages:
        place = f"$(cd ../.. && pwd)/{shlex.quote(recipe.packages)}"
        lines.append(f'  export PYTHONPATH="{place}${{PYTHONPATH:+:$PYTHONPATH}}"')
    if recipe.seeding.variable:
        lines.append(f'  export {recipe.seeding.variable}="$2"')
    if recipe.seeding.constant:
        lines.append(f"  # the harness sets {recipe.seeding.constant} to the seed, $2, here")
    lines.append(f"  {_words(recipe)}); }}")
    return [clean_text(line) for line in lines]


def _words(recipe: Recipe) -> str:
    """The command, with the seed where a word of it is the seed's."""
    words = [shlex.quote(word) for word in recipe.command]
    if recipe.seeding.argument:
        before, _, after = recipe.seeding.argument.partition(SEED)
        words.append(f'{shlex.quote(before)}"$2"{shlex.quote(after) if after else ""}')
    return " ".join(words)


def run_again_commands(recipe: Recipe, e: Facts) -> list[str]:
    """Commands for one experiment: see its edit, and its first run again."""
    if not e["commit"]:
        return []
    found = [f"{_git(recipe)} show {REFS}/{e['number']:04d}"]
    if e["runs"]:
        found.append(f"again {e['number']:04d} {e['runs'][0]['seed']}")
    return [clean_text(line) for line in found]


def _git(recipe: Recipe) -> str:
    return f"git -C {shlex.quote(recipe.folder)}"
