"""Landscape of a space of constants: what its measured points say about it.

It has the constants that matter most, which way each of them is better, the region that
looks best, and a few untried settings with a predicted metric.  Few points say little: each
answer comes with what it rests on, and the same points and seed give the same answer.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from random import Random
from statistics import NormalDist, fmean, median, pstdev
from typing import TYPE_CHECKING, Any

from ratchet.base.structs import Frozen, replace
from ratchet.proposers.optimizer import (
    STARTUP,
    Measured,
    Search,
    quiet_optuna,
    session_search,
)
from ratchet.proposers.space import Point
from ratchet.records.history import History
from ratchet.records.records import stream_seed
from ratchet.session import Session

if TYPE_CHECKING:  # seconds to import, for a brief and a report alone
    from optuna.distributions import BaseDistribution

LEAST_POINTS = STARTUP
"""Measured points from which on they are said to show anything, as TPE learns from them."""

BEST_PART = 1 / 3
"""Part of the points that is compared with all of them."""

CLEAR = 0.05
"""P value of the rank correlation with the metric below which a constant has a better way."""

SETTINGS = 3
"""Untried settings that are predicted."""

MOVED = 4
"""Constants, the most important ones, that a predicted setting may move."""

CANDIDATES = 256
"""Settings drawn by chance, of which the most promising are predicted."""

WORST = 3.0
"""Points that are worse than the median by more than so many times the distance from the
median to the best are told to the model as if it were this much: a diverged run would
otherwise be all that it explains."""


class Constant(Frozen):
    """A constant and what the points say about it.

    ``importance`` is its part of the sum over all constants.  ``way`` is 1 where larger
    values are better, -1 where smaller ones are, 0 where neither is clear.  ``best`` are the
    values of the best third: the smallest and largest of numbers, of choices all, the
    commonest first.  ``now`` is the incumbent's value.
    """

    name: str
    importance: float
    way: int
    best: Sequence[Any]
    now: Any
    choices: bool = False


class Prediction(Frozen):
    """An untried setting: what it moves, and the metric of a run, predicted."""

    moved: Mapping[str, Any]
    value: float
    sd: float


class Landscape(Frozen):
    """Constants by importance, and untried settings, the most promising first.

    It rests on ``points`` measured ones; ``failed`` ran and gave no solution.  ``held`` is
    the predicted metric of the incumbent.
    """

    points: int
    failed: int
    constants: Sequence[Constant]
    held: float | None = None
    predictions: Sequence[Prediction] = ()


def session_landscape(session: Session, history: History, predict: bool) -> Landscape | None:
    """Landscape of a session's space; ``None`` without one, or with too few points.

    Predictions take longest: a report does without them.
    """
    search = session_search(session, history)
    found = landscape_of(search)
    if found is None or not predict:
        return found
    seed = stream_seed(session.config.seed, "landscape", history.last)
    return with_predictions(found, search, seed, session.sign)


def known_points(search: Search) -> list[Measured]:
    """The measured points that have a number and are below the memory ceiling."""
    return [m for m in search.measured if m.value is not None and search.excess(m) <= 0]


def landscape_of(search: Search) -> Landscape | None:
    """Landscape without predictions; ``None`` below :data:`LEAST_POINTS` points."""
    known = known_points(search)
    if len(known) < LEAST_POINTS:
        return None
    encoded = [search.encoded(each.point) for each in known]
    varied = [name for name in search.start if len({repr(point[name]) for point in encoded}) > 1]
    if not varied:
        return None
    best = sorted(known, key=_value)[: math.ceil(BEST_PART * len(known))]
    importances = _importances(search, known, varied)
    ranges = {each.name: each.range for each in search.space.constants}
    constants = [
        _constant(name, importances[name], known, best, search.start[name], bool(limits.choices))
        for name in sorted(varied, key=lambda name: -importances[name])
        if (limits := ranges[name]) is not None
    ]
    waiting = sum(each.waiting for each in search.measured)
    return Landscape(len(known), len(search.measured) - len(known) - waiting, constants)


def _value(each: Measured) -> float:
    assert each.value is not None
    return each.value


def _importances(
    search: Search, known: Sequence[Measured], names: Sequence[str]
) -> dict[str, float]:
    """Importance of each constant for being among the best third, by PED-ANOVA.

    Points of an optimiser are no random ones; so the best are compared with all that were
    tried, and not with the whole range.
    """
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    with quiet_optuna():
        study = optuna.create_study()
        study.add_trials([search.trial(each) for each in known])
        evaluator = PedAnovaImportanceEvaluator(target_quantile=BEST_PART)
        found = get_param_importances(study, evaluator=evaluator, params=list(names))
    return {name: float(found[name]) for name in names}


def _constant(
    name: str,
    importance: float,
    known: Sequence[Measured],
    best: Sequence[Measured],
    now: Any,
    choices: bool,
) -> Constant:
    values = [each.point[name] for each in best]
    if choices:
        common = [value for value, _ in Counter(values).most_common()]
        return Constant(name, importance, 0, common, now, choices=True)
    way = _way([each.point[name] for each in known], [_value(each) for each in known])
    return Constant(name, importance, way, [min(values), max(values)], now)


def _way(values: Sequence[float], metrics: Sequence[float]) -> int:
    """Whether larger (1) or smaller (-1) values go with a lower metric; 0 if neither clearly."""
    from scipy.stats import spearmanr

    found = spearmanr(values, metrics)
    if not float(found.pvalue) < CLEAR:  # also where there is none
        return 0
    return -1 if found.statistic > 0 else 1


def with_predictions(found: Landscape, search: Search, seed: int, sign: int) -> Landscape:
    """The landscape with its most promising untried settings.

    Each moves some of the :data:`MOVED` most important constants and leaves the others as
    the incumbent has them.  ``sign`` makes values the metric's again.

    Source: Gaussian process with a Matérn kernel and white noise, chosen from by expected
    improvement; each choice but the first takes those before for measured as predicted
    (kriging believer, Ginsbourger et al. 2010).
    """
    known = known_points(search)
    axes = _Axes(search)
    drawn = _draw(found, search, axes, Random(seed))
    if not drawn:
        return found
    here = axes.row(search.start)
    at = [axes.row(point) for point in drawn]
    rows = [axes.row(each.point) for each in known]
    metrics = _without_outliers([_value(each) for each in known])
    middle = fmean(metrics)
    spread = pstdev(metrics) or 1.0
    scaled = [(value - middle) / spread for value in metrics]
    model = _fit(rows, scaled)
    noise = float(model.kernel_.k2.noise_level)
    held = float(model.predict([here])[0])
    chosen: list[Prediction] = []
    for _ in range(min(SETTINGS, len(drawn))):
        means, sds = model.predict(at, return_std=True)
        least = float(min(model.predict([*rows, here])))
        gains = [
            _expected_improvement(least, float(mean), math.sqrt(max(float(sd) ** 2 - noise, 0.0)))
            for mean, sd in zip(means, sds, strict=True)
        ]
        place = max(range(len(drawn)), key=gains.__getitem__)
        mean, sd = float(means[place]), float(sds[place])
        point, row = drawn.pop(place), at.pop(place)
        moved = {name: value for name, value in point.items() if value != search.start[name]}
        chosen.append(Prediction(moved, sign * (middle + spread * mean), spread * sd))
        rows, scaled = [*rows, row], [*scaled, mean]
        model = _fit(rows, scaled, model.kernel_)
    return replace(found, held=sign * (middle + spread * held), predictions=chosen)


def _without_outliers(metrics: Sequence[float]) -> list[float]:
    middle = median(metrics)
    most = middle + WORST * (middle - min(metrics))
    return [min(value, most) for value in metrics]


def _fit(rows: Sequence[Sequence[float]], metrics: Sequence[float], kernel: Any = None) -> Any:
    """A Gaussian process of these points; a ``kernel`` that is given is not learned anew.

    With few points all constants have one length scale: one for each would fit anything,
    and be sure of it.
    """
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    optimizer = None if kernel is not None else "fmin_l_bfgs_b"
    if kernel is None:
        number = len(rows[0])
        scales = [1.0] * number if len(rows) >= 2 * number else 1.0
        kernel = ConstantKernel(1.0) * Matern(scales, (0.1, 20.0), nu=2.5)
        kernel += WhiteKernel(0.1, (1e-4, 2.0))
    model = GaussianProcessRegressor(kernel, optimizer=optimizer, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a length scale at its bound is no news
        return model.fit(rows, metrics)


def _expected_improvement(least: float, mean: float, sd: float) -> float:
    if sd <= 0:
        return max(0.0, least - mean)
    normal, z = NormalDist(), (least - mean) / sd
    return sd * (z * normal.cdf(z) + normal.pdf(z))


def _draw(found: Landscape, search: Search, axes: _Axes, chance: Random) -> list[Point]:
    """Untried settings by chance: half of the values are from the best third's range."""
    taken = [dict(each.point) for each in search.measured]
    drawn: list[Point] = []
    shown = found.constants[:MOVED]
    for _ in range(CANDIDATES):
        moved = chance.sample(shown, chance.randint(1, len(shown)))
        point = search.encoded(search.start)
        for each in moved:
            point[each.name] = axes.draw(each, chance.random() < 0.5, chance)
        whole = {**search.start, **_changed(search, point)}
        if whole not in taken and whole not in drawn and whole != search.start:
            drawn.append(whole)
    return drawn


