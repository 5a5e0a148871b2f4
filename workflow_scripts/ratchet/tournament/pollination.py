"""Wins offered to the other competitors, the champion, and how all stand."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ratchet.base.io import read_record, write_json
from ratchet.base.structs import Frozen, to_json_values
from ratchet.records.confirmed import confirmed_gain
from ratchet.records.history import History
from ratchet.records.records import Baseline, Confirmation, Direction, Manifest
from ratchet.session import Session
from ratchet.steps.confirm import compare_champion, confirmation_pair, noise_bound
from ratchet.tournament.arena import Arena
from ratchet.tournament.plan import Fate, Leg, Pollination, Queue, Win, leading_leg

PATCHES, BEST = "patches", "best"


def write_pollination(arena: Arena, number: int) -> None:
    """Write what is offered after round ``number``, all of whose legs are over."""
    legs = [read_record(Leg, arena.paths.leg(number, index)) for index in range(len(arena.names))]
    manifest = read_record(Manifest, arena.paths.manifest)
    ahead = leading_leg(legs, Direction(manifest.values["metric"]["direction"]))
    mode = arena.config.pollination
    sessions = [arena.open(index) for index in range(len(legs))]
    wins: list[Win] = []
    if mode == PATCHES:
        # The leader's first; those of one competitor in order, as later ones may
        # rest on earlier ones.
        order = sorted(legs, key=lambda leg: (leg is not ahead, legs.index(leg)))
        wins = [w for leg in order for w in wins_of(sessions[legs.index(leg)], leg)]
    elif mode == BEST and ahead.experiment:
        wins = [whole_configuration(sessions[legs.index(ahead)], ahead)]
    queues = tuple(Queue(leg.competitor, _new(arena, number, leg, wins)) for leg in legs)
    result = Pollination(number, mode, ahead.competitor, queues)
    arena.journal_of(arena.config).append(
        "pollinated",
        number=number,
        leader=ahead.competitor,
        offers=sum(len(queue.wins) for queue in queues),
    )
    write_json(arena.paths.pollination(number), result)


def _new(arena: Arena, number: int, leg: Leg, wins: list[Win]) -> tuple[Win, ...]:
    """Wins of others that a competitor was never offered, and those that still wait."""
    known: dict[str, Win] = {}
    for earlier in range(1, number):
        found = read_record(Pollination, arena.paths.pollination(earlier))
        known |= {win.origin: win for win in found.queue(leg.competitor)}
    waiting = [known[origin] for origin in leg.waiting]
    fresh = [w for w in wins if w.origin not in known and w.donor != leg.competitor]
    return (*waiting, *fresh)


def wins_of(session: Session, leg: Leg) -> list[Win]:
    """Wins that a competitor found and kept itself, up to the end of a leg."""
    history = History.read(session.paths, leg.rounds, confirmed=False)
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


def whole_configuration(session: Session, leg: Leg) -> Win:
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


def confirm_champion(arena: Arena) -> None:
    """Write the champion's confirmation; only its runs enter the gain that is reported.

    The best of several posteriors is partly lucky; the fresh runs know nothing of it.
    """
    last = arena.config.evolve_rounds
    legs = [read_record(Leg, arena.paths.leg(last, i)) for i in range(len(arena.names))]
    main = arena.main
    first = leading_leg(legs, main.task.metric.direction)
    leader = arena.open(legs.index(first))
    held = leader.state(first.rounds).incumbent
    pairs = [confirmation_pair(main, held, n) for n in range(main.config.confirm_replicates)]
    result = Champion(
        competitor=first.competitor,
        session=first.session,
        experiment=held.number,
        source=held.source,
        commit=held.commit,
        confirmation=compare_champion(main, held, pairs, noise_bound(leader, first.rounds)),
    )
    write_json(arena.paths.champion, result)


Facts = dict[str, Any]

Z = 1.959964
"""Half-width of a 95 % interval of a normal posterior, in sds."""


def tournament_facts(arena: Arena, last: int, champion: Champion | None = None) -> Facts:
    """The facts of a tournament after its round ``last``; equal ones are equal."""
    main = arena.main
    metric = main.task.metric
    start = History(read_record(Baseline, arena.paths.baseline)).start
    players = [Player(arena, index, last) for index in range(len(arena.names))]
    adopted = Counter(
        trial.proposal.origin.partition("#")[0]
        for player in players
        for trial in player.history.kept
        if trial.proposal.origin
    )
    rows = [player.row(adopted[player.leg.session]) for player in players]
    sign = metric.direction.sign
    rows.sort(key=lambda row: (sign * row["mean"], arena.names.index(row["competitor"])))
    searches = [run for p in players for run in (*p.history.search_runs, *p.history.incumbent_runs)]
    counted = [run.key for run in searches]
    return {
        "session": arena.config.session,
        "task": main.task.name,
        "metric": {"name": metric.name, "unit": metric.unit, "direction": metric.direction.value},
        "pollination": arena.config.pollination,
        "rounds": last,
        "runs_per_round": arena.config.evolve_runs,
        "baseline": {"mean": start.mean, "runs": len(start.runs), "commit": start.commit},
        "strategies": to_json_values(arena.config.strategies),
        "leaderboard": [{"rank": rank, **row} for rank, row in enumerate(rows, 1)],
        "lineage": {player.leg.competitor: player.lineage() for player in players},
        "pollinations": _pollinations(arena, players, last),
        "runs": {"counted": len(counted), "distinct": len(set(counted))},
        "champion": champion
        and {**to_json_values(champion), "gain": confirmed_gain(champion.confirmation)},
    }


class Player:
    """One competitor's legs up to round ``last``, and its history up to their end."""

    def __init__(self, arena: Arena, index: int, last: int) -> None:
        self.session = arena.open(index)
        self.legs = [read_record(Leg, arena.paths.leg(n, index)) for n in range(last + 1)]
        self.leg = self.legs[-1]
        self.history = History.read(self.session.paths, self.leg.rounds, confirmed=False)

    def row(self, adopted_elsewhere: int) -> Facts:
        """Its line of the leaderboard."""
        history, sign = self.history, self.session.sign
        start, held = history.states[0].incumbent, history.state.incumbent
        risk = history.verdicts[-1].expected_false_keeps if history.verdicts else 0.0
        adopted = sum(bool(trial.proposal.origin) for trial in history.kept)
        strategy: Mapping[str, Any] = self.session.config.strategy or {}
        return {
            "competitor": self.leg.competitor,
            "session": self.leg.session,
            "branch": f"ratchet/{self.leg.session}",
            "strategy": strategy.get("brief", ""),
            "proposer": ", ".join(self.session.config.turns),
            "experiment": held.number,
            "commit": held.commit,
            "best": held.measured,
            "mean": held.mean,
            "low": held.mean - Z * held.sd,
            "high": held.mean + Z * held.sd,
            "gain": sign * (start.mean - held.mean),
            "wins": len(history.kept),
            "own_wins": len(history.kept) - adopted,
            "adopted_wins": adopted,
            "wins_adopted_elsewhere": adopted_elsewhere,
            "expected_false_keeps": risk,
            "experiments": len(history.judged),
            "crashes": sum(
                trial.verdict is not None and trial.verdict.is_failure for trial in history.judged
            ),
            "rounds": self.leg.rounds,
            "runs": self.leg.runs,
            "stop": None if self.leg.stop is None else self.leg.stop.value,
            "detail": self.leg.detail,
            "trajectory": self._trajectory(),
        }

    def _trajectory(self) -> list[Facts]:
        """The incumbent after each leg."""
        return [
            {"round": leg.number, "runs": leg.runs, "mean": held.mean, "sd": held.sd}
            for leg in self.legs
            for held in (self.history.states[leg.rounds].incumbent,)
        ]

    def lineage(self) -> list[Facts]:
        """Parts of its incumbent: every keep in order, and whose win each was."""
        return [
            {
                "experiment": trial.number,
                "commit": trial.commit,
                "description": trial.description,
                "category": trial.category,
                "proposer": trial.proposal.proposer,
                "origin": trial.proposal.origin or None,
                "gain": trial.gain,
                "confidence": trial.confidence,
                "runs": len(trial.runs),
            }
            for trial in self.history.kept
        ]


