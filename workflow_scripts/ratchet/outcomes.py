"""How a run ended: one class out of a few, the line that shows it, and a sentence.

What the harness saw itself (a changed file, its own time limit, the exit status,
a signal) counts before anything that the run printed: a log is written by the
candidate.  The log then says which kind of failure it was, and never turns a
failure into a success.  Nothing here reads a file, so that a log found somewhere,
without an exit status, can be classified by the same rules.
"""

from __future__ import annotations

import math
import signal as signals
from collections.abc import Mapping, Sequence

from ratchet import symptoms
from ratchet.codec import Frozen, field
from ratchet.runlog import clean_lines
from ratchet.symptoms import Kind, Sign, cut, strong_sign, weak_sign
from ratchet.vocabulary import Outcome

NEAR_LIMIT = 0.95
"""A killed run that used this share of its memory limit died of the limit: the peak
is sampled a few times a second, so the last growth is not seen."""


class Ending(Frozen):
    """What is known of one ended run; ``None`` where nobody knows.

    ``metrics`` are the printed numbers, NaN and infinities included.  Either
    ``exit_code`` (0 and above) or ``signal`` is set for a run that the harness
    watched; a log by itself has neither.  ``timed_out_seconds`` is the wall-clock
    limit that the harness enforced, ``tampered`` the fixed file that changed, and
    ``contended`` what else used the device.  Memory is that of the process tree
    and of the host, in MiB.
    """

    metric: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    log: str = ""
    exit_code: int | None = None
    signal: int | None = None
    timed_out_seconds: float | None = None
    tampered: str | None = None
    contended: str | None = None
    peak_memory_mb: float | None = None
    memory_limit_mb: float | None = None


class Finding(Frozen):
    """The class, one sentence, and the log's own line for it (may be empty)."""

    outcome: Outcome
    reason: str
    evidence: str = ""

    @property
    def sentence(self) -> str:
        """Reason and evidence together."""
        return f"{self.reason}: {self.evidence}" if self.evidence else self.reason


# Exit statuses of shells and of the program `timeout`.
_SHELL_SIGNAL = 128
_TIMEOUT_STATUS = 124


def classify(ending: Ending) -> Finding:
    """The class of a run, with a reason in one sentence and its evidence."""
    found = _uncontended(ending)
    harmed = (Outcome.OK, Outcome.TIMEOUT, Outcome.KILLED, *_OUT_OF_MEMORY)
    if ending.contended is not None and found.outcome in harmed:
        return Finding(Outcome.CONTENDED, f"shared its device: {cut(ending.contended)}")
    return found


def _uncontended(ending: Ending) -> Finding:
    if ending.tampered is not None:
        name = cut(ending.tampered)
        return Finding(Outcome.TAMPERED, f"changed the fixed file {name} while it ran")
    if ending.timed_out_seconds is not None:
        limit = f"{ending.timed_out_seconds:g}"
        return Finding(Outcome.TIMEOUT, f"stopped after {limit} s of wall-clock time")
    lines = clean_lines(ending.log)
    number = _signal_of(ending)
    if number is not None:
        return _ended_by_signal(ending, number, lines)
    if ending.exit_code == _TIMEOUT_STATUS:
        return Finding(Outcome.TIMEOUT, "stopped by a time limit of its own command (status 124)")
    if ending.exit_code:
        return _failed(ending.exit_code, lines)
    return _returned(ending, lines)


def _signal_of(ending: Ending) -> int | None:
    """The signal that ended a run, also if a shell reports it as its status."""
    if ending.signal is not None:
        return ending.signal
    code = ending.exit_code
    if code is None or not _SHELL_SIGNAL < code < _SHELL_SIGNAL + signals.NSIG:
        return None
    return code - _SHELL_SIGNAL


