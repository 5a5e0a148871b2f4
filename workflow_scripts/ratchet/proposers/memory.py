"""Memory across sessions: what others of the same task have found, frozen for a new one.

A session that remembers others keeps a bounded copy of their findings in the store and
its digest in the manifest, so that they stay as they were however the others go on.
Descriptions and diffs in them are other people's text, and stay data.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ratchet.base.errors import ConfigError, InputMissingError
from ratchet.base.io import Fingerprint, digest_file, read_record, to_json
from ratchet.base.structs import Frozen, from_json_values, to_json_values
from ratchet.base.text import one_line, shorten
from ratchet.config import Config
from ratchet.proposers.declared import changed_lines
from ratchet.records.history import History, Trial
from ratchet.records.paths import SessionPaths
from ratchet.records.records import Contribution, Manifest, Outcome, Standing
from ratchet.records.store import Store
from ratchet.session import Session
from ratchet.task.task import Task

MOST_KEPT, MOST_REFUSED = 30, 60
"""Experiments of a session that are remembered: more than a brief has room for."""

TEXT, LINES, LINE = 300, 8, 160
"""Characters of a remembered text, lines of a remembered diff, and characters of each."""


class Remembered(Frozen):
    """An experiment of another session.

    ``verdict`` and ``failure`` are its trial's, ``changed`` the first lines that it
    changed.  ``contribution`` is what fresh runs say of a kept change.
    """

    number: int
    verdict: str
    category: str
    description: str
    delta: float | None = None
    confidence: float | None = None
    failure: str = ""
    changed: tuple[str, ...] = ()
    contribution: Contribution | None = None


class Memory(Frozen):
    """Findings of another session: what it kept, and what it refused, most telling first.

    ``baseline`` and ``best`` are metrics of its search, ``budget`` is that of its runs in
    words, ``preset`` the one that it began with.
    """

    session: str
    experiments: int
    baseline: float | None
    best: float
    budget: str
    preset: str = ""
    kept: tuple[Remembered, ...] = ()
    refused: tuple[Remembered, ...] = ()


def check_remembered(config: Config, task: Task, root: Path) -> None:
    """Refuse sessions that a new one cannot remember.

    Raises :class:`InputMissingError` for one that is unknown or has measured nothing yet,
    and :class:`ConfigError` for the session itself, for one that is named twice, and for
    one of another task.
    """
    for name in config.remember:
        paths = SessionPaths(name, root)
        if name == config.session or config.remember.count(name) > 1:
            raise ConfigError(
                f"remember: expected other sessions than {config.session}, each once, "
                f"found {', '.join(config.remember)}"
            )
        if not (paths.manifest.is_file() and paths.baseline.is_file()):
            known = sorted(p.parent.name for p in (root / "results").glob("*/baseline.json"))
            raise InputMissingError(
                f"remember: {paths.folder}: expected a session with a measured baseline, found "
                f"none; there are: {', '.join(n for n in known if n != config.session) or 'none'}"
            )
        differing = _differences(read_record(Manifest, paths.manifest), task)
        if differing:
            raise ConfigError(
                f"remember: expected sessions of the task {task.name} as {task.definition} has it "
                f"now, found {name} with another {', '.join(differing)}; leave it out"
            )


def _differences(manifest: Manifest, task: Task) -> list[str]:
    """Keys of the definition and fixed files that differ between a session and a task."""
    there, here = manifest.values, to_json_values(task.values)
    keys = [key for key in sorted({*there, *here}) if there.get(key) != here.get(key)]
    fixed = {entry.path: entry.sha256 for entry in manifest.fixed}
    own = {name: digest_file(task.folder / name) for name in task.fixed}
    return [*keys, *(name for name in sorted({*fixed, *own}) if fixed.get(name) != own.get(name))]


def freeze_memories(
    config: Config, store: Store, root: Path, secret_sha256: str
) -> tuple[Fingerprint, ...]:
    """Keep what a new session remembers in the store; a replay finds what it once was.

    A replay has the same seed secret, whose digest is given; a new session of the same name
    has another, and a new one that is remembered has another manifest.
    """
    manifests = {n: digest_file(SessionPaths(n, root).manifest) for n in config.remember}
    question = {
        "session": config.session,
        "session_secret": secret_sha256,
        "frozen": config.frozen,
        "manifests": manifests,
    }

    def remember() -> list[Any]:
        found = []
        for name in config.remember:
            paths = SessionPaths(name, root)
            memory = session_memory(read_record(Manifest, paths.manifest), History.read(paths))
            text = to_json(memory)
            found.append(to_json_values(Fingerprint(name, store.put(text), len(text))))
        return found

    answer = store.memo("remembered", question, remember) if config.remember else []
    return tuple(from_json_values(Fingerprint, each, "remembered session") for each in answer)


def frozen_memories(session: Session) -> list[Memory]:
    """Memories of a session as they were frozen at its start."""
    entries = session.manifest.remembered
    return [
        from_json_values(Memory, json.loads(session.store.get(entry.sha256)), entry.path)
        for entry in entries
    ]


def session_memory(manifest: Manifest, history: History) -> Memory:
    """Findings of a session as far as it has come; bounded, whatever it did."""
    frozen, incumbent = manifest.frozen, history.state.incumbent
    refused = [trial for trial in history.judged if not trial.kept]
    steps, seconds = frozen["budget_steps"], frozen["budget_seconds"]
    kept = sorted(history.kept, key=lambda trial: _kept_first(trial, history.contributions))
    return Memory(
        session=manifest.session,
        experiments=len(history.judged),
        baseline=history.start.mean,
        best=incumbent.mean,
        budget="" if steps is seconds is None else f"{steps} steps" if steps else f"{seconds:g} s",
        preset="" if manifest.preset is None else manifest.preset.name,
        kept=tuple(_remembered(trial, history) for trial in kept[:MOST_KEPT]),
        refused=tuple(
            _remembered(trial, history) for trial in sorted(refused, key=_telling)[:MOST_REFUSED]
        ),
    )


def _kept_first(trial: Trial, contributions: Mapping[int, Contribution]) -> tuple[int, float, int]:
    """Place of a kept change: what fresh runs certified first, then by gain, then the newest."""
    found = contributions.get(trial.number)
    order = [Standing.CERTIFIED, Standing.UNCERTIFIED, None, Standing.PASSENGER]
    gain = (trial.gain or 0.0) if found is None else found.gain
    return order.index(None if found is None else found.standing), -gain, -trial.number


def _telling(trial: Trial) -> tuple[float, int]:
    """Place of a refused change: what is surely worse or fails tells most, then the newest."""
    unsure = 0.5 if trial.confidence is None and not trial.failed else (trial.confidence or 0.0)
    return min(unsure, 1 - unsure), -trial.number


def _remembered(trial: Trial, history: History) -> Remembered:
    changed = changed_lines(trial.proposal.diff)[:LINES] if trial.kept else []
    return Remembered(
        number=trial.number,
        verdict=trial.word,
        category=_cut(trial.category),
        description=_cut(trial.description),
        delta=trial.delta,
        confidence=trial.confidence,
        failure=_cut(trial.failure) if trial.failed else _cut(_astray(trial)),
        changed=tuple(shorten(one_line(line), LINE) for line in changed),
        contribution=history.contributions.get(trial.number),
    )


def _astray(trial: Trial) -> str:
    return f"{Outcome.DIVERGED}: {trial.diverged}" if trial.diverged else ""


def _cut(text: str) -> str:
    return shorten(one_line(text), TEXT)
