"""Rules for keeping, in simulated sessions with known truth, beside the released autojudge.

All rules meet the same proposals with the same luck and the same budget of runs;
what differs is only what they keep and what they run again::

    make bench
    .venv-bench/bin/python tests/bench/judging.py --world divergent --sessions 400

The released tool is not imitated: for every experiment its own ``analyze`` is
called on the log that it would find.  Two ways of using it are shown.
``autojudge`` takes exit code 0 as a keep, as scripts do.  ``autojudge-article``
follows the article on it: keep on STRONG_KEEP, KEEP and MARGINAL, run again on
RETEST, at most twice.

Two rules that were tried and lost are compared again: ``pairs`` in the first tables
and ``held`` with the outliers.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass
from functools import partial

import auto_judge

from ratchet.cli.simulate import progress_counter, simulate_plans
from ratchet.judge.settings import Mode
from ratchet.simulation import session
from ratchet.simulation.measures import (
    LEGEND,
    simulation_heading,
    simulation_lines,
    summarize_sessions,
)
from ratchet.simulation.session import (
    Bench,
    Decision,
    JudgeKeeper,
    MeanKeeper,
    Rule,
    SimulatedCandidate,
    SimulationPlan,
)
from ratchet.simulation.worlds import WORLDS

AGAINST = "greedy"
NOISE_SD = 5e-4
MEMORY_GB = 44.0
MOST_RETESTS = 2
KEPT_ROWS = 6
"""Kept rows that the released tool is shown; its noise floor rests on five."""


@dataclass(frozen=True)
class Released:
    """The released autojudge, version 1.0.1."""

    name: str
    summary: str
    article: bool = False

    def begin(self, bench: Bench) -> _ReleasedKeeper:
        """One baseline run."""
        return _ReleasedKeeper(bench.baseline(1)[0], self.article)


class _ReleasedKeeper:
    """Keeps the log that the tool reads; a new row has greedy's status at first."""

    noise_sd = None

    def __init__(self, baseline: float, article: bool) -> None:
        self._baseline = self._best = baseline
        self._kept = [self._row(baseline, auto_judge.Status.KEEP)]
        self._article = article

    @property
    def claimed_gain(self) -> float:
        return self._baseline - self._best

    def crash(self) -> None:
        pass

    def decide(self, candidate: SimulatedCandidate) -> Decision:
        verdict, confidence = self._ask(candidate.runs[-1])
        retest = auto_judge.Verdict.RETEST
        while self._article and verdict is retest and len(candidate.runs) <= MOST_RETESTS:
            if not candidate.rerun():
                break
            verdict, confidence = self._ask(candidate.runs[-1])
        worse = verdict is auto_judge.Verdict.DISCARD
        keep = not worse and not (self._article and verdict is retest)
        if keep:
            self._best = min(self._best, candidate.runs[-1])
            self._kept.append(self._row(candidate.runs[-1], auto_judge.Status.KEEP))
        # Its confidence is in the verdict, so of a discard in being no better.
        return Decision(keep, 1 - confidence if worse else confidence)

    def _ask(self, y: float) -> tuple[auto_judge.Verdict, float]:
        status = auto_judge.Status.KEEP if y < self._best else auto_judge.Status.DISCARD
        # Its best is over all kept rows; the lowest of them is the last.
        log = [*self._kept[-KEPT_ROWS:], self._row(y, status)]
        found = auto_judge.analyze(log).value
        return found.verdict, found.confidence

    @staticmethod
    def _row(y: float, status: auto_judge.Status) -> auto_judge.Experiment:
        return auto_judge.Experiment(1, "x", y, MEMORY_GB, status, "")


RELEASED = (
    Released("autojudge", "the released autojudge 1.0.1: keep on exit code 0"),
    Released("autojudge-article", "the same, retesting as the article says", article=True),
)
TRIED = (
    Rule(
        "pairs",
        "tried: every candidate twice; keep if the mean is lower",
        partial(MeanKeeper, count=2, screened=False),
    ),
    Rule(
        "held",
        "tried: mode gain where an outlier moves the incumbent by up to 3 noise sds",
        partial(JudgeKeeper, mode=Mode.GAIN, outlier_residual=3.0),
    ),
)
RULES = session.RULES | {rule.name: rule for rule in TRIED}
COMPARED = ("greedy", "seeds-2", "gain", "balanced", "strict", "guaranteed", "reference")
OTHERS = [world for world in WORLDS if world not in ("typical", "divergent")]
CELLS = (
    ("typical", 100, NOISE_SD, (*COMPARED, "pairs")),
    ("typical", 300, NOISE_SD, (*COMPARED, "pairs")),
    *((world, 300, NOISE_SD, COMPARED) for world in OTHERS),
    # What an outlier does grows with the noise, so twice the noise as well.
    ("divergent", 300, NOISE_SD, (*COMPARED, "held")),
    ("divergent", 300, 2 * NOISE_SD, (*COMPARED, "held")),
)
"""World, runs, noise sd and rules of each table."""


def measure(plan: SimulationPlan, names: tuple[str, ...], jobs: int) -> None:
    began = time.monotonic()
    rules = (RULES[AGAINST], *RELEASED, *(RULES[name] for name in names if name != AGAINST))
    records = simulate_plans(plan, rules, jobs, progress_counter(plan.world.name))
    summaries = {
        name: summarize_sessions(found, records[AGAINST]) for name, found in records.items()
    }
    print(simulation_heading(plan))
    print("\n".join(["", *simulation_lines(summaries, AGAINST), ""]))
    print(f"{time.monotonic() - began:.0f} s\n", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--world", choices=WORLDS, help="only this world (default all)")
    parser.add_argument("--sessions", type=int, default=80)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()
    for name, runs, noise_sd, names in CELLS:
        if options.world in (None, name):
            world = WORLDS[name]
            plan = SimulationPlan(world, runs, noise_sd, options.sessions, options.seed)
            measure(plan, names, options.jobs)
    print("\n".join(LEGEND))
