"""What the judge says of one candidate, and the rule that names it."""

from __future__ import annotations

from ratchet.codec import Frozen, replace
from ratchet.judge.settings import Settings
from ratchet.records import Verdict

RETEST_RESOLUTION = 1e-9
"""A retest worth less than this share of the noise floor is worth nothing."""


class Assessment(Frozen):
    """The judge's belief about a candidate after ``n`` runs of it.

    ``confidence`` is P(g > 0), ``confidence_at_threshold`` P(g > threshold)
    and ``gain`` E[g], where g is the true improvement (positive is better).
    ``delta`` is the candidate's mean minus the incumbent's and ``delta_sd`` its
    sampling noise (incumbent included); ``noise_sd`` is the noise floor of one
    run.  ``retest_value`` and ``fresh_value`` are expected gains per run; both
    are 0 where a retest is out of the question.  ``p_value`` and ``level`` are
    those of the test that mode ``guaranteed`` rests on, ``None`` in the others.
    Lower metrics are better and all but the probabilities are in the metric's
    unit.
    """

    verdict: Verdict
    confidence: float
    confidence_at_threshold: float
    gain: float
    delta: float
    delta_sd: float
    noise_sd: float
    keep_probability: float
    threshold: float
    retest_value: float
    fresh_value: float
    n: int
    p_value: float | None = None
    level: float | None = None

    @property
    def keep(self) -> bool:
        """The keep rule; it decides where there is no budget for a retest."""
        if self.p_value is not None and self.level is not None and self.p_value > self.level:
            return False
        return keeps(self.confidence_at_threshold, self.gain, self.keep_probability, self.threshold)

    def without_retest(self, settings: Settings) -> Assessment:
        """The assessment where no further run of the candidate is to be had."""
        sure = settings.strong_probability
        return replace(
            self, verdict=name_verdict(self.keep, False, self.confidence, self.gain, sure)
        )


def keeps(confidence: float, gain: float, keep_probability: float, threshold: float) -> bool:
    """Whether a candidate is surely and on average beyond the threshold."""
    return confidence >= keep_probability and gain > threshold


def name_verdict(
    keep: bool, retest: bool, confidence: float, gain: float, strong_probability: float
) -> Verdict:
    """The word for it; MARGINAL is likely better, yet not by what it must be."""
    if retest:
        return Verdict.RETEST
    if keep:
        return Verdict.STRONG_KEEP if confidence >= strong_probability else Verdict.KEEP
    if confidence >= 0.5 and gain > 0:
        return Verdict.MARGINAL
    return Verdict.DISCARD
