"""What a run and its evaluator say to each other, and the run's side of it.

Fixed file of the task; ``runtime.py`` and ``evaluator.py`` import it and there is
nothing to run.  Tokens and positions travel as 16-bit numbers, logits as plain
float16: what is read is numbers of the expected count, whatever was sent.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Tokens: TypeAlias = NDArray[np.uint16]
Logits: TypeAlias = NDArray[np.float16]
Answer: TypeAlias = Callable[[Tokens, Tokens], Logits]

REQUEST = b"evaluate"
# Windows, tokens per window, positions per window that are asked for.
HEADER, RESULT, SIZE = struct.Struct("<III"), struct.Struct("<d"), struct.Struct("<I")


def evaluate_remotely(answer: Answer, vocab_size: int, descriptor: int) -> float:
    """Answer the evaluator's questions until it sends the metric.

    A question is a header, the windows' tokens and, for each window, the positions
    whose next token is to be predicted.  The reply is the logits of all tokens at
    these positions.  A header of zeros is the end; the metric follows, 64 bits.
    """
    with socket.socket(fileno=os.dup(descriptor)) as evaluator:
        try:
            evaluator.sendall(REQUEST + SIZE.pack(vocab_size))
            while True:
                rows, length, count = HEADER.unpack(receive(evaluator, HEADER.size))
                if rows == 0:
                    return float(RESULT.unpack(receive(evaluator, RESULT.size))[0])
                windows = _numbers(receive(evaluator, rows * length * 2), rows)
                positions = _numbers(receive(evaluator, rows * count * 2), rows)
                logits = answer(windows, positions)
                expected = (rows, count, vocab_size)
                if logits.shape != expected or logits.dtype != np.float16:
                    raise ValueError(
                        f"the model gave logits {logits.shape} of {logits.dtype}, "
                        f"expected {expected} of float16"
                    )
                evaluator.sendall(np.ascontiguousarray(logits).data.cast("B"))
        except (BrokenPipeError, ConnectionResetError, EOFError):
            raise RuntimeError(
                "the evaluator does not answer: a run is evaluated once, at its end; "
                "call evaluate_bpb a single time"
            ) from None


def _numbers(content: bytearray, rows: int) -> NDArray[Any]:
    return np.frombuffer(content, "<u2").reshape(rows, -1)


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
