"""Trusted evaluator: computes the metric outside the process that is measured.

Fixed file of the task, NumPy alone.  The harness runs it beside ``train.py``, which
never sees the data that this process has; there is nothing to run by hand.

It sends windows and positions, gets logits back as plain float16 bytes (protocol:
``channel.evaluate_remotely``), normalises them and computes bits per byte with its own
table of the tokens' bytes.  Before, it asks for the next token of prefixes, of which no
later token was sent yet (``prefixes.py``).  The metric depends on no randomness; the
order of the questions is drawn from a secret of the harness, or from the system's
randomness.

A candidate has been tampered with if predictions change when the rest of a window is
shown.  How well prefixes and whole windows are predicted is told to the harness, which
compares the difference with that of the baseline's runs.

What the harness gives and is told: ``serving.py``; of the environment it reads what
``scoring.Scale`` names, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scoring
from channel import HEADER, Logits, Tokens, request
from numpy.typing import NDArray
from prefixes import LARGEST_CHANGE, MEAN_CHANGE, Prefixes, counted
from scoring import WINDOWS_AT_ONCE, Scale, bits_per_byte, log_softmax
from serving import Conversation, Order, random_order, run_evaluator, tell, tell_result

# Parts of the audit text whose metric is told: enough to see how a gain varies over it.
PARTS = 32


@dataclass(frozen=True)
class Question:
    """What is sent when its turn comes, and who gets the logits."""

    asked: Callable[[], tuple[Tokens, Tokens]]
    accept: Callable[[Logits], None]


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
        self.prefixes = Prefixes(content, table, scale, rng)

    def accept(self, group: int, logits: Logits) -> None:
        """Take the logits of a group that counts."""
        self.losses[group] = scoring.losses(log_softmax(logits), self.targets[group])

    def cut_questions(self) -> list[tuple[int, Question]]:
        """Those for prefixes, each with the number of its position."""
        cuts = self.prefixes
        return [
            (q.number, Question(partial(cuts.asked, q), partial(cuts.accept, q)))
            for q in cuts.questions
        ]

    def whole_questions(self) -> list[Question]:
        """Those for whole windows, those that count and the cut ones that are shown again."""
        shown = [
            (self.windows[group], self.positions[group], partial(self.accept, group))
            for group in range(len(self.windows))
        ]
        shown += [(r.windows, r.positions, r.accept) for r in self.prefixes.repeats]
        return [
            Question(partial(_both, windows, positions), accept)
            for windows, positions, accept in shown
        ]

    @property
    def value(self) -> float:
        """Bits per byte."""
        nats = np.where(self.bytes > 0, self.losses, 0.0)
        return bits_per_byte([float(x.sum()) for x in nats], int(self.bytes.sum()))

    @property
    def parts(self) -> list[float]:
        """Bits per byte on consecutive parts of the windows: how they vary over the text."""
        nats = np.where(self.bytes > 0, self.losses, 0.0)
        split = (np.array_split(np.concatenate(list(x)), PARTS) for x in (nats, self.bytes))
        return [
            bits_per_byte([float(losses.sum())], int(size.sum()))
            for losses, size in zip(*split, strict=True)
            if size.any()
        ]

    def compared(self) -> dict[str, Any]:
        """Bits per byte of whole and of cut windows, in groups of equally many windows."""
        cuts = self.prefixes
        per_nat = self.bytes.size / int(self.bytes.sum()) / float(np.log(2.0))
        whole = counted(self.losses, self.bytes, cuts.bos + 1).mean() * per_nat
        return {
            "whole": round(float(whole), 6),
            "groups": len(self.windows) * WINDOWS_AT_ONCE / cuts.windows_per_group,
            "cut": cuts.groups(per_nat),
        }


def _both(windows: Tokens, positions: Tokens) -> tuple[Tokens, Tokens]:
    return windows, positions


def in_order(parts: Sequence[Part], rng: np.random.Generator) -> list[Question]:
    """All questions: prefixes, the shortest first, then whole windows in a secret order."""
    cuts = [cut for part in parts for cut in part.cut_questions()]
    cuts = [cuts[i] for i in rng.permutation(len(cuts))]
    cuts.sort(key=lambda cut: cut[0])
    whole = [question for part in parts for question in part.whole_questions()]
    return [question for _, question in cuts] + [whole[i] for i in rng.permutation(len(whole))]


class Questions:
    """Windows and positions on their way to the candidate, and its logits of ``vocab`` tokens."""

    def __init__(self, talk: Conversation, vocab: int) -> None:
        self.talk, self.vocab = talk, vocab

    def ask(self, windows: Tokens, positions: Tokens) -> None:
        """Send one group."""
        shape = (*windows.shape, positions.shape[1])
        self.talk.ask(HEADER.pack(*shape) + windows.tobytes() + positions.tobytes())

    def reply(self, positions: Tokens) -> Logits:
        """The logits for the group that was sent last."""
        answer = self.talk.answer(positions.size * self.vocab * 2)
        return np.frombuffer(answer, "<f2").reshape(*positions.shape, self.vocab)


def evaluate(talk: Questions, parts: Sequence[Part], rng: np.random.Generator) -> bool:
    """Ask everything; False as soon as a logit is not finite.

    While the candidate works on a question, the one before is added up.
    """
    questions = in_order(parts, rng)
    asked = questions[0].asked()
    talk.ask(*asked)
    for n, question in enumerate(questions):
        logits = talk.reply(asked[1])
        if not scoring.finite(logits):
            return False
        if n + 1 < len(questions):
            asked = questions[n + 1].asked()
            talk.ask(*asked)
        question.accept(logits)
    return True


def verdict(checks: dict[str, float]) -> str | None:
    """What the windows that were shown again found, in words."""
    if checks["mean_change"] > MEAN_CHANGE or checks["largest_change"] > LARGEST_CHANGE:
        return "predictions changed when later tokens were shown, or between two calls"
    return None


def serve(talk: Conversation, order: Order) -> None:
    """One evaluation, from the first question to the result."""
    rng, scale = random_order(order), Scale.from_environment()
    table = np.fromfile(order["data"]["token_bytes.bin"], dtype="<u2")
    validation = Part(Path(order["data"]["val.bin"]), table, scale, rng)
    audited = order["audit"]
    audit = Part(Path(audited["audit.bin"]), table, scale, rng) if audited else None
    parts = [part for part in (validation, audit) if part is not None]
    tell("ready")
    talk.wait_for_request(request(len(table)))
    began = time.perf_counter()
    finite = evaluate(Questions(talk, len(table)), parts, rng)
    checks = [part.prefixes.checks() for part in parts] if finite else []
    tampered = next((found for found in map(verdict, checks) if found), None)
    read = None
    if audit is not None:
        read = {
            "value": audit.value if finite else None,
            "tokens": audit.targets.size,
            "parts": audit.parts if finite else [],
            "prefixes": audit.compared() if finite else None,
        }
    value = validation.value if finite else None
    tell_result(
        value,
        talk,
        began,
        tokens=validation.targets.size,
        tampered=tampered,
        audit=read,
        prefixes=validation.compared() if finite else None,
        checks={name: round(value, 6) for name, value in checks[0].items()} if checks else {},
    )
    talk.close(float("nan") if value is None else value, HEADER.pack(0, 0, 0))


if __name__ == "__main__":
    run_evaluator(serve)
