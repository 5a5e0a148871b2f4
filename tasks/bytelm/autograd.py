"""Reverse-mode differentiation over NumPy arrays: what a small language model needs.

Fixed file of the task; ``train.py`` imports it and there is nothing to run::

    from functions import Tensor, cross_entropy, gather
    table = Tensor(rng.standard_normal((256, 256)), requires_grad=True)
    loss = cross_entropy(gather(table, inputs), targets)
    loss.backward()  # table.grad is now an array

Covered: arithmetic with broadcasting, batched products, shapes, sums, activations;
``functions.py`` adds the rest.  Not covered: second derivatives, in-place changes of
a tensor that was already used, sparse gradients, devices, mixed precision.  Tensors
hold float32; :func:`precision` switches to float64 for gradient checks.

Memory is counted, not sampled: a tensor adds its bytes while it lives (a view adds
none), and so do its gradient and the arrays that its operation saved.  Temporary
arrays inside one operation do not count.  :func:`peak_mem_mb` therefore depends on
the code and the number of steps, never on the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias, Union

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Backward: TypeAlias = Callable[[Array], Sequence[Array | None]]
Operand: TypeAlias = Union["Tensor", Array, float]
Axis: TypeAlias = int | tuple[int, ...] | None


class _State:
    """What is global here: the precision, whether a tape is kept, the byte count."""

    dtype: type = np.float32
    recording: bool = True
    live: int = 0
    peak: int = 0


def _keep_freed_memory() -> None:
    """Make the C library reuse freed arrays instead of giving them back each time.

    Glibc raises its limits for that to the size of the largest block ever freed.
    Without it the same code takes up to 1.6 times as long, until it happens to free one.
    """
    np.empty(31 * 2**20, dtype=np.uint8)


_keep_freed_memory()


def _count(size: int) -> None:
    _State.live += size
    _State.peak = max(_State.peak, _State.live)


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

    ``grad`` is ``None`` until :meth:`backward` has reached this leaf (a tensor
    made with ``requires_grad=True``); it accumulates until it is set to ``None``.
    """

    __array_ufunc__ = None  # ``array * tensor`` has to reach Tensor.__rmul__.
    __slots__ = (
        "_backward", "_bytes", "_grad", "_parents", "_saved_bytes", "data", "requires_grad"
    )  # fmt: skip

    def __init__(self, data: Any, requires_grad: bool = False, *, view: bool = False) -> None:
        self._bytes = 0
        self.data: Array = np.asarray(data, dtype=_State.dtype)
        self.requires_grad = requires_grad
        self._grad: Array | None = None
        self._parents: tuple[Tensor, ...] = ()
        self._backward: Backward | None = None
        self._saved_bytes = 0
        self._hold(0 if view else self.data.nbytes)

    def __del__(self) -> None:
        _State.live -= self._bytes

    def _hold(self, size: int) -> None:
        self._bytes += size
        _count(size)

    @property
    def grad(self) -> Array | None:
        """Derivative of the losses so far, an array of the shape of ``data``."""
        return self._grad

    @grad.setter
    def grad(self, value: Array | None) -> None:
        old, self._grad = self._grad, value
        self._hold((0 if value is None else value.nbytes) - (0 if old is None else old.nbytes))

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

    def item(self) -> float:
        """The value of a tensor with one element."""
        return float(self.data.item())

    def backward(self) -> None:
        """Add d(self)/d(leaf) to the ``grad`` of every leaf; ``self`` is a scalar.

        The tape is used up: an operation is released as soon as it is done.
        """
        if self.size != 1:
            raise ValueError(f"backward needs a scalar, found the shape {self.shape}")
        if not self.requires_grad:
            raise ValueError("backward: nothing here needs a gradient, or the tape was used before")
        order = _operations_before(self)
        pending = {id(self): np.ones_like(self.data)}
        _count(self.data.nbytes)
        given: set[int] = set()
        while order:
            node = order.pop()
            grad = pending.pop(id(node))
            if node._backward is None:
                node._accept(grad, given)
            else:
                for parent, part in zip(node._parents, node._backward(grad), strict=True):
                    if part is None or not parent.requires_grad:
                        continue
                    if id(parent) in pending:
                        pending[id(parent)] = pending[id(parent)] + part
                    else:
                        pending[id(parent)] = part
                        _count(part.nbytes)
                node._release()
            _State.live -= grad.nbytes

    def _accept(self, grad: Array, given: set[int]) -> None:
        """Take a leaf's gradient; a copy where another leaf may hold the same memory."""
        if self._grad is not None:
            grad = self._grad + grad
        elif grad.base is not None or id(grad) in given:
            grad = grad.copy()
        given.add(id(grad))
        self.grad = grad

    def _release(self) -> None:
        self._backward, self._parents = None, ()
        self.requires_grad = False
        self._hold(-self._saved_bytes)
        self._saved_bytes = 0

    # Arithmetic.  The other operand may be a tensor, an array or a number.

    def __add__(self, other: Operand) -> Tensor:
        b = as_tensor(other)
        return binary(self, b, self.data + b.data, lambda g: g, lambda g: g)

    def __sub__(self, other: Operand) -> Tensor:
        b = as_tensor(other)
        return binary(self, b, self.data - b.data, lambda g: g, lambda g: -g)

    def __mul__(self, other: Operand) -> Tensor:
        a, b = self.data, as_tensor(other)
        return binary(self, b, a * b.data, lambda g: g * b.data, lambda g: g * a)

    def __truediv__(self, other: Operand) -> Tensor:
        b = as_tensor(other)
        y = self.data / b.data
        return binary(self, b, y, lambda g: g / b.data, lambda g: -g * y / b.data)

    def __pow__(self, exponent: float) -> Tensor:
        x = self.data
        return operation(x**exponent, (self,), lambda g: (g * exponent * x ** (exponent - 1),))

    def __neg__(self) -> Tensor:
        return operation(-self.data, (self,), lambda g: (-g,))

    def __radd__(self, other: Operand) -> Tensor:
        return self + other

    def __rsub__(self, other: Operand) -> Tensor:
        return as_tensor(other) - self

    def __rmul__(self, other: Operand) -> Tensor:
        return self * other

    def __rtruediv__(self, other: Operand) -> Tensor:
        return as_tensor(other) / self

    def __matmul__(self, other: Operand) -> Tensor:
        """Product over the last two axes: (..., n, k) @ (..., k, m) or (..., k) @ (k, m)."""
        b = as_tensor(other)
        if min(self.ndim, b.ndim) < 2:
            raise ValueError(f"@ needs matrices, found {self.shape} and {b.shape}")
        if b.ndim == 2:
            return _matmul_rows(self, b)
        x, y = self.data, b.data
        return binary(
            self, b, x @ y, lambda g: g @ y.swapaxes(-1, -2), lambda g: x.swapaxes(-1, -2) @ g
        )

    # Shapes.

    def reshape(self, *shape: int) -> Tensor:
        old = self.shape
        return operation(self.data.reshape(shape), (self,), lambda g: (g.reshape(old),), view=True)

    def transpose(self, *axes: int) -> Tensor:
        """Permute the axes; without ``axes`` reverse them."""
        order = axes or tuple(reversed(range(self.ndim)))
        back = np.argsort(order)
        return operation(
            self.data.transpose(order), (self,), lambda g: (g.transpose(back),), view=True
        )

    def __getitem__(self, index: Any) -> Tensor:
        """Basic or advanced indexing with constants (slices, integers, arrays)."""
        x = self.data
        items = index if isinstance(index, tuple) else (index,)
        basic = all(i is None or i is ... or isinstance(i, int | slice) for i in items)

        def backward(g: Array) -> Sequence[Array | None]:
            full = np.zeros_like(x)
            if basic:  # Reaches every element at most once.
                full[index] = g
            else:
                np.add.at(full, index, g)
            return (full,)

        return operation(x[index], (self,), backward, view=basic)

    # Reductions.

    def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return _reduce(self, axis, keepdims, average=False)

    def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return _reduce(self, axis, keepdims, average=True)

    # Functions of one element.

    def exp(self) -> Tensor:
        y = np.exp(self.data)
        return operation(y, (self,), lambda g: (g * y,))

    def log(self) -> Tensor:
        x = self.data
        return operation(np.log(x), (self,), lambda g: (g / x,))

    def sqrt(self) -> Tensor:
        y = np.sqrt(self.data)
        return operation(y, (self,), lambda g: (0.5 * g / y,))

    def tanh(self) -> Tensor:
        y = np.tanh(self.data)
        return operation(y, (self,), lambda g: (g * (1.0 - y * y),))

    def sigmoid(self) -> Tensor:
        y = 0.5 * np.tanh(0.5 * self.data) + 0.5
        return operation(y, (self,), lambda g: (g * y * (1.0 - y),))

    def relu(self) -> Tensor:
        y = np.maximum(self.data, 0.0)
        return operation(y, (self,), lambda g: (g * (y > 0),))


