"""Training that is looked up: a table of real runs, with their noise, curves and durations.

Where training is not the subject of a test, or a benchmark plays hundreds of
sessions, :class:`Recorded` takes the place of :func:`ratchet.runs.run.execute_run`.  A
candidate is known by its declared edits.  Its metric is the mean of the runs that
were recorded with exactly these edits, plus the deviation of one of all recorded
runs from its own mean, drawn by the seed.  Edits that were not recorded together
are taken to add up.  Nothing sleeps: a run's duration passes on a :class:`Clock`.

An edit in ``memorized`` lowers the metric by so much on the data of the search alone.  The
audit data have parts, over which a gain varies about as it was measured to.

With a budget in seconds the machine can be busy: the runs whose numbers are in ``busy``,
the first with 1, get a worse metric by ``loss``, and a probe that took twice as long.

A table is made by real runs, in some minutes::

    PYTHONPATH=tests .venv-dev/bin/python -m helpers.recorded tasks/bytelm --steps 40
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import re
import statistics
import tempfile
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, NamedTuple
from unittest import mock

from helpers import BYTELM, DATA, FAKE, REPO, load_task
from helpers.boxes import Box, make_box
from ratchet.base.structs import from_json_values, replace, to_json_values
from ratchet.records.events import Journal
from ratchet.records.records import Outcome, Pace, Role
from ratchet.records.store import LOG, SOURCE, RunRecord, Store
from ratchet.runs import executor
from ratchet.runs.executor import Executor
from ratchet.runs.run import execute_run, write_below
from ratchet.runs.spec import RunSpec
from ratchet.session import Session
from ratchet.steps.plan import make_plan
from ratchet.task.edits import applicable_changes, find_value, replace_value
from ratchet.task.task import DeclaredChange, Task

FOLDER = DATA / "runs"
PARTS, PART_SD = 32, 0.03
"""Parts of the audit data, and how far a code's metric on one is from that on all."""
_CURVE = re.compile(r"(?m)^step (\d+): loss ([\d.]+)")
Edits = frozenset[str]


@dataclass
class Clock:
    """Seconds that pass when somebody says so."""

    now: float = 1.8e9

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class Row(NamedTuple):
    """What one real run left; ``value`` is its metric."""

    record: RunRecord
    value: float | None
    curve: Sequence[tuple[int, float]]


