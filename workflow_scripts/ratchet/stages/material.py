"""What a run of a session is made of: its plan, and everything that its result may depend on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ratchet import caches, hardware
from ratchet.codec import encode
from ratchet.layout import RunPlan
from ratchet.records import Fingerprint

if TYPE_CHECKING:
    from ratchet.interpreters import Interpreter
    from ratchet.session import Session


def inputs(
    session: Session, sources: Mapping[str, str], seed: int, audit: bool = False
) -> dict[str, object]:
    """Everything that a run's result may depend on: its key's preimage."""
    task, manifest = session.task, session.manifest
    locked = manifest.locked if audit else ()
    return {
        "evaluator": list(task.evaluator),
        "evaluation": {e.path: e.sha256 for e in (*manifest.evaluation, *locked)},
        "plausible": encode(task.plausible),
        "network": task.network,
        "seed_hook": task.seed_hook,
        "fixed": {entry.path: entry.sha256 for entry in manifest.fixed},
        "data": {entry.path: entry.sha256 for entry in manifest.data},
        "source": dict(sources),
        "seed": seed,
        "budget": session.budget,
        "threads": task.threads,
        "command": list(task.command),
        "metric": task.metric.name,
        "environment": manifest.environment.sha256,
        "hardware": encode(manifest.hardware),
        **_further(session),
    }


def _further(session: Session) -> dict[str, object]:
    """What only some tasks have, so that the runs of others keep the keys they have."""
    task, manifest = session.task, session.manifest
    found: dict[str, object] = {
        "python": manifest.python.packages_sha256 if manifest.python else "",
        "variables": dict(session.variables),
        "limits": dict(task.limits),
        "patterns": dict(task.patterns),
        "seeding": task.seeding.declared,
        "caches": {entry.folder: entry.sha256 for entry in manifest.caches},
    }
    return {name: value for name, value in found.items() if value}


def plan(
    session: Session,
    sources: Mapping[str, str],
    seed: int,
    audit: bool,
    python: Interpreter | None,
) -> RunPlan:
    """The plan of one run; ``python`` is the task's own interpreter."""
    task, manifest, store, budget = session.task, session.manifest, session.store, session.budget

    def data(entries: Iterable[Fingerprint]) -> dict[str, tuple[Path, str]]:
        return {e.path: (store.path(e.sha256), e.sha256) for e in entries}

    there = {entry.folder for entry in manifest.caches}
    return RunPlan(
        command=task.command,
        sources={name: store.get(sha) for name, sha in sources.items()},
        fixed={entry.path: store.get(entry.sha256) for entry in manifest.fixed},
        data=data(manifest.data),
        seed=seed,
        budget_seconds=budget["seconds"],
        budget_steps=None if budget["steps"] is None else int(budget["steps"]),
        timeout_seconds=float(budget["timeout_seconds"] or 0.0),
        threads=task.threads,
        metric=task.metric.name,
        device=task.device,
        evaluator=task.evaluator,
        evaluation_data=data(manifest.evaluation),
        audit_data=data(manifest.locked) if audit else {},
        audit=audit,
        plausible=task.plausible,
        isolation=session.config.isolation,
        network=task.network,
        hidden=task.hidden,
        variables=session.variables,
        limits=task.limits,
        environment_sha256=manifest.environment.sha256,
        gpu_model=hardware.gpu_model(manifest.hardware),
        python=python,
        patterns=task.patterns,
        seeding=task.seeding,
        mounts=[caches.mount(c, task.clone) for c in task.caches if c.folder in there],
    )
