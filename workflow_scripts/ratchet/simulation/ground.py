"""What competitors of a simulated tournament propose, and what that is truly worth.

The distance to the best that can be reached is split over categories, as in
:mod:`ratchet.simulation.bandit`, and every strategy looks mostly at categories of
its own: that is what makes strategies different, and one alone run dry.  An edit
improves by a part of what its category still has to give where it was found.

In the ``independent`` world the effects of edits add up.  In the ``overlapping``
one every improvement works through one of a few mechanisms; of those that share
one only the largest counts, and each further one does a little harm: gains do not
add up.  Some patches conflict and are not applied.

Sizes and chances are those of :mod:`ratchet.simulation.landscape`, fitted to one
published log; the split, the mechanisms and the shares below are assumed.  Gains
are in validation bits per byte; positive is better.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ratchet.codec import Frozen
from ratchet.judge import Mode
from ratchet.simulation.landscape import LARGEST_CHANCE, LARGEST_SHARE, draw_landscape

CATEGORIES = 9
CONCENTRATION = 0.7
"""Of the Dirichlet distribution that splits the distance over categories."""
CHANCES = (0.3, 0.9)
"""Range of a category's chance to improve at the start."""
OWN_SHARE = 0.85
"""Of a strategy's proposals, those in its own categories; the rest go anywhere."""
MECHANISMS = 8
"""In the overlapping world; improvements fall on them by chance."""
HARM = 0.25
"""Part of its size that a further improvement by the same mechanism costs there."""
CONFLICT = 0.15
"""Patches that cannot be applied where the same category was changed."""
CRASH_SHARE = 0.03
NOISE_SD = 5e-4


class Cup(Frozen):
    """What to simulate: ``runs`` are those of each competitor in each round."""

    overlapping: bool = False
    competitors: int = 3
    rounds: int = 3
    runs: int = 20
    mode: Mode = Mode.GAIN

    @property
    def total(self) -> int:
        """Runs of the whole tournament; the common baseline comes on top."""
        return self.competitors * self.rounds * self.runs


class Edit(Frozen):
    """One proposal; ``size`` is what it brings where nothing overlaps."""

    name: tuple[int, int]
    category: int
    mechanism: int
    size: float


class Ground:
    """One tournament's truth; the same luck for every way to pass wins on."""

    def __init__(self, cup: Cup, seed: int, number: int) -> None:
        """``seed`` and ``number`` of the tournament are not negative."""
        self.cup, self._key = cup, (seed, number)
        rng = np.random.default_rng([seed, number, 0])
        self.shape = draw_landscape(rng)
        split = rng.dirichlet([CONCENTRATION] * CATEGORIES)
        self.room = [float(x) for x in self.shape.distance * split]
        self.chances = [float(x) for x in rng.uniform(*CHANCES, CATEGORIES)]
        order = [int(x) for x in rng.permutation(CATEGORIES)]
        self.own = [order[i :: cup.competitors] for i in range(cup.competitors)]

    def noise(self, *purpose: int) -> float:
        """Noise of one run; keyed by what it is for, never by the order of calls."""
        rng = np.random.default_rng([*self._key, 2, *purpose])
        return NOISE_SD * float(rng.standard_normal())

    def propose(self, strategy: int, number: int, held: Sequence[Edit]) -> Edit | None:
        """What a strategy proposes next on a configuration; ``None`` for a crash."""
        rng = np.random.default_rng([*self._key, 1, strategy, number])
        own, improves, null, crashes = (float(x) for x in rng.random(4))
        place, mechanism = (int(x) for x in rng.integers(0, 2**31, 2))
        size, deviation = float(rng.standard_exponential()), float(rng.standard_normal())
        if crashes < CRASH_SHARE:
            return None
        mine = self.own[strategy] if own < OWN_SHARE else range(CATEGORIES)
        category = mine[place % len(mine)]
        room = self.room[category]
        taken = math.fsum(max(e.size, 0.0) for e in held if e.category == category)
        left = max(room - taken, 0.0)
        part = left / room if room > 0 else 0.0
        chance = min(self.chances[category] * part**self.shape.decay, LARGEST_CHANCE)
        if improves < chance:
            effect = left * min(self.shape.share * size, LARGEST_SHARE)
        elif null < self.shape.null:
            effect = 0.0
        else:
            effect = -self.shape.harm * math.exp(self.shape.harm_spread * deviation)
        return Edit((strategy, number), category, mechanism % MECHANISMS, effect)

    def gain(self, held: Sequence[Edit]) -> float:
        """True gain of a configuration over the baseline."""
        if not self.cup.overlapping:
            return math.fsum(edit.size for edit in held)
        total = math.fsum(min(edit.size, 0.0) for edit in held)
        for mechanism in range(MECHANISMS):
            sizes = sorted(e.size for e in held if e.mechanism == mechanism and e.size > 0)
            if sizes:
                total += sizes[-1] - HARM * math.fsum(sizes[:-1])
        return total

    def lot(self) -> int:
        """A strategy, drawn by lot."""
        return int(np.random.default_rng([*self._key, 4]).integers(0, self.cup.competitors))

    def conflicts(self, edit: Edit, held: Sequence[Edit], recipient: int) -> bool:
        """Whether a patch does not apply there."""
        if not any(other.category == edit.category for other in held):
            return False
        rng = np.random.default_rng([*self._key, 3, recipient, *edit.name])
        return bool(rng.random() < CONFLICT)
