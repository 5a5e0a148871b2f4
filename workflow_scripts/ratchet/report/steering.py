"""What steering said, and what became of it."""

from __future__ import annotations

from collections.abc import Iterable

from ratchet.advice import Suggestion
from ratchet.codec import encode
from ratchet.history import History
from ratchet.report import text
from ratchet.report.inputs import Facts, SessionRecords
from ratchet.steer import CategoryScore
from ratchet.suggestions import followed


def steering(records: SessionRecords) -> Facts | None:
    """Record by category, what to try next, and which suggestions were taken up."""
    if not records.history.states:
        return None
    state = records.history.state
    return {
        "round": state.round,
        **advice(state.ranking, records.categories, state.suggestions, state.avoid),
        "followed": _followed(records.history),
    }


def advice(
    ranking: Iterable[str],
    categories: Iterable[CategoryScore],
    suggestions: Iterable[Suggestion],
    avoid: Iterable[str],
) -> Facts:
    """What steering says of what to try next, and of what to leave alone."""
    return {
        "ranking": [text.label(name, 60) for name in ranking],
        "categories": [encode(score) for score in categories],
        "suggestions": [
            {
                "kind": one.kind.value,
                "category": text.label(one.category, 60),
                "title": text.label(one.title),
                "evidence": text.label(one.evidence),
                "experiments": list(one.experiments),
            }
            for one in suggestions
        ],
        "avoid": [text.label(note) for note in avoid],
    }


def _followed(history: History) -> list[Facts]:
    """Each new proposal with the suggestion of the round before that it took up."""
    before = {state.round + 1: state.suggestions for state in history.states}
    found = []
    for trial in history.trials:
        if trial.proposal.retry_of is not None or trial.round not in before:
            continue
        suggestions = before[trial.round]
        taken = followed(suggestions, trial.category, trial.description)
        found.append(
            {
                "number": trial.number,
                "place": taken[0] if taken else None,
                "exactly": taken[1] if taken else False,
                "title": text.label(suggestions[taken[0] - 1].title) if taken else None,
                "verdict": trial.word or None,
                "status": trial.status.value if trial.status else None,
            }
        )
    return found
