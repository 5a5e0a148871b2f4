"""Power of replicates, and false keeps of each rule where nothing improves.

Effects are in noise sds: the difference of the true metrics of two codes over
the standard deviation of one run.  A comparison is of the means of equally many
runs per side, one-sided ("is the candidate better?"), with normal noise of one
size.  Where the noise floor is known the statistic is normal; where it is
estimated from the compared runs themselves it is Student's t with 2 (n - 1)
degrees of freedom, and its power follows from the noncentral t distribution
with noncentrality effect * sqrt(n / 2).

Source: Cohen, "Statistical Power Analysis for the Behavioral Sciences", 1988.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from ratchet.base.errors import DataError
from ratchet.base.structs import Frozen
from ratchet.judge.judge import Judge
from ratchet.judge.settings import FALSE_KEEP_BOUND, Mode, Settings, scale_from
from ratchet.records.history import is_coarse
from ratchet.records.records import Verdict

SEEDS = (1, 2, 3, 4, 5, 6, 8, 10, 15, 20)
"""Runs per side of the tables."""

EFFECTS = (0.5, 1.0, 2.0, 3.0, 5.0)
"""Effects, in noise sds, of the table of seeds."""

MOST_SEEDS = 1_000_000
"""Nobody makes so many runs; an effect that needs more is as good as none."""

INTERVAL = 0.95

LARGEST_METRIC = 1e100
"""Beyond, squares overflow, and no metric is."""

MARGINS = (1.0, 2.0, 3.0)
"""Noise sds by which a result must be below the best, for the rules with a margin."""

VECTOR_SESSIONS = 4000
"""Simulated sessions of the simple rules; known then to 1 or 2 %."""

JUDGED_EXPERIMENTS = 2000
"""Simulated experiments per mode of the judge: a second or two of work,"""

LEAST_JUDGED, MOST_JUDGED = 4, 40
"""in not fewer and not more sessions than these."""

RELATIVE_NOISE = 1e-3
"""Noise sd over metric in simulations, unless both are known; as the judge expects."""


class NoiseFloor(Frozen):
    """Sd of one run in the metric's unit, with an interval where it is estimated.

    The interval has probability ``level``; ``value`` is a metric's size, for
    percentages, and ``source`` says where all this is from.
    """

    sd: float
    source: str
    low: float | None = None
    high: float | None = None
    level: float = INTERVAL
    value: float | None = None


def different_runs(values: Sequence[float]) -> list[float]:
    """Runs of one code without copies: a fine metric that repeats to the last digit is one."""
    return [v for place, v in enumerate(values) if is_coarse(v) or v not in values[:place]]


def noise_from_replicates(values: Sequence[float]) -> NoiseFloor:
    """Noise floor from runs of one code, with its chi-square interval.

    The interval assumes normal noise; copies do not count.  Raises :class:`DataError` for
    fewer than two values, for values that are not finite and for equal ones.
    """
    from scipy.special import chdtri  # slow to import, so not before it is needed

    y = np.asarray(values, dtype=float)
    if y.size < 2:
        raise DataError(f"replicates: expected at least 2 values, found {y.size}")
    if not np.isfinite(y).all() or np.abs(y).max() > LARGEST_METRIC:
        raise DataError(f"replicates: expected finite values, found {list(values)}")
    copies = y.size
    if (different := different_runs(y.tolist()))[1:]:
        y = np.asarray(different)
    copies -= y.size
    sd, freedom = float(y.std(ddof=1)), y.size - 1
    if sd <= 1e-12 * float(np.abs(y).max()):
        raise DataError(
            "replicates: they agree exactly, so the task has no noise between these runs; "
            "give different seeds, or the noise floor with --noise-sd"
        )
    tail = (1 - INTERVAL) / 2
    low, high = (sd * math.sqrt(freedom / float(chdtri(freedom, p))) for p in (tail, 1 - tail))
    source = f"from {y.size} replicates"
    source += f" ({copies} more repeat one to the last digit)" if copies else ""
    return NoiseFloor(sd, source, low, high, value=float(y.mean()))


def power_of(effect: float, seeds: int, alpha: float, known: bool) -> float | None:
    """Probability that ``seeds`` runs per side show an effect (in noise sds).

    ``known``: the noise floor is taken as known.  ``None`` where one run per
    side leaves nothing to estimate it from.
    """
    from scipy.special import nctdtr, ndtr, ndtri, stdtrit

    shift = effect * math.sqrt(seeds / 2)
    if known:
        return float(ndtr(shift - ndtri(1 - alpha)))
    freedom = 2 * (seeds - 1)
    if freedom < 1:
        return None
    return float(1 - nctdtr(freedom, shift, stdtrit(freedom, 1 - alpha)))


def detectable(seeds: int, alpha: float, power: float, known: bool) -> float | None:
    """Smallest effect, in noise sds, that is shown with this power; see :func:`power_of`."""
    from scipy.special import ndtri

    if known:
        return float((ndtri(1 - alpha) + ndtri(power)) * math.sqrt(2 / seeds))
    if seeds < 2:
        return None
    low, high = 0.0, 1.0
    while (power_of(high, seeds, alpha, False) or 0.0) < power:
        high *= 2
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        if (power_of(middle, seeds, alpha, False) or 0.0) < power:
            low = middle
        else:
            high = middle
    return high


def seeds_needed(effect: float, alpha: float, power: float, known: bool) -> int | None:
    """Runs per side that show an effect with this power; ``None`` beyond reason."""
    unit = detectable(1, alpha, power, True) or 0.0
    if effect <= 0 or (unit / effect) ** 2 > MOST_SEEDS:
        return None
    # The quotient is the exact number where it is whole; rounding must not add one.
    seeds = max(1, math.ceil((unit / effect) ** 2 - 1e-9))
    if known:
        return seeds
    seeds = max(2, seeds)
    while (power_of(effect, seeds, alpha, False) or 0.0) < power:
        seeds += 1
    return seeds


class FalseKeeps(Frozen):
    """Keeps expected of a rule where no experiment improves anything.

    ``error`` is the simulation's standard error (``None`` where ``keeps`` is
    exact or a bound), ``runs`` the expected number of runs after the baseline.
    """

    rule: str
    keeps: float
    runs: float | None
    how: str
    error: float | None = None


def lucky_records(experiments: int) -> float:
    """Expected number of new minima among equal candidates after one baseline.

    The n-th of n exchangeable values is the least with probability 1/n, so it
    is H(N + 1) - 1 whatever the noise looks like, and however many runs each
    value is the mean of.
    """
    return math.fsum(1 / n for n in range(2, experiments + 2))


def false_keeps(
    experiments: int,
    seed: int = 1,
    relative_noise: float = RELATIVE_NOISE,
    sessions: int | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> list[FalseKeeps]:
    """Each rule's false keeps in so many experiments, none of which has any effect.

    ``relative_noise`` is the noise sd over the metric, which the judge uses to
    guess the scale.  The simulations are fixed by ``seed``; ``sessions`` is how
    many the judge's modes get (default: a few seconds' worth).  ``tell`` is called
    with the rule that is simulated next.
    """
    lucky = lucky_records(experiments)
    rules = [
        FalseKeeps("keep if better than the best so far", lucky, float(experiments), "exact"),
        FalseKeeps("3 runs of each, keep if the mean is better", lucky, 3.0 * experiments, "exact"),
    ]
    for count in (2, 3):
        rule = f"{count} runs if the first is better, keep if the mean is"
        tell(rule)
        rules.append(_screened(rule, experiments, seed, count))
    for margin in MARGINS:
        rule = f"keep if better by {margin:g} noise sd{'' if margin == 1 else 's'}"
        tell(rule)
        rules.append(_screened(rule, experiments, seed, margin=margin))
    for mode in (Mode.GAIN, Mode.BALANCED, Mode.STRICT):
        tell(f"the judge in mode {mode.value}")
        rules.append(_judged(mode, experiments, seed, relative_noise, sessions))
    return [*rules, FalseKeeps("ratchet, mode guaranteed", FALSE_KEEP_BOUND, None, "bound")]


def _screened(
    rule: str, experiments: int, seed: int, count: int = 1, margin: float = 0.0
) -> FalseKeeps:
    """Keep what is below the best by a margin; if it looks so, after ``count`` runs.

    Many sessions at once, in noise sds; the baseline has ``count`` runs too.
    """
    rng = np.random.default_rng(seed)
    best = rng.standard_normal(VECTOR_SESSIONS) / math.sqrt(count)
    keeps, runs = np.zeros(VECTOR_SESSIONS), np.zeros(VECTOR_SESSIONS)
    for _ in range(experiments):
        value = rng.standard_normal(VECTOR_SESSIONS)
        kept = value < best - margin
        runs += 1 + (count - 1) * kept
        if count > 1:
            others = math.sqrt(count - 1) * rng.standard_normal(VECTOR_SESSIONS)
            value = (value + others) / count
            kept &= value < best
        best = np.where(kept, value, best)
        keeps += kept
    return _averaged(rule, keeps, runs)


def _judged(
    mode: Mode, experiments: int, seed: int, relative_noise: float, sessions: int | None
) -> FalseKeeps:
    """Sessions of the judge; those of all modes meet the same first runs."""
    if sessions is None:
        sessions = min(max(JUDGED_EXPERIMENTS // experiments, LEAST_JUDGED), MOST_JUDGED)
    counts = [_session(mode, experiments, [seed, n], relative_noise) for n in range(sessions)]
    keeps, runs = np.array(counts, dtype=float).T
    return _averaged(f"ratchet, mode {mode.value}", keeps, runs)


def _session(
    mode: Mode, experiments: int, seed: list[int], relative_noise: float
) -> tuple[int, int]:
    """Keeps and runs of one session with noise sd 1 in which all codes are equal."""
    rng, size = np.random.default_rng(seed), 1 / relative_noise
    baseline = size + float(rng.standard_normal())
    judge = Judge(Settings.for_session(mode, experiments, scale_from([baseline])))
    judge.incumbent(baseline)
    keeps = runs = 0
    for _ in range(experiments):
        ys: list[float] = []
        while True:
            ys.append(size + float(rng.standard_normal()))
            belief = judge.assess(ys)
            if belief.verdict is not Verdict.RETEST:
                break
        judge.commit(belief.keep)
        keeps += belief.keep
        runs += len(ys)
    return keeps, runs


def _averaged(rule: str, keeps: np.ndarray, runs: np.ndarray) -> FalseKeeps:
    error = float(keeps.std(ddof=1)) / math.sqrt(keeps.size)
    return FalseKeeps(rule, float(keeps.mean()), float(runs.mean()), "simulated", error)
