"""Mode ``guaranteed``: tests on fresh runs alone, with a bound on false keeps.

A candidate's first run only decides whether to test it.
The test compares further, fresh runs of it with runs of the incumbent that were
made after it had become the incumbent; no keep was decided on either.  Its level
is taken from a sequence of levels that sums to the bound, whatever happens:

    E[false keeps] <= sum of the levels of all tests <= bound,

since a candidate that is no better is kept with a probability of at most its
level (linearity of expectation; the tests may depend on each other).  Giving a
test up early, for whatever reason, can only lower that probability.  Candidates
are chosen for a test by a look at the same runs of the incumbent; this is not in
the inequality; simulated sessions without any improvement held 0.01 to 0.02 false
keeps at a bound of 0.05, all told.

The statistic is Student's t with a noise floor pooled over all groups of runs
of equal code, so it assumes one noise level for all of them.  Heavy tails make
such a test liberal once the pool is large, hence the cap on its degrees of
freedom; below it the studentized statistic is conservative under Student's t
noise with 4 degrees of freedom.

Sources: alpha spending for online tests after Foster & Stine, J. R. Statist.
Soc. B 70 (2008); repeated looks by Bonferroni.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np

from ratchet.base.errors import DataError
from ratchet.base.stats import FloatArray
from ratchet.base.structs import Frozen, Meta, Struct, field, from_json_values, to_json_values

SPENDING_PACE = 3.0
"""Tests after which 1 - 1/sqrt(2) of the bound is spent.  A session of 100 runs
makes two tests where nothing improves and about eight where much does; the rest
lasts for ever, so that a session may be extended."""

LEAST_INCUMBENT_RUNS = 4
"""Runs that the incumbent must have before a candidate is tested against it."""

RECENT_INCUMBENT_RUNS = 8
"""Only so many last runs of the incumbent count in a test: machines drift."""

FREEDOM_CAP = 20
"""Most degrees of freedom of a test.  With 60 and t noise of 4 degrees of freedom
a test at 1e-3 would err 1.8 times as often as it says."""

LOOKS: Mapping[int, float] = {2: 0.3}
"""Share of a test's level that is spent when so many fresh runs are there; the
last look has the rest.  An effect of several sds needs no four runs."""

FUTILITY = 0.05
"""A test is begun, and gone on with, while it would succeed with this probability.
With a fifth, sessions try a fifth more proposals and find a third fewer improvements
of 3 sds."""


class Look(Frozen):
    """A test so far: its p-value, the level at this look, and its prospects.

    ``prospect`` is the probability, under the judge's belief, that the test
    succeeds at its last look.
    """

    p_value: float
    level: float
    prospect: float

    @property
    def shown(self) -> bool:
        """Whether the fresh runs show the candidate to be better."""
        return self.p_value <= self.level


class Confirmations(Struct):
    """Memory of mode ``guaranteed``: what was spent, and runs nobody selected.

    ``squares`` and ``freedom`` pool the spread within finished groups of runs
    of equal code; ``incumbent`` holds the incumbent's own runs, made since it
    is the incumbent.  Lower is better.
    """

    bound: float
    most_runs: int
    tests: int = 0
    squares: float = 0.0
    freedom: int = 0
    incumbent: list[float] = field(default_factory=list)

    @property
    def spent(self) -> float:
        """Sum of the levels of all tests so far; never above the bound."""
        return self.bound * _spent_share(self.tests)

    def level(self, others: int = 0) -> float:
        """Level of the next test, while ``others`` more are under way."""
        begun = self.tests + others
        return self.bound * (_spent_share(begun + 1) - _spent_share(begun))

    def measure(self, y: float) -> None:
        """A run of the incumbent, on which no decision rested."""
        self.incumbent.append(y)

    def runs_wanted(self, candidate_runs: int) -> int:
        """Fresh incumbent runs that a test wants, given the candidate's runs.

        One with every new test, so that a drift of the machine is not read as
        an effect, and as many as a test needs at least.
        """
        missing = LEAST_INCUMBENT_RUNS - len(self.incumbent)
        return max(missing, 1 if candidate_runs == 1 else 0, 0)

    def look(
        self, ys: FloatArray, threshold: float, others: int, gain: float, variance: float
    ) -> Look:
        """Test a candidate by its runs after the first.

        ``gain`` and ``variance`` are the judge's posterior of the effect; they
        only tell whether going on is worth it.
        """
        fresh, reference = ys[1:], np.array(self.incumbent[-RECENT_INCUMBENT_RUNS:])
        planned = self.most_runs - 1
        last = fresh.size >= planned
        level = self.level(others)
        early = math.fsum(share for count, share in LOOKS.items() if count < planned)
        share = 1 - early if last else LOOKS.get(fresh.size, 0.0)
        squares, freedom = self._pooled(fresh, reference)
        p_value = 1.0
        if fresh.size and reference.size and freedom:
            difference = float(reference.mean() - fresh.mean()) - threshold
            scale = math.sqrt(squares / freedom * (1 / fresh.size + 1 / reference.size))
            p_value = _tail(difference, scale, freedom)
        return Look(
            p_value=p_value,
            level=share * level,
            prospect=0.0
            if last
            else self._prospect(fresh, reference, threshold, (1 - early) * level, gain, variance),
        )

    def _prospect(
        self,
        fresh: FloatArray,
        reference: FloatArray,
        threshold: float,
        level: float,
        gain: float,
        variance: float,
    ) -> float:
        """Probability that the last look will be below ``level``."""
        planned = self.most_runs - 1
        squares, freedom = self._pooled(fresh, reference)
        sd = math.sqrt(squares / freedom) if freedom else 0.0
        left = planned - fresh.size
        done = fresh.size / planned
        known = float(reference.mean() - fresh.mean()) if fresh.size and reference.size else gain
        expected = done * known + (1 - done) * gain - threshold
        counted = max(reference.size, LEAST_INCUMBENT_RUNS)
        later = min(freedom + left, FREEDOM_CAP)
        needed = _quantile(level, max(later, 1)) * sd * math.sqrt(1 / planned + 1 / counted)
        spread = math.sqrt((1 - done) ** 2 * variance + left * (sd / planned) ** 2)
        if spread == 0:
            return 1.0 if expected >= needed else 0.0
        return 0.5 * math.erfc((needed - expected) / spread / math.sqrt(2))

    def close(self, ys: FloatArray, keep: bool) -> None:
        """A candidate is decided; its fresh runs join the pool, its test is spent."""
        if ys.size > 1:
            self.tests += 1
            self._pool(ys[1:])
        if keep:
            # What is known of the new incumbent is what it was kept for.
            self.forget()

    def forget(self) -> None:
        """The incumbent's runs so far tell of the noise, and of it no more."""
        self._pool(np.array(self.incumbent))
        self.incumbent = []

    def _pool(self, group: FloatArray) -> None:
        self.squares, self.freedom = self._pooled(group)

    def _pooled(self, *groups: FloatArray) -> tuple[float, int]:
        """Sum of squares within groups, and its degrees of freedom."""
        squares, freedom = self.squares, self.freedom
        for group in groups:
            if group.size > 1:
                squares += float(((group - group.mean()) ** 2).sum())
                freedom += group.size - 1
        return squares, freedom

    def to_dict(self) -> dict[str, Any]:
        """State as JSON values, without the settings."""
        return {name: to_json_values(getattr(self, name)) for name in _Kept.__struct_fields__}

    def restore(self, data: Any) -> None:
        """Inverse of :meth:`to_dict`; raises :class:`DataError` for anything else."""
        kept = from_json_values(_Kept, data, "judge state: tests")
        if not all(map(math.isfinite, (kept.squares, *kept.incumbent))):
            raise DataError("judge state: tests: expected finite numbers")
        self.tests, self.squares, self.freedom = kept.tests, kept.squares, kept.freedom
        self.incumbent = list(kept.incumbent)


class _Kept(Frozen):
    """Stored state of :class:`Confirmations`."""

    tests: Annotated[int, Meta(ge=0)]
    squares: float
    freedom: Annotated[int, Meta(ge=0)]
    incumbent: tuple[float, ...]


def _spent_share(tests: int) -> float:
    """Share of the bound that the first ``tests`` tests use up."""
    return 1 - 1 / math.sqrt(1 + tests / SPENDING_PACE)


def _tail(difference: float, scale: float, freedom: int) -> float:
    """P(T >= difference / scale) for Student's t."""
    from scipy.special import stdtr  # slow to import, needed in this mode alone

    if scale == 0:
        return 0.0 if difference > 0 else 1.0
    return float(stdtr(min(freedom, FREEDOM_CAP), -difference / scale))


def _quantile(level: float, freedom: int) -> float:
    """Value that Student's t exceeds with probability ``level``."""
    from scipy.special import stdtrit

    return -float(stdtrit(freedom, level))