@dataclass
class Recorded:
    """Stands in for training: ``execute`` has the signature of the real one."""

    task: Task
    rows: Mapping[Edits, Sequence[Row]]
    clock: Clock = field(default_factory=Clock)
    runs: int = 0
    busy: Container[int] = ()
    loss: float = 0.0
    memorized: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def load(cls, name: str, folder: Path) -> Recorded:
        """The table of a name for the task in a folder."""
        table = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
        task = load_task(folder)
        rows: dict[Edits, list[Row]] = {}
        for entry in table["candidates"]:
            found = rows.setdefault(frozenset(entry["edits"]), [])
            for run in entry["runs"]:
                record = from_json_values(RunRecord, {**table["record"], **run["record"]})
                ok = record.outcome is Outcome.OK
                value = record.metrics[task.metric.name] if ok else None
                found.append(Row(record, value, run["curve"]))
        return cls(task, rows)

    def __post_init__(self) -> None:
        self._start = {n: (self.task.folder / n).read_text("utf-8") for n in self.task.mutable}
        self._means = {
            edits: statistics.fmean(values)
            for edits, found in self.rows.items()
            if (values := [row.value for row in found if row.value is not None])
        }
        # The mean took up some of it.
        self._noise = [
            (row.value - self._means[edits]) * math.sqrt(len(found) / (len(found) - 1))
            for edits, found in self.rows.items()
            for row in found
            if row.value is not None and len(found) > 1
        ]
        assert self._noise, f"the table has no replicates of {self.task.metric.name}"

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        """Let runs of sessions in this process be looked up."""
        with mock.patch.object(executor, "execute_run", self.execute):
            yield

    def edits(self, sources: Mapping[str, bytes]) -> Edits:
        """The declared edits that make these files of the baseline's.

        Raises :class:`LookupError` for a candidate that has others too.
        """
        texts = {name: content.decode() for name, content in sources.items()}
        made = dict(self._start)
        found = []
        for change in self.task.search_space:
            for name, text in texts.items():
                label = _label(change, name, made[name], text)
                if label is not None:
                    found.append(label)
                    made[name] = _applied(change, name, made[name], text)
        if made != texts:
            raise LookupError("the candidate has edits that are not declared; train it")
        return frozenset(found)

    def execute(self, spec: RunSpec, store: Store, folder: Path) -> RunRecord:
        """The record of a run that is looked up; leaves log and source as a real one."""
        sources = {name: store.get(sha) for name, sha in spec.sources.items()}
        draw = Random(f"{sorted(sources.items())} {spec.seed}")
        edits = self.edits(sources)
        row, value = self._look(edits, draw)
        self.runs += 1
        slow = spec.budget_seconds is not None and self.runs in self.busy
        if slow and value is not None:
            value += self.task.metric.direction.sign * self.loss
        for name, content in sources.items():
            write_below(folder / SOURCE / name, content)
        record = row.record
        if spec.budget_seconds is not None:
            probe = 0.012 * (1 + slow)
            record = replace(record, pace=Pace(probe, 0.012, waited=0.01, foreign=0.02))
        text = f"{record.reason}\n"
        if value is not None:
            known = sum(self.memorized.get(edit, 0.0) for edit in edits)
            value -= self.task.metric.direction.sign * known
            record = _moved(record, row.value, value, spec, known)
            lines = [f"step {step}: loss {loss:.4f} bits per byte" for step, loss in row.curve]
            lines += ["---", *(f"{name}: {number}" for name, number in record.metrics.items())]
            text = "\n".join(lines) + "\n"
        (folder / LOG).write_text(text, encoding="utf-8")
        self.clock.advance(record.wall_seconds)
        return record

    def mean(self, edits: Edits) -> float | None:
        """The metric to be expected with these edits; ``None`` where training fails."""
        if any(self._fails(edit) for edit in edits):
            return None
        if edits in self._means:
            return self._means[edits]
        unknown = sorted(e for e in edits if frozenset({e}) not in self._means)
        if unknown:
            raise LookupError(f"the table has no run with {unknown[0]}; record it")
        start = self._means[frozenset()]
        return start + sum(self._means[frozenset({e})] - start for e in sorted(edits))

    def _fails(self, edit: str) -> bool:
        alone = self.rows.get(frozenset({edit}), ())
        return bool(alone) and all(row.value is None for row in alone)

    def _look(self, edits: Edits, draw: Random) -> tuple[Row, float | None]:
        """A run with these edits, and the metric that the seed gives it."""
        mean = self.mean(edits)
        if mean is None:
            return self.rows[frozenset({next(e for e in edits if self._fails(e))})][0], None
        alike = self.rows.get(edits) or self.rows[frozenset({min(edits)})]
        return draw.choice(alike), mean + draw.choice(self._noise)


def play_fake(box: Box) -> Box:
    """The box with its session of the fake task played."""
    table = Recorded.load("fake", FAKE)
    box.backend, box.clock = table, table.clock
    box.play()
    return box


def play_default(path: Path, memorized: Mapping[str, float], **settings: object) -> Box:
    """A session of the default task whose training is looked up."""
    box = make_box(path, task=str(BYTELM), rounds=8, budget_steps=40, seed=3, **settings)
    table = Recorded.load("bytelm", BYTELM)
    table.memorized = memorized
    box.backend, box.clock = table, table.clock
    box.play(confirm_replicates=3, certify=True)
    return box


def _moved(
    record: RunRecord, old: float | None, value: float, spec: RunSpec, known: float
) -> RunRecord:
    """The record of a run with another value, and as much of a change of its audit.

    What the run ``known`` of the data of the search it does not know of the audit's.
    """
    evaluation = record.evaluation
    if evaluation is not None and not spec.audit_data:
        evaluation = replace(evaluation, value=value, audit=None, audit_tokens=0)
    elif evaluation is not None:
        assert evaluation.audit is not None and old is not None
        audit = value + known + evaluation.audit - old
        draw = Random(f"{sorted(spec.sources.items())}")
        parts = tuple(audit + draw.gauss(0, PART_SD) for _ in range(PARTS))
        evaluation = replace(evaluation, value=value, audit=audit, audit_parts=parts)
    if evaluation is not None and spec.budget_seconds is not None:
        # The table's runs had a budget in steps; this one trained for its seconds.
        spent = {"trained_cpu_seconds": spec.budget_seconds, "evaluating_cpu_seconds": 0.2}
        evaluation = replace(evaluation, **spent)
    metrics = {**record.metrics, spec.metric: value}
    return replace(record, metrics=metrics, evaluation=evaluation)


