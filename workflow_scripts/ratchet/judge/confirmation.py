"""The gain of a champion by fresh runs, and whether it carries over to unseen data.

Each fresh run of baseline and champion is measured twice: on the data that the search was
judged by, and on data that no run of the search was asked about.  The second measurement
is the gain that is claimed.  Where far less of the gain shows there than on the search's
data, the champion knows those data, and the gain does not carry over.

Lower metrics are better here.
"""

import math
from collections.abc import Sequence
from statistics import fmean

import numpy as np

from ratchet.base.stats import welch_interval
from ratchet.base.structs import Frozen, replace
from ratchet.records.records import Confirmation

CONFIRMATION_LEVEL = 0.95

LEAST_CARRIED = 2 / 3
"""Share of the gain in the search that must show on unseen data.  Two texts differ in how
large a gain they show: edits of tasks/bytelm that change the metric by twice the noise carry
over by .84 to 1.54, with a median of 1.16."""

FALSE_ALARMS = 1e-3
"""Probability, in a session, that chance alone makes so little carry over."""

NOISE_WEIGHT = 4
"""Degrees of freedom that the session's noise floor counts beside the runs'."""

NOISE_LIMIT = 0.95
"""Confidence that the noise is below the limit that the runs set: a search with an odd run
may believe in a hundred times the noise."""

FEWEST_PARTS = 8
"""Parts of the unseen data, at least, that tell how a gain is spread over them."""


class FreshRuns(Frozen):
    """The fresh runs of one code.

    ``search`` and ``unseen`` are the metric of each run on either data, ``parts`` that on
    equal consecutive parts of the unseen data, one row a run; both may be missing.
    """

    search: Sequence[float]
    unseen: Sequence[float] = ()
    parts: Sequence[Sequence[float]] = ()


def chance_of_carrying(
    baseline: FreshRuns, champion: FreshRuns, noise_sd: float, sizes: tuple[int, int]
) -> float | None:
    """Probability of so little gain on unseen data, if :data:`LEAST_CARRIED` of it carried over.

    ``None`` where there is no gain to carry over, or no parts of the unseen data tell how it
    varies over them.  ``noise_sd`` is the session's noise floor, ``sizes`` are the items of
    the search's and of the unseen data.

    The statistic is T = g_u - R g_s, with the gains on unseen data and in the search and R
    the share; a ratio is tested as Fieller does (E. C. Fieller, J. R. Stat. Soc. B 16
    (1954) 175-185), so that it needs no division.  A run gives both values, u and s, so the
    noise of T is that of u - R s between runs of one code: most of the noise of a
    run cancels.  Few runs know it badly; the noise floor, which is larger, counts as
    :data:`NOISE_WEIGHT` runs more (the moderated t of G. K. Smyth, Stat. Appl. Genet. Mol.
    Biol. 3 (2004) 3), unless these runs show that it is lower.  To it comes the choice of the
    data: the variance of the gain between parts of the unseen data, over their number, for
    both data by their sizes.  It is not taken from the search's data, on which a leak may be
    spread in any way.  Degrees of freedom after Satterthwaite.
    """
    from scipy.special import stdtr  # slow to import, needed once a session

    sides = baseline, champion
    count = min((len(row) for side in sides for row in side.parts), default=0)
    told = len(baseline.parts) and len(champion.parts) and count >= FEWEST_PARTS
    if not told or fmean(baseline.search) <= fmean(champion.search):
        return None
    mixed = [np.subtract(side.unseen, LEAST_CARRIED * np.asarray(side.search)) for side in sides]
    short = float(mixed[0].mean() - mixed[1].mean())
    freedom = NOISE_WEIGHT + sum(len(each) - 1 for each in mixed)
    squares = NOISE_WEIGHT * min(noise_sd**2, _largest_variance(sides))
    squares += float(sum(((each - each.mean()) ** 2).sum() for each in mixed))
    of_runs = squares / freedom * sum(1 / len(each) for each in mixed)
    before, after = (np.mean(side.parts, axis=0) for side in sides)
    of_data = float(np.var(before - after, ddof=1)) / count
    of_data *= 1 + LEAST_CARRIED**2 * sizes[1] / sizes[0]
    total = of_runs + of_data
    freedom_of_both = total**2 / (of_runs**2 / freedom + of_data**2 / (count - 1))
    return float(stdtr(freedom_of_both, short / math.sqrt(total)))


def _largest_variance(sides: Sequence[FreshRuns]) -> float:
    """Upper limit of the noise's variance by the runs on the search's data; a chi-square limit."""
    from scipy.special import chdtri

    freedom = sum(len(side.search) - 1 for side in sides)
    squares = float(sum(np.var(side.search) * len(side.search) for side in sides))
    # Equal values have shown no noise, which is not that there is none.
    return squares / float(chdtri(freedom, NOISE_LIMIT)) if squares else math.inf


def confirm_gain(
    found: Confirmation,
    baseline: FreshRuns,
    champion: FreshRuns,
    noise_sd: float | None,
    sizes: tuple[int, int],
) -> Confirmation:
    """The confirmation with the gains that its runs show, and whether the gain carries over.

    Without the noise of one run the latter is not tested.
    """
    search = welch_interval(baseline.search, champion.search, CONFIRMATION_LEVEL)
    found = replace(found, gain=search.gain, low=search.low, high=search.high)
    if not (baseline.unseen and champion.unseen):
        return found
    unseen = welch_interval(baseline.unseen, champion.unseen, CONFIRMATION_LEVEL)
    chance = None
    if noise_sd is not None:
        chance = chance_of_carrying(baseline, champion, noise_sd, sizes)
    return replace(
        found,
        audit_gain=unseen.gain,
        audit_low=unseen.low,
        audit_high=unseen.high,
        carry_chance=chance,
        carries_over=None if chance is None else chance >= FALSE_ALARMS,
    )
