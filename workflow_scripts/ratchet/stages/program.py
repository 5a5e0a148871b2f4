"""The next ``program.md`` of a session, from its records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ratchet.ceiling import HARD, Ceiling
from ratchet.config import Config
from ratchet.files import read_record
from ratchet.paths import SessionPaths
from ratchet.program import Contract, Entry, History, update
from ratchet.records import Baseline, Confirmation, Outcome, Proposals, RoundVerdict, Ruling
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


def next_version(session: Session) -> str:
    """The session's own ``program.md`` with what the session found out written into it.

    The frozen one is not touched.  Equal sessions give equal texts.
    """
    frozen = session.store.get(session.manifest.brief.sha256).decode(errors="replace")
    contract = contract_of(session.task, session.config, session.budget)
    return update(frozen, contract, history_of(session))


def rounds_of(session: Session) -> int:
    """Rounds that were judged and steered, however many are configured."""
    number = 0
    while session.paths.round(number + 1).steer.is_file():
        number += 1
    return number


def history_of(session: Session) -> History:
    """What the finished rounds of a session found out; its baseline must be there."""
    last = rounds_of(session)
    rounds, state = session.history(last + 1), session.state(last)
    base = read_record(Baseline, session.paths.baseline)
    values = [run.value for run in base.runs if run.value is not None]
    confirmed = _confirmation(session)
    noise = [verdict.noise_sd for _, verdict in rounds if verdict.noise_sd is not None]
    return History(
        session=session.config.session,
        # As seen from the folder where Snakemake runs, wherever that is.
        place=str(SessionPaths(session.config.session).folder),
        task=str(session.manifest.frozen["task"]),
        finished=confirmed is not None,
        baseline=sum(values) / len(values),
        replicates=len(values),
        noise_sd=noise[-1] if noise else None,
        champion=state.incumbent.number,
        best=state.incumbent.mean,
        entries=[entry for proposals, verdict in rounds for entry in _entries(proposals, verdict)],
        suggestions=state.suggestions,
        avoid=state.avoid,
        ranking=state.ranking,
        gain=confirmed.gain if confirmed else None,
        low=confirmed.low if confirmed else None,
        high=confirmed.high if confirmed else None,
        level=confirmed.level if confirmed else 0.95,
        stopped=state.detail if state.stop is not None else "",
        preset=session.manifest.preset.name if session.manifest.preset else "",
    )


def _confirmation(session: Session) -> Confirmation | None:
    if not session.paths.confirmation.is_file():
        return None
    return read_record(Confirmation, session.paths.confirmation)


def _entries(proposals: Proposals, verdict: RoundVerdict) -> list[Entry]:
    """The judged experiments of a round; a round after the end repeats the one before."""
    known = {proposal.number: proposal for proposal in proposals.proposals}
    return [
        Entry(
            number=ruling.number,
            category=known[ruling.number].category,
            description=known[ruling.number].description,
            verdict=ruling.verdict.value,
            kept=ruling.number == verdict.kept,
            failed=ruling.mean is None,
            delta=ruling.delta,
            confidence=ruling.confidence,
            reason=_failure(ruling),
        )
        for ruling in verdict.rulings
        if ruling.number in known
    ]


def _failure(ruling: Ruling) -> str:
    """Why an experiment has no metric; how it ended, and its own words."""
    failed = next((run for run in ruling.runs if run.outcome is not Outcome.OK), None)
    return ruling.reason if failed is None else f"{failed.outcome.value}: {failed.reason}"
