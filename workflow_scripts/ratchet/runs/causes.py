"""Causes of a run that failed: what is at fault, in the run's own last words, and what to do.

A log is the candidate's word, so a cause decides only what people are told.
"""

import enum
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ratchet.base.errors import ANOTHER_SESSION, NEW_SESSION, THIS_SESSION
from ratchet.base.structs import Frozen
from ratchet.base.text import clean_lines
from ratchet.records.records import Outcome
from ratchet.runs.log import DRIVER, cut_line, failure_evidence, is_exception
from ratchet.task.task import Task


class Cause(enum.StrEnum):
    """What a failed run failed of."""

    DRIVER = "driver"
    PLATFORM = "platform"
    LOCK = "lock"
    IMPORT = "import"
    DATA = "data"
    MEMORY = "memory"
    TIMEOUT = "timeout"
    MACHINE = "machine"
    METRIC = "metric"
    CODE = "code"


LABELS: Mapping[Cause, str] = {
    Cause.DRIVER: "the GPU's driver",
    Cause.PLATFORM: "the platform",
    Cause.LOCK: "installed packages that do not fit each other",
    Cause.IMPORT: "a package that is missing",
    Cause.DATA: "data that are missing",
    Cause.MEMORY: "memory that did not suffice",
    Cause.TIMEOUT: "the time limit",
    Cause.MACHINE: "something else on this machine",
    Cause.METRIC: "a metric that was not printed",
    Cause.CODE: "its own code",
}


class Failure(Frozen):
    """A failed run's cause, and its own last words; ``subject`` is the package or the path."""

    cause: Cause
    words: str
    subject: str = ""


_TRACEBACK = "Traceback (most recent call last)"
_CHAINED = re.compile(r"During handling of the above exception|was the direct cause of the foll")
_LINES = 40
"""Last lines in which a failure without a traceback is looked for."""

_MODULE = re.compile(r"ModuleNotFoundError: No module named ['\"]([\w.-]+)['\"]")
_PATH = re.compile(r"No such file or directory: ['\"]?([^'\"]+)|couldn't open ['\"]?([^'\"]+)")
NETWORK = re.compile(
    r"[Nn]ame resolution|Name or service not known|getaddrinfo|Could not resolve host|URLError"
    r"|ConnectionError|Max retries exceeded|Network is unreachable"
)
"""Words by which a run says that it wants the network."""

# In the order in which they count: what comes first is the reason for what comes after.
_PATTERNS: Sequence[tuple[Cause, re.Pattern[str]]] = (
    (Cause.DRIVER, DRIVER),
    (
        Cause.PLATFORM,
        re.compile(
            r"(?i)\bmacOS\b|\bMetal\b|\bMPS\b.{0,60}\b(not|un)|not compiled with (CUDA|ROCm|MPS)"
            r"|without (CUDA|ROCm|MPS) support|named ['\"](triton|flash_attn\w*|mlx|kernels)\b"
            r"|flash.?attention.{0,80}\b(only|not|requires|unsupported|support)|flash_attn.{0,60}not"
            r"|triton.{0,80}(not|only|unsupported|requires)|Cannot find a working triton"
            r"|Exec format error|wrong ELF class|incompatible architecture|invalid ELF header"
            r"|Illegal instruction|compute capability|\bsm_\d+.{0,40}not compatible"
            r"|unsupported (platform|device|architecture)"
            r"|not supported on this (platform|device|GPU)"
            r"|(platform|operating system)\b.{0,30}not supported|Detected platform|Windows is not"
        ),
    ),
    (
        Cause.LOCK,
        re.compile(
            r"VersionConflict|DistributionNotFound|but you(?:'ll)? have .{1,60} (which|installed)"
            r"|numpy\.dtype size changed|compiled using NumPy|undefined symbol"
            r"|PackageNotFoundError|cannot import name .{0,120}(site|dist)-packages"
            r"|ImportError: .{0,80} (requires|is required)\b.{0,80}[<>=]"
        ),
    ),
    (Cause.IMPORT, re.compile(_MODULE.pattern + r"|ImportError: lib\S+: cannot open shared")),
    (
        Cause.DATA,
        re.compile(
            r"FileNotFoundError|No such file or directory|NotADirectoryError"
            r"|(?i:\bno [\w .*-]{0,40}(files?|shards?|data|dataset|tokenizer)\b"
            r".{0,60}\b(found|exist))"
            r"|(?i:\b(data|dataset|tokenizer|shard|file)s?\b.{0,80}(not found|does not exist"
            r"|missing))"
            r"|(?i:\brun\b.{0,40}\bprepare)"
            rf"|LocalEntryNotFoundError|Offline mode|{NETWORK.pattern}"
        ),
    ),
)
_BY_OUTCOME = {
    Outcome.TIMEOUT: Cause.TIMEOUT,
    Outcome.OOM_DEVICE: Cause.MEMORY,
    Outcome.OOM_HOST: Cause.MEMORY,
    Outcome.OOM_EVALUATION: Cause.MEMORY,
    Outcome.KILLED: Cause.MACHINE,
    Outcome.CONTENDED: Cause.MACHINE,
    Outcome.NO_METRIC: Cause.METRIC,
    Outcome.DIVERGED: Cause.CODE,
    Outcome.TAMPERED: Cause.CODE,
}


