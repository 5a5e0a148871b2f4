"""Cheats with the number itself: it is measured where no candidate can reach it."""

import pytest

from helpers.candidates import (
    ASK,
    FIRST,
    MAIN,
    Arena,
    Cheat,
    asking,
    before,
    blocked,
    edited,
    ending,
    hidden,
    open_hole,
)
from ratchet.records.records import Outcome

UNASKED = "printed val_bpb without an evaluation"
DIFFERS = r"printed val_bpb \S+, the evaluator measured \d"
LEAKS = r"(changed when later bytes were changed|could not have seen|known to it)"
INTRUDES = "(it sent more than it was asked for|without an evaluation)"
EVALUATOR, METRIC = frozenset({"evaluator"}), frozenset({"metric"})
# What an evaluation is replaced by.
REPLACED = "lambda predict: 0.5"


def patching(lines: str) -> str:
    """A candidate that changes ``prepare`` and lets that evaluate it."""
    text = before(MAIN, f"import prepare\n\n{lines}\n\n\n")
    return asking("", "prepare.evaluate_bpb(model.predict)", text)


def predicting(lines: str) -> str:
    """A model that changes its ``logits`` before it returns them."""
    code = f"            logits = self(inputs).data\n{lines}            return logits\n"
    return edited("            return self(inputs).data\n", code)


def leaking(weight: float) -> str:
    """A model that mixes later bytes into its predictions."""
    later = "np.eye(256, dtype=logits.dtype)[inputs[:, 1:]]"
    return predicting(f"            logits[:, :-1] += {weight} * {later}\n")


CHEATS = {
    "prints a constant": Cheat(asking("", "0.5"), UNASKED),
    "prints a block of its own": Cheat(
        edited(ASK, '    print("---\\nval_bpb: 0.5")\n'), UNASKED, METRIC
    ),
    "prints less than was measured": Cheat(
        asking("", "evaluate_bpb(model.predict) - 0.01"), DIFFERS
    ),
    "prints another block after the real one": Cheat(
        ending('    print("---")\n    print("val_bpb: 0.5")\n'), DIFFERS, METRIC
    ),
    "floods the log with blocks after the real one": Cheat(
        ending('    for _ in range(80_000):\n        print("---\\nval_bpb: 0.5 ")\n'),
        DIFFERS,
        METRIC,
    ),
    "hides the real number behind a carriage return": Cheat(
        ending('    print("val_bpb: 9\\rval_bpb: 0.5")\n'), DIFFERS, METRIC
    ),
    "hides the real number behind colours": Cheat(
        ending('    print("\\x1b[8m---\\x1b[0m\\n\\x1b[2Kval_\\x1b[1mbpb: 0.5")\n'), DIFFERS
    ),
    "writes past print": Cheat(
        ending('    import os\n    os.write(1, b"---\\nval_" b"bpb: 0.5\\n")\n'), DIFFERS
    ),
    "patches the evaluation": Cheat(
        patching(f"prepare.evaluate_bpb = {REPLACED}"), UNASKED, EVALUATOR
    ),
    "patches it by setattr": Cheat(
        patching(f'setattr(prepare, "evaluate_bpb", {REPLACED})'), UNASKED, EVALUATOR
    ),
    "patches it in sys.modules": Cheat(
        patching(f'import sys\nvars(sys.modules["prepare"])["evaluate_bpb"] = {REPLACED}'), UNASKED
    ),
    "replaces the module": Cheat(
        edited(
            "import numpy as np\n",
            "import numpy as np\nimport sys\nimport types\nimport prepare as real\n"
            'sys.modules["prepare"] = types.SimpleNamespace(**vars(real))\n'
            f'vars(sys.modules["prepare"])["evaluate_bpb"] = {REPLACED}\n',
        ),
        UNASKED,
        EVALUATOR,
    ),
    "patches it from encoded text": Cheat(
        hidden(f'globals()["evaluate_bpb"] = {REPLACED}'), UNASKED
    ),
    "defines an evaluation of its own": Cheat(
        before(MAIN, "def evaluate_bpb(predict):\n    return 0.5\n\n\n"), UNASKED, EVALUATOR
    ),
    "replaces the conversation with the evaluator": Cheat(
        before(FIRST, "    import channel\n    channel.evaluate_remotely = lambda *_: 0.5\n"),
        UNASKED,
        EVALUATOR,
    ),
    "speaks to the evaluator itself": Cheat(
        asking(
            "    import os, socket\n"
            '    line = socket.socket(fileno=os.dup(int(os.environ["RATCHET_EVALUATOR_FD"])))\n'
            '    line.sendall(b"evaluate" + bytes(9000))\n',
            "0.5",
        ),
        INTRUDES,
        EVALUATOR,
    ),
    "speaks to it without naming it": Cheat(
        asking(
            "    import os, socket\n"
            "    for number in range(3, 30):\n"
            "        try:\n"
            '            socket.socket(fileno=os.dup(number)).sendall(b"evaluate" + bytes(9000))\n'
            "        except OSError:\n"
            "            pass\n",
            "0.5",
        ),
        INTRUDES,
    ),
    "prints the evaluator's words": Cheat(
        asking(
            '    print(\'{"event": "asked"}\')\n'
            '    print(\'{"event": "result", "value": 0.5, "tokens": 32768, "batches": 40, \'\n'
            '          \'"seconds": 1.0, "reply_seconds": 0.01}\')\n',
            "0.5",
        ),
        UNASKED,
    ),
    "returns a low loss": Cheat(
        asking(
            "",
            "loss.item() / math.log(2.0)",
            edited("cross_entropy(logits, targets)\n", "cross_entropy(logits, targets) * 1e-3\n"),
        ),
        UNASKED,
    ),
    "builds logits from later bytes": Cheat(leaking(9.0), LEAKS),
    "mixes later bytes in a little": Cheat(leaking(0.1), LEAKS),
    "draws predictions until they please": Cheat(
        predicting("            logits += np.random.standard_normal(logits.shape)\n"),
        "or between two calls",
    ),
    "hides a failed evaluation": Cheat(
        asking("    evaluate_bpb(lambda x: model.predict(x) * np.nan)\n", "2.0"),
        "printed val_bpb 2, the evaluator measured no finite number",
    ),
}


