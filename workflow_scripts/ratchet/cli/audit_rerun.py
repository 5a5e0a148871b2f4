"""Kept changes of a log run again through the workflow, for ``ratchet audit --run``."""

import argparse
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ratchet.base.errors import SessionBusyError, UsageError
from ratchet.base.git import Commits
from ratchet.base.io import read_file, read_json, to_json, write_bytes
from ratchet.base.text import one_line, one_line_label
from ratchet.cli.audit import aligned, wrapped
from ratchet.cli.sessions import (
    WorkflowError,
    harness_folder,
    parse_overrides,
    read_settings,
    snakemake,
    task_of,
)
from ratchet.integrity.seal import begin_workflow
from ratchet.logs.audit import GIVEN_RUNS
from ratchet.logs.experiments import LogExperiments
from ratchet.logs.rerun import Choice, Clone, build_audit_plan
from ratchet.logs.rerun_plan import AUDIT_LEVEL, AuditPlan, KeptStanding
from ratchet.records.ownership import owns_session
from ratchet.records.paths import SessionPaths
from ratchet.records.store import Store
from ratchet.session import run_budget
from ratchet.steps.plan import make_plan

Facts = dict[str, Any]
TARGET = "audit"
EXIT_SOME_FAIL, EXIT_UNDECIDED = 1, 2


class Reruns:
    """The session in which a log's kept changes are run again."""

    def __init__(self, options: argparse.Namespace, log: Path) -> None:
        self.options = options
        self.root: Path = options.root
        self.harness = harness_folder(self.root)
        self.sha256 = hashlib.sha256(read_file(log)).hexdigest()
        given = parse_overrides(options.config)
        name = options.session or given.get("session") or self._name(given)
        # A name that is none is refused before it becomes a path.
        name = read_settings(self.root, [f"session={json.dumps(name)}"]).session
        self.paths = SessionPaths(name, self.root)
        saved = {}
        if self.paths.rerun_settings.exists():
            saved = read_json(self.paths.rerun_settings)
        task = {"task": options.task} if options.task is not None else {}
        self.values: dict[str, Any] = {**saved, **given, **task, "session": name}
        self._check()
        self.plan = make_plan(self.values, self.root, self.harness, owner=False)
        if self.plan.config.preset is not None:
            raise UsageError(
                "--run: expected no preset, since that sets constants of the task's own files and "
                f"those of commits are run as they are, found {self.plan.config.preset!r}; add "
                "--config preset=null"
            )
        self.task = task_of(self.plan.config, self.root)

    def _name(self, given: Mapping[str, Any]) -> str:
        """Name by task and log, so that the same command finds the same session."""
        task = self.options.task or given.get("task") or read_settings(self.root).task
        place = task["repo"] if isinstance(task, Mapping) else task
        named = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(str(place)).name).strip("-")[:40] or "task"
        return f"audit-{named}-{self.sha256[:8]}"

    def _check(self) -> None:
        """Refuse a session of another kind, and one that is at work."""
        if self.paths.manifest.exists() and not self.paths.rerun_plan.exists():
            raise UsageError(
                f"{self.paths.folder}: expected no session or an audit, found one with rounds of "
                "its own; choose another name: --session NAME"
            )
        if owns_session(self.root, self.paths.session):
            raise SessionBusyError(
                f"{self.paths.folder}: this audit is running already; see ratchet status "
                f"{self.paths.session}"
            )

    @property
    def seconds(self) -> float | None:
        """Training budget of one run; ``None`` for a budget in steps."""
        return run_budget(self.plan.config.frozen, self.task)["seconds"]

    def said(self, facts: Mapping[str, Any]) -> list[str]:
        """Assumptions about log and task; refuses two metrics that cannot be one."""
        metric, logged = self.task.metric, one_line(str(facts["metric"]))
        if metric.direction.value != facts["direction"]:
            raise UsageError(
                f"--task: expected a task that is to {facts['direction']} its metric, as the "
                f"log is read ({logged}), found {self.task.name} with {metric.name} to "
                f"{metric.direction.value}; name another, or say of the log: --direction "
                f"{metric.direction.value}"
            )
        if metric.name == facts["metric"]:
            return []
        return [f"the log's {logged} and the task's {metric.name} are taken to be comparable"]

    def planned(self, every: LogExperiments, facts: Mapping[str, Any]) -> AuditPlan:
        """Plan of the re-runs; files of commits go to the store."""
        options, store = self.options, Store(self.paths.store)
        clone = Clone(Commits(options.repo), self.task.mutable, store.put)
        choice = Choice(options.seeds, options.only or (), options.top)
        return build_audit_plan(every, facts, self.sha256, clone, choice)

    def run(self, plan: AuditPlan, gpus: int) -> dict[str, Any]:
        """Run the workflow to its end; the audit with all that was run."""
        wanted = {self.paths.rerun_settings: self.values, self.paths.rerun_plan: plan}
        for path, value in wanted.items():
            data = to_json(value)
            if not path.is_file() or path.read_bytes() != data:
                begin_workflow(self.paths, [path])
                write_bytes(path, data)
        code = snakemake(self.root, self.harness, self.values, [TARGET], gpus)
        if code:
            raise WorkflowError("not everything was run again", code)
        found: dict[str, Any] = read_json(self.paths.audit_json)
        return found


