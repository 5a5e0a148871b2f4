"""Trusted evaluator: computes the metric outside the process that is measured.

Fixed file of the task.  The harness runs it beside ``train.py``, which never sees
the data that this process has; there is nothing to run by hand.

It sends batches of inputs, gets logits back as plain float32 bytes (protocol:
``channel.evaluate_remotely``) and computes bits per byte from them.  Every
``CANARY_EVERY``-th batch comes twice: first as a canary, a copy in which every
window goes on differently from a secret place on, later as it is.  Where, is
drawn from the system's randomness; neither the batches that count nor their sum
depend on it.  A candidate has been tampered with if

* a prediction changes when later bytes change, or between the two calls;
* the byte at the secret place, which the canary did not hold, was predicted
  much worse than other bytes: then those were seen, not predicted;
* predictions fit shuffled targets better than the frequencies of bytes allow.

Environment: ``RATCHET_EVALUATOR_FD`` (the socket) and ``RATCHET_EVALUATION``, JSON
with ``data`` and ``audit`` (paths by file name; ``audit`` may be empty) and
``reply_seconds``.  Standard output: one line of JSON per event.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from channel import HEADER, REQUEST, RESULT, VOCAB_SIZE, Bytes, receive
from numpy.typing import NDArray

from prepare import (
    EVAL_BATCH_SIZE,
    SEQUENCE_LENGTH,
    bits_per_byte,
    evaluation_windows,
    token_losses,
)

CANARY_EVERY = 1
# Largest change of a log-likelihood, in nats, when later bytes change.  The same
# operations on the same shapes give 0; transforms over the whole window, which mix
# rounding errors of later bytes in, measured below 1e-5.  What fits through is
# 0.0014 bits per byte, a tenth of the noise between seeds.
LARGEST_CHANGE = 1e-3
# The mean over the secret places may be so many standard errors above the others:
# an honest run gets there once in more than a million.
LARGEST_Z = 6.0
# Bets on the byte that a canary put after its secret place.  It is drawn from known
# odds, so without seeing it nobody wins on average, however clever: whoever makes a
# million of one has seen it.  Stakes are shares of what is there.
STAKES = np.array([0.003, 0.01, 0.03, 0.1, 0.2, 0.4, 0.7])
LARGEST_WEALTH = float(np.log(1e6))
# Bits by which shuffled targets may fall below the entropy, by chance alone.
SHUFFLE_SLACK = 0.1


class ProtocolError(Exception):
    """The candidate sent something else than logits, or nothing."""


class Part:
    """One file to evaluate on, in batches that never change, and what came back."""

    def __init__(self, path: Path, rng: np.random.Generator) -> None:
        content = np.fromfile(path, dtype=np.uint8)
        inputs, self.targets = evaluation_windows(content)
        count = len(inputs) // EVAL_BATCH_SIZE
        self.inputs = inputs.reshape(count, EVAL_BATCH_SIZE, -1)
        self.targets = self.targets.reshape(self.inputs.shape)
        self.losses = np.full(self.inputs.shape, np.nan)
        self.shuffled = rng.permutation(self.targets.ravel()).reshape(self.targets.shape)
        self.shuffled_losses = np.full(self.inputs.shape, np.nan)
        odds = next_byte_odds(content)
        self.canaries = {
            int(i): Canary(self.inputs[i], self.targets[i], content, odds, rng)
            for i in rng.choice(count, count // CANARY_EVERY, replace=False)
        }

    def accept(self, batch: int, logits: NDArray[np.float32]) -> None:
        """Take the logits of a batch that counts."""
        self.losses[batch] = token_losses(logits, self.targets[batch])
        self.shuffled_losses[batch] = token_losses(logits, self.shuffled[batch])
        if batch in self.canaries:
            self.canaries[batch].compare(logits)

    @property
    def value(self) -> float:
        """Bits per byte."""
        return bits_per_byte([float(x.sum()) for x in self.losses], self.targets.size)

    def checks(self) -> dict[str, float]:
        """The canaries in numbers: nats, standard errors, bits."""
        unseen = np.concatenate([canary.unseen for canary in self.canaries.values()])
        spread = float(self.losses.std()) or 1e-9
        share = np.bincount(self.targets.ravel(), minlength=VOCAB_SIZE) / self.targets.size
        entropy = -float((share[share > 0] * np.log2(share[share > 0])).sum())
        shuffled = float(self.shuffled_losses.mean() / np.log(2.0))
        bets = np.concatenate([canary.bets for canary in self.canaries.values()])
        grown = np.log1p(STAKES[:, None] * (bets - 1.0)).sum(axis=1)
        return {
            "wealth": float(np.log(np.exp(grown - grown.max()).mean()) + grown.max()),
            "largest_change": max(canary.change for canary in self.canaries.values()),
            "unseen_z": float(unseen.mean() - self.losses.mean()) / spread * len(unseen) ** 0.5,
            "shuffled_above_entropy": shuffled - entropy,
        }


class Canary:
    """A copy of one batch in which each window goes on differently from a place on."""

    def __init__(
        self,
        inputs: Bytes,
        targets: Bytes,
        content: Bytes,
        odds: NDArray[np.float64],
        rng: np.random.Generator,
    ) -> None:
        rows, length = inputs.shape
        self.places = rng.integers(0, length - 1, size=rows)
        self.inputs, self.targets = inputs.copy(), targets
        self.drawn = np.zeros(rows, dtype=np.int64)
        self.odds = np.ones(rows)
        for row, place in enumerate(self.places):
            # Text from elsewhere reads like any other; its first byte must differ.
            chances = odds[inputs[row, place]].copy()
            chances[inputs[row, place + 1]] = 0.0
            chances /= chances.sum()
            self.drawn[row] = drawn = rng.choice(VOCAB_SIZE, p=chances)
            self.odds[row] = chances[drawn]
            start = int(rng.choice(np.flatnonzero(content[:-length] == drawn)))
            self.inputs[row, place + 1 :] = content[start : start + length - place - 1]
        self.bets = np.full(rows, np.nan)
        self.change = float("inf")
        self.likelihoods: NDArray[np.float64] | None = None
        self.unseen = np.full(rows, np.nan)

    def accept(self, logits: NDArray[np.float32]) -> None:
        """Take the canary's own logits."""
        self.likelihoods = log_softmax(logits)
        rows = np.arange(len(self.places))
        targets = self.targets[rows, self.places]
        self.unseen = -self.likelihoods[rows, self.places, targets]
        self.bets = np.exp(self.likelihoods[rows, self.places, self.drawn]) / self.odds

    def compare(self, logits: NDArray[np.float32]) -> None:
        """Compare with the logits of the batch itself, up to the places."""
        assert self.likelihoods is not None
        positions = np.arange(logits.shape[1])
        seen = positions[None, :] <= self.places[:, None]
        self.change = float(np.abs(log_softmax(logits) - self.likelihoods)[seen].max())
        self.likelihoods = None


