"""Endings of runs: class, record, and whether the evaluation is believable."""

import math
import signal as signals
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ratchet.base.structs import Frozen, field, from_json_values, replace
from ratchet.base.text import clean_lines
from ratchet.records.records import Evaluation, Outcome, PrefixScores
from ratchet.records.series import CURVE, CurvePoint, series_table, thinned
from ratchet.records.store import LOG, LOG_ASKED, RunRecord
from ratchet.runs.curve import KEPT_POINTS, Clock, divergence, printed_curve
from ratchet.runs.hardware import gpu_contention, ram_bytes
from ratchet.runs.log import (
    Sign,
    cut_line,
    in_evaluation,
    is_evaluating,
    known_numbers,
    machine_sign,
    parse_summary,
    possible_numbers,
    strong_sign,
    weak_sign,
)
from ratchet.runs.sandbox.cgroups import MEMORY_LIMIT
from ratchet.runs.sandbox.sandbox import SandboxKind
from ratchet.runs.spec import RunSpec
from ratchet.task.task import search_patterns

NEAR_LIMIT = 0.95
"""A killed run that used this share of its memory limit died of the limit: the peak
is sampled a few times a second, so the last growth is not seen."""
ASKED = "after it was asked about data: what it printed from then on is kept apart"
# Printed metrics are rounded; with few digits the rounding itself is allowed for.
AGREEMENT = 1e-4


def run_record(
    spec: RunSpec, folder: Path, answer: Mapping[str, Any], isolation: SandboxKind, holds: str = ""
) -> RunRecord:
    """The record of a run from its log in ``folder`` and what the supervisor answered.

    Its curve, if it printed one, is left beside the log.
    """
    text, after = (_printed_text(folder / name) for name in (LOG, LOG_ASKED))
    metrics, impossible = possible_numbers(_printed(spec, text, after), spec.counted)
    evaluation, tampered = _evaluated(spec, answer, metrics)
    code = answer["code"]
    limit = _memory_limit_mb(spec, answer)
    found = classify_outcome(
        RunEnding(
            metric=spec.metric,
            metrics=metrics,
            log=text,
            log_asked=after,
            code=code,
            timed_out_seconds=spec.timeout_seconds if answer["timed_out"] else None,
            tampered=tampered,
            contended=gpu_contention(answer.get("telemetry")),
            # Where the limit ended the run, nothing came closer to it.
            peak_memory_mb=limit if answer.get("out_of_memory") else answer.get("peak_rss_mb"),
            memory_limit_mb=limit,
            # The kernel counts those that died of the run's own limit too.
            outside="" if answer.get("out_of_memory") else answer.get("outside", ""),
            own=(*answer.get("folders", ()), *TEMPORARY),
        )
    )
    diverged = ""
    if spec.guard:
        found = _guard_evidence(found, code, clean_lines(text))
    else:
        found, diverged = _with_curve(found, _kept_curve(spec, folder, answer))
    if evaluation is not None and spec.metric in metrics:
        # What was printed agrees, but for the digits.
        metrics[spec.metric] = math.nan if evaluation.value is None else evaluation.value
    if after:
        with (folder / LOG).open("a", encoding="utf-8") as log:
            log.write(
                "---\n" + "".join(f"{name}: {value:.7g}\n" for name, value in metrics.items())
            )
    return RunRecord(
        outcome=found.outcome,
        reason=found.sentence,
        exit_code=code if code >= 0 else None,
        signal=-code if code < 0 else None,
        wall_seconds=answer.get("wall_seconds", 0.0),
        cpu_seconds=answer.get("cpu_seconds", 0.0),
        peak_rss_mb=answer.get("peak_rss_mb"),
        metrics={k: v if math.isfinite(v) else None for k, v in metrics.items()},
        evaluation=evaluation,
        telemetry=answer.get("telemetry"),
        isolation=isolation.value,
        holds=holds,
        peak_group_mb=answer.get("peak_group_mb"),
        unenforced=tuple(answer.get("unenforced", sorted(spec.limits))),
        impossible=impossible,
        machine=found.machine,
        diverged=diverged,
    )


