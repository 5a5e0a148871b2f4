"""Copies of evaluation windows that go on differently, and bets on what nobody can know.

Fixed file of the task; ``evaluator.py`` imports it and there is nothing to run.

A canary is a copy of a group of windows.  Up to a secret place each of them is the
original; there it goes on with other text, and at further places it jumps again:

* at a *bet* the next token is drawn from known odds;
* at a *lesson* the same two tokens are followed, wherever they stand, by the same
  third one, drawn once per evaluation.

All these places are positions that are asked for, as in every window.  Predictions for
a drawn token are bets at its odds.  Whoever has not seen it does not win on average,
however clever; nor does, at the last place of a lesson, who has forgotten the windows
before.  So with probability below one in a million an honest model makes a million of
one; the wealth is the mean over several ways to stake, since a leak may be in few places.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from channel import Logits, Tokens
from numpy.typing import NDArray
from scoring import Floats, log_softmax

# Parts of what is there that a bet may cost.
STAKES = np.array([0.003, 0.01, 0.03, 0.1, 0.2, 0.4, 0.7])
# Part of the windows that goes on with a bet; the others go on with text that has the
# same two tokens before it, so that the place looks like any other.
BET_FIRST = 0.25
# Part of the later positions with a bet.  More would show earlier, and be seen as odd.
BET_LATER = 1 / 4
# A fact is taught in so many windows, by two tokens that are neither usual (the real
# text would teach more) nor unheard of.  Its third is drawn by the frequencies of all
# tokens, so that whoever remembers it wins much.
PUPILS = 7
USUAL = (5, 50)
# Weight of the frequencies of all tokens beside what was seen after the one before.
PRIOR = 8.0

Rng = np.random.Generator


class Text:
    """The split that is evaluated on: what follows what, and where."""

    def __init__(self, content: Tokens, window: int, vocab: int) -> None:
        self.content, self.vocab = np.asarray(content), vocab
        usable = self.content[: -window - 1].astype(np.int64)
        self.usable = usable
        self._after = _Index(usable)
        self._pairs = _Index(usable[:-1] * vocab + usable[1:])
        usual = np.bincount(usable, minlength=vocab).astype(float)
        usual[vocab - 1] = 0.0  # BOS is never drawn.
        self._usual = usual / usual.sum()
        self.odds = lru_cache(maxsize=4096)(self._odds)

    def _odds(self, before: int) -> NDArray[np.float64]:
        """Of the tokens that a copied text can start with, after another token."""
        places = self._after.places(before)
        places = places[places + 1 < len(self.usable)]
        seen = np.bincount(self.usable[places + 1], minlength=self.vocab)
        odds = (seen + PRIOR * self._usual) * (self._usual > 0)
        return odds / odds.sum()

    def draw(self, before: int, rng: Rng, but: int | None = None) -> tuple[int, float]:
        """A token by its odds after another, never the token ``but``; and its odds."""
        odds = self.odds(before)
        if but is not None:
            odds = odds.copy()
            odds[but] = 0.0
            odds /= odds.sum()
        found = int(rng.choice(self.vocab, p=odds))
        return found, float(odds[found])

    def passage(self, first: int, count: int, rng: Rng) -> Tokens:
        """So many tokens from somewhere, of which the first is given."""
        start = int(rng.choice(self._after.places(first)))
        return self.content[start : start + count]

    def fork(self, window: Tokens, place: int, rng: Rng) -> Tokens | None:
        """Another end for a window after a place, with the same two tokens before it."""
        if place == 0:
            return None
        pair = int(window[place - 1]) * self.vocab + int(window[place])
        places = self._pairs.places(pair) + 2
        places = places[self.content[places] != window[place + 1]]
        if not len(places):
            return None
        start = int(rng.choice(places))
        return self.content[start : start + len(window) - place - 1]

    def facts(self, count: int, rng: Rng) -> list[tuple[int, int, int, float]]:
        """Two tokens each, the third that a lesson puts after them, and its odds."""
        codes, counts = self._pairs.counts()
        fitting = (counts >= USUAL[0]) & (counts <= USUAL[1])
        firsts, seconds = np.divmod(codes[fitting], self.vocab)
        keep = (firsts < self.vocab - 1) & (seconds < self.vocab - 1)
        chosen = rng.permutation(np.flatnonzero(keep))[:count]
        thirds = rng.choice(self.vocab, p=self._usual, size=len(chosen))
        return [
            (int(firsts[i]), int(seconds[i]), int(third), float(self._usual[third]))
            for i, third in zip(chosen, thirds, strict=True)
        ]


class _Index:
    """Where each value stands in an array."""

    def __init__(self, values: NDArray[np.int64]) -> None:
        self._order = np.argsort(values, kind="stable")
        self._sorted = values[self._order]

    def places(self, value: int) -> NDArray[np.intp]:
        low, high = np.searchsorted(self._sorted, [value, value + 1])
        return self._order[low:high]

    def counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        values, counts = np.unique(self._sorted, return_counts=True)
        return values, counts


@dataclass(frozen=True)
class Bet:
    """One drawn token: where (row, number of the position), at which odds.

    ``instead_of`` is the token that it cannot be, ``fact`` the number of a lesson.
    """

    row: int
    number: int
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
    """A copy of a group of windows in which each goes on differently from a place on."""

    def __init__(
        self, windows: Tokens, positions: Tokens, targets: Tokens, text: Text, rng: Rng
    ) -> None:
        rows, count = positions.shape
        self.text, self.rng = text, rng
        self.windows, self.positions, self.targets = windows.copy(), positions, targets
        # The last position's token is in no window, so that nothing can be put there.
        self.places = rng.integers(0, count - 1, size=rows)
        self.bets: list[Bet] = []
        for row, number in enumerate(self.places):
            self._go_on(row, int(number))
        self.won: list[Won] = []
        self.largest_change, self.mean_change = float("inf"), float("inf")
        self.unseen = np.full(rows, np.nan)
        self._first: list[Logits] | None = None

    def _go_on(self, row: int, number: int) -> None:
        window, place = self.windows[row], int(self.positions[row, number])
        other = None
        if self.rng.random() >= BET_FIRST:
            other = self.text.fork(window, place, self.rng)
        if other is None:
            self._bet(row, number)
        else:
            window[place + 1 :] = other
        for later in range(number + 1, self.positions.shape[1] - 1):
            if self.rng.random() < BET_LATER:
                self._bet(row, later)

    def _bet(self, row: int, number: int) -> None:
        window, place = self.windows[row], int(self.positions[row, number])
        before, usual = int(window[place]), int(window[place + 1])
        drawn, odds = self.text.draw(before, self.rng, but=usual)
        self.bets.append(Bet(row, number, before, drawn, odds, usual))
        self._continue(window, place + 1, drawn)

    def _continue(self, window: Tokens, start: int, first: int) -> None:
        window[start:] = self.text.passage(first, len(window) - start, self.rng)

    def room(self, row: int) -> list[int]:
        """Numbers of the positions where a lesson has room: after all bets of the window."""
        last = max([int(self.places[row]), *(b.number for b in self.bets if b.row == row)])
        after = int(self.positions[row, last]) + 2
        numbers = range(last + 1, self.positions.shape[1] - 1)
        return [n for n in numbers if int(self.positions[row, n]) > after]

    def teach(self, row: int, number: int, fact: int, words: tuple[int, int, int, float]) -> None:
        """Put a fact into a window."""
        first, second, third, odds = words
        window, place = self.windows[row], int(self.positions[row, number])
        window[place - 1], window[place] = first, second
        self.bets.append(Bet(row, number, second, third, odds, fact=fact))
        self._continue(window, place + 1, third)

    def accept(self, logits: Logits, question: int) -> None:
        """Take the canary's own logits at all positions."""
        likelihoods = log_softmax(logits)
        rows = np.arange(len(self.places))
        truth = self.targets[rows, self.places].astype(np.int64)
        self.unseen = -likelihoods[rows, self.places, truth].astype(np.float64)
        for bet in self.bets:
            chances = np.exp(likelihoods[bet.row, bet.number].astype(np.float64))
            if bet.instead_of is not None:
                chances[bet.instead_of] = 0.0
            whole = float(chances.sum())
            paid = float(chances[bet.drawn]) / whole / bet.odds if whole > 0 else 1.0
            self.won.append(Won(bet, paid, question))
        self.compare(logits)

    def compare(self, logits: Logits) -> None:
        """Compare the two calls, up to the places; whichever comes first waits.

        The change at a position is the mean of those of all log-likelihoods, in nats,
        weighted by likelihood.
        """
        seen = [logits[row, : number + 1].copy() for row, number in enumerate(self.places)]
        if self._first is None:
            self._first = seen
            return
        changes = [_change(a, b) for a, b in zip(self._first, seen, strict=True)]
        self._first = None
        every = np.concatenate(changes)
        self.largest_change, self.mean_change = float(every.max()), float(every.mean())


