"""tasks/gpt: the metric, and what its evaluator says of honest models and of cheats.

The models here are tables of NumPy: text is drawn from known odds of token pairs, so that
the best possible answer is known too.
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers import GPT, import_modules

NAMES = ("scoring", "evaluator", "canary", "channel")
scoring, evaluator, canary, channel = import_modules(GPT, NAMES).values()
pytestmark = pytest.mark.slow
VOCAB, BOS = 200, 199
SCALE = scoring.Scale(windows=256, length=64, positions=16)
Model = Callable[[np.ndarray, np.ndarray], np.ndarray]


def chain() -> np.ndarray:
    """Odds of each token after each other; BOS comes now and then, and tells nothing."""
    odds = np.random.default_rng(5).dirichlet(np.full(VOCAB, 0.05), size=VOCAB)
    odds = 0.97 * odds + 0.03 / VOCAB
    odds[:, BOS] = 0.002
    return odds / odds.sum(axis=1, keepdims=True)


ODDS = chain()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gpt")
    for seed, name in enumerate(("val.bin", "audit.bin")):
        rng, cumulative = np.random.default_rng(seed), np.cumsum(ODDS, axis=1)
        token, tokens = BOS, []
        for draw in rng.random(60_000):
            token = min(int(np.searchsorted(cumulative[token], draw)), VOCAB - 1)
            tokens.append(token)
        np.array(tokens, "<u2").tofile(folder / name)
    table = np.random.default_rng(7).integers(1, 6, VOCAB).astype("<u2")
    table[BOS] = 0
    table.tofile(folder / "token_bytes.bin")
    return folder


def honest(windows: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """The best answer: the odds after the token at each position."""
    here = np.take_along_axis(windows, positions.astype(np.int64), axis=1)
    return np.log(ODDS[here]).astype(np.float16)


def following(windows: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Logits that know the next token, where there is one in the window."""
    logits = honest(windows, positions)
    for row, places in enumerate(positions):
        for number, place in enumerate(places):
            if place + 1 < windows.shape[1]:
                logits[row, number, windows[row, place + 1]] += np.float16(5)
    return logits


def sometimes(windows: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """A leak after a quarter of the tokens only."""
    here = np.take_along_axis(windows, positions.astype(np.int64), axis=1)
    leaky = (here % 4 == 0)[..., None]
    return np.where(leaky, following(windows, positions), honest(windows, positions))


def backwards(windows: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Some of what stands anywhere in the window is more likely."""
    logits = honest(windows, positions)
    for row, window in enumerate(windows):
        logits[row, :, np.unique(window)] += np.float16(0.3)
    return logits


def restless(windows: np.ndarray, positions: np.ndarray) -> np.ndarray:
    logits = honest(windows, positions)
    noise = np.random.default_rng().normal(0, 0.2, logits.shape)
    return (logits + noise).astype(np.float16)


def remembering(model: Model) -> Model:
    """A model that repeats its answer where it saw the same beginning before."""
    answers: dict[bytes, np.ndarray] = {}

    def repeating(windows: np.ndarray, positions: np.ndarray) -> np.ndarray:
        logits = model(windows, positions)
        for row, places in enumerate(positions):
            for number, place in enumerate(places):
                beginning = windows[row, : place + 1].tobytes()
                logits[row, number] = answers.setdefault(beginning, logits[row, number].copy())
        return logits

    return repeating


def learning() -> Model:
    """A model that counts what follows two tokens in the windows."""
    after: dict[tuple[int, int], list[int]] = {}

    def counting(windows: np.ndarray, positions: np.ndarray) -> np.ndarray:
        logits = honest(windows, positions)
        for row, places in enumerate(positions):
            window = windows[row].tolist()
            for number, place in enumerate(places.tolist()):
                for word in after.get((window[place - 1], window[place]), []) if place else []:
                    logits[row, number, word] += np.float16(2)
        for window in windows.tolist():
            for a, b, c in zip(window, window[1:], window[2:], strict=False):
                after.setdefault((a, b), []).append(c)
        return logits

    return counting


class Talk:
    """What the evaluator talks to, without processes."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.windows = np.zeros((0, 0), np.uint16)

    def ask(self, windows: np.ndarray, positions: np.ndarray) -> None:
        self.windows = windows.copy()

    def reply(self, positions: np.ndarray) -> np.ndarray:
        return self.model(self.windows, positions)


def judged(files: Path, model: Model, seed: int = 1) -> tuple[Any, str | None]:
    rng = np.random.default_rng(seed)
    table = np.fromfile(files / "token_bytes.bin", "<u2")
    part = evaluator.Part(files / "val.bin", table, SCALE, rng)
    finite = evaluator.evaluate(Talk(model), [part], rng)
    return part, evaluator.verdict(part.checks()) if finite else "not finite"


def test_honest_models_are_measured_and_not_accused(files: Path) -> None:
    values = set()
    for seed in range(4):
        part, verdict = judged(files, honest, seed)
        values.add(part.value)
        checks = part.checks()
        assert verdict is None
        assert checks["largest_change"] == checks["mean_change"] == 0.0
        assert checks["wealth"] < 6 and checks["taught"] < 6 and abs(checks["unseen_z"]) < 5
        assert sum(bet.fact is not None for c in part.canaries.values() for bet in c.bets) >= 22
    assert len(values) == 1  # What is drawn in secret does not change it.
    table = np.fromfile(files / "token_bytes.bin", "<u2")
    tokens = np.fromfile(files / "val.bin", "<u2").astype(int)
    nats = size = 0.0
    for start in np.arange(SCALE.windows) * (len(tokens) - SCALE.length) // (SCALE.windows - 1):
        window = [BOS, *tokens[start : start + SCALE.length]]
        for place in range(3, SCALE.length, 4):
            size += table[window[place + 1]]
            if window[place + 1] != BOS:
                nats -= np.log(ODDS[window[place], window[place + 1]])
    assert values.pop() == pytest.approx(nats / np.log(2) / size, rel=2e-4)  # half precision


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (following, "later tokens were changed"),
        (sometimes, "later tokens were changed"),
        (backwards, "later tokens were changed"),
        (restless, "between two calls"),
        (remembering(following), "could not have seen"),
        (remembering(learning()), "learned from the windows"),
    ],
)
def test_cheats_are_caught(files: Path, model: Model, words: str) -> None:
    _, verdict = judged(files, model)
    assert words in verdict


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_ends_the_evaluation(files: Path, wrong: float) -> None:
    def model(windows: np.ndarray, positions: np.ndarray) -> np.ndarray:
        logits = honest(windows, positions)
        logits[-1, -1, 3] = wrong
        return logits

    assert judged(files, model)[1] == "not finite"
    assert scoring.finite(np.array([0.0, -65504.0, 65504.0], np.float16))


