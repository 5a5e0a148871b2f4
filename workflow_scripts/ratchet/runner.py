"""Executes one training run: folder, environment, limits, outcome.

A candidate that crashes, hangs, prints nothing or floods is data: the run is
recorded as what it was.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from ratchet import gpu, outcomes, supervisor
from ratchet.errors import DataError, StoreError
from ratchet.evaluation import Expected, Verified, verify
from ratchet.files import discard
from ratchet.isolation import Kind, choose, confine
from ratchet.layout import (
    RunPlan,
    box,
    changed,
    environment,
    evaluator_environment,
    lay_out,
    lay_out_evaluator,
    resolve,
    write,
)
from ratchet.processes import adopt_orphans, descendants, kill_descendants
from ratchet.records import Outcome
from ratchet.runlog import parse_summary
from ratchet.store import LOG, SOURCE, TELEMETRY, RunRecord

__all__ = ["LOG_LIMIT_BYTES", "RunPlan", "execute"]

# Enough for a session's progress lines; a flood keeps its head and its tail.
LOG_LIMIT_BYTES = 1 << 20
# Signals that usually come from outside: a stopped service sends them to every
# process of its group, the kernel sends KILL when memory runs out.
OUTSIDE_SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# Memory limits of containers, by version of the interface; the word "max" is none.
CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
# If the machine is going down, this process goes too within that time.
OUTSIDE_PAUSE_SECONDS = 1.0


def execute(plan: RunPlan, folder: Path) -> RunRecord:
    """Run ``plan``; leaves log and source in ``folder`` and returns the record.

    A run that a signal from outside ends is tried once more: the first time may
    have been an accident of the machine, twice is a fact about the candidate.
    Raises :class:`ConfigError` if the isolation that the plan names does not
    work here, and :class:`DataError` or :class:`StoreError` if the task's own
    commands cannot be run.
    """
    kind = choose(plan.isolation)
    answer = _attempt(plan, folder, kind)
    if _killed_from_outside(answer):
        time.sleep(OUTSIDE_PAUSE_SECONDS)
        answer = _attempt(plan, folder, kind)
    return _record(plan, folder, answer, kind)


def _attempt(plan: RunPlan, folder: Path, kind: Kind) -> dict[str, Any]:
    work, evaluator = folder / "work", folder / "evaluator"
    for left in (work, evaluator):
        discard(left)
    work.mkdir(parents=True)
    lay_out(plan, work, kind)
    command = _command(plan, environment(plan, work, kind))
    order = {
        **confine(kind, box(plan, work), command).order,
        "folder": str(work.resolve()),
        "environment": environment(plan, work, kind),
        "log": str((folder / LOG).resolve()),
        "log_limit_bytes": LOG_LIMIT_BYTES,
        "timeout_seconds": plan.timeout_seconds,
    }
    if plan.evaluator:
        lay_out_evaluator(plan, evaluator)
        order["evaluator"] = _evaluator_order(plan, evaluator)
    if plan.device == "gpu":
        answer = _supervise_on_gpu(order, folder / TELEMETRY)
    else:
        answer = _supervise(order)
    if plan.evaluator:
        _check_evaluator(plan, answer, evaluator)
    answer["changed"] = changed(plan, work, evaluator, kind)
    for name, content in plan.sources.items():
        write(folder / SOURCE / name, content)
    for left in (work, evaluator):
        discard(left)
    return answer


def _command(plan: RunPlan, variables: Mapping[str, str]) -> list[str]:
    """The command with its program found, since a sandbox cannot say that it is not."""
    command = resolve(plan.command)
    if "/" not in command[0] and shutil.which(command[0], path=variables.get("PATH")) is None:
        raise _cannot_start(command[0], "no such program on the PATH")
    return command


def _cannot_start(program: str, why: str) -> StoreError:
    return StoreError(
        f"the training command {program!r} cannot be started ({why}); set `command` in the "
        "task's task.yaml"
    )


def _evaluator_order(plan: RunPlan, folder: Path) -> dict[str, Any]:
    return {
        "command": resolve(plan.evaluator),
        "folder": str(folder.resolve()),
        "environment": evaluator_environment(plan, folder),
        "errors": str((folder / "errors").resolve()),
    }


def _check_evaluator(plan: RunPlan, answer: Mapping[str, Any], folder: Path) -> None:
    """Raise if the task's evaluator, which no candidate can touch, broke by itself."""
    found = answer.get("evaluation")
    if found is None or found["ready"] or (found["exit_code"] or 0) <= 0:
        return
    said = (folder / "errors").read_text(encoding="utf-8", errors="replace").strip()[-2000:]
    raise DataError(
        f"the evaluator {' '.join(plan.evaluator)!r} ended with status {found['exit_code']} "
        f"before it was ready; correct it, or `evaluator` in the task's task.yaml. It said:\n{said}"
    )


def _supervise_on_gpu(order: dict[str, Any], telemetry: Path) -> dict[str, Any]:
    """The same with a GPU of its own and a watch on it, where there is one."""
    nvml = gpu.library()
    with gpu.leased(nvml, os.environ.get(gpu.VISIBLE)) as lease:
        if lease is None:
            return _supervise(order)
        order["environment"] = {**order["environment"], **lease.environment}
        with (
            _started(order, [lease.descriptor]) as process,
            gpu.Sampler(nvml, lease.gpu, lambda: descendants(process.pid)) as sampler,
        ):
            answer = _answer(process, order)
        write(telemetry, sampler.table().encode())
        return {**answer, "telemetry": sampler.summary()}


def _supervise(order: Mapping[str, Any]) -> dict[str, Any]:
    with _started(order) as process:
        return _answer(process, order)


@contextlib.contextmanager
def _started(
    order: Mapping[str, Any], inherited: Collection[int] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """Let a supervisor process run the order, and outlive nothing of it."""
    adopt_orphans()
    process = subprocess.Popen(
        [sys.executable, "-S", "-E", supervisor.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=list(inherited),
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with contextlib.suppress(OSError):
            process.stdin.write(json.dumps(order).encode() + b"\n")
            process.stdin.flush()
        yield process
    finally:
        # Closing the pipe ends the training, whatever brought us here.
        with contextlib.suppress(OSError):
            process.stdin.close()
        process.wait()
        process.stdout.close()
        kill_descendants()


def _answer(process: subprocess.Popen[bytes], order: Mapping[str, Any]) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        # The supervisor was killed; what it watched died with it.
        return {"started": True, "code": -signal.SIGKILL, "timed_out": False, "leftover": 0}
    result: dict[str, Any] = json.loads(line)
    if not result["started"]:
        raise _cannot_start(order["command"][0], result["error"])
    return result


def _killed_from_outside(answer: Mapping[str, Any]) -> bool:
    if (answer.get("evaluation") or {}).get("asked"):
        # It may know its number by now; a second try would be a second lot.
        return False
    return bool(-answer["code"] in OUTSIDE_SIGNALS and not answer["timed_out"])


def _record(plan: RunPlan, folder: Path, answer: Mapping[str, Any], kind: Kind) -> RunRecord:
    text = (folder / LOG).read_text(encoding="utf-8", errors="replace")
    metrics = parse_summary(text)
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
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _verify(plan: RunPlan, answer: Mapping[str, Any], metrics: Mapping[str, float]) -> Verified:
    """The evaluation of a run, and the reason if its measurement was bent."""
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
            peak_memory_mb=answer.get("peak_rss_mb"),
            memory_limit_mb=memory_limit_mb(),
        )
    )
    return found.outcome, found.sentence
