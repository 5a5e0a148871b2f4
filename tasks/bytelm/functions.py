"""Functions of tensors with gradients of their own: masks, softmax, norms, lookup.

Fixed file of the task, beside ``autograd.py``; ``train.py`` imports it and there
is nothing to run.  Compose new layers from these; an operation that is missing
can be made in ``train.py`` with :func:`autograd.operation`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from autograd import Array, Operand, Tensor, as_tensor, binary, operation


def where(mask: Array, a: Operand, b: Operand) -> Tensor:
    """``a`` where the boolean array ``mask`` holds, else ``b``."""
    x, y = as_tensor(a), as_tensor(b)
    value = np.where(mask, x.data, y.data)
    return binary(x, y, value, lambda g: g * mask, lambda g: g * ~mask)


def concat(parts: Sequence[Tensor], axis: int = -1) -> Tensor:
    """Join tensors along ``axis``."""
    cuts = np.cumsum([part.shape[axis] for part in parts])[:-1]
    value = np.concatenate([part.data for part in parts], axis=axis)
    return operation(value, tuple(parts), lambda g: np.split(g, cuts, axis=axis))


def softmax(x: Tensor) -> Tensor:
    """Softmax over the last axis; exact for any finite input."""
    y = np.exp(x.data - x.data.max(axis=-1, keepdims=True))
    y /= y.sum(axis=-1, keepdims=True)
    return operation(y, (x,), lambda g: (y * (g - (g * y).sum(axis=-1, keepdims=True)),))


def log_softmax(x: Tensor) -> Tensor:
    """Logarithm of the softmax over the last axis, in nats."""
    y = x.data - x.data.max(axis=-1, keepdims=True)
    y -= np.log(np.exp(y).sum(axis=-1, keepdims=True))
    return operation(y, (x,), lambda g: (g - np.exp(y) * g.sum(axis=-1, keepdims=True),))


def cross_entropy(logits: Tensor, targets: Array) -> Tensor:
    """Mean over all positions of -log p(target), in nats.

    ``logits`` (..., V), ``targets`` integers (...); the result is a scalar.
    """
    rows = np.arange(targets.size)
    flat = logits.data.reshape(targets.size, -1)
    p = flat - flat.max(axis=-1, keepdims=True)
    picked = p[rows, targets.reshape(-1)]
    np.exp(p, out=p)
    total = p.sum(axis=-1, keepdims=True)
    p /= total
    loss = (np.log(total[:, 0]) - picked).mean()

    def backward(g: Array) -> Sequence[Array | None]:
        d = p * (g / targets.size)
        d[rows, targets.reshape(-1)] -= g / targets.size
        return (d.reshape(logits.shape),)

    return operation(loss, (logits,), backward, saved=(p,))


def gather(table: Tensor, index: Array) -> Tensor:
    """Rows of ``table`` (V, C) by integers of any shape: (..., C)."""
    if index.size and not 0 <= index.min() <= index.max() < table.shape[0]:
        raise IndexError(f"gather: an index is outside the {table.shape[0]} rows of the table")

    def backward(g: Array) -> Sequence[Array | None]:
        # Sorted segments are summed: far faster than adding row by row.
        order = np.argsort(index, axis=None, kind="stable")
        ids = index.reshape(-1)[order]
        starts = np.flatnonzero(np.r_[True, ids[1:] != ids[:-1]])
        full = np.zeros_like(table.data)
        full[ids[starts]] = np.add.reduceat(g.reshape(-1, g.shape[-1])[order], starts, axis=0)
        return (full,)

    return operation(table.data[index], (table,), backward)


def causal_windows(x: Tensor, width: int) -> Tensor:
    """The last ``width`` positions side by side: (B, T, C) to (B, T, width * C).

    Block ``j`` of the result at position ``t`` is ``x`` at ``t - j``, zeros
    before the start: no position sees a later one.
    """
    batch, length, channels = x.shape
    spans = [(j, slice(j * channels, (j + 1) * channels)) for j in range(min(width, length))]
    y = np.zeros((batch, length, width * channels), dtype=x.data.dtype)
    for j, span in spans:
        y[:, j:, span] = x.data[:, : length - j]

    def backward(g: Array) -> Sequence[Array | None]:
        full = np.zeros_like(x.data)
        for j, span in spans:
            full[:, : length - j] += g[:, j:, span]
        return (full,)

    return operation(y, (x,), backward)


def rms_norm(x: Tensor, epsilon: float = 1e-6) -> Tensor:
    """Divide by the root mean square over the last axis."""
    scale = 1.0 / np.sqrt(np.square(x.data).mean(axis=-1, keepdims=True) + epsilon)
    y = x.data * scale

    def backward(g: Array) -> Sequence[Array | None]:
        return ((g - y * (g * y).mean(axis=-1, keepdims=True)) * scale,)

    return operation(y, (x,), backward, saved=(scale,))


def layer_norm(x: Tensor, epsilon: float = 1e-6) -> Tensor:
    """Subtract the mean over the last axis, then divide by the standard deviation."""
    return rms_norm(x - x.mean(axis=-1, keepdims=True), epsilon)