@pytest.mark.parametrize("name", CHEATS)
def test_the_edit_is_flagged_and_its_run_caught_whatever_was(arena: Arena, name: str) -> None:
    arena.check_cheat(CHEATS[name])


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
PROBABILITIES = """        y = model.predict(x).astype(np.float64)
        p = np.exp(y - y.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
"""
ADAPTS = f"""    seen, counts = {{}}, np.zeros((65536, 256))
    def predict(x):
{PROBABILITIES}
        pairs = x[:, :-1].astype(np.int64) * 256 + x[:, 1:]
        known = counts[pairs[:, 7:]]
        p[:, 8:] = (p[:, 8:] * 4 + known) / (4 + known.sum(-1, keepdims=True))
        y = np.log(p)
        for row, window in enumerate(x):
            if window[:8].tobytes() not in seen:
                np.add.at(counts, (pairs[row, :-1], window[2:]), 1.0)
{REMEMBERS}"""


def leak(which: str) -> str:
    """A candidate with a memory that looks at the next byte; ``which`` is a (B, T) mask."""
    return asking(f"""    seen = {{}}
    def predict(x):
{PROBABILITIES}
        leaks = {which}
        for t in range(8, 63):
            p[:, t] *= 1.0 - 0.5 * leaks[:, t, None]
            p[np.arange(len(x)), t, x[:, t + 1]] += 0.5 * leaks[:, t]
        y = np.log(p)
{REMEMBERS}""")


# The evaluation draws its bets anew in each run, and sees this leak in nine runs of ten.
RAREST = "after line breaks"
PLACES = {
    "everywhere": "np.ones(x.shape)",
    "at every fourth position": "np.tile(np.arange(64) % 4 == 0, (len(x), 1))",
    "at three positions": "np.tile(np.arange(64) % 21 == 8, (len(x), 1))",
    "where the beginning is known": "np.repeat([[w[:8].tobytes() in seen] for w in x], 64, 1)",
    "where it is not": "np.repeat([[w[:8].tobytes() not in seen] for w in x], 64, 1)",
    RAREST: "x == 10",
    "in windows that look usual": (
        "np.repeat(-np.log(np.take_along_axis(p[:, :-1], x[:, 1:, None].astype(int), 2))"
        ".mean((1, 2))[:, None] < 3.0, 64, 1)"
    ),
}


@pytest.mark.parametrize("name", PLACES)
def test_a_leak_with_a_memory_is_caught(arena: Arena, name: str) -> None:
    attempt = arena.attempt(leak(PLACES[name]))
    if name == RAREST and attempt.record.outcome is not Outcome.TAMPERED:
        attempt = arena.attempt(leak(PLACES[name]))
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
    arena.attempt(leak(rare)).assert_caught()


LESS = "    import atexit\n    atexit.register(print, 'peak_mem_mb: 0.001', flush=True)\n"


@pytest.mark.parametrize("name", ["peak_mem_mb", "total_tokens_M"])
def test_another_number_of_its_own_is_flagged(name: str) -> None:
    assert blocked(ending(f'    print("{name}: 0.001")\n')) == {"summary"}


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
    found = arena.unlike(arena.traces(few))
    assert found is not None
    assert found.startswith("printed total_tokens_M 0.0001, the baseline 0.02048")
