"""Reverse-mode differentiation over NumPy arrays: what a small language model needs.

Fixed file of the task; ``train.py`` imports it and nothing has to be run::

    from autograd import Tensor, gather, cross_entropy
    table = Tensor(rng.standard_normal((256, 32)), requires_grad=True)
    loss = cross_entropy(gather(table, inputs), targets)
    loss.backward()                      # table.grad is now an array

Covered: arithmetic with broadcasting, powers, batched matrix products, shapes
(reshape, transpose, slices, concatenation), sums and means, the usual
activations, masks, softmax, layer and RMS normalisation, embedding lookup,
causal windows, dropout and the cross-entropy.  Every operation is
differentiated once.

Not covered: second derivatives, in-place changes of a tensor that was already
used, sparse gradients, devices, mixed precision.  Tensors hold float32;
:func:`precision` switches to float64 for gradient checks.

Memory is counted, not sampled: every array that a tensor, its tape or a gradient
owns adds its bytes while it lives, and views add nothing.  Temporary arrays
inside one operation are not counted.  :func:`peak_mem_mb` therefore depends on
the code and on the number of steps alone, never on the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Backward: TypeAlias = Callable[[Array], Sequence["Array | None"]]
Operand: TypeAlias = "Tensor | Array | float"


class _State:
    """What is global here: the precision, whether a tape is kept, the byte count."""

    dtype: type = np.float32
    recording: bool = True
    live: int = 0
    peak: int = 0


def _count(size: int) -> None:
    _State.live += size
    _State.peak = max(_State.peak, _State.live)


def _owned(array: Array | None) -> int:
    """Bytes of an array, 0 if it is a view of another one."""
    return array.nbytes if array is not None and array.base is None else 0


def peak_mem_mb() -> float:
    """Largest number of MiB that tensors, tapes and gradients held at once so far."""
    return _State.peak / 2**20


@contextmanager
def no_grad() -> Iterator[None]:
    """Compute without a tape, so that intermediate tensors are freed at once."""
    before, _State.recording = _State.recording, False
    try:
        yield
    finally:
        _State.recording = before


@contextmanager
def precision(dtype: type) -> Iterator[None]:
    """Hold new tensors in ``dtype`` (float64 makes finite differences exact enough)."""
    before, _State.dtype = _State.dtype, dtype
    try:
        yield
    finally:
        _State.dtype = before


class Tensor:
    """An array, its gradient and the operation that made it.

    ``grad`` is ``None`` until :meth:`backward` reached a leaf that was made
    with ``requires_grad=True``; it accumulates until it is set to ``None``.
    """

    __array_ufunc__ = None  # ``array * tensor`` must come to Tensor.__rmul__.
    __slots__ = ("__weakref__", "_backward", "_bytes", "_grad", "_parents", "data", "requires_grad")

    def __init__(self, data: Any, requires_grad: bool = False) -> None:
        self._bytes = 0
        self.data: Array = np.asarray(data, dtype=_State.dtype)
        self.requires_grad = requires_grad
        self._grad: Array | None = None
        self._parents: tuple[Tensor, ...] = ()
        self._backward: Backward | None = None
        self._bytes = _owned(self.data)
        _count(self._bytes)

    def __del__(self) -> None:
        _State.live -= self._bytes

    @property
    def grad(self) -> Array | None:
        """Derivative of the last backward pass's loss, of the shape of ``data``."""
        return self._grad

    @grad.setter
    def grad(self, value: Array | None) -> None:
        size = _owned(value) - _owned(self._grad)
        self._grad = value
        self._bytes += size
        _count(size)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def ndim(self) -> int:
        return self.data.ndim

    @property
    def size(self) -> int:
        return self.data.size

    def __repr__(self) -> str:
        return f"Tensor(shape={self.shape}, requires_grad={self.requires_grad})"

    def __len__(self) -> int:
        return len(self.data)

    def item(self) -> float:
        """The value of a tensor with one element."""
        return float(self.data.item())

    def detach(self) -> Tensor:
        """The same values as a constant."""
        return Tensor(self.data)

    def backward(self) -> None:
        """Add d(self)/d(leaf) to the ``grad`` of every leaf; ``self`` is a scalar.

        The tape is used up: operations are released as soon as they are done.
        """
        if self.data.size != 1:
            raise ValueError(f"backward: needs a scalar, found the shape {self.shape}")
        pending: dict[int, Array] = {id(self): np.ones_like(self.data)}
        for node in reversed(_sorted(self)):
            grad = pending.pop(id(node))
            if node._backward is None:
                node.grad = grad if node._grad is None else node._grad + grad
                continue
            for parent, part in zip(node._parents, node._backward(grad), strict=True):
                if part is not None and parent.requires_grad:
                    before = pending.get(id(parent))
                    pending[id(parent)] = part if before is None else before + part
                    _count(_owned(part) if before is None else 0)
            _State.live -= _owned(grad) if node is not self else 0
            node._backward, node._parents = None, ()

    # Arithmetic; every operand may be a tensor, an array or a number.

    def __add__(self, other: Operand) -> Tensor:
        a, b = self, as_tensor(other)
        return _make(
            a.data + b.data, (a, b), lambda g: (_fold(g, a.data.shape), _fold(g, b.data.shape))
        )
