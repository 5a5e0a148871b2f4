"""A session read from its records: manifest, task, budget, prices, state of each round.

Reading needs nothing that executes; runs are made by :class:`ratchet.runs.executor.Executor`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from ratchet.base.errors import NEW_SESSION, DataError
from ratchet.base.io import digest_bytes, read_record
from ratchet.base.structs import Frozen, replace
from ratchet.config import Config, TransferScale
from ratchet.judge.settings import Settings
from ratchet.judge.tradeoffs import HARD, Ceiling, Prices
from ratchet.records.events import Journal, read_events, replayed_runs
from ratchet.records.paths import SessionPaths
from ratchet.records.proposals import DECLARED, OPTIMIZERS, Proposals
from ratchet.records.records import (
    CATEGORIES,
    Baseline,
    Manifest,
    Preset,
    RunSummary,
    Scale,
    SessionState,
)
from ratchet.records.session_repo import SessionRepo
from ratchet.records.store import LOG, Store
from ratchet.task.repository import named_task
from ratchet.task.task import Task, build_task


class Session(Frozen):
    """A prepared session: its frozen inputs, its records, and where it keeps them."""

    config: Config
    paths: SessionPaths
    manifest: Manifest
    task: Task
    store: Store
    repo: SessionRepo
    journal: Journal
    harness: Path

    @classmethod
    def open(cls, config: Config, root: Path, harness: Path, journal: Journal) -> Session:
        """Open a prepared session; its task is read from the store, not the checkout."""
        paths = SessionPaths(config.session, root)
        store = Store(paths.store)
        manifest = read_record(Manifest, paths.manifest)
        return cls(
            config=config.settled(str(manifest.frozen["mode"])),
            paths=paths,
            manifest=manifest,
            task=frozen_task(manifest, root, harness).sized(manifest.preset),
            store=store,
            repo=SessionRepo(paths.repository, config.session),
            journal=journal,
            harness=harness,
        )

    def at_scale(self, manifest: Manifest) -> Session:
        """This session with its task, budget and data as ``manifest`` has them."""
        task = frozen_task(manifest, self.paths.root, self.harness).sized(manifest.preset)
        return replace(self, manifest=manifest, task=task)

    @property
    def judge_settings(self) -> dict[str, Any]:
        """Settings that verdicts depend on, for the report; prices as they are in force."""
        prices, ceiling = self.prices, memory_ceiling(self.config)
        mode, most = self.config.mode, self.config.max_replicates
        settings = Settings.for_session(mode, max_replicates=most)
        charges = ceiling.megabytes is not None and not ceiling.hard
        return {
            "mode": mode,
            "keep_probability": settings.keep_probability,
            "max_replicates": most,
            "false_keep_bound": settings.false_keep_bound,
            "line_price": prices.per_line,
            "memory_price": prices.per_log_memory,
            "excess_price": prices.per_log_excess if charges else 0.0,
            "remeasure_every": self.config.remeasure_every,
        }

    @property
    def prices(self) -> Prices:
        """Prices of lines and memory; by default they go by the magnitude of the metric."""
        runs = read_record(Baseline, self.paths.baseline).runs
        values = [run.value for run in runs if run.value is not None]
        magnitude = abs(math.fsum(values)) / max(len(values), 1)
        return Prices.for_metric(magnitude, self.config.line_price, self.config.memory_price)

    @property
    def sign(self) -> int:
        """Factor that makes a lower metric the better one."""
        return self.task.metric.direction.sign

    @property
    def categories(self) -> tuple[str, ...]:
        """Categories of the task's search space; where edits are free, the usual ones too."""
        declared = {change.category for change in self.task.search_space}
        usual = [category for category in CATEGORIES if self.free or category in declared]
        return (*usual, *sorted(declared - set(usual)))

    @property
    def free(self) -> bool:
        """Whether proposals may be other edits than the declared ones."""
        built_in = {DECLARED, *OPTIMIZERS}
        return not built_in.issuperset(self.config.turns) or not self.task.search_space

    def value(self, run: RunSummary) -> float:
        """A run's metric with lower better; the run must have ended well."""
        assert run.value is not None
        return self.sign * run.value

    def state(self, round_number: int) -> SessionState:
        return read_record(SessionState, self.paths.round(round_number).steer)

    def proposals(self, round_number: int) -> Proposals:
        return read_record(Proposals, self.paths.round(round_number).proposals)

    def texts(self, sources: Mapping[str, str]) -> dict[str, str]:
        """Mutable files as text, by name; bytes that are no UTF-8 are kept apart."""
        return {
            name: self.store.get(sha).decode("utf-8", errors="surrogateescape")
            for name, sha in sources.items()
        }

    def put(self, texts: Mapping[str, str]) -> dict[str, str]:
        """Keep mutable files; their digests by name."""
        put = self.store.put
        return {n: put(t.encode("utf-8", errors="surrogateescape")) for n, t in texts.items()}

    @property
    def baseline_files(self) -> dict[str, str]:
        """The unchanged mutable files: their digests by name."""
        return {entry.path: entry.sha256 for entry in self.manifest.baseline}

    def tree(self, sources: Mapping[str, str]) -> dict[str, bytes]:
        """All files of a candidate as its commit shows them."""
        frozen = (*self.manifest.fixed, self.manifest.brief)
        fixed = {entry.path: self.store.get(entry.sha256) for entry in frozen}
        return {**fixed, **{name: self.store.get(sha) for name, sha in sources.items()}}

    @property
    def seed_secret(self) -> str:
        """What the seeds of runs are drawn with, beside code and ``seed``; empty for nothing.

        Raises :class:`DataError` where it is not what the session began with.
        """
        expected = self.manifest.seed_secret_sha256
        if not expected:
            return ""
        path = self.paths.seed_secret
        data = path.read_bytes() if path.is_file() else b""
        if digest_bytes(data) != expected:
            raise DataError(
                f"{path}: expected what the session drew its seeds with (sha256 {expected}), found "
                f"{'something else' if data else 'no such file'}; put it back, from a backup or "
                f"from `seed` in report.json, or {NEW_SESSION}"
            )
        return data.decode(errors="replace").strip()

    @property
    def variables(self) -> Mapping[str, str]:
        """Environment variables that task and preset set for runs and evaluator."""
        return self.task.environment_of(self.manifest.preset)

    @property
    def audits(self) -> bool:
        """Whether the task can measure on its locked data."""
        return bool(self.task.evaluator and self.manifest.locked)

    @property
    def budget(self) -> Budget:
        """Budget of each run."""
        return run_budget(self.manifest.frozen, self.task)

    @property
    def transfer_weight(self) -> float:
        """Runs at another scale, each counted as so many of the search's as its budget has."""
        return session_transfer_weight(self.config, self.manifest, self.paths.root, self.harness)

    @property
    def replayed(self) -> dict[str, str]:
        """Times at which runs were made that it took from the store, by key."""
        return replayed_runs(read_events(self.paths.events))

    def log_path(self, key: str) -> Path:
        return self.store.paths.run(key) / LOG