def told(plan: AuditPlan, seconds: float | None) -> list[str]:
    """Lines that announce the re-runs; ``seconds`` is the budget of a run."""
    able = [change for change in plan.changes if not change.unable]
    seeds = sorted({change.seeds for change in able}) or [0]
    each = " to ".join(map(str, dict.fromkeys((seeds[0], seeds[-1]))))
    lines = [
        f"to run again: {len(able)} of {plan.kept} kept changes, {each} seeds for each side; "
        f"{plan.runs} runs of {len(plan.wanted(1))} codes"
        + (f", about {plan.runs * seconds / 3600:.1f} hours of training" if seconds else "")
    ]
    for change in plan.changes:
        shown = f"line {change.line} ({one_line(change.commit)[:12]})"
        against = change.parent_line
        if change.unable:
            lines.append(f"{shown}: cannot be run: {change.unable}")
        else:
            with_ = f"line {against}" if against is not None else change.parent_commit[:12]
            lines.append(f"{shown} against {with_}, {change.seeds} seeds")
    return lines


def exit_code(reruns: Mapping[str, Any]) -> int:
    """0 all hold; 1 some do not or could not be run; 2 more seeds may decide the rest."""
    counts = reruns["counts"]
    if counts[KeptStanding.FAILS.value] or counts[KeptStanding.NOT_RUN.value]:
        return EXIT_SOME_FAIL
    return EXIT_UNDECIDED if counts[KeptStanding.UNDECIDED.value] else 0


def rerun_lines(found: Facts, places: int, numbers: Mapping[int, int]) -> Iterator[str]:
    """Each change by its fresh runs, and in the last line how many hold.

    ``numbers`` are those of the experiments by their lines in the log.
    """
    yield from wrapped(
        f"run again here, session {one_line_label(found['session'], 64)}: {found['runs']} runs of "
        f"{one_line_label(found['task'], 40)} on {one_line_label(found['hardware'], 80)}"
    )
    if found["noise_sd"] is not None:
        yield from wrapped(
            f"noise floor here: ±{found['noise_sd']:.{places}f}, from runs of the same code "
            f"({found['freedom']} degrees of freedom)"
        )
    rows = [["#", "seeds", "gain", "from", "to", "P|runs", "stands", "change"]]
    for change in found["changes"]:
        values = ((change[key], f"+.{places - 1}f") for key in ("gain", "low", "high"))
        cells = [
            "-" if value is None else f"{value:{form}}"
            for value, form in (*values, (change["given_runs"], ".2f"))
        ]
        about = [change["standing"], one_line_label(change["description"])]
        rows.append([str(numbers[change["line"]]), str(change["seeds"]), *cells, *about])
    yield from aligned(rows, 6)
    for change in found["changes"]:
        for said in (*([change["reason"]] if change["reason"] else []), *change["notes"]):
            about_it = f"experiment {numbers[change['line']]}: {one_line_label(said, 400)}"
            yield from wrapped(about_it, "  ")
    if found["whole"] is not None:
        whole = found["whole"]
        between = ""
        if whole["low"] is not None:
            low, high = (f"{whole[end]:+.{places}f}" for end in ("low", "high"))
            between = f" ({100 * whole['level']:.0f} % interval {low} to {high})"
        yield from wrapped(
            f"from end to end: {whole['gain']:+.{places}f}{between}, by the runs of the first "
            f"incumbent and of experiment {numbers[whole['end']]}"
        )
    yield from wrapped(
        f"gain: difference of the means, from, to: its {100 * AUDIT_LEVEL:.0f} % interval (Welch); "
        f"P|runs: {GIVEN_RUNS}, by these runs alone"
    )
    yield found["sentence"]