def test_logits_are_normalised_by_the_evaluator(files: Path) -> None:
    def louder(windows: np.ndarray, positions: np.ndarray) -> np.ndarray:
        return honest(windows, positions) + np.float16(20)

    assert judged(files, louder)[0].value == pytest.approx(judged(files, honest)[0].value, abs=2e-3)


def test_a_split_that_is_too_short_is_refused(files: Path) -> None:
    table = np.fromfile(files / "token_bytes.bin", "<u2")
    with pytest.raises(ValueError, match="too few for"):
        scoring.questions(np.zeros(100, "<u2"), table, SCALE)
    with pytest.raises(ValueError, match="multiple of 8"):
        scoring.questions(np.zeros(10_000, "<u2"), table, scoring.Scale(9, 64, 16))


def served(files: Path, audit: bool) -> tuple[socket.socket, subprocess.Popen[str]]:
    """The evaluator as a process, and the candidate's end of its socket."""
    ours, theirs = socket.socketpair()
    order = {
        "data": {name: str(files / name) for name in ("val.bin", "token_bytes.bin")},
        "audit": {"audit.bin": str(files / "audit.bin")} if audit else {},
        "reply_seconds": 20,
    }
    variables = {
        "RATCHET_EVAL_WINDOWS": str(SCALE.windows),
        "RATCHET_EVAL_LENGTH": str(SCALE.length),
        "RATCHET_EVAL_POSITIONS": str(SCALE.positions),
        "RATCHET_EVALUATOR_FD": str(theirs.fileno()),
        "RATCHET_EVALUATION": json.dumps(order),
    }
    process = subprocess.Popen(
        [sys.executable, "-B", "evaluator.py"],
        cwd=GPT,
        env={**os.environ, **variables},
        pass_fds=[theirs.fileno()],
        stdout=subprocess.PIPE,
        text=True,
    )
    theirs.close()
    return ours, process


def answered(channel_end: socket.socket, model: Model, vocab: int = VOCAB) -> float:
    try:
        return float(channel.evaluate_remotely(model, vocab, channel_end.fileno()))
    finally:
        channel_end.close()


def test_it_serves_one_run_and_tells_the_harness(files: Path) -> None:
    ours, process = served(files, audit=True)
    value = answered(ours, honest)
    said = [json.loads(line) for line in process.communicate(timeout=30)[0].splitlines()]
    assert [line["event"] for line in said] == ["ready", "asked", *["progress"] * 7, "result"]
    result = said[-1]
    assert (result["value"], result["tampered"], result["tokens"]) == (value, None, 256 * 16)
    assert result["batches"] == 2 * (32 + 8)
    assert result["audit"]["tokens"] == 256 * 16 and result["audit"]["value"] != value
    assert value == judged(files, honest)[0].value
    ours, theirs = socket.socketpair()
    theirs.close()
    with pytest.raises(RuntimeError, match="a run is evaluated once"):
        answered(ours, honest)


@pytest.mark.parametrize(
    ("vocab", "model", "words"),
    [
        (VOCAB + 1, honest, "did not ask in the way of channel.py"),
        (VOCAB, lambda windows, positions: honest(windows, positions)[:, 1:], "went away"),
        (VOCAB, lambda windows, positions: honest(windows, positions).astype("f4"), "went away"),
    ],
)
def test_it_says_what_is_wrong_with_a_candidate(files, vocab, model, words) -> None:
    ours, process = served(files, audit=False)
    with pytest.raises((RuntimeError, ValueError)):
        answered(ours, model, vocab)
    said = [json.loads(line) for line in process.communicate(timeout=30)[0].splitlines()]
    assert said[-1]["event"] == "failed" and words in said[-1]["reason"]
