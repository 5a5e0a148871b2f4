"""What a whole log says of each change that it kept, later rows included.

The judge filters: it believes of a change what the log said when the change was
decided.  Here everything conditions on the whole log, under the judge's model:

- a run measures its code, ``y ~ N(theta, S^2)``; lower is better;
- a candidate's truth is ``theta - g``, the incumbent's less its effect, with g
  from the judge's effect prior, with the weights that it had learned before it;
- a kept candidate becomes the incumbent; between proposals the incumbent's metric
  drifts by a normal step of variance ``drift * S^2``.

Who decided, and how, does not matter: decisions follow from the measurements,
and the posterior is given these.

Given S the incumbent's truth is a Markov chain in one dimension.  It is put on a
lattice of S / 12, 10 S to either side of what each incumbent measured, and
smoothed forwards and backwards; nothing else is approximated.  S is averaged over
the judge's noise nodes.  Where a measurement is less likely than the judge's
outlier floor, the floor is its likelihood, and it says nothing of the incumbent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ratchet.chain import POINTS, STEPS_PER_SD, Chains, Keep, Transition, carried
from ratchet.codec import Frozen
from ratchet.errors import DataError
from ratchet.judge import Settings
from ratchet.judge.effects import FloatArray
from ratchet.judge.incumbent import IncumbentFilter
from ratchet.judge.normal import ndtr

LEAST_BELIEF = 1e-3
"""Noise nodes with less belief are left out; all of them together move nothing."""

LEVEL = 0.9
"""Probability of all intervals, as the judge's of the noise floor."""


NoisePrior = Callable[[FloatArray], FloatArray]
"""Log density of the noise floor, in ln S and up to a constant."""


class Change(Frozen):
    """A kept change by the whole log; ``place`` is its row, from 0.

    ``better`` is P(g > 0), ``gain`` is E[g], and ``low`` and ``high`` bound g with
    probability :data:`LEVEL`.  ``values`` with ``masses`` is the distribution of g,
    in which ``improving`` is the part of each mass with g > 0.
    """

    place: int
    better: float
    gain: float
    low: float
    high: float
    values: FloatArray
    masses: FloatArray
    improving: FloatArray


