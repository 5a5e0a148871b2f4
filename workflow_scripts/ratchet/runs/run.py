"""Executes one training run: folder, environment, limits, outcome.

A candidate that crashes, hangs, prints nothing or floods is data: the run is
recorded as what it was.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from ratchet.base.errors import ConfigError, DataError, StoreError
from ratchet.records.store import LOG, SOURCE, TELEMETRY, RunRecord, Store
from ratchet.runs import hardware, supervisor
from ratchet.runs.hardware import VISIBLE_GPUS, GpuSampler, gpu_model_of, lease_gpu
from ratchet.runs.outcome import run_record
from ratchet.runs.process import adopt_orphans, descendants, kill_descendants
from ratchet.runs.sandbox import container
from ratchet.runs.sandbox.container import (
    WORK,
    container_mend,
    container_order,
    path_inside,
    run_workplace,
    with_gpu,
)
from ratchet.runs.sandbox.sandbox import SandboxKind, choose_sandbox, confine_command
from ratchet.runs.spec import RunSpec
from ratchet.runs.workspace import Workspace, resolve_command, write_below

# Enough for a session's progress lines; a flood keeps its head and its tail.
LOG_LIMIT_BYTES = 1 << 20
# Signals that usually come from outside: a stopped service sends them to every
# process of its group, the kernel sends KILL when memory runs out.
OUTSIDE_SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# If the machine is going down, this process goes too within that time.
OUTSIDE_PAUSE_SECONDS = 1.0


def execute_run(spec: RunSpec, store: Store, folder: Path) -> RunRecord:
    """Execute ``spec``, whose files are in ``store``.

    Leaves log and source in ``folder`` and returns the record.  A run that a signal
    from outside ends is tried once more: the first time may have been an accident of
    the machine, twice is a fact about the candidate.

    Raises :class:`ConfigError` if the isolation that the spec names does not work
    here, and :class:`DataError` or :class:`StoreError` if the task's own commands
    cannot be run.
    """
    kind = choose_sandbox(spec.isolation)
    if kind is SandboxKind.CONTAINER and spec.python is not None:
        raise ConfigError(
            "isolation: container runs what its image holds, and the task has an interpreter of "
            f"its own ({spec.python.executable}); set isolation to auto, or run the whole session "
            "in a container that has it"
        )
    answer = _attempt(spec, store, folder, kind)
    if _killed_from_outside(answer):
        time.sleep(OUTSIDE_PAUSE_SECONDS)
        answer = _attempt(spec, store, folder, kind)
    return run_record(spec, folder, answer, kind)


def _attempt(spec: RunSpec, store: Store, folder: Path, kind: SandboxKind) -> dict[str, Any]:
    apart = run_workplace(folder) if kind is SandboxKind.CONTAINER else nullcontext(folder)
    with apart as place:
        space = Workspace(spec, store, kind, place / WORK, folder / "evaluator")
        space.fill()
        answer = _supervised(space, folder)
        answer["changed"] = space.changed()
        for name, content in space.sources.items():
            write_below(folder / SOURCE / name, content)
        space.remove()
    return answer


def _supervised(space: Workspace, folder: Path) -> dict[str, Any]:
    """What the supervisor says of one execution, with the telemetry of its GPU."""
    spec, variables = space.spec, space.environment()
    order = {
        **_start(space, variables),
        "environment": variables,
        "log": str((folder / LOG).resolve()),
        "log_limit_bytes": LOG_LIMIT_BYTES,
        "timeout_seconds": spec.timeout_seconds,
        # An engine sets the limits of the container itself.
        "limits": {}
        if space.kind is SandboxKind.CONTAINER and container.container_mounts_inputs()
        else dict(spec.limits),
    }
    if spec.evaluator:
        order["evaluator"] = _evaluator_order(space)
    if spec.device == "gpu":
        answer = _supervise_on_gpu(order, folder / TELEMETRY, gpu_model_of(spec.hardware))
    else:
        answer = _supervise(order)
    if spec.evaluator:
        _check_evaluator(spec, answer, space.evaluator)
    return answer


def _start(space: Workspace, variables: Mapping[str, str]) -> dict[str, Any]:
    """The part of the supervisor's order that says what to start, and where."""
    spec, own = space.spec, space.box()
    if space.kind is SandboxKind.CONTAINER:
        expected = {"environment": spec.environment_sha256, "hidden": list(spec.hidden)}
        return {
            "command": spec.words,
            "folder": str(path_inside(own.work)),
            "hooks": spec.seeding.hook,
            "cell": container_order(own, spec.limits, expected),
        }
    command = _command(spec, variables)
    return {**confine_command(space.kind, own, command).order, "folder": str(own.work)}


def _command(spec: RunSpec, variables: Mapping[str, str]) -> list[str]:
    """The command with its program found, since a sandbox cannot say that it is not."""
    command = resolve_command(spec.words, spec.python)
    if "/" not in command[0] and shutil.which(command[0], path=variables.get("PATH")) is None:
        raise _cannot_start(command[0], "no such program on the PATH")
    return command


def _cannot_start(program: str, why: str) -> StoreError:
    return StoreError(
        f"the training command {program!r} cannot be started ({why}); set `command` in the "
        "task's task.yaml"
    )


def _evaluator_order(space: Workspace) -> dict[str, Any]:
    folder = space.evaluator.resolve()
    return {
        "command": resolve_command(space.spec.evaluator, space.spec.python),
        "folder": str(folder),
        "environment": space.evaluator_environment(),
        "errors": str(folder / "errors"),
    }


def _check_evaluator(spec: RunSpec, answer: Mapping[str, Any], folder: Path) -> None:
    """Raise if the task's evaluator, which no candidate can touch, broke by itself."""
    found = answer.get("evaluation")
    if found is None or found["ready"] or (found["exit_code"] or 0) <= 0:
        return
    said = (folder / "errors").read_text(encoding="utf-8", errors="replace").strip()[-2000:]
    raise DataError(
        f"the evaluator {' '.join(spec.evaluator)!r} ended with status {found['exit_code']} "
        f"before it was ready; correct it, or `evaluator` in the task's task.yaml. It said:\n{said}"
    )


def _supervise_on_gpu(order: dict[str, Any], telemetry: Path, model: str | None) -> dict[str, Any]:
    """The same with a GPU of its own and a watch on it, where there is one."""
    nvml = hardware.nvml_library()
    with lease_gpu(nvml, os.environ.get(VISIBLE_GPUS), model=model) as lease:
        if lease is None:
            return _supervise(order)
        order["environment"] = {**order["environment"], **lease.environment}
        if "cell" in order:
            start = with_gpu(order["cell"]["start"], lease.gpu.uuid)
            order["cell"] = {**order["cell"], "start": start}
        with (
            _started(order, [lease.descriptor]) as process,
            GpuSampler(nvml, lease.gpu, lambda: descendants(process.pid)) as sampler,
        ):
            answer = _answer(process, order)
        write_below(telemetry, sampler.table().encode())
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
    if result.get("refused"):
        raise ConfigError(
            f"isolation: container cannot be used: {result['error']}; {container_mend()}, or set "
            "isolation to auto"
        )
    if not result["started"]:
        raise _cannot_start(order["command"][0], result["error"])
    return result


def _killed_from_outside(answer: Mapping[str, Any]) -> bool:
    if answer.get("meddled"):
        return False
    if (answer.get("evaluation") or {}).get("asked"):
        # It may know its number by now; a second try would be a second lot.
        return False
    if answer.get("out_of_memory"):
        return False
    return bool(-answer["code"] in OUTSIDE_SIGNALS and not answer["timed_out"])
