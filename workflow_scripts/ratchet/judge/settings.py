"""The judge's thresholds, each with its default and the reason for it.

Everything that has the unit of the metric is expressed through two scales,
``noise_center`` and ``effect_scale``; both are 3e-4 for validation bits per
byte at a five-minute budget and come from :func:`scale_from` otherwise.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ratchet.base.errors import ConfigError, DataError
from ratchet.base.structs import Frozen, replace

if TYPE_CHECKING:
    from ratchet.base.stats import FloatArray

REFERENCE_SCALE = 3e-4
"""Noise and effect scale of validation bits per byte near 1 (H100, 5 minutes)."""

RELATIVE_NOISE = 1e-3
"""Expected noise of a metric, as a share of its magnitude: between the
median over 535 public groups of replicates (5e-4) and over their 25 sources (4e-3)."""

RELATIVE_NOISE_BELOW = 2.0
"""Sd, in ln, of the prior below RELATIVE_NOISE; the sources spread by a factor e^2.
Normal: replicates that agree far better than that mostly do so by accident, and
reading noise as effects is the worse mistake."""

RELATIVE_NOISE_ABOVE = 1.5
"""Half-width, in ln, of the prior above RELATIVE_NOISE.  Cauchy: the magnitude says
little about the noise of a metric near 0 or of a tiny task; there replicates win."""

SHORT_SESSION_RUNS = 60
"""Up to here a missed gain costs more than a false keep: few proposals remain
to find it again, and few keeps have had time to go wrong."""


class Mode(enum.StrEnum):
    """Modes of the judge: how sure it must be that a candidate is better."""

    AUTO = "auto"
    LIBERAL = "liberal"
    GAIN = "gain"
    BALANCED = "balanced"
    STRICT = "strict"
    GUARANTEED = "guaranteed"


KEEP_PROBABILITIES = {
    Mode.LIBERAL: 0.42,
    Mode.GAIN: 0.5,
    Mode.BALANCED: 0.7,
    Mode.STRICT: 0.8,
    Mode.GUARANTEED: 0.8,
}
"""Beside E[g] > 0, which decides in a short session.  ``liberal`` has the largest true gain
in short sessions; ``gain`` gains as much from 100 runs on, and keeps no more false changes
than keep-if-lower; ``balanced`` and ``strict`` refuse more and gain less.  None of
them bounds the number of false keeps; ``guaranteed`` does, by a test that a keep must pass
as well."""

SESSION_OUTLIER_RESIDUAL = 0.0
"""Sessions learn nothing of the incumbent from a diverged candidate.  In simulated
sessions with 5 % of them this makes a third fewer false keeps than 3 sds and costs
no gain; where nothing diverges it changes nothing.  Runs of the incumbent itself
keep theirs: they must be able to tell that machine or data have changed."""

NOISE_LEAN, NOISE_SPAN, NOISE_NODES = 1.0, 6.0, 27
"""The noise grid of a session, in ln: nodes 1.6-fold apart, from 1/150 to 1,100 of the
expected noise, as metrics of small or unsteady tasks are far noisier than expected."""

EVEN_NOISE = ((1.0, 1.0),)
UNEVEN_NOISE = ((0.5, 0.15), (1.0, 0.7), (2.0, 0.15))
"""Factors of one code's noise: replicates of public edits differ that much, and more where
a busy machine slows single runs.  Long sessions do without: there a mean of many candidates
decides, and a wider view of each one costs gain."""

EARLY_IMPROVEMENTS, IMPROVEMENTS_HALVED = 0.45, 80.0
"""Prior share of proposals that improve, and after how many proposals it has halved.  In 22
public logs 45 % of the first ten were kept, 25 % of those from 15 to 60, 14 % up to 120 and
5 to 9 % later; of what truly improves the keep-if-lower rule misses more the later it is."""

FALSE_KEEP_BOUND = 0.05
"""Expected false keeps of a whole session in mode ``guaranteed``: one in twenty
sessions holds one."""

GUARANTEED_RUNS = 3
"""A test needs two fresh runs of a candidate, besides its first."""

LEAST_CERTIFICATION, MOST_CERTIFICATION = 6, 100
"""Runs of a certification: fewer do not tell three changes apart; more are jobs that a
session without an end in sight would plan in vain."""

CERTIFICATION_SHARE = 5
"""Runs of the session for each run of its certification."""


class Settings(Frozen):
    """Every number the judge decides by.

    Probabilities are plain numbers in (0, 1).  Raises :class:`ConfigError`
    for a value that no judge can work with.
    """

    # Least P(better) for a keep; see KEEP_PROBABILITIES.
    keep_probability: float = 0.6
    # P(better) from which a keep is called strong; only a label.
    strong_probability: float = 0.95
    # Runs of one candidate; from the sixth on a fresh proposal is always worth more.
    max_replicates: int = 5
    # A retest must bring this share of the expected value of a fresh proposal.
    # Below 1 because a retest also teaches the noise floor.
    retest_price: float = 0.4
    # Whether the likeliest noise node alone tells what a retest is worth, or all that count.
    likeliest_noise: bool = True
    # Further runs that the value of a retest looks ahead; one alone rarely
    # changes the decision, and a fourth adds nothing measurable.
    look_ahead: int = 3
    # Outside these P(better) no replicate changes the decision; saves work.
    retest_low: float = 0.02
    retest_high: float = 0.999
    # Growth of the incumbent's relative variance per proposal: machines drift,
    # so an old measurement counts for less.
    drift: float = 0.005
    # Noise grid: S_j = noise_center * exp(x_j), x_j evenly over +-noise_span, with
    # evidence -x^2 / (2 noise_prior_sd^2) before any run.  exp(2.4) = 11 covers
    # datacenter to laptop; 13 nodes are a factor 1.5 apart, finer than s is known.
    noise_center: float = REFERENCE_SCALE
    noise_span: float = 2.4
    noise_nodes: int = 13
    noise_prior_mean: float = 0.0
    noise_prior_sd: float = 1.0
    # By what the noise of one code may differ from the session's, each with its chance.
    noise_factors: tuple[tuple[float, float], ...] = ((1.0, 1.0),)
    # Least density a measurement is given, in 1/metric at the reference scale
    # (3e-6 per effect_scale).  Without it one wild discard triples the noise floor.
    outlier_floor: float = 0.01
    # Where the model cannot explain a measurement, as when training diverged, its
    # residual says little about the incumbent: so many sds of it may move it, of a
    # candidate's and of a run of the incumbent itself.  Infinite, one diverged run
    # can drag the incumbent anywhere.  See SESSION_OUTLIER_RESIDUAL.
    outlier_residual: float = 3.0
    surprise_residual: float = 3.0
    # Unit of the effect prior, whose components reach from 1/8 to 64 of it; or of each
    # noise node its own noise sd.
    effect_scale: float = REFERENCE_SCALE
    effects_by_noise: bool = False
    # 0: large improvements are rare and most harm is plain; 1: all scales alike.
    even_scales: float = 0.0
    # Prior share of proposals that change nothing, and that improve.
    null_weight: float = 0.2
    improvement_weight: float = 0.25
    # What improves early stops improving late: that share falls as 1 / (1 + fading * n).
    fading: float = 0.0
    # Strength of that prior in pseudo-proposals, the number of recent proposals
    # that update it (what improves early stops improving late), and EM steps.
    prior_count: float = 10.0
    window: int = 80
    em_steps: int = 3
    # Most expected false keeps of the session; only mode `guaranteed` has one.
    false_keep_bound: float | None = None

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        open_unit = ("keep_probability", "strong_probability", "null_weight", "improvement_weight")
        positive = ("noise_center", "noise_span", "noise_prior_sd", "effect_scale", "outlier_floor")
        for name in open_unit:
            _require(0 < getattr(self, name) < 1, name, getattr(self, name), "between 0 and 1")
        for name in (*positive, "prior_count"):
            value = getattr(self, name)
            _require(math.isfinite(value) and value > 0, name, value, "positive and finite")
        for name in ("max_replicates", "look_ahead", "window", "em_steps"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("retest_price", "drift", "outlier_residual", "surprise_residual", "fading"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "at least 0")
        _require(self.noise_nodes >= 3, "noise_nodes", self.noise_nodes, "at least 3")
        _require(0 <= self.even_scales <= 1, "even_scales", self.even_scales, "from 0 to 1")
        factors = self.noise_factors
        usable = bool(factors) and all(f > 0 and chance > 0 for f, chance in factors)
        _require(usable, "noise_factors", factors, "with positive factors and chances")
        shares = self.null_weight + self.improvement_weight
        _require(shares < 1, "null_weight + improvement_weight", shares, "below 1")
        bound = self.false_keep_bound
        if bound is not None:
            _require(0 < bound < 1, "false_keep_bound", bound, "between 0 and 1")
            runs, least = self.max_replicates, GUARANTEED_RUNS
            _require(runs >= least, "max_replicates", runs, f"of at least {least} in this mode")

    @property
    def expected_noise(self) -> float:
        """Noise floor that is likeliest before any run, in the metric's unit."""
        return self.noise_center * math.exp(self.noise_prior_mean)

    def around(self, noise_sd: float, span: float) -> Settings:
        """Settings that look for the noise floor at most ``span``, in ln, from this one."""
        return replace(self, noise_center=noise_sd, noise_prior_mean=0.0, noise_span=span)

    @classmethod
    def for_session(
        cls,
        mode: Mode | str = Mode.AUTO,
        planned_runs: int | None = None,
        scale: float = REFERENCE_SCALE,
        max_replicates: int = 5,
    ) -> Settings:
        """Settings for a session of ``planned_runs`` runs (``None``: open-ended).

        ``scale`` is in the metric's unit, see :func:`scale_from`.  Raises
        :class:`ConfigError` for an unknown mode.
        """
        chosen = settle_mode(mode, planned_runs)
        guaranteed, short = chosen is Mode.GUARANTEED, chosen is Mode.LIBERAL
        return cls(
            false_keep_bound=FALSE_KEEP_BOUND if guaranteed else None,
            keep_probability=KEEP_PROBABILITIES[chosen],
            noise_center=scale * math.exp(NOISE_LEAN),
            noise_prior_mean=-NOISE_LEAN,
            noise_prior_sd=2.0,
            noise_span=NOISE_SPAN,
            noise_nodes=NOISE_NODES,
            noise_factors=UNEVEN_NOISE if short else EVEN_NOISE,
            effect_scale=scale,
            effects_by_noise=True,
            even_scales=1.0 if short else 0.5,
            improvement_weight=EARLY_IMPROVEMENTS,
            fading=1 / IMPROVEMENTS_HALVED,
            null_weight=0.1 if short else 0.2,
            max_replicates=max_replicates,
            likeliest_noise=False,
            outlier_residual=SESSION_OUTLIER_RESIDUAL,
        )


