"""The tournament's best beside the common baseline, with fresh seeds."""

from __future__ import annotations

from ratchet import files
from ratchet.codec import Frozen
from ratchet.records import Confirmation
from ratchet.stages import confirm
from ratchet.stages.entering import Arena
from ratchet.tournaments import Leg, leader


class Champion(Frozen):
    """The leader after the last round, and its fresh runs.

    ``session`` and ``experiment`` name it, ``source`` is the digest of its files.
    """

    competitor: str
    session: str
    experiment: int
    source: str
    commit: str
    confirmation: Confirmation


def run(arena: Arena) -> None:
    """Write the champion's confirmation; only its runs enter the gain that is reported.

    The best of several posteriors is partly lucky; the fresh runs know nothing of it.
    """
    last = arena.config.evolve_rounds
    legs = [files.read_record(Leg, arena.paths.leg(last, i)) for i in range(len(arena.names))]
    main = arena.main
    first = leader(legs, main.task.metric.direction)
    held = arena.open(legs.index(first)).state(first.rounds).incumbent
    pairs = [confirm.pair(main, held, n) for n in range(main.config.confirm_replicates)]
    result = Champion(
        competitor=first.competitor,
        session=first.session,
        experiment=held.number,
        source=held.source,
        commit=held.commit,
        confirmation=confirm.confirmed(main, held, pairs),
    )
    files.write_json(arena.paths.champion, result)
