"""Byte-level language model: the one file that experiments edit.

Run it after the preparation; it trains for the budget that the environment sets
and ends with the summary block::

    python prepare.py && python train.py

The model predicts the next byte from the last ``CONTEXT`` ones: a mixer lays
their embeddings side by side and multiplies them by one matrix, residual MLP
blocks follow, and a head gives the 256 scores.  Everything here may be changed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import autograd as ag
import functions as fn
import numpy as np
from autograd import Array, Tensor

from prepare import SEED, VOCAB_SIZE, Budget, evaluate_bpb, load_split, print_summary

# Model
CONTEXT = 8  # bytes that the mixer sees, the current one included
EMBED_DIM = 16  # numbers per byte
WIDTH = 96  # numbers per position between the blocks
DEPTH = 1  # residual MLP blocks
MLP_RATIO = 2  # hidden width of a block, in units of WIDTH
INIT_STD = 0.1  # standard deviation of the matrices at the start
EMBED_STD = 0.02  # the same for the embedding
LOGIT_CAP = 0.0  # bound the logits smoothly to +- this; 0 leaves them alone

# Optimizer
LEARNING_RATE = 5e-4  # AdamW, at the plateau of the schedule
BETA1 = 0.9  # memory of the mean gradient
BETA2 = 0.999  # memory of the squared gradient
EPSILON = 1e-8  # added to the root of the squared gradient
WEIGHT_DECAY = 0.1  # pull of the matrices towards zero, times the learning rate
GRAD_CLIP = 1.0  # largest norm of the whole gradient; 0 switches it off
EMBED_LR_FACTOR = 1.0  # learning rate of the embedding, in units of LEARNING_RATE

# Schedule
WARMUP = 0.1  # part of the budget with a rising learning rate
COOLDOWN = 0.0  # part of the budget at the end with a falling one
FINAL_LR = 0.0  # where the cooldown ends, in units of LEARNING_RATE

# Data and regularization
BATCH_SIZE = 8  # windows per step
SEQ_LEN = 64  # bytes per window
DROPOUT = 0.0  # part of a block's hidden values that a step leaves out
SMOOTHING = 0.0  # part of the target that is spread over all bytes

LOG_EVERY = 0.2  # part of the budget between progress lines


def init_matrix(rng: np.random.Generator, inputs: int, outputs: int) -> Tensor:
    """Weights (inputs, outputs) of a linear layer."""
    std = INIT_STD
    return Tensor(rng.standard_normal((inputs, outputs)) * std, requires_grad=True)


def activation(x: Tensor) -> Tensor:
    """The nonlinearity of the blocks."""
    return x.relu()


def norm(x: Tensor) -> Tensor:
    """Normalisation before each block and before the head."""
    return fn.rms_norm(x)


class Mixer:
    """Bytes (B, T) to vectors (B, T, WIDTH) that know the last CONTEXT bytes."""

    def __init__(self, rng: np.random.Generator) -> None:
        rows = rng.standard_normal((VOCAB_SIZE, EMBED_DIM)) * EMBED_STD
        self.embedding = Tensor(rows, requires_grad=True)
        self.weight = init_matrix(rng, CONTEXT * EMBED_DIM, WIDTH)

    def __call__(self, inputs: Array) -> Tensor:
        x = fn.gather(self.embedding, inputs)
        return fn.causal_windows(x, CONTEXT) @ self.weight

    def last(self, prefix: Array) -> Tensor:
        """The vector of the last position alone, (B, 1, WIDTH)."""
        x = fn.gather(self.embedding, prefix[:, -CONTEXT:])
        return fn.causal_windows(x, CONTEXT)[:, -1:] @ self.weight


class Block:
    """Residual MLP on vectors (B, T, WIDTH)."""

    def __init__(self, rng: np.random.Generator) -> None:
        hidden = MLP_RATIO * WIDTH
        self.up = init_matrix(rng, WIDTH, hidden)
        self.bias = Tensor(np.zeros(hidden), requires_grad=True)
        self.down = init_matrix(rng, hidden, WIDTH)

    def __call__(self, x: Tensor, rng: np.random.Generator | None) -> Tensor:
        hidden = activation(norm(x) @ self.up + self.bias)
        if rng is not None and DROPOUT:
            kept = rng.random(hidden.shape) >= DROPOUT
            hidden = hidden * (kept / (1.0 - DROPOUT))
        return x + hidden @ self.down


class Head:
    """Vectors (B, T, WIDTH) and the bytes at their positions to logits (B, T, 256)."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.weight = init_matrix(rng, WIDTH, VOCAB_SIZE)
        self.bias = Tensor(np.zeros(VOCAB_SIZE), requires_grad=True)

    def __call__(self, x: Tensor, inputs: Array) -> Tensor:  # noqa: ARG002
        logits = norm(x) @ self.weight + self.bias
        if LOGIT_CAP:
            logits = (logits / LOGIT_CAP).tanh() * LOGIT_CAP
        return logits


