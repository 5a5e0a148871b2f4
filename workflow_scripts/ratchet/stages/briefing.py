"""The brief for a round, from a session's records."""

from __future__ import annotations

from ratchet import files, steer
from ratchet.brief import Brief, Tried, render
from ratchet.records import Baseline, Direction
from ratchet.session import Session
from ratchet.stages import limits, memory
from ratchet.stages.advising import History, attempts_of, trials_of, warnings


def brief(session: Session, number: int) -> str:
    """What whoever proposes for round ``number`` should know, as Markdown."""
    return render(gather(session, number))


def gather(session: Session, number: int) -> Brief:
    """The facts of the brief for round ``number``; all rounds before it are finished."""
    state = session.state(number - 1)
    history = session.history(number)
    settings = files.read_json(session.paths.round(number - 1).judge)["settings"]
    base = files.read_record(Baseline, session.paths.baseline)
    values = [run.value for run in base.runs if run.value is not None]
    return Brief(
        round=number,
        goal=_goal(session),
        budget=_budget(session),
        number=state.incumbent.number,
        mean=state.incumbent.mean,
        sd=state.incumbent.sd,
        baseline=sum(values) / len(values),
        kept=state.incumbent.kept,
        noise_sd=state.noise_sd,
        keep_probability=float(settings["keep_probability"]),
        scores=steer.score(trials_of(history), session.categories),
        suggestions=state.suggestions,
        avoid=warnings(session, attempts_of(history, session.store)),
        tried=_tried(history),
        constraints=[
            words for words in (memory.ceiling(session).words, strategy_words(session)) if words
        ],
    )


def strategy_words(session: Session) -> str:
    """What a competitor's strategy asks of whoever proposes."""
    followed = session.config.strategy
    return "" if followed is None else f"Strategy: {followed['brief']}".rstrip(". ")


def _goal(session: Session) -> str:
    metric = session.task.metric
    better = "lower" if metric.direction is Direction.MINIMIZE else "higher"
    unit = f" ({metric.unit})" if metric.unit else ""
    text = f"{metric.name}{unit}, {better} is better"
    target = limits.target(session.config, session.manifest)
    return text if target is None else f"{text}; target {target:g}"


def _budget(session: Session) -> str:
    budget = session.budget
    if budget["steps"] is not None:
        return f"{budget['steps']} steps"
    return f"{budget['seconds']:g} s of training"


def _tried(history: History) -> list[Tried]:
    found = []
    for proposals, verdict in history:
        known = {p.number: p for p in proposals.proposals}
        found += [
            Tried(
                ruling.number,
                "KEPT" if ruling.number == verdict.kept else ruling.verdict.value,
                known[ruling.number].category,
                known[ruling.number].description,
                ruling.delta,
                ruling.confidence,
            )
            for ruling in verdict.rulings
        ]
    return found
