"""Flags on edits: cheats are seen, honest edits are not accused."""

import base64
import random
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import BYTELM, load_task
from helpers.malformed import DEEP, inspected_edit
from ratchet.integrity import edit_checks
from ratchet.integrity.edit_checks import (
    MOST_NOTES,
    EditContract,
    Severity,
    edit_flags,
    inspect_proposal,
    only_reseeds,
)
from ratchet.task.edits import applicable_changes
from ratchet.task.task import Seeding

CONTRACT = EditContract(("prepare.py", "autograd.py"), "val_bpb")
START = """import autograd as ag
from prepare import SEED, evaluate_bpb

rng = np.random.default_rng(SEED)
print_summary(evaluate_bpb(train(rng)))
"""


def kinds(text: str, severity: Severity = Severity.BLOCK, start: str = START) -> list[str]:
    """Kinds of the flags on an edit, of one severity."""
    every = edit_flags({"train.py": start}, {"train.py": text}, CONTRACT)
    return [flag.kind for flag in every if flag.severity is severity]


@pytest.mark.parametrize(
    ("kind", "cheat"),
    [
        ("evaluator", "import prepare\nprepare.evaluate_bpb = half"),
        ("evaluator", "import prepare as p\nsetattr(p, 'evaluate_bpb', half)"),
        ("evaluator", "class evaluate_bpb: pass"),
        ("evaluator", "for _, (*evaluate_bpb, x) in halves: pass"),
        ("evaluator", "with half as evaluate_bpb: pass"),
        ("evaluator", "del evaluate_bpb"),
        ("evaluator", "sys.modules['prepare'] = object()"),
        ("evaluator", "importlib.reload(other)"),
        ("evaluator", "ag.no_grad = None"),
        ("evaluator", "builtins.float = half"),
        ("evaluator", "FD = os.environ['RATCHET_EVALUATOR_FD']"),
        ("evaluator", "FRAME = sys._getframe(1)"),
        ("evaluator", "evaluate_bpb.__defaults__ = (train_data,)"),
        ("evaluator", "from prepare import Budget\nBudget.done = never"),
        ("evaluator", "import prepare\nprepare.__dict__['evaluate_bpb'] = half"),
        ("evaluator", "import prepare\nvars(prepare)['bits'] = half"),
        ("evaluator", "import prepare\ntype(prepare).__setattr__(prepare, 'bits', half)"),
        ("evaluator", "globals()['evaluate_bpb'] = half"),
        ("evaluator", "globals().update(evaluate_bpb=half)"),
        ("evaluator", "mock.patch('prepare.evaluate_bpb', half).start()"),
        ("evaluator", "from halves import half as evaluate_bpb"),
        ("evaluator", "import halves as evaluate_bpb"),
        ("evaluator", "try: f()\nexcept Half as evaluate_bpb: pass"),
        ("evaluator", "match half:\n    case evaluate_bpb: pass"),
        ("evaluator", "import builtins as b\nb.print = half"),
        ("evaluator", "from sys import modules as m\nm['prepare'] = half"),
        ("evaluator", "sys.modules.pop('prepare')"),
        ("evaluator", "getattr(evaluate_bpb, '__globals__')"),
        ("evaluator", "error.__traceback__.tb_frame"),
        ("metric", "line = 'val_bpb: 0.5'\nprint(line)"),
        ("metric", "logging.warning('val_bpb: 0.5')"),
        ("metric", "sys.stdout.buffer.write(b'val_bpb: 0.5')"),
        ("clock", "import time as t\nt.process_time = half"),
        ("clock", "patch('time.process_time', half).start()"),
        ("hidden", "evaluate_bpb\ufe00 = half"),
        ("hidden", "\u3164 = half"),
        ("metric", "print('val_bpb: 0.5')"),
        ("metric", "print(f'val_bpb: {0.1:.3f}')"),
        ("metric", "print('---')"),
        ("clock", "time.process_time = half"),
        ("clock", "setattr(time, 'process_time', half)"),
        ("seed", "SEED = 42"),
    ],
)
def test_a_cheat_is_blocked(kind: str, cheat: str) -> None:
    assert kinds(f"{START}{cheat}\n") == [kind]


