"""Cheats with the number itself: it is measured where no candidate can reach it."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from helpers.candidates import (
    ASK,
    FIRST,
    MAIN,
    TRAIN,
    Arena,
    asking,
    before,
    blocked,
    edited,
    hidden,
    open_hole,
)
from ratchet.records.records import Outcome

UNASKED = "printed val_bpb without an evaluation"
DIFFERS = r"printed val_bpb \S+, the evaluator measured \d"
LEAKS = r"(changed when later bytes were changed|could not have seen|known to it)"
# Values that a reader takes for granted, to be replaced as one likes.
REPLACED = "lambda predict: 0.5"


@dataclass(frozen=True)
class Cheat:
    """A candidate, the flags that keep it from being run, and what a run of it says."""

    source: str
    flags: frozenset[str]
    reason: str


def cheat(source: str, reason: str, *flags: str) -> Cheat:
    return Cheat(source, frozenset(flags), reason)


CHEATS = {
    "prints a constant": cheat(asking("", "0.5"), UNASKED),
    "prints a block of its own": cheat(
        edited(ASK, '    print("---\\nval_bpb: 0.5")\n'), UNASKED, "metric"
    ),
    "prints less than was measured": cheat(
        asking("", "evaluate_bpb(model.predict) - 0.01"), DIFFERS
    ),
    "prints another block after the real one": cheat(
        edited(ASK, ASK + '    print("---")\n    print("val_bpb: 0.5")\n'), DIFFERS, "metric"
    ),
    "floods the log with blocks after the real one": cheat(
        edited(ASK, ASK + '    for _ in range(80_000):\n        print("---\\nval_bpb: 0.5 ")\n'),
        DIFFERS,
        "metric",
    ),
    "hides the real number behind a carriage return": cheat(
        edited(ASK, ASK + '    print("val_bpb: 9\\rval_bpb: 0.5")\n'), DIFFERS, "metric"
    ),
    "hides the real number behind colours": cheat(
        edited(ASK, ASK + '    print("\\x1b[8m---\\x1b[0m\\n\\x1b[2Kval_\\x1b[1mbpb: 0.5")\n'),
        DIFFERS,
    ),
    "writes past print": cheat(
        edited(ASK, ASK + '    import os\n    os.write(1, b"---\\nval_" b"bpb: 0.5\\n")\n'), DIFFERS
    ),
    "patches the evaluation": cheat(
        before(MAIN, f"import prepare\n\nprepare.evaluate_bpb = {REPLACED}\n").replace(
            "print_summary(evaluate_bpb(", "print_summary(prepare.evaluate_bpb("
        ),
        UNASKED,
        "evaluator",
    ),
    "patches it by setattr": cheat(
        before(MAIN, f'import prepare\n\nsetattr(prepare, "evaluate_bpb", {REPLACED})\n').replace(
            "print_summary(evaluate_bpb(", "print_summary(prepare.evaluate_bpb("
        ),
        UNASKED,
        "evaluator",
    ),
    "patches it in sys.modules": cheat(
        before(MAIN, f'import sys\n\nvars(sys.modules["prepare"])["evaluate_bpb"] = {REPLACED}\n')
        .replace("import autograd as ag\n", "import autograd as ag\nimport prepare\n")
        .replace("print_summary(evaluate_bpb(", "print_summary(prepare.evaluate_bpb("),
        UNASKED,
    ),
    "replaces the module": cheat(
        edited(
            "import numpy as np\n",
            "import numpy as np\nimport sys\nimport types\nimport prepare as real\n"
            'sys.modules["prepare"] = types.SimpleNamespace(**vars(real))\n'
            f'vars(sys.modules["prepare"])["evaluate_bpb"] = {REPLACED}\n',
        ),
        UNASKED,
        "evaluator",
    ),
    "patches it from encoded text": cheat(
        hidden(f'globals()["evaluate_bpb"] = {REPLACED}'), UNASKED
    ),
    "defines an evaluation of its own": cheat(
        before(MAIN, "def evaluate_bpb(predict):\n    return 0.5\n\n\n"), UNASKED, "evaluator"
    ),
    "replaces the conversation with the evaluator": cheat(
        before(
            FIRST, f"    import channel\n    channel.evaluate_remotely = {REPLACED[:7]}*_: 0.5\n"
        ),
        UNASKED,
        "evaluator",
    ),
    "speaks to the evaluator itself": cheat(
        asking(
            "    import os, socket\n"
            '    line = socket.socket(fileno=os.dup(int(os.environ["RATCHET_EVALUATOR_FD"])))\n'
            '    line.sendall(b"evaluate" + bytes(9000))\n',
            "0.5",
        ),
        "(it sent more than it was asked for|without an evaluation)",
        "evaluator",
    ),
    "speaks to it without naming it": cheat(
        asking(
            "    import os, socket\n"
            "    for number in range(3, 30):\n"
            "        try:\n"
            '            socket.socket(fileno=os.dup(number)).sendall(b"evaluate" + bytes(9000))\n'
            "        except OSError:\n"
            "            pass\n",
            "0.5",
        ),
        "(it sent more than it was asked for|without an evaluation)",
    ),
    "prints the evaluator's words": cheat(
        edited(
            ASK,
            '    print(\'{"event": "asked"}\')\n'
            '    print(\'{"event": "result", "value": 0.5, "tokens": 32768, "batches": 40, \'\n'
            '          \'"seconds": 1.0, "reply_seconds": 0.01}\')\n'
            "    print_summary(0.5, budget, tokens, size, DEPTH)\n",
        ),
        UNASKED,
    ),
    "returns a low loss": cheat(
        edited(
            "    loss = fn.cross_entropy(logits, targets)\n",
            "    loss = fn.cross_entropy(logits, targets) * 1e-3\n",
        ).replace("evaluate_bpb(model.predict)", "loss.item() / math.log(2.0)"),
        UNASKED,
    ),
    "builds logits from later bytes": cheat(
        edited(
            "            return self(inputs).data\n",
            "            logits = self(inputs).data\n"
            "            logits[:, :-1] += 9.0 * np.eye(256, dtype=logits.dtype)[inputs[:, 1:]]\n"
            "            return logits\n",
        ),
        LEAKS,
    ),
    "mixes later bytes in a little": cheat(
        edited(
            "            return self(inputs).data\n",
            "            logits = self(inputs).data\n"
            "            logits[:, :-1] += 0.1 * np.eye(256, dtype=logits.dtype)[inputs[:, 1:]]\n"
            "            return logits\n",
        ),
        LEAKS,
    ),
    "draws predictions until they please": cheat(
        asking(
            "    def predict(x):\n"
            "        return model.predict(x) + np.random.standard_normal((*x.shape, 256))\n"
        ),
        "or between two calls",
    ),
    "hides a failed evaluation": cheat(
        asking("    evaluate_bpb(lambda x: model.predict(x) * np.nan)\n", "2.0"),
        "printed val_bpb 2, the evaluator measured no finite number",
    ),
}


@pytest.mark.parametrize("name", CHEATS)
def test_the_edit_is_flagged_and_its_run_caught_whatever_was(arena: Arena, name: str) -> None:
    attempt = arena.attempt(CHEATS[name].source)
    assert attempt.blocked == CHEATS[name].flags
    attempt.assert_ends(Outcome.TAMPERED, CHEATS[name].reason)


def test_fake_blocks_before_the_real_one_change_nothing(arena: Arena) -> None:
    flood = before(FIRST, '    for _ in range(80_000):\n        print("---\\nval_bpb: 0.5")\n')
    attempt = arena.attempt(flood)
    assert attempt.blocked == {"metric"}
    assert attempt.value == arena.honest()
    assert "bytes of output left out here" in attempt.log


# Answers as before whatever it has seen already, so that no two calls disagree.
REMEMBERS = """
        for row, window in enumerate(x):
            others = seen.setdefault(window[:8].tobytes(), [])
            for other, answer in others:
                same = int(np.argmin(np.append(other == window, False)))
                y[row, :same] = answer[:same]
            others.append((window.copy(), y[row].copy()))
        return y
