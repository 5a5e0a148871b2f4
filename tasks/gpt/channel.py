"""What a run and its evaluator say to each other, and the run's side of it.

Fixed file of the task; ``runtime.py`` and ``evaluator.py`` import it and there is
nothing to run.  Tokens and positions travel as 16-bit numbers, logits as plain
float16: what is read is numbers of the expected count, whatever was sent.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from serving import REQUEST, RESULT, evaluator_at, receive

Tokens: TypeAlias = NDArray[np.uint16]
Logits: TypeAlias = NDArray[np.float16]
Answer: TypeAlias = Callable[[Tokens, Tokens], Logits]

# Windows, tokens per window, positions per window that are asked for.
HEADER, SIZE = struct.Struct("<III"), struct.Struct("<I")


def request(vocab_size: int) -> bytes:
    """What a run asks for: an evaluation, with logits of so many tokens."""
    return REQUEST + SIZE.pack(vocab_size)


def evaluate_remotely(answer: Answer, vocab_size: int, descriptor: int) -> float:
    """Answer the evaluator's questions until it sends the metric.

    A question is a header, the windows' tokens and, for each window, the positions
    whose next token is to be predicted.  The reply is the logits of all tokens at
    these positions.  A header of zeros is the end; the metric follows, 64 bits.
    """
    with evaluator_at(descriptor, request(vocab_size)) as evaluator:
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


def _numbers(content: bytearray, rows: int) -> NDArray[Any]:
    return np.frombuffer(content, "<u2").reshape(rows, -1)