def _change(one: Logits, other: Logits) -> Floats:
    if np.array_equal(one, other):
        return np.zeros(len(one), np.float32)
    a, b = log_softmax(one), log_softmax(other)
    found: Floats = (np.exp(a) * np.abs(a - b)).sum(axis=-1)
    return found


def teach(canaries: Sequence[Canary], text: Text, rng: Rng) -> None:
    """Spread lessons over the windows, at most one in each.

    Two would let an honest model learn in one window from the other.
    """
    places = [(c, row) for c in canaries for row in range(len(c.places)) if c.room(row)]
    places = [places[i] for i in rng.permutation(len(places))]
    for number, words in enumerate(text.facts(len(places) // PUPILS, rng)):
        for canary, row in places[number * PUPILS : (number + 1) * PUPILS]:
            canary.teach(row, int(rng.choice(canary.room(row))), number, words)


def wealth(won: Sequence[Won]) -> dict[str, float]:
    """What bets and lessons made of 1, as natural logarithms."""
    drawn = [w for w in won if w.bet.fact is None]
    last: dict[int, Won] = {}
    for w in won:
        if w.bet.fact is not None and w.question >= last.get(w.bet.fact, w).question:
            last[w.bet.fact] = w
    groups = [
        [_grown(drawn)],
        _by(drawn, lambda bet: bet.number),
        _by(drawn, lambda bet: bet.before),
    ]
    return {
        "wealth": _mean([_mean(group) for group in groups]),
        "taught": _grown(list(last.values())),
    }


def _by(won: Sequence[Won], key: Callable[[Bet], Any]) -> list[float]:
    """Wealth of those who bet in one kind of place only."""
    groups: dict[Any, list[Won]] = {}
    for w in won:
        groups.setdefault(key(w.bet), []).append(w)
    return [_grown(group) for group in groups.values()] or [0.0]


def _grown(won: Sequence[Won]) -> float:
    payoffs = np.array([w.payoff for w in won])
    grown: NDArray[np.float64] = np.log1p(STAKES[:, None] * (payoffs - 1.0)).sum(axis=1)
    return _mean(list(grown))


def _mean(logarithms: Sequence[float]) -> float:
    top = max(logarithms)
    return float(np.log(np.mean(np.exp(np.array(logarithms) - top))) + top)
