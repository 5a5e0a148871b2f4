"""The brief for a round, from a session's records."""

from __future__ import annotations

from ratchet import files, steer
from ratchet.brief import Brief, render
from ratchet.history import History
from ratchet.records import Direction
from ratchet.session import Session
from ratchet.stages import limits, memory
from ratchet.stages.advising import attempts_of, pulls_of, warnings


def brief(session: Session, history: History) -> str:
    """What whoever proposes after the rounds of ``history`` should know, as Markdown."""
    return render(gather(session, history))


def gather(session: Session, history: History) -> Brief:
    """The facts of the brief for the round after those of ``history``."""
    settings = files.read_json(session.paths.round(history.last).judge)["settings"]
    return Brief(
        history=history,
        goal=_goal(session),
        budget=_budget(session),
        keep_probability=float(settings["keep_probability"]),
        scores=steer.score(pulls_of(history.judged), session.categories),
        avoid=warnings(session, attempts_of(history.judged, session.store)),
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
