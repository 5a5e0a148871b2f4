"""Tells four materials apart with a logistic regression, trained for a few steps.

Environment: ``RATCHET_SEED`` and ``RATCHET_BUDGET_STEPS``.
"""

import os

import numpy as np

import prepare

# Which benches are read besides A, and how.
MICRONS = False
DECADES = False
UNSIGNED = False
DIFFERENCES = False

LEARNING_RATE = 0.3
SPREAD = 1.0  # of the weights at the start
BATCH_SIZE = 2


def features(cells):
    """What the model sees of a part; cells of other benches count as 0."""
    seen = [cells[:, :4]]
    if MICRONS:
        seen.append(cells[:, 4:8] / 1000.0)
    if DECADES:
        seen.append(np.log10(cells[:, 8:12]))
    if UNSIGNED:
        seen.append(np.abs(cells[:, 12:16]) - 8.0)
    if DIFFERENCES:
        seen.append(cells[:, 16:20] - cells[:, 20:24])
    return np.nan_to_num(np.hstack(seen))


def train(seed, steps):
    """The validation accuracy of a model with this seed."""
    rng = np.random.default_rng(seed)
    (cells, materials), (new_cells, new_materials) = prepare.load()
    x = features(cells)
    weights = rng.normal(0.0, SPREAD, (x.shape[1], prepare.MATERIALS))
    bias = np.zeros(prepare.MATERIALS)
    for _ in range(steps):
        chosen = rng.integers(0, len(x), BATCH_SIZE)
        scores = x[chosen] @ weights + bias
        error = np.exp(scores - scores.max(axis=1, keepdims=True))
        error /= error.sum(axis=1, keepdims=True)
        error[np.arange(BATCH_SIZE), materials[chosen]] -= 1.0
        weights -= LEARNING_RATE * x[chosen].T @ error / BATCH_SIZE
        bias -= LEARNING_RATE * error.mean(axis=0)
    told = (features(new_cells) @ weights + bias).argmax(axis=1)
    return prepare.accuracy(told, new_materials)


if __name__ == "__main__":
    found = train(
        int(os.environ.get("RATCHET_SEED", "1")), int(os.environ.get("RATCHET_BUDGET_STEPS", "40"))
    )
    print(f"---\naccuracy: {found:.4f}")
