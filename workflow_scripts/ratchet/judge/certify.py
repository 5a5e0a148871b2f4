"""Contributions of kept changes: what each one carries of the champion.

The search keeps changes one after the other; which of them hold is asked afterwards, by
fresh runs of the champion with some changes left out.  Leaving out several at once, N runs
know each of k contributions to about 2 noise floors / sqrt(N); leaving out one at a time
needs k times the runs for the same.

There are often more kept changes than fresh runs, so the runs of the search are read again
too: each of them was of the champion without the changes that came later, and perhaps with
a proposal that was not kept.  All runs follow one linear model, a level minus the effects of
what is in the code, plus noise.  Since every run is in it, none is chosen for its luck,
and a change that was kept by luck is seen in what came after it.  The effects of all
proposals, kept or not, share one distribution, which is learned with them.  The machine of
the search may have been another one in speed, so its runs have a level of their own.
Lower metrics are better.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ratchet.base.stats import FloatArray
from ratchet.base.structs import Frozen, replace
from ratchet.judge.effects import SCALES, SIDE
from ratchet.judge.settings import RELATIVE_NOISE, log_noise_prior
from ratchet.records.records import Contribution, Standing

FALSE_SHARE = 0.04
"""Most that the certified changes of a session may be expected to hold of false ones: lower
than what is promised, 5 %, as codes differ in their noise.  In simulated sessions of 40 runs
.05 certifies 6 % false ones and .04 5 %; it misses one in fifty of the true ones."""

LEAST_CONFIDENCE = 0.6
"""P(contribution > 0) of each certified change: very sure ones vouch for no doubtful one."""

PASSENGER_SHARE = 0.1
"""Share of the champion's expected gain that all passengers together may carry."""

PASSENGER_GAIN = 0.8
"""What they may carry together in noise sds: less than one run shows."""

PASSENGER_CONFIDENCE = 0.7
"""A change as likely as this to contribute is no passenger, however small."""

INTERVAL = 0.9
"""Probability that a contribution lies in its interval."""

DIVERGED, DIVERGED_SHARE = 2.0**20, 0.01
"""Harm of a diverged proposal in noise sds, and the share of such ones before any is seen.
Without them one would pass for noise."""

# Effects of proposals in noise sds: none to speak of, or a gain or harm of one of the
# judge's scales.  A half-normal of width s has about the mean .8 s and the sd .6 s.
_MEANS = 0.8 * np.concatenate([[0.0], SCALES, -SCALES, [-DIVERGED]])
_SDS = 0.6 * np.concatenate([[1 / 12], SCALES, SCALES, [DIVERGED]])

NO_EFFECT = 0.05
"""Share of proposals without effect, before any is seen; the others gain or harm alike."""
_EITHER = (1 - NO_EFFECT - DIVERGED_SHARE) / (2 * SIDE)
_PRIOR = np.concatenate([[NO_EFFECT], np.full(2 * SIDE, _EITHER), [DIVERGED_SHARE]])

PRIOR_COUNT = 20.0
"""Proposals that the distribution of effects before any is seen counts as."""

ODD_BEFORE = (1.0, 19.0)
"""Runs that were odd, as a slowed one is, and usual ones, before any is seen: a few in a hundred
are odd, and how many is learned."""

ODD_MEAN, ODD_SD = 3.0, 5.0
"""Metric of an odd run, in noise sds: mostly worse, as a slowed run is, seldom better by luck.
So neither one such run nor changes that work only together pass for knowledge."""

NOISE_STEPS = (1.0, 0.3, 0.1)
"""Sds of the steps by which a chain moves the noise's logarithm, in each sweep."""

CHAINS, SWEEPS, BURN_IN = 64, 160, 40
"""Size of the sampler: probabilities are within .02 of those of a ten times longer one."""

STARTS = 4
"""Designs that the exchange starts from; further ones improve nothing that matters."""