def next_byte_odds(content: Bytes) -> NDArray[np.float64]:
    """Odds of every byte after every other, of those that a copied text can start with."""
    usual = np.bincount(content[:-SEQUENCE_LENGTH], minlength=VOCAB_SIZE) / len(content)
    pairs = content[:-1].astype(np.int64) * VOCAB_SIZE + content[1:]
    counts = np.bincount(pairs, minlength=VOCAB_SIZE**2).reshape(VOCAB_SIZE, VOCAB_SIZE)
    odds: NDArray[np.float64] = (counts + 8.0 * usual) * (usual > 0)
    return odds


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Log-likelihoods of all bytes."""
    exact = logits.astype(np.float64)
    exact -= exact.max(axis=-1, keepdims=True)
    found: NDArray[np.float64] = exact - np.log(np.exp(exact).sum(axis=-1, keepdims=True))
    return found


class Conversation:
    """The socket to the candidate; logits come back in the order of the questions."""

    def __init__(self, channel: socket.socket, reply_seconds: float) -> None:
        self.channel = channel
        channel.settimeout(reply_seconds)
        self.waits: list[float] = []
        self.sent_at = 0.0

    def wait_for_request(self) -> None:
        """Wait, for as long as training takes, until the candidate asks."""
        self.channel.settimeout(None)
        try:
            if receive(self.channel, len(REQUEST)) != REQUEST:
                raise ProtocolError("it did not ask in the way of channel.py")
        except (EOFError, OSError):
            sys.exit(0)  # It ended without a question.

    def ask(self, inputs: Bytes) -> None:
        """Send one batch; nothing may have been said before."""
        if select.select([self.channel], [], [], 0)[0]:
            raise ProtocolError("it sent more than it was asked for, or went away")
        self.channel.sendall(HEADER.pack(*inputs.shape) + inputs.tobytes())
        self.sent_at = time.perf_counter()

    def reply(self, inputs: Bytes) -> NDArray[np.float32]:
        """The logits for the batch that was sent last."""
        try:
            content = receive(self.channel, inputs.size * VOCAB_SIZE * 4)
        except TimeoutError:
            raise ProtocolError("its predictions did not come in time") from None
        except (EOFError, OSError):
            raise ProtocolError("it went away before all predictions were there") from None
        self.waits.append(time.perf_counter() - self.sent_at)
        return np.frombuffer(content, "<f4").reshape(*inputs.shape, VOCAB_SIZE)

    def close(self, value: float) -> None:
        """Tell the metric and hang up."""
        self.channel.sendall(HEADER.pack(0, 0) + RESULT.pack(value))
        self.channel.close()


def order_of_questions(parts: list[Part], rng: np.random.Generator) -> list[tuple[Part, int, bool]]:
    """All batches (part, number, canary) in a secret order, canaries before their originals."""
    questions = [(part, i, False) for part in parts for i in range(len(part.inputs))]
    questions += [(part, i, True) for part in parts for i in part.canaries]
    questions = [questions[i] for i in rng.permutation(len(questions))]
    place = {(id(part), i, canary): n for n, (part, i, canary) in enumerate(questions)}
    for part in parts:
        for i in part.canaries:
            first, second = place[id(part), i, True], place[id(part), i, False]
            if second < first:
                questions[first], questions[second] = questions[second], questions[first]
    return questions


def evaluate(talk: Conversation, parts: list[Part], rng: np.random.Generator) -> bool:
    """Ask everything; False as soon as a logit is not finite.

    While the candidate works on a batch, the one before is added up.
    """
    questions = order_of_questions(parts, rng)
    batches = [
        part.canaries[i].inputs if canary else part.inputs[i] for part, i, canary in questions
    ]
    talk.ask(batches[0])
    for n, (part, i, canary) in enumerate(questions):
        logits = talk.reply(batches[n])
        if not np.isfinite(logits).all():
            return False
        if n + 1 < len(questions):
            talk.ask(batches[n + 1])
        if canary:
            part.canaries[i].accept(logits)
        else:
            part.accept(i, logits)
    return True


def verdict(checks: dict[str, float]) -> str | None:
    """What the canaries found, in words."""
    if checks["largest_change"] > LARGEST_CHANGE:
        return "predictions for a byte changed when later bytes were changed, or between two calls"
    if checks["wealth"] > LARGEST_WEALTH:
        return "bytes that it could not have seen were known to it"
    if checks["unseen_z"] > LARGEST_Z:
        return "bytes that it could not have seen were predicted much worse than the others"
    if checks["shuffled_above_entropy"] < -SHUFFLE_SLACK:
        return "its predictions fit shuffled targets better than any can"
    return None


def tell(event: str, **facts: Any) -> None:
    """One line to the harness."""
    print(json.dumps({"event": event, **facts}, allow_nan=False), flush=True)


def serve(channel: socket.socket, order: dict[str, Any]) -> None:
    """One evaluation, from the first question to the result."""
    rng = np.random.default_rng(int.from_bytes(os.urandom(16)))
    validation = Part(Path(order["data"]["val.bin"]), rng)
    audit = Part(Path(order["audit"]["audit.bin"]), rng) if order["audit"] else None
    parts = [part for part in (validation, audit) if part is not None]
    tell("ready")
    talk = Conversation(channel, order["reply_seconds"])
    talk.wait_for_request()
    tell("asked")
    channel.settimeout(order["reply_seconds"])
    began = time.perf_counter()
    finite = evaluate(talk, parts, rng)
    checks = [part.checks() for part in parts] if finite else []
    tampered = next((found for found in map(verdict, checks) if found), None)
    read = None
    if audit is not None:
        read = {"value": audit.value if finite else None, "tokens": audit.targets.size}
    tell(
        "result",
        value=validation.value if finite else None,
        tokens=validation.targets.size,
        batches=len(talk.waits),
        seconds=round(time.perf_counter() - began, 4),
        reply_seconds=round(float(np.median(talk.waits)), 6),
        tampered=tampered,
        audit=read,
        checks={name: round(value, 6) for name, value in checks[0].items()} if checks else {},
    )
    talk.close(validation.value if finite else float("nan"))


def main() -> None:
    """Serve the candidate at the other end of the socket."""
    channel = socket.socket(fileno=int(os.environ["RATCHET_EVALUATOR_FD"]))
    try:
        serve(channel, json.loads(os.environ["RATCHET_EVALUATION"]))
    except ProtocolError as error:
        tell("failed", reason=str(error))
    except (BrokenPipeError, ConnectionResetError):
        tell("failed", reason="it went away before all predictions were there")


if __name__ == "__main__":
    main()
