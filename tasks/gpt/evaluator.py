"""Trusted evaluator: computes the metric outside the process that is measured.

Fixed file of the task, NumPy alone.  The harness runs it beside ``train.py``, which
never sees the data that this process has; there is nothing to run by hand.

It sends windows and positions, gets logits back as plain float16 bytes (protocol:
``channel.evaluate_remotely``), normalises them and computes bits per byte with its own
table of the tokens' bytes.  Every fourth group of windows, chosen in secret, comes
twice, in a secret order: as it is, and as a canary (``canary.py``).  Nothing tells
which of two windows with one beginning is the one that counts.  All that is drawn
comes from the system's randomness; neither the windows that count nor their sum
depend on it.  A candidate has been tampered with if

* predictions change when later tokens change, or between the two calls;
* bets on tokens that it had not seen win, or bets on what only a memory of other
  windows can know;
* the token at the secret place, which the canary did not hold, was predicted
  much worse than other tokens: then those were seen, not predicted;
* predictions fit shuffled targets better than the frequencies of tokens allow.

Environment: ``RATCHET_EVALUATOR_FD`` (the socket), ``RATCHET_EVALUATION``, JSON with
``data`` and ``audit`` (paths by file name; ``audit`` may be empty) and
``reply_seconds``, and what ``scoring.Scale`` reads.  Standard output: one line of JSON
per event.
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
import scoring
from canary import Canary, Text, teach, wealth
from channel import HEADER, REQUEST, RESULT, SIZE, Logits, Tokens, receive
from numpy.typing import NDArray
from scoring import WINDOWS_AT_ONCE, Scale, bits_per_byte, log_softmax

# Largest mean change of the log-likelihoods, in nats, when later tokens change, on
# average and at one position.  The same operations on the same shapes give 0 on a CPU;
# what fits through on average is below 0.001 bits per byte.
MEAN_CHANGE, LARGEST_CHANGE = 2e-3, 0.1
# The mean over the secret places may be so many standard errors above the others.
LARGEST_Z = 8.0
# Nobody who has not seen what was drawn makes a million of one, but once in a million.
LARGEST_WEALTH = float(np.log(1e6))
# Bits by which shuffled targets may fall below the entropy, by chance alone.
SHUFFLE_SLACK = 0.1
# One of so many groups has a canary.
GROUPS_PER_CANARY = 4
# The harness is told so often how far the candidate is, and measures what it used.
REPORTS = 8


class ProtocolError(Exception):
    """The candidate sent something else than logits, or nothing."""


class Part:
    """One split to evaluate on, in groups that never change, and what came back."""

    def __init__(
        self, path: Path, table: NDArray[np.uint16], scale: Scale, rng: np.random.Generator
    ) -> None:
        content = np.fromfile(path, dtype="<u2")
        asked = scoring.questions(content, table, scale)
        groups = scale.windows // WINDOWS_AT_ONCE
        self.windows = asked.windows.reshape(groups, WINDOWS_AT_ONCE, -1)
        self.positions = asked.positions.reshape(groups, WINDOWS_AT_ONCE, -1)
        self.targets = asked.targets.reshape(self.positions.shape)
        self.bytes = asked.target_bytes.reshape(self.positions.shape)
        self.losses = np.full(self.targets.shape, np.nan)
        self.shuffled = rng.permutation(self.targets.ravel()).reshape(self.targets.shape)
        self.shuffled_losses = np.full(self.targets.shape, np.nan)
        text = Text(content, scale.length, len(table))
        count = max(groups // GROUPS_PER_CANARY, min(groups, 4))
        self.canaries = {
            int(g): Canary(self.windows[g], self.positions[g], self.targets[g], text, rng)
            for g in rng.permutation(groups)[:count]
        }
        teach(list(self.canaries.values()), text, rng)

    def accept(self, group: int, logits: Logits) -> None:
        """Take the logits of a group that counts."""
        likelihoods = log_softmax(logits)
        self.losses[group] = scoring.losses(likelihoods, self.targets[group])
        self.shuffled_losses[group] = scoring.losses(likelihoods, self.shuffled[group])
        if group in self.canaries:
            self.canaries[group].compare(logits)

    @property
    def value(self) -> float:
        """Bits per byte."""
        counted = np.where(self.bytes > 0, self.losses, 0.0)
        return bits_per_byte([float(x.sum()) for x in counted], int(self.bytes.sum()))

    def checks(self) -> dict[str, float]:
        """The canaries in numbers: nats, standard errors, bits."""
        canaries = list(self.canaries.values())
        unseen = np.concatenate([canary.unseen for canary in canaries])
        spread = float(self.losses.std()) or 1e-9
        _, counts = np.unique(self.targets, return_counts=True)
        share = counts / self.targets.size
        entropy = -float((share * np.log2(share)).sum())
        shuffled = float(self.shuffled_losses.mean() / np.log(2.0))
        return {
            **wealth([won for canary in canaries for won in canary.won]),
            "largest_change": max(canary.largest_change for canary in canaries),
            "mean_change": max(canary.mean_change for canary in canaries),
            "unseen_z": float(unseen.mean() - self.losses.mean()) / spread * len(unseen) ** 0.5,
            "shuffled_above_entropy": shuffled - entropy,
        }


class Conversation:
    """The socket to the candidate; logits come back in the order of the questions."""

    def __init__(self, channel: socket.socket, vocab: int, reply_seconds: float) -> None:
        self.channel, self.vocab, self.reply_seconds = channel, vocab, reply_seconds
        self.waits: list[float] = []
        self.sent_at = 0.0

    def wait_for_request(self) -> None:
        """Wait, for as long as training takes, until the candidate asks."""
        self.channel.settimeout(None)
        try:
            said = bytes(receive(self.channel, len(REQUEST) + SIZE.size))
        except (EOFError, OSError):
            sys.exit(0)  # It ended without a question.
        if said != REQUEST + SIZE.pack(self.vocab):
            raise ProtocolError("it did not ask in the way of channel.py")
        self.channel.settimeout(self.reply_seconds)

    def ask(self, windows: Tokens, positions: Tokens) -> None:
        """Send one group; nothing may have been said before."""
        if select.select([self.channel], [], [], 0)[0]:
            raise ProtocolError("it sent more than it was asked for, or went away")
        shape = (*windows.shape, positions.shape[1])
        self.channel.sendall(HEADER.pack(*shape) + windows.tobytes() + positions.tobytes())
        self.sent_at = time.perf_counter()

    def reply(self, positions: Tokens) -> Logits:
        """The logits for the group that was sent last."""
        try:
            content = receive(self.channel, positions.size * self.vocab * 2)
        except TimeoutError:
            raise ProtocolError("its predictions did not come in time") from None
        except (EOFError, OSError):
            raise ProtocolError("it went away before all predictions were there") from None
        self.waits.append(time.perf_counter() - self.sent_at)
        return np.frombuffer(content, "<f2").reshape(*positions.shape, self.vocab)

    def close(self, value: float) -> None:
        """Tell the metric and hang up."""
        self.channel.sendall(HEADER.pack(0, 0, 0) + RESULT.pack(value))
        self.channel.close()


def order_of_questions(parts: list[Part], rng: np.random.Generator) -> list[tuple[Part, int, bool]]:
    """All groups (part, number, canary) in a secret order."""
    questions = [
        (part, group, canary)
        for part in parts
        for group in range(len(part.windows))
        for canary in ((False, True) if group in part.canaries else (False,))
    ]
    return [questions[i] for i in rng.permutation(len(questions))]


def evaluate(talk: Conversation, parts: list[Part], rng: np.random.Generator) -> bool:
    """Ask everything; False as soon as a logit is not finite.

    While the candidate works on a group, the one before is added up.
    """
    questions = order_of_questions(parts, rng)

    def ask(number: int) -> None:
        part, group, canary = questions[number]
        windows = part.canaries[group].windows if canary else part.windows[group]
        talk.ask(windows, part.positions[group])

    reports = {len(questions) * k // REPORTS for k in range(1, REPORTS)}
    ask(0)
    for n, (part, group, canary) in enumerate(questions):
        logits = talk.reply(part.positions[group])
        if not scoring.finite(logits):
            return False
        if n + 1 in reports:
            tell("progress")
        if n + 1 < len(questions):
            ask(n + 1)
        if canary:
            part.canaries[group].accept(logits, n)
        else:
            part.accept(group, logits)
    return True


def verdict(checks: dict[str, float]) -> str | None:
    """What the canaries found, in words."""
    if checks["mean_change"] > MEAN_CHANGE or checks["largest_change"] > LARGEST_CHANGE:
        return "predictions changed when later tokens were changed, or between two calls"
    if checks["wealth"] > LARGEST_WEALTH:
        return "tokens that it could not have seen were known to it"
    if checks["taught"] > LARGEST_WEALTH:
        return "it learned from the windows of the evaluation"
    if checks["unseen_z"] > LARGEST_Z:
        return "tokens that it could not have seen were predicted much worse than the others"
    if checks["shuffled_above_entropy"] < -SHUFFLE_SLACK:
        return "its predictions fit shuffled targets better than any can"
    return None


def tell(event: str, **facts: Any) -> None:
    """One line to the harness."""
    print(json.dumps({"event": event, **facts}, allow_nan=False), flush=True)


def serve(channel: socket.socket, order: dict[str, Any], scale: Scale) -> None:
    """One evaluation, from the first question to the result."""
    rng = np.random.default_rng(int.from_bytes(os.urandom(16)))
    table = np.fromfile(order["data"]["token_bytes.bin"], dtype="<u2")
    validation = Part(Path(order["data"]["val.bin"]), table, scale, rng)
    audited = order["audit"]
    audit = Part(Path(audited["audit.bin"]), table, scale, rng) if audited else None
    parts = [part for part in (validation, audit) if part is not None]
    tell("ready")
    talk = Conversation(channel, len(table), order["reply_seconds"])
    talk.wait_for_request()
    tell("asked")
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
        serve(channel, json.loads(os.environ["RATCHET_EVALUATION"]), Scale.from_environment())
    except ProtocolError as error:
        tell("failed", reason=str(error))
    except (BrokenPipeError, ConnectionResetError):
        tell("failed", reason="it went away before all predictions were there")


if __name__ == "__main__":
    main()
