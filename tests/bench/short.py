"""Short sessions over a table of real edits, and over simulated ones, beside the plain loop.

Paired sessions: both rules meet the same edits in the same order with the same luck, and
have the same number of runs.  A table has the columns edit, seed and a metric, lower being
better; edit 0 is the baseline.  Effects are taken as additive, and noise is drawn from an
edit's own residuals::

    PYTHONPATH=tests .venv-dev/bin/python tests/bench/short.py --table edits.tsv --sessions 100

For each cell: the plain loop's true gain in noise sds; the judge's against it; the lowest
bar that it must pass; the false keeps of both; the calibration error of P(better); and with
certification the share of false ones among the certified, the share of true ones above one
noise sd that are certified, the calibration error of what is certified, and claimed minus
true gain in noise sds.  A table of one's own needs no simulation: ``--only table``.
"""

from __future__ import annotations

import argparse
import collections
import csv
import json
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Protocol

import numpy as np

from ratchet.judge.certify import Change, VariantRun, contributions, plan_leave_outs
from ratchet.judge.judge import Judge
from ratchet.judge.settings import Settings, certification_budget, scale_from
from ratchet.records.records import Standing, Verdict
from ratchet.simulation.worlds import OPTIMUM, WORLDS, Stream

SLOWED = (3.0, 9.0)
"""What a busy machine adds to a run, in noise sds."""

CONFIRMED = 3
"""Runs of champion and baseline each after the search."""

TABLE_CELLS = [
    (shrink, slowed, runs)
    for shrink in (1.0, 0.3, 0.1, 0.03)
    for slowed in (0.0, 0.15)
    for runs in (15, 40)
]
SIMULATED_CELLS = [(sd, runs) for sd in (2e-4, 1e-3) for runs in (15, 40, 100, 300)]

BARS = {(0.1, 0.15, 40): 0.1, (0.03, 0.0, 40): 0.4}
"""Least relative gain over the plain loop where it has to show; else none is below -1.5 % of
its gain or -.1 noise sds, whichever is looser."""

Table = tuple[float, np.ndarray, np.ndarray]


class World(Protocol):
    """A session's truth: what a run of the incumbent or of an idea measures."""

    noise_sd: float
    runs: int
    kept: list[float]

    def incumbent(self) -> float: ...

    def ideas(self) -> Sequence[int]: ...

    def effect(self, idea: int) -> float: ...

    def run(self, idea: int, replicate: int) -> float | None: ...

    def keep(self, idea: int) -> None: ...

    def fresh(self, left_out: frozenset[int], replicate: int) -> float: ...


class TableWorld:
    """Edits of a table in a random order."""

    def __init__(self, table: Table, seed: int, shrink: float, slowed: float) -> None:
        self.start, gains, self.residuals = table
        self.gains, self.seed, self.slowed = gains * shrink, seed, slowed
        self.noise_sd = float(np.sqrt((self.residuals**2).mean()))
        order = np.random.default_rng([seed, 0]).permutation(np.arange(1, len(gains)))
        self.order: list[int] = order.tolist()
        self.runs, self.now, self.last, self.measured = 0, self.start, 0, 0
        self.kept: list[float] = []
        self.parts: list[int] = []

    def ideas(self) -> Sequence[int]:
        return self.order

    def effect(self, idea: int) -> float:
        return float(self.gains[idea])

    def incumbent(self) -> float:
        self.measured += 1
        return self._noisy(self.now, self.last, 1, self.measured)

    def run(self, idea: int, replicate: int) -> float | None:
        return self._noisy(self.now - self.gains[idea], idea, 2, replicate)

    def keep(self, idea: int) -> None:
        self.now -= self.gains[idea]
        self.last = idea
        self.parts.append(idea)
        self.kept.append(float(self.gains[idea]))

    def fresh(self, left_out: frozenset[int], replicate: int) -> float:
        lost = sum(self.kept[place] for place in left_out)
        stays = [idea for place, idea in enumerate(self.parts) if place not in left_out]
        return self._noisy(self.now + lost, stays[-1] if stays else 0, 3, replicate)

    def _noisy(self, truth: float, edit: int, kind: int, number: int) -> float:
        self.runs += 1
        rng = np.random.default_rng([self.seed, kind, edit, number])
        y = truth + float(rng.choice(self.residuals[edit]))
        if rng.random() < self.slowed:
            y += self.noise_sd * float(rng.uniform(*SLOWED))
        return y


