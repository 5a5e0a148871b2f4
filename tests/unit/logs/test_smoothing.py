"""The smoothed posterior of a log, against brute force."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from helpers.autojudge_logs import CORPUS
from ratchet.base.errors import DataError
from ratchet.base.stats import FloatArray
from ratchet.base.structs import replace
from ratchet.judge.effects import SCALES, EffectModel
from ratchet.judge.judge import replay
from ratchet.judge.settings import Settings
from ratchet.logs.analysis import Rules, settings_for
from ratchet.logs.experiments import log_experiments
from ratchet.logs.reader import read_table
from ratchet.logs.smoothing import SmoothedChange, Smoother

SD = 5e-4
# One noise floor, as good as exactly known.
KNOWN = Settings(noise_center=SD, noise_span=1e-9, noise_nodes=3)
PRIOR = np.tile(EffectModel(KNOWN).prior, (3, 1))
REFERENCE = CORPUS / "sessions" / "karpathy__autoresearch__mar8.tsv"


def drawn(rng: np.random.Generator, weights: FloatArray, count: int) -> FloatArray:
    """Effects from the prior."""
    part = rng.choice(weights.size, size=count, p=weights / weights.sum())
    widths = np.concatenate([[0.0], SCALES, -SCALES]) * KNOWN.effect_scale
    found: FloatArray = widths[part] * np.abs(rng.standard_normal(count))
    return found


def smoothed(values: list[float], kept: list[bool]) -> Smoother:
    """By the prior as it is, without learning it from the log."""
    return Smoother(values, kept, [False] * len(values), [PRIOR] * len(values), KNOWN)


# --- draws from the prior whose simulated logs are the one that was seen ----------------


def test_a_short_log_agrees_with_simulated_logs_that_look_like_it() -> None:
    """Kept 1 sd better, a discard that speaks against it, one that is just worse."""
    seen = np.array([0.0, -1.0, 0.9, -0.4]) * SD
    kept = [True, True, False, False]
    rng = np.random.default_rng(1)
    hits, near = [], 0.3 * SD
    for _ in range(16):
        count = 1_000_000
        truth = SD * rng.standard_normal(count)
        prior = PRIOR[0]
        step = np.sqrt(KNOWN.drift) * SD
        changes = drawn(rng, prior, count)
        # Only draws whose logs agree so far are simulated further.
        for place in (1, 2, 3):
            truth = truth + step * rng.standard_normal(truth.size)
            effect = changes if place == 1 else drawn(rng, prior, truth.size)
            candidate = truth - effect
            value = candidate + SD * rng.standard_normal(truth.size)
            agrees = np.abs(value - seen[place]) < near
            if place == 1:  # kept: it is the incumbent from here on
                truth = candidate
            truth, changes = truth[agrees], changes[agrees]
        hits.append(changes)
    effects = np.concatenate(hits)
    assert effects.size > 10_000
    (change,) = smoothed(list(seen), kept).changes()
    error = 4 * 0.5 / np.sqrt(effects.size)
    assert change.better == pytest.approx((effects > 0).mean(), abs=error + 0.006)
    assert change.gain == pytest.approx(effects.mean(), abs=4 * effects.std() / 100 + 0.01 * SD)
    low, high = np.quantile(effects, [0.05, 0.95])
    assert change.low == pytest.approx(low, abs=0.1 * SD)
    assert change.high == pytest.approx(high, abs=0.15 * SD)


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
        changes = smoother.changes()
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


# --- the reference session, by particles -------------------------------------------------


class Particles:
    """The same model simulated forwards: drawn truths, weighted by what the log shows."""

    def __init__(self, rng: np.random.Generator, count: int, first: float) -> None:
        self.rng, self.count = rng, count
        self.truth = first + SD * rng.standard_normal(count)
        self.log_weight = np.zeros(count)
        self.effects: list[FloatArray] = []

    def weigh(self, log_density: FloatArray) -> None:
        self.log_weight = self.log_weight + log_density
        if 1 / (self.weights**2).sum() < 0.5 * self.count:
            places = (self.rng.random() + np.arange(self.count)) / self.count
            chosen = np.searchsorted(np.cumsum(self.weights), places).clip(max=self.count - 1)
            self.truth = self.truth[chosen]
            self.effects = [effect[chosen] for effect in self.effects]
            self.log_weight = np.zeros(self.count)

    @property
    def weights(self) -> FloatArray:
        weight = np.exp(self.log_weight - self.log_weight.max())
        found: FloatArray = weight / weight.sum()
        return found

    def drift(self) -> None:
        self.truth = self.truth + np.sqrt(KNOWN.drift) * SD * self.rng.standard_normal(self.count)

    def measure(self, value: float) -> None:
        self.weigh(np.maximum(stats.norm.logpdf(value, self.truth, SD), np.log(0.01)))

    def keep(self, value: float, weights: FloatArray) -> None:
        """Half of the effects from the prior, half near what was measured, and reweighted."""
        mean, sd = self.truth - value, 2 * SD
        guided = self.rng.random(self.count) < 0.5
        near = mean + sd * self.rng.standard_normal(self.count)
        effect = np.where(guided, near, drawn(self.rng, weights, self.count))
        prior = self.density(effect, weights)
        proposed = 0.5 * prior + 0.5 * stats.norm.pdf(effect, mean, sd)
        log_ratio = np.where(effect == 0, np.log(2), np.log(prior) - np.log(proposed))
        self.effects.append(effect)
        self.truth = self.truth - effect
        self.weigh(log_ratio + stats.norm.logpdf(value, self.truth, SD))

    @staticmethod
    def density(effect: FloatArray, weights: FloatArray) -> FloatArray:
        """Of effects other than 0."""
        found = np.full(effect.size, 1e-300)
        for side, part in ((1, weights[1:11]), (-1, weights[11:])):
            for width, weight in zip(SCALES * KNOWN.effect_scale, part, strict=True):
                found += weight * stats.halfnorm.pdf(side * effect, scale=width)
        return found

    def discard(self, value: float, weights: FloatArray, table: tuple[FloatArray, ...]) -> None:
        """Its effect matters to nothing later, so all of them are summed over."""
        grid, components = table
        density = np.interp(self.truth - value, grid, components @ weights, left=0, right=0)
        self.weigh(np.log(np.maximum(density, 0.01)))


def of_discards() -> tuple[FloatArray, ...]:
    """Density of a difference for each component, by summing over effects."""
    grid = np.linspace(-0.02, 0.02, 3201)
    columns = [stats.norm.pdf(grid, 0, SD)]
    quantiles = (np.arange(2000) + 0.5) / 2000
    for side in (1, -1):
        for width in SCALES * KNOWN.effect_scale:
            effects = side * stats.halfnorm.ppf(quantiles, scale=width)
            fine = grid[::8]
            rough = np.array([stats.norm.pdf(d, effects, SD).mean() for d in fine])
            columns.append(np.interp(grid, fine, rough))
    return grid, np.stack(columns, axis=1)


@pytest.mark.skipif(not REFERENCE.exists(), reason="the collection of real logs is not here")
def test_the_reference_session_agrees_with_particles() -> None:
    every = log_experiments(read_table(REFERENCE.read_bytes(), REFERENCE.name))
    settings = replace(
        settings_for(every, len(every.rows), Rules("auto", SD))[0],
        noise_span=1e-9,
        noise_nodes=3,
        effect_scale=KNOWN.effect_scale,
        outlier_floor=KNOWN.outlier_floor,
    )
    done = replay(every.values, every.kept, every.again, settings)
    smoother = Smoother(every.values, every.kept, every.again, done.weights, settings)
    changes = smoother.changes()
    assert len(changes) == 22
    table, better, gains, held, totals = of_discards(), [], [], [], []
    for seed in range(5):
        particles = Particles(np.random.default_rng(seed), 30_000, every.values[0] or 0.0)
        rows = zip(every.values, every.kept, every.again, done.weights, strict=True)
        for value, kept, again, weights in list(rows)[1:]:
            if value is not None and again and not kept:
                particles.measure(value)
                continue
            particles.drift()
            if value is None or weights is None:
                continue
            if kept:
                particles.keep(value, weights[1])
            else:
                particles.discard(value, weights[1], table)
        effects, weight = np.stack(particles.effects), particles.weights
        better.append((effects > 0) @ weight)
        gains.append(effects @ weight)
        held.append(((effects > 0).sum(axis=0) >= 15) @ weight)
        totals.append(effects.sum(axis=0) @ weight)
    assert_near([c.better for c in changes], better, 0.01)
    assert_near([c.gain for c in changes], gains, 0.02 * SD)
    places = [change.place for change in changes]
    assert_near([smoother.held(places)[15:].sum()], np.array(held)[:, None], 0.01)
    assert_near([smoother.total(places)[0]], np.array(totals)[:, None], 0.05 * SD)


def assert_near(exact: list[float], runs: object, slack: float) -> None:
    """Within four standard errors of independent runs, and what a lattice is off by."""
    found = np.array(runs)
    error = found.std(axis=0, ddof=1) / np.sqrt(len(found))
    off = np.abs(found.mean(axis=0) - exact)
    assert (off <= 4 * error + slack).all(), (off / (4 * error + slack)).round(2)


# --- what must hold whatever the log ---------------------------------------------------


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
    changes = smoother.changes()
    places = [change.place for change in changes]
    held = smoother.held(places)
    assert held.sum() == pytest.approx(1)
    assert held @ np.arange(4) == pytest.approx(sum(c.better for c in changes), abs=1e-9)
    assert smoother.together(places) == pytest.approx(held[-1])
    assert smoother.together(places[:1]) == pytest.approx(changes[0].better)
    assert smoother.together([]) == pytest.approx(1)
    assert smoother.total(places)[0] == pytest.approx(sum(c.gain for c in changes))
    one = smoother.total(places[1:2])
    assert one[0] == pytest.approx(changes[1].gain)
    assert all(c.masses.sum() == pytest.approx(1) and c.low < c.gain < c.high for c in changes)


def test_an_effect_beyond_all_reason_is_taken_as_measured() -> None:
    values = [0.0, -1e6 * SD, 0.2 * SD - 1e6 * SD, -2e6 * SD, -1e6 * SD]
    changes = smoothed(values, [True, True, False, True, True]).changes()
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
    assert smoother.changes() == ()


@pytest.mark.parametrize(
    ("values", "weights"), [([None], [None]), ([], []), ([0.0], []), ([0.0, 1.0], [None, None])]
)
def test_what_is_no_log_is_refused(values: list[float | None], weights: list[None]) -> None:
    mask = [False] * len(values)
    with pytest.raises(DataError, match="smoothing: expected"):
        Smoother(values, mask, mask, weights, KNOWN)