def _kept_curve(spec: RunSpec, folder: Path, answer: Mapping[str, Any]) -> list[CurvePoint]:
    """The curve that a run printed before it was asked about data, as it is kept."""
    log = folder / LOG
    data = log.read_bytes() if log.exists() else b""
    curve = thinned(printed_curve(data, Clock.of(answer), spec.curve), KEPT_POINTS)
    # One that is there was written by the run.
    (folder / CURVE).unlink(missing_ok=True)
    if curve:
        (folder / CURVE).write_text(series_table(curve), encoding="utf-8")
    return curve


def _printed_text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def _printed(spec: RunSpec, text: str, after: str) -> dict[str, float]:
    """The numbers that a run printed; what has a pattern is found by that alone.

    What it printed ``after`` it was asked about data may tell of them, so few numbers of
    few digits are taken from it.
    """
    named = {k: v for k, v in parse_summary(text + after).items() if k not in spec.patterns}
    found = {**named, **search_patterns(text + after, spec.patterns)}
    return known_numbers(found, (spec.metric, *spec.names, *spec.patterns)) if after else found


def _evaluated(
    spec: RunSpec, answer: Mapping[str, Any], metrics: Mapping[str, float]
) -> tuple[Evaluation | None, str | None]:
    """The evaluation of a run, and the reason if its measurement was bent."""
    if answer.get("meddled"):
        return None, "changed the limits of the process that measures it"
    if answer["changed"] is not None:
        return None, f"changed the fixed file {answer['changed']} while it ran"
    if not spec.evaluator or answer["timed_out"] or answer["code"] != 0:
        # A run that failed is compared with nothing.
        return None, None
    return verify_evaluation(spec, answer["evaluation"], metrics)


def _memory_limit_mb(spec: RunSpec, answer: Mapping[str, Any]) -> float | None:
    """The run's own limit where it was enforced, else that of container or machine."""
    size = ram_bytes()
    limits = [] if size is None else [size / 2**20]
    if MEMORY_LIMIT not in answer.get("unenforced", [MEMORY_LIMIT]):
        limits += [spec.limits[MEMORY_LIMIT]] if MEMORY_LIMIT in spec.limits else []
    return min(limits, default=None)


def verify_evaluation(
    spec: RunSpec, answer: Mapping[str, Any] | None, metrics: Mapping[str, float]
) -> tuple[Evaluation | None, str | None]:
    """Compare what a run that ended by itself printed with what was measured.

    ``answer`` is the supervisor's about the evaluator.  Returns the evaluation, if
    there was a whole one, and what is wrong with the run.  A run that printed no
    metric is not judged here.
    """
    answer = answer or {}
    result, asked = answer.get("result"), answer.get("asked")
    printed = metrics.get(spec.metric)
    if result is None or asked is None:
        return None, None if printed is None else _without_evaluation(spec.metric, answer)
    found = _evaluation(result, asked, answer["answered"])
    if printed is None:
        return found, None
    return found, _disagreement(spec.metric, printed, found.value) or result.get("tampered")


def _without_evaluation(metric: str, answer: Mapping[str, Any]) -> str:
    if answer.get("asked") is None:
        return f"printed {metric} without an evaluation"
    why = answer.get("failed") or f"the evaluator ended (status {answer.get('exit_code')})"
    return f"printed {metric}, but its evaluation failed: {why}"


