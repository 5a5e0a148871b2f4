"""What mode ``guaranteed`` finds, what it costs, and what it keeps where nothing improves.

    make bench
    .venv-dev/bin/python tests/bench/guarantee.py --sessions 400

Power: sessions of 100 runs in which every fifth proposal improves by 2, 3 or 5
noise sds; the others change nothing or harm.  Shown is the share of these
improvements that is kept, with what it took: runs of candidates beyond the
first, runs of the incumbent, and proposals that were still tried (of 97 if
nothing is ever run twice).  Null: sessions without any improvement, with normal
noise and with Student's t of 4 degrees of freedom; the scale of the judge comes
from three baseline replicates, as in a real session.
"""

import argparse
import math
import os
import statistics
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple, dataclass
from functools import partial

import numpy as np

from ratchet.judge.judge import Judge
from ratchet.judge.settings import Settings, scale_from
from ratchet.records.records import Verdict

NOISE_SD = 5e-4
RUNS = 100
BASELINE = 3
EVERY = 5
"""One proposal in so many improves, in the sessions that measure power."""


@dataclass(frozen=True)
class Tally:
    """Counts of one session."""

    false_keeps: int = 0
    effects: int = 0
    found: int = 0
    proposals: int = 0
    tests: int = 0
    retests: int = 0
    incumbent_runs: int = 0


def null(rng: np.random.Generator) -> float:
    """An effect that improves nothing: none at all, or harm."""
    return 0.0 if rng.random() < 0.3 else -2e-3 * math.exp(1.2 * rng.standard_normal())


def session(mode: str, sds: float, tails: str, every_null: bool, seed: int) -> Tally:
    """One session; ``sds`` is the size of the improvements, 0 for none."""
    rng = np.random.default_rng(seed)

    def run(theta: float) -> float:
        heavy = tails == "t4"
        draw = rng.standard_t(4) / math.sqrt(2) if heavy else rng.standard_normal()
        return theta + NOISE_SD * float(draw)

    first = [run(1.0) for _ in range(BASELINE)]
    judge = Judge(Settings.for_session(mode, RUNS, scale_from(first)))
    for y in first:
        judge.incumbent(y)
    theta, used = 1.0, BASELINE
    false = effects = found = proposals = tests = retests = incumbent_runs = 0
    while used < RUNS:
        proposals += 1
        planted = sds > 0 and proposals % EVERY == 0
        effect = sds * NOISE_SD if planted else 0.0 if every_null else null(rng)
        ys = [run(theta - effect)]
        used += 1
        result = judge.assess(ys)
        while result.verdict is Verdict.RETEST and used < RUNS:
            for _ in range(judge.incumbent_runs_wanted):
                judge.incumbent(run(theta))
                used, incumbent_runs = used + 1, incumbent_runs + 1
            ys.append(run(theta - effect))
            used, retests = used + 1, retests + 1
            result = judge.assess(ys)
        judge.commit(result.keep)
        tests += len(ys) > 1
        effects += planted
        found += planted and result.keep
        false += result.keep and not planted
        theta -= effect if result.keep else 0.0
    return Tally(false, effects, found, proposals, tests, retests, incumbent_runs)


def show(label: str, run: Callable[[int], Tally], sessions: int, pool: ProcessPoolExecutor) -> None:
    rows = list(pool.map(run, range(sessions), chunksize=max(1, sessions // 20)))
    total = Tally(*map(sum, zip(*map(astuple, rows), strict=True)))
    half = 1.96 * statistics.stdev(row.false_keeps for row in rows) / math.sqrt(sessions)
    power = f"{total.found / total.effects:6.2f}" if total.effects else "     -"
    print(
        f"{label:38}{power}{total.false_keeps / sessions:9.4f} ±{half:.4f}"
        f"{total.tests / sessions:8.1f}{total.retests / sessions:9.1f}"
        f"{total.incumbent_runs / sessions:11.1f}{total.proposals / sessions:11.1f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Power and price of mode guaranteed.")
    parser.add_argument("--sessions", type=int, default=400)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()
    print(f"mode guaranteed, {options.sessions} sessions of {RUNS} runs a line, 95 % intervals")
    print(
        f"{'':38}{'power':>6}{'false keeps':>17}{'tests':>8}{'retests':>9}"
        f"{'incumbent':>11}{'proposals':>11}"
    )
    with ProcessPoolExecutor(options.jobs) as pool:
        for mode in ("guaranteed", "gain"):
            for sds in (2.0, 3.0, 5.0):
                label = f"{mode}: every 5th better by {sds:g} sds"
                run = partial(session, mode, sds, "normal", False)
                show(label, run, options.sessions, pool)
        for tails in ("normal", "t4"):
            for every in (False, True):
                what = "nothing has an effect" if every else "no effect, or harm"
                run = partial(session, "guaranteed", 0.0, tails, every)
                show(f"{tails} noise: {what}", run, options.sessions, pool)


if __name__ == "__main__":
    main()
