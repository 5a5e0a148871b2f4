"""Stand-ins for training repositories of others, each with the shape of its kind, and quick."""

import json
from collections.abc import Mapping
from pathlib import Path

from helpers.clones import Clone
from helpers.repositories import LOCK, PREPARE, make_environment

NUMPY = '''"""Fits a line to noisy points."""

import numpy as np

LEARNING_RATE = 0.02
STEPS = 150
rng = np.random.default_rng(0)
x = rng.normal(size=(300, 4))
y = x @ rng.normal(size=4) + rng.normal(scale=0.3, size=300)
weights = np.zeros(4)
for step in range(STEPS):
    weights -= LEARNING_RATE * x[:200].T @ (x[:200] @ weights - y[:200]) / 200
    if step % 50 == 0:
        print(f"step {step}: loss {np.mean((x[:200] @ weights - y[:200]) ** 2):.4f}")
print("Test MSE:", np.mean((x[200:] @ weights - y[200:]) ** 2))
'''

SKLEARN = """import argparse

from sklearn.linear_model import LogisticRegression

from features import split

C = 1.0
MAX_ITER = 50

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--random-seed", type=int, default=3)
    train, test = split(parser.parse_args().random_seed)
    model = LogisticRegression(C=C, max_iter=MAX_ITER).fit(*train)
    print(f"Train accuracy: {100 * model.score(*train):.1f}%")
    print(f"Validation accuracy: {100 * model.score(*test):.2f}%  (higher is better)")
"""
FEATURES = """import csv
import random
from pathlib import Path

DATA = Path(__file__).parent / "data"


def split(seed):
    with open(DATA / "points.csv") as stream:
        rows = [[float(cell) for cell in row] for row in csv.reader(stream)]
    random.Random(seed).shuffle(rows)
    pairs = [row[:2] for row in rows], [row[2] for row in rows]
    half = len(rows) // 2
    return [part[:half] for part in pairs], [part[half:] for part in pairs]
"""
POINTS = "".join(
    f"{(7 * k) % 13 / 13},{(5 * k) % 11 / 11},{int((7 * k) % 13 / 13 + (3 * k) % 10 / 20 > 0.7)}\n"
    for k in range(200)
)

TORCH = '''"""Trains a linear model; the package of PyTorch is what its environment has."""

import argparse
import time

import torch

from src.model import Net


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    x = torch.randn(64, 1)
    net = Net()
    start = time.time()
    for epoch in range(1, args.epochs + 1):
        loss = net.fit(x, args.lr)
        print(f"Epoch {epoch}/{args.epochs} | train_loss={loss:.5f} | val_loss={2 * loss:.5f}")
    print(f"finished in {time.time() - start:.2f}s on {device}, peak memory 12.5 MB")


if __name__ == "__main__":
    main()
'''
MODEL = """WIDTH = 8
DECAY = 0.01


class Net:
    def __init__(self):
        self.weight = 0.0

    def fit(self, x, rate):
        mean = float((x * x).mean())
        self.weight -= rate * (2 * mean * (self.weight - 1.5) + DECAY * self.weight)
        return (self.weight - 1.5) ** 2 * mean + mean / 50
"""
FAKE_TORCH = '''"""A package with the few names of PyTorch that one script needs."""

import random as python_random


class Tensor(list):
    def __mul__(self, other):
        return Tensor(a * b for a, b in zip(self, other))

    def mean(self):
        return sum(self) / len(self)


class cuda:
    is_available = staticmethod(lambda: False)
    manual_seed = manual_seed_all = staticmethod(lambda seed: None)


class generator:
    @staticmethod
    def manual_seed(seed):
        python_random.seed(seed)


manual_seed = generator.manual_seed


def randn(*shape):
    return Tensor(python_random.gauss(0, 1) for _ in range(shape[0]))


def device(name):
    return name


random = generator
'''

UPSTREAM = '''"""Autoresearch pretraining script. Usage: uv run train.py"""

import random

import made_up

from prepare import TIME_BUDGET, evaluate_bpb

DEPTH = 8               # number of layers
MATRIX_LR = 0.04

random.seed(42)
for step in range(3):
    print(f"\\rstep {step:05d} ({33 * step:.1f}%) | loss: 3.{9 - step}", end="")
print()
model = 0.7 + (DEPTH - 10) ** 2 / 50 + random.gauss(0, 0.0005) * made_up.VALUE
print("---")
print(f"val_bpb:          {evaluate_bpb(model):.6f}")
print(f"training_seconds: {TIME_BUDGET + 0.1:.1f}")
print("total_seconds:    325.9")
print("peak_vram_mb:     45060.2")
print("num_steps:        953")
print(f"depth:            {DEPTH}")
'''
MAKES_CACHE = """

if __name__ == "__main__":
    for name, text in {"data/shard_00000.txt": "0.5", "tokenizer/tokenizer.txt": "0.25"}.items():
        path = os.path.join(CACHE_DIR, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as stream:
            stream.write(text)
"""
UPSTREAM_README = """# autoresearch

```bash
# 1. Install uv
curl -LsSf https://example.org/install.sh | sh
uv sync
# 2. Download data, once
uv run prepare.py
# 3. One training experiment (~5 min)
uv run train.py
```

The metric is **val_bpb**: lower is better.
"""

