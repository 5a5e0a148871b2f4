"""Windows that are shown only up to the token before the one that is to be predicted.

Fixed file of the task; ``evaluator.py`` imports it and there is nothing to run.

A window that counts holds what is to be predicted, but for its last token: a model that
looks at later tokens gains by it.  Here other windows are *cut*: each is shown up to one of
the scored positions, asked for the next token alone, and shown further only when that
prediction has come back.  No code can look at what was not sent yet, so that whole windows,
predicted better than cut ones, were looked ahead in (``ratchet`` compares the two with
those of the baseline's runs, which holds for what positions and texts differ in).

* Cut windows do not overlap and lie evenly over the split, as whole ones do.
* All of them are asked before any whole window, short ones first: a token that is to be
  predicted stands in nothing that was sent before.  What is sent later may overlap.
* A window is cut at every fourth position, four neighbours at all of them.
* After the cut come BOS tokens, so that a model has few lengths to be ready for, and
  all questions are about equally large.

That a question is recognised as one of these is of no use: there is no later token.

A few cut windows are shown once more, whole, uncounted.  Honest predictions are those
of before, and what looks ahead by mistake is named at once.  Who remembers what it was
asked answers as before; the comparison above is for that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scoring
from channel import Logits, Tokens
from numpy.typing import NDArray
from scoring import WINDOWS_AT_ONCE, Scale, log_softmax

# A window is cut at one of so many scored positions; its neighbours take the others.
STEP = 4
# Lengths with what fills them up, in parts of a window.
FILLED = (8, 4, 2, 1)
# Numbers of cut windows are multiples of this, so that every question is as large as it may be.
UNIT = STEP * WINDOWS_AT_ONCE
# A group has so many windows that there are at least so many groups, if there can be.
GROUPS = 128
# Largest mean change of the log-likelihoods, in nats, when the rest of a window is shown, on
# average and at one position.  On a CPU the same operations give less than a thousandth
# of that; a GPU may round differently where one position is asked for or many.
MEAN_CHANGE, LARGEST_CHANGE = 0.02, 0.5


@dataclass(frozen=True)
class Cut:
    """One question: rows of windows, the scored position (its number), the length sent."""

    rows: NDArray[np.intp]
    number: int
    length: int


class Prefixes:
    """The cut windows of a split, what came back, and those that are shown again."""

    def __init__(
        self, content: Tokens, table: NDArray[np.uint16], scale: Scale, rng: np.random.Generator
    ) -> None:
        length, self.bos = scale.length, len(table) - 1
        last = len(content) - length
        count = min(scale.cut, last // length) // UNIT * UNIT
        if count == 0 or scale.positions % STEP:
            raise ValueError(
                f"RATCHET_EVAL_CUT must be at least {UNIT}, RATCHET_EVAL_POSITIONS a multiple of "
                f"{STEP} and the split have {(UNIT + 1) * length} tokens, found {scale} and "
                f"{len(content)}"
            )
        stride = last // count
        starts = stride // 2 + np.arange(count) * stride
        spans = content[starts[:, None] + np.arange(length)]
        first = np.full((count, 1), self.bos, spans.dtype)
        self.windows = np.concatenate([first, spans[:, :-1]], axis=1).astype("<u2")
        self.positions = scoring.places(scale)
        self.targets = spans[:, self.positions].astype("<u2")
        self.bytes = table[self.targets].astype(np.int64)
        self.losses = np.full(self.targets.shape, np.nan)
        self.questions = list(self._questions())
        again = [self._batches(first, WINDOWS_AT_ONCE) for first in range(STEP)]
        self.repeats = [Repeat(self, batches[rng.integers(len(batches))]) for batches in again]

    def _batches(self, first: int, size: int) -> list[NDArray[np.intp]]:
        rows = np.arange(first, len(self.windows), STEP)
        return [rows[i : i + size] for i in range(0, len(rows), size)]

    def _questions(self) -> Iterator[Cut]:
        length = self.windows.shape[1]
        for number, place in enumerate(self.positions.astype(int)):
            filled = next(n for part in FILLED if (n := -(-length // part)) > place)
            for rows in self._batches(number % STEP, WINDOWS_AT_ONCE * length // filled):
                yield Cut(rows, number, filled)

    def asked(self, cut: Cut) -> tuple[Tokens, Tokens]:
        """Windows and positions of a question."""
        place = self.positions[cut.number]
        windows = np.full((len(cut.rows), cut.length), self.bos, "<u2")
        windows[:, : place + 1] = self.windows[cut.rows, : place + 1]
        return windows, np.full((len(cut.rows), 1), place, "<u2")

    def accept(self, cut: Cut, logits: Logits) -> None:
        """Take the logits of a question."""
        likelihoods = log_softmax(logits)
        found = scoring.losses(likelihoods, self.targets[cut.rows, cut.number, None])
        self.losses[cut.rows, cut.number] = found[:, 0]
        for repeat in self.repeats:
            repeat.remember(cut, logits)

    @property
    def windows_per_group(self) -> int:
        """How many neighbours are summed up, so that texts that go together count once."""
        size = 1
        while size < WINDOWS_AT_ONCE and len(self.windows) >= 2 * size * GROUPS:
            size *= 2
        return size

    def groups(self, bits_per_nat: float) -> list[float]:
        """Mean of each group of neighbours, in the metric's unit."""
        found = counted(self.losses, self.bytes, self.bos + 1) * bits_per_nat
        means = np.nanmean(found, axis=1).reshape(-1, self.windows_per_group).mean(axis=1)
        return [round(float(mean), 6) for mean in means]

    def checks(self) -> dict[str, float]:
        """How far predictions changed when the rest of the windows was shown, in nats."""
        changes = np.concatenate([repeat.changes() for repeat in self.repeats])
        return {"mean_change": float(changes.mean()), "largest_change": float(changes.max())}


