"""The metric: which positions are scored, and bits per byte from logits.

Fixed file of the task, NumPy alone; ``runtime.py`` (by hand) and ``evaluator.py``
(under a harness) compute the same number with it.  There is nothing to run.

A window is the token BOS and ``length - 1`` tokens of the split; the windows are
spread evenly over it.  Of each, ``positions`` places are scored, spread evenly too,
the last one included.  All of that depends on the split alone, so that every run is
measured on the same tokens.  A target without bytes (BOS) is not scored.

Environment, set by presets: ``RATCHET_EVAL_WINDOWS``, ``RATCHET_EVAL_LENGTH``,
``RATCHET_EVAL_POSITIONS`` (per window) and ``RATCHET_EVAL_CUT``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from channel import Tokens
from numpy.typing import NDArray

Floats = NDArray[np.float32]

WINDOWS_AT_ONCE = 8


@dataclass(frozen=True)
class Scale:
    """How much is evaluated: windows, tokens per window, scored positions per window.

    ``cut`` windows are asked besides, by the evaluator alone (``prefixes.py``).
    """

    windows: int
    length: int
    positions: int
    cut: int = 256

    @classmethod
    def from_environment(cls) -> Scale:
        """What the preset says; without one 65,536 positions in windows of 2048."""
        usual = {"WINDOWS": 512, "LENGTH": 2048, "POSITIONS": 128, "CUT": cls.cut}
        given = ((os.environ.get(f"RATCHET_EVAL_{n}"), default) for n, default in usual.items())
        return cls(*(int(value or default) for value, default in given))


@dataclass(frozen=True)
class Questions:
    """Windows (W, T), positions (W, P), the tokens that follow them and their bytes."""

    windows: Tokens
    positions: Tokens
    targets: Tokens
    target_bytes: NDArray[np.int64]


def questions(tokens: Tokens, token_bytes: NDArray[Any], scale: Scale) -> Questions:
    """What is asked of a split, in a fixed order; BOS is the last token of the table.

    Raises :class:`ValueError` for a split that is too short.
    """
    count, length = scale.windows, scale.length
    if count % WINDOWS_AT_ONCE or not 0 < scale.positions <= length:
        raise ValueError(
            f"RATCHET_EVAL_WINDOWS must be a multiple of {WINDOWS_AT_ONCE} and "
            f"RATCHET_EVAL_POSITIONS at most RATCHET_EVAL_LENGTH, found {scale}"
        )
    last = len(tokens) - length
    if last < count:
        raise ValueError(f"the split has {len(tokens)} tokens, too few for {scale}")
    starts = np.arange(count) * last // max(1, count - 1)
    spans = np.asarray(tokens[starts[:, None] + np.arange(length)])
    first = np.full((count, 1), len(token_bytes) - 1, spans.dtype)
    windows = np.concatenate([first, spans[:, :-1]], axis=1).astype("<u2")
    positions = np.tile(places(scale), (count, 1))
    targets = np.take_along_axis(spans, positions.astype(np.int64), axis=1).astype("<u2")
    return Questions(windows, positions, targets, token_bytes[targets].astype(np.int64))


def places(scale: Scale) -> Tokens:
    """The scored positions of a window, the last one included."""
    steps = np.arange(1, scale.positions + 1) * scale.length // scale.positions - 1
    return steps.astype("<u2")


def log_softmax(logits: NDArray[Any]) -> Floats:
    """Log-likelihoods of all tokens, normalised here, whatever was sent."""
    found = logits.astype(np.float32)
    found -= found.max(axis=-1, keepdims=True)
    found -= np.log(np.exp(found).sum(axis=-1, dtype=np.float64, keepdims=True)).astype(np.float32)
    return found


def finite(logits: NDArray[np.float16]) -> bool:
    """Whether there is no infinity and no nan; numpy's own test is slow in half precision."""
    return not np.any((logits.view(np.uint16) & 0x7C00) == 0x7C00)


def losses(likelihoods: Floats, targets: NDArray[Any]) -> NDArray[np.float64]:
    """Nats of every target (rows, positions)."""
    picked = np.take_along_axis(likelihoods, targets[..., None].astype(np.int64), axis=-1)
    return -picked[..., 0].astype(np.float64)


def bits_per_byte(nats: Sequence[float], count: int) -> float:
    """The metric from the nats of groups of windows, always added up in one order."""
    return float(np.sum(np.array(nats))) / count / float(np.log(2.0))
