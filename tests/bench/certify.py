"""Certification: several changes left out at once, against one at a time.

    make bench
    .venv-dev/bin/python tests/bench/certify.py --sessions 200

Sessions of 19 runs, 3 of them of the baseline, keep six changes: three real ones and three
passengers without effect, which were kept by luck; ten proposals are not kept.  Their
certification has 6, 8 or 12 runs and one of the smaller champion; 3 + 3 runs confirm.
Shown per session: real changes certified, false ones certified, passengers removed, real
changes removed, and the claimed contributions minus the true ones, in noise sds.
Then the same where two real changes overlap, so that each is worth 40 % less beside the
other, and where one run in seven was slowed by three to nine noise sds.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import cycle, islice

import numpy as np

from ratchet.base.structs import replace
from ratchet.judge import Judge, Settings
from ratchet.judge.certify import Change, VariantRun, contributions, plan_leave_outs
from ratchet.records.records import Standing

REAL, PASSENGERS = 3, 3
OTHERS = (-0.5, -1.0, -2.0, -3.0, -6.0, 0.0, 0.0, -1.0, -4.0, -2.0)
"""Effects of proposals that are not kept, in noise sds."""

BASELINES, CONFIRMATIONS = 3, 3
TRIES = 300
"""Draws of a measurement until it leads to what the session shall decide."""

Plan = Callable[[Sequence[Change], int, Sequence[VariantRun]], Sequence[frozenset[int]]]


def one_at_a_time(
    changes: Sequence[Change], runs: int, _: Sequence[VariantRun]
) -> list[frozenset[int]]:
    """The champion, then without each change in turn, doubtful ones first."""
    doubtful = sorted(changes, key=lambda change: change.confidence)
    rows = [frozenset[int](), *(frozenset({change.number}) for change in doubtful)]
    return list(islice(cycle(rows), runs))


class World:
    """A session that kept six changes, and what the champion measures without some."""

    def __init__(self, effect: float, overlap: float, slowed: float, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.overlap, self.slowed = overlap, slowed
        kept = [effect] * REAL + [0.0] * PASSENGERS
        proposals = [(gain, True) for gain in kept] + [(gain, False) for gain in OTHERS]
        settings = Settings.for_session("gain", scale=0.25)
        judge = Judge(replace(settings, keep_probability=0.5))
        self.baseline = self.random.normal(size=BASELINES).tolist()
        for value in self.baseline:
            judge.incumbent(value)
        self.gains: list[float] = []
        self.changes: list[Change] = []
        now = 0.0
        search: list[tuple[int, int | None, float]] = [(0, None, y) for y in self.baseline]
        for place in self.random.permutation(len(proposals)):
            gain, keep = proposals[place]
            for _ in range(TRIES):
                y = now - gain + self.random.normal()
                found = judge.assess([y])
                if found.keep == keep:
                    break
            judge.commit(keep)
            if keep:
                now -= gain
                self.changes.append(Change(len(self.gains), (), found.confidence))
                self.gains.append(gain)
            search.append((len(self.gains), None if keep else place, y))
        self.search = [
            VariantRun(frozenset(range(there, len(self.gains))), y, tried, occasion=1)
            for there, tried, y in search
        ]

    def worth(self, present: frozenset[int]) -> float:
        """True gain of a variant; the first two real changes overlap."""
        real = [number for number, gain in enumerate(self.gains) if gain > 0]
        both = set(real[:2]) <= present
        whole = sum(self.gains[number] for number in present)
        return whole - both * self.overlap * self.gains[real[0]]

    def contribution(self, number: int) -> float:
        """What the champion truly loses without a change."""
        everything = frozenset(range(len(self.gains)))
        return self.worth(everything) - self.worth(everything - {number})

    def run(self, left_out: frozenset[int]) -> VariantRun:
        present = frozenset(range(len(self.gains))) - left_out
        slow = self.random.uniform(3, 9) if self.random.random() < self.slowed else 0.0
        return VariantRun(left_out, self.random.normal() + slow - self.worth(present))


def certify(world: World, plan: Plan, budget: int) -> Counter[str]:
    """Counts of one certification, by the steps that sessions take."""
    changes = world.changes
    everything = frozenset(range(len(changes)))
    fresh = [world.run(row) for row in plan(changes, budget, world.search)]
    first = contributions(changes, [*fresh, *world.search])
    gone = frozenset(each.number for each in first if each.standing is Standing.PASSENGER)
    fresh += [world.run(row) for row in [gone] * (1 if gone else 0)]
    fresh += [world.run(row) for row in [everything, gone] * CONFIRMATIONS]
    counts: Counter[str] = Counter()
    for each in contributions(changes, [*fresh, *world.search]):
        kind = "real" if world.gains[each.number] > 0 else "false"
        counts[f"{kind} certified"] += (
            each.standing is Standing.CERTIFIED and each.number not in gone
        )
        counts[f"{kind} removed"] += each.number in gone
        counts["claimed"] += each.gain - world.contribution(each.number)  # type: ignore[assignment]
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=20)
    sessions = parser.parse_args().sessions
    plans: dict[str, Plan] = {"designed": plan_leave_outs, "one at a time": one_at_a_time}
    columns = ("real certified", "false certified", "false removed", "real removed", "claimed")
    print(f"{'effect overlap slowed runs':28}", *(f"{name:>15}" for name in columns))
    cases = [(effect, 0.0, 0.0) for effect in (1.5, 2.0, 3.0)] + [(3.0, 0.4, 0.0), (3.0, 0.0, 0.15)]
    for effect, overlap, slowed in cases:
        for budget in (6, 8, 12):
            for name, plan in plans.items():
                worlds = (World(effect, overlap, slowed, seed) for seed in range(sessions))
                counts = [certify(world, plan, budget) for world in worlds]
                means = [sum(found[column] for found in counts) / sessions for column in columns]
                where = f"{effect:g} {overlap:g} {slowed:g} {budget:2} {name}"
                print(f"{where:28}", *(f"{mean:15.2f}" for mean in means), flush=True)


if __name__ == "__main__":
    main()
