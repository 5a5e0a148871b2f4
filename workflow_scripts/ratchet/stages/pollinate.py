"""After a round of the tournament: what every competitor is offered in the next one."""

from __future__ import annotations

from ratchet import files
from ratchet.history import History
from ratchet.records import Direction, Manifest
from ratchet.session import Session
from ratchet.stages.entering import Arena
from ratchet.tournaments import Leg, Pollination, Queue, Win, leader

PATCHES, BEST, NONE = "patches", "best", "none"


def run(arena: Arena, number: int) -> None:
    """Write what is offered after round ``number``, all of whose legs are over."""
    legs = [
        files.read_record(Leg, arena.paths.leg(number, index)) for index in range(len(arena.names))
    ]
    manifest = files.read_record(Manifest, arena.paths.manifest)
    ahead = leader(legs, Direction(manifest.values["metric"]["direction"]))
    mode = arena.config.pollination
    sessions = [arena.open(index) for index in range(len(legs))]
    wins: list[Win] = []
    if mode == PATCHES:
        # The leader's first; those of one competitor in order, as later ones may
        # rest on earlier ones.
        order = sorted(legs, key=lambda leg: (leg is not ahead, legs.index(leg)))
        wins = [w for leg in order for w in wins_of(sessions[legs.index(leg)], leg)]
    elif mode == BEST and ahead.experiment:
        wins = [whole(sessions[legs.index(ahead)], ahead)]
    queues = tuple(Queue(leg.competitor, _new(arena, number, leg, wins)) for leg in legs)
    result = Pollination(number, mode, ahead.competitor, queues)
    arena.journal_of(arena.config).append(
        "pollinated",
        number=number,
        leader=ahead.competitor,
        offers=sum(len(queue.wins) for queue in queues),
    )
    files.write_json(arena.paths.pollination(number), result)


def _new(arena: Arena, number: int, leg: Leg, wins: list[Win]) -> tuple[Win, ...]:
    """Wins of others that a competitor was never offered, and those that still wait."""
    known: dict[str, Win] = {}
    for earlier in range(1, number):
        found = files.read_record(Pollination, arena.paths.pollination(earlier))
        known |= {win.origin: win for win in found.queue(leg.competitor)}
    waiting = [known[origin] for origin in leg.waiting]
    fresh = [w for w in wins if w.origin not in known and w.donor != leg.competitor]
    return (*waiting, *fresh)


def wins_of(session: Session, leg: Leg) -> list[Win]:
    """What a competitor found and kept itself, up to the end of a leg."""
    history = History.read(session.paths, leg.rounds)
    return [
        Win(
            donor=leg.competitor,
            session=leg.session,
            experiment=trial.number,
            description=trial.description,
            category=trial.category,
            hypothesis=trial.proposal.hypothesis,
            gain=trial.gain or 0.0,
            files=trial.files,
            parent=history.sources[trial.proposal.parent],
            edit=trial.proposal.edit,
        )
        for trial in history.kept
        if not trial.proposal.origin
    ]


def whole(session: Session, leg: Leg) -> Win:
    """A competitor's whole configuration, for all others."""
    start, held = session.state(0).incumbent, session.state(leg.rounds).incumbent
    return Win(
        donor=leg.competitor,
        session=leg.session,
        experiment=held.number,
        description=f"the whole configuration of {leg.competitor}",
        category="other",
        hypothesis=f"{leg.competitor} led after round {leg.number} of the tournament.",
        gain=session.sign * (start.mean - held.mean),
        files=held.files,
        parent=start.files,
        whole=True,
    )