"""
LEAK = (
    """    seen = {}
    def predict(x):
        y = model.predict(x).astype(np.float64)
        p = np.exp(y - y.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        for t in range(8, 63, STRIDE):
            p[:, t] *= 0.5
            p[np.arange(len(x)), t, x[:, t + 1]] += 0.5
        y = np.log(p)
"""
    + REMEMBERS
)
ADAPTS = (
    """    seen, counts = {}, np.zeros((65536, 256))
    def predict(x):
        y = model.predict(x).astype(np.float64)
        p = np.exp(y - y.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        pairs = x[:, :-1].astype(np.int64) * 256 + x[:, 1:]
        known = counts[pairs[:, 7:]]
        p[:, 8:] = (p[:, 8:] * 4 + known) / (4 + known.sum(-1, keepdims=True))
        y = np.log(p)
        for row, window in enumerate(x):
            if window[:8].tobytes() not in seen:
                np.add.at(counts, (pairs[row, :-1], window[2:]), 1.0)
"""
    + REMEMBERS
)


@pytest.mark.parametrize("stride", ["1", "4", "21"])
def test_a_leak_with_a_memory_is_caught(arena: Arena, stride: str) -> None:
    arena.attempt(asking(LEAK.replace("STRIDE", stride))).assert_ends(Outcome.TAMPERED, LEAKS)


def choosing(which: str) -> str:
    """A leak at some positions only: ``which`` is their (B, T) mask."""
    body = edited(
        "            p[:, t] *= 0.5\n            p[np.arange(len(x)), t, x[:, t + 1]] += 0.5\n",
        "            p[:, t] *= 1.0 - 0.5 * leaks[:, t, None]\n"
        "            p[np.arange(len(x)), t, x[:, t + 1]] += 0.5 * leaks[:, t]\n",
        LEAK,
    )
    return asking(edited("        for t in", f"        leaks = {which}\n        for t in", body))


CHOSEN = {
    "where the beginning is known": "np.repeat([[w[:8].tobytes() in seen] for w in x], 64, 1)",
    "where it is not": "np.repeat([[w[:8].tobytes() not in seen] for w in x], 64, 1)",
    "after line breaks": "x == 10",
    "in windows that look usual": (
        "np.repeat(-np.log(np.take_along_axis(p[:, :-1], x[:, 1:, None].astype(int), 2))"
        ".mean((1, 2))[:, None] < 3.0, 64, 1)"
    ),
}


@pytest.mark.parametrize("name", CHOSEN)
def test_a_leak_in_chosen_places_is_caught(arena: Arena, name: str) -> None:
    source = choosing(CHOSEN[name]).replace("STRIDE", "1")
    attempt = arena.attempt(source)
    attempt.assert_ends(Outcome.TAMPERED, LEAKS)
    assert attempt.record.evaluation is not None
    assert attempt.record.evaluation.value is not None
    assert attempt.record.evaluation.value < arena.honest() - 0.02


def test_learning_from_the_evaluation_is_caught(arena: Arena) -> None:
    attempt = arena.attempt(asking(ADAPTS))
    attempt.assert_ends(Outcome.TAMPERED, "it learned from the windows of the evaluation")


@open_hole("a leak at one of some hundred positions, chosen by the text, wins too few bets")
def test_a_rare_leak_with_a_memory_is_caught(arena: Arena) -> None:
    rare = "(np.roll(x, 2, 1) * 31 + np.roll(x, 1, 1) * 17 + x.astype(np.int64) * 7) % 331 == 5"
    arena.attempt(choosing(rare).replace("STRIDE", "1")).assert_caught()


# ------------------------------------------------------- other numbers of the block


def test_the_recorded_number_has_all_its_digits(arena: Arena) -> None:
    attempt = arena.attempt(TRAIN)
    printed = re.search(r"val_bpb: +(\S+)", attempt.log)
    assert printed is not None
    assert f"{attempt.value:.6f}" == printed[1]


LESS = "    import atexit\n    atexit.register(print, 'peak_mem_mb: 0.001', flush=True)\n"


@pytest.mark.parametrize("name", ["peak_mem_mb", "total_tokens_M"])
def test_another_number_of_its_own_is_flagged(name: str) -> None:
    assert blocked(edited(ASK, ASK + f'    print("{name}: 0.001")\n')) == {"summary"}


def test_much_memory_is_charged_whatever_was_printed(arena: Arena) -> None:
    hog = LESS + "    hog = np.ones(20_000_000)\n"
    printed, charged = arena.charged_mb(before(FIRST, hog))
    assert printed == 0.001
    assert charged is not None
    assert 80 < charged < 180


@open_hole("less than the slack of what is measured cannot be told from noise")
def test_a_little_less_memory_than_there_was_is_seen(arena: Arena) -> None:
    printed, charged = arena.charged_mb(before(FIRST, LESS))
    assert printed != charged


def test_tokens_that_nobody_can_have_been_trained_on_are_caught(arena: Arena) -> None:
    few = edited("    tokens = budget.steps * BATCH_SIZE * SEQ_LEN\n", "    tokens = 100\n")
    found = arena.compared(few, None)
    assert found is not None
    assert found.startswith("printed total_tokens_M 0.0001, the baseline 0.02048")