def test_a_flag_says_where_and_what() -> None:
    text = f"{START}def evaluate_bpb(predict):\n    return 0.5\n"
    (flag,) = edit_flags({"train.py": START}, {"train.py": text}, CONTRACT)
    assert str(flag).startswith("train.py:6: hides what the fixed files provide")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("rng =", "rng: np.random.Generator ="),
        ("default_rng(SEED)", "Generator(np.random.PCG64(SEED))\nRATE = 3e-3"),
        ("default_rng(SEED)", "default_rng(SEED)\nnoise = np.random.default_rng(SEED + 1)"),
        ("rng =", "print('elapsed', seconds())\nrng ="),
        ("rng =", "class Model:\n    pass\nModel.scale = 2.0\nrng ="),
        ("rng =", "names.remove('a')\nrng ="),
        ("rng =", "evaluated[0] = nll(x * x.sigmoid())\nrng ="),
        ("rng =", "import time\nrng ="),
        ("train(rng)", "torch.compile(train(rng)).eval()"),
        ("import autograd as ag\n", ""),
        ("import", "# val_bpb is what counts; --- ends the log\nx = 1\nimport"),
        ("import", '"""val_bpb decides."""\nimport'),
        ("import", '"""val_bpb: what decides."""\nimport'),
        ("rng =", "wandb.log({'val_bpb': 1})\nrng ="),
        ("rng =", "time = now()\nfunctions = {}\nfunctions['a'] = 1\nrng ="),
        ("rng =", "torch.backends.cudnn.benchmark = True\nrng ="),
        ("rng =", "def (:\nrng ="),
    ],
)
def test_an_honest_edit_is_not_accused(old: str, new: str) -> None:
    text = START.replace(old, new, 1)
    assert text != START
    assert kinds(text) == []
    assert not only_reseeds({"train.py": START}, {"train.py": text})


def test_nothing_that_the_task_declares_is_flagged_at_all() -> None:
    task = load_task(BYTELM)
    start = {"train.py": (BYTELM / "train.py").read_text()}
    contract = EditContract(tuple(task.fixed), task.metric.name, task.printed)
    # One value of each constant, since values are not read.
    drafts = {d.edit.name: d for d in applicable_changes(task.search_space, start)}
    assert len(drafts) > 20
    for name, draft in drafts.items():
        assert edit_flags(start, draft.contents, contract) == (), name


USED = "from prepare import SEED\nstart(SEED)\n"
UNUSED = "from prepare import SEED\nrate = 1\n"
OWN = "print('val_bpb:', 1)\nprint('---')\n"


@pytest.mark.parametrize(
    ("start", "text", "blocked"),
    [
        # What the baseline does itself is no offence, unless it is done once more.
        (OWN, OWN + "x = 1\n", []),
        (OWN, OWN + "print('---')\n", ["metric"]),
        # A seed that the baseline does not use cannot be lost.
        (UNUSED, "rate = 2\n", []),
        (USED, USED.replace("start(SEED)", "start(1)"), ["seed"]),
    ],
)
def test_an_edit_is_compared_with_the_baseline(start: str, text: str, blocked: list[str]) -> None:
    assert kinds(text, start=start) == blocked


def test_notes_are_shown_and_do_not_block() -> None:
    text = START + "import subprocess\nopen('x')\nA = '/proc/self'\nos.environ['A'] = A\n"
    assert kinds(text) == []
    assert kinds(text, Severity.NOTE) == ["outside"] * 4
    assert edit_flags({"config.yaml": "a: 1"}, {"config.yaml": "print('---')"}, CONTRACT) == ()


@pytest.mark.parametrize("seed", ["SEED + 7", "1234"])
def test_an_edit_of_the_seed_alone_is_recognised(seed: str) -> None:
    text = START.replace("default_rng(SEED)", f"default_rng({seed})  # lucky")
    assert only_reseeds({"train.py": START}, {"train.py": text})
    assert not only_reseeds({"train.py": START}, {"train.py": START + "# nothing\n"})


@given(st.text(max_size=200) | st.integers(200, 3000).map(lambda n: f"{'(' * n}1{')' * n}"))
def test_any_text_can_be_read(text: str) -> None:
    for flag in edit_flags({"train.py": ""}, {"train.py": text}, CONTRACT):
        assert flag.line >= 1


BASE = "SEED = 1\nRATE = 0.1\n"


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        (BASE.replace("0.1", "0.2"), ""),
        (BASE.replace("SEED = 1", "SEED = 2").replace("0.1", "0.2"), ""),
        (BASE.replace("SEED = 1\n", ""), "no longer sets SEED, by which the harness"),
        (BASE.replace("SEED = 1", "SEED = int(7)"), "no longer sets SEED"),
        (BASE + "SEED = 3\n", "no longer sets SEED"),
    ],
)
def test_an_edit_that_gives_up_the_seeds_constant_is_not_run(text: str, refused: str) -> None:
    held = SimpleNamespace(incumbent=SimpleNamespace(files={"train.py": BASE}))
    session = SimpleNamespace(
        task=SimpleNamespace(
            mutable=["train.py"],
            fixed=[],
            metric=SimpleNamespace(name="val"),
            printed=(),
            seeding=Seeding(constant="SEED"),
        ),
        baseline_files={"train.py": BASE},
        texts=dict,
        state=lambda number: held,
    )
    proposal = SimpleNamespace(files={"train.py": text}, notes=(), round=1)
    found = inspect_proposal(session, proposal)
    assert found.refused.startswith(refused)
    assert bool(found.refused) is bool(refused)