def find_failure(outcome: Outcome, reason: str, log: str) -> Failure:
    """The cause of a run that failed, from how it ended and from its log's last words.

    ``reason`` is what the harness says of the ending.
    """
    lines = clean_lines(log)
    words = failure_evidence(log)
    if outcome in (Outcome.TIMEOUT, Outcome.TAMPERED, Outcome.CONTENDED):
        return Failure(_BY_OUTCOME[outcome], cut_line(reason))
    told = _last_words(lines)
    for cause, pattern in _PATTERNS:
        line = next((line for line in reversed(told) if pattern.search(line)), None)
        if line is not None and not (outcome in _BY_OUTCOME and cause is not Cause.DRIVER):
            return Failure(cause, cut_line(line), _subject(cause, line))
    return Failure(_BY_OUTCOME.get(outcome, Cause.CODE), words or cut_line(reason))


def _last_words(lines: Sequence[str]) -> Sequence[str]:
    """The error that ended a run, with those that it was raised from; no line of code."""
    starts = [number for number, line in enumerate(lines) if _TRACEBACK in line]
    while len(starts) > 1 and _CHAINED.search(" ".join(lines[max(starts[-1] - 2, 0) : starts[-1]])):
        starts.pop()
    block = lines[starts[-1] :] if starts else lines[-_LINES:]
    errors = [number for number, line in enumerate(block) if is_exception(line)]
    if not (starts and errors):
        return block
    # Its message may go on for some lines.
    return [*(block[number] for number in errors[:-1]), *block[errors[-1] :]]


def _subject(cause: Cause, line: str) -> str:
    """The package that is missing, or the path."""
    match = {Cause.IMPORT: _MODULE, Cause.PLATFORM: _MODULE, Cause.DATA: _PATH}.get(cause)
    found = match.search(line) if match else None
    return next((group for group in found.groups() if group), "") if found else ""


class Circumstances(Frozen):
    """What advice on a failure rests on.

    ``python`` is the program of the task's own environment, empty for the harness's;
    ``preset`` and ``timeout_seconds`` are those of the run.
    """

    task: Task
    python: str = ""
    preset: str = ""
    timeout_seconds: float = 0.0


def advice_on(failure: Failure, here: Circumstances) -> str:
    """What to do about a failed baseline, and the command to type then."""
    return _ADVICE[failure.cause](failure, here)


def _driver(_: Failure, here: Circumstances) -> str:
    return (
        "The GPU's driver and the packages of "
        f"{here.python or 'this environment'} do not work together, or no GPU is there: nvidia-smi "
        f"must list it, and ratchet doctor says what it finds. Then go on: {THIS_SESSION}"
    )


def _platform(_: Failure, here: Circumstances) -> str:
    origin, task = here.task.origin, here.task
    others = [preset.name for preset in task.presets if preset.name != here.preset]
    advice = f"{task.name} is not for this kind of machine. Run it on one that it is for"
    if origin is not None:
        return (
            f"{advice}, or name a definition that is for this one: {ANOTHER_SESSION} "
            f"'task={{repo: {origin.repo}, definition: upstream}}'"
        )
    if others:
        return f"{advice}, or take another preset: {ANOTHER_SESSION} preset={others[0]}"
    return f"{advice}, or research another task: {ANOTHER_SESSION} task=tasks/bytelm"


def _lock(_: Failure, here: Circumstances) -> str:
    return f"{_install_locked(here)}. Then {NEW_SESSION}"


