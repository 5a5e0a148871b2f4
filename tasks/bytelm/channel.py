"""What a run and its evaluator say to each other, and the run's side of it.

Fixed file of the task; ``prepare.py`` and ``evaluator.py`` import it and there is
nothing to run.  A byte leaves the evaluator after its prediction has come back.
Logits travel as plain float32 bytes: what is read is numbers of the expected
count, whatever was sent.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from serving import RESULT, evaluator_at, receive

Bytes: TypeAlias = NDArray[np.uint8]
Predict: TypeAlias = Callable[[Bytes], NDArray[Any]]

VOCAB_SIZE = 256
HEADER = struct.Struct("<II")


def checked_logits(predict: Predict, prefixes: Bytes) -> NDArray[np.float32]:
    """Logits of the byte after each prefix as float32; :class:`ValueError` for a wrong shape."""
    expected = (len(prefixes), VOCAB_SIZE)
    # The caller goes on with the same bytes, whatever the model does to its own.
    logits = np.asarray(predict(prefixes.copy()))
    if logits.shape != expected:
        raise ValueError(
            f"the model gave logits {logits.shape} for the bytes {prefixes.shape}, expected "
            f"{expected}: the scores of the byte that follows each row"
        )
    with np.errstate(over="ignore"):  # An overflow is infinite, which is found later.
        return np.ascontiguousarray(logits, dtype="<f4")


def evaluate_remotely(predict: Predict, descriptor: int) -> float:
    """Answer the evaluator's questions until it sends the metric.

    A message starts with two 32-bit numbers: how many windows there are side by
    side, and how many bytes of each are known already, 0 for new windows.  The
    next byte of each follows; the reply is the logits of the one after, four bytes
    each.  No windows are the end, followed by the metric as a 64-bit number.
    """
    prefixes: Bytes = np.empty((0, 0), dtype=np.uint8)
    with evaluator_at(descriptor) as evaluator:
        while True:
            rows, known = HEADER.unpack(receive(evaluator, HEADER.size))
            if rows == 0:
                return float(RESULT.unpack(receive(evaluator, RESULT.size))[0])
            column = np.frombuffer(receive(evaluator, rows), np.uint8)[:, None]
            prefixes = np.hstack([prefixes, column]) if known else column
            logits = checked_logits(predict, prefixes)
            evaluator.sendall(logits.data.cast("B"))
