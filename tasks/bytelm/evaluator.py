"""Trusted evaluator: computes the metric outside the process that is measured.

Fixed file of the task.  The harness runs it beside ``train.py``, which never sees
the data that this process has; there is nothing to run by hand.

It sends batches of inputs, gets logits back as plain float32 bytes (protocol:
``channel.evaluate_remotely``) and computes bits per byte from them.  Every batch
comes twice, in a secret order: as it is, and as a canary (``canary.py``), a copy
in which every window goes on differently from a secret place on.  Nothing tells
which of two windows with one beginning is the one that counts.  All that is drawn
comes from the system's randomness; neither the batches that count nor their sum
depend on it.  A candidate has been tampered with if

* a prediction changes when later bytes change, or between the two calls;
* bets on bytes that it had not seen win, or bets on what only a memory of other
  windows can know;
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
from canary import Canary, Text, teach, wealth
from channel import HEADER, REQUEST, RESULT, VOCAB_SIZE, Bytes, receive
from numpy.typing import NDArray

from prepare import (
    EVAL_BATCH_SIZE,
    SEQUENCE_LENGTH,
    bits_per_byte,
    evaluation_windows,
    token_losses,
)

# Largest change of a log-likelihood, in nats, when later bytes change.  The same
# operations on the same shapes give 0; transforms over the whole window, which mix
# rounding errors of later bytes in, measured below 1e-5.  What fits through is
# 0.0014 bits per byte, a tenth of the noise between seeds.
LARGEST_CHANGE = 1e-3
# The mean over the secret places may be so many standard errors above the others;
# 31 honest models stayed below 3.7.
LARGEST_Z = 8.0
# Nobody who has not seen what was drawn makes a million of one, but once in a million.
LARGEST_WEALTH = float(np.log(1e6))
# Bits by which shuffled targets may fall below the entropy, by chance alone.
SHUFFLE_SLACK = 0.1
# The harness is told so often how far the candidate is, and measures what it used.
REPORTS = 8


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
        text = Text(content, SEQUENCE_LENGTH)
        pairs = zip(self.inputs, self.targets, strict=True)
        self.canaries = [Canary(inputs, targets, text, rng) for inputs, targets in pairs]
        teach(self.canaries, text, rng)

    def accept(self, batch: int, logits: NDArray[np.float32]) -> None:
        """Take the logits of a batch that counts."""
        self.losses[batch] = token_losses(logits, self.targets[batch])
        self.shuffled_losses[batch] = token_losses(logits, self.shuffled[batch])
        self.canaries[batch].compare(log_softmax(logits))

    @property
    def value(self) -> float:
        """Bits per byte."""
        return bits_per_byte([float(x.sum()) for x in self.losses], self.targets.size)

    def checks(self) -> dict[str, float]:
        """The canaries in numbers: nats, standard errors, bits."""
        unseen = np.concatenate([canary.unseen for canary in self.canaries])
        spread = float(self.losses.std()) or 1e-9
        share = np.bincount(self.targets.ravel(), minlength=VOCAB_SIZE) / self.targets.size
        entropy = -float((share[share > 0] * np.log2(share[share > 0])).sum())
        shuffled = float(self.shuffled_losses.mean() / np.log(2.0))
        return {
            **wealth([won for canary in self.canaries for won in canary.won]),
            "largest_change": max(canary.change for canary in self.canaries),
            "unseen_z": float(unseen.mean() - self.losses.mean()) / spread * len(unseen) ** 0.5,
            "shuffled_above_entropy": shuffled - entropy,
        }


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
    """All batches (part, number, canary) in a secret order."""
    questions = [
        (part, i, canary)
        for part in parts
        for i in range(len(part.inputs))
        for canary in (False, True)
    ]
    return [questions[i] for i in rng.permutation(len(questions))]


def evaluate(talk: Conversation, parts: list[Part], rng: np.random.Generator) -> bool:
    """Ask everything; False as soon as a logit is not finite.

    While the candidate works on a batch, the one before is added up.
    """
    questions = order_of_questions(parts, rng)
    batches = [
        part.canaries[i].inputs if canary else part.inputs[i] for part, i, canary in questions
    ]
    reports = {len(questions) * k // REPORTS for k in range(1, REPORTS)}
    talk.ask(batches[0])
    for n, (part, i, canary) in enumerate(questions):
        logits = talk.reply(batches[n])
        if not np.isfinite(logits).all():
            return False
        if n + 1 in reports:
            tell("progress")
        if n + 1 < len(questions):
            talk.ask(batches[n + 1])
        if canary:
            part.canaries[i].accept(log_softmax(logits), n)
        else:
            part.accept(i, logits)
    return True


def verdict(checks: dict[str, float]) -> str | None:
    """What the canaries found, in words."""
    if checks["largest_change"] > LARGEST_CHANGE:
        return "predictions for a byte changed when later bytes were changed, or between two calls"
    if checks["wealth"] > LARGEST_WEALTH:
        return "bytes that it could not have seen were known to it"
    if checks["taught"] > LARGEST_WEALTH:
        return "it learned from the windows of the evaluation"
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
