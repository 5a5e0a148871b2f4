"""Honest edits: none is accused, with isolation or without."""

import pytest

from helpers.candidates import (
    END,
    LOOP,
    MAIN,
    TASK,
    TRAIN,
    Arena,
    asking,
    blocked,
    edited,
    layered,
)
from ratchet.integrity.edit_checks import only_reseeds
from ratchet.runs.sandbox.sandbox import SandboxKind
from ratchet.task.edits import applicable_changes

MIXER = TRAIN[TRAIN.index("class Mixer:") : TRAIN.index("class Block:")]
HEAD = "        self.head = Head(rng)\n"
DONE = "        budget.step()\n"


def changed(*places: tuple[str, str]) -> str:
    """The default candidate with several places changed."""
    text = TRAIN
    for old, new in places:
        text = edited(old, new, text)
    return text


RECURRENT = """class Mixer:
    def __init__(self, rng: np.random.Generator) -> None:
        rows = rng.standard_normal((VOCAB_SIZE, WIDTH)) * EMBED_STD
        self.embedding = Tensor(rows, requires_grad=True)
        self.gate = init_matrix(rng, WIDTH, WIDTH)

    def __call__(self, inputs: Array) -> Tensor:
        x = fn.gather(self.embedding, inputs)
        gates = (x @ self.gate).sigmoid()
        state, states = x[:, 0], []
        for t in range(inputs.shape[1]):
            state = gates[:, t] * state + (1.0 - gates[:, t]) * x[:, t]
            states.append(state.reshape(inputs.shape[0], 1, WIDTH))
        return fn.concat(states, axis=1)

    def last(self, prefix: Array) -> Tensor:
        x = fn.gather(self.embedding, prefix[:, -1:])
        gate = (x @ self.gate).sigmoid()
        self.state = x if prefix.shape[1] == 1 else gate * self.state + (1.0 - gate) * x
        return self.state


"""
CONVOLUTION = """class Mixer:
    def __init__(self, rng: np.random.Generator) -> None:
        rows = rng.standard_normal((VOCAB_SIZE, EMBED_DIM)) * EMBED_STD
        self.embedding = Tensor(rows, requires_grad=True)
        self.kernel = init_matrix(rng, CONTEXT, EMBED_DIM)
        self.weight = init_matrix(rng, EMBED_DIM, WIDTH)

    def __call__(self, inputs: Array) -> Tensor:
        x = fn.causal_windows(fn.gather(self.embedding, inputs), CONTEXT)
        x = x.reshape(*inputs.shape, CONTEXT, EMBED_DIM) * self.kernel
        return x.sum(axis=2) @ self.weight

    def last(self, prefix: Array) -> Tensor:
        return self(prefix[:, -CONTEXT:])[:, -1:]


"""
LION = """class Lion:
    def __init__(self, parameters: list[Tensor]) -> None:
        self.parameters = parameters
        self.momenta = [np.zeros(p.shape) for p in parameters]

    def step(self, rate: float) -> None:
        clip_gradients(self.parameters)
        for p, momentum in zip(self.parameters, self.momenta, strict=True):
            if p.grad is None:
                continue
            step = np.sign(0.9 * momentum + 0.1 * p.grad)
            momentum += 0.01 * (p.grad - momentum)
            p.data -= rate * (step + 0.01 * p.data)
            p.grad = None


"""
WRITTEN = {
    "recurrent mixer": edited(MIXER, RECURRENT),
    "convolution": edited(MIXER, CONVOLUTION),
    "tied weights": changed(
        ("EMBED_DIM = 16", "EMBED_DIM = 96"),
        ("CONTEXT = 8", "CONTEXT = 2"),
        ("norm(x) @ self.weight", "norm(x) @ self.table.transpose()"),
        ("        self.weight = init_matrix(rng, WIDTH, VOCAB_SIZE)\n", ""),
        (HEAD, HEAD + "        self.head.table = self.mixer.embedding\n"),
        ("list(parameters_of(model))", "list({id(p): p for p in parameters_of(model)}.values())"),
    ),
    "Lion": changed((MAIN, LION + MAIN), ("AdamW(parameters)", "Lion(parameters)")),
    "stops early with averaged weights": changed(
        (LOOP, "    kept = []\n" + LOOP),
        (
            DONE,
            DONE + "        if budget.progress() > 0.7:\n"
            "            kept.append([p.data.copy() for p in parameters])\n"
            "        if budget.progress() > 0.9:\n            break\n",
        ),
        (
            END,
            "    for i, p in enumerate(parameters):\n"
            "        p.data[...] = np.mean([w[i] for w in kept], axis=0)\n" + END,
        ),
    ),
    "data shuffled once": changed(
        (LOOP, "    order = rng.permutation(len(data) - SEQ_LEN)\n" + LOOP),
        (
            "        inputs, targets = sample_batch(data, rng)\n",
            '        places = np.take(order, np.arange(8) + 8 * budget.steps, mode="wrap")\n'
            "        spans = places[:, None] + np.arange(SEQ_LEN)\n"
            "        inputs, targets = data[spans], data[spans + 1]\n",
        ),
    ),
    "single precision": edited(
        "    return Tensor(rng.standard_normal((inputs, outputs)) * std, requires_grad=True)\n",
        "    values = rng.standard_normal((inputs, outputs), dtype=np.float32)\n"
        "    return Tensor(values * np.float32(std), requires_grad=True)\n",
    ),
    "another log": edited(
        'print(f"step {budget.steps}: loss {loss.item() / math.log(2.0):.4f} bits per byte")',
        'print(f"{budget.progress():6.1%} train_loss={loss.item():.3f}", flush=True)',
    ),
    "a cooler prediction": asking("", "evaluate_bpb(lambda x: 1.02 * model.predict(x))"),
}
DECLARED = {
    draft.edit.label: draft.contents["train.py"]
    for draft in applicable_changes(TASK.search_space, {"train.py": TRAIN})
}
# Of what the task itself declares, edits unlike each other and the written ones.
CHOSEN = (
    *("LEARNING_RATE=0.003", "SEQ_LEN=32", "DEPTH=2", "attention-in-mixer"),
    *("orthogonal-updates", "frequency-bias", "neighbouring-windows"),
    *("bigram-logits", "layer-norm"),
)
HONEST = {name: DECLARED[name] for name in CHOSEN} | WRITTEN


@pytest.mark.parametrize("name", WRITTEN)
def test_the_edit_is_not_flagged(name: str) -> None:
    assert WRITTEN[name] != TRAIN
    assert blocked(WRITTEN[name]) == set()
    assert not only_reseeds({"train.py": TRAIN}, {"train.py": WRITTEN[name]})


@layered(HONEST, none=True)
def test_its_run_counts_and_is_like_the_baselines(
    arena: Arena, name: str, kind: SandboxKind
) -> None:
    assert arena.accused(HONEST[name], 0.4, kind) is None


@pytest.mark.parametrize("name", ["neighbouring-windows", "recurrent mixer", "Lion"])
def test_replicates_of_honest_edits_learn_and_differ(arena: Arena, name: str) -> None:
    one, other = (arena.attempt(HONEST[name], seed=seed).value for seed in (1, 2))
    assert one != other