def _pollinations(arena: Arena, players: Sequence[Player], last: int) -> list[Facts]:
    """Every win that was passed on: to whom, what became of it, and its re-test there."""
    found: list[Facts] = []
    for number in range(1, last):
        offered = read_record(Pollination, arena.paths.pollination(number))
        for player in players:
            done = {
                graft.origin: (leg.number, graft) for leg in player.legs for graft in leg.grafts
            }
            named = {row["origin"] for row in found if row["recipient"] == player.leg.competitor}
            for win in offered.queue(player.leg.competitor):
                if win.origin in named:
                    continue
                row: Facts = {
                    "round": number,
                    "donor": win.donor,
                    "recipient": player.leg.competitor,
                    "origin": win.origin,
                    "description": win.description,
                    "whole": win.whole,
                    "gain_there": win.gain,
                    "fate": "waiting",
                    "detail": "its turn has not come",
                }
                if win.origin in done:
                    row |= _outcome(player, *done[win.origin])
                found.append(row)
    return found


def _outcome(player: Player, leg: int, graft: Any) -> Facts:
    """Outcome of a graft, with its re-test if it was put forward."""
    if graft.fate is not Fate.OFFERED:
        return {"fate": graft.fate.value, "detail": graft.detail}
    # A near miss is tried again under another number; the first try is the re-test.
    trial = next(t for t in player.history.judged if t.proposal.origin == graft.origin)
    assert trial.ruling is not None
    return {
        "fate": "kept" if trial.kept else "rejected",
        "detail": trial.ruling.reason,
        "retest": {
            "leg": leg,
            "experiment": trial.number,
            "verdict": trial.word,
            "gain": trial.gain,
            "confidence": trial.confidence,
            "delta": trial.delta,
            "runs": len(trial.runs),
        },
    }