class Change(Frozen):
    """A kept change, by its number.

    ``needs`` are the numbers of earlier changes that it cannot stand without;
    ``confidence`` is P(better) by the search.  What ``stays`` is no passenger: it was
    kept for another reason than its gain.
    """

    number: int
    needs: tuple[int, ...]
    confidence: float
    stays: bool = False


class VariantRun(Frozen):
    """Metric of the champion without the changes that are left out.

    A run of the search may have ``tried`` a proposal beside, by its number, which was not
    kept.  Runs of one ``occasion`` share their level; 0 are the fresh ones.
    """

    left_out: frozenset[int]
    value: float
    tried: int | None = None
    occasion: int = 0


def plan_leave_outs(
    changes: Sequence[Change], runs: int, known: Sequence[VariantRun] = ()
) -> tuple[frozenset[int], ...]:
    """Numbers of the changes to leave out in each run, so that the runs tell the most.

    A Bayesian D-optimal design over the variants that can be built, beside what is
    ``known``: with each change goes what needs it.  The prior variance of a change is that
    of its sign, so that runs go where doubt is, and more changes than runs do no harm.
    """
    if not changes:
        return ()
    sure = np.clip([change.confidence for change in changes], 0.02, 0.98)
    core = [run for run in known if run.tried is None]
    x = _design(changes, core)
    prior = x.T @ x
    prior[np.diag_indices(len(prior))] += np.concatenate(
        [0.25 / (sure * (1 - sure)), np.full(len(prior) - len(sure), 1e-6)]
    )
    needed, needing = _closures(changes)
    designs = []
    for start in range(STARTS):
        draw = np.random.default_rng([len(changes), runs, start]).random((runs, len(changes)))
        rows = (draw < 0.5) @ needing
        designs.append((_exchange(rows, needed, needing, prior), rows))
    _, best = max(designs, key=lambda design: design[0])
    numbers = np.array([change.number for change in changes])
    return tuple(frozenset(numbers[row].tolist()) for row in best)


def _design(changes: Sequence[Change], runs: Sequence[VariantRun]) -> FloatArray:
    """What each run tells of: which changes it lacks, then its occasion; the first is the fresh."""
    lacks = [[change.number in run.left_out for change in changes] for run in runs]
    occasions = sorted({0, *(run.occasion for run in runs)})
    when = [[run.occasion == occasion for occasion in occasions] for run in runs]
    size = (len(runs), len(changes))
    left = np.array(lacks, dtype=float).reshape(size)
    return np.concatenate([left, np.array(when, float).reshape(len(runs), len(occasions))], axis=1)


def contributions(
    changes: Sequence[Change], runs: Sequence[VariantRun]
) -> tuple[Contribution, ...]:
    """What each change adds, and its standing.

    ``runs`` are those of the search and the fresh ones.  They alone tell the noise: what the
    search made of it rests on its runs too, which would count twice.  Certified is the
    largest set of changes whose expected share of false ones is at most :data:`FALSE_SHARE`,
    of those that fresh runs were made with and without.  Passengers are those that
    contribute least, as long as the champion loses next to nothing with all of them.
    """
    if not changes:
        return ()
    draws, noise_sd = _Sampler(changes, runs).draws()
    low, high = np.quantile(draws, [(1 - INTERVAL) / 2, (1 + INTERVAL) / 2], axis=0)
    columns = np.stack([draws.mean(axis=0), low, high, (draws > 0).mean(axis=0)]).T.tolist()
    found = [
        Contribution(change.number, gain, least, most, sure)
        for change, (gain, least, most, sure) in zip(changes, columns, strict=True)
    ]
    standing = dict.fromkeys(_passengers(changes, found, noise_sd), Standing.PASSENGER)
    # What was left out in no fresh run, or in all, has the search's word alone.
    fresh = [run.left_out for run in runs if run.occasion == 0]
    tested = [c for c in found if 0 < sum(c.number in out for out in fresh) < len(fresh)]
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