def _evaluation(
    result: Mapping[str, Any], asked: Mapping[str, float], answered: Mapping[str, float]
) -> Evaluation:
    trained = asked["cpu_seconds"]
    audit = result.get("audit") or {}
    return Evaluation(
        value=result["value"],
        tokens=result["tokens"],
        batches=result["batches"],
        seconds=result["seconds"],
        reply_seconds=result["reply_seconds"],
        trained_cpu_seconds=trained,
        trained_wall_seconds=asked["wall_seconds"],
        evaluating_cpu_seconds=round(max(0.0, answered["cpu_seconds"] - trained), 3),
        audit=audit.get("value"),
        audit_tokens=audit.get("tokens", 0),
        audit_parts=tuple(audit.get("parts") or ()),
        checks=result.get("checks", {}),
        prefixes=_prefix_scores(result),
        audit_prefixes=_prefix_scores(audit),
    )


def _prefix_scores(said: Mapping[str, Any]) -> PrefixScores | None:
    scores = said.get("prefixes")
    return None if scores is None else from_json_values(PrefixScores, scores, "prefixes")


def _disagreement(metric: str, printed: float, measured: float | None) -> str | None:
    if measured is None:
        agree = math.isnan(printed) or math.isinf(printed)
    else:
        agree = math.isfinite(printed) and abs(printed - measured) <= AGREEMENT * max(
            abs(measured), abs(printed)
        )
    if agree:
        return None
    words = "no finite number" if measured is None else f"{measured:.6g}"
    return f"printed {metric} {printed:.6g}, the evaluator measured {words}"


class RunEnding(Frozen):
    """Facts of one ended run.

    ``metrics`` are the printed numbers, NaN and infinities included.  What is in the log
    from the first question on, ``log_asked``, tells how a run failed and is never quoted.
    ``code`` is the
    exit status, or minus the signal that ended the run.  ``timed_out_seconds`` is the
    wall-clock limit that the harness enforced, ``tampered`` says how the run bent its
    measurement, and ``contended`` what else used the device.  Memory is that of the
    process tree and of the host, in MiB.  ``outside`` says what else than the run may have sent
    the signal that ended it, and ``own`` are folders in which a missing file is its own mistake.
    """

    metric: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    log: str = ""
    code: int = 0
    timed_out_seconds: float | None = None
    tampered: str | None = None
    contended: str | None = None
    peak_memory_mb: float | None = None
    memory_limit_mb: float | None = None
    log_asked: str = ""
    outside: str = ""
    own: Sequence[str] = ()


class OutcomeEvidence(Frozen):
    """The class, one sentence, and the log's own line for it (may be empty).

    ``machine`` says what of the machine may be to blame, if anything may.
    """

    outcome: Outcome
    reason: str
    evidence: str = ""
    machine: str = ""

    @property
    def sentence(self) -> str:
        """Reason and evidence together."""
        return f"{self.reason}: {self.evidence}" if self.evidence else self.reason


# Exit statuses of shells and of the program `timeout`.
_SHELL_SIGNAL = 128
_TIMEOUT_STATUS = 124


def classify_outcome(ending: RunEnding) -> OutcomeEvidence:
    """The class of a run, with a reason in one sentence and its evidence."""
    found = _classified(ending)
    return replace(found, machine=machine_fault(found.outcome, ending))


def machine_fault(outcome: Outcome, ending: RunEnding) -> str:
    """What of the machine may have ended a run so, in words; empty where its code did.

    The same run may then end otherwise at another time: the store's does not stand for it.
    """
    if outcome in (Outcome.TIMEOUT, Outcome.CONTENDED, Outcome.KILLED):
        return ending.outside or MACHINE[outcome]
    if outcome in (Outcome.OK, Outcome.TAMPERED, Outcome.DIVERGED, Outcome.NO_METRIC):
        return ""
    if outcome is Outcome.CRASH and _signal_of(ending) in FROM_OUTSIDE:
        return ending.outside or MACHINE[Outcome.KILLED]
    return machine_sign(clean_lines(ending.log + ending.log_asked), ending.own)


