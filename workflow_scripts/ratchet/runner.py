"""Executes one training run: folder, environment, limits, outcome.

A candidate that crashes, hangs, prints nothing or floods is data: the run is
recorded as what it was.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ratchet import supervisor
from ratchet.canonical import digest_bytes
from ratchet.errors import InputMissingError, StoreError
from ratchet.files import digest_file
from ratchet.records import Outcome
from ratchet.runlog import evidence, parse_summary
from ratchet.store import LOG, SOURCE, RunRecord

# Enough for a session's progress lines; a flood keeps its head and its tail.
LOG_LIMIT_BYTES = 1 << 20
# Folder of the data files, below the run's own.
DATA = "data"
# What a run may see of the harness's own environment.  Everything else (tokens,
# proxies, user settings) stays out, so that runs are alike on every machine.
ALLOWED_VARIABLES = (
    "PATH",
    "LANG",
    "LC_ALL",
    "TZ",
    "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
    "NVIDIA_VISIBLE_DEVICES",
    "NVIDIA_DRIVER_CAPABILITIES",
)
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
# Signals that usually come from outside: a stopped service sends them to every
# process of its group, the kernel sends KILL when memory runs out.
OUTSIDE_SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# If the machine is going down, this process goes too within that time.
OUTSIDE_PAUSE_SECONDS = 1.0


@dataclass(frozen=True)
class RunPlan:
    """Everything needed to execute one run.

    ``sources`` (the candidate's own files) and ``fixed`` map paths below the
    run's folder to their content, ``data`` maps file names to (path, sha256).
    Exactly one of ``budget_seconds`` and ``budget_steps`` is set.
    """

    command: Sequence[str]
    sources: Mapping[str, bytes]
    fixed: Mapping[str, bytes]
    data: Mapping[str, tuple[Path, str]]
    seed: int
    budget_seconds: float | None
    budget_steps: int | None
    timeout_seconds: float
    threads: int
    metric: str


def execute(plan: RunPlan, folder: Path) -> RunRecord:
    """Run ``plan``; leaves log and source in ``folder`` and returns the record.

    A run that a signal from outside ends is tried once more: the first time may
    have been an accident of the machine, twice is a fact about the candidate.
    """
    answer = _attempt(plan, folder)
    if _killed_from_outside(answer):
        time.sleep(OUTSIDE_PAUSE_SECONDS)
        answer = _attempt(plan, folder)
    return _record(plan, folder, answer)


def _attempt(plan: RunPlan, folder: Path) -> dict[str, Any]:
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    lay_out(plan, work)
    order = {
        "command": _resolve(plan.command),
        "folder": str(work.resolve()),
        "environment": environment(plan, work),
        "log": str((folder / LOG).resolve()),
        "log_limit_bytes": LOG_LIMIT_BYTES,
        "timeout_seconds": plan.timeout_seconds,
    }
    answer = _supervise(order)
    answer["tampered"] = _changed(plan, work)
    for name, content in plan.sources.items():
        _write(folder / SOURCE / name, content)
    shutil.rmtree(work, ignore_errors=True)
    return answer


def lay_out(plan: RunPlan, work: Path) -> None:
    """Fill a run's folder; everything but the candidate's own files read-only."""
    for name, content in {**plan.fixed, **plan.sources}.items():
        _write(work / name, content)
    for name in plan.fixed:
        (work / name).chmod(0o444)
    (work / DATA).mkdir()
    for name, (path, _) in plan.data.items():
        shutil.copyfile(path, work / DATA / name)
        (work / DATA / name).chmod(0o444)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _supervise(order: Mapping[str, Any]) -> dict[str, Any]:
    """Let a supervisor process run the order, and outlive nothing of it."""
    supervisor.adopt_orphans()
    process = subprocess.Popen(
        [sys.executable, "-S", "-E", supervisor.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(order).encode() + b"\n")
        process.stdin.flush()
        answer = process.stdout.readline()
    except OSError:
        answer = b""
    finally:
        # Closing the pipe ends the training, whatever brought us here.
        process.stdin.close()
        process.wait()
        process.stdout.close()
        supervisor.kill_descendants()
    if not answer:
        # The supervisor was killed; what it watched died with it.
        return {"started": True, "code": -signal.SIGKILL, "timed_out": False, "leftover": 0}
    result: dict[str, Any] = json.loads(answer)
    if not result["started"]:
        raise StoreError(
            f"the training command {order['command'][0]!r} cannot be started "
            f"({result['error']}); set `command` in the task's task.yaml"
        )
    return result


def _killed_from_outside(answer: Mapping[str, Any]) -> bool:
    return bool(-answer["code"] in OUTSIDE_SIGNALS and not answer["timed_out"])


def environment(plan: RunPlan, work: Path) -> dict[str, str]:
    """The whole environment of a run: an allow-list and what the harness sets."""
    allowed = {name: os.environ[name] for name in ALLOWED_VARIABLES if name in os.environ}
    fixed = {
        "HOME": str(work.resolve()),
        "PYTHONHASHSEED": "0",
        "PYTHONNOUSERSITE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "RATCHET_SEED": str(plan.seed),
        "RATCHET_DATA": str((work / DATA).resolve()),
    }
    if plan.budget_steps is not None:
        fixed["RATCHET_BUDGET_STEPS"] = str(plan.budget_steps)
    else:
        fixed["RATCHET_BUDGET_SECONDS"] = str(plan.budget_seconds)
    return {**allowed, **dict.fromkeys(THREAD_VARIABLES, str(plan.threads)), **fixed}


def _resolve(command: Sequence[str]) -> list[str]:
    """``python`` in a task's command is the locked environment's interpreter."""
    return [sys.executable if word == "python" else word for word in command]


def _changed(plan: RunPlan, work: Path) -> str | None:
    """Name of a fixed file or data file that is not what it was before the run."""
    expected = {name: digest_bytes(content) for name, content in plan.fixed.items()}
    expected |= {f"{DATA}/{name}": sha for name, (_, sha) in plan.data.items()}
    for name, sha in expected.items():
        try:
            if digest_file(work / name) == sha:
                continue
        except InputMissingError:
            pass
        return name
    return None


def _record(plan: RunPlan, folder: Path, answer: Mapping[str, Any]) -> RunRecord:
    text = (folder / LOG).read_text(encoding="utf-8", errors="replace")
    metrics = parse_summary(text)
    outcome, reason = classify(plan, answer, metrics, text)
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
    )


def classify(
    plan: RunPlan, answer: Mapping[str, Any], metrics: Mapping[str, float], text: str
) -> tuple[Outcome, str]:
    """How a run ended, and one sentence that says so."""
    code = answer["code"]
    if answer["tampered"] is not None:
        return Outcome.TAMPERED, f"changed the fixed file {answer['tampered']} while it ran"
    if answer["timed_out"]:
        return Outcome.TIMEOUT, f"stopped after {plan.timeout_seconds:g} s of wall-clock time"
    if code == -signal.SIGKILL:
        return Outcome.KILLED, "killed by signal 9, twice: usually it took too much memory"
    if code < 0:
        return Outcome.CRASH, f"died of signal {-code} ({signal.Signals(-code).name})"
    if code > 0:
        line = evidence(text)
        return Outcome.CRASH, f"exit status {code}: {line}" if line else f"exit status {code}"
    if plan.metric not in metrics:
        return Outcome.NO_METRIC, f"ended without printing {plan.metric}"
    if not math.isfinite(metrics[plan.metric]):
        return Outcome.NAN, f"printed {plan.metric}: {metrics[plan.metric]}"
    return Outcome.OK, ""