class SimulatedWorld:
    """The world that was fitted to the one published log; 3 % of its proposals crash."""

    def __init__(self, sd: float, seed: int, runs: int) -> None:
        self.stream = Stream(WORLDS["typical"], 11, seed)
        self.noise_sd, self.most = sd, runs
        self.distance = self.stream.landscape.distance
        self.runs, self.measured = 0, 0
        self.kept: list[float] = []
        self.fresh_noise = np.random.default_rng([seed, 9])

    def ideas(self) -> Sequence[int]:
        return range(self.most)

    def effect(self, idea: int) -> float:
        return self.stream.effect(idea, self.distance)

    def incumbent(self) -> float:
        self.runs, self.measured = self.runs + 1, self.measured + 1
        noise = self.stream.incumbent_noise(self.measured)
        return OPTIMUM + self.distance + self.noise_sd * noise

    def run(self, idea: int, replicate: int) -> float | None:
        self.runs += 1
        if self.stream.proposal(idea).crashes:
            return None
        noise = self.stream.candidate_noise(idea, replicate)
        return OPTIMUM + self.distance - self.effect(idea) + self.noise_sd * noise

    def keep(self, idea: int) -> None:
        effect = self.effect(idea)
        self.distance -= effect
        self.kept.append(effect)

    def fresh(self, left_out: frozenset[int], replicate: int) -> float:
        lost = sum(self.kept[place] for place in left_out)
        noise = float(self.fresh_noise.standard_normal())
        return OPTIMUM + self.distance + lost + self.noise_sd * noise


@dataclass
class Played:
    """One session of one rule, gains in noise sds.

    ``shown`` are P(better) and the truth of each judged candidate; ``changes`` P, true
    gain and standing of each kept change; ``claimed`` is the gain that was confirmed,
    ``champion`` the true one of what was confirmed.
    """

    gain: float
    keeps: int
    false: int
    shown: list[tuple[float, bool]] = field(default_factory=list)
    changes: list[tuple[float, float, Standing]] = field(default_factory=list)
    claimed: float | None = None
    champion: float = 0.0


def plain_loop(world: World, budget: int) -> Played:
    """Keep what measures lower than the best so far."""
    best = world.incumbent()
    for idea in world.ideas():
        if world.runs >= budget:
            break
        y = world.run(idea, 0)
        if y is not None and y < best:
            best = y
            world.keep(idea)
    return _played(world)


def judged(world: World, budget: int, certify: bool) -> Played:
    """A session as Ratchet plays it: one run of the baseline, the judge, certification."""
    first = world.incumbent()
    judge = Judge(Settings.for_session("auto", budget, scale_from([first])))
    judge.incumbent(first)
    shown, changes = [], []
    search: list[tuple[int, int | None, float]] = [(0, None, first)]
    for idea in world.ideas():
        if world.runs >= budget:
            break
        y = world.run(idea, 0)
        if y is None:
            judge.crash()
            continue
        runs = [y]
        belief = judge.assess(runs)
        while belief.verdict is Verdict.RETEST and world.runs < budget:
            again = world.run(idea, len(runs))
            assert again is not None
            runs.append(again)
            belief = judge.assess(runs)
        judge.commit(belief.keep)
        shown.append((belief.confidence, world.effect(idea) > 0))
        if belief.keep:
            changes.append(Change(len(changes), (), belief.confidence))
            world.keep(idea)
        search += [(len(changes), None if belief.keep else idea, y) for y in runs]
    played = _played(world)
    played.shown = shown
    if certify and changes:
        known = [
            VariantRun(frozenset(range(there, len(changes))), y, tried, occasion=1)
            for there, tried, y in search
        ]
        _certify(world, changes, known, budget, played)
    return played


