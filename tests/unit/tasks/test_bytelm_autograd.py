"""Differentiation in tasks/bytelm: every gradient, broadcasting, memory, misuse."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st


def positive(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return 0.5 + rng.random(shape)


def away_from_zero(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return positive(rng, *shape) * rng.choice([-1.0, 1.0], shape)


MASK = np.arange(12).reshape(3, 4) % 3 == 0
INDEX = np.array([[1, 4, 1], [0, 1, 3]])
# Name: (function of tensors, shapes of its arguments).
OPERATIONS: dict[str, tuple[Callable[..., Any], list[tuple[int, ...]]]] = {
    "add": (lambda _, a, b: a + b, [(3, 4), (4,)]),
    "radd": (lambda _, a: 2.0 + a, [(3,)]),
    "sub": (lambda _, a, b: a - b, [(3, 1), (1, 4)]),
    "rsub": (lambda _, a: np.ones((2, 3)) - a, [(3,)]),
    "mul": (lambda _, a, b: a * b, [(2, 3, 4), (3, 1)]),
    "rmul": (lambda _, a: np.arange(3.0) * a, [(2, 3)]),
    "square by mul": (lambda _, a: a * a, [(3,)]),
    "div": (lambda _, a, b: a / b, [(3, 4), (3, 1)]),
    "rdiv": (lambda _, a: 1.0 / a, [(4,)]),
    "neg": (lambda _, a: -a, [(3,)]),
    "pow": (lambda _, a: a**3, [(3, 2)]),
    "matmul": (lambda _, a, b: a @ b, [(3, 4), (4, 2)]),
    "matmul rows": (lambda _, a, b: a @ b, [(2, 3, 4), (4, 2)]),
    "matmul batched": (lambda _, a, b: a @ b, [(2, 3, 4), (2, 4, 5)]),
    "matmul broadcast": (lambda _, a, b: a @ b, [(3, 4), (2, 4, 5)]),
    "reshape": (lambda _, a: a.reshape(2, -1) ** 2, [(4, 3)]),
    "transpose": (lambda _, a: a.transpose(2, 0, 1) ** 2, [(2, 3, 4)]),
    "transpose all": (lambda _, a, b: a @ b.transpose(), [(2, 3), (4, 3)]),
    "slice": (lambda _, a: a[:, 1:3] ** 2, [(3, 4)]),
    "slice one": (lambda _, a: a[..., -1, None] ** 2, [(3, 4)]),
    "take twice": (lambda _, a: a[:, np.array([1, 1, 0])] ** 2, [(3, 4)]),
    "boolean": (lambda _, a: a[MASK] ** 2, [(3, 4)]),
    "sum": (lambda _, a: a.sum() ** 2, [(3, 4)]),
    "sum axes": (lambda _, a: a.sum(axis=(0, 2)) ** 2, [(2, 3, 4)]),
    "mean": (lambda _, a: a.mean() ** 2, [(3, 4)]),
    "mean kept": (lambda _, a: a - a.mean(axis=-1, keepdims=True), [(3, 4)]),
    "exp": (lambda _, a: a.exp(), [(3,)]),
    "log": (lambda _, a: (a * a).log(), [(3,)]),
    "sqrt": (lambda _, a: (a * a + 1.0).sqrt(), [(3,)]),
    "tanh": (lambda _, a: a.tanh(), [(3,)]),
    "sigmoid": (lambda _, a: a.sigmoid(), [(3,)]),
    "relu": (lambda _, a: a.relu(), [(3, 4)]),
    "where": (lambda ag, a, b: ag.where(MASK, a, b), [(3, 4), (4,)]),
    "concat": (lambda ag, a, b: ag.concat([a, b, a], axis=1) ** 2, [(2, 3), (2, 1)]),
    "softmax": (lambda ag, a: ag.softmax(a), [(2, 3, 4)]),
    "log_softmax": (lambda ag, a: ag.log_softmax(a), [(3, 4)]),
    "cross_entropy": (lambda ag, a: ag.cross_entropy(a, INDEX), [(2, 3, 5)]),
    "gather": (lambda ag, a: ag.gather(a, INDEX) ** 2, [(5, 3)]),
    "causal_windows": (lambda ag, a: ag.causal_windows(a, 3) ** 2, [(2, 4, 3)]),
    "windows wider than long": (lambda ag, a: ag.causal_windows(a, 5) ** 2, [(1, 2, 3)]),
    "rms_norm": (lambda ag, a: ag.rms_norm(a), [(3, 4)]),
    "layer_norm": (lambda ag, a: ag.layer_norm(a), [(2, 3, 4)]),
}


def check_gradient(ag: Any, function: Callable[..., Any], arrays: list[np.ndarray]) -> None:
    """Compare the tape with central differences in float64."""
    with ag.precision(np.float64):
        weights = np.random.default_rng(9).standard_normal(
            function(ag, *map(ag.Tensor, arrays)).shape
        )

        def loss(values: list[np.ndarray], grad: bool) -> tuple[Any, list[Any]]:
            tensors = [ag.Tensor(v, requires_grad=grad) for v in values]
            return (function(ag, *tensors) * weights).sum(), tensors

        total, tensors = loss(arrays, True)
        total.backward()
        arrays = [np.array(array) for array in arrays]
        for k, array in enumerate(arrays):
            expected = np.zeros_like(array)
            for place in np.ndindex(array.shape):
                ends = []
                for step in (1e-6, -1e-6):
                    moved = [a.copy() for a in arrays]
                    moved[k][place] += step
                    ends.append(loss(moved, False)[0].item())
                expected[place] = (ends[0] - ends[1]) / 2e-6
            np.testing.assert_allclose(tensors[k].grad, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", OPERATIONS)
def test_gradient_of_every_operation(ag: Any, name: str) -> None:
    function, shapes = OPERATIONS[name]
    rng = np.random.default_rng(5)
    check_gradient(ag, function, [away_from_zero(rng, *shape) for shape in shapes])


@st.composite
def broadcastable(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...]]:
    full = draw(st.lists(st.integers(1, 3), min_size=0, max_size=3))
    shapes = []
    for _ in range(2):
        kept = [draw(st.sampled_from([1, n])) for n in full]
        shapes.append(tuple(kept[draw(st.integers(0, len(kept))) :]))
    return shapes[0], shapes[1]


@settings(max_examples=40, deadline=None)
@given(shapes=broadcastable(), name=st.sampled_from(["add", "sub", "mul", "div"]))
def test_any_broadcast_has_the_right_gradient(ag, shapes, name) -> None:
    rng = np.random.default_rng(len(shapes[0]))
    check_gradient(ag, OPERATIONS[name][0], [away_from_zero(rng, *s) for s in shapes])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=2, max_size=8))
def test_softmax_stays_finite_and_sums_to_one(ag: Any, values: list[float]) -> None:
    x = ag.Tensor(np.array([values]))
    assert ag.softmax(x).data.sum() == pytest.approx(1.0, abs=1e-5)
    assert np.isfinite(ag.log_softmax(x).data).all()


def test_a_shared_tensor_gets_the_sum_of_its_gradients(ag: Any) -> None:
    x = ag.Tensor([2.0], requires_grad=True)
    y = x * 3.0
    (y * y + y).sum().backward()
    assert x.grad[0] == pytest.approx(39.0)
    (x * 1.0).sum().backward()
    assert x.grad[0] == pytest.approx(40.0)
    # Gradients of leaves share no memory.
    a, b = (ag.Tensor(np.ones((2, 2)), requires_grad=True) for _ in range(2))
    (a + b + a.transpose()).sum().backward()
    a.grad *= 0.0
    np.testing.assert_array_equal(b.grad, np.ones((2, 2)))


def test_misuse_is_refused_with_the_reason(ag: Any) -> None:
    x = ag.Tensor(np.ones(3), requires_grad=True)
    with pytest.raises(ValueError, match="scalar"):
        (x * 2.0).backward()
    with pytest.raises(ValueError, match="needs a gradient"):
        ag.Tensor(1.0).backward()
    with pytest.raises(IndexError, match="5 rows"):
        ag.gather(ag.Tensor(np.ones((5, 2))), np.array([5]))
    with pytest.raises(ValueError, match="matrices"):
        x @ x


def test_memory_counts_tape_and_gradients_and_releases_them(ag: Any) -> None:
    before = ag._State.live
    x = ag.Tensor(np.ones((256, 256)), requires_grad=True)
    loss = (x.tanh() * x).sum()
    assert ag._State.live - before >= 3 * 256 * 1024
    loss.backward()
    del loss
    assert ag._State.live - before == 2 * 256 * 1024  # x and its gradient
    x.grad = None
    del x
    assert ag._State.live == before
    with ag.no_grad():
        y = ag.Tensor(np.ones(4), requires_grad=True).exp().log()
    assert not y.requires_grad
    del y
    assert ag._State.live == before


def test_tensors_are_float32(ag: Any) -> None:
    x = ag.Tensor(np.ones((2, 3), dtype=np.float64), requires_grad=True)
    y = ag.rms_norm((x * 2.0 + 1).sigmoid() ** 2 / 3.0 - 1.0).mean(axis=0)
    assert y.data.dtype == np.float32
    y.sum().backward()
    assert x.grad.dtype == np.float32