def _changed(search: Search, encoded: Mapping[str, Any]) -> Point:
    """Values of the constants that are not where the start has them."""
    before, after = search.decoded(search.encoded(search.start)), search.decoded(encoded)
    return {name: after[name] for name in after if after[name] != before[name]}


class _Axes:
    """Constants as numbers from 0 to 1, logarithmic where their range is."""

    def __init__(self, search: Search) -> None:
        self.search = search
        self.distributions: Mapping[str, BaseDistribution] = search.distributions

    def row(self, point: Mapping[str, Any]) -> list[float]:
        """Coordinates of a point; a choice among more than two has one for each."""
        row: list[float] = []
        for name, value in self.search.encoded(point).items():
            row += self._coordinates(name, value)
        return row

    def _coordinates(self, name: str, value: Any) -> list[float]:
        from optuna.distributions import CategoricalDistribution

        limits = self.distributions[name]
        if isinstance(limits, CategoricalDistribution):
            place = limits.choices.index(value)
            if len(limits.choices) <= 2:
                return [float(place)]
            return [math.sqrt(0.5) * (place == other) for other in range(len(limits.choices))]
        low, high = self._ends(name)
        return [(self._scaled(name, value) - low) / (high - low) if high > low else 0.0]

    def draw(self, constant: Constant, near: bool, chance: Random) -> Any:
        """A value by chance, from the best third's (``near``) or from the whole range."""
        from optuna.distributions import CategoricalDistribution, IntDistribution

        name = constant.name
        limits = self.distributions[name]
        if isinstance(limits, CategoricalDistribution):
            return chance.choice(list(constant.best if near else limits.choices))
        low, high = self._ends(name)
        if near:
            ends = [
                self.search.encoded({**self.search.start, name: end})[name] for end in constant.best
            ]
            low, high = (self._scaled(name, end) for end in ends)
        value = chance.uniform(low, high)
        value = math.exp(value) if limits.log else value  # type: ignore[attr-defined]
        return round(value) if isinstance(limits, IntDistribution) else value

    def _ends(self, name: str) -> tuple[float, float]:
        limits: Any = self.distributions[name]
        return self._scaled(name, limits.low), self._scaled(name, limits.high)

    def _scaled(self, name: str, value: float) -> float:
        limits: Any = self.distributions[name]
        return math.log(value) if limits.log else float(value)