class Model:
    """Bytes (B, T) to logits (B, T, 256)."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.mixer = Mixer(rng)
        self.blocks = [Block(rng) for _ in range(DEPTH)]
        self.head = Head(rng)

    def __call__(self, inputs: Array, rng: np.random.Generator | None = None) -> Tensor:
        """Logits for every position; ``rng`` is given in training only."""
        x = self.mixer(inputs)
        for block in self.blocks:
            x = block(x, rng)
        return self.head(x, inputs)

    def predict(self, prefix: Array) -> Array:
        """What the evaluator calls: bytes (B, T) to logits (B, 256) of the byte that follows."""
        with ag.no_grad():
            x = self.mixer.last(prefix)
            for block in self.blocks:
                x = block(x, None)
            return self.head(x, prefix[:, -1:]).data[:, 0]


def parameters_of(part: Any) -> Iterator[Tensor]:
    """All tensors of a model or of a part of it, in the order of their creation."""
    if isinstance(part, Tensor):
        yield part
        return
    for child in part if isinstance(part, list) else vars(part).values():
        yield from parameters_of(child)


class AdamW:
    """Adam with decoupled weight decay on the matrices."""

    def __init__(self, parameters: list[Tensor]) -> None:
        self.parameters = parameters
        self.means = [Tensor(np.zeros(p.shape)) for p in parameters]
        self.squares = [Tensor(np.zeros(p.shape)) for p in parameters]
        self.steps = 0

    def step(self, rate: float) -> None:
        """Move every parameter against its gradient and forget the gradients."""
        self.steps += 1
        clip_gradients(self.parameters)
        correction = math.sqrt(1.0 - BETA2**self.steps) / (1.0 - BETA1**self.steps)
        for i, p in enumerate(self.parameters):
            if p.grad is None:
                continue
            mean, square = self.means[i].data, self.squares[i].data
            mean += (1.0 - BETA1) * (p.grad - mean)
            square += (1.0 - BETA2) * (p.grad * p.grad - square)
            update = mean / (np.sqrt(square) + EPSILON) * correction
            scale = rate * (EMBED_LR_FACTOR if i == 0 else 1.0)
            if p.ndim == 2 and WEIGHT_DECAY:
                p.data *= 1.0 - scale * WEIGHT_DECAY
            p.data -= scale * update
            p.grad = None


def clip_gradients(parameters: list[Tensor]) -> None:
    """Scale all gradients down together if their norm is above GRAD_CLIP."""
    grads = [p.grad for p in parameters if p.grad is not None]
    if GRAD_CLIP:
        total = math.sqrt(sum(float(np.vdot(grad, grad)) for grad in grads))
        for grad in grads if total > GRAD_CLIP else []:
            grad *= GRAD_CLIP / total


def learning_rate(progress: float) -> float:
    """Rate at a part of the budget: linear warm-up, plateau, linear cooldown."""
    rise = min(1.0, (progress + 1e-3) / WARMUP) if WARMUP else 1.0
    fall = min(1.0, (1.0 - progress) / COOLDOWN) if COOLDOWN else 1.0
    return LEARNING_RATE * rise * (FINAL_LR + (1.0 - FINAL_LR) * fall)


def sample_batch(data: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Random windows and the bytes that follow theirs, (BATCH_SIZE, SEQ_LEN) each."""
    starts = rng.integers(0, len(data) - SEQ_LEN, size=BATCH_SIZE)
    spans = starts[:, None] + np.arange(SEQ_LEN)
    return data[spans], data[spans + 1]


def loss_of(logits: Tensor, targets: Array) -> Tensor:
    """What is minimised, in nats per byte."""
    loss = fn.cross_entropy(logits, targets)
    if SMOOTHING:
        loss = loss * (1.0 - SMOOTHING) - fn.log_softmax(logits).mean() * SMOOTHING
    return loss


def main() -> None:
    """Train until the budget is used, evaluate, print the summary."""
    rng = np.random.default_rng(SEED)
    data = load_split("train")
    model = Model(rng)
    parameters = list(parameters_of(model))
    optimizer = AdamW(parameters)
    budget = Budget.from_environment()
    budget.reserve(model.predict)
    next_log = LOG_EVERY
    while not budget.done():
        inputs, targets = sample_batch(data, rng)
        loss = loss_of(model(inputs, rng), targets)
        loss.backward()
        optimizer.step(learning_rate(budget.progress()))
        budget.step()
        if budget.progress() >= next_log:
            next_log += LOG_EVERY
            print(f"step {budget.steps}: loss {loss.item() / math.log(2.0):.4f} bits per byte")
    tokens = budget.steps * BATCH_SIZE * SEQ_LEN
    size = sum(p.size for p in parameters)
    print_summary(evaluate_bpb(model.predict), budget, tokens, size, DEPTH)


if __name__ == "__main__":
    main()
