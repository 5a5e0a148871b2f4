"""What a tournament came to: leaderboard, lineage, and every win that was passed on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ratchet import files
from ratchet.codec import encode
from ratchet.records import Baseline, Proposal, RoundVerdict, Ruling, Verdict
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
    baseline = files.read_record(Baseline, arena.paths.baseline)
    values = [run.value for run in baseline.runs if run.value is not None]
    players = [Player.read(arena, index, last) for index in range(len(arena.names))]
    adopted = Counter(
        p.origin.partition("#")[0] for player in players for p, _ in player.kept if p.origin
    )
    rows = [player.row(adopted[player.leg.session]) for player in players]
    sign = metric.direction.sign
    rows.sort(key=lambda row: (sign * row["mean"], arena.names.index(row["competitor"])))
    counted = [run.key for player in players for run in player.runs]
    return {
        "session": arena.config.session,
        "task": main.task.name,
        "metric": {"name": metric.name, "unit": metric.unit, "direction": metric.direction.value},
        "pollination": arena.config.pollination,
        "rounds": last,
        "runs_per_round": arena.config.evolve_runs,
        "baseline": {
            "mean": sum(values) / len(values),
            "runs": len(baseline.runs),
            "commit": baseline.commit,
        },
        "strategies": encode(arena.config.strategies),
        "leaderboard": [{"rank": rank, **row} for rank, row in enumerate(rows, 1)],
        "lineage": {player.leg.competitor: player.lineage() for player in players},
        "pollinations": _pollinations(arena, players, last),
        "runs": {"counted": len(counted), "distinct": len(set(counted))},
        "champion": encode(champion),
    }


class Player:
    """One competitor's records up to the end of a leg."""

    def __init__(self, session: Session, legs: Sequence[Leg]) -> None:
        self.session, self.legs, self.leg = session, legs, legs[-1]
        self.start, self.end = session.state(0), session.state(self.leg.rounds)
        self.judged: list[tuple[Proposal, Ruling, RoundVerdict]] = []
        for proposals, verdict in session.history(self.leg.rounds + 1):
            known = {p.number: p for p in proposals.proposals}
            self.judged += [(known[r.number], r, verdict) for r in verdict.rulings]

    @classmethod
    def read(cls, arena: Arena, index: int, last: int) -> Player:
        """Read all legs of a competitor up to round ``last``."""
        paths = [arena.paths.leg(number, index) for number in range(last + 1)]
        return cls(arena.open(index), [files.read_record(Leg, path) for path in paths])

    @property
    def kept(self) -> list[tuple[Proposal, Ruling]]:
        """The experiments that became its incumbent, in order."""
        return [(p, r) for p, r, verdict in self.judged if verdict.kept == p.number]

    @property
    def runs(self) -> list[Any]:
        """All its training runs after the baseline."""
        found = [run for _, ruling, _ in self.judged for run in ruling.runs]
        for _, verdict in self.session.history(self.leg.rounds + 1):
            found += [*verdict.incumbent_runs]
            found += [verdict.remeasured.run] if verdict.remeasured else []
        return found

    def row(self, adopted_elsewhere: int) -> Facts:
        """Its line of the leaderboard."""
        held, sign = self.end.incumbent, self.session.sign
        verdicts = [verdict for _, verdict in self.session.history(self.leg.rounds + 1)]
        risk = verdicts[-1].expected_false_keeps if verdicts else 0.0
        adopted = sum(bool(p.origin) for p, _ in self.kept)
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
            "gain": sign * (self.start.incumbent.mean - held.mean),
            "wins": len(self.kept),
            "own_wins": len(self.kept) - adopted,
            "adopted_wins": adopted,
            "wins_adopted_elsewhere": adopted_elsewhere,
            "expected_false_keeps": risk,
            "experiments": len(self.judged),
            "crashes": sum(
                ruling.verdict in (Verdict.CRASH, Verdict.TAMPERED) for _, ruling, _ in self.judged
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
            held = self.session.state(leg.rounds).incumbent
            found.append({"round": leg.number, "runs": leg.runs, "mean": held.mean, "sd": held.sd})
        return found

    def lineage(self) -> list[Facts]:
        """What its incumbent is made of: every keep in order, and whose win each was."""
        return [
            {
                "experiment": proposal.number,
                "commit": proposal.commit,
                "description": proposal.description,
                "category": proposal.category,
                "proposer": proposal.proposer,
                "origin": proposal.origin or None,
                "gain": ruling.gain,
                "confidence": ruling.confidence,
                "runs": len(ruling.runs),
            }
            for proposal, ruling in self.kept
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
    judged = [
        (p, ruling, verdict) for p, ruling, verdict in player.judged if p.origin == graft.origin
    ]
    # A near miss is tried again under another number; the first try is the re-test.
    proposal, ruling, verdict = judged[0]
    return {
        "fate": "kept" if verdict.kept == proposal.number else "rejected",
        "detail": ruling.reason,
        "retest": {
            "leg": leg,
            "experiment": proposal.number,
            "verdict": ruling.verdict.value,
            "gain": ruling.gain,
            "confidence": ruling.confidence,
            "delta": ruling.delta,
            "runs": len(ruling.runs),
        },
    }