def _ended_by_signal(ending: Ending, number: int, lines: Sequence[str]) -> Finding:
    sign = strong_sign(lines)
    peak, limit = ending.peak_memory_mb, ending.memory_limit_mb
    if sign is not None and sign.kind in (Kind.DEVICE, Kind.HOST):
        return _of_sign(sign, lines)
    if number == signals.SIGKILL:
        if peak is not None and limit is not None and peak >= NEAR_LIMIT * limit:
            late = bool(lines) and symptoms.is_evaluating(lines[-1])
            outcome = Outcome.OOM_EVALUATION if late else Outcome.OOM_HOST
            return Finding(outcome, f"killed when it reached the memory limit of {limit:g} MB")
        return Finding(Outcome.KILLED, "killed by signal 9, twice: usually it took too much memory")
    reason = f"died of signal {number} ({_signal_name(number)})"
    return Finding(Outcome.CRASH, reason, sign.line if sign else "")


def _signal_name(number: int) -> str:
    try:
        return signals.Signals(number).name
    except ValueError:
        return "unknown"


def _failed(code: int, lines: Sequence[str]) -> Finding:
    """A run with an exit status above 0."""
    sign = strong_sign(lines)
    if sign is not None and sign.kind is not Kind.ERROR:
        return _of_sign(sign, lines)
    sign = sign or weak_sign(lines)
    line = sign.line if sign else cut(lines[-1]) if lines else ""
    return Finding(Outcome.CRASH, f"exit status {code}", line)


def _returned(ending: Ending, lines: Sequence[str]) -> Finding:
    """A run with exit status 0, or a log whose status nobody knows."""
    name, unknown = ending.metric, ending.exit_code is None
    value = ending.metrics.get(name)
    # A run that ended well is not searched: its log may be long.
    sign = strong_sign(lines) if value is None or unknown else None
    if value is not None:
        if sign is not None and sign.place > symptoms.last_mention(lines, name):
            return _of_sign(sign, lines)
        if math.isfinite(value):
            return Finding(Outcome.OK, "")
        return Finding(Outcome.NAN, f"printed {cut(name)}: {value}")
    if sign is not None and (unknown or sign.kind in _TELLING):
        return _of_sign(sign, lines)
    if unknown:
        limit = symptoms.limit_named(lines)
        if limit is not None:
            return Finding(
                Outcome.TIMEOUT, "its log stops without a result in a step with a time limit", limit
            )
    return Finding(
        Outcome.NO_METRIC, f"ended without printing {cut(name)}", sign.line if sign else ""
    )


# What explains a missing metric even where the run says that it ended well.
_TELLING = (Kind.DEVICE, Kind.HOST, Kind.NAN)
_OUT_OF_MEMORY = (Outcome.OOM_DEVICE, Outcome.OOM_HOST, Outcome.OOM_EVALUATION)
_SAID = {
    Kind.DEVICE: (Outcome.OOM_DEVICE, "ran out of memory of the device"),
    Kind.HOST: (Outcome.OOM_HOST, "ran out of memory of the host"),
    Kind.NAN: (Outcome.NAN, "diverged and stopped itself"),
    Kind.IMPORT: (Outcome.IMPORT_ERROR, "its code cannot be loaded"),
    Kind.ASSERTION: (Outcome.ASSERTION, "a check of its own failed"),
    Kind.TIMEOUT: (Outcome.TIMEOUT, "stopped by a time limit of its own"),
    Kind.KILLED: (Outcome.KILLED, "a part of it was killed"),
    Kind.ERROR: (Outcome.CRASH, "ended with an error"),
}


def _of_sign(sign: Sign, lines: Sequence[str]) -> Finding:
    outcome, reason = _SAID[sign.kind]
    if outcome in (Outcome.OOM_DEVICE, Outcome.OOM_HOST) and symptoms.in_evaluation(
        lines, sign.place
    ):
        return Finding(
            Outcome.OOM_EVALUATION, f"{reason} in its evaluation, not in training", sign.line
        )
    return Finding(outcome, reason, sign.line)
