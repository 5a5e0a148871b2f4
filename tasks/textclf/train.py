"""Trains a small text classifier in NumPy, as ``config.yaml`` says.

    python prepare.py && python train.py

Words are hashed into a bag, a network of fully connected layers tells the class, Adam
trains it.  This file is fixed: what is researched is ``config.yaml``.

Environment: ``RATCHET_SEED`` (default 1), ``RATCHET_BUDGET_STEPS`` (optimizer steps,
default 150) or ``RATCHET_BUDGET_SECONDS`` (CPU seconds of training).
Exit code 64 for settings that cannot be used.
"""

from __future__ import annotations

import itertools
import os
import re
import resource
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

import prepare

Array = NDArray[np.float32]

SEED = int(os.environ.get("RATCHET_SEED", "1"))
BUCKETS = 2048
BETA1, BETA2, EPSILON = 0.9, 0.99, 1e-8
# What can be tried: the type, and the least and the largest value.
SETTINGS: dict[str, tuple[type, float, float]] = {
    "learning_rate": (float, 1e-6, 10.0),
    "dropout_rate": (float, 0.0, 0.95),
    "batch_size": (int, 1, 512),
    "hidden_size": (int, 1, 512),
    "num_layers": (int, 1, 6),
}
EXIT_SETTINGS = 64


class SettingsError(Exception):
    """A setting is missing, unknown or out of its range."""


def read_settings(path: Path) -> dict[str, Any]:
    """The checked settings of a file."""
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict) or set(found) != set(SETTINGS):
        raise SettingsError(
            f"{path}: expected the keys {', '.join(SETTINGS)}, found {found!r:.200}"
        )
    for name, (kind, low, high) in SETTINGS.items():
        value = found[name]
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not low <= value <= high or kind(value) != value:
            raise SettingsError(
                f"{path}: {name}: expected {kind.__name__} from {low:g} to {high:g}, "
                f"found {value!r}"
            )
        found[name] = kind(value)
    return found


def bag(texts: list[str]) -> Array:
    """Texts as rows of word counts in hashed buckets, each of length 1."""
    rows: Array = np.zeros((len(texts), BUCKETS), dtype=np.float32)
    for place, text in enumerate(texts):
        for word in re.findall(r"[a-z]+", text.lower()):
            rows[place, zlib.crc32(word.encode()) % BUCKETS] += 1.0
    norms = np.sqrt((rows**2).sum(axis=1, keepdims=True))
    return rows / np.maximum(norms, 1.0)


class Network:
    """Fully connected layers with ReLU and dropout between them."""

    def __init__(self, sizes: list[int], rng: np.random.Generator) -> None:
        self.weights: list[Array] = []
        for inputs, outputs in itertools.pairwise(sizes):
            std = np.sqrt(2.0 / inputs) if inputs != BUCKETS else 0.1
            self.weights.append(rng.normal(0.0, std, (inputs, outputs)).astype(np.float32))
            self.weights.append(np.zeros(outputs, dtype=np.float32))
        self.means = [np.zeros_like(w) for w in self.weights]
        self.squares = [np.zeros_like(w) for w in self.weights]
        self.steps = 0

    def forward(
        self, x: Array, dropout: float = 0.0, rng: np.random.Generator | None = None
    ) -> list[Array]:
        """Inputs of all layers, and the scores of the classes last.

        With ``rng`` that share of the hidden units is 0, and the others count more.
        """
        values = [x]
        for place in range(0, len(self.weights), 2):
            x = x @ self.weights[place] + self.weights[place + 1]
            if place + 2 < len(self.weights):
                x = np.maximum(x, 0.0)
                if rng is not None and dropout:
                    x = x * (rng.random(x.shape) >= dropout) / np.float32(1.0 - dropout)
            values.append(x)
        return values

    def step(
        self, classes: NDArray[np.int64], values: list[Array], rate: float, dropout: float
    ) -> None:
        """One step of Adam on a batch that went forward."""
        scores = values[-1] - values[-1].max(axis=1, keepdims=True)
        grad = np.exp(scores)
        grad /= grad.sum(axis=1, keepdims=True)
        grad[np.arange(len(classes)), classes] -= 1.0
        grad /= len(classes)
        grads: list[Array] = []
        for place in range(len(self.weights) - 2, -1, -2):
            inputs = values[place // 2]
            grads[:0] = [inputs.T @ grad, grad.sum(axis=0)]
            if place:
                grad = (grad @ self.weights[place].T) * (inputs > 0) / np.float32(1.0 - dropout)
        self.steps += 1
        for w, g, mean, square in zip(self.weights, grads, self.means, self.squares, strict=True):
            mean += (1 - BETA1) * (g - mean)
            square += (1 - BETA2) * (g**2 - square)
            correction = np.sqrt(1 - BETA2**self.steps) / (1 - BETA1**self.steps)
            w -= rate * correction * mean / (np.sqrt(square) + EPSILON)


def progress(step: int, started: float) -> float:
    """The used part of the budget, 0 to 1."""
    seconds = os.environ.get("RATCHET_BUDGET_SECONDS")
    if seconds:
        return (time.process_time() - started) / float(seconds)
    return step / int(os.environ.get("RATCHET_BUDGET_STEPS", "150"))


def train(settings: dict[str, Any]) -> tuple[Network, int, float]:
    """A trained network, its steps and the CPU seconds that they took."""
    rng = np.random.default_rng(SEED)
    texts, labels = prepare.load("train")
    x, classes = bag(texts), np.array(labels)
    sizes = [BUCKETS, *[settings["hidden_size"]] * settings["num_layers"], len(prepare.TOPICS)]
    network = Network(sizes, rng)
    started, step = time.process_time(), 0
    while (used := progress(step, started)) < 1.0:
        chosen = rng.integers(0, len(x), settings["batch_size"])
        dropout = settings["dropout_rate"]
        values = network.forward(x[chosen], dropout, rng)
        # The rate falls to a tenth, so that the end is calm.
        rate = settings["learning_rate"] * (1.0 - 0.9 * used)
        network.step(classes[chosen], values, rate, dropout)
        step += 1
    return network, step, time.process_time() - started


def main() -> int:
    """Train, evaluate, print; returns the exit code."""
    try:
        settings = read_settings(Path(__file__).resolve().parent / "config.yaml")
    except (SettingsError, OSError, yaml.YAMLError) as error:
        print(f"train.py: {error}", file=sys.stderr)
        return EXIT_SETTINGS
    network, steps, seconds = train(settings)
    with np.errstate(all="ignore"):
        accuracy = prepare.evaluate(lambda texts: network.forward(bag(texts))[-1])
    print(f"Trained {steps} steps in {seconds:.2f} s")
    print(f"Parameters: {sum(w.size for w in network.weights)}")
    print(f"Peak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.1f} MB")
    print(f"Validation accuracy: {accuracy:.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