PACKED = base64.b64encode(random.Random(1).randbytes(300)).decode()
PROSE = "It says what it does, at length. " * 40


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("data", f"DATA = '{PACKED}'"),
        ("data", f"DATA = bytes.fromhex('{bytes(range(200)).hex()}')"),
        ("data", f"DATA = {random.Random(1).randbytes(400)!r}"),
        ("data", f"TEXT = '{PROSE}'"),
        ("data", f"'''{PROSE * 4}'''"),
        ("data", f"# {PACKED[:200]}\n# {PACKED[200:]}"),
        ("data", f"VALUES = {list(range(300))}"),
        ("data", f"VALUES = {dict.fromkeys(range(300), 1)}"),
        ("data", f"NUMBER = {2**600}"),
        ("line", f"x = 1  # {'word ' * 120}"),
        ("name", "ev\u0430luate_bpb = 1"),
        ("name", "\uff50rint('1')"),
        ("data", "# it says what it does\n" * 60),
    ],
)
def test_what_is_hard_to_read_is_noted(kind: str, code: str) -> None:
    text = f"{START}{code}\n"
    assert kind in kinds(text, Severity.NOTE)
    assert kinds(text) == []
    assert kinds(text + "x = 1\n", Severity.NOTE, start=text) == []


@pytest.mark.parametrize(
    "code",
    [
        f"def f():\n    '''{PROSE.replace('. ', '.' + chr(10))}'''\n",
        "σ, λ_max, β1 = 1, 2, 3  # x² über µ",
        "URL = 'https://huggingface.co/datasets/karpathy/climbmix-400b/resolve/main/shard_00001.pa'",
        "DIGEST = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'",
        "LETTERS = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'",
        "SIZES = [8, 16, 32, 64, 128, 256, 512, 1024]",
        "model = torch.compile(model)",
        "state = pickle.loads(pickle.dumps(model))",
        "text = data.decode('utf-8'); compile(model)",
    ],
)
def test_what_honest_code_has_is_not(code: str) -> None:
    text = f"{START}{code}\n"
    assert kinds(text) == []
    assert not {"data", "line", "name", "hidden"} & set(kinds(text, Severity.NOTE))


@pytest.mark.parametrize(
    "code",
    [
        f"exec(base64.b64decode('{PACKED}'))",
        "CODE = b64decode('cHJpbnQoMSk=')\nexec(CODE)",
        "code = bytes.fromhex('7072696e74')\nmore = code\neval(more)",
        "marshal.loads(zlib.decompress(data))",
        "exec(codecs.decode('cevag(1)', 'rot13'))",
        "builtins.compile(binascii.unhexlify(x), '', 'exec')",
        "run = exec\nrun('pass')",
        "getattr(builtins, 'exec')('pass')",
        "list(map(exec, lines))",
        "@exec\n@text_of\nclass Text: pass",
        "class Text:\n    __class_getitem__ = eval",
        "exec(''.join(map(chr, numbers)))",
        "exec(open(__file__).read()[9:])",
        "from marshal import loads\nloads(data)",
        "from base64 import b64decode as d\npickle.loads(d(data))",
        "pickle.loads(b'cos')",
        "runpy.run_path('x')",
        "\uff45\uff56\uff41\uff4c('1')",
    ],
)
def test_code_that_a_file_unpacks_itself_is_blocked(code: str) -> None:
    assert "hidden" in kinds(f"{START}{code}\n")


def test_a_module_is_not_replaced_through_its_table() -> None:
    assert "evaluator" in kinds(START + "sys.modules['prepare'].evaluate_bpb = half\n")


@pytest.mark.parametrize(
    ("text", "words", "unreadable"),
    [
        (START + "x = 1\n", "", False),
        ("# coding: raw_unicode_escape\n# \\u000aimport os\n" + START, "the encoding", False),
        (START + "# \u202e\n", "has U+202E", False),
        (START + "def (\n", "is not valid Python", True),
        (START + DEEP["attributes"](900), "nested deeper", True),
        (START + "SEED = 1\n", "hides what the fixed files", False),
    ],
)
def test_text_that_cannot_be_read_is_told_from_what_bends(
    text: str, words: str, unreadable: bool
) -> None:
    found = inspected_edit("train.py", START, text)
    assert words in found.refused
    assert bool(found.refused) is bool(words)
    assert found.unreadable is unreadable


def test_reading_that_fails_or_takes_long_refuses_the_edit(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RecursionError("maximum recursion depth exceeded")

    def dawdle(*_: object) -> None:
        while True:
            pass

    for stand_in, words in ((fail, "fails with RecursionError"), (dawdle, "takes more than")):
        monkeypatch.setattr(edit_checks, "SECONDS", 0.1)
        monkeypatch.setattr(edit_checks, "edit_flags", stand_in)
        found = inspected_edit("train.py", START, START + "x = 1\n")
        assert found.refused.startswith("could not be read: ")
        assert words in found.refused
        assert found.unreadable


def test_of_many_notes_the_first_are_recorded() -> None:
    many = "".join(f"open('{number}')\n" for number in range(100))
    notes = inspected_edit("train.py", START, START + many).notes
    assert len(notes) == MOST_NOTES
    assert notes[-1] == f"and {100 - MOST_NOTES + 1} more notes on the edit"
