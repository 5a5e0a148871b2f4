"""What a training run printed, in whatever way: metric and memory of a run log."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ratchet import runlog, symptoms
from ratchet.codec import Frozen
from ratchet.dialects.decoding import decode_text
from ratchet.dialects.words import number_of
from ratchet.errors import DataError
from ratchet.results_tsv import one_line

_FAILED = re.compile(r"Traceback \(most recent|[Oo]ut of memory|OutOfMemory|Killed|Segmentation")
_MEMORY_NAMES = {"peak_vram_mb": 1024, "memory_mb": 1024, "peak_memory_mb": 1024} | {
    "memory_gb": 1,
    "peak_vram_gb": 1,
    "peak_memory_gb": 1,
}


class RunLog(Frozen):
    """A run as its log tells it; ``value`` is ``None`` where it has no metric.

    ``evidence`` is the line that says why.  ``metrics`` are all numbers of the
    summary.
    """

    value: float | None
    memory_gb: float | None
    metrics: Mapping[str, float]
    evidence: str
    assumptions: tuple[str, ...]


def read_run(data: bytes, name: str, metric: str) -> RunLog:
    """Read a run log for one metric.

    A log that ends in an error, or without the metric, is a crash and no
    failure.  Raises :class:`DataError` for a binary file, and for a finished
    run that reports other metrics than this one.
    """
    if not data.strip():
        return RunLog(None, None, {}, "the run log is empty", ())
    text, assumptions = decode_text(data, name)
    metrics = runlog.parse_summary(text)
    value = runlog.finite(metrics, metric)
    if value is None and metric not in metrics:
        found = _last_mention(text, metric)
        if found is not None:
            value, line = found
            assumptions.append(f"{metric} is read from line {line}, as no summary line has it")
    if value is None and metric not in metrics and metrics and not _FAILED.search(text):
        names = ", ".join(list(metrics)[:8])
        if re.search(r"^---\s*$", text, re.MULTILINE):
            raise DataError(
                f"{name}: line {text.count(chr(10)) + 1}, column 1: expected a line "
                f"'{one_line(metric)}: number', found {names}; name the metric with --metric"
            )
    why = ""
    if value is None:
        why = symptoms.evidence(text) if metric not in metrics else f"{metric} is no number"
    return RunLog(value, _memory(metrics), metrics, why, tuple(assumptions))


def _last_mention(text: str, metric: str) -> tuple[float, int] | None:
    """The last ``metric: number`` within a line, unless the run failed after it."""
    pattern = re.compile(rf"(?<![\w-]){re.escape(metric)}\s*[:=]\s*([^\s,;|]+)")
    last = None
    for last in pattern.finditer(text):  # noqa: B007  the last one counts
        pass
    if last is None or _FAILED.search(text, last.end()):
        return None
    try:
        value = number_of(last.group(1).rstrip("."))
    except ValueError:
        return None
    return None if value is None else (value, text.count("\n", 0, last.start()) + 1)


def _memory(metrics: Mapping[str, float]) -> float | None:
    for name, divisor in _MEMORY_NAMES.items():
        value = runlog.finite(metrics, name)
        if value is not None and value > 0:
            return value / divisor
    return None
