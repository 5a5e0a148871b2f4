"""A session's records turned into one JSON value: all that the report says.

Pure: no file, no clock.  The page, the pictures and ``report.json`` show these
facts and nothing else.  A missing measurement stays ``None``; every text that
came from a candidate is cleaned and cut here, once.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum
from statistics import fmean

from ratchet.codec import encode
from ratchet.history import History
from ratchet.records import (
    Confirmation,
    Fingerprint,
    Manifest,
    Proposals,
    RoundVerdict,
    RunSummary,
    SessionState,
)
from ratchet.report import again, answer, evidence, text
from ratchet.report.agents import agents
from ratchet.report.experiments import counts, crashes, experiments
from ratchet.report.front import front
from ratchet.report.inputs import (
    Facts,
    SessionRecords,
    metric_facts,
    run_facts,
    spread,
    total,
    train_seconds,
)
from ratchet.report.soundness import soundness
from ratchet.report.steering import steering
from ratchet.report.timing import timeline

__all__ = ["SessionRecords", "build"]

FORMAT = 1
# A brief of 200 kB would be a book.
PROGRAM_LIMIT = 200_000


def build(records: SessionRecords) -> Facts:
    """All facts of a session, finished or not, as JSON values."""
    history = records.history
    baseline = _baseline(records)
    noise = _noise(history, baseline)
    tried = experiments(records)
    checks = _remeasurements(history)
    totals = _totals(records)
    sign = records.direction.sign
    evidence.mark(tried, sign)
    for e in tried:
        e["commands"] = again.commands(records.recipe, e) if records.recipe else []
    facts: Facts = {
        "format": FORMAT,
        # Filled where a log of somebody else's is reported; see foreign.py.
        "log": None,
        "session": text.label(records.manifest.session),
        "task": text.label(records.manifest.task),
        "metric": metric_facts(
            *(records.metric, records.unit, records.direction),
            *(noise["sd"] or baseline["sd"], baseline["mean"]),
        ),
        "judge": {**encode(records.judge), "error_spent": _error_spent(history)},
        "stop": _stop(history),
        "rounds": max((trial.round for trial in history.judged), default=0),
        "baseline": baseline,
        "noise": noise,
        "experiments": tried,
        "counts": _counts(tried, history),
        "incumbents": _incumbents(history, baseline),
        "remeasurements": checks,
        "seeds": evidence.seeds(noise["sd"], _run_seconds(totals), tried),
        "strict": evidence.strict(tried, sign),
        "front": front(tried, baseline, sign),
        "crashes": crashes(tried),
        "agents": agents(records),
        "steering": steering(records),
        "confirmation": _confirmation(records, tried),
        "totals": totals,
        "timeline": timeline(map(dict, records.events), _gpu_utilisation(records)),
        "soundness": soundness(records, tried, checks),
        "provenance": _provenance(records),
        "preparation": again.preparation(records.recipe) if records.recipe else [],
        "program": text.head(records.program, PROGRAM_LIMIT) if records.program else None,
    }
    facts["answer"] = answer.answer(facts)
    facts["method"] = answer.method(facts)
    safe: Facts = text.safe_json(facts)
    return safe


def _run_seconds(totals: Facts) -> float | None:
    """Training time of a mean run."""
    count, seconds = totals["train_seconds_of_runs"], totals["train_seconds"]
    return seconds / count if count and seconds is not None else None


def _gpu_utilisation(records: SessionRecords) -> float | None:
    watched = [(record.telemetry or {}).get("utilisation") for record in records.runs.values()]
    known = [used["mean"] for used in watched if used and used.get("mean") is not None]
    return fmean(known) if known else None


def _baseline(records: SessionRecords) -> Facts:
    base = records.history.baseline
    runs = [run_facts(r, records) for r in base.runs]
    return {"commit": base.commit, "source": base.source, **spread(base.runs), "runs": runs}


def _noise(history: History, baseline: Facts) -> Facts:
    """The judge's last noise floor, or else the spread of the baseline."""
    for verdict in reversed(history.verdicts):
        if verdict.noise_sd is not None:
            low, high = verdict.noise_low, verdict.noise_high
            return {"sd": verdict.noise_sd, "low": low, "high": high, "from": "judge"}
    return {"sd": baseline["sd"], "low": None, "high": None, "from": "baseline replicates"}