class Smoother:
    """The posterior of one log under the judge's model.

    ``values``, ``kept`` and ``replicate_mask`` are the rows as
    :func:`ratchet.judge.replay` takes them and ``weights`` what it returns.
    ``settings`` are the judge's; ``noise_prior`` gives the log prior of noise floors in
    place of theirs.  Raises :class:`DataError` for sequences of unequal
    length and where no row has a value.
    """

    def __init__(
        self,
        values: Sequence[float | None],
        kept: Sequence[bool],
        replicate_mask: Sequence[bool],
        weights: Sequence[FloatArray | None],
        settings: Settings,
        noise_prior: NoisePrior | None = None,
    ) -> None:
        if not len(values) == len(kept) == len(replicate_mask) == len(weights):
            raise DataError("smoothing: expected values, kept, replicates, weights of equal length")
        start = next((i for i, value in enumerate(values) if value is not None), None)
        if start is None:
            raise DataError("smoothing: expected a row with a metric, found none")
        prior = IncumbentFilter(settings)
        self.noise: FloatArray = prior.noise
        rows = list(zip(values, kept, replicate_mask, weights, strict=True))[start:]
        self._chains = Chains(rows, start, self.noise, settings)
        events = self._chains.events
        log_prior = prior.log_evidence if noise_prior is None else noise_prior(self.noise)
        log_belief = log_prior + [self._chains.evidence(chain) for chain in events]
        # What is alike before any row: a flat density of the baseline's truth.
        log_belief = log_belief + np.log(self.noise)
        belief = np.exp(log_belief - log_belief.max())
        self.belief: FloatArray = np.asarray(belief / belief.sum(), dtype=float)
        used = np.flatnonzero(self.belief >= LEAST_BELIEF)
        self._nodes = [
            (float(self.belief[j] / self.belief[used].sum()), float(self.noise[j]), events[j])
            for j in used
        ]

    @property
    def noise_sd(self) -> float:
        """Noise floor: geometric posterior mean of the sd of one run."""
        return math.exp(float(self.belief @ np.log(self.noise)))

    def noise_interval(self) -> tuple[float, float]:
        """Central interval of the noise floor, between the nodes by ln S."""
        below = np.cumsum(self.belief) - 0.5 * self.belief
        tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
        low, high = np.exp(np.interp(tails, below, np.log(self.noise)))
        return float(low), float(high)

    def changes(self) -> tuple[Change, ...]:
        """Each kept change, in order."""
        found: dict[int, list[tuple[FloatArray, FloatArray, FloatArray]]] = {}
        for belief, noise, chain in self._nodes:
            for keep, joint in self._chains.joints(chain):
                masses, improving = joint * keep.every, joint * keep.better
                unit = belief / float(masses.sum())
                values = keep.steps * (noise / STEPS_PER_SD)
                found.setdefault(keep.place, []).append((values, unit * masses, unit * improving))
        return tuple(_change(place, parts) for place, parts in sorted(found.items()))

    def together(self, places: Sequence[int]) -> float:
        """P(each of these kept changes is truly better)."""
        chosen = set(places)

        def only(keep: Keep, state: FloatArray) -> FloatArray:
            every = keep.every
            return np.stack(
                [
                    carried(every, state[0]),
                    carried(keep.better if keep.place in chosen else every, state[1]),
                ]
            )

        total = 0.0
        for belief, _, chain in self._nodes:
            both = self._chains.run(chain, np.ones((2, POINTS)), only)[0].sum(axis=1)
            total += belief * float(both[1] / both[0])
        return total

    def held(self, places: Sequence[int]) -> FloatArray:
        """P(exactly m of these kept changes are truly better), for m = 0, 1, ..."""
        chosen = set(places)

        def counted(keep: Keep, state: FloatArray) -> FloatArray:
            if keep.place not in chosen:
                return _all_carried(keep.every, state)
            lost = _all_carried(keep.null + keep.worse, state)
            won = _all_carried(keep.better, state)
            return np.vstack([lost, np.zeros(POINTS)]) + np.vstack([np.zeros(POINTS), won])

        total: FloatArray = np.zeros(len(chosen) + 1)
        for belief, _, chain in self._nodes:
            counts = self._chains.run(chain, np.ones((1, POINTS)), counted)[0].sum(axis=1)
            total[: counts.size] += belief * counts / counts.sum()
        return total

    def total(self, places: Sequence[int]) -> tuple[float, float, float]:
        """Mean and interval of the summed effects of these kept changes.

        The mean is exact on the lattice; for the interval the sum is taken as normal
        in each noise node.
        """
        chosen = set(places)
        means, sds, beliefs = [], [], []
        for belief, noise, chain in self._nodes:
            state = np.vstack([np.ones(POINTS), np.zeros((2, POINTS))])
            zeroth, first, second = self._chains.run(chain, state, _moments(chosen))[0].sum(axis=1)
            mean = first / zeroth
            unit = noise / STEPS_PER_SD
            means.append(mean * unit)
            sds.append(unit * math.sqrt(max(second / zeroth - mean**2, 1e-12)))
            beliefs.append(belief)
        low, high = _mixture_interval(np.array(beliefs), np.array(means), np.array(sds))
        return float(np.dot(beliefs, means)), low, high


def _all_carried(kernel: FloatArray, state: FloatArray) -> FloatArray:
    return np.stack([carried(kernel, row) for row in state])


def _moments(chosen: set[int]) -> Transition:
    """Carries the density with first and second moments of the effects so far."""

    def moved(keep: Keep, state: FloatArray) -> FloatArray:
        every = keep.every
        zeroth, first, second = (carried(every, row) for row in state)
        if keep.place in chosen:
            steps = keep.steps
            by_step, by_square = every * steps, every * steps**2
            second = second + 2 * carried(by_step, state[1]) + carried(by_square, state[0])
            first = first + carried(by_step, state[0])
        return np.stack([zeroth, first, second])

    return moved


def _change(place: int, parts: list[tuple[FloatArray, FloatArray, FloatArray]]) -> Change:
    values, masses, improving = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    order = np.argsort(values, kind="stable")
    values, masses, improving = values[order], masses[order], improving[order]
    below = np.cumsum(masses) - 0.5 * masses
    low, high = np.interp([(1 - LEVEL) / 2, (1 + LEVEL) / 2], below, values)
    better, gain = min(1.0, float(improving.sum())), float(masses @ values)
    return Change(place, better, gain, float(low), float(high), values, masses, improving)


def _mixture_interval(
    shares: FloatArray, means: FloatArray, sds: FloatArray
) -> tuple[float, float]:
    """Central interval of a mixture of normals, by bisection."""
    ends = []
    for tail in ((1 - LEVEL) / 2, (1 + LEVEL) / 2):
        low, high = float((means - 10 * sds).min()), float((means + 10 * sds).max())
        for _ in range(80):
            middle = 0.5 * (low + high)
            if float(shares @ ndtr((middle - means) / sds)) < tail:
                low = middle
            else:
                high = middle
        ends.append(0.5 * (low + high))
    return ends[0], ends[1]
