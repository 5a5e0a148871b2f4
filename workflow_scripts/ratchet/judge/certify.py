"""Contributions of kept changes: what each one carries of the champion, by fresh runs.

The search keeps changes one after the other; which of them hold is asked afterwards.  A
fresh run is of the champion with some changes left out.  Its metric is taken as the
champion's plus the contributions of what was left out, plus noise.  Leaving out several
at once, N runs know each of k contributions to about 2 noise floors / sqrt(N); leaving
out one at a time needs k times the runs for the same.

There are often more kept changes than runs.  So the search's belief about each change is
the prior, but only with probability 1 - :data:`MISLED`: a run that a busy machine slowed
may have made it sure of anything.  Lower metrics are better.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ratchet.base.stats import FloatArray
from ratchet.base.structs import Frozen, replace
from ratchet.records.records import Contribution, Standing

FALSE_SHARE = 0.05
"""Expected share of false ones among the certified.  In simulated sessions and over real
edits the share was 2 to 4 %, as beliefs are modest; with .07 it reaches 7."""

LEAST_CONFIDENCE = 0.6
"""P(contribution > 0) of each certified change: very sure ones vouch for no doubtful one."""

PASSENGER_SHARE = 0.1
"""Share of the champion's expected gain that all passengers together may carry."""

PASSENGER_GAIN = 0.8
"""What they may carry together in noise floors: less than one run shows.  With 0.5 a fifth
fewer passengers go; with 1.2 hardly any more."""

PASSENGER_CONFIDENCE = 0.7
"""A change as likely as this to contribute is no passenger, however small."""

INTERVAL = 0.9
"""Probability that a contribution lies in its interval."""

MISLED = 0.1
"""Probability that the search's belief about a change is worth nothing: about that of a
slowed run at the wrong place.  In simulated sessions .25 certifies a fifth less, and 0
certifies what one slowed baseline run suggests."""

# What a kept change contributes where the search was misled, in noise floors: nothing, or
# a gain or harm of one of eight scales, from what no session sees to what dwarfs all
# else.  A scale s stands for N(s, (s/2)^2).  Two of three keeps of a liberal search hold.
_SCALES = 2.0 ** np.arange(-2, 6)
_MEANS = np.concatenate([[0.0], _SCALES, -_SCALES])
_SDS = np.concatenate([[1e-6], _SCALES / 2, _SCALES / 2])
_SMALL_FIRST = _SCALES[::-1] / _SCALES.sum()
_PRIOR = np.concatenate([[0.15], np.full(8, 0.65 / 8), 0.2 * _SMALL_FIRST])
# What it contributes where the search was wrong in what it doubted itself.
_DOUBTED = np.concatenate([[0.4], np.zeros(8), 0.6 * _SMALL_FIRST])

ODD_SHARE, ODD_FACTOR = 0.05, 6.0
"""Share of fresh runs that are odd, as a slowed one is, and their noise in usual noise.
So neither one such run nor changes that work only together pass for knowledge."""

NOISE_NODES = np.linspace(-2.5, 2.5, 11)
"""Noise of the fresh runs, in sds of what is known of its logarithm."""

NOISE_LOG_SD = 0.3
"""Least sd of the noise's logarithm: variants differ in it, and do not quite add up."""

CHAINS, SWEEPS, BURN_IN = 128, 160, 40
"""Size of the sampler: probabilities are within .01 of those of a ten times longer one."""

STARTS = 4
"""Designs that the exchange starts from; further ones improve nothing that matters."""


class Change(Frozen):
    """A kept change, by its number.

    ``needs`` are the numbers of earlier changes that it cannot stand without.
    ``confidence``, ``gain`` and ``sd`` are the search's P(better), E[g] and the
    sampling noise of the difference that they rest on.  What ``stays`` is no
    passenger: it was kept for another reason than its gain.
    """

    number: int
    needs: tuple[int, ...]
    confidence: float
    gain: float
    sd: float
    stays: bool = False


class FreshRun(Frozen):
    """A run after the search: the numbers of the changes left out, and its metric."""

    left_out: frozenset[int]
    value: float


def plan_leave_outs(changes: Sequence[Change], runs: int) -> tuple[frozenset[int], ...]:
    """Numbers of the changes to leave out in each run, so that the runs tell the most.

    A Bayesian D-optimal design over the variants that can be built: with each change
    goes what needs it.  The prior variance of a change is that of its sign, so that
    runs go where doubt is, and more changes than runs do no harm.
    """
    if not changes:
        return ()
    sure = np.array([_tempered(change) for change in changes])
    precision = 0.25 / (sure * (1 - sure))
    needed, needing = _closures(changes)
    designs = []
    for start in range(STARTS):
        draw = np.random.default_rng([len(changes), runs, start]).random((runs, len(changes)))
        rows = (draw < 0.5) @ needing
        designs.append((_exchange(rows, needed, needing, precision), rows))
    _, best = max(designs, key=lambda design: design[0])
    numbers = np.array([change.number for change in changes])
    return tuple(frozenset(numbers[row].tolist()) for row in best)


