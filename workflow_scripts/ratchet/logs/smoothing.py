"""Posterior of each change that a log kept, by the whole log, later rows included.

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
smoothed forwards and backwards; of more than 100 keeps the number that is better
is taken as normal; nothing else is approximated.  S is averaged over
the judge's noise nodes.  Where a measurement is less likely than the judge's
outlier floor, the floor is its likelihood, and it says nothing of the incumbent.

A pass takes time in proportion to the rows.  Likelihoods are made anew in each pass:
to keep them would take more memory than a long log deserves.
"""

import math
from collections.abc import Callable, Generator, Iterator, Sequence

import numpy as np

from ratchet.base.errors import DataError
from ratchet.base.stats import HALF_LOG_2PI, FloatArray, log_ndtr, ndtr
from ratchet.base.structs import Frozen
from ratchet.judge.effects import COMPONENTS, SCALES, SIDE, EffectModel
from ratchet.judge.filter import TINY, IncumbentFilter
from ratchet.judge.settings import REFERENCE_SCALE, Settings

STEPS_PER_SD = 12
"""Lattice points per noise sd.  The drift of one proposal, 0.07 S, is then carried
exactly in variance by steps of one point; halving them moves no probability by 2e-3."""

REACH = 10
"""Noise sds to either side of an incumbent's measurement; a normal error is never so
large, and what the other runs of a log say does not move it by half of that."""

EXPLAINED = 60.0
"""Log densities of effects within a keep's reach differ by less where the prior can
explain the keep at all.  Where it cannot, the effect is taken as it was measured: no
run is off by the 10 sds that the prior would then ask for."""

HALF = REACH * STEPS_PER_SD
POINTS = 2 * HALF + 1
STEPS = np.arange(1 - POINTS, POINTS)
"""Effects that lead from one point of a lattice to another, in steps."""

COARSE = 3
"""A candidate's likelihood bends on the scale of S: it is tabulated at every third point
of the lattice, and a cubic between them is off by 1e-5."""

CELLS = HALF * 2 // COARSE + 1
PER_SD = STEPS_PER_SD // COARSE

BELOW_FLOOR = 8.0
"""The table of likelihoods ends where they are so far, in ln, below the outlier floor."""

CHUNK = 64
"""Rows whose likelihoods are computed together: enough to save calls, few megabytes."""

MOST_REMEMBERED = 2000
"""Keeps whose prior masses are remembered from pass to pass, at 12 kB for each noise node."""

LEAST_BELIEF = 1e-3
"""Noise nodes with less belief are left out; all of them together move nothing."""

LEVEL = 0.9
"""Probability of all intervals, as the judge's of the noise floor."""

MOST_COUNTED = 100
"""Keeps up to which the chance of each number of better ones is computed exactly, in time
that grows with their square.  The number among more is normal to within one of them."""

NoisePrior = Callable[[FloatArray], FloatArray]
"""Log density of the noise floor, in ln S and up to a constant."""


class Kernels(Frozen):
    """Prior masses of a keep's effects by node, ``offset + STEPS`` lattice steps, on one scale."""

    offset: FloatArray
    better: FloatArray
    null: FloatArray
    worse: FloatArray
    log_scale: FloatArray

    @property
    def every(self) -> FloatArray:
        """Prior masses of all effects."""
        return self.better + self.null + self.worse

    @property
    def steps(self) -> FloatArray:
        """Effects in lattice steps."""
        found: FloatArray = self.offset[:, None] + STEPS.astype(float)
        return found


Transition = Callable[[int, Kernels, FloatArray], FloatArray]
"""The state after a keep, by its place, its kernels and the state before it."""


