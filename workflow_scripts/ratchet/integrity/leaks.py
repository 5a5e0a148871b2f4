"""Do predictions use what they predict?  Whole windows beside windows that were cut.

An evaluator that asks for many predictions of one window shows what is to be predicted:
a model that looks at later tokens gains by it.  Some evaluators therefore also ask for the
next token of *prefixes*, of which no later token was sent yet (``tasks/gpt/prefixes.py``).
Both come from the same text in equal parts and are asked at equal positions, so an honest
model does equally well on them, but for chance.

Chance is mostly the text: some passages are harder than others, for all models.  What the
baseline's runs measured on the very same passages explains that, and is believed, since the
baseline is not a candidate's.  With x the baseline's and y the candidate's mean loss for
each of G groups of cut windows, a line y = a + b x is fitted and foretells the candidate's
loss on whole windows from the baseline's.  The leak is what it did better than foretold::

    leak  = a + b X - Y
    sd²   = s² (1/G + 1/H + (X - mean x)² / sum (x - mean x)²)

with X and Y the losses on whole windows, H the number of groups these are, and s the sd of
the residuals (a straight line's prediction of the mean of H new observations, as in Draper
and Smith, *Applied Regression Analysis*).  A leak above q·sd is no chance, q the quantile of
Student's t with G - 2 degrees of freedom.

A cheat wins nothing by spoiling s.  The residuals are those of cut windows alone, so leaks
in few whole windows do not raise it.  Cut windows that are predicted badly on purpose do,
and raise the leak by their own mean: losses are bounded (``counted`` in ``prefixes.py``) and
residuals count up to four robust sds at most, so that the limit rises less than the leak.

Means over whole windows vary less than means over cut ones, of which fewer positions are
asked; that the formula takes both for equal makes it careful.
"""

from collections.abc import Callable, Sequence

from ratchet.base.structs import Frozen
from ratchet.records.records import Evaluation, PrefixScores

SESSION_LEVEL = 1e-3
"""An honest session is accused at most so often: once in a thousand sessions."""

TESTS = 500
"""Tests of a session that the level is meant for: one per run, and one per confirmation.
Longer sessions are accused by chance in proportion."""

LARGEST_RESIDUAL = 4.0
"""Robust sds that a residual counts at most.  With 128 groups or more, and no fewer whole
windows than cut ones, spoilt groups then raise the limit less than the leak."""

POWER = 0.99
"""Probability with which a leak of the size `found_from` is found."""

FEWEST_GROUPS = 8
"""With fewer there is no test: their sd says too little."""


class Leak(Frozen):
    """What whole windows were predicted better by, in the metric's unit.

    ``limit`` is what chance explains at most; a true leak of ``found_from`` is found with
    probability :data:`POWER`.
    """

    size: float
    sd: float
    limit: float
    found_from: float

    @property
    def is_proven(self) -> bool:
        """Whether chance does not explain it."""
        return self.size > self.limit

    @property
    def sentence(self) -> str:
        """What was found, for a person."""
        return (
            f"predicts {self.size:.4f} better where its windows hold what comes next than where "
            f"that was not sent, beside the baseline; chance explains {self.limit:.4f} at most"
        )


def leaking(baseline: Sequence[Evaluation], runs: Sequence[Evaluation]) -> str | None:
    """How the runs of one candidate use what they predict; ``None`` where nothing shows it."""
    of: tuple[Callable[[Evaluation], PrefixScores | None], ...]
    of = (lambda run: run.prefixes, lambda run: run.audit_prefixes)
    for scores in of:
        ours, theirs = ([s for s in map(scores, side) if s] for side in (baseline, runs))
        leak = find_leak(ours, theirs)
        if leak is not None and leak.is_proven:
            return leak.sentence
    return None


def find_leak(
    baseline: Sequence[PrefixScores], runs: Sequence[PrefixScores], level: float | None = None
) -> Leak | None:
    """Leak of a candidate's runs, taken together; ``None`` where nothing can be compared.

    ``level`` is the probability of accusing an honest candidate.
    """
    sizes = {(len(scores.cut), scores.groups) for scores in (*baseline, *runs)}
    if not baseline or not runs or len(sizes) > 1:
        return None
    ((count, groups),) = sizes
    if count < FEWEST_GROUPS:
        return None
    # Slow to import, and most evaluators ask for no prefixes.
    import numpy as np
    from scipy.special import ndtri, stdtrit

    x, y = (np.mean([scores.cut for scores in side], axis=0) for side in (baseline, runs))
    foretold, found = (float(np.mean([s.whole for s in side])) for side in (baseline, runs))
    spread = float(np.square(x - x.mean()).sum())
    slope = float(((x - x.mean()) * (y - y.mean())).sum()) / spread if spread > 0 else 0.0
    residuals = y - y.mean() - slope * (x - x.mean())
    middle = np.median(residuals)
    most = LARGEST_RESIDUAL * 1.4826 * float(np.median(np.abs(residuals - middle)))
    squares = float(np.square(np.clip(residuals - middle, -most, most)).sum())
    away = (foretold - float(x.mean())) ** 2 / spread if spread > 0 else 0.0
    sd = (squares / (count - 2) * (1 / count + 1 / groups + away)) ** 0.5
    chance = SESSION_LEVEL / TESTS if level is None else level
    limit = -float(stdtrit(count - 2, chance)) * sd
    return Leak(
        size=float(y.mean()) + slope * (foretold - float(x.mean())) - found,
        sd=sd,
        limit=limit,
        found_from=limit + float(ndtri(POWER)) * sd,
    )
