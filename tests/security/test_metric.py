"""Cheats with the number itself: it is measured where no candidate can reach it."""

import re

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
INTRUDES = "(it sent more than it was asked for|without an evaluation)"
EVALUATOR, METRIC = frozenset({"evaluator"}), frozenset({"metric"})
# What an evaluation is replaced by.
REPLACED = "lambda predict: 0.5"


def patching(lines: str) -> str:
    """A candidate that changes ``prepare`` and lets that evaluate it."""
    text = before(MAIN, f"import prepare\n\n{lines}\n\n\n")
    return asking("", "prepare.evaluate_bpb(model.predict)", text)


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
        ending('    import os\n    os.write(1, b"---\\nval_" b"bpb: 0.5\\n")\n'), DIFFERS, METRIC
    ),
    "patches the evaluation": Cheat(
        patching(f"prepare.evaluate_bpb = {REPLACED}"), UNASKED, EVALUATOR
    ),
    "patches it by setattr": Cheat(
        patching(f'setattr(prepare, "evaluate_bpb", {REPLACED})'), UNASKED, EVALUATOR
    ),
    "patches it in sys.modules": Cheat(
        patching(f'import sys\nvars(sys.modules["prepare"])["evaluate_bpb"] = {REPLACED}'),
        UNASKED,
        EVALUATOR,
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
    "hides a failed evaluation": Cheat(
        asking("    evaluate_bpb(lambda x: model.predict(x) * np.nan)\n", "2.0"),
        "printed val_bpb 2, the evaluator measured no finite number",
    ),
}


# To the run they are one: it prints a number that nobody was asked for.
SAME_RUN = {
    "patches it by setattr",
    "patches it in sys.modules",
    "replaces the module",
    "defines an evaluation of its own",
    "prints a block of its own",
}


@pytest.mark.parametrize("name", CHEATS)
def test_the_edit_is_flagged_and_its_run_caught_whatever_was(arena: Arena, name: str) -> None:
    if name in SAME_RUN:
        assert (blocked(CHEATS[name].source), CHEATS[name].reason) == (CHEATS[name].flags, UNASKED)
    else:
        arena.check_cheat(CHEATS[name])


def test_fake_blocks_before_the_real_one_change_nothing(arena: Arena) -> None:
    flood = before(FIRST, '    for _ in range(80_000):\n        print("---\\nval_bpb: 0.5")\n')
    attempt = arena.attempt(flood)
    assert attempt.blocked == {"metric"}
    assert attempt.value == arena.honest()
    assert "bytes of output left out here" in attempt.log


# Whole windows through the model, and much for what follows in them: a leak as it was
# where a run was shown what it had to predict.
PEEKS = """
    def whole(x):
        with ag.no_grad():
            y = model(x).data.astype(float)
        rows, columns = np.indices(x[:, 1:].shape)
        y[rows, columns, x[:, 1:]] += 9.0
        return y
"""
# Bytes of all windows so far, and what followed the last eight of a row.
KEEPS = """
    kept = []
    def search(x):
        y = model.predict(x).astype(float)
        if x.shape[1] == 1:
            kept.append(x)
        kept[-1] = x
        every = b"".join(line.tobytes() + bytes(9) for rows in kept for line in rows)
        for row, line in enumerate(x):
            place = every.find(line[-8:].tobytes())
            if len(line) >= 8 and 0 <= place < len(every) - 8 and every[place + 8]:
                y[row, every[place + 8]] += 4.0
        return y
"""
OWN_LINE = """
    import os, socket, struct, threading
    line = socket.socket(fileno=os.dup(int(os.environ["RATCHET_EVALUATOR_FD"])))
    def read(count):
        found = b""
        while len(found) < count:
            found += line.recv(count - len(found)) or exit()
        return found
    def column():
        rows, known = struct.unpack("<II", read(8))
        if not rows:
            return None
        return rows, known, np.frombuffer(read(rows), np.uint8)
    def sure(rows, column):
        y = np.zeros((rows, 256), "<f4")
        if column is not None:
            y[np.arange(rows), column] = 30.0
        return y.tobytes()
"""
# What a candidate hands in before it has the byte: it cannot be the byte.
WORTHLESS = {
    "looks at what follows where it is shown": asking(
        PEEKS + "    predict = lambda x: whole(x)[:, -1]\n"
    ),
    "looks at what follows in windows that it has seen": asking(
        PEEKS + "    predict = lambda x: whole(np.hstack([x, x[:, -1:]]))[:, -2]\n"
    ),
    "answers with what it was just shown": asking(
        "    predict = lambda x: 9.0 * np.eye(256)[x[:, -1]]\n"
    ),
    "answers at once, and sees later what it should have been": asking(
        OWN_LINE
        + """
    line.sendall(b"evaluate")
    while (asked := column()) is not None:
        line.sendall(sure(asked[0], None))
    value, = struct.unpack("<d", read(8))
""",
        "value",
    ),
    "has a thread that answers with the byte before": asking(
        OWN_LINE
        + """
    values = []
    def answer():
        line.sendall(b"evaluate")
        while (asked := column()) is not None:
            line.sendall(sure(asked[0], asked[2]))
        values.extend(struct.unpack("<d", read(8)))
    thread = threading.Thread(target=answer)
    thread.start()
    thread.join()
""",
        "values[0]",
    ),
}


@pytest.mark.parametrize("name", WORTHLESS)
def test_a_leak_has_nothing_to_look_at(arena: Arena, name: str) -> None:
    """No harness sees these: their own number is the bad one that they deserve."""
    assert arena.attempt(WORTHLESS[name]).value > arena.honest() - 0.001