def settle_mode(mode: Mode | str, planned_runs: int | None) -> Mode:
    """The mode itself, or what ``auto`` means in a session of so many runs.

    Raises :class:`ConfigError` for an unknown mode.
    """
    try:
        chosen = Mode(mode)
    except ValueError:
        known = ", ".join(Mode)
        raise ConfigError(f"judge mode: expected one of {known}, found {mode!r}") from None
    if chosen is Mode.AUTO:
        short = planned_runs is not None and planned_runs <= SHORT_SESSION_RUNS
        chosen = Mode.LIBERAL if short else Mode.GAIN
    return chosen


def certification_budget(session_runs: int) -> int:
    """Runs of the certification that follows a session of so many runs."""
    share = math.ceil(session_runs / CERTIFICATION_SHARE)
    return min(max(LEAST_CERTIFICATION, share), MOST_CERTIFICATION)


def scale_from(values: Sequence[float]) -> float:
    """Scale of noise and effects, in the metric's unit, from baseline replicates.

    Without replicates, or where they agree exactly, it is 3e-4 of the metric's
    magnitude (3e-4 for a metric of 0).  Otherwise it is exp of the posterior
    mean of ln sigma, given the replicates' spread and a weak prior around 1e-3
    of the magnitude.  Two or three replicates need the prior: by accident their
    sd is below a tenth of the true one in 8 and 1 of 100 sessions, and a grid
    centred there would read noise as effects.

    Raises :class:`DataError` without values or for one that is not finite.
    """
    import numpy as np  # slow to import, needed once a session

    y = np.asarray(values, dtype=float)
    if y.size == 0 or not np.isfinite(y).all():
        raise DataError(f"baseline: expected finite metric values, found {list(values)!r:.200}")
    magnitude = float(np.abs(y).mean()) or 1.0
    spread = float(y.std(ddof=1)) if y.size > 1 else 0.0
    if spread < 1e-12 * magnitude:
        return REFERENCE_SCALE * magnitude
    freedom = y.size - 1
    # x = ln sigma - ln spread; the likelihood is nil below -2, the posterior above 20.
    x = np.linspace(-2.0, 20.0, 2201)
    off = x + math.log(spread / (RELATIVE_NOISE * magnitude))
    log_density = log_noise_prior(off) - freedom * (x + 0.5 * np.exp(-2 * x))
    weight = np.exp(log_density - log_density.max())
    return spread * math.exp(float(weight @ x / weight.sum()))


def log_noise_prior(off: FloatArray) -> FloatArray:
    """Log density of the noise, by the logarithm of its ratio to RELATIVE_NOISE of the metric."""
    import numpy as np  # slow to import, needed once a session

    below = -0.5 * (off / RELATIVE_NOISE_BELOW) ** 2
    above = -np.log1p((off / RELATIVE_NOISE_ABOVE) ** 2)
    found: FloatArray = np.where(off < 0, below, above)
    return found


def _require(holds: bool, name: str, value: object, expected: str) -> None:
    if not holds:
        raise ConfigError(f"judge setting {name}: expected a value {expected}, found {value!r}")
