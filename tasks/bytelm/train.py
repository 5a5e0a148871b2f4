"""Byte-level language model: the one file that experiments edit.

Run it after the preparation; it trains for the budget that the environment sets
and ends with the summary block::

    python prepare.py && python train.py

The model predicts the next byte from the ``CONTEXT`` last ones: their embeddings
are laid side by side and mixed by one matrix, residual MLP blocks follow, and a
head gives the 256 scores.  Everything here may be changed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from autograd import (
    Array,
    Tensor,
    causal_windows,
    cross_entropy,
    gather,
    no_grad,
    rms_norm,
)
from prepare import SEED, VOCAB_SIZE, Budget, evaluate_bpb, load_split, print_summary

# Model
CONTEXT = 8  # bytes that the first layer sees, the current one included
EMBED_DIM = 16  # numbers per byte
WIDTH = 96  # numbers per position between the blocks
DEPTH = 1  # residual MLP blocks
MLP_RATIO = 2  # hidden width of a block, in units of WIDTH
INIT_STD = 0.02  # standard deviation of all weights at the start
EMBED_STD = 0.02  # the same for the embedding
LOGIT_CAP = 0.0  # bound logits smoothly to +- this; 0 leaves them as they are

# Optimizer
LEARNING_RATE = 1e-3  # AdamW, at the peak of the schedule
BETA1 = 0.9  # memory of the mean gradient
BETA2 = 0.999  # memory of the squared gradient
EPSILON = 1e-8  # added to the root of the squared gradient
WEIGHT_DECAY = 0.1  # pull of the matrices towards zero, times the learning rate
GRAD_CLIP = 1.0  # largest norm of the whole gradient; 0 switches it off
EMBED_LR_FACTOR = 1.0  # learning rate of the embedding in units of LEARNING_RATE

# Schedule and data
WARMUP = 0.1  # part of the budget with a rising learning rate
COOLDOWN = 0.0  # part of the budget at the end with a falling one
FINAL_LR = 0.0  # where the cooldown ends, in units of LEARNING_RATE
BATCH_SIZE = 8  # windows per step
SEQ_LEN = 64  # bytes per window
DROPOUT = 0.0  # part of the hidden values that a step leaves out
LABEL_SMOOTHING = 0.0  # part of the target spread over all bytes

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
    return rms_norm(x)


class Block:
    """Residual MLP: x + down(activation(up(norm(x))))."""

    def __init__(self, rng: np.random.Generator) -> None:
        hidden = MLP_RATIO * WIDTH
        self.up = init_matrix(rng, WIDTH, hidden)
        self.bias = Tensor(np.zeros(hidden), requires_grad=True)
        self.down = init_matrix(rng, hidden, WIDTH)

    def __call__(self, x: Tensor, rng: np.random.Generator | None) -> Tensor:
        hidden = activation(norm(x) @ self.up + self.bias)
        if rng is not None and DROPOUT:
            keep = rng.random(hidden.shape) >= DROPOUT
            hidden = hidden * (keep / (1.0 - DROPOUT))
        return x + hidden @ self.down


class Model:
    """Bytes (B, T) to logits (B, T, 256)."""

    def __init__(self, rng: np.random.Generator) -> None:
        embedding = rng.standard_normal((VOCAB_SIZE, EMBED_DIM)) * EMBED_STD
        self.embedding = Tensor(embedding, requires_grad=True)
        self.mix = init_matrix(rng, CONTEXT * EMBED_DIM, WIDTH)
        self.blocks = [Block(rng) for _ in range(DEPTH)]
        self.head = init_matrix(rng, WIDTH, VOCAB_SIZE)
        self.head_bias = Tensor(np.zeros(VOCAB_SIZE), requires_grad=True)

    def __call__(self, inputs: Array, rng: np.random.Generator | None = None) -> Tensor:
        """Logits for each position; ``rng`` is given in training only."""
        x = gather(self.embedding, inputs)
        x = causal_windows(x, CONTEXT) @ self.mix
        for block in self.blocks:
            x = block(x, rng)
        logits = norm(x) @ self.head + self.head_bias
        if LOGIT_CAP:
            logits = (logits / LOGIT_CAP).tanh() * LOGIT_CAP
        return logits

    def parameters(self) -> list[Tensor]:
        """All trained tensors, the embedding first."""
        found = [self.embedding, self.mix]
        for block in self.blocks:
            found += [block.up, block.bias, block.down]
        return [*found, self.head, self.head_bias]

    def predict(self, inputs: Array) -> Array:
        """What the evaluator calls: logits as an array, without a tape."""
        with no_grad():
            return self(inputs).data


class AdamW:
    """Adam with decoupled weight decay on the matrices."""

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        self.parameters = list(parameters)
        self.mean = [Tensor(np.zeros(p.shape)) for p in self.parameters]
        self.square = [Tensor(np.zeros(p.shape)) for p in self.parameters]
        self.steps = 0

    def step(self, rate: float) -> None:
        """Move every parameter against its gradient and forget the gradients."""
        self.steps += 1
        clip_gradients(self.parameters)
        correction = math.sqrt(1.0 - BETA2**self.steps) / (1.0 - BETA1**self.steps)
        for i, p in enumerate(self.parameters):
            assert p.grad is not None
            mean, square = self.mean[i].data, self.square[i].data
            mean += (1.0 - BETA1) * (p.grad - mean)
            square += (1.0 - BETA2) * (p.grad * p.grad - square)
            scale = rate * (EMBED_LR_FACTOR if i == 0 else 1.0)
            if p.ndim == 2 and WEIGHT_DECAY:
                p.data *= 1.0 - scale * WEIGHT_DECAY
            p.data -= scale * correction * mean / (np.sqrt(square) + EPSILON)
            p.grad = None


def clip_gradients(parameters: list[Tensor]) -> None:
    """Scale all gradients down together if their norm is above ``GRAD_CLIP``."""
    if not GRAD_CLIP:
        return
    total = math.sqrt(sum(float(np.vdot(p.grad, p.grad)) for p in parameters))
    if total > GRAD_CLIP:
        for p in parameters:
            p.grad *= GRAD_CLIP / total


def learning_rate(progress: float) -> float:
    """Trapezoid over the budget: linear warm-up, plateau, linear cooldown."""
    rise = min(1.0, (progress + 1e-3) / WARMUP) if WARMUP else 1.0
    fall = min(1.0, (1.0 - progress) / COOLDOWN) if COOLDOWN else 1.0
    return LEARNING_RATE * rise * (FINAL_LR + (1.0 - FINAL_LR) * fall)


def sample_batch(data: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Random windows: inputs and the bytes that follow, (BATCH_SIZE, SEQ_LEN) each."""
    starts = rng.integers(0, len(data) - SEQ_LEN, size=BATCH_SIZE)
    spans = starts[:, None] + np.arange(SEQ_LEN)
    return data[spans], data[spans + 1]


def loss_of(logits: Tensor, targets: Array) -> Tensor:
    """What is minimised, in nats per byte."""
    return cross_entropy(logits, targets)


def main() -> None:
    """Train until the budget is used, evaluate, print the summary."""
    rng = np.random.default_rng(SEED)
    data = load_split("train")
    model = Model(rng)
    optimizer = AdamW(model.parameters())
    budget = Budget.from_environment()
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
    parameters = sum(p.size for p in model.parameters())
    tokens = budget.steps * BATCH_SIZE * SEQ_LEN
    print_summary(evaluate_bpb(model.predict), budget, tokens, parameters, DEPTH)


if __name__ == "__main__":
    main()
