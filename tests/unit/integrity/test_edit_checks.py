"""Flags on edits: cheats are seen, honest edits are not accused."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.candidates import FIRST, MAIN, TASK, TRAIN, edited
from ratchet.integrity.edit_checks import (
    EditContract,
    Severity,
    edit_flags,
    inspect_proposal,
    only_reseeds,
)
from ratchet.task.edits import applicable_changes
from ratchet.task.task import Seeding

CONTRACT = EditContract(("prepare.py", "autograd.py", "functions.py"), "val_bpb")


def kinds(text: str, severity: Severity = Severity.BLOCK) -> list[str]:
    every = edit_flags({"train.py": TRAIN}, {"train.py": text}, CONTRACT)
    return [flag.kind for flag in every if flag.severity is severity]


CHEATS = {
    "patches the evaluator": (
        "evaluator",
        edited(MAIN, "import prepare\nprepare.evaluate_bpb = lambda predict: 0.5\n" + MAIN),
    ),
    "patches it by setattr": (
        "evaluator",
        edited(
            MAIN, "import prepare as p\nsetattr(p, 'evaluate_bpb', lambda predict: 0.5)\n" + MAIN
        ),
    ),
    "defines its own evaluator": (
        "evaluator",
        edited(MAIN, "def evaluate_bpb(predict):\n    return 0.5\n\n" + MAIN),
    ),
    "assigns its own evaluator": (
        "evaluator",
        edited(FIRST, FIRST + "    evaluate_bpb = lambda predict: 0.5\n"),
    ),
    "replaces the module": (
        "evaluator",
        edited(MAIN, "import sys\nsys.modules['prepare'] = object()\n" + MAIN),
    ),
    "patches the fixed library": (
        "evaluator",
        edited(MAIN, "ag.no_grad = None\n" + MAIN),
    ),
    "replaces a builtin": (
        "evaluator",
        edited(MAIN, "import builtins\nbuiltins.float = lambda x: 0.5\n" + MAIN),
    ),
    "speaks to the evaluator": (
        "evaluator",
        edited(MAIN, "import os\nFD = os.environ['RATCHET_EVALUATOR_FD']\n" + MAIN),
    ),
    "looks into the caller's frame": (
        "evaluator",
        edited(MAIN, "import sys\nFRAME = sys._getframe(1)\n" + MAIN),
    ),
    "prints a metric": (
        "metric",
        edited(FIRST, FIRST + "    print('val_bpb: 0.5')\n"),
    ),
    "prints a metric by format": (
        "metric",
        edited(FIRST, FIRST + "    print(f'val_bpb: {0.1:.3f}')\n"),
    ),
    "prints a summary": ("metric", edited(FIRST, FIRST + "    print('---')\n")),
    "stops the clock": (
        "clock",
        edited(MAIN, "import time\ntime.process_time = lambda: 0.0\n" + MAIN),
    ),
    "hard-codes the seed": (
        "seed",
        edited(FIRST, "    rng = np.random.default_rng(42)\n").replace("SEED, ", ""),
    ),
    "redefines the seed": ("seed", edited(MAIN, "SEED = 42\n\n\n" + MAIN)),
}


@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_is_blocked(name: str) -> None:
    kind, text = CHEATS[name]
    assert kind in kinds(text)


def test_a_flag_says_where_and_what() -> None:
    _, text = CHEATS["defines its own evaluator"]
    (flag,) = edit_flags({"train.py": TRAIN}, {"train.py": text}, CONTRACT)
    assert flag.file == "train.py"
    assert text.splitlines()[flag.line - 1].startswith("def evaluate_bpb")
    assert str(flag).startswith(f"train.py:{flag.line}: hides what the fixed files provide")


HONEST = {
    "learning rate": edited("LEARNING_RATE = 5e-4", "LEARNING_RATE = 3e-3"),
    "depth": edited("DEPTH = 1", "DEPTH = 4"),
    "seeded dropout stream": edited(FIRST, FIRST + "    noise = np.random.default_rng(SEED + 1)\n"),
    "another stream": edited(FIRST, "    rng = np.random.Generator(np.random.PCG64(SEED))\n"),
    "progress in seconds": edited(FIRST, FIRST + "    print('elapsed', budget_seconds())\n"),
    "helper class": edited(
        MAIN,
        "class Averager:\n    def __init__(self, parameters):\n"
        "        self.mean = [p.data.copy() for p in parameters]\n\n"
        "    def update(self, parameters):\n"
        "        for mean, p in zip(self.mean, parameters):\n"
        "            mean += 0.01 * (p.data - mean)\n\n\n" + MAIN,
    ),
    "own activation": edited("    return x.relu()\n", "    return x * (x * 1.702).sigmoid()\n"),
    "own loss": edited(
        "    loss = fn.cross_entropy(logits, targets)\n", "    loss = nll(logits)\n"
    ),
    "evaluation mode": edited(FIRST, FIRST + "    model = Model(rng).eval()\n"),
    "compiled model": edited(FIRST, FIRST + "    step = torch.compile(Model(rng))\n"),
    "time import": edited("import math\n", "import math\nimport time\n"),
    "early stop": edited("        budget.step()\n", "        budget.step()\n        patience()\n"),
    "fewer imports": edited("VOCAB_SIZE, Budget", "Budget").replace("VOCAB_SIZE", "256"),
    "comment on the metric": edited(MAIN, "# val_bpb is what counts; --- ends the log\n" + MAIN),
    "docstring on the metric": edited(
        '    """Train until the budget is used, evaluate, print the summary."""\n',
        '    """Train until the budget is used; val_bpb decides."""\n',
    ),
    "annotated": edited(FIRST, "    rng: np.random.Generator = np.random.default_rng(SEED)\n"),
    "rewritten model": edited("class Model:", "class Old:\n    pass\n\n\nclass Model:"),
    "data order": edited(FIRST, FIRST + "    order = rng.permutation(len(load_split('train')))\n"),
    "local name eval": edited(FIRST, FIRST + "    evaluated = [0.0]\n    evaluated[0] = 1.0\n"),
    "own attribute": edited(FIRST, FIRST + "    Model.scale = 2.0\n"),
    "list method": edited(FIRST, FIRST + "    names = ['a']\n    names.remove('a')\n"),
    "broken code": TRAIN + "\ndef (:\n",
}


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_edit_is_not_accused(name: str) -> None:
    assert HONEST[name] != TRAIN
    assert kinds(HONEST[name]) == []
    assert not only_reseeds({"train.py": TRAIN}, {"train.py": HONEST[name]})


def test_nothing_that_the_task_declares_is_flagged_at_all() -> None:
    drafts = list(applicable_changes(TASK.search_space, {"train.py": TRAIN}))
    assert len(drafts) > 40
    for draft in drafts:
        assert edit_flags({"train.py": TRAIN}, draft.contents, CONTRACT) == (), draft.edit.label


def test_what_the_baseline_does_itself_is_no_offence() -> None:
    own = "import time\nprint('val_loss:', time.time())\nprint('---')\n"
    contract = EditContract(("prepare.py",), "val_loss")
    assert edit_flags({"a.py": own}, {"a.py": own + "x = 1\n"}, contract) == ()
    twice = edit_flags({"a.py": own}, {"a.py": own + "print('---')\n"}, contract)
    assert [flag.kind for flag in twice] == ["metric"]


def test_a_seed_that_the_baseline_does_not_use_cannot_be_lost() -> None:
    own = "from prepare import SEED\nrate = 1\n"
    contract = EditContract(("prepare.py",), "val_loss")
    assert edit_flags({"a.py": own}, {"a.py": own + "rate = 2\n"}, contract) == ()
    lost = edit_flags({"a.py": own + "start(SEED)\n"}, {"a.py": own + "start(1)\n"}, contract)
    assert [flag.kind for flag in lost] == ["seed"]


def test_notes_are_shown_and_do_not_block() -> None:
    text = edited(MAIN, "import subprocess\nsubprocess.run(['true'])\nopen('x')\n" + MAIN)
    assert kinds(text) == []
    assert kinds(text, Severity.NOTE) == ["outside", "outside"]
    assert edit_flags({"config.yaml": "a: 1"}, {"config.yaml": "print('---')"}, CONTRACT) == ()


@pytest.mark.parametrize("start", ["default_rng(SEED + 7)", "default_rng(1234)  # lucky"])
def test_an_edit_of_the_seed_alone_is_recognised(start: str) -> None:
    text = edited(FIRST, FIRST.replace("default_rng(SEED)", start))
    assert only_reseeds({"train.py": TRAIN}, {"train.py": text})
    assert not only_reseeds({"train.py": TRAIN}, {"train.py": TRAIN + "# nothing\n"})


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
    texts = {"base": BASE, "new": text}
    session = SimpleNamespace(
        task=SimpleNamespace(
            mutable=["train.py"],
            fixed=[],
            metric=SimpleNamespace(name="val"),
            printed=(),
            seeding=Seeding(constant="SEED"),
        ),
        baseline_files={"train.py": "base"},
        texts=lambda sources: {name: texts[sha] for name, sha in sources.items()},
        state=lambda _: SimpleNamespace(incumbent=SimpleNamespace(files={"train.py": "base"})),
    )
    proposal = SimpleNamespace(files={"train.py": "new"}, notes=(), round=1)
    found, _ = inspect_proposal(session, proposal)
    assert found.startswith(refused) if refused else found == ""
