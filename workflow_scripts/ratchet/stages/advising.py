"""What steering says in words: what to try next, and what to leave alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ratchet import files, steer
from ratchet.advice import Suggestion
from ratchet.attempts import Attempt, crashes, exhausted
from ratchet.proposers import declared
from ratchet.records import Proposal, Proposals, RoundVerdict, Ruling, Verdict
from ratchet.session import Session
from ratchet.store import Store
from ratchet.suggestions import Option, suggest

SUGGESTED = 5
"""Suggestions that a round leaves for the next."""
AVOIDED = 20
"""Notes on what to leave alone; the latest crashes and the most used constants."""

History = Sequence[tuple[Proposals, RoundVerdict]]


def advise(
    session: Session,
    history: History,
    ranking: Sequence[str],
    sources: Mapping[str, str],
    noise_sd: float | None,
) -> tuple[tuple[Suggestion, ...], tuple[str, ...]]:
    """Suggestions and warnings after the rounds of ``history``.

    ``ranking`` are the categories with the best first, ``sources`` the files of
    the incumbent.  For a declared search space the suggestions are exact edits.
    """
    attempts = attempts_of(history)
    space = session.task.search_space
    tried = {p.edit.label for ps, _ in history for p in ps.proposals if p.edit is not None}
    options = _options(session, tried, sources) if space else None
    last = history[-1][1].round if history else 0
    settings = files.read_json(session.paths.round(last).judge)["settings"]
    found = suggest(
        attempts,
        ranking,
        steer.score(trials_of(history), session.categories),
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


def trials_of(history: Iterable[tuple[Proposals, RoundVerdict]]) -> list[steer.Trial]:
    """What steering learns from rounds, in order."""
    return [
        steer.Trial(proposal.category, ruling.number == verdict.kept, ruling.gain or 0.0)
        for proposal, ruling, verdict in _judged(history)
    ]


def attempts_of(history: History, measured: Store | None = None) -> list[Attempt]:
    """The experiments of rounds as steering reads them, in order.

    Of a crash nothing but the ``measured`` peak of memory is known.  It is not the
    same in two runs, so no record of a session may rest on it.
    """
    return [
        Attempt(
            number=ruling.number,
            category=proposal.category,
            description=proposal.description,
            kept=ruling.number == verdict.kept,
            crashed=ruling.verdict is Verdict.CRASH,
            gain=ruling.gain,
            confidence=ruling.confidence,
            memory_gb=_memory_gb(ruling, measured),
            constant=edit.name if edit is not None and edit.value is not None else None,
            value=edit.value if edit is not None else None,
        )
        for proposal, ruling, verdict in _judged(history)
        for edit in (proposal.edit,)
    ]


def _judged(
    history: Iterable[tuple[Proposals, RoundVerdict]],
) -> Iterable[tuple[Proposal, Ruling, RoundVerdict]]:
    for proposals, verdict in history:
        known = {p.number: p for p in proposals.proposals}
        for ruling in verdict.rulings:
            yield known[ruling.number], ruling, verdict


def _memory_gb(ruling: Ruling, measured: Store | None) -> float | None:
    """What a run reported, or what was measured of one that did not come so far."""
    if ruling.memory_mb is not None or measured is None:
        return None if ruling.memory_mb is None else ruling.memory_mb / 1024
    records = [measured.lookup(run.key) for run in ruling.runs]
    peaks = [r.peak_memory_mb for r in records if r is not None and r.peak_memory_mb is not None]
    return max(peaks) / 1024 if peaks else None