def _counts(tried: list[Facts], history: History) -> Facts:
    """How many of each status, and how many keeps chance alone would explain."""
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
        "text": answer.STOPPED[reason],
        "detail": text.label(detail),
    }


def _incumbents(history: History, baseline: Facts) -> list[Facts]:
    """What was believed of the incumbent, and from which experiment on."""
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
        line.append({"from": start, "number": held.number, "mean": held.mean, "sd": held.sd})
    return line


def _error_spent(history: History) -> float | None:
    """What tests have used of the bound on false keeps; ``None`` without a bound."""
    return history.verdicts[-1].error_spent if history.verdicts else None


def _remeasurements(history: History) -> list[Facts]:
    """The regular checks of the incumbent, by round."""
    return [
        {
            "round": verdict.round,
            "number": check.number,
            "value": check.run.value,
            "outcome": check.run.outcome.value,
            "expected": check.expected,
            "sd": check.sd,
            "z": check.z,
            "alarm": check.alarm,
            "key": check.run.key,
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
        "baseline": {
            **spread(found.baseline_runs),
            "runs": [run_facts(r, records) for r in found.baseline_runs],
        },
        "challenger": {
            **spread(found.champion_runs),
            "runs": [run_facts(r, records) for r in found.champion_runs],
        },
        "level": found.level,
        "gain": found.gain,
        "low": found.low,
        "high": found.high,
        "detail": text.label(found.detail),
        "audit": _audit(found),
    }


def _audit(found: Confirmation) -> Facts | None:
    """The same comparison on data that the search never saw, where there are such."""
    if found.audit_gain is None:
        return None
    means = {
        name: fmean([run.audit for run in runs if run.audit is not None])
        for name, runs in (
            ("baseline", found.baseline_runs),
            ("challenger", found.champion_runs),
        )
    }
    return {
        **means,
        "gain": found.audit_gain,
        "low": found.audit_low,
        "high": found.audit_high,
        "gap": None if found.gain is None else found.gain - found.audit_gain,
    }


def _totals(records: SessionRecords) -> Facts:
    """Runs by phase and what they cost; a run used twice counts once."""
    history = records.history
    phases: dict[str, Sequence[RunSummary]] = {
        "baseline": history.baseline.runs,
        "experiments": history.search_runs,
        "incumbent": history.incumbent_runs,
        "confirmation": history.confirmation_runs,
    }
    runs = history.runs
    known = [records.runs[k] for k in {r.key for r in runs} if k in records.runs]
    trained = [seconds for record in known if (seconds := train_seconds(record)) is not None]
    peaks = [record.peak_rss_mb for record in known if record.peak_rss_mb is not None]
    return {
        "device": records.device,
        "runs": len({r.key for r in runs}),
        "phases": {name: len({r.key for r in group}) for name, group in phases.items()},
        "train_seconds": fsum(trained) if trained else None,
        "train_seconds_of_runs": len(trained),
        "wall_seconds": total(records, runs, lambda record: record.wall_seconds),
        "cpu_seconds": total(records, runs, lambda record: record.cpu_seconds),
        "peak_rss_mb": max(peaks, default=None),
    }


def _task_python(manifest: Manifest) -> dict[str, str]:
    """Where the task is from, and what ran its commands if not the harness's interpreter."""
    own, origin = manifest.python, manifest.origin
    told = {f"commit of {text.label(origin.repo)}": origin.commit} if origin else {}
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
        "environment": (m.environment,),
        "definition": (m.definition,),
        "cache": tuple(Fingerprint(c.folder, c.sha256, c.bytes) for c in m.caches),
    }
    return {
        "files": [{"role": role, **encode(f)} for role, group in groups.items() for f in group],
        "config_sha256": m.config_sha256,
        "harness_sha256": m.harness_sha256,
        "frozen": encode(m.frozen),
        "isolation": sorted({d.isolation for d in records.runs.values() if d.isolation}),
        "hardware": encode(m.hardware),
        "versions": {**m.versions, **_task_python(m)},
    }
