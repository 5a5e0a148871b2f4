"""Landscape of a space of constants: what its measured points say about it.

It has the constants that matter most, which way each of them is better, the region that
looks best, and a few untried settings with a predicted metric.  Few points say little: each
answer comes with what it rests on, and the same points and seed give the same answer.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from random import Random
from statistics import NormalDist, fmean, median, pstdev
from typing import Any

from ratchet.base.structs import Frozen, replace
from ratchet.proposers.optimizer import STARTUP, Measured, Search, session_search
from ratchet.proposers.space import Point
from ratchet.records.history import History
from ratchet.records.records import stream_seed
from ratchet.session import Session
from ratchet.task.task import Range

LEAST_POINTS = STARTUP
"""Measured points from which on they are said to show anything, as TPE learns from them."""

BEST_PART = 1 / 3
"""Part of the points that is compared with all of them."""

CHANCE = 0.01
"""P value below which a constant's effect is no chance; of twenty without one, one in five
sessions names one."""

CLEAR = 0.05
"""P value of the rank correlation with the metric below which such a constant has a better way."""

LEVELS = 8
"""Levels that the values of a constant are parted into."""

RESAMPLES = 40
"""Samples of the points, drawn with replacement, that say how sure an importance is; the two
ends of a 90 % interval lie between the second and the third of 40."""

SETTINGS = 3
"""Untried settings that are predicted."""

MOVED = 4
"""Constants, the most important ones, that a predicted setting may move."""

CANDIDATES = 256
"""Settings drawn by chance, of which the most promising are predicted."""

MODELLED = 100
"""Points that a model learns from, at most: half of them the best, the others the newest.  Its
time grows with their third power, and 300 of them took 7 s."""

WORST = 3.0
"""Points that are worse than the median by more than so many times the distance from the
median to the best are told to the model as if it were this much: a diverged run would
otherwise be all that it explains."""


class Constant(Frozen):
    """A constant and what the points say about it.

    ``importance`` is its part of the sum over all constants, which some have where none
    matters; ``clear`` says that its effect is hardly chance.  ``way`` is 1 where larger
    values are better, -1 where smaller ones are, 0 where neither is clear.  ``best`` are the
    values of the best third: the smallest and largest of numbers, of choices all, the
    commonest first.  ``now`` is the incumbent's value.  ``low`` and ``high`` are the ends of a
    90 % interval of the importance, where it was asked for; ``log`` tells of a range that is
    searched by its logarithm.
    """

    name: str
    importance: float
    way: int
    best: Sequence[Any]
    now: Any
    choices: bool = False
    clear: bool = True
    low: float | None = None
    high: float | None = None
    log: bool = False


class Prediction(Frozen):
    """An untried setting: what it moves, and the metric of a run, predicted."""

    moved: Mapping[str, Any]
    value: float
    sd: float


class Landscape(Frozen):
    """Constants by importance, and untried settings, the most promising first.

    It rests on ``points`` measured ones, which ``measured`` has; ``failed`` ran and gave no
    solution.  ``held`` is the predicted metric of the incumbent.
    """

    points: int
    failed: int
    constants: Sequence[Constant]
    held: float | None = None
    predictions: Sequence[Prediction] = ()
    measured: Sequence[Measured] = ()

    @property
    def leading(self) -> Sequence[Constant]:
        """The first :data:`MOVED` constants by importance, those that are clear before others."""
        return sorted(self.constants, key=lambda each: not each.clear)[:MOVED]


def session_landscape(session: Session, history: History, predict: bool) -> Landscape | None:
    """Landscape of a session's space; ``None`` without one, or with too few points.

    Predictions take longest: a report does without them, and has instead how sure each
    importance is.
    """
    search = session_search(session, history)
    found = landscape_of(search)
    if found is None:
        return None
    if not predict:
        return with_intervals(found, search)
    seed = stream_seed(session.config.seed, "landscape", history.last)
    return with_predictions(found, search, seed, session.sign)


def known_points(search: Search) -> list[Measured]:
    """The measured points that have a number and are below the memory ceiling."""
    return [
        each
        for each in search.measured
        if each.value is not None
        and not (search.ceiling_mb and each.memory_mb and each.memory_mb > search.ceiling_mb)
    ]


def landscape_of(search: Search) -> Landscape | None:
    """Landscape without predictions; ``None`` below :data:`LEAST_POINTS` points."""
    known, axes = known_points(search), _Axes(search)
    if len(known) < LEAST_POINTS:
        return None
    places = [axes.places(each.point) for each in known]
    varied = [name for name in search.start if len({point[name] for point in places}) > 1]
    if not varied:
        return None
    best = sorted(known, key=_value)[: math.ceil(BEST_PART * len(known))]
    importances = _importances(axes, known, varied)
    constants = [
        replace(
            _constant(name, importances[name], known, best, search.start[name], axes.choices(name)),
            log=_is_logarithmic(axes.ranges[name]),
        )
        for name in sorted(varied, key=lambda name: -importances[name])
    ]
    waiting = sum(each.waiting for each in search.measured)
    failed = len(search.measured) - len(known) - waiting
    return Landscape(len(known), failed, constants, measured=known)


def with_intervals(found: Landscape, search: Search) -> Landscape:
    """The landscape with a 90 % interval of each importance, by bootstrap."""
    axes, chance = _Axes(search), Random(0)
    names = [each.name for each in found.constants]
    drawn: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(RESAMPLES):
        known = chance.choices(found.measured, k=len(found.measured))
        places = [axes.places(each.point) for each in known]
        varied = [name for name in names if len({place[name] for place in places}) > 1]
        counts = _importances(axes, known, varied) if varied else {}
        for name in names:
            drawn[name].append(counts.get(name, 0.0))
    ends = {name: sorted(values) for name, values in drawn.items()}
    edge = RESAMPLES // 20
    constants = [
        replace(
            each,
            low=min(each.importance, ends[each.name][edge]),
            high=max(each.importance, ends[each.name][-1 - edge]),
        )
        for each in found.constants
    ]
    return replace(found, constants=constants)


def _value(each: Measured) -> float:
    assert each.value is not None
    return each.value


def _importances(axes: _Axes, known: Sequence[Measured], names: Sequence[str]) -> dict[str, float]:
    """Importance of each constant for being among the best third, by PED-ANOVA.

    Points of an optimiser are no random ones; so the best are compared with all that were
    tried, and not with the whole range.  That divides by how often a value was tried: so a
    constant counts by levels that were all tried, and none that lies between them.
    """
    import optuna
    from optuna.distributions import (
        BaseDistribution,
        CategoricalDistribution,
        IntDistribution,
    )
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    places = [axes.places(each.point) for each in known]
    levels = {name: _levels([place[name] for place in places]) for name in names}
    distributions: dict[str, BaseDistribution] = {}
    for name in names:
        last = max(levels[name])
        choices = CategoricalDistribution(range(last + 1))
        distributions[name] = choices if axes.choices(name) else IntDistribution(0, last)
    trials = [
        optuna.trial.create_trial(
            value=_value(each),
            params={name: levels[name][number] for name in names},
            distributions=distributions,
        )
        for number, each in enumerate(known)
    ]
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        study = optuna.create_study()
        study.add_trials(trials)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is still experimental
            evaluator = PedAnovaImportanceEvaluator(target_quantile=BEST_PART)
            found = get_param_importances(study, evaluator=evaluator, params=list(names))
    finally:
        optuna.logging.set_verbosity(before)
    return {name: float(found[name]) for name in names}


def _levels(values: Sequence[float]) -> list[int]:
    """Each value's level: at most :data:`LEVELS`, of about as many points each, none empty."""
    ordered = sorted(values)
    first = {value: ordered.index(value) for value in set(values)}
    levels = {value: place * LEVELS // len(values) for value, place in first.items()}
    if len(first) <= LEVELS:
        levels = {value: number for number, value in enumerate(sorted(first))}
    known = sorted(set(levels.values()))
    return [known.index(levels[value]) for value in values]


def _constant(
    name: str,
    importance: float,
    known: Sequence[Measured],
    best: Sequence[Measured],
    now: Any,
    choices: int,
) -> Constant:
    values = [each.point[name] for each in best]
    metrics = [_value(each) for each in known]
    if choices:
        written = [repr(value) for value in values]  # a list cannot be counted by itself
        kinds = dict(zip(written, values, strict=True))
        common = sorted(kinds, key=lambda text: -written.count(text))
        clear = _chance([repr(each.point[name]) for each in known], metrics, True) < CHANCE
        return Constant(name, importance, 0, [kinds[text] for text in common], now, True, clear)
    tried = [each.point[name] for each in known]
    clear = _chance(tried, metrics, False) < CHANCE
    way = _way(tried, metrics) if clear else 0
    return Constant(name, importance, way, [min(values), max(values)], now, clear=clear)


def _chance(values: Sequence[Any], metrics: Sequence[float], choices: bool) -> float:
    """P value of the metric's ranks against a constant: one optimum or none, or its choices.

    That is an F test of a parabola in the ranks of numbers, or of the means of choices.
    """
    import numpy as np
    from scipy.stats import f, rankdata

    ranks = rankdata(metrics)
    if choices:
        columns = [[float(each == kind) for each in values] for kind in sorted(set(values))[1:]]
    else:
        places = rankdata(values) / len(values)
        columns = [list(places), list(places**2)]
    matrix = np.array([[1.0] * len(values), *columns]).T
    fitted = matrix @ np.linalg.lstsq(matrix, ranks, rcond=None)[0]
    terms = int(np.linalg.matrix_rank(matrix)) - 1
    left = len(values) - 1 - terms
    rest = float(((ranks - fitted) ** 2).sum())
    explained = float(((ranks - ranks.mean()) ** 2).sum()) - rest
    if not (terms and left > 0) or explained <= 0:
        return 1.0
    return float(f.sf(explained / terms * left / rest, terms, left)) if rest > 1e-9 else 0.0


def _way(values: Sequence[float], metrics: Sequence[float]) -> int:
    """Whether larger (1) or smaller (-1) values go with a lower metric; 0 if neither clearly."""
    from scipy.stats import spearmanr

    found = spearmanr(values, metrics)
    if not float(found.pvalue) < CLEAR:  # also where there is none
        return 0
    return -1 if found.statistic > 0 else 1


def with_predictions(found: Landscape, search: Search, seed: int, sign: int) -> Landscape:
    """The landscape with its most promising untried settings.

    Each moves some of the leading constants and leaves the others as
    the incumbent has them.  ``sign`` makes values the metric's again.

    Source: Gaussian process with a Matérn kernel and white noise, chosen from by expected
    improvement; each choice but the first takes those before for measured as predicted
    (kriging believer, Ginsbourger et al. 2010).
    """
    known = _modelled(known_points(search))
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


def _modelled(known: Sequence[Measured]) -> list[Measured]:
    """The best points and the newest, in their order, if there are more than are modelled."""
    best = sorted(known, key=_value)[: MODELLED // 2]
    rest = [each for each in known if each not in best]
    chosen = {each.number for each in (*best, *rest[len(best) - MODELLED :])}
    return [each for each in known if each.number in chosen]


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
    here = search.space.fitted(search.start)
    drawn: list[Point] = []
    shown = found.leading
    for _ in range(CANDIDATES):
        moved = chance.sample(shown, chance.randint(1, len(shown)))
        values = {each.name: axes.draw(each, chance.random() < 0.5, chance) for each in moved}
        after = search.space.fitted({**here, **values})
        # Where the start is outside of its range, it stays there.
        changed = {name: value for name, value in after.items() if value != here[name]}
        point = {**search.start, **changed}
        if point not in taken and point not in drawn and point != search.start:
            drawn.append(point)
    return drawn


class _Axes:
    """Constants as numbers from 0 to 1, logarithmic where their range is; choices by place."""

    def __init__(self, search: Search) -> None:
        self.search = search
        ranges = {each.name: each.range for each in search.space.constants}
        self.ranges = {name: limits for name in search.start if (limits := ranges[name])}

    def choices(self, name: str) -> int:
        """Number of choices of a constant; 0 for a number."""
        return len(self.ranges[name].choices)

    def places(self, point: Mapping[str, Any]) -> dict[str, float]:
        """Place of each constant: in its range from 0 to 1, or among its choices."""
        fitted = self.search.space.fitted({name: point[name] for name in self.ranges})
        found: dict[str, float] = {}
        for name, limits in self.ranges.items():
            if limits.choices:
                found[name] = list(limits.choices).index(fitted[name])
            else:
                found[name] = self._place(limits, fitted[name])
        return found

    def row(self, point: Mapping[str, Any]) -> list[float]:
        """Coordinates of a point; a choice among more than two has one for each."""
        row: list[float] = []
        for name, place in self.places(point).items():
            number = self.choices(name)
            if number > 2:
                row += [math.sqrt(0.5) * (place == other) for other in range(number)]
            else:
                row.append(place)
        return row

    def draw(self, constant: Constant, near: bool, chance: Random) -> Any:
        """A value by chance, from the best third's (``near``) or from the whole range."""
        limits = self.ranges[constant.name]
        if limits.choices:
            return chance.choice(list(constant.best if near else limits.choices))
        low, high = (self._place(limits, end) for end in constant.best) if near else (0.0, 1.0)
        place = chance.uniform(low, high)
        if _is_logarithmic(limits):
            return limits.low * (limits.high / limits.low) ** place
        return limits.low + (limits.high - limits.low) * place

    @staticmethod
    def _place(limits: Range, value: float) -> float:
        """Place of a number in its range; one outside is at its end."""
        inside = min(max(value, limits.low), limits.high)
        if _is_logarithmic(limits):
            return math.log(inside / limits.low) / math.log(limits.high / limits.low)
        return (inside - limits.low) / (limits.high - limits.low)


def _is_logarithmic(limits: Range) -> bool:
    return limits.log or limits.power_of is not None
