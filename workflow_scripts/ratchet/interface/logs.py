"""Logs that Ratchet did not write, audited, for Python."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from ratchet.base.errors import UsageError
from ratchet.base.structs import Frozen
from ratchet.base.text import one_line
from ratchet.cli.audit import audited
from ratchet.interface.frames import Numbered
from ratchet.logs.experiments import LogExperiments
from ratchet.records.records import Direction
from ratchet.report.inputs import Facts


class LogRow(Frozen):
    """A row of somebody's log.

    ``value`` is in the metric's own unit and direction, ``None`` where the row has none;
    ``status`` is the author's decision in Ratchet's words, ``status_text`` in the author's.
    """

    number: int
    line: int
    commit: str
    value: float | None
    memory_gb: float | None
    status: str
    status_text: str
    kept: bool
    description: str
    agent: str | None


class AuditedChange(Frozen):
    """A change that a log's author kept, judged by the whole log.

    ``step`` is the gain that the log shows and ``gain`` the expected true one, between ``low``
    and ``high`` with a probability of .9; positive is better.  ``p_better`` is the
    probability of being better by the rows up to it, ``p_given_log`` by all rows.  ``seeds``
    more runs of it and of what it changed would decide, 0 if it is decided, ``None`` if 20
    are too few; ``p_decided`` is how sure that is.
    """

    number: int
    line: int
    commit: str
    value: float | None
    description: str
    step: float
    p_better: float
    p_given_log: float
    gain: float
    low: float
    high: float
    seeds: int | None
    p_decided: float


class LogAudit(Frozen):
    """A log that Ratchet did not write, and which of its kept changes are real.

    ``noise_sd`` is the standard deviation of one run, and ``noise_source`` what it is from.
    Of the kept changes ``expected_true`` are better, between ``least_true`` and ``most_true``
    with a probability of .9; ``all_hold`` is that of all being better.  ``total`` is the
    expected sum of their gains, ``printed`` what the log shows.  ``assumptions`` and
    ``problems`` tell what of the log was guessed, and not understood.
    """

    path: str
    metric: str
    direction: str
    noise_sd: float
    noise_low: float
    noise_high: float
    noise_source: str
    expected_true: float
    least_true: int
    most_true: int
    all_hold: float
    total: float
    total_low: float
    total_high: float
    printed: float
    rows: Numbered[LogRow]
    changes: Numbered[AuditedChange]
    assumptions: tuple[str, ...]
    problems: tuple[str, ...]

    def __repr__(self) -> str:
        expected = f"{self.expected_true:.1f} of {len(self.changes)} kept changes are better"
        return f"LogAudit({self.path!r}: {len(self.rows)} rows, {expected})"


def audit_log(
    path: str | os.PathLike[str],
    *,
    metric: str | None = None,
    direction: str | None = None,
    status: Sequence[str] | None = None,
    label: str | None = None,
    agent: str | None = None,
    noise_sd: float | None = None,
) -> LogAudit:
    """Anybody's ``results.tsv`` or other log, each kept change judged by the whole of it.

    The arguments are the options of ``ratchet audit``; what none says is recognised.  Raises
    :class:`ratchet.base.errors.DataError` for a log that cannot be read so.
    """
    ways = [each.value for each in Direction]
    if direction not in (None, *ways):
        raise UsageError(f"direction: expected {' or '.join(ways)}, found {direction!r}")
    if noise_sd is not None and not noise_sd > 0:
        raise UsageError(f"noise_sd: expected a number above 0, found {noise_sd}")
    options = argparse.Namespace(
        **{"results": Path(path), "metric": metric, "direction": direction, "label": label},
        **{"status": status, "agent": agent, "noise_sd": noise_sd},
        **{"replicates": None, "repo": None},
    )
    every, facts, notes = audited(options)
    known = ("expected_true", "least_true", "most_true", "all_hold", "printed")
    return LogAudit(
        path=facts["log"],
        metric=one_line(facts["metric"]),
        direction=facts["direction"],
        **{f"noise_{name}": facts["noise"][name] for name in ("sd", "low", "high", "source")},
        **{name: facts[name] for name in (*known, "total", "total_low", "total_high")},
        rows=Numbered(LogRow, _log_rows(every)),
        changes=Numbered(AuditedChange, map(_audited_change, facts["changes"])),
        assumptions=tuple(notes),
        problems=tuple(facts["problems"]),
    )


def _log_rows(every: LogExperiments) -> Iterator[LogRow]:
    for number, row, kept in zip(every.numbers, every.rows, every.kept, strict=True):
        own = ("line", "commit", "value", "memory_gb", "status_text", "description", "agent")
        values = {name: getattr(row, name) for name in own}
        yield LogRow(number=number, status=row.status.value, kept=kept, **values)


def _audited_change(facts: Facts) -> AuditedChange:
    names = {"number": "index", "p_better": "confidence", "p_given_log": "given_log"}
    names["p_decided"] = "chance"
    return AuditedChange(**{n: facts[names.get(n, n)] for n in AuditedChange.__struct_fields__})
