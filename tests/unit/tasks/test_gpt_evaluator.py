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
from ratchet.base.structs import from_json_values
from ratchet.integrity.leaks import find_leak
from ratchet.records.records import PrefixScores

NAMES = ("scoring", "evaluator", "prefixes", "channel")
scoring, evaluator, prefixes, channel = import_modules(GPT, NAMES).values()
pytestmark = pytest.mark.slow
VOCAB, BOS = 200, 199
SCALE = scoring.Scale(windows=256, length=64, positions=16, cut=256)
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


def trained(seed: int, mistakes: float = 0.2) -> Model:
    """A model that learnt the odds, each with a mistake of its own."""
    wrong = np.random.default_rng(seed).normal(0, mistakes, ODDS.shape)
    table = (np.log(ODDS) + wrong).astype(np.float16)

    def model(windows: np.ndarray, positions: np.ndarray) -> np.ndarray:
        return table[np.take_along_axis(windows, positions.astype(np.int64), axis=1)]

    return model


def following(windows: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Logits that know the next token, where there is one in the window."""
    return looking_ahead(honest, 1.0, 5.0)(windows, positions)


def sometimes(windows: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """A leak after a quarter of the tokens only."""
    return looking_ahead(honest, 0.25, 5.0)(windows, positions)


def looking_ahead(model: Model, share: float, margin: float) -> Model:
    """A model that lifts the next token's logit at some positions, chosen by the text."""
    lucky = np.random.default_rng(3).random((VOCAB, VOCAB)) < share

    def leaking(windows: np.ndarray, positions: np.ndarray) -> np.ndarray:
        logits = model(windows, positions).copy()
        for row, places in enumerate(positions.astype(int)):
            window = windows[row]
            number = np.flatnonzero((places > 0) & (places + 1 < len(window)))
            number = number[lucky[window[places[number] - 1], window[places[number]]]]
            logits[row, number, window[places[number] + 1]] += np.float16(margin)
        return logits

    return leaking


def knowing_the_check(model: Model, cheat: Model) -> Model:
    """A cheat that knows the questions for prefixes, and windows that it has seen a part of."""
    seen: set[bytes] = set()

    def careful(windows: np.ndarray, positions: np.ndarray) -> np.ndarray:
        if positions.shape[1] == 1:
            seen.update(window[:9].tobytes() for window in windows)
            return model(windows, positions)
        known = np.array([window[:9].tobytes() in seen for window in windows])
        logits = cheat(windows, positions)
        logits[known] = model(windows, positions)[known]
        return logits

    return careful


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


def remembering() -> Model:
    """A model that looks up what followed three tokens in windows that it saw before."""
    after: dict[tuple[int, ...], int] = {}

    def model(windows: np.ndarray, positions: np.ndarray) -> np.ndarray:
        logits = honest(windows, positions)
        for row, window in enumerate(windows.tolist()):
            for number, place in enumerate(positions[row].tolist()):
                word = after.get(tuple(window[max(0, place - 2) : place + 1]))
                if word is not None:
                    logits[row, number, word] += np.float16(3)
        for window in windows.tolist():
            for place in range(2, len(window) - 1):
                after[tuple(window[place - 2 : place + 1])] = window[place + 1]
        return logits

    return model


class Talk:
    """What the evaluator talks to, without processes."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.windows = np.zeros((0, 0), np.uint16)

    def ask(self, windows: np.ndarray, positions: np.ndarray) -> None:
        self.windows = windows.copy()

    def reply(self, positions: np.ndarray) -> np.ndarray:
        return self.model(self.windows, positions)


def judged(
    files: Path, model: Model, seed: int = 1, split: str = "val.bin", scale: Any = SCALE
) -> tuple[Any, str | None]:
    rng = np.random.default_rng(seed)
    table = np.fromfile(files / "token_bytes.bin", "<u2")
    part = evaluator.Part(files / split, table, scale, rng)
    finite = evaluator.evaluate(Talk(model), [part], rng)
    return part, evaluator.verdict(part.prefixes.checks()) if finite else "not finite"


def scores(part: Any) -> PrefixScores:
    return from_json_values(PrefixScores, part.compared())


def test_honest_models_are_measured_and_not_accused(files: Path) -> None:
    values = set()
    for seed in range(3):
        part, verdict = judged(files, honest, seed)
        values.add(part.value)
        assert verdict is None
        assert part.prefixes.checks() == {"mean_change": 0.0, "largest_change": 0.0}
    assert len(values) == 1  # What is drawn in secret does not change it.
    assert part.compared()["whole"] == pytest.approx(part.value, abs=1e-6)
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


def test_the_comparison_accuses_no_honest_model_and_finds_who_looks_ahead(files: Path) -> None:
    """The cheat predicts prefixes as honest models do, and nothing changes when it is asked
    again; what it gains on whole windows is all that there is to see."""
    ours = [scores(judged(files, trained(seed))[0]) for seed in (1, 2, 3)]
    assert len(ours[0].cut) == 128 and ours[0].groups == 128.0
    for mistakes in (0.1, 0.2, 0.5, 1.0):
        part, verdict = judged(files, trained(9, mistakes))
        leak = find_leak(ours, [scores(part)])
        assert verdict is None and leak.size < 0.7 * leak.limit, mistakes
    usual = judged(files, trained(4))[0]
    found = {}
    for share, margin in ((1.0, 1.0), (1.0, 0.05), (0.2, 1.0), (0.05, 4.0), (0.02, 0.05)):
        cheat = looking_ahead(trained(4), share, margin)
        part, verdict = judged(files, knowing_the_check(trained(4), cheat))
        assert verdict is None
        leak = find_leak(ours, [scores(part)])
        gain = usual.value - part.value
        assert leak.size == pytest.approx(gain + find_leak(ours, [scores(usual)]).size, abs=2e-6)
        assert leak.is_proven or gain < leak.found_from
        found[share, margin] = leak.is_proven
    assert list(found.values()) == [True, True, True, True, False]


def test_what_is_remembered_of_other_windows_is_a_leak_too(files: Path) -> None:
    """Of a short split the whole windows overlap; prefixes never do."""
    tokens = np.fromfile(files / "val.bin", "<u2")[:9000]
    tokens.tofile(files / "short.bin")
    scale = scoring.Scale(windows=256, length=64, positions=16, cut=128)
    ours = [scores(judged(files, trained(s), 1, "short.bin", scale)[0]) for s in (1, 2)]
    cheat = knowing_the_check(honest, remembering())
    part, verdict = judged(files, cheat, 1, "short.bin", scale)
    assert verdict is None and find_leak(ours, [scores(part)]).is_proven


def test_no_token_is_sent_before_its_prediction_came_back(tmp_path: Path) -> None:
    """With a text in which each token stands once, and is followed by the next number."""
    table = np.ones(60_001, "<u2")
    parts = []
    for name, start in (("val", 0), ("audit", 30_000)):
        np.arange(start, start + 30_000, dtype="<u2").tofile(tmp_path / name)
        parts.append(evaluator.Part(tmp_path / name, table, SCALE, np.random.default_rng(1)))
    seen, asked, lengths = np.zeros(60_002, bool), 0, set()
    questions = evaluator.in_order(parts, np.random.default_rng(2))
    for question in questions:
        windows, positions = question.asked()
        if positions.shape[1] > 1:
            break
        place = int(positions[0, 0])
        assert np.all(positions == place)
        assert np.all(windows[:, place + 1 :] == 60_000) and np.all(windows[:, 0] == 60_000)
        targets = windows[:, place].astype(int) + 1
        seen[windows.ravel()] = True
        assert not np.any(seen[targets])
        asked += len(windows)
        lengths.add(windows.shape[1])
    assert asked == sum(len(p.prefixes.windows) for p in parts) * 4
    assert lengths == {8, 16, 32, 64}
    for part in parts:
        asked_at = ~np.isnan(part.prefixes.losses)
        assert not asked_at.any()
        for cut in part.prefixes.questions:
            asked_at[cut.rows, cut.number] = True
        # Four neighbours are asked at every position once.
        assert np.all(asked_at.reshape(-1, 4, 16).sum(axis=1) == 1)
    assert len({question.asked()[0].size for question in questions}) == 1


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (following, "later tokens were shown"),
        (sometimes, "later tokens were shown"),
        (backwards, "later tokens were shown"),
        (restless, "between two calls"),
    ],
)
def test_who_looks_ahead_openly_is_named_without_a_baseline(
    files: Path, model: Model, words: str
) -> None:
    _, verdict = judged(files, model)
    assert words in verdict


def test_a_spoilt_prediction_counts_no_more_than_twice_even_odds() -> None:
    losses, sizes = np.array([0.5, 300.0, 2.0]), np.array([3, 2, 0])
    assert prefixes.counted(losses, sizes, 100).tolist() == [0.5, 2 * np.log(100), 0.0]


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
    with pytest.raises(ValueError, match=r"the split have 2112 tokens"):
        prefixes.Prefixes(np.zeros(2000, "<u2"), table, SCALE, np.random.default_rng(1))


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
        "RATCHET_EVAL_CUT": str(SCALE.cut),
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
    assert [line["event"] for line in said] == ["ready", "asked", "result"]
    result = said[-1]
    assert (result["value"], result["tampered"], result["tokens"]) == (value, None, 256 * 16)
    # 256 windows at four cuts each, all questions as large as eight whole windows.
    assert result["batches"] == 2 * ((2 * 1 + 2 * 2 + 4 * 4 + 8 * 8) + 32 + 4)
    assert result["audit"]["tokens"] == 256 * 16 and result["audit"]["value"] != value
    part = judged(files, honest)[0]
    assert value == part.value and result["prefixes"] == part.compared()
    assert set(result["audit"]["prefixes"]) == {"whole", "groups", "cut"}
    parts = result["audit"]["parts"]
    assert len(parts) == 32 and min(parts) < result["audit"]["value"] < max(parts)
    ours, theirs = socket.socketpair()
    theirs.close()
    with pytest.raises(RuntimeError, match="a run is evaluated once"):
        answered(ours, honest)


@pytest.mark.parametrize(
    ("vocab", "model", "words"),
    [
        (VOCAB + 1, honest, "did not ask in the way of its fixed files"),
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
