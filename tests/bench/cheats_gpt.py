"""How small a leak the evaluator of tasks/gpt finds, and how often it accuses honest models.

    .venv-dev/bin/python tests/bench/cheats_gpt.py --candidates 200

Text is drawn from known odds of token pairs; models are tables of these odds with mistakes
of their own, and the three of the baseline differ from a candidate as much as seeds or
edits do.  A cheat lifts the true next token's logit by so many nats at a share of the
positions of whole windows, chosen by the two tokens before, and predicts prefixes as an
honest model: it has a memory, knows every question for what it is, and changes no
answer.  Windows, positions and groups are those of the default preset, in shorter windows.

Shown is the probability of being found, by share and margin, with what the leak is worth
in bits per byte.  For honest candidates: the leak that was measured in standard deviations,
which should have an sd of 1 at most, and how many were accused.
"""

import argparse
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from helpers import GPT, import_modules
from ratchet.base.structs import from_json_values
from ratchet.integrity.leaks import Leak, find_leak
from ratchet.records.records import PrefixScores

NAMES = ("scoring", "evaluator", "prefixes", "channel")
MODULES: dict[str, ModuleType] = import_modules(GPT, NAMES)
VOCAB = 200
SHARES = (1.0, 0.3, 0.1, 0.03, 0.01)
MARGINS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
SEEDS = 3
"""Replicates of the baseline."""


def odds() -> np.ndarray:
    """Odds of each token after each other one."""
    found = np.random.default_rng(5).dirichlet(np.full(VOCAB, 0.05), size=VOCAB)
    found = 0.97 * found + 0.03 / VOCAB
    found[:, VOCAB - 1] = 0.002
    return found / found.sum(axis=1, keepdims=True)


def text(rng: np.random.Generator, count: int) -> np.ndarray:
    """Tokens, as many chains side by side as a split has documents."""
    cumulative, chains = np.cumsum(odds(), axis=1), 1000
    tokens = np.zeros((chains, count // chains), np.int64)
    now = np.full(chains, VOCAB - 1)
    for step in range(tokens.shape[1]):
        draws = rng.random(chains)[:, None]
        now = np.minimum((cumulative[now] < draws).sum(axis=1), VOCAB - 1)
        tokens[:, step] = now
    return tokens.ravel()


class Split:
    """A text with what is asked of it; fills in what a model would have answered."""

    def __init__(self, folder: Path, seed: int, scale: Any) -> None:
        rng = np.random.default_rng(seed)
        path = folder / "val.bin"
        text(rng, 3 * scale.windows * scale.length).astype("<u2").tofile(path)
        table = rng.integers(1, 6, VOCAB).astype("<u2")
        table[VOCAB - 1] = 0
        self.part = MODULES["evaluator"].Part(path, table, scale, rng)
        part, cuts = self.part, self.part.prefixes
        places = part.positions.astype(np.int64)
        here = np.take_along_axis(part.windows, places, axis=2)
        before = np.take_along_axis(part.windows, np.maximum(places - 1, 0), axis=2)
        self.whole = (before, here, part.targets)
        self.cut = (cuts.windows[:, cuts.positions], cuts.targets)
        self.asked = np.zeros(cuts.targets.shape, bool)
        for question in cuts.questions:
            self.asked[question.rows, question.number] = True

    def scores(self, log_odds: np.ndarray, share: float = 0.0, margin: float = 0.0) -> Any:
        """Scores and metric of a model, which leaks in a share of the whole windows' places."""
        before, here, target = self.whole
        losses = -log_odds[here, target]
        lucky = np.random.default_rng(7).random((VOCAB, VOCAB)) < share
        lifted = losses - margin + np.log1p(np.exp(-losses) * np.expm1(margin))
        leaks = lucky[before, here]
        leaks[:, :, -1] = False  # What follows a window was never sent.
        self.part.losses = np.where(leaks, lifted, losses)
        self.part.prefixes.losses = np.where(self.asked, -log_odds[self.cut], np.nan)
        return from_json_values(PrefixScores, self.part.compared()), self.part.value


def model(seed: int, mistakes: float) -> np.ndarray:
    """Log odds with mistakes, normalised."""
    found = np.log(odds()) + np.random.default_rng(seed).normal(0, mistakes, (VOCAB, VOCAB))
    return found - np.log(np.exp(found).sum(axis=1, keepdims=True))


def leak_of(split: Split, ours: list[PrefixScores], theirs: PrefixScores) -> Leak:
    found = find_leak(ours, [theirs])
    assert found is not None
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--candidates", type=int, default=200, help="of each kind")
    parser.add_argument("--mistakes", type=float, default=0.3, help="nats, sd per pair of tokens")
    parser.add_argument("--length", type=int, default=512, help="tokens per window")
    given = parser.parse_args()
    scale = MODULES["scoring"].Scale(windows=512, length=given.length, positions=128)
    kinds = [(share, margin) for share in SHARES for margin in MARGINS]
    worth: dict[tuple[float, float], list[float]] = {kind: [] for kind in kinds}
    found: dict[tuple[float, float], list[bool]] = {kind: [] for kind in kinds}
    sizes, accused, smallest = [], 0, []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(given.candidates):
            if number % 20 == 0:  # Another text is drawn now and then.
                split = Split(Path(folder), number, scale)
                seeds = range(10**6 + number, 10**6 + number + SEEDS)
                ours = [split.scores(model(seed, given.mistakes))[0] for seed in seeds]
            candidate = model(number, given.mistakes)
            scores, honest = split.scores(candidate)
            leak = leak_of(split, ours, scores)
            sizes.append(leak.size / leak.sd)
            smallest.append(leak.found_from)
            accused += leak.is_proven
            for kind in kinds:
                scores, value = split.scores(candidate, *kind)
                worth[kind].append(honest - value)
                found[kind].append(leak_of(split, ours, scores).is_proven)
    print(
        f"{given.candidates} honest candidates: {accused} accused; the measured leak is "
        f"{np.mean(sizes):.2f} +- {np.std(sizes):.2f} sd, the largest {max(sizes):.1f}; "
        f"found from {np.mean(smallest):.4f} bits per byte on"
    )
    print("\n| share | margin, nats | worth, bits per byte | found |\n|---|---|---|---|")
    for share, margin in kinds:
        values, hits = worth[share, margin], found[share, margin]
        print(f"| {share} | {margin} | {np.mean(values):.4f} | {np.mean(hits):.3f} |")


if __name__ == "__main__":
    main()
