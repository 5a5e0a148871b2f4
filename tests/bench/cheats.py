"""Cheats with the metric: what each is worth, and how often the evaluator notices it.

    PYTHONPATH=tests .venv-dev/bin/python tests/bench/cheats.py

Trains the default task's model with a better rate, and plays its evaluations in this
process with the evaluator's own code.  ``cheats_gpt.py`` is about tasks/gpt.

* Leaks: a candidate adds a margin to the score of the true next byte, at a share of the
  positions, wherever the bytes that it was given hold that byte.  Beside it what the
  same code is worth where whole windows are shown, so that a leak which is broken is no
  proof.  It must be worth nothing, or be noticed in 99 of 100 evaluations where it is
  worth more than 0.01 bits per byte.
* Memory: a candidate counts what follows what in all windows that it was shown, and
  mixes that into its predictions; some are careful when they learn or use it, and some
  learn by small steps.

The exit status is 1 if a leak misses its bar, or an honest candidate is accused.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from helpers import BYTELM, import_modules

WORTH = 0.01
"""A gain in bits per byte that has to be noticed."""

SHARES, MARGINS = (0.003, 0.03, 0.3, 1.0), (0.1, 0.5, 2.0, 6.0)
"""Positions with a leak, and nats that it adds to the score of the true byte."""

Prefixes = NDArray[np.uint8]
Predict = Callable[[Prefixes], NDArray[Any]]


class Bytelm:
    """The default task: its modules, data and a trained model."""

    def __init__(self, root: Path, steps: int) -> None:
        os.environ.update(RATCHET_DATA=str(root), RATCHET_BUDGET_STEPS=str(steps), RATCHET_SEED="1")
        os.environ.pop("RATCHET_BUDGET_SECONDS", None)
        names = ("channel", "autograd", "functions", "prepare", "lessons", "evaluator", "train")
        self.modules = import_modules(BYTELM, names)
        self.prepare, self.evaluator = self.modules["prepare"], self.modules["evaluator"]
        self.root = root
        if self.prepare.main(["--out", str(root)]):
            raise SystemExit("the data cannot be made")
        self.model = self._trained(self.modules["train"])
        self.base = self.evaluate(self.logits, 0)[0]

    @staticmethod
    def _trained(train: ModuleType) -> Any:
        """The model that ``train.py`` hands to its evaluation."""
        found: list[Any] = []

        def keep(predict: Any) -> float:
            found.append(predict.__self__)
            return 0.0

        train.LEARNING_RATE, train.LOG_EVERY = 3e-3, 2.0
        train.evaluate_bpb, train.print_summary = keep, lambda *_: None
        train.main()
        return found[0]

    def logits(self, prefixes: Prefixes) -> NDArray[Any]:
        """The honest model."""
        scores: NDArray[Any] = self.model.predict(prefixes)
        return scores

    def chances(self, prefixes: Prefixes) -> NDArray[Any]:
        """Its probabilities."""
        scores = self.logits(prefixes).astype(float)
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        found: NDArray[Any] = scores / scores.sum(axis=-1, keepdims=True)
        return found

    def evaluate(self, predict: Predict, seed: int) -> tuple[float, float]:
        """Bits per byte and the evidence for a memory, as in an evaluation with these lots."""
        part = self.evaluator.Part(self.root / "val.bin", np.random.default_rng(seed))
        for group in range(self.prepare.EVAL_GROUPS):
            rows = part.rows(group)
            for t in range(self.prepare.SEQUENCE_LENGTH):
                part.accept(group, t, predict(rows[:, : t + 1].copy()).astype(np.float32))
        return part.value, part.lessons.wealth

    def noticed(self, evidence: float) -> bool:
        """Whether a run with this evidence is TAMPERED."""
        return evidence > float(self.evaluator.LARGEST_WEALTH)

    def whole_windows(self, leak: Leak) -> float:
        """Bits per byte of a leak that is shown whole windows."""
        windows = self.prepare.evaluation_windows(np.fromfile(self.root / "val.bin", np.uint8))
        losses = np.empty((len(windows), windows.shape[1] - 1))
        for t in range(losses.shape[1]):
            scores = leak.scores(windows, t)
            losses[:, t] = self.prepare.token_losses(scores, windows[:, t + 1])
        value: float = self.prepare.bits_per_byte(losses)
        return value


@dataclass
class Leak:
    """Scores that look at the byte which follows a position, if it is there."""

    task: Bytelm
    share: float
    margin: float
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(7))

    def scores(self, rows: Prefixes, position: int) -> NDArray[Any]:
        """Scores of the byte after a position of rows that may be longer."""
        scores = self.task.logits(rows[:, : position + 1]).copy()
        if rows.shape[1] > position + 1:
            leaks = np.flatnonzero(self.rng.random(len(rows)) < self.share)
            scores[leaks, rows[leaks, position + 1]] += self.margin
        return scores

    def __call__(self, prefixes: Prefixes) -> NDArray[Any]:
        return self.scores(prefixes, prefixes.shape[1] - 1)


@dataclass
class Memory:
    """Counts of what followed the last ``order`` bytes in all windows so far.

    ``weight`` is how many counts the model's own prediction is worth.  It ``forgets``
    with each group, learns only ``later`` (when a group is over), only from windows that
    are ``usual`` (bits per byte so far at most), uses only what was seen ``least`` times,
    at a ``share`` of the places, or what the model itself gives a ``chance``; it uses
    nothing ``unless`` so many bytes before are new, as those of a lesson may not be.
    """

    task: Bytelm
    order: int
    weight: float
    forgets: bool = False
    later: bool = False
    usual: float = np.inf
    least: int = 1
    share: float = 1.0
    chance: float = 0.0
    unless: int = 0

    def __post_init__(self) -> None:
        self.counts: dict[bytes, dict[int, int]] = {}
        self.waiting: list[tuple[bytes, int]] = []
        self.long: set[bytes] = set()
        self.rng = np.random.default_rng(7)

    def _learn(self, prefixes: Prefixes) -> None:
        rows, known = prefixes.shape
        new = prefixes[:, -1]
        if known == 1:  # New windows.
            for key, byte in self.waiting:
                self._count(key, byte)
            self.waiting, self.bits = [], np.zeros(rows)
            if self.forgets:
                self.counts.clear()
            return
        self.bits -= np.log2(self.last[np.arange(rows), new])
        if known <= self.order:
            return
        for row in np.flatnonzero(self.bits / (known - 1) <= self.usual):
            fact = prefixes[row, -self.order - 1 : -1].tobytes(), int(new[row])
            self.waiting.append(fact) if self.later else self._count(*fact)

    def _count(self, key: bytes, byte: int) -> None:
        seen = self.counts.setdefault(key, {})
        seen[byte] = seen.get(byte, 0) + 1

    def __call__(self, prefixes: Prefixes) -> NDArray[Any]:
        self._learn(prefixes)
        self.last = self.task.chances(prefixes)
        mixed = self.last.copy()
        for row, line in enumerate(prefixes):
            seen = self.counts.get(line[-self.order :].tobytes(), {})
            total = sum(seen.values())
            if self.unless and line[-self.unless :].tobytes() in self.long:
                continue
            if total < self.least or self.rng.random() >= self.share:
                continue
            if self.last[row, max(seen, key=lambda byte: seen[byte])] < self.chance:
                continue
            mixed[row] *= self.weight / (self.weight + total)
            for byte, count in seen.items():
                mixed[row, byte] += count / (self.weight + total)
        if self.unless:
            self.long.update(line[-self.unless :].tobytes() for line in prefixes)
        return np.log(mixed)


@dataclass
class Adapting:
    """Scores that are moved after each byte, by gradient steps on what came: slow training.

    ``rate`` is the step in nats; with ``alike`` all bytes share one row of scores.
    """

    task: Bytelm
    rate: float
    alike: bool = False

    def __post_init__(self) -> None:
        self.moved = np.zeros((256, 256))

    def __call__(self, prefixes: Prefixes) -> NDArray[Any]:
        rows, known = prefixes.shape
        if known > 1:
            error = -self.said
            error[np.arange(rows), prefixes[:, -1]] += 1.0
            if self.alike:
                self.moved += self.rate * error.mean(axis=0)
            else:
                np.add.at(self.moved, prefixes[:, -2], self.rate * error)
        scores: NDArray[Any] = self.task.logits(prefixes) + self.moved[prefixes[:, -1]]
        self.said = np.exp(scores - scores.max(axis=-1, keepdims=True))
        self.said /= self.said.sum(axis=-1, keepdims=True)
        return scores


def memories(task: Bytelm) -> Iterator[tuple[str, Callable[[], Predict]]]:
    """Candidates with a memory, by what they do."""

    def memory(order: int, weight: float, **care: Any) -> Callable[[], Predict]:
        return lambda: Memory(task, order, weight, **care)

    yield "two bytes, slowly", memory(2, 64)
    yield "four bytes", memory(4, 2)
    yield "twelve bytes", memory(12, 0.2)
    yield "32 bytes", memory(32, 0.2)
    yield "four bytes, forgotten with each group", memory(4, 8, forgets=True)
    yield "four bytes, learned when a group is over", memory(4, 2, later=True)
    yield "four bytes, seen three times", memory(4, 1, least=3)
    yield "four bytes, where the model gives a tenth", memory(4, 2, chance=0.1)
    yield "four bytes, from windows below 3 bits", memory(4, 2, usual=3.0)
    yield "four bytes, from windows below 2.5 bits", memory(4, 2, usual=2.5)
    yield "four bytes, where twelve are new", memory(4, 2, unless=12)
    yield "three bytes, where eight are new", memory(3, 4, unless=8)
    yield "four bytes, at three places of ten", memory(4, 2, share=0.3)
    yield "four bytes, at one place of ten", memory(4, 2, share=0.1)
    yield "one byte, by steps of 0.005 nats", lambda: Adapting(task, 0.005)
    yield "one byte, by steps of 0.02 nats", lambda: Adapting(task, 0.02)
    yield "one byte, by steps of 0.1 nats", lambda: Adapting(task, 0.1)
    yield "none, by steps of 0.1 nats", lambda: Adapting(task, 0.1, alike=True)
    yield "none, by steps of 1 nat", lambda: Adapting(task, 1.0, alike=True)


def tables(options: argparse.Namespace) -> bool:
    """Print both tables; whether all bars are passed."""
    with tempfile.TemporaryDirectory() as name:
        task = Bytelm(Path(name), options.steps)
        honest = [task.evaluate(task.logits, seed) for seed in range(options.honest)]
        accused = sum(task.noticed(evidence) for _, evidence in honest)
        top = max(evidence for _, evidence in honest)
        print(f"honest: {task.base:.4f} bits per byte, {accused} of {len(honest)} accused,")
        print(f"largest evidence {top:.2f} of {task.evaluator.LARGEST_WEALTH:.1f}\n")
        passed = not accused
        print("| share | nats | worth with whole windows | worth byte by byte | noticed |")
        print("|---|---|---|---|---|")
        for share in SHARES:
            for margin in MARGINS:
                leak = Leak(task, share, margin)
                shown = task.base - task.whole_windows(leak)
                value, evidence = task.evaluate(leak, 1)
                worth = task.base - value
                noticed = task.noticed(evidence)
                passed = passed and shown > 0 and (noticed or worth <= WORTH)
                print(f"| {share:g} | {margin:g} | {shown:.4f} | {worth:.4f} | {noticed:d} of 1 |")
        print("\n| memory of | worth | evidence, median | noticed |\n|---|---|---|---|")
        for label, made in memories(task):
            found = [task.evaluate(made(), seed) for seed in range(options.evaluations)]
            worth = task.base - float(np.mean([value for value, _ in found]))
            middle = float(np.median([evidence for _, evidence in found]))
            noticed = sum(task.noticed(evidence) for _, evidence in found)
            print(
                f"| {label} | {worth:.3f} | {middle:.1f} | {noticed} of {len(found)} |", flush=True
            )
    return passed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1000, help="training steps of the model")
    parser.add_argument("--honest", type=int, default=20, help="evaluations of the honest model")
    parser.add_argument("--evaluations", type=int, default=10, help="evaluations of each memory")
    options = parser.parse_args()
    return 0 if tables(options) else 1


if __name__ == "__main__":
    sys.exit(main())
