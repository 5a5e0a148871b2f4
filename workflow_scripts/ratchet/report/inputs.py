"""Inputs of a report, and the words that all reports share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from math import fsum
from typing import TYPE_CHECKING, Any

from ratchet.base.structs import Frozen, field
from ratchet.base.templates import fill_template
from ratchet.base.text import decimals_for, format_number, format_percent, one_line_label
from ratchet.judge.settings import Settings
from ratchet.records.events import replayed_runs
from ratchet.records.history import History
from ratchet.records.records import Direction, Manifest, RunSummary
from ratchet.records.store import RunRecord
from ratchet.steering.bandit import CategoryScore
from ratchet.task.task import BY_ENVIRONMENT, Seeding

if TYPE_CHECKING:  # whoever reports a log loads no session
    from ratchet.proposers.landscape import Landscape
    from ratchet.records.series import CurvePoint, Sample

Facts = dict[str, Any]


class Integrity(Frozen):
    """Inputs that were hashed again for the report, in words, and deviations."""

    checked: tuple[str, ...] = ()
    deviations: tuple[str, ...] = ()


class Recipe(Frozen):
    """Command, data and variables of a session's runs.

    ``folder`` is the session's, as seen from where Snakemake runs; ``data`` maps
    names of data files to their places there, ``variables`` is what the harness
    sets beside seed and data, ``hook`` whether seeds are moved by the start-up hook,
    ``packages`` is the folder of those that the task allows beside its lock,
    ``seeding`` how else a run is told its seed.
    """

    folder: str
    command: Sequence[str]
    data: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    hook: bool = False
    packages: str = ""
    seeding: Seeding = BY_ENVIRONMENT


class Move(Frozen):
    """A constant that a point moves: its value before, and after, as they are written."""

    name: str
    before: str
    after: str


class SessionRecords(Frozen, dict=True):
    """Records of a session that its report is made of.

    ``judge`` holds the settings that verdicts depend on, at least ``mode`` and
    ``keep_probability``.  ``categories`` are the records and labels that steering ends
    with.  ``runs`` are those that the store still has, ``logs`` the ends of what all of
    them printed, by key; ``agent_logs`` the same of agents, by digest.  ``events`` is the
    journal, ``integrity`` what was hashed again, ``program`` the next brief,
    ``recipe`` how a run is started by hand; ``device`` is ``cpu`` or ``gpu``, ``settings``
    are those that the judge began with.  ``landscape`` is what the measured settings of
    constants say; ``moves`` has the constants of each point of an optimiser, by the number of
    its experiment.  ``code`` is the code of the experiments, see :mod:`ratchet.report.code_table`.
    ``curves`` and ``samples`` are those of runs that have them, by key.
    """

    manifest: Manifest
    metric: str
    unit: str | None
    direction: Direction
    judge: Mapping[str, Any]
    history: History
    categories: tuple[CategoryScore, ...] = ()
    runs: Mapping[str, RunRecord] = field(default_factory=dict)
    logs: Mapping[str, str] = field(default_factory=dict)
    agent_logs: Mapping[str, str] = field(default_factory=dict)
    device: str = "cpu"
    events: tuple[Mapping[str, Any], ...] = ()
    integrity: Integrity | None = None
    program: str | None = None
    recipe: Recipe | None = None
    settings: Settings | None = None
    landscape: Landscape | None = None
    moves: Mapping[int, Sequence[Move]] = field(default_factory=dict)
    code: Facts | None = None
    curves: Mapping[str, Sequence[CurvePoint]] = field(default_factory=dict)
    samples: Mapping[str, Sequence[Sample]] = field(default_factory=dict)

    @cached_property
    def replayed(self) -> Mapping[str, str]:
        """Times at which runs were made that the session took from the store, by key."""
        return replayed_runs(self.events)


def total_of_runs(
    records: SessionRecords,
    runs: Iterable[RunSummary],
    seconds: Callable[[RunRecord], float | None],
) -> float | None:
    """Sum over distinct runs; ``None`` as soon as one run did not measure it."""
    found = [records.runs.get(key) for key in sorted({r.key for r in runs})]
    known = [s for record in found if record and (s := seconds(record)) is not None]
    return fsum(known) if known and len(known) == len(found) else None


def metric_text(facts: Facts, value: float | None, *, signed: bool = False) -> str:
    """A value of the metric with the decimals of this report."""
    return format_number(value, facts["metric"]["decimals"], signed=signed)


def method_entries(template: str, **values: Any) -> list[dict[str, str]]:
    """Method of a report: ``term`` and ``text`` of each entry of a template."""
    text = fill_template(__file__, template, percent=format_percent, number=format_number, **values)
    _, *parts = re.split(r"\n\n## (.+)\n", f"\n{text}")
    return [
        {"term": term, "text": " ".join(words.split())}
        for term, words in zip(parts[::2], parts[1::2], strict=True)
    ]


def metric_facts(
    name: str, unit: str | None, direction: Direction, noise_sd: float | None, mean: float | None
) -> Facts:
    """The metric, and with how many decimals it is shown beside this noise."""
    return {
        "name": one_line_label(name, 80),
        "unit": one_line_label(unit, 40) if unit else None,
        "direction": direction.value,
        "better": direction.better,
        "decimals": decimals_for(noise_sd, mean),
    }