class Repeat:
    """Some cut windows that are shown whole afterwards, asked at the later half of the cuts.

    There both questions have one shape, so that their numbers are rounded alike.
    """

    def __init__(self, of: Prefixes, rows: NDArray[np.intp]) -> None:
        self.rows, self.windows = rows, of.windows[rows]
        first, length = int(rows[0]) % STEP, of.windows.shape[1]
        numbers = np.arange(first, len(of.positions), STEP)
        self.numbers = numbers[of.positions[numbers] >= -(-length // 2)]
        self.positions = np.tile(of.positions[self.numbers], (len(rows), 1))
        self._before: dict[int, Logits] = {}
        self._after: Logits | None = None

    def remember(self, cut: Cut, logits: Logits) -> None:
        """Take the logits of a question, if it is one of these."""
        if cut.number in self.numbers and np.array_equal(cut.rows, self.rows):
            self._before[cut.number] = logits.copy()

    def accept(self, logits: Logits) -> None:
        """Take the logits of the whole windows."""
        self._after = logits.copy()

    def changes(self) -> NDArray[np.float32]:
        """Mean change of all log-likelihoods at each position, weighted by likelihood."""
        assert self._after is not None
        before = np.concatenate([self._before[number] for number in self.numbers], axis=1)
        a, b = log_softmax(before), log_softmax(self._after)
        found: NDArray[np.float32] = (np.exp(a) * np.abs(a - b)).sum(axis=-1).ravel()
        return found


def counted(
    losses: NDArray[np.float64], target_bytes: NDArray[np.int64], vocab: int
) -> NDArray[np.float64]:
    """Nats as they are compared: none for a target without bytes, at most twice even odds.

    Without a bound one spoilt prediction could hide a leak among much noise.
    """
    return np.where(target_bytes > 0, np.minimum(losses, 2.0 * np.log(vocab)), 0.0)