def _passengers(
    changes: Sequence[Change], found: Sequence[Contribution], noise_sd: float
) -> list[int]:
    """Changes that can go, the least first, each with those that need it."""
    _, needing = _closures(changes)
    worth = np.maximum([each.gain for each in found], 0.0)
    most = min(PASSENGER_SHARE * worth.sum(), PASSENGER_GAIN * noise_sd)
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
    prior: FloatArray,
) -> float:
    """Flip entries of the design, with what hangs on them, while it tells more; how much."""
    value, before = float(_information(rows[None], prior)[0]), -math.inf
    while value > before + 1e-9:
        before = value
        for number, row in enumerate(rows):
            flips = np.where(row[:, None], row & ~needed, row | needing)
            designs = np.repeat(rows[None], len(flips), axis=0)
            designs[:, number] = flips
            found = _information(designs, prior)
            if found.max() > value + 1e-9:
                rows[number], value = flips[int(found.argmax())], float(found.max())
    return value


def _information(designs: NDArray[np.bool_], prior: FloatArray) -> FloatArray:
    """Log determinant of what each design tells of contributions and levels."""
    count, others = designs.shape[1], len(prior) - designs.shape[2]
    levels = np.broadcast_to(np.eye(1, others), (len(designs), count, others))
    x = np.concatenate([designs, levels], axis=2)
    found: FloatArray = np.linalg.slogdet(np.swapaxes(x, 1, 2) @ x + prior)[1]
    return found


