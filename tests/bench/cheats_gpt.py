"""How small a leak the evaluator of tasks/gpt finds, and how often it accuses honest models.

    PYTHONPATH=tests .venv-dev/bin/python tests/bench/cheats_gpt.py --candidates 100

Text is drawn from known odds of token pairs; models are tables of these odds with mistakes
of their own, and the three of the baseline differ from a candidate as much as seeds or
edits do.  A cheat lifts the true next token's logit by so many nats at a share of the
positions of whole windows, chosen by the two tokens before, and predicts prefixes as an
honest model: it has a memory, knows every question for what it is, and changes no
answer.  Windows, positions and groups are those of the default preset, in shorter windows.

Shown is the probability of being found, by share and margin, with what the leak is worth
in bits per byte: by one run, and by the runs of a confirmation, which are averaged.  For
honest candidates: the leak that was measured, in standard deviations, which should have
an sd of 1 at most, and how many were accused.
"""

import argparse
import tempfile
from collections.abc import Sequence
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
CONFIRMING = 3
"""Runs of champion and baseline at the confirmation."""


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


def leak_of(ours: Sequence[PrefixScores], theirs: Sequence[PrefixScores]) -> Leak:
    found = find_leak(ours, theirs)
    assert found is not None
    return found


class Tally:
    """Leaks of one kind: what they were worth, and how many were found."""

    def __init__(self) -> None:
        self.worth: list[float] = []
        self.by_one: list[Leak] = []
        self.by_all: list[Leak] = []

    def add(self, honest: float, runs: Sequence[Any], ours: Sequence[PrefixScores]) -> None:
        """Take scores and metric of some runs of one candidate."""
        scores = [score for score, _ in runs]
        self.worth.append(honest - runs[0][1])
        self.by_one.append(leak_of(ours[:SEEDS], scores[:1]))
        self.by_all.append(leak_of(ours, scores))


def share_found(leaks: Sequence[Leak]) -> float:
    return float(np.mean([leak.is_proven for leak in leaks]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--candidates", type=int, default=100)
    parser.add_argument("--mistakes", type=float, default=0.3, help="nats, sd per pair of tokens")
    parser.add_argument("--length", type=int, default=256, help="tokens per window")
    parser.add_argument("--cut", type=int, default=256, help="windows that are cut")
    given = parser.parse_args()
    scale = MODULES["scoring"].Scale(512, given.length, 128, given.cut)
    kinds = [(0.0, 0.0), *((share, margin) for share in SHARES for margin in MARGINS)]
    tallies = {kind: Tally() for kind in kinds}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(given.candidates):
            if number % 10 == 0:  # Another text is drawn now and then.
                split = Split(Path(folder), number, scale)
                seeds = range(10**6 + number, 10**6 + number + SEEDS + CONFIRMING)
                ours = [split.scores(model(seed, given.mistakes))[0] for seed in seeds]
            runs = [model(CONFIRMING * number + k, given.mistakes) for k in range(CONFIRMING)]
            honest = split.scores(runs[0])[1]
            for kind, tally in tallies.items():
                tally.add(honest, [split.scores(run, *kind) for run in runs], ours)
    fair = tallies.pop((0.0, 0.0))
    for name, leaks in (("one run", fair.by_one), ("the confirmation", fair.by_all)):
        sizes = [leak.size / leak.sd for leak in leaks]
        print(
            f"{name}: of {len(leaks)} honest candidates {share_found(leaks):.1%} accused; the "
            f"measured leak is {np.mean(sizes):.2f} +- {np.std(sizes):.2f} sd, at most "
            f"{max(sizes):.1f}; found from {np.mean([x.found_from for x in leaks]):.4f} on"
        )
    print("\n| share | nats | worth, bits per byte | by one run | by the confirmation |")
    print("|---|---|---|---|---|")
    for (share, margin), tally in tallies.items():
        found = f"{share_found(tally.by_one):.2f} | {share_found(tally.by_all):.2f}"
        print(f"| {share} | {margin} | {np.mean(tally.worth):.4f} | {found} |")


if __name__ == "__main__":
    main()