MACHINE = {
    Outcome.TIMEOUT: "a time limit, which a slow machine reaches too",
    Outcome.CONTENDED: "other programs on its device",
    Outcome.KILLED: "a signal, which somebody else may have sent",
}
FROM_OUTSIDE = (signals.SIGTERM, signals.SIGINT, signals.SIGHUP)
"""Signals that programs seldom send themselves, and whoever stops them does."""

TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm")
"""Folders beside its own that a run writes files into and may miss them in."""


def _classified(ending: RunEnding) -> OutcomeEvidence:
    found = _uncontended(ending)
    harmed = (Outcome.OK, Outcome.TIMEOUT, Outcome.KILLED, *_OUT_OF_MEMORY)
    if ending.contended is not None and found.outcome in harmed:
        return OutcomeEvidence(
            Outcome.CONTENDED, f"shared its device: {cut_line(ending.contended)}"
        )
    return found


def _with_curve(found: OutcomeEvidence, curve: Sequence[CurvePoint]) -> tuple[OutcomeEvidence, str]:
    """How a run ended by its log and by its curve, and where it diverged, if it did.

    One that failed once its loss was no number any more failed of that.
    """
    lost = bool(curve) and not math.isfinite(curve[-1].loss)
    if lost and found.outcome in _FOLLOWING:
        reason = f"diverged, then {found.reason}"
        found = replace(found, outcome=Outcome.DIVERGED, reason=reason, machine="")
    where = divergence(curve) if found.outcome is Outcome.DIVERGED else ""
    return (replace(found, reason=f"{found.reason} ({where})"), where) if where else (found, "")


_FOLLOWING = (Outcome.CRASH, Outcome.ASSERTION, Outcome.NO_METRIC)
"""Endings that a loss which is no number leads to: of a check, a decomposition, an index."""


def _guard_evidence(found: OutcomeEvidence, code: int, lines: Sequence[str]) -> OutcomeEvidence:
    """What the ending of a guard says of the candidate; it prints no metric.

    Pytest names what failed before its last line, which tells how long it took.
    """
    if found.outcome in (Outcome.TAMPERED, Outcome.CONTENDED):
        return found
    if code == 0 and found.outcome is not Outcome.TIMEOUT:
        return OutcomeEvidence(Outcome.OK, "")
    named = next((line for line in lines if line.startswith(("FAILED ", "ERROR "))), "")
    evidence = cut_line(named) if named else found.evidence
    return replace(found, outcome=Outcome.GUARD_FAILED, evidence=evidence)


def _uncontended(ending: RunEnding) -> OutcomeEvidence:
    if ending.tampered is not None:
        return OutcomeEvidence(Outcome.TAMPERED, ending.tampered)
    if ending.timed_out_seconds is not None:
        limit = f"{ending.timed_out_seconds:g}"
        return OutcomeEvidence(Outcome.TIMEOUT, f"stopped after {limit} s of wall-clock time")
    found = _by_log(ending, clean_lines(ending.log + ending.log_asked))
    if not ending.log_asked or found.outcome is Outcome.OK:
        return found
    return replace(found, reason=f"{found.reason}, {ASKED}", evidence="")


def _by_log(ending: RunEnding, lines: Sequence[str]) -> OutcomeEvidence:
    number = _signal_of(ending)
    if number is not None:
        return _ended_by_signal(ending, number, lines)
    if ending.code == _TIMEOUT_STATUS:
        return OutcomeEvidence(
            Outcome.TIMEOUT, "stopped by a time limit of its own command (status 124)"
        )
    if ending.code:
        return _failed(ending.code, lines)
    return _returned(ending, lines)


def _signal_of(ending: RunEnding) -> int | None:
    """The signal that ended a run, also if a shell reports it as its status."""
    if ending.code < 0:
        return -ending.code
    of_shell = _SHELL_SIGNAL < ending.code < _SHELL_SIGNAL + signals.NSIG
    return ending.code - _SHELL_SIGNAL if of_shell else None