YAML_TRAINER = """import random
import sys

import yaml

with open(sys.argv[sys.argv.index("--config") + 1]) as stream:
    config = yaml.safe_load(stream)
with open(config["data"]["file"]) as stream:
    target = float(stream.read())
random.seed(config["seed"])
rate, value = config["optimizer"]["lr"], 0.0
for step in range(config["trainer"]["max_steps"]):
    value += rate * (target - value) + random.gauss(0, config["model"]["noise"])
print({"step": config["trainer"]["max_steps"], "eval/reward": round(1 - abs(target - value), 6)})
"""
SETTINGS = """# one experiment
seed: 7
data:
  file: data/target.txt
model: {noise: 0.001}
optimizer:
  lr: 0.05
trainer:
  max_steps: 20
"""

CPP = """// Descends a parabola.
#include <cstdio>
#include <cstdlib>
#include "noise.h"

const double kLearningRate = 0.05;
constexpr int kSteps = 20;
#define MOMENTUM 0.5

int main() {
    const char* text = std::getenv("SEED");
    double x = 3.0, speed = 0.0;
    for (int step = 0; step < kSteps; ++step) {
        speed = MOMENTUM * speed - kLearningRate * 2 * x;
        x += speed;
    }
    std::printf("final loss = %.6f\\n", x * x + noise(text ? std::atoi(text) : 1));
}
"""
NOISE = "inline double noise(int seed) { return ((seed * 7919LL) % 101) * 1e-5; }\n"
MAKEFILE = """CXX ?= g++

train: src/train.cpp src/noise.h
\t$(CXX) -O0 -o $@ $<

clean:
\trm -f train
"""

FILES: Mapping[str, Mapping[str, str]] = {
    "numpy": {"fit_line.py": NUMPY},
    "sklearn": {
        "README.md": "# Points\n\n    $ pip install scikit-learn\n    $ python classify.py\n",
        "classify.py": SKLEARN,
        "features.py": FEATURES,
        "data/points.csv": POINTS,
        "notes.md": "nothing\n",
    },
    "torch": {
        "README.md": "Train: `python train.py --lr 0.1 --epochs 30`. Test: `python test.py`.\n",
        "train.py": TORCH,
        "test.py": "import torch\n",
        "src/__init__.py": "",
        "src/model.py": MODEL,
    },
    "upstream": {
        "README.md": UPSTREAM_README,
        "train.py": UPSTREAM,
        "prepare.py": PREPARE + MAKES_CACHE,
        "program.md": "# autoresearch\n\nThe goal is the lowest val_bpb. Edit train.py alone.\n",
        "pyproject.toml": '[project]\nname = "autoresearch"\nversion = "0.1.0"\n',
        "uv.lock": LOCK,
        ".gitignore": ".venv/\nresults.tsv\nrun.log\n",
    },
    "yaml": {
        "README.md": "    python run.py --config configs/base.yaml\n\nMaximize eval/reward.\n",
        "run.py": YAML_TRAINER,
        "configs/base.yaml": SETTINGS,
        "data/target.txt": "2.0\n",
    },
    "cpp": {
        "README.md": "```sh\nmake\n./train > log.txt\n```\n",
        "Makefile": MAKEFILE,
        "src/train.cpp": CPP,
        "src/noise.h": NOISE,
    },
}


def make_standin(kind: str, folder: Path) -> Path:
    """A clone of one kind, with the environment that its user has made."""
    Clone(folder).commit(FILES[kind])
    if kind in ("torch", "upstream"):
        make_environment(folder / ".venv")
    if kind == "torch":
        (packages,) = (folder / ".venv").glob("lib/python*/site-packages")
        (packages / "torch").mkdir()
        (packages / "torch" / "__init__.py").write_text(FAKE_TORCH)
    return folder


def notebook(*cells: str) -> str:
    """A notebook of these code cells, as an editor saves it."""
    made = [
        {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None,
         "source": text.splitlines(keepends=True)}
        for text in cells
    ]  # fmt: skip
    return json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}, indent=1)
