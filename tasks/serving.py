"""How a run and its evaluator talk: one question after another over a socket.

Fixed file of every task here that has an evaluator; each one's folder links to it.  What
is asked, and what the answers mean, is the task's own.  The harness runs the evaluator
beside the run and gives both an end of a socket, in ``RATCHET_EVALUATOR_FD``.

The evaluator also has ``RATCHET_EVALUATION``, JSON with ``data`` and ``audit`` (paths by
file name; ``audit`` may be empty), ``reply_seconds`` and ``draws`` (a hexadecimal number
to draw from; may be empty).  It tells the harness one line of JSON per event on its
standard output: ``ready``, ``asked`` before it sends anything of the data, and
``result`` or ``failed``.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np

REQUEST = b"evaluate"
RESULT = struct.Struct("<d")
"""The metric, which is the last that the run hears."""

Order: TypeAlias = Mapping[str, Any]


class ProtocolError(Exception):
    """The candidate sent something else than answers, or nothing."""


def receive(sender: socket.socket, count: int) -> bytearray:
    """Exactly ``count`` bytes; raises :class:`EOFError` if there are fewer."""
    content = bytearray(count)
    view, done = memoryview(content), 0
    while done < count:
        read = sender.recv_into(view[done:])
        if read == 0:
            raise EOFError(f"{done} of {count} bytes came")
        done += read
    return content


@contextlib.contextmanager
def evaluator_at(descriptor: int, request: bytes = REQUEST) -> Iterator[socket.socket]:
    """The evaluator, asked for an evaluation; the run's side of it.

    Raises :class:`RuntimeError` where it does not answer, as after the first evaluation.
    """
    with socket.socket(fileno=os.dup(descriptor)) as evaluator:
        try:
            evaluator.sendall(request)
            yield evaluator
        except (BrokenPipeError, ConnectionResetError, EOFError):
            raise RuntimeError(
                "the evaluator does not answer: a run is evaluated once, at its end; "
                "call evaluate_bpb a single time"
            ) from None


class Conversation:
    """The socket to the candidate; answers come back in the order of the questions.

    ``waits`` are the seconds from each question until all of its answer was there.
    """

    def __init__(self, channel: socket.socket, reply_seconds: float) -> None:
        self.channel = channel
        self.reply_seconds = reply_seconds
        self.waits: list[float] = []
        self.sent_at = 0.0

    def wait_for_request(self, request: bytes = REQUEST) -> None:
        """Wait, for as long as training takes, until the candidate asks."""
        self.channel.settimeout(None)
        try:
            said = receive(self.channel, len(request))
        except (EOFError, OSError):
            sys.exit(0)  # It ended without a question.
        if said != request:
            raise ProtocolError("it did not ask in the way of its fixed files")
        tell("asked")
        self.channel.settimeout(self.reply_seconds)

    def ask(self, question: bytes) -> None:
        """Send a question; nothing may have been said before."""
        if select.select([self.channel], [], [], 0)[0]:
            raise ProtocolError("it sent more than it was asked for, or went away")
        self.channel.sendall(question)
        self.sent_at = time.perf_counter()

    def answer(self, count: int) -> bytearray:
        """The answer to the question that was sent last, of so many bytes."""
        try:
            content = receive(self.channel, count)
        except TimeoutError:
            raise ProtocolError("its predictions did not come in time") from None
        except (EOFError, OSError):
            raise ProtocolError("it went away before all predictions were there") from None
        self.waits.append(time.perf_counter() - self.sent_at)
        return content

    def close(self, value: float, end: bytes = b"") -> None:
        """Tell the metric, after what marks the end, and hang up."""
        self.channel.sendall(end + RESULT.pack(value))
        self.channel.close()


def tell(event: str, **facts: Any) -> None:
    """One line to the harness."""
    print(json.dumps({"event": event, **facts}, allow_nan=False), flush=True)


def tell_result(value: float | None, talk: Conversation, began: float, **facts: Any) -> None:
    """The result, with its timing; a ``value`` that is no number is told as none.

    ``began`` is the moment of the first question, as ``time.perf_counter`` tells it.
    """
    tell(
        "result",
        value=None if value is None or np.isnan(value) else value,
        batches=len(talk.waits),
        seconds=round(time.perf_counter() - began, 4),
        reply_seconds=round(float(np.median(talk.waits)), 6),
        **facts,
    )


def random_order(order: Order) -> np.random.Generator:
    """A source of secret orders: equal runs are asked in an equal one."""
    return np.random.default_rng(int(order.get("draws") or os.urandom(16).hex(), 16))


def run_evaluator(serve: Callable[[Conversation, Order], None]) -> None:
    """Serve the candidate at the other end of the socket; what a task's evaluator does."""
    order = json.loads(os.environ["RATCHET_EVALUATION"])
    channel = socket.socket(fileno=int(os.environ["RATCHET_EVALUATOR_FD"]))
    try:
        serve(Conversation(channel, order["reply_seconds"]), order)
    except ProtocolError as error:
        tell("failed", reason=str(error))
    except (BrokenPipeError, ConnectionResetError):
        tell("failed", reason="it went away before all predictions were there")
