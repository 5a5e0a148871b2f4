"""What became of a run: its record, from its log and what was measured."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ratchet import gpu, outcomes
from ratchet.cgroups import MEMORY
from ratchet.evaluation import Expected, Verified, verify
from ratchet.isolation import Kind
from ratchet.layout import RunPlan
from ratchet.patterns import search
from ratchet.records import Outcome
from ratchet.runlog import parse_summary
from ratchet.store import LOG, RunRecord

# Memory limits of containers, by version of the interface; the word "max" is none.
CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def record(plan: RunPlan, folder: Path, answer: Mapping[str, Any], kind: Kind) -> RunRecord:
    """The record of a run from what it printed and what the supervisor answered."""
    text = (folder / LOG).read_text(encoding="utf-8", errors="replace")
    metrics = _printed(plan, text)
    verified = _verify(plan, answer, metrics)
    outcome, reason = classify(plan, {**answer, "tampered": verified.tampered}, metrics, text)
    if verified.evaluation is not None and plan.metric in metrics:
        # What was printed agrees, but for the digits.
        metrics[plan.metric] = _number(verified.evaluation.value)
    code = answer["code"]
    return RunRecord(
        outcome=outcome,
        reason=reason,
        exit_code=code if code >= 0 else None,
        signal=-code if code < 0 else None,
        wall_seconds=answer.get("wall_seconds", 0.0),
        cpu_seconds=answer.get("cpu_seconds", 0.0),
        peak_rss_mb=answer.get("peak_rss_mb"),
        metrics={k: v if math.isfinite(v) else None for k, v in metrics.items()},
        evaluation=verified.evaluation,
        telemetry=answer.get("telemetry"),
        isolation=kind.value,
        peak_group_mb=answer.get("peak_group_mb"),
        unenforced=tuple(answer.get("unenforced", sorted(plan.limits))),
    )


def _printed(plan: RunPlan, text: str) -> dict[str, float]:
    """The numbers that a run printed; what has a pattern is found by that alone."""
    named = {k: v for k, v in parse_summary(text).items() if k not in plan.patterns}
    return {**named, **search(text, plan.patterns)}


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _verify(plan: RunPlan, answer: Mapping[str, Any], metrics: Mapping[str, float]) -> Verified:
    """The evaluation of a run, and the reason if its measurement was bent."""
    if answer.get("meddled"):
        return Verified(tampered="changed the limits of the process that measures it")
    if answer["changed"] is not None:
        return Verified(tampered=f"changed the fixed file {answer['changed']} while it ran")
    if not plan.evaluator or answer["timed_out"] or answer["code"] != 0:
        # A run that failed is compared with nothing.
        return Verified()
    expected = Expected(plan.metric, plan.budget_seconds, plan.plausible, plan.device)
    return verify(expected, answer["evaluation"], metrics)


def memory_limit_mb() -> float | None:
    """Most memory that runs can have here, in MiB: the container's or the machine's."""
    limits = []
    for path in CGROUP_LIMITS:
        with contextlib.suppress(OSError, ValueError):
            limits.append(int(Path(path).read_text()) / 2**20)
    with contextlib.suppress(OSError, ValueError):
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**20)
    return min(limits, default=None)


def _memory_limit_mb(plan: RunPlan, answer: Mapping[str, Any]) -> float | None:
    """The run's own limit where it was enforced, else what there is."""
    own = plan.limits.get(MEMORY)
    if own is None or MEMORY in answer.get("unenforced", [MEMORY]):
        return memory_limit_mb()
    return min(own, memory_limit_mb() or own)


def _peak_memory_mb(plan: RunPlan, answer: Mapping[str, Any]) -> float | None:
    """What came closest to the limit; where that ended the run, the limit itself."""
    if answer.get("out_of_memory"):
        return _memory_limit_mb(plan, answer)
    found: float | None = answer.get("peak_rss_mb")
    return found


def classify(
    plan: RunPlan, answer: Mapping[str, Any], metrics: Mapping[str, float], text: str
) -> tuple[Outcome, str]:
    """How a run ended, and one sentence that says so."""
    if answer["tampered"] is not None:
        return Outcome.TAMPERED, answer["tampered"]
    code = answer["code"]
    found = outcomes.classify(
        outcomes.Ending(
            metric=plan.metric,
            metrics=metrics,
            log=text,
            exit_code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            timed_out_seconds=plan.timeout_seconds if answer["timed_out"] else None,
            contended=gpu.contention(answer.get("telemetry")),
            peak_memory_mb=_peak_memory_mb(plan, answer),
            memory_limit_mb=_memory_limit_mb(plan, answer),
        )
    )
    return found.outcome, found.sentence
