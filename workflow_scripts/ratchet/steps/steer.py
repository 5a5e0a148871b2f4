"""Turn a round's verdict into what the next round starts from."""

from collections.abc import Iterable
from pathlib import Path

from ratchet.base.errors import RatchetError
from ratchet.base.git import show_commit
from ratchet.base.io import write_json
from ratchet.base.structs import asdict, replace
from ratchet.records.history import History
from ratchet.records.records import Incumbent, SessionState
from ratchet.session import Session
from ratchet.steering.suggestions import steering_advice


def write_state(session: Session, number: int) -> None:
    """Write the session's state after round ``number``."""
    history = History.read(session.paths, number, confirmed=False)
    before, verdict = history.states[number - 1], history.verdicts[-1]
    incumbent = _incumbent(before.incumbent, history)
    advice = steering_advice(session, history, incumbent.files, verdict.noise_sd)
    state = SessionState(
        round=number,
        incumbent=incumbent,
        runs_used=before.runs_used + verdict.runs_used,
        stop=verdict.stop,
        detail=verdict.detail,
        near_misses=waiting_near_misses(before.near_misses, history),
        noise_sd=verdict.noise_sd,
        **asdict(advice),
    )
    session.journal.append(
        "round_finished", round=number, rounds=session.config.rounds, ranking=state.ranking
    )
    if verdict.kept is not None and not _competes(session):
        show_incumbent(session, session.paths.worktree, incumbent.commit)
    write_json(session.paths.round(number).steer, state)


def _competes(session: Session) -> bool:
    """Whether it is a competitor's session, whose incumbent is shown after its leg."""
    own = session.config.strategy
    return own is not None and session.config.session.endswith(f".{own['name']}")


def show_incumbent(session: Session, place: Path, commit: str) -> None:
    """Check out the incumbent in a worktree, to be looked at; one with edits is left alone.

    Nothing is read from there, so that no failure of it stops a session.
    """
    try:
        detail = show_commit(session.paths.repository, place, commit)
    except (RatchetError, OSError) as error:
        detail = str(error)
    if detail:
        session.journal.append("worktree", path=str(place), detail=detail)


def waiting_near_misses(before: Iterable[int], history: History) -> tuple[int, ...]:
    """Near misses that are to be tried again, after the last round of ``history``.

    Those that this round tried again or found meaningless leave the queue, its
    own near misses join it; the largest gain comes first.
    """
    proposals, verdict = history.proposals[-1], history.verdicts[-1]
    judged = {ruling.number for ruling in verdict.rulings}
    gone = {p.retry_of for p in proposals.proposals if p.number in judged} | {*proposals.dropped}
    new = [ruling.number for ruling in verdict.rulings if ruling.near_miss]
    gain = {trial.number: trial.gain or 0.0 for trial in history.judged}
    left = {*before, *new} - gone
    return tuple(sorted(left, key=lambda number: (-gain.get(number, 0.0), number)))


def _incumbent(before: Incumbent, history: History) -> Incumbent:
    """The incumbent after the last round; a kept trial takes the old one's place."""
    verdict = history.verdicts[-1]
    mean = before.mean if verdict.incumbent_mean is None else verdict.incumbent_mean
    sd = before.sd if verdict.incumbent_sd is None else verdict.incumbent_sd
    if verdict.kept is None:
        return replace(before, mean=mean, sd=sd)
    kept = history.kept[-1]
    assert kept.mean is not None
    return replace(
        before,
        measured=kept.mean,
        mean=mean,
        sd=sd,
        number=kept.number,
        source=kept.proposal.source,
        files=kept.files,
        commit=kept.commit,
        memory_mb=kept.memory_mb,
        kept=before.kept + 1,
    )