class EffectTables:
    """What the effect prior says at the points of a lattice, for one ratio of its unit to S.

    ``densities`` has a row for each quarter of S that a candidate may lie from its
    incumbent, from ``-reach`` quarters on, and a column for each component.
    """

    def __init__(self, model: EffectModel, ratio: float, log_floor: float) -> None:
        widest = math.hypot(ratio * float(SCALES[-1]), 1.0)
        excess = math.log(2) - HALF_LOG_2PI - math.log(widest) - log_floor + BELOW_FLOOR
        self.reach = math.ceil(PER_SD * widest * math.sqrt(2 * max(excess, 1.0)))
        z = np.arange(-self.reach, self.reach + 1) / PER_SD
        parts = model.components(z, np.ones_like(z), np.asarray(ratio))
        edge = CELLS + 4
        inside = np.exp(parts.log_marginal)
        self.densities: FloatArray = np.pad(inside, ((edge, edge), (0, 0)))
        self._first = self.reach + edge
        self._sds = (SCALES * ratio * STEPS_PER_SD)[:, None]
        self._far = math.ceil(8 * float(self._sds[-1, 0]))
        self._shares, self._tops = self._masses(np.arange(-self._far, self._far + 1))

    def from_cell(self, cell: np.ndarray, count: int) -> FloatArray:
        """Densities of the components from these quarters of S on; 0 beyond the table."""
        first = np.clip(cell + self._first, 0, len(self.densities) - count)
        found: FloatArray = self.densities[first[..., None] + np.arange(count)]
        return found

    def _masses(self, steps: np.ndarray) -> tuple[FloatArray, FloatArray]:
        """Mass of each half-normal about so many steps, relative to the largest, and its log."""
        steps = np.abs(steps)
        # Between half a step below and above; at 0 from there on.
        far = log_ndtr(-(steps + 0.5) / self._sds)
        near = log_ndtr(-np.maximum(steps - 0.5, 0.0) / self._sds)
        masses = math.log(2) + near + np.log(-np.expm1(np.minimum(far - near, -TINY)))
        tops = masses.max(axis=0)
        return np.exp(masses - tops), tops

    def log_masses(self, offset: float, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Log masses of improvements and of harm of ``offset + STEPS``, by the prior's weights."""
        if abs(offset) + POINTS <= self._far:
            first = self._far + int(offset) + 1 - POINTS
            places = slice(first, first + STEPS.size)
            shares, tops = self._shares[:, places], self._tops[places]
        else:
            shares, tops = self._masses(offset + STEPS)
        sides = weights[1:COMPONENTS].reshape(2, SIDE) @ shares
        better, worse = np.log(np.maximum(sides, TINY)) + tops
        return better, worse


def _cubic(f: FloatArray) -> tuple[FloatArray, ...]:
    """Weights of four neighbours for the share ``f`` of the way from the second to the third."""
    return (
        -f * (f - 1) * (f - 2) / 6,
        (f + 1) * (f - 1) * (f - 2) / 2,
        -(f + 1) * f * (f - 2) / 2,
        (f + 1) * f * (f - 1) / 6,
    )


class Chains:
    """A log as the nodes of a noise grid see it: chains of likelihoods, drifts and keeps.

    ``values`` to ``weights`` begin with the baseline and have an entry for each row.  A
    row of ``repeats`` has its incumbent's value to the last digit: it is no measurement,
    and what was kept with one says nothing of the noise.
    """

    def __init__(
        self,
        values: Sequence[float | None],
        kept: Sequence[bool],
        again: Sequence[bool],
        repeats: Sequence[bool],
        weights: Sequence[FloatArray | None],
        noise: FloatArray,
        settings: Settings,
    ) -> None:
        first = values[0] or 0.0
        self.noise = noise
        self.kept = np.array([k and v is not None for k, v in zip(kept, values, strict=True)])
        self.kept[0] = False
        self._repeats = np.array(repeats, dtype=bool)
        gone = self._repeats & ~self.kept
        self._seen = np.array([v is not None for v in values]) & ~gone
        self._further = self._seen & np.array(again, dtype=bool) & ~self.kept
        self._further[0] = True
        self._weights = weights
        off = np.array([(first if v is None else v) - first for v in values])
        steps = off[:, None] * (STEPS_PER_SD / noise)
        self._center = np.zeros_like(steps)
        self._offset: dict[int, FloatArray] = {}
        center = self._center[0]
        for place in range(len(values)):
            if self.kept[place]:
                after = np.rint(steps[place])
                self._offset[place], center = center - after, after
            self._center[place] = center
        self._away: FloatArray = (self._center - steps) / STEPS_PER_SD
        scale = settings.effect_scale / REFERENCE_SCALE
        self.log_floor = math.log(settings.outlier_floor / scale)
        unit = 1.0 if settings.effects_by_noise else settings.effect_scale / noise
        ratios, self._table_of = np.unique(unit * np.ones(noise.size), return_inverse=True)
        model = EffectModel(settings)
        least = [float(noise[self._table_of == number].min()) for number in range(ratios.size)]
        self._tables = [
            EffectTables(model, float(ratio), self.log_floor + math.log(sd))
            for ratio, sd in zip(ratios, least, strict=True)
        ]
        self._kernels: dict[tuple[int, bytes], Kernels] = {}
        self._pass = 0.5 * settings.drift * STEPS_PER_SD**2

    def __len__(self) -> int:
        return len(self.kept)

    def likelihoods(self, places: range, nodes: np.ndarray) -> tuple[FloatArray, FloatArray]:
        """Likelihood of the incumbent's truth on its lattice by row and node, and its log scale."""
        rows = np.arange(places.start, places.stop)
        away = self._away[rows][:, nodes]
        log_noise = np.log(self.noise[nodes])[:, None]
        missed = self._seen[rows] & ~self.kept[rows] & ~self._further[rows]
        log_density = np.arange(-HALF, HALF + 1) / STEPS_PER_SD + away[..., None]
        # A run of the incumbent; that by which it was kept is taken at its word.
        log_density = -0.5 * log_density**2 - log_noise - HALF_LOG_2PI
        if missed.any():
            log_density[missed] = self._missed(rows[missed], away[missed], nodes) - log_noise
        floored = missed | (self._further[rows] & (rows > 0))
        log_density[floored] = np.maximum(log_density[floored], self.log_floor)
        tops = log_density.max(axis=-1)
        return np.exp(log_density - tops[..., None]), tops

    def _missed(self, rows: np.ndarray, away: FloatArray, nodes: np.ndarray) -> FloatArray:
        """Log density, in units of S, of candidates that were not kept, whatever their effect."""
        weights = np.stack([self._weights_of(row)[nodes] for row in rows])
        first = np.clip(PER_SD * (away - REACH), -1e9, 1e9)
        cell = np.floor(first).astype(int)
        logs = np.empty((*away.shape, CELLS + 4))
        for number, table in enumerate(self._tables):
            mine = self._table_of[nodes] == number
            parts = table.from_cell(cell[:, mine] - 1, CELLS + 4)
            density = (parts @ weights[:, mine, :, None])[..., 0]
            logs[:, mine] = np.log(np.maximum(density, TINY))
        least = self.log_floor + np.log(self.noise[nodes])[:, None] - BELOW_FLOOR
        logs = np.maximum(logs, least)
        # Every third point of the lattice lies between the same shares of two quarters.
        share = (first - cell)[..., None] + np.arange(COARSE) / COARSE
        beyond = np.floor(share).astype(int)
        taps = np.zeros((*share.shape, 5))
        for place, weight in enumerate(_cubic(share - beyond)):
            np.put_along_axis(taps, (beyond + place)[..., None], weight[..., None], axis=-1)
        found = np.zeros((*away.shape, CELLS, COARSE))
        for tap in range(5):
            found += logs[..., tap : tap + CELLS, None] * taps[..., None, :, tap]
        return found.reshape(*away.shape, -1)[..., :POINTS]

    def _weights_of(self, place: int) -> FloatArray:
        weights = self._weights[place]
        assert weights is not None  # a replay has them for every candidate
        return weights

    def kernels(self, place: int, nodes: np.ndarray) -> Kernels:
        """The prior masses of the effects that may have led to a keep."""
        key = (place, nodes.tobytes())
        if (known := self._kernels.get(key)) is not None:
            return known
        offset, weights = self._offset[place][nodes], self._weights_of(place)[nodes]
        tables = [self._tables[number] for number in self._table_of[nodes]]
        triples = zip(tables, offset, weights, strict=True)
        sides = [table.log_masses(float(away), mine) for table, away, mine in triples]
        improving, harmful = (np.stack(side) for side in zip(*sides, strict=True))
        signed = offset[:, None] + STEPS
        null = np.where(signed == 0, np.log(np.maximum(weights[:, :1], TINY)), -np.inf)
        side = np.where(signed >= 0, improving, harmful)
        top = np.maximum(side, null).max(axis=1, keepdims=True)
        some = np.exp(np.maximum(side - top, -EXPLAINED))
        none = np.exp(null - top)
        worse = np.where(signed < 0, some, 0.0)
        worse[signed == 0] = np.exp(harmful - top)[signed == 0]
        found = Kernels(offset, np.where(signed >= 0, some, 0.0), none, worse, top[:, 0])
        if nodes.size < self.noise.size and len(self._kernels) < MOST_REMEMBERED:
            self._kernels[key] = found
        return found

    def _drifted(self, state: FloatArray) -> FloatArray:
        """A normal step, as many steps of one point as its variance needs."""
        steps = max(1, math.ceil(2 * self._pass))
        share = self._pass / steps
        for _ in range(steps):
            moved = (1 - 2 * share) * state
            moved[..., 1:] += share * state[..., :-1]
            moved[..., :-1] += share * state[..., 1:]
            state = moved
        return state

    def walk(
        self, nodes: np.ndarray, state: FloatArray, transition: Transition
    ) -> Generator[tuple[int, Kernels, FloatArray], None, tuple[FloatArray, FloatArray]]:
        """Forward pass over all rows; yields each keep with its kernels and the state before it.

        ``state`` has a row of nodes, each with rows of one scale; the last one is returned,
        with the log factors that were taken out at each row.  Those of a single row of the
        state are the densities of the log's rows, each given those before it.
        """
        logs = np.zeros((len(self), nodes.size))
        for begin in range(0, len(self), CHUNK):
            places = range(begin, min(begin + CHUNK, len(self)))
            likelihood, tops = self.likelihoods(places, nodes)
            for place in places:
                if not self._further[place]:
                    state = self._drifted(state)
                    if not self._seen[place]:
                        continue
                log = tops[place - begin]
                if self.kept[place]:
                    kernels = self.kernels(place, nodes)
                    yield place, kernels, state
                    state, log = transition(place, kernels, state), log + kernels.log_scale
                state = state * likelihood[place - begin][:, None]
                size = np.maximum(np.abs(state).sum(axis=(1, 2)), TINY)
                state = state / size[:, None, None]
                logs[place] = np.log(size) + log
        return state, logs

    def run(
        self, nodes: np.ndarray, state: FloatArray, transition: Transition
    ) -> tuple[FloatArray, FloatArray]:
        """A whole forward pass; its last state, and the log factors at each row."""
        walk = self.walk(nodes, state, transition)
        while True:
            try:
                next(walk)
            except StopIteration as end:
                state, logs = end.value
                return state, logs

    def evidence(self, logs: FloatArray) -> FloatArray:
        """Log density of the log by node; a keep, like any row, is at least as likely as the floor.

        What repeats a value to the last digit tells nothing of the noise.
        """
        least = np.where(self.kept, self.log_floor, -np.inf)[:, None]
        found: FloatArray = np.maximum(logs, least)[~self._repeats].sum(axis=0)
        return found

    def states_after(self, nodes: np.ndarray) -> dict[int, FloatArray]:
        """Backward pass: likelihood of the truth behind each keep, by all that came after it."""
        after: FloatArray = np.ones((nodes.size, POINTS))
        found = {}
        for begin in reversed(range(0, len(self), CHUNK)):
            places = range(begin, min(begin + CHUNK, len(self)))
            likelihood, _ = self.likelihoods(places, nodes)
            for place in reversed(places):
                if self._seen[place]:
                    after = after * likelihood[place - begin]
                if self.kept[place]:
                    found[place] = after
                    every = self.kernels(place, nodes).every
                    pairs = zip(every, after, strict=True)
                    after = np.stack([np.correlate(e, a[::-1], "valid") for e, a in pairs])
                if not self._further[place]:
                    after = self._drifted(after)
                after = after / after.max(axis=1, keepdims=True)
        return found


def carried(kernel: FloatArray, state: FloatArray) -> FloatArray:
    """Each node's state after an effect: entry j sums ``state[i] * kernel`` of i - j steps."""
    found: FloatArray = np.stack(
        [
            np.stack([np.correlate(one, row, "valid")[::-1] for row in rows])
            for one, rows in zip(kernel, state, strict=True)
        ]
    )
    return found


class SmoothedChange(Frozen):
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


class Moments(Frozen):
    """Mean and sd, by node, of the summed effects of some keeps and of how many are better."""

    gain: FloatArray
    gain_sd: FloatArray
    count: FloatArray
    count_sd: FloatArray


class Smoother:
    """The posterior of one log under the judge's model.

    ``values``, ``kept`` and ``replicate_mask`` are the rows as
    :func:`ratchet.judge.judge.replay` takes them and ``weights`` what it returns.
    ``settings`` are the judge's; ``noise_prior`` gives the log prior of noise floors in
    place of theirs, and ``repeats`` masks the rows that repeat a value to the last digit.
    Raises :class:`DataError` where no row has a value.
    """

    def __init__(
        self,
        values: Sequence[float | None],
        kept: Sequence[bool],
        replicate_mask: Sequence[bool],
        weights: Sequence[FloatArray | None],
        settings: Settings,
        noise_prior: NoisePrior | None = None,
        repeats: Sequence[bool] = (),
    ) -> None:
        start = next((i for i, value in enumerate(values) if value is not None), None)
        if start is None:
            raise DataError("smoothing: expected a row with a metric, found none")
        prior = IncumbentFilter(settings)
        self.noise: FloatArray = prior.noise
        self._start = start
        self._chains = Chains(
            values[start:],
            kept[start:],
            replicate_mask[start:],
            repeats[start:] or [False] * (len(values) - start),
            weights[start:],
            self.noise,
            settings,
        )
        every = np.arange(self.noise.size)
        _, logs = self._chains.run(every, np.ones((every.size, 1, POINTS)), _by_any)
        log_prior = prior.log_evidence if noise_prior is None else noise_prior(self.noise)
        # Before any row the density of the baseline's truth is flat, at every node alike.
        log_belief = log_prior + self._chains.evidence(logs) + np.log(self.noise)
        belief = np.exp(log_belief - log_belief.max())
        self.belief: FloatArray = np.asarray(belief / belief.sum(), dtype=float)
        self._used = np.flatnonzero(self.belief >= LEAST_BELIEF)
        self._shares: FloatArray = self.belief[self._used] / self.belief[self._used].sum()
        self._log_total: FloatArray = logs[:, self._used].sum(axis=0)

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

    def changes(self) -> Iterator[SmoothedChange]:
        """Each kept change, in order."""
        after = self._chains.states_after(self._used)
        units = self.noise[self._used, None] / STEPS_PER_SD
        walk = self._chains.walk(self._used, self._flat(1), _by_any)
        for place, keep, before in walk:
            pairs = zip(before[:, 0], after.pop(place), strict=True)
            joint = np.stack([np.correlate(b, a, "full") for b, a in pairs])
            masses, improving = joint * keep.every, joint * keep.better
            share = (self._shares / masses.sum(axis=1))[:, None]
            found = (keep.steps * units, share * masses, share * improving)
            yield _change(self._start + place, *(each.ravel() for each in found))

    def _flat(self, rows: int) -> FloatArray:
        """The first state: one row of ones, and others of zeros."""
        state: FloatArray = np.zeros((self._used.size, rows, POINTS))
        state[:, 0] = 1
        return state

    def _chosen(self, places: Sequence[int]) -> set[int]:
        return {place - self._start for place in places}

    def all_hold(self, places: Sequence[int]) -> float:
        """P(all of these kept changes are truly better)."""
        chosen = self._chosen(places)

        def surviving(place: int, keep: Kernels, state: FloatArray) -> FloatArray:
            return carried(keep.better if place in chosen else keep.every, state)

        _, logs = self._chains.run(self._used, self._flat(1), surviving)
        share = np.exp(np.minimum(logs.sum(axis=0) - self._log_total, 0.0))
        return float(self._shares @ share)

    def held(self, places: Sequence[int]) -> FloatArray:
        """P(exactly m of these kept changes are truly better), for m = 0, 1, ..."""
        if len(places) > MOST_COUNTED:
            return self._held_by_moments(places)
        chosen = self._chosen(places)

        def counted(place: int, keep: Kernels, state: FloatArray) -> FloatArray:
            if place not in chosen:
                return carried(keep.every, state)
            lost, won = carried(keep.null + keep.worse, state), carried(keep.better, state)
            none = np.zeros((state.shape[0], 1, POINTS))
            moved: FloatArray = np.concatenate([lost, none], axis=1)
            moved[:, 1:] += won
            return moved

        counts = self._chains.run(self._used, self._flat(1), counted)[0].sum(axis=2)
        found: FloatArray = self._shares @ (counts / counts.sum(axis=1, keepdims=True))
        return found

    def _held_by_moments(self, places: Sequence[int]) -> FloatArray:
        """The same with the number of better ones taken as normal in each noise node."""
        moments = self._moments(places)
        upper = np.arange(len(places) + 1) + 0.5
        off = (upper - moments.count[:, None]) / np.maximum(moments.count_sd, 1e-6)[:, None]
        below = self._shares @ ndtr(off)
        below[-1] = 1.0
        found: FloatArray = np.diff(below, prepend=0.0)
        return found

    def total(self, places: Sequence[int]) -> tuple[float, float, float]:
        """Mean and interval of the summed effects of these kept changes.

        The mean is exact on the lattice; for the interval the sum is taken as normal
        in each noise node.
        """
        moments = self._moments(places)
        low, high = _mixture_interval(self._shares, moments.gain, moments.gain_sd)
        return float(self._shares @ moments.gain), low, high

    def _moments(self, places: Sequence[int]) -> Moments:
        """Carries the density with first and second moments of effects and of their signs."""
        chosen = self._chosen(places)

        def moved(place: int, keep: Kernels, state: FloatArray) -> FloatArray:
            every = keep.every
            found = carried(every, state)
            if place in chosen:
                signs = (keep.steps, (keep.better / np.maximum(every, TINY)))
                for row, size in zip((1, 3), signs, strict=True):
                    first = every * size
                    second = first * size if row == 1 else first
                    both = carried(first, state[:, [0, row]])
                    found[:, row] += both[:, 0]
                    found[:, row + 1] += 2 * both[:, 1] + carried(second, state[:, :1])[:, 0]
            return found

        state, _ = self._chains.run(self._used, self._flat(5), moved)
        zeroth, *parts = state.sum(axis=2).T
        gain, gain_square, count, count_square = (part / zeroth for part in parts)
        unit = self.noise[self._used] / STEPS_PER_SD
        gain_sd = unit * np.sqrt(np.maximum(gain_square - gain**2, 1e-12))
        count_sd = np.sqrt(np.maximum(count_square - count**2, 0.0))
        return Moments(unit * gain, gain_sd, count, count_sd)


def _by_any(_: int, keep: Kernels, state: FloatArray) -> FloatArray:
    """The state after a keep, whatever its effect is."""
    return carried(keep.every, state)


def _change(
    place: int, values: FloatArray, masses: FloatArray, improving: FloatArray
) -> SmoothedChange:
    order = np.argsort(values, kind="stable")
    values, masses, improving = values[order], masses[order], improving[order]
    below = np.cumsum(masses) - 0.5 * masses
    low, high = np.interp([(1 - LEVEL) / 2, (1 + LEVEL) / 2], below, values)
    better, gain = min(1.0, float(improving.sum())), float(masses @ values)
    return SmoothedChange(place, better, gain, float(low), float(high), values, masses, improving)


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
