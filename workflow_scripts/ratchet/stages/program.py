"""The next ``program.md`` of a session, from its records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ratchet.ceiling import HARD, Ceiling
from ratchet.config import Config
from ratchet.history import History
from ratchet.paths import SessionPaths
from ratchet.program import Contract, PastSession, update
from ratchet.session import Session
from ratchet.task import Change, Task


def contract_of(task: Task, config: Config, budget: Mapping[str, float | int | None]) -> Contract:
    """What a ``program.md`` of this task has to say under this configuration.

    ``budget`` holds ``seconds`` and ``steps``, one of them ``None``.
    """
    steps = budget["steps"]
    return Contract(
        task=task.name,
        metric=task.metric.name,
        direction=task.metric.direction,
        unit=task.metric.unit,
        description=task.description.rstrip("."),
        mutable=task.mutable,
        fixed=task.fixed,
        budget_seconds=budget["seconds"],
        budget_steps=None if steps is None else int(steps),
        ceiling=Ceiling(config.memory_ceiling_mb, config.memory_ceiling == HARD),
        network=task.network,
        replicates=config.baseline_replicates,
        directions=_directions(task.search_space),
    )


def budget_of(task: Task, config: Config) -> dict[str, float | int | None]:
    """What each run of a new session may spend, configuration before preset before task.

    What ``auto`` will choose is not known here, and its budget is left out.
    """
    steps, seconds = config.budget_steps, config.budget_seconds
    if steps is None and seconds is None:
        preset = next((p for p in task.presets if p.name == config.preset), None)
        sized = task.sized(preset)
        steps, seconds = sized.budget_steps, sized.budget_seconds
    return {"seconds": seconds, "steps": steps}


def _directions(space: Sequence[Change]) -> dict[str, list[str]]:
    """What may be varied by category, in the order of the search space."""
    found: dict[str, list[str]] = {}
    for change in space:
        values = ", ".join(str(value) for value in change.values)
        name = f"{change.name} ({values})" if change.is_constant else change.name.replace("-", " ")
        found.setdefault(change.category, []).append(name)
    return found


def next_version(session: Session, history: History) -> str:
    """The session's own ``program.md`` with what the session found out written into it.

    The frozen one is not touched.  Equal sessions give equal texts.
    """
    frozen = session.store.get(session.manifest.brief.sha256).decode(errors="replace")
    contract = contract_of(session.task, session.config, session.budget)
    return update(frozen, contract, past_session(session, history))


def past_session(session: Session, history: History) -> PastSession:
    """What a session found out, as the next ``program.md`` tells of it."""
    preset = session.manifest.preset
    return PastSession(
        name=session.config.session,
        # As seen from the folder where Snakemake runs, wherever that is.
        folder=str(SessionPaths(session.config.session).folder),
        task=str(session.manifest.frozen["task"]),
        history=history,
        preset="" if preset is None else preset.name,
    )
