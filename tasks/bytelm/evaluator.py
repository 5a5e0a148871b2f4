"""Trusted evaluator: computes the metric outside the process that is measured.

Fixed file of the task.  The harness runs it beside ``train.py``, which never sees
the data that this process has; there is nothing to run by hand.

It sends windows byte by byte and many side by side (protocol:
``channel.evaluate_remotely``): the next byte of each leaves this process when the
logits for it have come back, as plain float32 bytes.  So no prediction can depend on
what it predicts or on what comes later, whatever the candidate does.  The windows of
the data come in groups of equal size, in a secret order that makes no difference to
the metric.  Each group has some rows more that do not count (``lessons.py``): by
these a candidate is TAMPERED with that learns from one window for another.  All that
is drawn comes from a secret of the harness, or from the system's randomness.  What the
harness gives and is told: ``serving.py``.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from channel import HEADER, VOCAB_SIZE, Bytes
from lessons import Lessons
from numpy.typing import NDArray
from serving import Conversation, Order, random_order, run_evaluator, tell, tell_result

from prepare import (
    EVAL_GROUPS,
    EVAL_WINDOWS,
    SEQUENCE_LENGTH,
    bits_per_byte,
    evaluation_windows,
    token_losses,
)

# Nobody who has forgotten the other windows makes a million of one, but once in a million.
LARGEST_WEALTH = float(np.log(1e6))
# Parts of the audit text whose metric is told: enough to see how a gain varies over it.
PARTS = 32


class Part:
    """One file to evaluate on: its groups of rows, and what came back."""

    def __init__(self, path: Path, rng: np.random.Generator) -> None:
        content = np.fromfile(path, dtype=np.uint8)
        self.windows = evaluation_windows(content)
        self.losses = np.full((EVAL_WINDOWS, SEQUENCE_LENGTH), np.nan)
        self.members = rng.permutation(EVAL_WINDOWS).reshape(EVAL_GROUPS, -1)
        self.lessons = Lessons(content, EVAL_GROUPS, rng)
        size = self.members.shape[1] + self.lessons.rows.shape[1]
        self.places = np.array([rng.permutation(size) for _ in range(EVAL_GROUPS)])

    def rows(self, group: int) -> Bytes:
        """The rows of one group as they are asked, with the byte after the last question."""
        both = np.concatenate([self.windows[self.members[group]], self.lessons.rows[group]])
        mixed: Bytes = np.empty_like(both)
        mixed[self.places[group]] = both
        return mixed

    def accept(self, group: int, position: int, logits: NDArray[np.float32]) -> None:
        """Take the logits for the bytes after a position."""
        members, given = self.members[group], logits[self.places[group]]
        count = len(members)
        targets = self.windows[members, position + 1]
        self.losses[members, position] = token_losses(given[:count], targets)
        self.lessons.accept(group, position, given[count:])

    @property
    def value(self) -> float:
        """Bits per byte."""
        return bits_per_byte(self.losses)

    @property
    def parts(self) -> list[float]:
        """Bits per byte on consecutive parts of the windows: how they vary over the text."""
        return [bits_per_byte(losses) for losses in np.array_split(self.losses, PARTS)]


def order_of_groups(parts: list[Part], rng: np.random.Generator) -> list[tuple[Part, int]]:
    """All groups, those of each part in their order; which part is next is secret."""
    turns = rng.permutation(np.repeat(np.arange(len(parts)), EVAL_GROUPS))
    left = [iter(range(EVAL_GROUPS)) for _ in parts]
    return [(parts[turn], next(left[turn])) for turn in turns]


def evaluate(talk: Conversation, parts: list[Part], rng: np.random.Generator) -> bool:
    """Ask everything; False as soon as a logit is not finite.

    While the candidate works, the reply before is added up.
    """
    before: tuple[Part, int, int, NDArray[np.float32]] | None = None
    for part, group in order_of_groups(parts, rng):
        rows = part.rows(group)
        for position in range(SEQUENCE_LENGTH):
            talk.ask(HEADER.pack(len(rows), position) + rows[:, position].tobytes())
            if before is not None:
                before[0].accept(*before[1:])
            answer = talk.answer(len(rows) * VOCAB_SIZE * 4)
            logits = np.frombuffer(answer, "<f4").reshape(len(rows), VOCAB_SIZE)
            if not np.isfinite(logits).all():
                return False
            before = part, group, position, logits
    assert before is not None
    before[0].accept(*before[1:])
    return True


def serve(talk: Conversation, order: Order) -> None:
    """One evaluation, from the first question to the result."""
    rng = random_order(order)
    validation = Part(Path(order["data"]["val.bin"]), rng)
    audit = Part(Path(order["audit"]["audit.bin"]), rng) if order["audit"] else None
    parts = [part for part in (validation, audit) if part is not None]
    tell("ready")
    talk.wait_for_request()
    began = time.perf_counter()
    finite = evaluate(talk, parts, rng)
    # What one part leaves is the next one's stake.
    taught = sum(part.lessons.wealth for part in parts) if finite else None
    learned = taught is not None and taught > LARGEST_WEALTH
    read = None
    if audit is not None:
        read = {"value": audit.value if finite else None, "tokens": audit.losses.size}
        read |= {"parts": audit.parts if finite else []}
    value = validation.value if finite else None
    tell_result(
        value,
        talk,
        began,
        tokens=validation.losses.size,
        tampered="it learned from the windows of the evaluation" if learned else None,
        audit=read,
        checks={} if taught is None else {"taught": round(taught, 6)},
    )
    talk.close(float("nan") if value is None else value, HEADER.pack(0, 0))


if __name__ == "__main__":
    run_evaluator(serve)
