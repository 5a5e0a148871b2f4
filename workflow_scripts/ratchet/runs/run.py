"""Executes one training run: folder, environment, limits, outcome.

A candidate that crashes, hangs, prints nothing or floods is data: the run is
recorded as what it was.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any

from ratchet.base.errors import ConfigError, DataError, InputMissingError, StoreError
from ratchet.base.io import digest_file, remove_run_folder
from ratchet.base.structs import Frozen, asdict, replace
from ratchet.records.series import SAMPLES, series_table
from ratchet.records.store import LOG, LOG_ASKED, SOURCE, RunRecord, Store
from ratchet.runs.compile_cache import (
    FILES,
    CompileCache,
    CompileCaches,
    cache_key,
    cache_variables,
    collect_cache,
)
from ratchet.runs.devices import (
    ALL,
    VISIBLE_GPUS,
    Claim,
    Devices,
    Gpu,
    Lease,
    Said,
    lease_cores,
    lease_gpu,
)
from ratchet.runs.hardware import (
    GpuSampler,
    gpu_model_of,
    machine_samples,
    nvml_library,
    usable_cores,
)
from ratchet.runs.outcome import run_record
from ratchet.runs.probe import Watch, wait_for_quiet
from ratchet.runs.process import descendants
from ratchet.runs.sandbox.container import (
    WORK,
    container_mend,
    container_mounts_inputs,
    container_order,
    path_inside,
    run_workplace,
    with_gpu,
)
from ratchet.runs.sandbox.sandbox import (
    SandboxKind,
    choose_sandbox,
    confine_command,
    container_calls,
    mounts_inputs,
    sandbox_holds,
)
from ratchet.runs.spec import Box, RunSpec
from ratchet.runs.supervisor import start_supervisor, supervisor_answer
from ratchet.task.edits import replace_value
from ratchet.task.environment import package_paths, resolve_command, unneeded_paths
from ratchet.task.packages import PLACE
from ratchet.task.task import THREAD_VARIABLES

# Enough for a session's progress lines; a flood keeps its head and its tail.
LOG_LIMIT_BYTES = 1 << 20
# If the machine is going down, this process goes too within that time.
OUTSIDE_PAUSE_SECONDS = 1.0
# Folder of the data files, below the run's own.
DATA = "data"
# Of a warm-up: its seed, which tells nothing of those that are drawn, enough of a budget for
# the first steps, and where what it compiled lies until it is in the store.
WARM_UP_SEED = 0
WARM_UP_SECONDS = 1.0
WARM_UP_STEPS = 2
KEPT = "compiled"
# What runs import at their start if the task asks for it.
HOOKS = Path(__file__).resolve().parent / "seed_hook"
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


@contextlib.contextmanager
def leased(
    spec: RunSpec,
    claim: Claim | None = None,
    devices: Devices = ALL,
    said: Said | None = None,
) -> Iterator[RunSpec]:
    """The spec with the device that its run has while the context lasts; waits for its turn.

    A run on the processor has cores of its own if time is its budget.  In steps, or as a
    guard, it computes the same however long that takes, so it waits for nobody; a run whose
    time it took is made again.
    """
    if spec.device == "gpu":
        visible, model = os.environ.get(VISIBLE_GPUS), gpu_model_of(spec.hardware)
        with lease_gpu(nvml_library(), visible, None, model, devices, claim, said) as lease:
            yield replace(spec, lease=lease)
    elif spec.budget_seconds is not None and not spec.guard:
        with lease_cores(usable_cores(), spec.threads, None, claim, said) as cores:
            yield replace(spec, lease=cores)
    else:
        yield spec


def execute_run(spec: RunSpec, store: Store, folder: Path) -> RunRecord:
    """Execute ``spec``, whose files are in ``store``.

    Leaves log and source in ``folder`` and returns the record.  A run that something else
    ends (the machine ran out of memory, its supervisor was killed) is tried once more, and
    the record says so; one that kills itself has ended.  With a budget in seconds the record
    tells the machine's pace; how usual that is, only the session knows.

    Raises :class:`ConfigError` if the isolation that the spec names does not work
    here, and :class:`DataError` or :class:`StoreError` if the task's own commands
    cannot be run.
    """
    kind = choose_sandbox(spec.isolation)
    if kind is SandboxKind.CONTAINER and spec.python is not None:
        has = f"has an interpreter of its own ({spec.python.executable})"
        if spec.python.executable == sys.executable:
            has = "names no lock (`environment`) of its packages"
        raise ConfigError(
            f"isolation: container runs what its image holds, and the task {has}; set isolation to "
            "auto, or run the whole session in a container that has what it needs"
        )
    budget = None if spec.guard else spec.budget_seconds
    if spec.attempt and budget is not None:
        wait_for_quiet(spec.threads, budget)
    watch = None if budget is None else Watch(spec.threads)
    answer = _attempt(spec, store, folder, kind)
    broken_off = _broken_off(answer)
    if broken_off:
        time.sleep(OUTSIDE_PAUSE_SECONDS)
        watch = None if budget is None else Watch(spec.threads)
        answer = _attempt(spec, store, folder, kind)
    record = run_record(spec, folder, answer, kind, sandbox_holds(kind, spec.network))
    pace = None if watch is None else watch.pace(answer)
    return replace(
        record,
        pace=pace,
        earlier_tries=(broken_off,) if broken_off else (),
        compile_cache="" if spec.compiled is None else spec.compiled.state,
    )


def compiled_cache(
    spec: RunSpec,
    caches: CompileCaches,
    blank: Sequence[str],
    folder: Path,
    begins: Callable[[], None] | None = None,
) -> tuple[CompileCache, Mapping[str, Any]]:
    """What ``spec`` starts from, and what there is to tell of it; made now if there is none.

    A warm-up makes it: the same command and files with another seed and hardly any budget,
    without an evaluation, and with zeros in place of the data files ``blank``.  It has the
    time that a run may take beside its budget, and ``folder``, which it does not leave behind.
    ``begins`` is told before it, or before another session's warm-up is waited for.
    """
    kind = choose_sandbox(spec.isolation)
    key = cache_key(spec.inputs, kind.value, blank, spec.hidden)
    if begins is not None and not caches.store.paths.cache(key).exists():
        begins()
    with caches.store.locked(key):
        found, damage = caches.find(key)
        told: dict[str, Any] = {"damaged": damage} if damage else {}
        if found is not None:
            return found, told
        empty = CompileCache(key, folder, {}, 0.0)
        beside = spec.timeout_seconds - (spec.budget_seconds or 0.0)
        order = replace(
            spec,
            seed=WARM_UP_SEED,
            budget_seconds=None if spec.budget_seconds is None else WARM_UP_SECONDS,
            budget_steps=None if spec.budget_steps is None else WARM_UP_STEPS,
            timeout_seconds=beside if beside > 0 else spec.timeout_seconds,
            evaluator=(),
            evaluation_data={},
            audit_data={},
            compiled=empty,
            blank=blank,
        )
        folder.mkdir()
        try:
            answer = _attempt(order, caches.store, folder, kind)
            # An evaluation that nobody serves ends most of them with a failure.
            stopped = answer["timed_out"] or bool(_broken_off(answer))
            files = {} if stopped else answer["compiled"]
            told |= {"wall_seconds": answer["wall_seconds"], "files": len(files)}
            if _broken_off(answer):
                return empty, told
            made = folder / KEPT
            made.mkdir(exist_ok=True)
            return caches.keep(key, made, files, answer["wall_seconds"]), told
        finally:
            remove_run_folder(folder)


def _attempt(spec: RunSpec, store: Store, folder: Path, kind: SandboxKind) -> dict[str, Any]:
    apart = run_workplace(folder) if kind is SandboxKind.CONTAINER else nullcontext(folder)
    with apart as place:
        space = Workspace(spec, store, kind, place / WORK, folder / "evaluator")
        space.fill()
        answer = _supervised(space, folder)
        answer["changed"] = space.changed()
        inside = path_inside(space.work) if kind is SandboxKind.CONTAINER else space.work.resolve()
        answer["folders"] = [str(inside)]
        if spec.blank:
            answer["compiled"] = collect_cache(space.work, folder / KEPT / FILES)
        for name, content in space.sources.items():
            write_below(folder / SOURCE / name, content)
        space.remove()
    return answer


def _supervised(space: Workspace, folder: Path) -> dict[str, Any]:
    """Answer of the supervisor for one execution, with the telemetry of its GPU.

    Leaves the samples of its machine in ``folder``.
    """
    spec, variables = space.spec, space.environment()
    order = {
        **_start(space, variables),
        "environment": variables,
        "log": str((folder / LOG).resolve()),
        "log_asked": str((folder / LOG_ASKED).resolve()),
        "log_limit_bytes": LOG_LIMIT_BYTES,
        "timeout_seconds": spec.timeout_seconds,
        # An engine sets the limits of the container itself.
        "limits": {}
        if space.kind is SandboxKind.CONTAINER and container_mounts_inputs()
        else dict(spec.limits),
    }
    if spec.evaluator:
        order["evaluator"] = _evaluator_order(space)
    if spec.lease is not None and spec.lease.gpu is not None:
        answer = _supervise_on_gpu(order, spec.lease, spec.lease.gpu)
    else:
        answer = _supervise(order, spec.lease)
    # An earlier try may have left some.
    (folder / SAMPLES).unlink(missing_ok=True)
    samples = machine_samples(answer.get("samples", ()), answer.pop("gpu_samples", ()))
    if samples:
        write_below(folder / SAMPLES, series_table(samples).encode())
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
            "seccomp": container_calls(own),
            "container": container_order(own, spec.limits, expected),
        }
    command = _command(spec, variables)
    return {**asdict(confine_command(space.kind, own, command)), "folder": str(own.work)}


def _command(spec: RunSpec, variables: Mapping[str, str]) -> list[str]:
    """The command with its program found, since a sandbox cannot say that it is not."""
    command = resolve_command(spec.words, spec.python)
    if "/" not in command[0] and shutil.which(command[0], path=variables.get("PATH")) is None:
        raise _cannot_start(command[0], "no such program on the PATH")
    return command


def _cannot_start(program: str, why: str) -> StoreError:
    return StoreError(
        f"the command {program!r} cannot be started ({why}); correct `command`, or `guard`, "
        "in the task's task.yaml"
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


def _supervise_on_gpu(order: dict[str, Any], lease: Lease, gpu: Gpu) -> dict[str, Any]:
    """Answer of the supervisor for a run with a GPU of its own.

    Beside it the samples of the GPU, and what they come to.
    """
    order["environment"] = {**order["environment"], VISIBLE_GPUS: gpu.uuid}
    if "container" in order:
        start = with_gpu(order["container"]["start"], gpu.uuid)
        order["container"] = {**order["container"], "start": start}
    with (
        start_supervisor(order, lease.descriptors) as process,
        GpuSampler(nvml_library(), gpu, lambda: descendants(process.pid)) as sampler,
    ):
        answer = _answer(process, order)
    late = sampler.began - answer.get("began", sampler.began)
    taken = [replace(each, seconds=each.seconds + late) for each in sampler.samples]
    return {**answer, "telemetry": sampler.summary(), "gpu_samples": taken}


def _supervise(order: Mapping[str, Any], lease: Lease | None) -> dict[str, Any]:
    with start_supervisor(order, lease.descriptors if lease else ()) as process:
        return _answer(process, order)


def _answer(process: subprocess.Popen[bytes], order: Mapping[str, Any]) -> dict[str, Any]:
    result = supervisor_answer(process)
    if result.get("refused"):
        raise ConfigError(
            f"isolation: container cannot be used: {result['error']}; {container_mend()}, or set "
            "isolation to auto"
        )
    if not result["started"]:
        raise _cannot_start(order["command"][0], result["error"])
    return result


def _broken_off(answer: Mapping[str, Any]) -> str:
    """How something else ended a run, which may be tried again; empty if nothing did.

    One that asked may know its number by now.
    """
    asked = (answer.get("evaluation") or {}).get("asked")
    outside = answer.get("outside", "")
    if not outside or asked or answer["timed_out"]:
        return ""
    if answer.get("meddled") or answer.get("out_of_memory"):
        return ""
    return f"ended by signal {-answer['code']} after {answer['wall_seconds']:.3g} s, as {outside}"


class Workspace(Frozen, dict=True):
    """The candidate's folder ``work``, and the evaluator's, which it cannot see.

    The data to evaluate on lie in neither; the evaluator gets their paths in the
    store.
    """

    spec: RunSpec
    store: Store
    kind: SandboxKind
    work: Path
    evaluator: Path

    def fill(self) -> None:
        """Make both folders; everything but the candidate's own files is read-only.

        Where data can be mounted they are not copied: an empty file takes their
        place.  A hard link would let a run that is root change the store.
        """
        self.remove()
        self.work.mkdir(parents=True)
        self._write_fixed(self.work)
        for name, content in self._seeded_sources().items():
            write_below(self.work / name, content)
        self._lay_out_caches()
        (self.work / DATA).mkdir(exist_ok=True)
        for name, path in self._data.items():
            place = self.work / DATA / name
            place.parent.mkdir(parents=True, exist_ok=True)
            if self._mounts:
                place.touch()
            else:
                shutil.copyfile(path, place)
            place.chmod(0o444)
        for name in self.spec.blank:
            self._write_zeros(name)
        if self.spec.compiled is not None:
            self.spec.compiled.lay_out(self.work, self.kind is SandboxKind.CONTAINER)
        if self.spec.evaluator:
            self.evaluator.mkdir()
            self._write_fixed(self.evaluator)

    def remove(self) -> None:
        """Remove both folders with all that is in them."""
        remove_run_folder(self.work)
        remove_run_folder(self.evaluator)

    @cached_property
    def sources(self) -> dict[str, bytes]:
        """The candidate's files as they were proposed."""
        return {name: self.store.get(sha) for name, sha in self.spec.sources.items()}

    def _seeded_sources(self) -> dict[str, bytes]:
        """The candidate's files, with the seed where the task has a constant for it."""
        constant = self.spec.seeding.constant
        found = dict(self.sources)
        for name, content in self.sources.items() if constant else ():
            text = content.decode("utf-8", errors="surrogateescape")
            new = replace_value(name, text, constant, self.spec.seed)
            if new is not None:
                found[name] = new.encode("utf-8", errors="surrogateescape")
        return found

    def _write_fixed(self, folder: Path) -> None:
        for name, sha in self.spec.fixed.items():
            write_below(folder / name, self.store.get(sha))
            (folder / name).chmod(0o444)

    def _write_zeros(self, name: str) -> None:
        """A file of the size of a data file that holds nothing, and takes no room on the disk."""
        place = self.work / DATA / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
        os.truncate(place, self.store.paths.blob(self.spec.data[name]).stat().st_size)
        place.chmod(0o444)

    @cached_property
    def _data(self) -> dict[str, Path]:
        """The run's data files in the store, verified once."""
        given = {name: sha for name, sha in self.spec.data.items() if name not in self.spec.blank}
        return {name: self.store.path(sha) for name, sha in given.items()}

    @cached_property
    def _mounts(self) -> bool:
        """Whether inputs are mounted, read-only, so that the run needs no copies."""
        return mounts_inputs(self.kind)

    def _lay_out_caches(self) -> None:
        """Make the places of caches; where nothing can be mounted, links or copies."""
        apart = self.kind is SandboxKind.CONTAINER
        for entry in self.spec.mounts:
            place = self.work / entry.place
            if entry.place.is_absolute():
                if apart and not self._mounts:
                    raise ConfigError(
                        f"cache: {entry.source} cannot be shown to a run in another container "
                        "that nothing can be mounted into; set isolation to auto"
                    )
            elif self._mounts:
                place.mkdir(parents=True, exist_ok=True)
            elif apart:
                shutil.copytree(entry.source, place)
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.symlink_to(entry.source.resolve(), target_is_directory=True)

    def box(self) -> Box:
        """Paths and devices that the run gets."""
        spec, place = self.spec, self.work.resolve()
        prefixes = spec.python.prefixes if spec.python else ()
        caches = {place / entry.place: entry.source.resolve() for entry in spec.mounts}
        return Box(
            work=place,
            fixed=[*(place / name for name in spec.fixed), place / DATA],
            mounts={
                **{place / DATA / name: path.resolve() for name, path in self._data.items()},
                **caches,
            },
            readable=[
                *([HOOKS] if spec.seeding.hook else []),
                *map(Path, prefixes),
                *caches.values(),
            ],
            hidden=[
                *package_paths(spec.hidden, prefixes),
                *(unneeded_paths(spec.packages) if spec.packages else ()),
            ],
            network=spec.network,
            gpu=spec.device == "gpu",
        )

    def environment(self) -> dict[str, str]:
        """The whole environment of the run: an allow-list and what the harness sets."""
        spec, place = self.spec, self.work.resolve()
        apart = self.kind is SandboxKind.CONTAINER
        if apart:
            place = path_inside(place)
        found = {
            # The machine's own places mean nothing there; the image has its own.
            **self._common(place, () if apart else ALLOWED_VARIABLES),
            "RATCHET_SEED": str(spec.seed),
            "RATCHET_DATA": str(place / DATA),
            **spec.seeding.variables(spec.seed),
        }
        if spec.budget_steps is not None:
            found["RATCHET_BUDGET_STEPS"] = str(spec.budget_steps)
        else:
            found["RATCHET_BUDGET_SECONDS"] = str(spec.budget_seconds)
            if spec.evaluation_seconds is not None:
                found["RATCHET_EVALUATION_SECONDS"] = f"{spec.evaluation_seconds:.3f}"
        hooks = [str(HOOKS)] if spec.seeding.hook and not apart else []
        allowed = [str(place / PLACE)] if spec.allowed_sha256 else []
        if hooks or allowed:
            found["PYTHONPATH"] = os.pathsep.join([*hooks, *allowed])
        if spec.compiled is not None:
            found |= cache_variables(place)
        if self.kind is SandboxKind.LANDLOCK and not self._mounts:
            # The machine's own /tmp is closed.
            found["TMPDIR"] = str(place)
        return found

    def evaluator_environment(self) -> dict[str, str]:
        """The evaluator's: where the data are, how long it may wait, what it draws from."""
        spec = self.spec
        told = {
            key: {name: str(self.store.path(sha).resolve()) for name, sha in data.items()}
            for key, data in (("data", spec.evaluation_data), ("audit", spec.audit_data))
        }
        order = json.dumps({**told, "reply_seconds": spec.timeout_seconds, "draws": spec.draws})
        return {**self._common(self.evaluator.resolve()), "RATCHET_EVALUATION": order}

    def _common(
        self, home: Path, inherited: Sequence[str] = ALLOWED_VARIABLES
    ) -> Mapping[str, str]:
        return {
            **{name: os.environ[name] for name in inherited if name in os.environ},
            **self.spec.variables,
            **dict.fromkeys(THREAD_VARIABLES, str(self.spec.threads)),
            "HOME": str(home),
            "PYTHONHASHSEED": "0",
            "PYTHONNOUSERSITE": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
        }

    def changed(self) -> str | None:
        """Name of a fixed file or data file that is not what it was before the run."""
        spec = self.spec
        folders = [self.work, *([self.evaluator] if spec.evaluator else [])]
        expected = [(folder, name, sha) for folder in folders for name, sha in spec.fixed.items()]
        if not self._mounts:
            expected += [(self.work, f"{DATA}/{name}", sha) for name, sha in spec.data.items()]
        for folder, name, sha in expected:
            # What a run left there may be a pipe, a device or endless; none is read.
            with contextlib.suppress(OSError, InputMissingError):
                found = (folder / name).lstat()
                size = self.store.paths.blob(sha).stat().st_size
                whole = stat.S_ISREG(found.st_mode) and found.st_size == size
                if whole and digest_file(folder / name) == sha:
                    continue
            return name
        return None


def write_below(path: Path, content: bytes) -> None:
    """Write a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
