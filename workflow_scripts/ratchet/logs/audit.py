"""A finished session re-judged: what of its kept changes is credible, and what to run again.

Everything is by the judge's model, see :mod:`ratchet.logs.smoothing`: each change is
judged by the whole log, by what came after it too.  Lower metrics are better
here, gains are positive, and both have the metric's unit.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence

import numpy as np

from ratchet.base.stats import FloatArray
from ratchet.base.structs import Frozen
from ratchet.judge.judge import replay
from ratchet.judge.settings import KEEP_PROBABILITIES, Mode, Settings
from ratchet.logs.experiments import incumbents_of
from ratchet.logs.smoothing import LEVEL, NoisePrior, SmoothedChange, Smoother

CREDIBLE = 0.95
"""Probability of being better from which a change counts as shown; as STRONG_KEEP."""

OVERTURNED = 0.5
"""Probability below which a kept change is more likely no improvement than one.  Lower
bounds cannot be reached: no number of runs tells a tiny gain from none."""

CHANCE = 0.8
"""Probability that re-runs decide; the power that studies are planned with."""

MOST_SEEDS = 20
"""More re-runs of one change cost more than a change that needs them is worth."""

GIVEN_LOG, GIVEN_RUNS = "P(better | log)", "P(better | runs)"
"""Names of the probabilities by the whole log, and by fresh runs alone.  P(better) is the
judge's, by the rows up to the change."""

TESTS = {
    **{mode.value: KEEP_PROBABILITIES[mode] for mode in (Mode.GAIN, Mode.BALANCED, Mode.STRICT)},
    "strong": CREDIBLE,
}
"""Least probability of the judge's modes, and of what it calls a strong keep."""

_NEGLIGIBLE = 1e-7
_POINTS = 241
_WOBBLE = 0.02


class Audited(Frozen):
    """One kept change.

    ``place`` is its row, from 0; ``step`` what the log printed, the last incumbent's
    value less its own.  ``confidence`` is P(better) when it was kept, by the rows up to
    it, and ``given_log`` the same by the whole log; ``gain`` is its expected effect and ``low`` and
    ``high`` bound it with probability :data:`LEVEL`.

    ``seeds`` is the number of further runs, of it and of its parent each, after which
    it is decided with probability :data:`CHANCE`: ``given_log`` at least
    :data:`CREDIBLE`, or below :data:`OVERTURNED`.  0 if it is so already and ``None``
    if :data:`MOST_SEEDS` are too few; ``chance`` is that probability then.
    """

    place: int
    step: float
    confidence: float
    given_log: float
    gain: float
    low: float
    high: float
    seeds: int | None
    chance: float


class Audit(Frozen):
    """Audit of all kept changes of a log.

    ``expected_true`` of them are better, with :data:`LEVEL` between ``least_true`` and
    ``most_true``; ``all_hold`` is P(every one is better) and ``surviving`` how many
    pass each of :data:`TESTS`.  ``together`` are the places of the longest list, the
    surest first, that are all better with probability ``together_hold`` of at least
    :data:`CREDIBLE`.  ``total`` is the expected sum of effects with its interval;
    ``printed`` is baseline less best kept value, both as lucky as they are.
    """

    changes: tuple[Audited, ...]
    noise_sd: float
    noise_low: float
    noise_high: float
    expected_true: float
    least_true: int
    most_true: int
    all_hold: float
    surviving: dict[str, int]
    together: tuple[int, ...]
    together_hold: float
    total: float
    total_low: float
    total_high: float
    printed: float

    @property
    def expected_false(self) -> float:
        """Expected number of kept changes that are no improvement."""
        return len(self.changes) - self.expected_true