def _certify(
    world: World,
    changes: list[Change],
    search: list[VariantRun],
    budget: int,
    played: Played,
) -> None:
    """Fresh runs after the search, as a session makes them.

    Those of the design decide which passengers go, with all runs of the search; the
    confirmation of the smaller champion adds to what is known of each change.
    """
    everything = frozenset(range(len(changes)))
    used = certification_budget(budget) if len(changes) > 1 else 0
    rows = plan_leave_outs(changes, used, search)
    fresh = [VariantRun(row, world.fresh(row, n)) for n, row in enumerate(rows)]
    found = contributions(changes, [*fresh, *search])
    seen = frozenset[int]().union(*rows)
    out = frozenset(c.number for c in found if c.standing is Standing.PASSENGER) & seen
    theirs = [world.fresh(out, 1000 + n) for n in range(CONFIRMED)]
    ours = [world.fresh(everything, 2000 + n) for n in range(CONFIRMED)]
    fresh += [VariantRun(out, y) for y in theirs] + [VariantRun(everything, y) for y in ours]
    sd = world.noise_sd
    played.changes = [
        (
            c.confidence,
            world.kept[c.number] / sd,
            Standing.PASSENGER if c.number in out else c.standing,
        )
        for c in contributions(changes, [*fresh, *search])
    ]
    played.claimed = (fmean(ours) - fmean(theirs)) / sd
    left = [effect for place, effect in enumerate(world.kept) if place not in out]
    played.champion = sum(left) / sd


def _played(world: World) -> Played:
    gain = sum(world.kept) / world.noise_sd
    return Played(gain, len(world.kept), sum(effect <= 0 for effect in world.kept))


@dataclass(frozen=True)
class Cell:
    """The figures of one cell; gains in noise sds, ``None`` where there is no such figure."""

    name: str
    runs: int
    plain: float
    judge: float
    margin: float
    relative: float
    plain_false: float
    judge_false: float
    keeps: float
    calibration: float
    certified: float | None = None
    certified_false: float | None = None
    certified_found: float | None = None
    certified_calibration: float | None = None
    champion: float | None = None
    claimed_error: float | None = None
    fails: tuple[str, ...] = ()


def calibration_error(shown: Sequence[tuple[float, bool]]) -> float:
    """Expected calibration error over ten bins of equal width."""
    if not shown:
        return 0.0
    p, better = np.array(shown, dtype=float).T
    bins = np.minimum((p * 10).astype(int), 9)
    found = 0.0
    for each in set(bins.tolist()):
        here = bins == each
        found += float(abs(p[here].mean() - better[here].mean()) * here.mean())
    return found


def summarize(name: str, runs: int, pairs: Sequence[tuple[Played, Played]], bar: float) -> Cell:
    """The cell's figures, and which bars it misses; ``bar`` is the least relative gain."""
    plain = fmean(p.gain for p, _ in pairs)
    ours = fmean(j.gain for _, j in pairs)
    differences = np.array([j.gain - p.gain for p, j in pairs])
    relative = (ours - plain) / abs(plain) if plain else 0.0
    plain_false, judge_false = fmean(p.false for p, _ in pairs), fmean(j.false for _, j in pairs)
    calibration = calibration_error([one for _, j in pairs for one in j.shown])
    cell = Cell(
        name=name,
        runs=runs,
        plain=plain,
        judge=ours,
        margin=1.96 * float(differences.std()) / len(pairs) ** 0.5,
        relative=relative,
        plain_false=plain_false,
        judge_false=judge_false,
        keeps=fmean(j.keeps for _, j in pairs),
        calibration=calibration,
    )
    fails = []
    if relative < -0.015 and ours - plain < -0.1:
        fails.append("gain")
    if bar and relative < bar:
        fails.append(f"gain below {bar:+.0%}")
    if ours < -0.1:
        fails.append("loss")
    if runs >= 300 and judge_false > plain_false:
        fails.append("false keeps")
    parts = [part for _, j in pairs for part in j.changes]
    if parts:
        certified = [true for _, true, standing in parts if standing is Standing.CERTIFIED]
        large = [standing for _, true, standing in parts if true > 1]
        claims = [(j.claimed, j.champion) for _, j in pairs if j.claimed is not None]
        cell = replace(
            cell,
            certified=len(certified) / len(pairs),
            certified_false=fmean([true <= 0 for true in certified] or [0.0]),
            certified_found=fmean([s is Standing.CERTIFIED for s in large] or [1.0]),
            certified_calibration=calibration_error([(p, true > 0) for p, true, _ in parts]),
            champion=fmean(champion for _, champion in claims),
            claimed_error=fmean(claimed - champion for claimed, champion in claims),
        )
        fails += [
            name
            for name, missed in (
                ("false certificates", (cell.certified_false or 0) > 0.05),
                ("found", (cell.certified_found or 0) < 0.8),
                ("claim", abs(cell.claimed_error or 0) > 0.1),
            )
            if missed
        ]
        calibration = cell.certified_calibration or 0.0
    if calibration > 0.06:
        fails.append("calibration")
    return replace(cell, fails=tuple(fails))