def as_tensor(value: Operand) -> Tensor:
    """A tensor as it is, anything else as a constant."""
    return value if isinstance(value, Tensor) else Tensor(value)


def operation(
    value: Any,
    parents: tuple[Tensor, ...],
    backward: Backward,
    saved: Sequence[Array] = (),
    view: bool = False,
) -> Tensor:
    """The result of an operation, with its tape entry if one is needed.

    ``backward`` turns the gradient of the result into those of the ``parents``
    (``None`` where none is needed); ``saved`` are arrays that it keeps alive.
    """
    out = Tensor(value, view=view)
    if _State.recording and any(parent.requires_grad for parent in parents):
        out.requires_grad = True
        out._parents, out._backward = parents, backward
        out._saved_bytes = sum(array.nbytes for array in saved)
        out._hold(out._saved_bytes)
    return out


def binary(
    a: Tensor,
    b: Tensor,
    value: Array,
    left: Callable[[Array], Array],
    right: Callable[[Array], Array],
) -> Tensor:
    """An operation on two tensors; a constant operand's derivative is not computed."""

    def backward(g: Array) -> Sequence[Array | None]:
        return (
            _fold(left(g), a.shape) if a.requires_grad else None,
            _fold(right(g), b.shape) if b.requires_grad else None,
        )

    return operation(value, (a, b), backward)


