"""Copies of evaluation windows that go on differently, and bets on what nobody can know.

Fixed file of the task; ``evaluator.py`` imports it and there is nothing to run.

A canary is a copy of one batch.  Up to a secret place each of its windows is the
original; there it goes on with other text, and at further places it jumps again:

* at a *bet* the next byte is drawn from known odds;
* at a *lesson* the same two bytes are followed, wherever they stand, by the same
  third one, drawn once per evaluation.

Predictions for a drawn byte are bets at its odds.  Whoever has not seen the byte
does not win on average, however clever; nor does, at the last place of a lesson,
who has forgotten the windows before.  So with probability below one in a million
an honest model makes a million of one; the wealth is the mean over several ways
to stake, since a leak may be in few places.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from channel import VOCAB_SIZE, Bytes
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Parts of what is there that a bet may cost.
STAKES = np.array([0.003, 0.01, 0.03, 0.1, 0.2, 0.4, 0.7])
# Part of the windows that goes on with a bet; the others go on with text that has the
# same two bytes before it, so that the place looks like any other.
BET_FIRST = 0.25
# Part of the later places with a bet.  More would show earlier, and be seen as odd.
BET_LATER = 1 / 12
# So many facts, each taught in so many windows, of two bytes that are neither usual
# (the real text would teach more) nor unheard of.  Every third window has no room.
LESSONS, PUPILS = 32, 11
USUAL = (20, 200)
# Bytes that a lesson takes: the two and the third.
LESSON_BYTES = 3


class Text:
    """The file that is evaluated on: what follows what, and where."""

    def __init__(self, content: Bytes, window: int) -> None:
        self.content = content
        usable = content[: -window - 1]
        self._after = _Index(usable)
        self.pairs = usable[:-1].astype(np.int64) * VOCAB_SIZE + usable[1:]
        self._pairs = _Index(self.pairs)
        usual = np.bincount(usable, minlength=VOCAB_SIZE) / len(content)
        counts = np.bincount(self.pairs, minlength=VOCAB_SIZE**2)
        odds = (counts.reshape(VOCAB_SIZE, VOCAB_SIZE) + 8.0 * usual) * (usual > 0)
        # Of bytes that a copied text can start with, after every other.
        self.odds: Floats = odds / odds.sum(axis=1, keepdims=True)
        self._cumulative = np.cumsum(self.odds, axis=1)

    def draw(self, before: int, rng: np.random.Generator, but: int | None = None) -> int:
        """A byte by its odds after another; never the byte ``but``."""
        row = self._cumulative[before]
        while True:
            found = int(np.searchsorted(row, rng.random() * row[-1], side="right"))
            if found != but:
                return found

    def passage(self, first: int, count: int, rng: np.random.Generator) -> Bytes:
        """So many bytes from somewhere, of which the first is given."""
        start = int(rng.choice(self._after.places(first)))
        return self.content[start : start + count]

    def fork(self, window: Bytes, place: int, rng: np.random.Generator) -> Bytes | None:
        """Another end for a window after a place, with the same two bytes before it."""
        pair = int(window[place - 1]) * VOCAB_SIZE + int(window[place])
        places = self._pairs.places(pair) + 2
        places = places[self.content[places] != window[place + 1]]
        if place == 0 or not len(places):
            return None
        start = int(rng.choice(places))
        return self.content[start : start + len(window) - place - 1]

    def facts(self, rng: np.random.Generator) -> list[tuple[int, int, int]]:
        """Two bytes each, and the third that a lesson puts after them."""
        counts = np.bincount(self.pairs, minlength=VOCAB_SIZE**2)
        some = np.flatnonzero((counts >= USUAL[0]) & (counts <= USUAL[1]))
        chosen = rng.permutation(some)[:LESSONS]
        return [
            (int(a), int(b), self.draw(int(b), rng))
            for a, b in zip(*np.divmod(chosen, VOCAB_SIZE), strict=True)
        ]


class _Index:
    """Where each value stands in an array."""

    def __init__(self, values: NDArray[np.integer]) -> None:
        self._order = np.argsort(values, kind="stable")
        self._sorted = values[self._order]

    def places(self, value: int) -> NDArray[np.intp]:
        low, high = np.searchsorted(self._sorted, [value, value + 1])
        return self._order[low:high]


@dataclass(frozen=True)
class Bet:
    """One drawn byte: where, at which odds; ``fact`` is the number of a lesson."""

    row: int
    position: int
    before: int
    drawn: int
    odds: float
    instead_of: int | None = None
    fact: int | None = None


@dataclass(frozen=True)
class Won:
    """A bet with what it paid per unit; 1 is its stake."""

    bet: Bet
    payoff: float
    question: int


class Canary:
    """A copy of one batch in which each window goes on differently from a place on."""

    def __init__(self, inputs: Bytes, targets: Bytes, text: Text, rng: np.random.Generator) -> None:
        rows, length = inputs.shape
        self.text, self.rng = text, rng
        self.places = rng.integers(0, length - 1, size=rows)
        self.inputs, self.targets = inputs.copy(), targets
        self.bets: list[Bet] = []
        for row, place in enumerate(self.places):
            self._go_on(row, int(place))
        self.won: list[Won] = []
        self.change = float("inf")
        self.unseen = np.full(rows, np.nan)
        self._first: Floats | None = None

    def _go_on(self, row: int, place: int) -> None:
        window = self.inputs[row]
        other = None
        if self.rng.random() >= BET_FIRST:
            other = self.text.fork(window, place, self.rng)
        if other is None:
            self._bet(row, place)
        else:
            window[place + 1 :] = other
        for later in range(place + 1, len(window) - 1):
            if self.rng.random() < BET_LATER:
                self._bet(row, later)

    def _bet(self, row: int, place: int) -> None:
        window = self.inputs[row]
        before, usual = int(window[place]), int(window[place + 1])
        drawn = self.text.draw(before, self.rng, but=usual)
        odds = self.text.odds[before]
        self.bets.append(
            Bet(row, place, before, drawn, float(odds[drawn] / (1 - odds[usual])), usual)
        )
        self._continue(window, place + 1, drawn)

    def _continue(self, window: Bytes, start: int, first: int) -> None:
        window[start:] = self.text.passage(first, len(window) - start, self.rng)

    def room(self, row: int) -> range:
        """Where a lesson may start: after all bets of the window."""
        last = max([int(self.places[row]), *(b.position for b in self.bets if b.row == row)])
        return range(last + 2, self.inputs.shape[1] - LESSON_BYTES)

    def teach(self, row: int, start: int, number: int, fact: tuple[int, int, int]) -> None:
        """Put a fact into a window."""
        first, second, third = fact
        window = self.inputs[row]
        window[start : start + 2] = first, second
        odds = float(self.text.odds[second, third])
        self.bets.append(Bet(row, start + 1, second, third, odds, fact=number))
        self._continue(window, start + 2, third)

    def accept(self, likelihoods: Floats, question: int) -> None:
        """Take the canary's own log-likelihoods of all bytes."""
        rows = np.arange(len(self.places))
        self.unseen = -likelihoods[rows, self.places, self.targets[rows, self.places]]
        for bet in self.bets:
            chances = np.exp(likelihoods[bet.row, bet.position])
            if bet.instead_of is not None:
                chances[bet.instead_of] = 0.0
            whole = float(chances.sum())
            paid = float(chances[bet.drawn]) / whole / bet.odds if whole > 0 else 1.0
            self.won.append(Won(bet, paid, question))
        self.compare(likelihoods)

    def compare(self, likelihoods: Floats) -> None:
        """Compare the two calls, up to the places; whichever comes first waits."""
        if self._first is None:
            self._first = likelihoods
            return
        positions = np.arange(likelihoods.shape[1])
        seen = positions[None, :] <= self.places[:, None]
        self.change = float(np.abs(likelihoods - self._first)[seen].max())
        self._first = None


