"""What a tournament came to: leaderboard, lineage, and every win that was passed on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ratchet import files
from ratchet.codec import encode
from ratchet.history import History
from ratchet.records import Baseline, Verdict
from ratchet.session import Session
from ratchet.stages.champion import Champion
from ratchet.stages.entering import Arena
from ratchet.tournaments import Fate, Leg, Pollination

Facts = dict[str, Any]

Z = 1.959964
"""Half-width of a 95 % interval of a normal posterior, in sds."""


def build(arena: Arena, last: int, champion: Champion | None = None) -> Facts:
    """The facts of a tournament after its round ``last``; equal ones are equal."""
    main = arena.main
    metric = main.task.metric
    start = History(files.read_record(Baseline, arena.paths.baseline)).start
    players = [Player.read(arena, index, last) for index in range(len(arena.names))]
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
        "baseline": {
            "mean": start.mean,
            "runs": len(start.runs),
            "commit": start.commit,
        },
        "strategies": encode(arena.config.strategies),
        "leaderboard": [{"rank": rank, **row} for rank, row in enumerate(rows, 1)],
        "lineage": {player.leg.competitor: player.lineage() for player in players},
        "pollinations": _pollinations(arena, players, last),
        "runs": {"counted": len(counted), "distinct": len(set(counted))},
        "champion": encode(champion),
    }


class Player:
    """One competitor's legs, and its history up to the end of the last one."""

    def __init__(self, session: Session, legs: Sequence[Leg]) -> None:
        self.session, self.legs, self.leg = session, legs, legs[-1]
        self.history = History.read(session.paths, self.leg.rounds)

    @classmethod
    def read(cls, arena: Arena, index: int, last: int) -> Player:
        """Read all legs of a competitor up to round ``last``."""
        paths = [arena.paths.leg(number, index) for number in range(last + 1)]
        return cls(arena.open(index), [files.read_record(Leg, path) for path in paths])

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
            "proposer": self.session.config.proposer,
            "experiment": held.number,
            "commit": held.commit,
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
                trial.verdict in (Verdict.CRASH, Verdict.TAMPERED) for trial in history.judged
            ),
            "rounds": self.leg.rounds,
            "runs": self.leg.runs,
            "stop": None if self.leg.stop is None else self.leg.stop.value,
            "detail": self.leg.detail,
            "trajectory": self._trajectory(),
        }

    def _trajectory(self) -> list[Facts]:
        """The incumbent after each leg."""
        found = []
        for leg in self.legs:
            held = self.history.states[leg.rounds].incumbent
            found.append({"round": leg.number, "runs": leg.runs, "mean": held.mean, "sd": held.sd})
        return found

    def lineage(self) -> list[Facts]:
        """What its incumbent is made of: every keep in order, and whose win each was."""
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
        offered = files.read_record(Pollination, arena.paths.pollination(number))
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
    """What a graft came to; its re-test if it was put forward."""
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
