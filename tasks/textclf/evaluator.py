"""Trusted evaluator: knows the topics of the validation paragraphs and tells nobody.

Fixed file of the task.  The harness runs it beside ``train.py``; there is nothing to run
by hand.  It sends all paragraphs in a secret order (those of a topic stand together in
the file) and gets the scores of the topics back as plain float32 bytes.  What the
harness gives and is told: ``serving.py``.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
from serving import Conversation, Order, random_order, run_evaluator, tell, tell_result

from prepare import LENGTH, TOPICS, accuracy, read


def serve(talk: Conversation, order: Order) -> None:
    """One evaluation, from the question to the result."""
    texts, classes = read(Path(order["data"]["val.tsv"]))
    places = random_order(order).permutation(len(texts))
    tell("ready")
    talk.wait_for_request()
    began = time.perf_counter()
    content = json.dumps([texts[place] for place in places]).encode()
    talk.ask(LENGTH.pack(len(content)) + content)
    answer = talk.answer(len(texts) * len(TOPICS) * 4)
    scores = np.frombuffer(answer, "<f4").reshape(len(texts), len(TOPICS))
    value = accuracy(scores, [classes[place] for place in places])
    tell_result(value, talk, began, tokens=len(texts), tampered=None)
    talk.close(value)


if __name__ == "__main__":
    run_evaluator(serve)
