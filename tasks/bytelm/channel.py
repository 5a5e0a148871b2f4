"""What a run and its evaluator say to each other, and the run's side of it.

Fixed file of the task; ``prepare.py`` and ``evaluator.py`` import it and there is
nothing to run.  Logits travel as plain float32 bytes: what is read is numbers of
the expected count, whatever was sent.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Bytes: TypeAlias = NDArray[np.uint8]
Predict: TypeAlias = Callable[[Bytes], NDArray[Any]]

VOCAB_SIZE = 256
REQUEST = b"evaluate"
HEADER, RESULT = struct.Struct("<II"), struct.Struct("<d")


def checked_logits(predict: Predict, inputs: Bytes) -> NDArray[np.float32]:
    """Logits as float32; raises :class:`ValueError` for a wrong shape."""
    expected = (*inputs.shape, VOCAB_SIZE)
    logits = np.asarray(predict(inputs))
    if logits.shape != expected:
        raise ValueError(f"the model gave logits {logits.shape}, expected {expected}")
    with np.errstate(over="ignore"):  # An overflow is infinite, which is found later.
        return np.ascontiguousarray(logits, dtype="<f4")


def evaluate_remotely(predict: Predict, descriptor: int) -> float:
    """Answer the evaluator's questions until it sends the metric.

    A message starts with the shape of a batch, two 32-bit numbers, and goes on
    with so many bytes; the reply is the logits, four bytes each.  The shape
    (0, 0) is the end, followed by the metric as a 64-bit number.
    """
    with socket.socket(fileno=os.dup(descriptor)) as evaluator:
        try:
            evaluator.sendall(REQUEST)
            while True:
                rows, columns = HEADER.unpack(receive(evaluator, HEADER.size))
                if rows == 0:
                    return float(RESULT.unpack(receive(evaluator, RESULT.size))[0])
                batch = np.frombuffer(receive(evaluator, rows * columns), np.uint8)
                logits = checked_logits(predict, batch.reshape(rows, columns))
                evaluator.sendall(logits.data.cast("B"))
        except (BrokenPipeError, ConnectionResetError, EOFError):
            raise RuntimeError(
                "the evaluator does not answer: a run is evaluated once, at its end; "
                "call evaluate_bpb a single time"
            ) from None


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
