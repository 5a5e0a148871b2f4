"""Trusted evaluator: knows the topics of the validation paragraphs and tells nobody.

Fixed file of the task.  The harness runs it beside ``train.py``; there is nothing to run
by hand.  It sends all paragraphs in a secret order (those of a topic stand together in
the file) and gets the scores of the topics back as plain float32 bytes.

Environment: ``RATCHET_EVALUATOR_FD`` (the socket) and ``RATCHET_EVALUATION``, JSON with
``data`` (paths by file name), ``reply_seconds`` and ``draws`` (a hexadecimal number to
draw from; may be empty).  Standard output: one line of JSON per event.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from prepare import LENGTH, RESULT, TOPICS, accuracy, read, receive


def tell(event: str, **facts: Any) -> None:
    """One line to the harness."""
    print(json.dumps({"event": event, **facts}, allow_nan=False), flush=True)


def serve(channel: socket.socket, order: dict[str, Any]) -> None:
    """One evaluation, from the question to the result."""
    texts, classes = read(Path(order["data"]["val.tsv"]))
    rng = np.random.default_rng(int(order.get("draws") or os.urandom(16).hex(), 16))
    places = rng.permutation(len(texts))
    tell("ready")
    if not channel.recv(1):
        sys.exit(0)  # It ended without a question.
    tell("asked")
    began = time.perf_counter()
    channel.settimeout(order["reply_seconds"])
    content = json.dumps([texts[place] for place in places]).encode()
    channel.sendall(LENGTH.pack(len(content)) + content)
    answer = receive(channel, len(texts) * len(TOPICS) * 4)
    seconds = time.perf_counter() - began
    scores = np.frombuffer(answer, "<f4").reshape(len(texts), len(TOPICS))
    value = accuracy(scores, [classes[place] for place in places])
    tell(
        "result",
        value=None if np.isnan(value) else value,
        tokens=len(texts),
        batches=1,
        seconds=round(seconds, 4),
        reply_seconds=round(seconds, 6),
        tampered=None,
    )
    channel.sendall(RESULT.pack(value))


def main() -> None:
    """Serve the candidate at the other end of the socket."""
    channel = socket.socket(fileno=int(os.environ["RATCHET_EVALUATOR_FD"]))
    try:
        serve(channel, json.loads(os.environ["RATCHET_EVALUATION"]))
    except (EOFError, OSError) as error:
        tell("failed", reason=f"it did not send the scores of all paragraphs ({error})")


if __name__ == "__main__":
    main()