def _ended_by_signal(ending: RunEnding, number: int, lines: Sequence[str]) -> OutcomeEvidence:
    sign = strong_sign(lines)
    peak, limit = ending.peak_memory_mb, ending.memory_limit_mb
    if sign is not None and sign.kind in (Outcome.OOM_DEVICE, Outcome.OOM_HOST):
        return _of_sign(sign, lines)
    if number == signals.SIGKILL:
        if peak is not None and limit is not None and peak >= NEAR_LIMIT * limit:
            late = bool(lines) and is_evaluating(lines[-1])
            outcome = Outcome.OOM_EVALUATION if late else Outcome.OOM_HOST
            return OutcomeEvidence(
                outcome, f"killed when it reached the memory limit of {limit:g} MiB"
            )
        return OutcomeEvidence(
            Outcome.KILLED, "killed by signal 9: by itself, or for want of memory"
        )
    name = signals.Signals(number).name if number in list(signals.Signals) else "unknown"
    reason = f"died of signal {number} ({name})"
    return OutcomeEvidence(Outcome.CRASH, reason, sign.line if sign else "")


def _failed(code: int, lines: Sequence[str]) -> OutcomeEvidence:
    """A run with an exit status above 0."""
    sign = strong_sign(lines)
    if sign is not None and sign.kind is not Outcome.CRASH:
        return _of_sign(sign, lines)
    sign = sign or weak_sign(lines)
    line = sign.line if sign else cut_line(lines[-1]) if lines else ""
    return OutcomeEvidence(Outcome.CRASH, f"exit status {code}", line)


def _returned(ending: RunEnding, lines: Sequence[str]) -> OutcomeEvidence:
    """A run with exit status 0."""
    name = ending.metric
    value = ending.metrics.get(name)
    if value is not None and math.isfinite(value):
        return OutcomeEvidence(Outcome.OK, "")
    if value is not None:
        return OutcomeEvidence(Outcome.DIVERGED, f"printed {cut_line(name)}: {value}")
    # A run that ended well is not searched: its log may be long.
    sign = strong_sign(lines)
    if sign is not None and sign.kind in _TELLING:
        return _of_sign(sign, lines)
    return OutcomeEvidence(
        Outcome.NO_METRIC, f"ended without printing {cut_line(name)}", sign.line if sign else ""
    )


# What explains a missing metric even where the run says that it ended well.
_TELLING = (Outcome.OOM_DEVICE, Outcome.OOM_HOST, Outcome.DIVERGED)
_OUT_OF_MEMORY = (Outcome.OOM_DEVICE, Outcome.OOM_HOST, Outcome.OOM_EVALUATION)
_SAID = {
    Outcome.OOM_DEVICE: "ran out of memory of the device",
    Outcome.OOM_HOST: "ran out of memory of the host",
    Outcome.DIVERGED: "diverged and stopped itself",
    Outcome.IMPORT_ERROR: "its code cannot be loaded",
    Outcome.ASSERTION: "a check of its own failed",
    Outcome.TIMEOUT: "stopped by a time limit of its own",
    Outcome.KILLED: "a part of it was killed",
    Outcome.CRASH: "ended with an error",
}


_NO_MODULE = "ModuleNotFoundError"
FIXED_PACKAGES = "packages are fixed; allow_packages in task.yaml allows others"


def _of_sign(sign: Sign, lines: Sequence[str]) -> OutcomeEvidence:
    reason = _SAID[sign.kind]
    if sign.kind is Outcome.IMPORT_ERROR and _NO_MODULE in sign.line:
        reason = f"{reason} ({FIXED_PACKAGES})"
    if sign.kind in (Outcome.OOM_DEVICE, Outcome.OOM_HOST) and in_evaluation(lines, sign.place):
        return OutcomeEvidence(
            Outcome.OOM_EVALUATION, f"{reason} in its evaluation, not in training", sign.line
        )
    return OutcomeEvidence(sign.kind, reason, sign.line)
