"""Training that is looked up: a table of real runs, with their noise, curves and durations.

Where training is not the subject of a test, or a benchmark plays hundreds of
sessions, :class:`Recorded` takes the place of :func:`ratchet.runs.run.execute_run`.  A
candidate is known by its declared edits.  Its metric is the mean of the runs that
were recorded with exactly these edits, plus the deviation of one of all recorded
runs from its own mean, drawn by the seed.  Edits that were not recorded together
are taken to add up.  Nothing sleeps: a run's duration passes on a :class:`Clock`.

A table is made by real runs, in some minutes::

    PYTHONPATH=tests .venv-dev/bin/python -m helpers.recorded tasks/bytelm --steps 40
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import math
import re
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

from helpers import DATA, REPO, load_task
from ratchet.base.structs import from_json_values, replace, to_json_values
from ratchet.records.events import Journal
from ratchet.records.records import Outcome, Role
from ratchet.records.store import LOG, SOURCE, RunRecord, Store
from ratchet.runs import executor
from ratchet.runs.executor import Executor
from ratchet.runs.run import execute_run, write_below
from ratchet.runs.spec import RunSpec
from ratchet.session import Session
from ratchet.steps.plan import make_plan
from ratchet.task.edits import find_value, replace_value
from ratchet.task.task import DeclaredChange, Task

FOLDER = DATA / "runs"
# Facts of a run that differ from run to run, by their place in the record.
COLUMNS = (
    "wall_seconds",
    "cpu_seconds",
    "peak_rss_mb",
    "evaluation.seconds",
    "evaluation.reply_seconds",
    "evaluation.trained_cpu_seconds",
    "evaluation.trained_wall_seconds",
    "evaluation.evaluating_cpu_seconds",
    "evaluation.usual_cpu_seconds",
)
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


@dataclass(frozen=True)
class Row:
    """What one real run left, as a table keeps it."""

    value: float | None
    audit: float | None
    outcome: str
    reason: str
    metrics: Mapping[str, float | None]
    facts: Sequence[float | None]
    curve: Sequence[tuple[int, float]] = ()


@dataclass
class Recorded:
    """Stands in for training: ``execute`` has the signature of the real one."""

    task: Task
    record: Mapping[str, Any]
    rows: Mapping[Edits, Sequence[Row]]
    clock: Clock = field(default_factory=Clock)
    runs: int = 0

    @classmethod
    def load(cls, name: str, folder: Path) -> Recorded:
        """The table of a name for the task in a folder."""
        table = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
        rows = {
            frozenset(entry["edits"]): [Row(**row) for row in entry["runs"]]
            for entry in table["candidates"]
        }
        return cls(load_task(folder, REPO), table["record"], rows)

    def __post_init__(self) -> None:
        metric = self.task.metric.name
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
        assert self._noise, f"the table has no replicates of {metric}"

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
        row, value = self._look(self.edits(sources), draw)
        self.runs += 1
        for name, content in sources.items():
            write_below(folder / SOURCE / name, content)
        metrics = dict(row.metrics)
        if value is not None:
            metrics[spec.metric] = value
        lines = [f"step {step}: loss {loss:.4f} bits per byte" for step, loss in row.curve]
        lines += ["---", *(f"{name}: {number}" for name, number in metrics.items())]
        text = f"{row.reason}\n" if value is None else "\n".join(lines) + "\n"
        (folder / LOG).write_text(text, encoding="utf-8")
        record = {**self.record, "outcome": row.outcome, "reason": row.reason, "metrics": metrics}
        record["evaluation"] = (
            dict(record["evaluation"]) if value is not None and record["evaluation"] else None
        )
        for place, fact in zip(COLUMNS, row.facts, strict=True):
            _put(record, place, fact)
        if value is None:
            record["exit_code"] = 1
        elif record["evaluation"]:
            audit = (
                None if row.audit is None or row.value is None else value + row.audit - row.value
            )
            tokens = record["evaluation"]["audit_tokens"]
            record["evaluation"] |= {
                "value": value,
                "audit": audit if spec.audit_data else None,
                "audit_tokens": tokens if spec.audit_data else 0,
            }
        self.clock.advance(row.facts[0] or 0.0)
        return from_json_values(RunRecord, record)

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


def _put(record: dict[str, Any], place: str, fact: float | None) -> None:
    name, _, below = place.partition(".")
    if not below:
        record[name] = fact
    elif record[name] is not None:
        record[name] = {**record[name], below: fact}


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


# --------------------------------------------------------------------- recording


def candidates(own: Task, together: bool) -> Iterator[tuple[list[str], dict[str, str]]]:
    """Each declared edit by itself, or all that can be made together; first none."""
    start = {name: (own.folder / name).read_text("utf-8") for name in own.mutable}
    options: list[list[tuple[DeclaredChange, Any]]] = [
        [(change, value) for value in (change.values if change.is_constant else [None])]
        for change in own.search_space
    ]
    if together:
        chosen: Iterator[Sequence[Any]] = itertools.product(*([None, *o] for o in options))
    else:
        chosen = iter([[], *([one] for option in options for one in option)])
    for edits in chosen:
        texts, labels = dict(start), []
        for change, value in filter(None, edits):
            for name, text in texts.items():
                new = (
                    replace_value(name, text, change.name, value)
                    if change.is_constant
                    else text.replace(change.find, change.replace)
                )
                if new is not None and new != text:
                    texts[name] = new
                    labels.append(f"{change.name}={value!r}" if change.is_constant else change.name)
        if len(labels) == len([e for e in edits if e]):
            yield labels, texts


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
    for labels, texts in candidates(load_task(folder, REPO), together):
        if set(failing) & set(labels):
            continue
        rows: list[Row] = []
        for number in range(seeds if labels else 4 * seeds):
            # Seeds of its own, so that all deviations are different lots.
            seed = 100 * len(table) + number + 1
            place = root / "runs" / str(seed)
            place.mkdir(parents=True)
            sources = {n: own.store.put(text.encode()) for n, text in texts.items()}
            spec = Executor(own).spec(sources, Role.SEARCH, 0, audit=own.audits)
            made = execute_run(replace(spec, seed=seed), own.store, place)
            usual = usual or to_json_values(made)
            rows.append(_row(own.task, made, (place / LOG).read_text("utf-8", "replace")))
            if made.outcome is not Outcome.OK:
                failing += labels
                break
        table.append({"edits": labels, "runs": [to_json_values(row) for row in rows]})
        print(len(table), labels, [row.value for row in rows], flush=True)
    return {"record": usual, "candidates": table}


def _row(own: Task, made: RunRecord, log: str) -> Row:
    known = to_json_values(made)
    evaluation = known["evaluation"] or {}
    facts = [known[c] if "." not in c else evaluation.get(c.partition(".")[2]) for c in COLUMNS]
    ok = made.outcome is Outcome.OK
    curve = [(int(step), float(loss)) for step, loss in _CURVE.findall(log)]
    return Row(
        value=made.metrics[own.metric.name] if ok else None,
        audit=evaluation.get("audit"),
        outcome=made.outcome.value,
        reason=made.reason,
        metrics=made.metrics,
        facts=facts,
        curve=curve,
    )


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