def _label(change: DeclaredChange, name: str, start: str, text: str) -> str | None:
    """What a change did to one file, if it was made there."""
    if not change.is_constant:
        if start.count(change.find) != 1:
            return None
        if change.replace and text.count(change.replace) > start.count(change.replace):
            return change.name
        return None if change.replace or change.find in text else change.name
    old, new = find_value(name, start, change.name), find_value(name, text, change.name)
    if old is None or new is None or old.value == new.value:
        return None
    return f"{change.name}={new.value!r}"


def _applied(change: DeclaredChange, name: str, start: str, text: str) -> str:
    if not change.is_constant:
        return start.replace(change.find, change.replace)
    new = find_value(name, text, change.name)
    assert new is not None
    made = replace_value(name, start, change.name, new.value)
    assert made is not None
    return made


def candidates(own: Task, together: bool) -> list[tuple[list[str], Mapping[str, str]]]:
    """Each declared edit by itself, or all that can be made together; first none."""
    made: list[tuple[list[str], Mapping[str, str]]]
    made = [([], {name: (own.folder / name).read_text("utf-8") for name in own.mutable})]
    for change in own.search_space:
        made += [
            ([*labels, draft.edit.label], draft.contents)
            for labels, texts in (made if together else made[:1])
            for draft in applicable_changes([change], texts)
        ]
    return made


def record(folder: Path, steps: int, seeds: int, together: bool, root: Path) -> dict[str, Any]:
    """Run every candidate of a task with some seeds; returns the table."""
    from helpers.boxes import Box  # which needs this module's clock

    box = Box(root, {"task": str(folder), "budget_steps": steps, "baseline_replicates": 2})
    box.play(last="baseline")
    plan = make_plan(box.settings, root, REPO, owner=False)
    own = Session.open(plan.config, root, REPO, Journal(root / "recording.jsonl"))
    usual: dict[str, Any] = {}
    table: list[dict[str, Any]] = []
    failing: list[str] = []
    for labels, texts in candidates(load_task(folder), together):
        if set(failing) & set(labels):
            continue
        rows = []
        for number in range(seeds if labels else 4 * seeds):
            # Seeds of its own, so that all deviations are different lots.
            seed = 100 * len(table) + number + 1
            place = root / "runs" / str(seed)
            place.mkdir(parents=True)
            sources = {n: own.store.put(text.encode()) for n, text in texts.items()}
            spec = Executor(own).spec(sources, Role.SEARCH, 0, audit=own.audits)
            made = execute_run(replace(spec, seed=seed), own.store, place)
            known = to_json_values(made)
            usual = usual or known
            log = (place / LOG).read_text("utf-8", "replace")
            curve = [(int(step), float(loss)) for step, loss in _CURVE.findall(log)]
            unusual = {name: value for name, value in known.items() if value != usual[name]}
            rows.append({"record": unusual, "curve": curve})
            if made.outcome is not Outcome.OK:
                failing += labels
                break
        table.append({"edits": labels, "runs": rows})
        print(len(table), labels, len(rows), flush=True)
    return {"record": usual, "candidates": table}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", type=Path)
    parser.add_argument("--steps", type=int, default=40, help="budget of each run")
    parser.add_argument("--seeds", type=int, default=2, help="runs of each candidate")
    parser.add_argument("--together", action="store_true", help="all combinations of edits")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = options.task.resolve()
        table = record(folder, options.steps, options.seeds, options.together, Path(name).resolve())
    path = FOLDER / f"{folder.name}.json"
    path.parent.mkdir(exist_ok=True)
    lines = ",\n".join(json.dumps(entry) for entry in table["candidates"])
    head = json.dumps(table["record"])
    path.write_text(f'{{"record": {head},\n"candidates": [\n{lines}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
