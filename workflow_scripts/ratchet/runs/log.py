"""Logs of runs: the summary block, and signs of how a run failed.

Assumes nothing of who wrote the log: lines are of bounded length, every pattern is free
of nested repetition, and so no log, however made, takes long to read.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ratchet.base.structs import Frozen
from ratchet.base.text import MAX_LINE, clean_lines, strip_escapes
from ratchet.records.records import Outcome

# ``val_bpb:          0.997900``; the key is a name, the value a single word, in signs that
# a reader takes for the same number: Python reads digits of all alphabets, and 1_0 as 10.
_PAIR = re.compile(r"^\s*([A-Za-z_][A-Za-z0-9_./-]{0,63})\s*[:=]\s*([!-^`-~]+)\s*$")


def parse_summary(text: str) -> dict[str, float]:
    """Numbers of the last summary block, by name.

    The block starts at the last line that is ``---`` alone; without one, the
    whole text is read.  Of two lines with one name the later counts.  NaN and
    infinities are returned as they are, for the caller to judge; a value that
    is no number is left out.
    """
    whole = [strip_escapes(line).rstrip("\r") for line in text.split("\n")]
    lines = [line.rsplit("\r", 1)[-1] for line in whole]
    starts = [i for i, line in enumerate(lines) if line.strip() == "---"]
    found: dict[str, float] = {}
    for line in lines[starts[-1] + 1 if starts else 0 :]:
        match = _PAIR.match(line) if len(line) <= MAX_LINE else None
        if match is None:
            continue
        try:
            found[match.group(1)] = float(match.group(2).rstrip(","))
        except ValueError:
            continue
    return found


USUAL_NUMBERS = frozenset(
    (
        "training_seconds",
        "total_seconds",
        "peak_vram_mb",
        "mfu_percent",
        "total_tokens_M",
        "num_steps",
        "num_params_M",
        "depth",
    )
)
"""Names of the usual summary block beside the metric; none of them is ever below 0."""

MOST = 1e12
"""No memory in MiB, no time in seconds and no count in any unit is as large."""

DIGITS = 6
"""Significant digits of a number that is printed after the evaluation: enough for all that
is decided from it, and too few to carry text out."""


def possible_numbers(
    printed: Mapping[str, float], counted: Iterable[str]
) -> tuple[dict[str, float], tuple[str, ...]]:
    """The numbers that can be what their names say, and those that cannot, in words."""
    bounded = USUAL_NUMBERS | set(counted)
    odd = {n for n, value in printed.items() if n in bounded and not 0 <= value < MOST}
    kept = {name: value for name, value in printed.items() if name not in odd}
    return kept, tuple(f"{cut_line(name)} {printed[name]:g}" for name in sorted(odd))


def known_numbers(printed: Mapping[str, float], names: Iterable[str]) -> dict[str, float]:
    """Of numbers that a run printed after its evaluation those with known names, rounded."""
    known = USUAL_NUMBERS | set(names)
    return {n: float(f"{value:.{DIGITS}g}") for n, value in printed.items() if n in known}


def finite_metric(metrics: Mapping[str, float], name: str) -> float | None:
    """The metric if it was printed and is finite, else ``None``."""
    value = metrics.get(name)
    return value if value is not None and math.isfinite(value) else None


def log_tail(data: bytes, limit: int) -> str:
    """The end of a log as text, at most ``limit`` bytes, from a whole line on."""
    if len(data) <= limit:
        return data.decode("utf-8", errors="replace")
    part = data[-limit:]
    return part[part.find(b"\n") + 1 :].decode("utf-8", errors="replace")


EVIDENCE_CHARACTERS = 200
"""An error line longer than that says nothing more to a reader of a table."""
_FRAMES = 200
"""Lines above an error in which its traceback is looked for; recursion makes longer
ones, whose innermost frames are enough."""


class Sign(Frozen):
    """A line that says that a run failed; ``place`` is its number among the lines.

    ``kind`` is the outcome that it is a sign of, CRASH for any that has no name.
    ``wraps`` marks an exception that only passes on another one, ``chained`` one
    that was raised while another was handled; in both the other stands above.
    """

    kind: Outcome
    line: str
    place: int
    wraps: bool = False
    chained: bool = False


# ``torch.OutOfMemoryError: CUDA out of memory.``; launchers put a rank before it.
_EXCEPTION = re.compile(
    r"(?:\[[^\]]{0,40}\]:? ?)?(?:[A-Za-z_]\w*\.)*(?P<name>[A-Za-z_]\w*"
    r"(?:Error|Exception|Interrupt|SystemExit|TimeoutExpired|Failed|Overflow))"
    r"(?:: ?(?P<message>.*))?$"
)
# These only pass on what another process or an inner call died of.
_WRAPPERS = frozenset(
    (
        "BackendCompilerFailed",
        "BrokenProcessPool",
        "CalledProcessError",
        "ChildFailedError",
        "ProcessRaisedException",
        "RemoteError",
        "SystemExit",
    )
)
# What an error that came before another in one chain may be the cause of.
_CAUSES = (Outcome.OOM_DEVICE, Outcome.OOM_HOST, Outcome.DIVERGED, Outcome.IMPORT_ERROR)
_CHAINED = re.compile(
    r"(During handling of the above exception|The above exception was the direct cause)"
)
_TRACEBACK = re.compile(r"Traceback \(most recent call last\)")
_DEVICE = re.compile(
    r"(?i)(\b(CUDA|HIP|MPS|XPU|GPU|device)\b.{0,40}\bout of memory\b|\bOutOfMemoryError\b"
    r"|_ALLOC_FAILED\b|\bRESOURCE_EXHAUSTED\b|\bcudaErrorMemoryAllocation\b"
    r"|\bcudaMalloc\b.{0,40}\bfailed\b|\bAcceleratorError\b.{0,40}\bout of memory\b)"
)
_HOST = re.compile(
    r"(\bMemoryError\b|\bbad_alloc\b|[Cc]annot allocate memory|DefaultCPUAllocator"
    r"|\bUnable to allocate\b|\boom[-_]kill|\bOOM Killed\b"
    r"|\b[Oo]ut of (shared )?memory\b|[Nn]ot enough memory\b)"
)
# ``loss: nan``, ``loss is NaN``, ``returned nan values``, the fast way out of a
# training script that prints FAIL; but no name that contains the letters.
_NAN = re.compile(r"(?i)(?<![\w'\"./-])(nan|nans|non-finite|not finite)(?![\w'\"(/-])")
_NAN_LINE = re.compile(r"(?i)(loss\b.{0,40}(?<![\w'\"./-])nan(?![\w'\"(/-])|\bdiverged\b|^FAIL$)")
_NAN_ERRORS = frozenset(
    ("ValueError", "RuntimeError", "AssertionError", "FloatingPointError", "OverflowError")
)
_IMPORTS = frozenset(
    ("ImportError", "ModuleNotFoundError", "SyntaxError", "IndentationError", "TabError")
)
_KILLED = re.compile(r"(^Killed$|\bkilled by signal\b|\breceived signal (9|15)\b)")
_DIED = re.compile(
    r"(\b[Ss]egmentation fault\b|\bcore dumped\b|\b[Bb]us error\b|\bFatal Python error\b"
    r"|^terminate called\b|^Aborted$)"
)
_ASSERT = re.compile(r"\bdevice-side assert triggered\b|: Assertion .{0,200} failed")
_LIMIT_HIT = re.compile(r"(?i)\b(timed out|time limit (reached|exceeded)|DUE TO TIME LIMIT)\b")
# Weak: what a log mentions when nothing else in it says how it ended.
_WEAK = re.compile(r"(?i)\b(failed|failure|fatal|aborted|crashed)\b|^error\b")
# A frame of a traceback or a line of progress that belongs to an evaluation (and not
# to a compiler that evaluates expressions and guards while it trains).
_EVALUATION = re.compile(
    r"(?i)(, in \w{0,30}(evaluat|validat)(?!e_(expr|guard|sym))\w{0,30}$|, in eval(_model)?$"
    r"|\b(evaluate|validate)(?!_expr|_guard|_sym)\w{0,30}\()"
)
_EVALUATING = re.compile(r"(?i)^\W{0,5}((running|starting|final)\W){0,2}(evaluat|validat)")


def failure_evidence(text: str) -> str:
    """The line of a log that best says why its run failed; empty for an empty log."""
    lines = clean_lines(text)
    sign = strong_sign(lines) or weak_sign(lines)
    return sign.line if sign is not None else cut_line(lines[-1]) if lines else ""


def is_exception(line: str) -> bool:
    """Whether a line is the last one of a traceback: an exception with its message."""
    return _EXCEPTION.match(line) is not None


def strong_sign(lines: Sequence[str]) -> Sign | None:
    """The last line that by itself says that the run failed, and how.

    An exception that only passes on another one stands for it, and so does one
    raised while another was handled, if that one shows the cause.
    """
    found: Sign | None = None
    for sign in _signs_backwards(lines):
        if found is None or found.wraps or sign.kind in _CAUSES:
            found = sign
        if sign.kind is not Outcome.CRASH or not (sign.wraps or sign.chained):
            break
    return found


def _signs_backwards(lines: Sequence[str]) -> Iterator[Sign]:
    for place in range(len(lines) - 1, -1, -1):
        line = lines[place]
        match = _EXCEPTION.match(line)
        if match is not None:
            name = match["name"]
            kind = _kind_of_exception(name, line)
            yield Sign(kind, cut_line(line), place, name in _WRAPPERS, _is_chained(lines, place))
            continue
        found = _kind_of_line(line)
        if found is not None:
            yield Sign(found, cut_line(line), place)


def _is_chained(lines: Sequence[str], place: int) -> bool:
    """Whether the traceback above an exception says that another one came before it."""
    for above in range(place - 1, max(place - _FRAMES, 0) - 1, -1):
        if _TRACEBACK.search(lines[above]):
            return above > 0 and _CHAINED.search(lines[above - 1]) is not None
        if _EXCEPTION.match(lines[above]):
            return False
    return False


def _kind_of_exception(name: str, line: str) -> Outcome:
    if _DEVICE.search(line):
        return Outcome.OOM_DEVICE
    if _HOST.search(line):
        return Outcome.OOM_HOST
    if name in _IMPORTS:
        return Outcome.IMPORT_ERROR
    if name == "FloatingPointError" or (name in _NAN_ERRORS and _NAN.search(line)):
        return Outcome.DIVERGED
    if name == "AssertionError" or _ASSERT.search(line):
        return Outcome.ASSERTION
    if name == "TimeoutExpired" or (name == "TimeoutError" and _LIMIT_HIT.search(line)):
        return Outcome.TIMEOUT
    if name == "KeyboardInterrupt" or _KILLED.search(line):
        return Outcome.KILLED
    return Outcome.CRASH


def _kind_of_line(line: str) -> Outcome | None:
    for pattern, kind in (
        (_DEVICE, Outcome.OOM_DEVICE),
        (_HOST, Outcome.OOM_HOST),
        (_ASSERT, Outcome.ASSERTION),
        (_NAN_LINE, Outcome.DIVERGED),
        (_KILLED, Outcome.KILLED),
        (_DIED, Outcome.CRASH),
        (_LIMIT_HIT, Outcome.TIMEOUT),
    ):
        if pattern.search(line):
            return kind
    return None


# A driver that does not work, or not with this program or device; an illegal access or a failed
# launch is the program's own.
DRIVER = re.compile(
    r"(?i)(driver/library version mismatch|\bNVML\b.{0,60}(fail|error|unknown|mismatch|not found)"
    r"|\binitialize NVML\b|\bNVMLError_|\bNVML/RM version\b|nvidia-smi has failed|libcuda\.so"
    r"|\bNVIDIA driver\b|\bCUDA driver (version|initialization|error)\b"
    r"|\bCUDA (unknown|initialization) error\b|CUDA error: (unknown|initialization) error"
    r"|\bCUDA-capable device\b|\bNo CUDA GPUs are available\b|\bno kernel image is available\b"
    r"|\bbusy or unavailable\b|\buncorrectable ECC\b|\bfallen off the bus\b|\bGPU is lost\b"
    r"|\bCUDA_ERROR_(NO_DEVICE|NOT_INITIALIZED|UNKNOWN|SYSTEM_\w{1,40}|ECC_\w{1,20}"
    r"|COMPAT_\w{1,40}|DEVICE_UNAVAILABLE)\b|\bsystem not yet initialized\b"
    r"|\bcudaError(NoDevice|InsufficientDriver|SystemDriverMismatch|Initialization|DevicesUnavail)"
    r"|\bforward compatibility was attempted\b|\bNo HIP GPUs\b|\bhipErrorNoBinary)"
)
_DISK = re.compile(
    r"(?i)(no space left on device|disk quota exceeded|input/output error|stale file handle"
    r"|database or disk is full)"
)
_MISSING = re.compile(r"No such file or directory: (?:b?'(/[^']{1,400})'|b?\"(/[^\"]{1,400})\")")
_LIBRARY = re.compile(r"cannot open shared object file: No such file")
# ``Process 12 has 60.00 GiB memory in use``, as PyTorch lists the users of a GPU that is full.
_USER = re.compile(r"(?i)\b(process \d{1,10}|this process) has [\d.]{1,12} [KMG]iB memory in use")
_LAST_LINES = 20
"""Lines at the end of a log that may say how its run failed where no error does."""


def machine_sign(lines: Sequence[str], own: Iterable[str] = ()) -> str:
    """What of the machine the last error of a log names, in words; empty for nothing.

    A missing file counts unless its path is relative or below one of the run's ``own`` folders.
    """
    shown = False
    for sign in _signs_backwards(lines):
        shown = True
        words = _machine_words(lines[sign.place], tuple(own))
        if words or not (sign.wraps or sign.chained):
            return words
    last = () if shown else lines[-_LAST_LINES:]
    return next((words for line in last if (words := _machine_words(line, tuple(own)))), "")


def _machine_words(line: str, own: Sequence[str]) -> str:
    if _DISK.search(line):
        return "a disk that is full or does not answer"
    if DRIVER.search(line):
        return "the GPU or its driver"
    if len(_USER.findall(line)) > 1:
        return "other programs that held memory of the GPU"
    missing = _MISSING.search(line)
    path = (missing[1] or missing[2]) if missing else ""
    outside = path and not any(path.startswith(f"{folder.rstrip('/')}/") for folder in own)
    return "a missing file outside of its folder" if outside or _LIBRARY.search(line) else ""


def weak_sign(lines: Sequence[str]) -> Sign | None:
    """The last line that speaks of a failure, where none shows one."""
    for place in range(len(lines) - 1, -1, -1):
        if _WEAK.search(lines[place]):
            return Sign(Outcome.CRASH, cut_line(lines[place]), place)
    return None


def in_evaluation(lines: Sequence[str], place: int) -> bool:
    """Whether the error at ``place`` was raised by an evaluation."""
    for above in range(place - 1, max(place - _FRAMES, 0) - 1, -1):
        if _EVALUATION.search(lines[above]):
            return True
        if _TRACEBACK.search(lines[above]):
            return above > 0 and is_evaluating(lines[above - 1])
    return place > 0 and is_evaluating(lines[place - 1])


def is_evaluating(line: str) -> bool:
    """Whether a line of progress announces an evaluation."""
    return _EVALUATING.search(line) is not None


def cut_line(line: str) -> str:
    """A line of at most :data:`EVIDENCE_CHARACTERS`."""
    limit = EVIDENCE_CHARACTERS
    return line if len(line) <= limit else line[: limit - 1] + "…"