def test_the_same_leak_was_worth_bits_where_whole_windows_were_shown(arena: Arena) -> None:
    """The cheat itself works: on text that it has, it predicts what it sees."""
    source = asking(
        PEEKS + "    x = data[: 16 * 65].reshape(16, 65)\n"
        "    y = whole(x)[:, :-1]\n"
        "    chance = np.exp(y - y.max(-1, keepdims=True))\n"
        "    chance /= chance.sum(-1, keepdims=True)\n"
        "    true = np.take_along_axis(chance, x[:, 1:, None].astype(int), 2)\n"
        "    print('LEAKED', -np.log2(true).mean())\n"
        # What it prints once it has asked is kept apart.
        "    raise SystemExit\n",
    )
    attempt = arena.attempt(source)
    leaked = re.search(r"LEAKED\s+(\S+)", attempt.log)
    assert leaked is not None
    assert float(leaked[1]) < 1.0 < arena.honest()


INTRUSIONS = {
    "answers twice": (
        "    line.sendall(b'evaluate')\n"
        "    try:\n"
        "        while (asked := column()) is not None:\n"
        "            line.sendall(2 * sure(asked[0], None))\n"
        "    except OSError:\n        pass\n"
    ),
    "answers before it was asked": (
        "    line.sendall(b'evaluate' + sure(88, None))\n"
        "    try:\n        column()\n"
        "    except OSError:\n        pass\n"
    ),
    "answers with less": (
        "    line.sendall(b'evaluate')\n    asked = column()\n"
        "    line.sendall(sure(asked[0] - 1, None))\n    line.close()\n"
        "    os.close(int(os.environ['RATCHET_EVALUATOR_FD']))\n"
    ),
}


@pytest.mark.parametrize("name", INTRUSIONS)
def test_who_breaks_the_protocol_has_no_number(arena: Arena, name: str) -> None:
    attempt = arena.attempt(asking(OWN_LINE + INTRUSIONS[name], "0.5"))
    attempt.assert_ends(Outcome.TAMPERED, "its evaluation failed: it (sent more|went away)")


def test_a_number_that_is_not_finite_late_is_no_metric(arena: Arena) -> None:
    late = "    predict = lambda x: model.predict(x) * (np.nan if x.shape[1] == 60 else 1.0)\n"
    attempt = arena.attempt(asking(late))
    assert attempt.record.outcome is not Outcome.OK
    assert attempt.record.evaluation is not None
    assert attempt.record.evaluation.value is None


COUNTS = """
    counts = {{}}
    def predict(x):
        y = model.predict(x).astype(float)
        y -= np.log(np.exp(y).sum(-1, keepdims=True))
        p = np.exp(y)
        for row, line in enumerate(x):
            if {learns} and len(line) > {order}:
                seen = counts.setdefault(line[-{order} - 1 : -1].tobytes(), {{}})
                seen[line[-1]] = seen.get(line[-1], 0) + 1
        for row, line in enumerate(x):
            seen = counts.get(line[-{order}:].tobytes())
            if seen:
                total = sum(seen.values())
                p[row] *= {weight} / ({weight} + total)
                for byte, count in seen.items():
                    p[row, byte] += count / ({weight} + total)
        return np.log(p)
"""
ADAPTS = """
    table, said = np.zeros((256, 256)), []
    def predict(x):
        if x.shape[1] > 1:
            error = -said[-1]
            error[np.arange(len(x)), x[:, -1]] += 1.0
            np.add.at(table, x[:, -2], 0.05 * error)
        y = model.predict(x) + table[x[:, -1]]
        chances = np.exp(y - y.max(-1, keepdims=True))
        said[:] = [chances / chances.sum(-1, keepdims=True)]
        return y
"""
LEARNERS = {
    "counts what follows what": COUNTS.format(order=3, weight=4.0, learns="True"),
    "slowly": COUNTS.format(order=2, weight=64.0, learns="True"),
    "only from half of the windows": COUNTS.format(order=4, weight=2.0, learns="line[0] % 2"),
    "finds long texts again": COUNTS.format(order=24, weight=0.2, learns="True"),
    "searches all that it was shown": KEEPS + "    predict = search\n",
    "moves the scores after each byte a little": ADAPTS,
}


@pytest.mark.parametrize("name", LEARNERS)
def test_learning_from_the_evaluation_is_caught(arena: Arena, name: str) -> None:
    # The evidence grows with the groups.
    attempt = arena.attempt(asking(LEARNERS[name]), whole=True)
    attempt.assert_ends(Outcome.TAMPERED, "it learned from the windows of the evaluation")


@open_hole("a memory that is used at two places of a hundred leaves too little evidence")
def test_learning_that_is_seldom_used_is_caught(arena: Arena) -> None:
    seldom = COUNTS.format(order=4, weight=2.0, learns="True").replace(
        "            if seen:\n", "            if seen and np.random.random() < 0.02:\n"
    )
    arena.attempt(asking(seldom), whole=True).assert_caught()


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


@open_hole("files of memory belong to no process")
def test_memory_in_files_is_charged(arena: Arena) -> None:
    lines = (
        "    import os\n    own = os.memfd_create('own')\n    os.write(own, bytes(100_000_000))\n"
    )
    _, charged = arena.charged_mb(before(FIRST, lines))
    assert charged is not None
    assert charged > 80


def test_tokens_that_nobody_can_have_been_trained_on_are_caught(arena: Arena) -> None:
    few = edited("    tokens = budget.steps * BATCH_SIZE * SEQ_LEN\n", "    tokens = 100\n")
    found = arena.unlike(arena.traces(few))
    assert found is not None
    assert found.startswith("printed total_tokens_M 0.0001, the baseline 0.02048")