def read_table(path: Path) -> Table:
    """The baseline's mean, the gains of all edits, and the residuals of their runs."""
    runs: dict[int, list[float]] = collections.defaultdict(list)
    with path.open() as lines:
        for row in csv.DictReader(lines, delimiter="\t"):
            rest = [key for key in row if key not in ("edit", "category", "description", "seed")]
            runs[int(row["edit"])].append(float(row[rest[0]]))
    seeds = min(len(values) for values in runs.values())
    y = np.array([runs[edit][:seeds] for edit in sorted(runs)])
    mean = y.mean(axis=1)
    return float(mean[0]), mean[0] - mean, (y - mean[:, None]) * (seeds / (seeds - 1)) ** 0.5


def play_table(
    table: Table, shrink: float, slowed: float, runs: int, certify: bool, session: int
) -> tuple[Played, Played]:
    """One session over a table under both rules."""
    world = partial(TableWorld, table, session, shrink, slowed)
    return plain_loop(world(), runs), judged(world(), runs, certify)


def play_simulated(sd: float, runs: int, certify: bool, session: int) -> tuple[Played, Played]:
    """One session of the simulated world under both rules."""
    world = partial(SimulatedWorld, sd, session, runs)
    return plain_loop(world(), runs), judged(world(), runs, certify)


def line_of(cell: Cell) -> str:
    """A cell on one line."""
    text = (
        f"{cell.name:22}{cell.runs:4}{cell.plain:9.2f}{cell.relative:+8.1%}"
        f"{cell.judge - cell.plain:+7.2f} ±{cell.margin:<5.2f}{cell.plain_false:5.1f}"
        f"{cell.judge_false:5.1f} of {cell.keeps:<5.1f}{cell.calibration:5.2f}"
    )
    if cell.certified is not None:
        text += (
            f"{cell.certified:6.1f}{cell.certified_false:6.1%}{cell.certified_found:6.0%}"
            f"{cell.certified_calibration:5.2f}{cell.claimed_error:+6.2f}"
        )
    return text + ("  misses: " + ", ".join(cell.fails) if cell.fails else "")


HEAD = (
    "cell                  runs    plain  change, in sds        false keeps     cal"
    "  cert.  false found  cal claim"
)


def main() -> None:
    """Play all cells and print their figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", type=Path, help="table of real edits")
    parser.add_argument("--sessions", type=int, default=100)
    parser.add_argument("--only", choices=("table", "simulated"))
    parser.add_argument("--runs", type=int, nargs="+", help="only cells of so many runs")
    parser.add_argument("--without-certification", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    certify = not options.without_certification
    cells = []
    if options.table is not None and options.only != "simulated":
        table = read_table(options.table)
        for shrink, slowed, runs in TABLE_CELLS:
            play = partial(play_table, table, shrink, slowed, runs, certify)
            name = f"gains x{shrink:g}" + (f", {slowed:.0%} slowed" if slowed else "")
            cells.append((name, runs, play, BARS.get((shrink, slowed, runs), 0.0)))
    if options.only != "table":
        for sd, runs in SIMULATED_CELLS:
            play = partial(play_simulated, sd, runs, certify)
            bar = 0.01 if (sd, runs) == (1e-3, 300) else 0.0
            cells.append((f"simulated, sd {sd:g}", runs, play, bar))
    if not options.json:
        print(HEAD)
    found = []
    with ProcessPoolExecutor(options.workers) as pool:
        for name, runs, play, bar in cells:
            if options.runs and runs not in options.runs:
                continue
            pairs = list(pool.map(play, range(1000, 1000 + options.sessions), chunksize=4))
            found.append(summarize(name, runs, pairs, bar))
            if not options.json:
                print(line_of(found[-1]), flush=True)
    if options.json:
        json.dump([asdict(cell) for cell in found], sys.stdout, indent=1)
        print()


if __name__ == "__main__":
    main()