class Budget(TypedDict):
    """Budget of a run: ``seconds`` of training or ``steps``, and time in all."""

    seconds: float | None
    steps: int | None
    timeout_seconds: float


def run_budget(frozen: Mapping[str, Any], task: Task) -> Budget:
    """The budget of a run: the configuration's frozen keys before the task with its preset."""
    steps, seconds = frozen["budget_steps"], frozen["budget_seconds"]
    if steps is None and seconds is None:
        steps, seconds = task.budget_steps, task.budget_seconds
    timeout = frozen["timeout_seconds"]
    return {
        "seconds": seconds,
        "steps": steps,
        "timeout_seconds": task.timeout_seconds if timeout is None else timeout,
    }


def frozen_task(manifest: Manifest, root: Path, harness: Path) -> Task:
    """The task of a manifest, its files read from the store; as it is without a preset."""
    return build_task(
        manifest.values,
        Path(),
        harness,
        origin=manifest.origin,
        clone=named_task(manifest.frozen["task"], root, harness).clone(manifest.values),
    )


def other_scale(
    frozen: Mapping[str, Any], wanted: TransferScale, task: Task, own: Preset | None
) -> Scale:
    """Scale of runs that a session of this task, with its ``own`` preset, is to have beside it.

    Its budget is the wanted one, or else what a session with the wanted preset would have.
    The time limit is the session's, and grows with the budget unless one is wanted.
    """
    preset = own if wanted.preset is None else task.preset(wanted.preset)
    search, there = run_budget(frozen, task.sized(own)), run_budget(frozen, task.sized(preset))
    seconds, steps = wanted.budget_seconds, wanted.budget_steps
    if seconds is None and steps is None:
        seconds, steps = there["seconds"], there["steps"]
    ratio = _ratio(seconds, search["seconds"]) or _ratio(steps, search["steps"])
    timeout = wanted.timeout_seconds or search["timeout_seconds"] * max(ratio or 1.0, 1.0)
    return Scale(seconds, steps, timeout, ratio, wanted.preset or "")


def _ratio(wanted: float | None, own: float | None) -> float | None:
    return None if wanted is None or own is None else wanted / own


def transfer_weight(
    frozen: Mapping[str, Any], wanted: TransferScale, task: Task, own: Preset | None
) -> float:
    """Runs at another scale, counted in runs of the search by their budgets.

    They count once each where one budget is in seconds and the other in steps.
    """
    ratio = other_scale(frozen, wanted, task, own).ratio
    return 2 * wanted.replicates * (1.0 if ratio is None else ratio)


def session_transfer_weight(config: Config, manifest: Manifest, root: Path, harness: Path) -> float:
    """Runs of a session at another scale, as :func:`transfer_weight` counts them."""
    scale = config.transfer_scale
    if scale is None:
        return 0.0
    task = frozen_task(manifest, root, harness)
    return transfer_weight(manifest.frozen, scale, task, manifest.preset)


def memory_ceiling(config: Config) -> Ceiling:
    """The ceiling of memory in force."""
    return Ceiling(config.memory_ceiling_mb, config.memory_ceiling == HARD)


def session_target(config: Config, manifest: Manifest) -> float | None:
    """The value that ends the session: the configuration's, or else the task's own."""
    target = manifest.values.get("target") if config.target is None else config.target
    return None if target is None else float(target)
