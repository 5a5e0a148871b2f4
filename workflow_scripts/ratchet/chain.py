"""A log as a Markov chain: the incumbent's truth on a lattice, at one noise floor.

The lattice has points S / 12 apart and reaches 10 S to either side of what the
incumbent measured; a keep moves it.  See :mod:`ratchet.smoothing` for the model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ratchet.codec import Frozen
from ratchet.errors import DataError
from ratchet.judge import Settings
from ratchet.judge.effects import COMPONENTS, SCALES, SIDE, EffectModel, FloatArray
from ratchet.judge.normal import HALF_LOG_2PI, log_ndtr
from ratchet.judge.settings import REFERENCE_SCALE

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
    """A proposal passes by."""


Event = Keep | Seen | Drift
Transition = Callable[[Keep, FloatArray], FloatArray]


Row = tuple[float | None, bool, bool, FloatArray | None]
"""Value, whether it was kept, whether it is a further run of the incumbent, weights."""


class Chains:
    """The same log at every noise floor of ``noise``.

    ``rows`` begin with the baseline, whose place in the log is ``start``.  Raises
    :class:`DataError` for a candidate without effect weights.
    """

    def __init__(
        self, rows: Sequence[Row], start: int, noise: FloatArray, settings: Settings
    ) -> None:
        self._settings = settings
        self._model = EffectModel(settings)
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
            if value is not None and weights is None and not (again and not kept):
                raise DataError(f"smoothing: expected effect weights for row {place}, found none")
            if value is None:
                events: Sequence[Event] = [Drift()] * self.noise.size
            elif again and not kept:
                events = self._measured(origin, center, value)
            else:
                assert weights is not None
                for chain in chains:
                    chain.append(Drift())
                if not kept:
                    events = self._missed(origin, center, value, weights)
                else:
                    after = np.rint((value - origin) / unit)
                    keeps = self._keeps(place, center - after, weights)
                    for chain, keep in zip(chains, keeps, strict=True):
                        chain.append(keep)
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
        coarse = self._model.log_density(difference, variance, weights[:, None, :])
        return self._seen(coarse @ _BETWEEN.T)

    def _seen(self, log_density: FloatArray, floored: bool = True) -> list[Seen]:
        if floored:
            log_density = np.maximum(log_density, self._log_floor)
        tops = log_density.max(axis=1)
        rows = np.exp(log_density - tops[:, None])
        return [Seen(row, float(top)) for row, top in zip(rows, tops, strict=True)]

    def _keeps(self, place: int, offset: np.ndarray, weights: FloatArray) -> list[Keep]:
        """The effect prior on the lattice, around the steps that a keep can mean."""
        return [
            _keep(place, float(offset[j]), self._settings.effect_scale / unit, weights[j])
            for j, unit in enumerate(self.noise / STEPS_PER_SD)
        ]

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
        kinds = [event for event in chain if not isinstance(event, Drift)]
        _, logs = self.run(chain, np.ones(POINTS), lambda keep, s: carried(keep.every, s))
        return _log_density(kinds, logs, self._log_floor)

    def joints(self, chain: list[Event]) -> list[tuple[Keep, FloatArray]]:
        """For each keep the likelihood of its effect, by lattice steps."""
        before: list[FloatArray] = []

        def noted(keep: Keep, state: FloatArray) -> FloatArray:
            before.append(state)
            return carried(keep.every, state)

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


def carried(kernel: FloatArray, state: FloatArray) -> FloatArray:
    """The state after an effect: entry j sums ``state[i] * kernel`` of i - j steps."""
    moved: FloatArray = np.correlate(kernel, state, "valid")[::-1]
    return moved


def _log_density(kinds: Sequence[Event], logs: Sequence[float], log_floor: float) -> float:
    """Log density of the log; a keep, like anything else, is at least as likely as the floor."""
    total = 0.0
    kept: float | None = None
    for event, log in zip(kinds, logs, strict=True):
        if isinstance(event, Keep):  # its measurement is the next event
            kept = log
        elif kept is not None:
            total, kept = total + max(kept + log, log_floor), None
        else:
            total += log
    return total


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
