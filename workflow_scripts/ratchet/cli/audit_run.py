"""``ratchet audit --run``: a log's kept changes run again, through the workflow."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ratchet import files, guard, ownership, seal
from ratchet.cli import command, settings
from ratchet.cli.audit_plan import Choice, Clone, build
from ratchet.cli.evolving import text
from ratchet.cli.session import Experiments
from ratchet.commits import Commits
from ratchet.errors import (
    EXIT_TEMPORARY,
    EXIT_USAGE,
    RatchetError,
    SessionBusyError,
    UsageError,
)
from ratchet.paths import SessionPaths
from ratchet.reruns import RerunPlan, Standing
from ratchet.results_tsv import one_line
from ratchet.store import Store

EXIT_SOME_FAIL, EXIT_UNDECIDED = 1, 2
TARGET = "audit"


class StoppedError(RatchetError):
    """Snakemake, which runs everything, ended early.

    Its status is passed on unless it could be taken for a verdict, as 1 could.
    """

    def __init__(self, code: int) -> None:
        super().__init__(
            "not everything was run again; the reason is above, the same command goes on"
        )
        by_signal = 128 - code if code < 0 else code
        self.exit_code = by_signal if by_signal >= EXIT_USAGE else EXIT_TEMPORARY


class Reruns:
    """The session in which a log's kept changes are run again."""

    def __init__(self, options: argparse.Namespace, log: Path) -> None:
        self.options = options
        self.root: Path = options.root
        self.harness = settings.harness(self.root)
        self.sha256 = hashlib.sha256(command.read(log)).hexdigest()
        given = settings.overrides(options.config)
        name = options.session or given.get("session") or self._name(given)
        # A name that is none is refused before it becomes a path.
        name = settings.read(self.root, [f"session={json.dumps(name)}"]).session
        self.paths = SessionPaths(name, self.root)
        saved = {}
        if self.paths.rerun_settings.exists():
            saved = files.read_json(self.paths.rerun_settings)
        task = {"task": options.task} if options.task is not None else {}
        self.values: dict[str, Any] = {**saved, **given, **task, "session": name}
        self._check()
        self.plan = guard.plan(self.values, self.root, self.harness, owner=False)
        if self.plan.config.preset is not None:
            raise UsageError(
                "--run: expected no preset, since that sets constants of the task's own files and "
                f"those of commits are run as they are, found {self.plan.config.preset!r}; add "
                "--config preset=null"
            )
        self.task = settings.task_of(self.plan.config, self.root)

    def _name(self, given: Mapping[str, Any]) -> str:
        """By task and log, so that the same command finds the same session."""
        task = self.options.task or given.get("task") or settings.read(self.root).task
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
        if ownership.owns(self.root, self.paths.session):
            raise SessionBusyError(
                f"{self.paths.folder}: this audit is running already; see ratchet status "
                f"{self.paths.session}"
            )

    @property
    def seconds(self) -> float | None:
        """Training budget of one run; ``None`` for a budget in steps."""
        config = self.plan.config
        if config.budget_seconds is not None or config.budget_steps is not None:
            return config.budget_seconds
        return self.task.budget_seconds

    def said(self, facts: Mapping[str, Any]) -> list[str]:
        """What is assumed of log and task; refuses two metrics that cannot be one."""
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

    def planned(self, every: Experiments, facts: Mapping[str, Any]) -> RerunPlan:
        """What is to be run; files of commits go to the store."""
        options, store = self.options, Store(self.paths.store)
        clone = Clone(Commits(options.repo), self.task.mutable, store.put)
        choice = Choice(options.seeds, options.only or (), options.top)
        return build(every, facts, self.sha256, clone, choice)

    def run(self, plan: RerunPlan, gpus: int) -> dict[str, Any]:
        """Run the workflow to its end; the audit with all that was run."""
        wanted = {self.paths.rerun_settings: self.values, self.paths.rerun_plan: plan}
        for path, value in wanted.items():
            data = files.to_json(value)
            if not path.is_file() or path.read_bytes() != data:
                seal.begin(self.paths, [path])
                files.write_bytes(path, data)
        pairs = [f"{key}={text(value)}" for key, value in sorted(self.values.items())]
        words = [sys.executable, "-m", "snakemake", "-s", str(self.harness.resolve() / "Snakefile")]
        words += ["--cores", str(gpus), "--resources", f"gpu={gpus}", "--quiet", "all"]
        words += ["--config", *pairs, "--", TARGET]
        code = subprocess.run(words, cwd=self.root, stdout=sys.stderr, check=False).returncode
        if code:
            raise StoppedError(code)
        found: dict[str, Any] = files.read_json(self.paths.audit_json)
        return found


def told(plan: RerunPlan, seconds: float | None) -> list[str]:
    """What will be run, before it is; ``seconds`` is the budget of a run."""
    able = [change for change in plan.changes if not change.unable]
    most, least = (f(c.seeds for c in able) if able else 0 for f in (max, min))
    each = f"{most}" if most == least else f"{least} to {most}"
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
    if counts[Standing.FAILS.value] or counts[Standing.NOT_RUN.value]:
        return EXIT_SOME_FAIL
    return EXIT_UNDECIDED if counts[Standing.UNDECIDED.value] else 0
