"""The smoothed posterior of a log, against simulations of its model."""

from itertools import pairwise

import numpy as np
import pytest

from ratchet.base.errors import DataError
from ratchet.base.stats import FloatArray
from ratchet.judge.effects import SCALES, EffectModel
from ratchet.judge.judge import replay
from ratchet.judge.settings import Settings
from ratchet.logs import smoothing
from ratchet.logs.smoothing import SmoothedChange, Smoother

SD = 5e-4
# One noise floor, as good as exactly known.
KNOWN = Settings(noise_center=SD, noise_span=1e-9, noise_nodes=3)
PRIOR = np.tile(EffectModel(KNOWN).prior(), (3, 1))


def drawn(rng: np.random.Generator, weights: FloatArray, count: int) -> FloatArray:
    """Effects from the prior."""
    part = rng.choice(weights.size, size=count, p=weights / weights.sum())
    widths = np.concatenate([[0.0], SCALES, -SCALES]) * KNOWN.effect_scale
    found: FloatArray = widths[part] * np.abs(rng.standard_normal(count))
    return found


def smoothed(values: list[float], kept: list[bool]) -> Smoother:
    """By the prior as it is, without learning it from the log."""
    return Smoother(values, kept, [False] * len(values), [PRIOR] * len(values), KNOWN)


def test_a_log_agrees_with_simulated_truths_weighted_by_what_it_shows() -> None:
    """Three keeps with another prior each, discards between them, and a further run."""
    values = np.array([0.0, -1.0, 0.9, -2.1, -0.2, -2.4]) * SD
    kept, again = [True, True, False, True, False, True], [False] * 4 + [True, False]
    rng, count = np.random.default_rng(1), 1_500_000
    priors = [PRIOR[0] * rng.uniform(0.3, 3, PRIOR[0].size) for _ in values]
    priors = [prior / prior.sum() for prior in priors]
    truth = SD * rng.standard_normal(count)
    log_weight, changes = np.zeros(count), []
    for value, keep, more, prior in list(zip(values, kept, again, priors, strict=True))[1:]:
        candidate = truth
        if not more:
            truth = truth + np.sqrt(KNOWN.drift) * SD * rng.standard_normal(count)
            effect = drawn(rng, prior, count)
            candidate = truth - effect
        if keep:  # the incumbent from here on
            truth = candidate
            changes.append(effect)
        log_weight -= 0.5 * ((value - candidate) / SD) ** 2
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    effects, slack = np.stack(changes), 4 * np.sqrt((weight**2).sum())
    assert slack < 0.03

    def near(found: float, drawn: FloatArray, off: float) -> None:
        mean = drawn @ weight
        sd = np.sqrt(weight @ (drawn - mean) ** 2)
        assert found == pytest.approx(mean, abs=slack * sd + off)

    weights = [np.tile(prior, (3, 1)) for prior in priors]
    smoother = Smoother(list(values), kept, again, weights, KNOWN)
    for change, effect in zip(smoother.changes(), effects, strict=True):
        near(change.better, effect > 0, 0.003)
        near(change.gain, effect, 0.01 * SD)
        for end, level in ((change.low, 0.05), (change.high, 0.95)):
            near(level, effect < end, 0.01)
    places = [1, 3, 5]
    for many, chance in enumerate(smoother.held(places)):
        near(chance, (effects > 0).sum(axis=0) == many, 0.003)
    near(smoother.total(places)[0], effects.sum(axis=0), 0.02 * SD)


def test_it_is_calibrated_for_logs_of_a_greedy_author() -> None:
    """Who keeps every lower number selects luck, which the posterior must see through."""
    rng = np.random.default_rng(2)
    better, truly, claimed, gained, inside = [], [], 0.0, 0.0, 0
    sessions = 90
    for _ in range(sessions):
        truth, best = 0.0, SD * rng.standard_normal()
        values, kept, effects = [best], [True], [0.0]
        for effect in drawn(rng, PRIOR[0], 24):
            truth += np.sqrt(KNOWN.drift) * SD * rng.standard_normal()
            values.append(truth - effect + SD * rng.standard_normal())
            kept.append(values[-1] < best)
            effects.append(float(effect))
            if kept[-1]:
                best, truth = values[-1], truth - effect
        smoother = smoothed(values, kept)
        changes = list(smoother.changes())
        places = [change.place for change in changes]
        better += [change.better for change in changes]
        truly += [effects[place] > 0 for place in places]
        total, low, high = smoother.total(places)
        claimed, gained = claimed + total, gained + sum(effects[place] for place in places)
        inside += low <= sum(effects[place] for place in places) <= high
    found, truth_of = np.array(better), np.array(truly, dtype=float)
    assert found.size > 200
    error = np.sqrt((found * (1 - found)).sum()) / found.size
    assert found.mean() == pytest.approx(truth_of.mean(), abs=3.5 * error)
    for low, high in pairwise((0.0, 0.4, 0.7, 1.01)):
        part = (found >= low) & (found < high)
        spread = np.sqrt((found[part] * (1 - found[part])).sum()) / part.sum()
        assert found[part].mean() == pytest.approx(truth_of[part].mean(), abs=3.5 * spread)
    assert claimed / sessions == pytest.approx(gained / sessions, abs=0.35 * SD)
    assert 0.82 < inside / sessions < 0.97