def _fold(g: Array, shape: tuple[int, ...]) -> Array:
    """Undo broadcasting: sum a gradient down to ``shape``."""
    if g.shape == shape:
        return g
    extra = g.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(
        extra + i for i, n in enumerate(shape) if n == 1 and g.shape[extra + i] != 1
    )
    folded: Array = g.sum(axis=axes).reshape(shape)
    return folded


def _matmul_rows(a: Tensor, b: Tensor) -> Tensor:
    """(..., k) @ (k, m) as one product of two matrices, which is the fast case."""
    x, y = a.data.reshape(-1, a.shape[-1]), b.data
    value = (x @ y).reshape(*a.shape[:-1], y.shape[1])

    def backward(g: Array) -> Sequence[Array | None]:
        rows = g.reshape(-1, y.shape[1])
        return (
            (rows @ y.T).reshape(a.shape) if a.requires_grad else None,
            x.T @ rows if b.requires_grad else None,
        )

    return operation(value, (a, b), backward)


def _reduce(x: Tensor, axis: Axis, keepdims: bool, average: bool) -> Tensor:
    kept = x.data.sum(axis=axis, keepdims=True)
    factor = kept.size / x.size if average else 1.0
    value = kept * factor

    def backward(g: Array) -> Sequence[Array | None]:
        return (np.broadcast_to(g.reshape(kept.shape) * factor, x.shape),)

    return operation(value if keepdims else value.squeeze(axis), (x,), backward)


def _operations_before(last: Tensor) -> list[Tensor]:
    """All tensors that ``last`` depends on and that need a gradient, itself at the end."""
    order: list[Tensor] = []
    seen: set[int] = set()
    stack: list[tuple[Tensor, bool]] = [(last, False)] if last.requires_grad else []
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            stack.extend((p, False) for p in node._parents if p.requires_grad)
    return order