class _Sampler:
    """Gibbs sampler of effects, levels, noise and odd runs; many chains side by side.

    Each sweep draws the effects of proposals that were not kept, then each contribution
    over all scales, then contributions and levels together given their scales: they hang
    together in a chain, and one at a time would move slowly.  The scales count in noise sds,
    so effects tell of the noise as runs do: were it smaller, effects as seen were larger.  The
    unit is the spread of the runs.  The random numbers follow from the sizes alone.
    """

    def __init__(self, changes: Sequence[Change], runs: Sequence[VariantRun]) -> None:
        self.random = np.random.default_rng([len(runs), len(changes)])
        self.count = len(changes)
        self.x, self.kind = np.unique(_design(changes, runs), axis=0, return_inverse=True)
        self.kind = self.kind.reshape(len(runs))
        values = np.array([run.value for run in runs])
        expected = RELATIVE_NOISE
        if len(runs):
            expected *= float(np.abs(values).mean()) or 1.0
            values -= np.median(values)
        # The median deviation, which a diverged run does not change.
        self.unit = float(np.median(np.abs(values))) if len(runs) else 0.0
        self.unit = self.unit or expected
        self.values = values / self.unit
        self.log_expected = math.log(expected / self.unit)
        self.of_kind = (self.kind[:, None] == np.arange(len(self.x))).astype(float)
        tried = sorted({run.tried for run in runs if run.tried is not None})
        self.tried = np.array([[run.tried == n for n in tried] for run in runs], dtype=float)
        self.tried = self.tried.reshape(len(runs), len(tried))
        self.products = (self.x[:, :, None] * self.x[:, None, :]).reshape(len(self.x), -1)
        self.effects = self._start()
        self.log_weights = np.tile(np.log(_PRIOR), (CHAINS, 1))
        self.others = np.zeros((CHAINS, len(tried)))
        self.scales = np.zeros((CHAINS, self.count), dtype=int)
        self.odd = np.zeros((CHAINS, len(runs)), dtype=bool)
        self.odd_share = np.full((CHAINS, 1), ODD_BEFORE[0] / sum(ODD_BEFORE))
        # From where nearly all that is seen is noise to where nearly nothing is.
        self.noise = np.exp(-3 * self.random.random((CHAINS, 1)))

    def _start(self) -> FloatArray:
        """Contributions and levels by least squares, held by a wide prior, and spread."""
        core = ~self.tried.any(axis=1)
        x, values = self.x[self.kind[core]], self.values[core]
        middle = float(np.median(values)) if len(values) else 0.0
        held = np.full(self.x.shape[1], 1e-6)
        held[: self.count] = 0.05
        found = np.linalg.solve(x.T @ x + np.diag(held), x.T @ (values - middle))
        found[self.count :] += middle
        spread = np.zeros((CHAINS, found.size))
        spread[:, : self.count] = self.random.normal(0, 0.5, (CHAINS, self.count))
        start: FloatArray = found + spread
        return start

    def draws(self) -> tuple[FloatArray, float]:
        """Contributions, one row a draw, and the noise sd, both in the metric's unit."""
        kept, log_noise = [], []
        for sweep in range(SWEEPS):
            self._draw_others()
            self._draw_scales()
            self._draw_together()
            self._draw_weights()
            self._draw_noise()
            if sweep >= BURN_IN:
                kept.append(self.effects[:, : self.count].copy())
                log_noise.append(np.log(self.noise))
        noise_sd = self.unit * math.exp(float(np.mean(log_noise)))
        return self.unit * np.concatenate(kept), noise_sd

    @property
    def _precision(self) -> FloatArray:
        found: FloatArray = (self.noise * np.where(self.odd, ODD_SD, 1.0)) ** -2
        return found

    @property
    def _seen(self) -> FloatArray:
        """Metric of each run's champion without what is left out, by what the run measured."""
        usual = self.values - self.noise * ODD_MEAN * self.odd
        found: FloatArray = usual + self.others @ self.tried.T
        return found

    @property
    def _expected(self) -> FloatArray:
        """Metric of each run's champion without what is left out."""
        found: FloatArray = (self.effects @ self.x.T)[:, self.kind]
        return found

    def _draw_others(self) -> None:
        """Effects of the proposals that were not kept, which are in their own runs alone."""
        if not self.tried.size:
            self.other_scales = np.zeros((CHAINS, 0), dtype=int)
            return
        precision = self._precision
        information = precision @ self.tried
        usual = self.values - self.noise * ODD_MEAN * self.odd
        seen = (precision * (self._expected - usual)) @ self.tried / information
        self.others, self.other_scales = self._draw_effects(seen, information)

    def _draw_scales(self) -> None:
        """Contributions one at a time, whatever their scale is."""
        precision = self._precision
        weight = precision @ self.of_kind
        residual = self._seen - self._expected
        # Of runs of one kind only their mean tells of contributions.
        mean = (precision * residual) @ self.of_kind / np.maximum(weight, 1e-12)
        for place, column in enumerate(self.x.T[: self.count]):
            mean += self.effects[:, place, None] * column
            information = weight @ column + 1e-9
            seen = (weight * mean) @ column / information
            drawn, scale = self._draw_effects(seen[:, None], information[:, None])
            self.effects[:, place], self.scales[:, place] = drawn[:, 0], scale[:, 0]
            mean -= drawn * column

    def _draw_effects(
        self, seen: FloatArray, information: FloatArray
    ) -> tuple[FloatArray, NDArray[np.intp]]:
        """Effects of the shape (chains, effects) and the place of their scale."""
        means, variances = self.noise * _MEANS, (self.noise * _SDS) ** 2
        total = variances[:, None] + 1 / information[..., None]
        log = self.log_weights[:, None] - 0.5 * np.log(total)
        log -= 0.5 * (seen[..., None] - means[:, None]) ** 2 / total
        chosen = self._choose(log)
        before, variance = self.noise * _MEANS[chosen], (self.noise * _SDS[chosen]) ** 2
        share = variance / (variance + 1 / information)
        mean = before + share * (seen - before)
        spread = np.sqrt(share / information) * self.random.normal(size=seen.shape)
        return mean + spread, chosen

    def _draw_together(self) -> None:
        """Contributions and levels given the scales: one normal distribution."""
        precision = self._precision
        size = self.x.shape[1]
        held, mean = np.full((CHAINS, size), 1e-6), np.zeros((CHAINS, size))
        held[:, : self.count] = (self.noise * _SDS[self.scales]) ** -2
        mean[:, : self.count] = self.noise * _MEANS[self.scales]
        weight = precision @ self.of_kind
        information = (weight @ self.products).reshape(CHAINS, size, size)
        information[:, np.arange(size), np.arange(size)] += held
        target = ((precision * self._seen) @ self.of_kind) @ self.x + held * mean
        root = np.linalg.cholesky(information)
        half = np.linalg.solve(root, target[..., None])
        half += self.random.normal(size=half.shape)
        self.effects = np.linalg.solve(np.swapaxes(root, 1, 2), half)[..., 0]

    def _draw_weights(self) -> None:
        """Distribution of effects: a Dirichlet with the scales of all proposals."""
        scales = np.concatenate([self.scales, self.other_scales], axis=1)
        places = scales + _PRIOR.size * np.arange(CHAINS)[:, None]
        counts = np.bincount(places.ravel(), minlength=CHAINS * _PRIOR.size)
        counts = counts.reshape(CHAINS, _PRIOR.size)
        drawn = self.random.gamma(PRIOR_COUNT * _PRIOR + counts) + 1e-300
        self.log_weights = np.log(drawn / drawn.sum(axis=1, keepdims=True))

    def _draw_noise(self) -> None:
        """Noise given which runs are odd, and which are odd given the noise; Metropolis steps."""
        off = self.values + self.others @ self.tried.T - self._expected
        # Runs and effects alike are normal, with means and sds that are multiples of the noise.
        scales = np.concatenate([self.scales, self.other_scales], axis=1)
        means = np.concatenate([ODD_MEAN * self.odd, _MEANS[scales]], axis=1)
        sds = np.concatenate([np.where(self.odd, ODD_SD, 1.0), _SDS[scales]], axis=1)
        drawn = np.concatenate([off, self.effects[:, : self.count], self.others], axis=1)
        squares = ((drawn / sds) ** 2).sum(axis=1)
        products = (drawn * means / sds**2).sum(axis=1)
        size = drawn.shape[1]

        def density(log_noise: FloatArray) -> FloatArray:
            shrink = np.exp(-log_noise)
            prior = log_noise_prior(log_noise - self.log_expected)
            found: FloatArray = (
                prior - size * log_noise - 0.5 * squares * shrink**2 + products * shrink
            )
            return found

        log_noise = np.log(self.noise[:, 0])
        for step in NOISE_STEPS:
            moved = log_noise + step * self.random.normal(size=CHAINS)
            taken = np.log(self.random.random(CHAINS)) < density(moved) - density(log_noise)
            log_noise = np.where(taken, moved, log_noise)
        self.noise = np.exp(log_noise)[:, None]
        off /= self.noise
        usual = np.log((1 - self.odd_share) / self.odd_share * ODD_SD)
        surprise = 0.5 * off**2 - 0.5 * ((off - ODD_MEAN) / ODD_SD) ** 2
        self.odd = self.random.logistic(size=off.shape) < surprise - usual
        count = self.odd.sum(axis=1, keepdims=True)
        before, usual_before = ODD_BEFORE
        drawn_share = self.random.beta(before + count, usual_before + off.shape[1] - count)
        self.odd_share = np.clip(drawn_share, 1e-9, 1 - 1e-9)

    def _choose(self, log_weights: FloatArray) -> NDArray[np.intp]:
        """A place of the last axis, each with its weight."""
        weights = np.exp(log_weights - log_weights.max(axis=-1, keepdims=True)).cumsum(axis=-1)
        drawn = self.random.random(weights.shape[:-1]) * weights[..., -1]
        chosen: NDArray[np.intp] = (weights[..., :-1] < drawn[..., None]).sum(axis=-1)
        return chosen