def by_place(smoother: Smoother) -> dict[int, SmoothedChange]:
    return {change.place: change for change in smoother.changes()}


def test_later_rows_tell_of_a_kept_change() -> None:
    lucky = [0.0, -1.5 * SD]
    alone = by_place(smoothed(lucky, [True, True]))[1].better
    as_good = by_place(smoothed([*lucky, *[-1.4 * SD] * 6], [True, True, *[False] * 6]))[1].better
    worse = by_place(smoothed([*lucky, *[0.5 * SD] * 6], [True, True, *[False] * 6]))[1].better
    assert worse < alone < as_good


def test_counts_and_sums_agree_with_single_changes() -> None:
    values = [0.0, -1 * SD, -0.5 * SD, -3 * SD, 1 * SD, -3.4 * SD, -3.1 * SD]
    kept = [True, True, False, True, False, True, False]
    smoother = smoothed(values, kept)
    changes = list(smoother.changes())
    places = [change.place for change in changes]
    held = smoother.held(places)
    assert held.sum() == pytest.approx(1)
    assert held @ np.arange(4) == pytest.approx(sum(c.better for c in changes), abs=1e-9)
    assert smoother.held(places[:1])[-1] == pytest.approx(changes[0].better)
    assert smoother.held([])[-1] == pytest.approx(1)
    assert smoother.all_hold(places) == pytest.approx(held[-1])
    assert smoother.all_hold(places[1:]) == pytest.approx(smoother.held(places[1:])[-1])
    assert smoother.total(places)[0] == pytest.approx(sum(c.gain for c in changes))
    one = smoother.total(places[1:2])
    assert one[0] == pytest.approx(changes[1].gain)
    assert all(c.masses.sum() == pytest.approx(1) and c.low < c.gain < c.high for c in changes)


def test_the_number_of_better_ones_among_many_is_normal(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    values = [0.0, *np.cumsum(-np.abs(rng.normal(0, SD, 40)))]
    smoother = smoothed([float(value) for value in values], [True] * len(values))
    places = range(1, len(values))
    exact = smoother.held(places)
    monkeypatch.setattr(smoothing, "MOST_COUNTED", 10)
    normal = smoother.held(places)
    assert normal.sum() == pytest.approx(1)
    assert np.abs(np.cumsum(normal) - np.cumsum(exact)).max() < 0.02
    count = np.arange(exact.size)
    assert normal @ count == pytest.approx(exact @ count, abs=0.05)


def test_an_effect_beyond_all_reason_is_taken_as_measured() -> None:
    values = [0.0, -1e6 * SD, 0.2 * SD - 1e6 * SD, -2e6 * SD, -1e6 * SD]
    changes = list(smoothed(values, [True, True, False, True, True]).changes())
    assert [round(change.better, 6) for change in changes] == [1, 1, 0]
    for change, step in zip(changes, (1e6, 1e6, -1e6), strict=True):
        assert change.gain == pytest.approx(step * SD, abs=3 * SD)


def test_a_diverged_discard_tells_nothing() -> None:
    values, kept = [0.0, -1.5 * SD, -1.0 * SD], [True, True, False]
    before = by_place(smoothed(values, kept))[1].better
    after = by_place(smoothed([*values, 2.0], [*kept, False]))[1].better
    assert after == pytest.approx(before, abs=0.003)  # but for one step of drift


def test_the_noise_floor_is_that_of_the_filter() -> None:
    rng = np.random.default_rng(5)
    values: list[float | None] = [*(SD * rng.standard_normal(40)), None]
    again = [False, *[True] * 39, False]
    settings = Settings()
    done = replay(values, [True, *[False] * 40], again, settings)
    smoother = Smoother(values, [True, *[False] * 40], again, done.weights, settings)
    assert smoother.noise_sd == pytest.approx(done.judge.noise_sd, rel=0.02)
    low, high = smoother.noise_interval()
    assert low < smoother.noise_sd < high
    assert not list(smoother.changes())


@pytest.mark.parametrize("values", [[None], []])
def test_what_is_no_log_is_refused(values: list[float | None]) -> None:
    mask = [False] * len(values)
    with pytest.raises(DataError, match="smoothing: expected"):
        Smoother(values, mask, mask, [None] * len(values), KNOWN)
