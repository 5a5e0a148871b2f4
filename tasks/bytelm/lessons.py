"""Made-up facts, taught in windows that do not count.

Fixed file of the task; ``evaluator.py`` imports it and there is nothing to run.

A prediction may use the bytes before it in its own window.  A model that learns from
the other windows too is measured on more than it was trained on.  So each group of
windows has further rows that look like them.  A *fact* is a place between the windows
where the text goes on with bytes that were drawn for this evaluation.  It stands in
several rows, one fact in each, so that whoever has seen one row can know the next one.
Rows of one fact begin alike, or agree in the few bytes before the drawn ones.  Some rows
are of the text as it is, and come again unchanged: for a model that learns slowly, and
more from the text than from what was drawn.

* Some facts stand in one group, for a model that forgets with each.  Predictions of
  the drawn bytes are bets at the odds that they were drawn at.  Whoever has forgotten
  the other rows does not win on average, however clever: given all bytes before, the
  expected payoff is the sum of the predicted probabilities, at most 1.
* Others stand in several groups, and the rows that come again in all, in rows that are
  drawn alike for each.  Whoever has forgotten the other rows predicts the later ones no better than
  the earlier ones: any order of the rows could have been theirs.  So the weight of their
  own order among all, exp(s T) / mean exp(s T) for the trend T of the log-likelihoods of
  what is to be known, is 1 on average; the mean is over that order and others that are
  drawn.

Both are e-values: products of them over facts, and means over several ways to stake,
are 1 on average at most, and above a million with probability one in a million at most
(Markov's inequality; Vovk and Wang, "E-values", Annals of Statistics 49, 2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from channel import VOCAB_SIZE, Bytes
from numpy.typing import NDArray

from prepare import SEQUENCE_LENGTH, evaluation_starts

Floats = NDArray[np.float64]

# Rows of a group that do not count, beside 64 that do: those about its own fact, those
# about facts that stand in so many groups, and those that come again in all.
OWN, SHARED, AGAIN = 8, 12, 4
TIMES = 4
# Of the shared facts one in so many has rows that begin alike: those that come again do, too.
ALIKE = 4
ROWS = OWN + SHARED + AGAIN
# Orders that the rows' own is compared with.
ORDERS = 2000
# Bytes that are drawn for a fact, and bytes before them in a row: no model has to compare
# more to find a text again.  Rows of every other fact agree in the last few of these only,
# and begin differently, as the places do where the text has these few: for a model that
# takes what agrees in more for a lesson.
DRAWN = 8
AGREE, FEWEST, USUAL = (3, 4, 5, 6), 8, 100
LEAST, MOST = 24, SEQUENCE_LENGTH - DRAWN
# The odds look so far back.
CONTEXT = 3
# Bits that the first drawn byte is worth at least: nobody wins by knowing the obvious.
UNCERTAIN = 2.0
# Parts of what is there that a bet may cost; how much a nat weighs, as who learns slowly is
# better by hundredths of one from row to row; and in which part of the drawn bytes, as who takes
# what agrees in many for a lesson looks away in the last ones.
STAKES = np.array([0.003, 0.01, 0.03, 0.1, 0.2, 0.4, 0.7])
SCALES = np.array([0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0])
SPANS = (4, 2, 1)


class Text:
    """The part of a file that is in no window, and what follows what there."""

    def __init__(self, content: Bytes) -> None:
        self.content = content
        taken = np.zeros(len(content) + 1, dtype=bool)
        spans = evaluation_starts(len(content))[:, None] + np.arange(SEQUENCE_LENGTH + 1)
        taken[spans], taken[-1] = True, True
        ends = np.flatnonzero(taken)
        places = np.arange(len(content))
        # Free bytes from each place on.
        self.room = ends[np.searchsorted(ends, places)] - places
        # Places by the bytes before them, the nearest first.
        known = places[CONTEXT:][self.room[CONTEXT:] > 0]
        codes = np.zeros(len(known), dtype=np.int64)
        for back in range(1, CONTEXT + 1):
            codes = codes * VOCAB_SIZE + content[known - back]
        order = np.argsort(codes)
        self._codes, self._places = codes[order], known[order]
        # Odds after some bytes, as far as they were asked for; after none, how usual each is.
        self._odds = {(): np.bincount(content, minlength=VOCAB_SIZE) / len(content)}
        # Places with MOST free bytes from there on.
        self.starts = np.flatnonzero(self.room >= MOST)

    def after(self, before: Sequence[int]) -> NDArray[np.int64]:
        """Free places that follow some bytes, CONTEXT of them at most."""
        low = 0
        for byte in reversed(before):
            low = low * VOCAB_SIZE + int(byte)
        unit = VOCAB_SIZE ** (CONTEXT - len(before))
        span = np.searchsorted(self._codes, [low * unit, (low + 1) * unit])
        return self._places[slice(*span)]

    def agreeing(self, end: int, count: int) -> NDArray[np.int64]:
        """Places with MOST free bytes before them, of which the last ones are those of another."""
        ends = self.after(self.content[end - CONTEXT : end].tolist())
        ends = ends[ends >= MOST]
        ends = ends[self.room[ends - MOST] > MOST]
        for back in range(CONTEXT + 1, count + 1):
            ends = ends[self.content[ends - back] == self.content[end - back]]
        return ends

    def odds(self, before: Sequence[int]) -> Floats:
        """Odds of the byte after others: counts, with fewer bytes before it for what is rare."""
        odds = self._counted(tuple(before[-CONTEXT:]))
        return odds / odds.sum()

    def _counted(self, before: tuple[int, ...]) -> Floats:
        if before not in self._odds:
            odds, places = self._counted(before[1:]), self.after(before)
            counts = np.bincount(self.content[places], minlength=VOCAB_SIZE)
            kinds = np.count_nonzero(counts)
            if kinds:  # Witten and Bell (1991): as many unseen bytes as there are kinds.
                odds = (counts + kinds * odds) / (len(places) + kinds)
            self._odds[before] = odds
        return self._odds[before]

    def passage(self, before: Sequence[int], count: int, rng: np.random.Generator) -> list[int]:
        """So many free bytes, from a place where others like those before precede them."""
        for length in range(CONTEXT, -1, -1):
            starts = self.after(before[len(before) - length :])
            starts = starts[self.room[starts] >= count]
            if len(starts):
                break
        start = int(rng.choice(starts))
        return [int(byte) for byte in self.content[start : start + count]]


@dataclass
class Fact:
    """Bytes that were drawn to follow a place between the windows, at which odds.

    ``ends`` are the places that its rows take their beginnings from: one for all, or
    different ones that agree in their last bytes alone.  ``likelihoods`` are those of
    the drawn bytes, in nats, row by row in the order in which the rows are asked.
    """

    ends: NDArray[np.int64]
    drawn: list[int] = field(default_factory=list)
    odds: list[float] = field(default_factory=list)
    likelihoods: list[list[float]] = field(default_factory=list)

    @classmethod
    def draw(cls, text: Text, alike: bool, rng: np.random.Generator) -> Fact:
        """A fact after places where several bytes may follow."""
        while True:
            end = int(rng.choice(text.starts)) + MOST
            ends = np.array([end])
            if not alike:
                ends = rng.permutation(text.agreeing(end, int(rng.choice(AGREE))))
            odds = text.odds(text.content[end - CONTEXT : end].tolist())
            possible = odds[odds > 0]
            uncertain = -float((possible * np.log2(possible)).sum())
            if uncertain >= UNCERTAIN and (alike or FEWEST <= len(ends) <= USUAL):
                break
        fact = cls(ends)
        line = text.content[end - CONTEXT : end].tolist()
        for _ in range(DRAWN):
            odds = text.odds(line)
            line.append(int(rng.choice(VOCAB_SIZE, p=odds)))
            fact.odds.append(float(odds[line[-1]]))
        fact.drawn = line[CONTEXT:]
        return fact

    @classmethod
    def row(cls, text: Text, rng: np.random.Generator) -> Fact:
        """A row of the text, all of which but its first byte is to be known."""
        start = int(rng.choice(np.flatnonzero(text.room > SEQUENCE_LENGTH)))
        return cls(np.array([start + 1]), text.content[start + 1 :][:SEQUENCE_LENGTH].tolist())

    def lesson(self, text: Text, position: int, rng: np.random.Generator) -> Lesson:
        """The next row of this fact: the drawn bytes start at a position, others follow them."""
        end = int(self.ends[len(self.likelihoods) % len(self.ends)])
        line = text.content[end - position : end].tolist() + self.drawn
        line += text.passage(line, SEQUENCE_LENGTH + 1 - len(line), rng)
        self.likelihoods.append([])
        return Lesson(self, position, line, self.likelihoods[-1])

    @property
    def payoffs(self) -> Floats:
        """What a stake of 1 on each drawn byte pays, as the mean over the rows."""
        paid: Floats = np.exp(np.array(self.likelihoods)).mean(axis=0) / np.array(self.odds)
        return paid

    def trends(self, orders: NDArray[np.int64]) -> Floats:
        """Weight of the rows' own order among it and these: logarithms by span and scale.

        It is large where the later rows were predicted better.
        """
        ends = [len(self.drawn) // span - 1 for span in SPANS]
        sums = np.array(self.likelihoods).cumsum(axis=1)[:, ends]
        places = np.linspace(-1.0, 1.0, len(sums)) * 2.0 / len(sums)
        every = np.vstack([np.arange(len(sums)), orders])
        slopes = np.einsum("r,ors->so", places, sums[every])
        weights = (SCALES[:, None, None] * slopes).reshape(-1, len(every))
        own: Floats = weights[:, 0] - _mean(weights)
        return own


@dataclass(frozen=True)
class Lesson:
    """One row of a group: its fact, where the drawn bytes start, how they were predicted."""

    fact: Fact
    position: int
    line: list[int]
    likelihoods: list[float]


class Lessons:
    """Facts of one evaluation and their rows, (groups, ROWS, SEQUENCE_LENGTH + 1)."""

    def __init__(self, content: Bytes, groups: int, rng: np.random.Generator) -> None:
        text = Text(content)
        self.own: list[Fact] = []
        self.shared: list[Fact] = []
        self.lessons: list[list[Lesson]] = [[] for _ in range(groups)]
        for group, lessons in enumerate(self.lessons):
            self.own.append(Fact.draw(text, group % 2 == 0, rng))
            # Rows that are asked side by side teach each other nothing at one position.
            for position in rng.permutation(np.arange(LEAST, MOST + 1))[:OWN]:
                lessons.append(self.own[-1].lesson(text, int(position), rng))
        for _ in range(SHARED):
            for some in rng.permutation(groups).reshape(-1, TIMES):
                self.shared.append(Fact.draw(text, len(self.shared) % ALIKE == 0, rng))
                for group in sorted(some):
                    position = int(rng.integers(LEAST, MOST + 1))
                    self.lessons[group].append(self.shared[-1].lesson(text, position, rng))
        self.again = [Fact.row(text, rng) for _ in range(AGAIN)]
        for lessons in self.lessons:
            lessons += [fact.lesson(text, 1, rng) for fact in self.again]
        # Each fact has orders of its own: what they do by chance is not to add up.
        self.orders = [
            rng.permuted(np.tile(np.arange(len(fact.likelihoods)), (ORDERS, 1)), axis=1)
            for fact in (*self.shared, *self.again)
        ]
        self.rows: Bytes = np.array(
            [[lesson.line for lesson in lessons] for lessons in self.lessons], dtype=np.uint8
        )

    def accept(self, group: int, position: int, logits: NDArray[np.float32]) -> None:
        """Take the logits (ROWS, 256) for the bytes after a position of a group's rows."""
        for lesson, scores in zip(self.lessons[group], logits, strict=True):
            number = position + 1 - lesson.position
            if 0 <= number < len(lesson.fact.drawn):
                exact = scores.astype(np.float64)
                exact -= exact.max()
                likelihood = exact[lesson.fact.drawn[number]] - np.log(np.exp(exact).sum())
                lesson.likelihoods.append(float(likelihood))

    @property
    def wealth(self) -> float:
        """The evidence that rows were remembered: what became of 1, as a natural logarithm."""
        own = _grown(np.concatenate([fact.payoffs for fact in self.own]))
        paid = _grown(np.concatenate([fact.payoffs for fact in self.shared]))
        facts = zip((*self.shared, *self.again), self.orders, strict=True)
        trends = np.array([fact.trends(orders) for fact, orders in facts])
        made, again = trends[: len(self.shared)], trends[len(self.shared) :]
        alike = np.arange(len(made)) % ALIKE == 0
        each = (_mean(some.sum(axis=0)) for some in (made, made[alike], made[~alike], again))
        every, begun, unlike, repeated = each
        both = own + every, every + repeated
        return float(_mean(np.array([own, paid, every, begun, unlike, repeated, *both])))


def _grown(payoffs: Floats) -> Any:
    """What bets that pay so much made of 1, as the mean over the stakes."""
    return _mean(np.log1p(STAKES[:, None] * (payoffs - 1.0)).sum(axis=1))


def _mean(logarithms: Floats) -> Any:
    """Logarithm of the mean over the last axis of numbers whose logarithms are given."""
    top = logarithms.max(axis=-1, keepdims=True)
    return np.log(np.exp(logarithms - top).mean(axis=-1)) + top.squeeze(-1)