def teach(canaries: Sequence[Canary], text: Text, rng: np.random.Generator) -> None:
    """Spread the lessons over the windows, at most one in each.

    Two would let an honest model learn in one window from the other.
    """
    places = [(c, row) for c in canaries for row in range(len(c.places)) if len(c.room(row))]
    places = [places[i] for i in rng.permutation(len(places))]
    for number, fact in enumerate(text.facts(rng)):
        for canary, row in places[number * PUPILS : (number + 1) * PUPILS]:
            canary.teach(row, int(rng.choice(canary.room(row))), number, fact)


def wealth(won: Sequence[Won]) -> dict[str, float]:
    """What bets and lessons made of 1, as natural logarithms."""
    drawn = [w for w in won if w.bet.fact is None]
    last: dict[int, Won] = {}
    for w in won:
        if w.bet.fact is not None and w.question >= last.get(w.bet.fact, w).question:
            last[w.bet.fact] = w
    groups = [
        [_grown(drawn)],
        _by(drawn, lambda bet: bet.position),
        _by(drawn, lambda bet: bet.before),
    ]
    return {
        "wealth": _mean([_mean(group) for group in groups]),
        "taught": _grown(list(last.values())),
    }


def _by(won: Sequence[Won], key: Callable[[Bet], int]) -> list[float]:
    """Wealth of those who bet in one kind of place only."""
    groups: dict[int, list[Won]] = {}
    for w in won:
        groups.setdefault(key(w.bet), []).append(w)
    return [_grown(group) for group in groups.values()] or [0.0]


def _grown(won: Sequence[Won]) -> float:
    payoffs = np.array([w.payoff for w in won])
    grown: Floats = np.log1p(STAKES[:, None] * (payoffs - 1.0)).sum(axis=1)
    return _mean(list(grown))


def _mean(logarithms: Sequence[float]) -> float:
    top = max(logarithms)
    return float(np.log(np.mean(np.exp(np.array(logarithms) - top))) + top)
