"""Documents packed into rows without padding; every piece of one begins with BOS.

Fixed file of the task, NumPy alone; ``train.py`` imports it by way of ``runtime.py``.
A row takes the longest waiting piece that fits, again and again; where none fits, the
shortest is cut and its rest waits as a piece of its own, so that no token is lost.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterator
from typing import Any

import numpy as np
from channel import Tokens
from numpy.typing import NDArray

# Pieces that wait to be packed: with more, fewer are cut and each row takes longer.
WAITING = 512
# Tokens that are looked at together for the beginnings of documents.
CHUNK = 1 << 26


def document_spans(tokens: Tokens, bos: int) -> NDArray[np.int64]:
    """First and last place (exclusive) of each document (N, 2), BOS left out."""
    found = [
        np.flatnonzero(np.asarray(tokens[start : start + CHUNK]) == bos) + start
        for start in range(0, len(tokens), CHUNK)
    ]
    begins = np.concatenate([np.zeros(0, np.int64), *found]) + 1
    spans = np.stack([begins, np.append(begins[1:] - 1, len(tokens))[: len(begins)]], axis=1)
    return spans[spans[:, 1] > spans[:, 0]]


class Packer:
    """Endless packed rows of ``row`` tokens; a new order of documents in each epoch."""

    def __init__(self, tokens: Tokens, bos: int, row: int, rng: np.random.Generator) -> None:
        self.tokens, self.bos, self.row, self.rng = tokens, bos, row, rng
        self.spans = document_spans(tokens, bos)
        if not len(self.spans):
            raise ValueError("the training split has no document")
        self.epoch = 0
        self._waiting: list[tuple[int, int]] = []  # (tokens, first place), sorted
        self._pieces = self._cut()

    def _cut(self) -> Iterator[tuple[int, int]]:
        """The documents of all epochs, in pieces that fit into an empty row."""
        most = self.row - 1
        while True:
            self.epoch += 1
            for document in self.rng.permutation(len(self.spans)):
                begin, end = self.spans[document].tolist()
                for start in range(begin, end, most):
                    yield min(most, end - start), start

    def _refill(self) -> None:
        while len(self._waiting) < WAITING:
            insort(self._waiting, next(self._pieces))

    def fill(self, out: NDArray[Any]) -> None:
        """Write one row into ``out``."""
        place = 0
        while place < self.row:
            self._refill()
            out[place] = self.bos
            room = self.row - place - 1
            if room == 0:
                return
            fits = bisect_right(self._waiting, (room, len(self.tokens))) - 1
            length, start = self._waiting.pop(max(fits, 0))
            if length > room:
                insort(self._waiting, (length - room, start + room))
                length = room
            out[place + 1 : place + 1 + length] = self.tokens[start : start + length]
            place += 1 + length

    def batch(self, rows: int) -> NDArray[np.int64]:
        """So many rows (rows, row)."""
        out = np.empty((rows, self.row), np.int64)
        for row in out:
            self.fill(row)
        return out