def _install_locked(here: Circumstances) -> str:
    lock = here.task.environment
    if not here.python or lock is None:
        return "Its packages do not fit each other; install them as locked: make env"
    if lock.name == "uv.lock":
        words = ["uv", "sync", *(["--project", str(here.task.clone)] if here.task.clone else [])]
        return f"Its packages do not fit each other; install them as locked: {shlex.join(words)}"
    return f"Its packages do not fit each other; install those of {lock} in {here.python}"


def _import(failure: Failure, here: Circumstances) -> str:
    name = failure.subject.partition(".")[0]
    local = [
        path
        for path in (f"{name}.py", f"{name}/__init__.py")
        if here.task.clone is not None and name and (here.task.clone / path).is_file()
    ]
    if local:
        return (
            f"{local[0]} is a file there that runs do not get: name it under `fixed` "
            f"in the definition. Then {NEW_SESSION}"
        )
    if here.python and Path(here.python) != Path(sys.executable):
        install = ["uv", "pip", "install", "--python", here.python]
        if shutil.which("uv") is None and Path(here.python).with_name("pip").exists():
            install = [here.python, "-m", "pip", "install"]
        words = shlex.join([*install, name or "PACKAGE"])
        return f"Install it where the task's runs look, with: {words}. Then {NEW_SESSION}"
    lock = here.task.environment
    fault = (
        f"The lock {lock} does not have it, and runs see locked packages alone"
        if lock
        else "Ratchet's own environment, in which the task runs, does not have it"
    )
    return (
        f"{fault}: name an environment that has it, by `python`, or allow it by `allow_packages` "
        f"in {here.task.definition}. Then {NEW_SESSION}"
    )


def _data(failure: Failure, here: Circumstances) -> str:
    task = here.task
    made = next((cache.prepare for cache in task.caches if cache.prepare), "")
    where = f" in {task.clone}" if task.clone else ""
    if task.caches or task.prepare:
        known = ", ".join(cache.folder for cache in task.caches) or "what `prepare` makes"
        how = f", made{where} by: {made}" if made else f", made{where} as its README says"
        advice = f"Runs read {known}{how}. Make the data whole"
    else:
        advice = (
            "Runs see the task's files alone: name what they read, a file by `fixed` or a large "
            f"folder by `cache`, in {task.definition}"
        )
    network = "" if task.network else " Runs have no network."
    if network and NETWORK.search(failure.words):
        network = " Runs have no network, unless the task says: network: true."
    missing = f"{failure.subject} is missing. " if failure.subject else ""
    return f"{missing}{advice}.{network} Then {NEW_SESSION}"


def _memory(_: Failure, here: Circumstances) -> str:
    smaller = sorted(
        (preset.min_memory_gb, preset.name)
        for preset in here.task.presets
        if preset.name != here.preset
    )
    free = "End what else uses the memory and go on"
    if smaller:
        name = smaller[0][1]
        return f"{free}: {THIS_SESSION}, or start smaller: {ANOTHER_SESSION} preset={name}"
    return (
        f"{free}: {THIS_SESSION}, or make the model in {_files(here)} smaller. Then {NEW_SESSION}"
    )


def _timeout(_: Failure, here: Circumstances) -> str:
    longer = 2 * here.timeout_seconds
    return (
        f"Runs have {here.timeout_seconds:g} s in all; give them more, or a smaller budget: "
        f"{ANOTHER_SESSION} timeout_seconds={longer:g}"
    )


def _machine(_: Failure, __: Circumstances) -> str:
    return f"Something else ended or disturbed it; see that it is alone, and go on: {THIS_SESSION}"


def _metric(_: Failure, here: Circumstances) -> str:
    return (
        f"It ended well and printed no {here.task.metric.name}: correct `metric` in "
        f"{here.task.definition.name} to what it prints. Then {NEW_SESSION}"
    )


def _code(_: Failure, here: Circumstances) -> str:
    return f"Mend {_files(here)}. Then {NEW_SESSION}"


def _files(here: Circumstances) -> str:
    cloned = here.task.clone is not None and here.task.origin is not None
    where = f" in {here.task.clone} and commit it" if cloned else ""
    return f"{', '.join(here.task.mutable)}{where}"


_ADVICE: Mapping[Cause, Callable[[Failure, Circumstances], str]] = {
    Cause.DRIVER: _driver,
    Cause.PLATFORM: _platform,
    Cause.LOCK: _lock,
    Cause.IMPORT: _import,
    Cause.DATA: _data,
    Cause.MEMORY: _memory,
    Cause.TIMEOUT: _timeout,
    Cause.MACHINE: _machine,
    Cause.METRIC: _metric,
    Cause.CODE: _code,
}