def audit(
    values: Sequence[float | None],
    kept: Sequence[bool],
    replicate_mask: Sequence[bool],
    judged: Sequence[bool],
    settings: Settings,
    noise_prior: NoisePrior | None = None,
    undecided: Sequence[bool] = (),
) -> Audit:
    """Judge the kept rows of which ``judged`` is true, by all rows.

    The other arguments are those of :func:`ratchet.judge.judge.replay` and of
    :class:`ratchet.logs.smoothing.Smoother`.  A kept row that is not judged, such as a
    baseline that starts anew, is an incumbent like others.
    Raises :class:`ratchet.base.errors.DataError` where no row has a value.
    """
    done = replay(values, kept, replicate_mask, settings)
    smoother = Smoother(values, kept, replicate_mask, done.weights, settings, noise_prior)
    noise_sd = smoother.noise_sd
    # A distribution takes much more memory than what is told of it.
    found = [
        (c.place, (c.better, c.gain, c.low, c.high), seeds_to_decide(c, noise_sd))
        for c in smoother.changes()
        if judged[c.place]
    ]
    places = [place for place, *_ in found]
    told = replay(values, kept, replicate_mask, settings, undecided) if any(undecided) else done
    then = {p: a.confidence for p in places if (a := told.assessments[p]) is not None}
    before = incumbents_of(values, kept)
    changes = [
        Audited(p, (values[before[p]] or 0.0) - (values[p] or 0.0), then[p], *told, *decided)
        for p, told, decided in found
    ]
    held = smoother.held(places)
    together, sure = _together(smoother, changes)
    total, total_low, total_high = smoother.total(places)
    noise_low, noise_high = smoother.noise_interval()
    return Audit(
        changes=tuple(changes),
        noise_sd=noise_sd,
        noise_low=noise_low,
        noise_high=noise_high,
        expected_true=sum(change.given_log for change in changes),
        least_true=_quantile(held, (1 - LEVEL) / 2),
        most_true=_quantile(held, (1 + LEVEL) / 2),
        all_hold=smoother.all_hold(places),
        surviving={name: sum(c.given_log >= p for c in changes) for name, p in TESTS.items()},
        together=tuple(together),
        together_hold=sure,
        total=total,
        total_low=total_low,
        total_high=total_high,
        printed=_printed(values, kept),
    )


def by_replicates(sd: float, count: int) -> NoisePrior:
    """Log prior of the noise floor by ``count`` normal replicates with this sd alone."""
    freedom = count - 1

    def log_prior(noise: FloatArray) -> FloatArray:
        found: FloatArray = -freedom * (np.log(noise / sd) + 0.5 * (sd / noise) ** 2)
        return found

    return log_prior


def _printed(values: Sequence[float | None], kept: Sequence[bool]) -> float:
    """Baseline less the best kept value."""
    known = [v for v in values if v is not None]
    best = [v for v, keep in zip(values, kept, strict=True) if keep and v is not None]
    return known[0] - min(best, default=known[0])


def _together(smoother: Smoother, changes: Sequence[Audited]) -> tuple[list[int], float]:
    """The surest changes of which all are better with probability CREDIBLE."""
    order = [c.place for c in sorted(changes, key=lambda c: (-round(c.given_log, 9), c.place))]
    # All of them are at most as likely as the least sure one.
    least, most, sure = 0, sum(c.given_log >= CREDIBLE for c in changes), 1.0
    while least < most:
        middle = (least + most + 1) // 2
        hold = smoother.all_hold(order[:middle])
        if hold >= CREDIBLE:
            least, sure = middle, hold
        else:
            most = middle - 1
    return order[:least], sure


def _quantile(masses: np.ndarray, level: float) -> int:
    # The last sum may be a rounding error below 1.
    return min(int(np.searchsorted(np.cumsum(masses), level)), masses.size - 1)


def seeds_to_decide(change: SmoothedChange, noise_sd: float) -> tuple[int | None, float]:
    """Number of further runs, of a change and of its parent each, that decide about it.

    With n of both, in turn on one machine, the difference of their means is
    ``N(g, 2 S^2 / n)``.  The smallest n is returned for which the probability, over g
    and that difference, is at least :data:`CHANCE` that P(better), given log and
    re-runs, is at least :data:`CREDIBLE` or below :data:`OVERTURNED`; with it that
    probability.  0 where it is so now, ``None`` where :data:`MOST_SEEDS` are too few.
    """
    if change.better >= CREDIBLE or change.better < OVERTURNED:
        return 0, 1.0
    used = change.masses > _NEGLIGIBLE * change.masses.max()
    values, masses, improving = (
        array[used] for array in (change.values, change.masses, change.improving)
    )

    def chance_of(count: int) -> float:
        return _decided(values, masses, improving, noise_sd * math.sqrt(2 / count))

    chance = chance_of(MOST_SEEDS)
    if chance < CHANCE - _WOBBLE:
        return None, chance
    # More runs decide more often, but for the grid that this is computed on.
    near = bisect_left(range(1, MOST_SEEDS), CHANCE - _WOBBLE, key=chance_of) + 1
    for count in range(near, MOST_SEEDS + 1):
        chance = chance_of(count)
        if chance >= CHANCE:
            return count, chance
    return None, chance


def _decided(values: np.ndarray, masses: np.ndarray, improving: np.ndarray, sd: float) -> float:
    """Probability that a difference with this sd decides about the effect."""
    low, high = values.min() - 5 * sd, values.max() + 5 * sd
    differences = np.linspace(low, high, _POINTS)
    near = np.exp(-0.5 * ((differences[:, None] - values) / sd) ** 2)
    density = near @ masses
    better = np.divide(near @ improving, density, out=np.ones(_POINTS), where=density > 0)
    settled = (better >= CREDIBLE) | (better < OVERTURNED)
    return float(density[settled].sum() / density.sum())