def contributions(
    changes: Sequence[Change], fresh: Sequence[FreshRun], noise: tuple[float, float]
) -> tuple[Contribution, ...]:
    """What each change adds, and its standing; ``noise`` is the noise floor's 90 % interval.

    Certified is the largest set of changes whose expected share of false ones is at
    most :data:`FALSE_SHARE`.  Passengers are those that contribute least, as long as
    the champion loses next to nothing with all of them.
    """
    if not changes:
        return ()
    unit = math.sqrt(noise[0] * noise[1])
    log_sd = math.hypot(math.log(noise[1] / noise[0]) / (2 * 1.645), NOISE_LOG_SD)
    left_out = np.array([[c.number in run.left_out for c in changes] for run in fresh], dtype=float)
    left_out = left_out.reshape(len(fresh), len(changes))
    values = np.array([run.value for run in fresh]) / unit
    draws = unit * _Sampler(changes, left_out, values, unit, log_sd).draws()
    low, high = np.quantile(draws, [(1 - INTERVAL) / 2, (1 + INTERVAL) / 2], axis=0)
    better = (draws > 1e-4 * unit).mean(axis=0)
    columns = np.stack([draws.mean(axis=0), low, high, better]).T.tolist()
    found = [
        Contribution(change.number, gain, least, most, sure)
        for change, (gain, least, most, sure) in zip(changes, columns, strict=True)
    ]
    standing = dict.fromkeys(_passengers(changes, found, unit), Standing.PASSENGER)
    # What was left out in no run, or in all, has the search's word alone.
    seen = np.ptp(left_out, axis=0) > 0 if len(fresh) else np.zeros(len(changes), dtype=bool)
    tested = [each for each, told in zip(found, seen.tolist(), strict=True) if told]
    standing |= dict.fromkeys(_certified(tested), Standing.CERTIFIED)
    return tuple(replace(c, standing=standing.get(c.number, c.standing)) for c in found)


def _certified(found: Sequence[Contribution]) -> list[int]:
    numbers: list[int] = []
    doubts = 0.0
    for each in sorted(found, key=lambda each: -each.confidence):
        doubts += 1 - each.confidence
        if each.confidence < LEAST_CONFIDENCE or doubts > FALSE_SHARE * (len(numbers) + 1):
            break
        numbers.append(each.number)
    return numbers


def _passengers(changes: Sequence[Change], found: Sequence[Contribution], unit: float) -> list[int]:
    """Changes that can go, the least first, each with those that need it."""
    _, needing = _closures(changes)
    worth = np.maximum([each.gain for each in found], 0.0)
    most = min(PASSENGER_SHARE * worth.sum(), PASSENGER_GAIN * unit)
    staying = np.array(
        [
            change.stays or each.confidence >= PASSENGER_CONFIDENCE
            for change, each in zip(changes, found, strict=True)
        ]
    )
    out = np.zeros(len(found), dtype=bool)
    for place in sorted(range(len(found)), key=lambda place: (found[place].gain, place)):
        more = out | needing[place]
        if not (staying & more).any() and worth[more].sum() <= most:
            out = more
    return [each.number for each, gone in zip(found, out.tolist(), strict=True) if gone]


def _tempered(change: Change) -> float:
    """P(better) by the search, as far as it is believed."""
    return (1 - MISLED) * change.confidence + MISLED * float(_PRIOR[1:9].sum())


