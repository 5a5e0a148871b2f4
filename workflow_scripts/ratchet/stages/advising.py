"""What steering says in words: what to try next, and what to leave alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ratchet import files, steer
from ratchet.advice import Suggestion
from ratchet.attempts import Attempt, crashes, exhausted
from ratchet.history import History, Trial
from ratchet.proposers import declared
from ratchet.session import Session
from ratchet.store import Store
from ratchet.suggestions import Option, suggest

SUGGESTED = 5
"""Suggestions that a round leaves for the next."""
AVOIDED = 20
"""Notes on what to leave alone; the latest crashes and the most used constants."""


def advise(
    session: Session,
    history: History,
    ranking: Sequence[str],
    sources: Mapping[str, str],
    noise_sd: float | None,
) -> tuple[tuple[Suggestion, ...], tuple[str, ...]]:
    """Suggestions and warnings after a session's rounds so far.

    ``ranking`` are the categories with the best first, ``sources`` the files of
    the incumbent.  For a declared search space the suggestions are exact edits.
    """
    attempts = attempts_of(history.judged)
    space = session.task.search_space
    tried = {trial.edit for trial in history.trials if trial.edit is not None}
    options = _options(session, tried, sources) if space else None
    settings = files.read_json(session.paths.round(history.last).judge)["settings"]
    found = suggest(
        attempts,
        ranking,
        steer.score(pulls_of(history.judged), session.categories),
        SUGGESTED,
        float(settings["keep_probability"]),
        noise_sd,
        options,
        free=session.free,
    )
    return tuple(found), warnings(session, attempts)


def warnings(session: Session, attempts: Sequence[Attempt]) -> tuple[str, ...]:
    """What to leave alone: crashes, and constants that are used up."""
    space = session.task.search_space
    values = {c.name: [repr(value) for value in c.values] for c in space if c.is_constant}
    notes = [*crashes(attempts), *exhausted(attempts, values)]
    return tuple(note.text for note in notes[:AVOIDED])


def _options(session: Session, tried: Iterable[str], sources: Mapping[str, str]) -> list[Option]:
    """The declared changes that mean something to the incumbent and were not tried."""
    known = set(tried)
    return [
        Option(draft.category, draft.description, draft.hypothesis)
        for draft in declared.applicable(session.task.search_space, session.texts(sources))
        if draft.edit.label not in known
    ]


def pulls_of(trials: Iterable[Trial]) -> list[steer.Pull]:
    """What steering learns from judged trials, in order."""
    return [steer.Pull(trial.category, trial.kept, trial.gain or 0.0) for trial in trials]


def attempts_of(trials: Iterable[Trial], measured: Store | None = None) -> list[Attempt]:
    """Judged trials as suggestions read them, in order.

    Of a crash nothing but the ``measured`` peak of memory is known.  It is not the
    same in two runs, so no record of a session may rest on it.
    """
    return [
        Attempt(
            number=trial.number,
            category=trial.category,
            description=trial.description,
            kept=trial.kept,
            crashed=trial.crashed,
            gain=trial.gain,
            confidence=trial.confidence,
            memory_gb=_memory_gb(trial, measured),
            constant=edit.name if edit is not None and edit.value is not None else None,
            value=edit.value if edit is not None else None,
        )
        for trial in trials
        for edit in (trial.proposal.edit,)
    ]


def _memory_gb(trial: Trial, measured: Store | None) -> float | None:
    """What a run reported, or what was measured of one that did not come so far."""
    if trial.memory_mb is not None or measured is None:
        return None if trial.memory_mb is None else trial.memory_mb / 1024
    records = [measured.lookup(run.key) for run in trial.runs]
    peaks = [r.peak_memory_mb for r in records if r is not None and r.peak_memory_mb is not None]
    return max(peaks) / 1024 if peaks else None
