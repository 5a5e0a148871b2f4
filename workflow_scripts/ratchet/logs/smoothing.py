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
smoothed forwards and backwards; nothing else is approximated.  S is averaged over
the judge's noise nodes.  Where a measurement is less likely than the judge's
outlier floor, the floor is its likelihood, and it says nothing of the incumbent.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from ratchet.base.errors import DataError
from ratchet.base.stats import HALF_LOG_2PI, FloatArray, log_ndtr, ndtr
from ratchet.base.structs import Frozen
from ratchet.judge.effects import COMPONENTS, SCALES, SIDE, EffectModel
from ratchet.judge.filter import IncumbentFilter
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
_POINTS = np.arange(-HALF, HALF + 1)

_COARSE = 3
"""A candidate's likelihood bends on the scale of S: it is computed at every third point
of the lattice, and a cubic between them is off by 1e-5."""


def _between() -> FloatArray:
    """Weights that take values at coarse points, one beyond each end, to all points."""
    cell, rest = np.divmod(np.arange(POINTS), _COARSE)
    f = rest / _COARSE
    cubic = (
        -f * (f - 1) * (f - 2) / 6,
        (f + 1) * (f - 1) * (f - 2) / 2,
        -(f + 1) * f * (f - 2) / 2,
        (f + 1) * f * (f - 1) / 6,
    )
    found: FloatArray = np.zeros((POINTS, POINTS // _COARSE + 4))
    for place, weights in enumerate(cubic):
        found[np.arange(POINTS), cell + place] = weights
    return found


_BETWEEN = _between()
_COARSE_POINTS = _COARSE * np.arange(-1, _BETWEEN.shape[1] - 1) - HALF

LEAST_BELIEF = 1e-3
"""Noise nodes with less belief are left out; all of them together move nothing."""

LEVEL = 0.9
"""Probability of all intervals, as the judge's of the noise floor."""

NoisePrior = Callable[[FloatArray], FloatArray]
"""Log density of the noise floor, in ln S and up to a constant."""


class Keep(Frozen):
    """A keep as a node sees it, on the lattice.

    ``better``, ``null`` and ``worse`` are the prior masses of effects from
    ``offset - POINTS + 1`` lattice steps on, all on one scale.
    """

    place: int
    offset: float
    better: FloatArray
    null: FloatArray
    worse: FloatArray
    log_scale: float

    @property
    def every(self) -> FloatArray:
        """Prior masses of all effects."""
        return self.better + self.null + self.worse

    @property
    def steps(self) -> FloatArray:
        """Effects in lattice steps."""
        found: FloatArray = np.arange(1 - POINTS, POINTS, dtype=float) + self.offset
        return found


class Seen(Frozen):
    """A likelihood of the incumbent's truth on its present piece of the lattice."""

    likelihood: FloatArray
    log_scale: float


class Drift:
    """Drift of the incumbent's metric while a proposal passes by."""


Event = Keep | Seen | Drift
Transition = Callable[[Keep, FloatArray], FloatArray]

Row = tuple[float | None, bool, bool, FloatArray | None]
"""Value, whether it was kept, whether it is a further run of the incumbent, weights."""


class Chains:
    """Event chains of a log, one for each noise floor of ``noise``.

    ``rows`` begin with the baseline, whose place in the log is ``start``.
    """

    def __init__(
        self, rows: Sequence[Row], start: int, noise: FloatArray, settings: Settings
    ) -> None:
        self._settings = settings
        self._model = EffectModel(settings)
        unit = noise if settings.effects_by_noise else np.full(noise.size, settings.effect_scale)
        self._unit: FloatArray = unit
        self._rows = rows
        self._start = start
        self.noise = noise
        scale = settings.effect_scale / REFERENCE_SCALE
        self._log_floor = math.log(settings.outlier_floor / scale)
        self._pass = 0.5 * settings.drift * STEPS_PER_SD**2
        self.events = self._chains()

    def _chains(self) -> list[list[Event]]:
        """The log as every noise node sees it."""
        first = self._rows[0][0] or 0.0
        origin = np.full(self.noise.size, first)
        unit = self.noise / STEPS_PER_SD
        center = np.zeros(self.noise.size)
        chains: list[list[Event]] = [[e] for e in self._measured(origin, center, first, False)]
        for place, (value, kept, again, weights) in enumerate(self._rows[1:], self._start + 1):
            if value is None:
                events: Sequence[Event] = [Drift()] * self.noise.size
            elif again and not kept:
                events = self._measured(origin, center, value)
            else:
                assert weights is not None  # a replay has them for every candidate
                for chain in chains:
                    chain.append(Drift())
                if not kept:
                    events = self._missed(origin, center, value, weights)
                else:
                    after = np.rint((value - origin) / unit)
                    scales = self._unit / unit
                    for j, chain in enumerate(chains):
                        offset = float(center[j] - after[j])
                        chain.append(_keep(place, offset, scales[j], weights[j]))
                    center = after
                    events = self._measured(origin, center, value, floored=False)
            for chain, event in zip(chains, events, strict=True):
                chain.append(event)
        return chains

    def _lattice(
        self, origin: FloatArray, center: np.ndarray, points: np.ndarray = _POINTS
    ) -> FloatArray:
        """The incumbent's possible truths, by node."""
        steps = (points + center[:, None]) / STEPS_PER_SD
        found: FloatArray = origin[:, None] + steps * self.noise[:, None]
        return found

    def _measured(
        self, origin: FloatArray, center: np.ndarray, value: float, floored: bool = True
    ) -> list[Seen]:
        """A run of the incumbent; that by which it was kept is taken at its word."""
        off = (value - self._lattice(origin, center)) / self.noise[:, None]
        log_density = -0.5 * off**2 - np.log(self.noise)[:, None] - HALF_LOG_2PI
        return self._seen(log_density, floored)

    def _missed(
        self, origin: FloatArray, center: np.ndarray, value: float, weights: FloatArray
    ) -> list[Seen]:
        """A candidate that was not kept, whatever its effect was."""
        difference = self._lattice(origin, center, _COARSE_POINTS) - value
        variance = np.broadcast_to((self.noise**2)[:, None], difference.shape)
        coarse = self._model.log_density(
            difference, variance, weights[:, None, :], self._unit[:, None]
        )
        return self._seen(coarse @ _BETWEEN.T)

    def _seen(self, log_density: FloatArray, floored: bool = True) -> list[Seen]:
        if floored:
            log_density = np.maximum(log_density, self._log_floor)
        tops = log_density.max(axis=1)
        rows = np.exp(log_density - tops[:, None])
        return [Seen(row, float(top)) for row, top in zip(rows, tops, strict=True)]

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

    def run(
        self, chain: list[Event], state: FloatArray, transition: Transition
    ) -> tuple[FloatArray, list[float]]:
        """Forward pass; the last state, and the log factors taken out on the way.

        Rows of ``state`` share one scale.  The factors of a single row are the
        densities of the log's rows, each given those before it.
        """
        logs = []
        for event in chain:
            if isinstance(event, Drift):
                state = self._drifted(state)
                continue
            if isinstance(event, Keep):
                state, log_scale = transition(event, state), event.log_scale
            else:
                state, log_scale = state * event.likelihood, event.log_scale
            size = float(np.abs(state).sum())
            state = state / size
            logs.append(math.log(size) + log_scale)
        return state, logs

    def evidence(self, chain: list[Event]) -> float:
        """Log density of the log; a keep, like any row, is at least as likely as the floor."""
        _, logs = self.run(chain, np.ones(POINTS), lambda keep, s: carried_state(keep.every, s))
        total, kept = 0.0, None
        events = (event for event in chain if not isinstance(event, Drift))
        for event, log in zip(events, logs, strict=True):
            if isinstance(event, Keep):  # its measurement is the next event
                kept = log
                continue
            total += log if kept is None else max(kept + log, self._log_floor)
            kept = None
        return total

    def joints(self, chain: list[Event]) -> list[tuple[Keep, FloatArray]]:
        """For each keep the likelihood of its effect, by lattice steps."""
        before: list[FloatArray] = []

        def noted(keep: Keep, state: FloatArray) -> FloatArray:
            before.append(state)
            return carried_state(keep.every, state)

        self.run(chain, np.ones(POINTS), noted)
        after: FloatArray = np.ones(POINTS)
        found = []
        for event in reversed(chain):
            if isinstance(event, Drift):
                after = self._drifted(after)
            elif isinstance(event, Seen):
                after = after * event.likelihood
            else:
                found.append((event, np.correlate(before.pop(), after, "full")))
                after = np.correlate(event.every, after[::-1], "valid")
            after = after / after.max()
        return found[::-1]


def carried_state(kernel: FloatArray, state: FloatArray) -> FloatArray:
    """The state after an effect: entry j sums ``state[i] * kernel`` of i - j steps."""
    moved: FloatArray = np.correlate(kernel, state, "valid")[::-1]
    return moved


def _keep(place: int, offset: float, scale: float, weights: FloatArray) -> Keep:
    """``scale`` is the effect scale in lattice steps."""
    steps = np.abs(np.arange(1 - POINTS, POINTS) + offset).astype(float)
    sds = (SCALES * scale)[:, None]
    # Log mass of each half-normal between half a step below and above; at 0 from there on.
    far = log_ndtr(-(steps + 0.5) / sds)
    near = log_ndtr(-np.maximum(steps - 0.5, 0.0) / sds)
    masses = math.log(2) + near + np.log(-np.expm1(np.minimum(far - near, -1e-300)))
    log_weights = np.log(np.maximum(weights, 1e-300))
    signed = np.arange(1 - POINTS, POINTS) + offset
    improving = _mixed(masses, log_weights[1 : 1 + SIDE], signed >= 0)
    harmful = _mixed(masses, log_weights[1 + SIDE : COMPONENTS], signed <= 0)
    null = np.where(signed == 0, log_weights[0], -np.inf)
    top = float(max(improving.max(), harmful.max(), null.max()))
    improving = np.where(signed > 0, np.maximum(improving, top - EXPLAINED), improving)
    harmful = np.where(signed < 0, np.maximum(harmful, top - EXPLAINED), harmful)
    better, worse, none = (np.exp(log - top) for log in (improving, harmful, null))
    return Keep(place, offset, better, none, worse, top)


def _mixed(masses: FloatArray, log_weights: FloatArray, there: np.ndarray) -> FloatArray:
    mixed = np.logaddexp.reduce(masses + log_weights[:, None], axis=0)
    return np.where(there, mixed, -np.inf)


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


class Smoother:
    """The posterior of one log under the judge's model.

    ``values``, ``kept`` and ``replicate_mask`` are the rows as
    :func:`ratchet.judge.judge.replay` takes them and ``weights`` what it returns.
    ``settings`` are the judge's; ``noise_prior`` gives the log prior of noise floors in
    place of theirs.  Raises :class:`DataError` where no row has a value.
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
        # Before any row the density of the baseline's truth is flat, at every node alike.
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

    def changes(self) -> tuple[SmoothedChange, ...]:
        """Each kept change, in order."""
        found: dict[int, list[tuple[FloatArray, FloatArray, FloatArray]]] = {}
        for belief, noise, chain in self._nodes:
            for keep, joint in self._chains.joints(chain):
                masses, improving = joint * keep.every, joint * keep.better
                unit = belief / float(masses.sum())
                values = keep.steps * (noise / STEPS_PER_SD)
                found.setdefault(keep.place, []).append((values, unit * masses, unit * improving))
        return tuple(_change(place, parts) for place, parts in sorted(found.items()))

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
    return np.stack([carried_state(kernel, row) for row in state])


def _moments(chosen: set[int]) -> Transition:
    """Carries the density with first and second moments of the effects so far."""

    def moved(keep: Keep, state: FloatArray) -> FloatArray:
        every = keep.every
        zeroth, first, second = (carried_state(every, row) for row in state)
        if keep.place in chosen:
            steps = keep.steps
            step = every * steps
            second = second + 2 * carried_state(step, state[1])
            second = second + carried_state(every * steps**2, state[0])
            first = first + carried_state(step, state[0])
        return np.stack([zeroth, first, second])

    return moved


def _change(place: int, parts: list[tuple[FloatArray, FloatArray, FloatArray]]) -> SmoothedChange:
    values, masses, improving = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
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