def _closures(changes: Sequence[Change]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """For each change, those that it needs and those that need it, itself among both."""
    places = {change.number: place for place, change in enumerate(changes)}
    needed = np.eye(len(changes), dtype=bool)
    for place, change in enumerate(changes):
        for earlier in change.needs:
            needed[place] |= needed[places[earlier]]
    return needed, needed.T.copy()


def _exchange(
    rows: NDArray[np.bool_],
    needed: NDArray[np.bool_],
    needing: NDArray[np.bool_],
    precision: FloatArray,
) -> float:
    """Flip entries of the design, with what hangs on them, while it tells more; how much."""
    value, before = float(_information(rows[None], precision)[0]), -math.inf
    while value > before + 1e-9:
        before = value
        for number, row in enumerate(rows):
            flips = np.where(row[:, None], row & ~needed, row | needing)
            designs = np.repeat(rows[None], len(flips), axis=0)
            designs[:, number] = flips
            found = _information(designs, precision)
            if found.max() > value + 1e-9:
                rows[number], value = flips[int(found.argmax())], float(found.max())
    return value


def _information(designs: NDArray[np.bool_], precision: FloatArray) -> FloatArray:
    """Log determinant of what each design tells of champion and contributions."""
    x = np.concatenate([np.ones((*designs.shape[:2], 1)), designs], axis=2)
    prior = np.diag(np.concatenate([[1e-6], precision]))
    found: FloatArray = np.linalg.slogdet(np.swapaxes(x, 1, 2) @ x + prior)[1]
    return found


class _Sampler:
    """Gibbs sampler of contributions, noise and odd runs; many chains side by side.

    Everything is in noise floors.  The random numbers follow from the sizes alone.
    """

    def __init__(
        self,
        changes: Sequence[Change],
        left_out: FloatArray,
        values: FloatArray,
        unit: float,
        log_sd: float,
    ) -> None:
        self.random = np.random.default_rng([len(values), len(changes)])
        self.x = left_out - left_out.mean(axis=0) if len(values) else left_out
        self.priors = [_prior(change, unit) for change in changes]
        held = np.array([means[-1] for means, _, _ in self.priors])
        self.effects = held + self.random.normal(0, 0.3, (CHAINS, len(changes)))
        level = np.median(values - self.x @ held) if len(values) else 0.0
        self.residual = values - level - self.effects @ self.x.T
        self.factor = np.ones(self.residual.shape)
        self.noise = np.ones((CHAINS, 1))
        self.nodes = np.exp(log_sd * NOISE_NODES)

    def draws(self) -> FloatArray:
        """Contributions, one row a draw."""
        kept = []
        for sweep in range(SWEEPS):
            self._draw_effects()
            self._draw_noise()
            if sweep >= BURN_IN:
                kept.append(self.effects.copy())
        return np.concatenate(kept)

    def _draw_effects(self) -> None:
        precision = (self.noise * self.factor) ** -2
        total = precision.sum(axis=1) + 1e-9
        level = (precision * self.residual).sum(axis=1) / total
        self.residual -= (level + self._normal() / np.sqrt(total))[:, None]
        for number, (column, prior) in enumerate(zip(self.x.T, self.priors, strict=True)):
            self.residual += self.effects[:, number, None] * column
            information = precision @ column**2 + 1e-9
            seen = (precision * self.residual) @ column / information
            self.effects[:, number] = self._draw_effect(seen, 1 / information, *prior)
            self.residual -= self.effects[:, number, None] * column

    def _draw_effect(
        self,
        seen: FloatArray,
        variance: FloatArray,
        means: FloatArray,
        sds: FloatArray,
        log_weights: FloatArray,
    ) -> FloatArray:
        total = sds**2 + variance[:, None]
        log = log_weights - 0.5 * (seen[:, None] - means) ** 2 / total - 0.5 * np.log(total)
        chosen = self._choose(log)
        share = sds[chosen] ** 2 / (sds[chosen] ** 2 + variance)
        mean = means[chosen] + share * (seen - means[chosen])
        drawn: FloatArray = mean + np.sqrt(share * variance) * self._normal()
        return drawn

    def _draw_noise(self) -> None:
        """Noise given which runs are odd, and which are odd given the noise."""
        squares = ((self.residual / self.factor) ** 2).sum(axis=1)[:, None]
        runs = self.residual.shape[1]
        log = -0.5 * NOISE_NODES**2 - runs * np.log(self.nodes) - 0.5 * squares / self.nodes**2
        self.noise = self.nodes[self._choose(log)][:, None]
        usual = math.log((1 - ODD_SHARE) / ODD_SHARE * ODD_FACTOR)
        surprise = 0.5 * (self.residual / self.noise) ** 2 * (1 - ODD_FACTOR**-2)
        odd = self.random.logistic(size=surprise.shape) < surprise - usual
        self.factor = np.where(odd, ODD_FACTOR, 1.0)

    def _choose(self, log_weights: FloatArray) -> NDArray[np.intp]:
        chosen: NDArray[np.intp] = np.argmax(
            log_weights + self.random.gumbel(size=log_weights.shape), axis=1
        )
        return chosen

    def _normal(self) -> FloatArray:
        return self.random.normal(size=CHAINS)


def _prior(change: Change, unit: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Means, sds and log weights of a change's prior; the search's gain is the last of them."""
    better = min(max(change.confidence, 1e-6), 1 - 1e-6)
    gain = max(change.gain, 1e-3 * unit) / better / unit
    doubted = (1 - MISLED) * (1 - better) * _DOUBTED + MISLED * _PRIOR
    return (
        np.append(_MEANS, gain),
        np.append(_SDS, min(change.sd / unit, gain / 2)),
        np.log(np.append(doubted, (1 - MISLED) * better)),
    )
