"""Honest edits of the default task's train.py, from one number to another model."""

from __future__ import annotations

from helpers.candidates import ASK, END, IMPORTS, LOOP, MAIN, TRAIN, before, edited

MIXER = TRAIN[TRAIN.index("class Mixer:") : TRAIN.index("class Block:")]
BLOCK_CALL = "        hidden = activation(norm(x) @ self.up + self.bias)\n"
STEP = "        optimizer.step(learning_rate(budget.progress()))\n"
OPTIMIZER = "    optimizer = AdamW(parameters)\n"


def optimizer(update: str, memory: int = 1) -> str:
    """The default candidate with another optimizer; ``update`` sets p.data from p.grad."""
    code = f'''class Other:
    """Another optimizer."""

    def __init__(self, parameters: list[Tensor]) -> None:
        self.parameters = parameters
        self.memory = [[np.zeros(p.shape) for _ in range({memory})] for p in parameters]

    def step(self, rate: float) -> None:
        clip_gradients(self.parameters)
        for p, memory in zip(self.parameters, self.memory, strict=True):
            if p.grad is None:
                continue
{update}
            p.grad = None


'''
    return before(MAIN, code, edited(OPTIMIZER, "    optimizer = Other(parameters)\n"))


ATTENTION = '''class Attention:
    """One causal head on vectors (B, T, WIDTH)."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.q, self.k, self.v = (init_matrix(rng, WIDTH, 32) for _ in range(3))
        self.out = init_matrix(rng, 32, WIDTH)

    def __call__(self, x: Tensor) -> Tensor:
        y = norm(x)
        scores = (y @ self.q) @ (y @ self.k).transpose(0, 2, 1) * 32**-0.5
        seen = np.tril(np.ones((x.shape[1], x.shape[1]), dtype=bool))
        return x + fn.softmax(fn.where(seen, scores, -1e9)) @ (y @ self.v) @ self.out


'''
RECURRENT = '''class Mixer:
    """A gated sum over all earlier positions, position by position."""

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


'''
CONVOLUTION = '''class Mixer:
    """Depthwise causal convolution, then a matrix."""

    def __init__(self, rng: np.random.Generator) -> None:
        rows = rng.standard_normal((VOCAB_SIZE, EMBED_DIM)) * EMBED_STD
        self.embedding = Tensor(rows, requires_grad=True)
        self.kernel = init_matrix(rng, CONTEXT, EMBED_DIM)
        self.weight = init_matrix(rng, EMBED_DIM, WIDTH)

    def __call__(self, inputs: Array) -> Tensor:
        x = fn.causal_windows(fn.gather(self.embedding, inputs), CONTEXT)
        x = x.reshape(*inputs.shape, CONTEXT, EMBED_DIM) * self.kernel
        return x.sum(axis=2) @ self.weight


'''
MUON = """            if p.ndim != 2:
                p.data -= rate * p.grad
                continue
            memory[0] += 0.1 * (p.grad - memory[0])
            x = memory[0] / (np.linalg.norm(memory[0]) + 1e-7)
            for _ in range(3):
                x = 1.5 * x - 0.5 * x @ x.T @ x
            p.data -= 10 * rate * x"""
LION = """            step = np.sign(0.9 * memory[0] + 0.1 * p.grad)
            memory[0] += 0.01 * (p.grad - memory[0])
            p.data -= rate * (step + 0.01 * p.data)"""
EMA = """        for mean, p in zip(means, parameters, strict=True):
            mean += 0.1 * (p.data - mean)
"""

HONEST = {
    "learning rate": edited("LEARNING_RATE = 5e-4", "LEARNING_RATE = 3e-3"),
    "batch and window": edited("BATCH_SIZE = 8", "BATCH_SIZE = 16").replace(
        "SEQ_LEN = 64", "SEQ_LEN = 32"
    ),
    "deeper and narrower": edited("WIDTH = 96", "WIDTH = 64").replace("DEPTH = 1", "DEPTH = 3"),
    "label smoothing": edited("SMOOTHING = 0.0", "SMOOTHING = 0.05"),
    "attention": before("class Head:\n", ATTENTION)
    .replace(
        "        self.head = Head(rng)\n",
        "        self.attention = Attention(rng)\n        self.head = Head(rng)\n",
    )
    .replace(
        "        return self.head(x, inputs)", "        return self.head(self.attention(x), inputs)"
    ),
    "recurrent mixer": edited(MIXER, RECURRENT),
    "convolution": edited(MIXER, CONVOLUTION),
    "gated MLP": edited(
        BLOCK_CALL,
        "        y = norm(x)\n"
        "        hidden = (y @ self.gate).sigmoid() * (y @ self.up + self.bias)\n",
    ).replace(
        "        self.down = init_matrix(rng, hidden, WIDTH)\n",
        "        self.down = init_matrix(rng, hidden, WIDTH)\n"
        "        self.gate = init_matrix(rng, WIDTH, hidden)\n",
    ),
    "tied weights": edited("EMBED_DIM = 16", "EMBED_DIM = 96")
    .replace("CONTEXT = 8", "CONTEXT = 2")
    .replace(
        "        logits = norm(x) @ self.weight + self.bias\n",
        "        logits = norm(x) @ self.table.transpose() + self.bias\n",
    )
    .replace("        self.weight = init_matrix(rng, WIDTH, VOCAB_SIZE)\n", "")
    .replace(
        "        self.head = Head(rng)\n",
        "        self.head = Head(rng)\n        self.head.table = self.mixer.embedding\n",
    )
    .replace(
        "    parameters = list(parameters_of(model))\n",
        "    parameters = list({id(p): p for p in parameters_of(model)}.values())\n",
    ),
    "Lion": optimizer(LION),
    "Muon": optimizer(MUON),
    "averaged weights for the evaluation": before(
        LOOP,
        "    means = [p.data.copy() for p in parameters]\n",
        before(
            "        budget.step()\n",
            EMA,
            before(
                END,
                "    for mean, p in zip(means, parameters, strict=True):\n"
                "        p.data[...] = mean\n",
            ),
        ),
    ),
    "stops early with averaged weights": before(
        LOOP,
        "    kept = []\n",
        edited(
            "        budget.step()\n",
            "        budget.step()\n        if budget.progress() > 0.7:\n"
            "            kept.append([p.data.copy() for p in parameters])\n"
            "        if budget.progress() > 0.9:\n            break\n",
            before(
                END,
                "    for i, p in enumerate(parameters):\n"
                "        p.data[...] = np.mean([w[i] for w in kept], axis=0)\n",
            ),
        ),
    ),
    "data in order": edited(
        "    starts = rng.integers(0, len(data) - SEQ_LEN, size=BATCH_SIZE)\n",
        "    first = int(rng.integers(0, len(data) - SEQ_LEN * (BATCH_SIZE + 1)))\n"
        "    starts = first + SEQ_LEN * np.arange(BATCH_SIZE)\n",
    ),
    "data shuffled once": before(
        LOOP, "    order = rng.permutation(len(data) - SEQ_LEN)\n"
    ).replace(
        "        inputs, targets = sample_batch(data, rng)\n",
        '        places = np.take(order, np.arange(8) + 8 * budget.steps, mode="wrap")\n'
        "        spans = places[:, None] + np.arange(SEQ_LEN)\n"
        "        inputs, targets = data[spans], data[spans + 1]\n",
    ),
    "single precision": edited(
        "    return Tensor(rng.standard_normal((inputs, outputs)) * std, requires_grad=True)\n",
        "    values = rng.standard_normal((inputs, outputs), dtype=np.float32)\n"
        "    return Tensor(values * np.float32(std), requires_grad=True)\n",
    ),
    "progress with times": before(
        IMPORTS,
        "import collections\nimport dataclasses\nimport time\n",
        before(
            MAIN,
            "@dataclasses.dataclass\nclass Progress:\n    began: float\n"
            "    losses: collections.deque\n\n\n",
            before(
                LOOP,
                "    seen = Progress(time.perf_counter(), collections.deque(maxlen=9))\n",
                edited(
                    "        budget.step()\n",
                    "        budget.step()\n        seen.losses.append(loss.item())\n"
                    "        if budget.steps % 20 == 0:\n"
                    "            spent = time.perf_counter() - seen.began\n"
                    '            print(f"{spent:.2f} s: {np.mean(seen.losses):.3f} nats")\n',
                ),
            ),
        ),
    ),
    "another log": edited(
        'print(f"step {budget.steps}: loss {loss.item() / math.log(2.0):.4f} bits per byte")',
        'print(f"{budget.progress():6.1%} train_loss={loss.item():.3f}", flush=True)',
    ),
    "refactored": edited(
        "        loss = loss_of(model(inputs, rng), targets)\n        loss.backward()\n" + STEP,
        "        loss = train_step(model, optimizer, inputs, targets, rng, budget.progress())\n",
        before(
            MAIN,
            "def train_step(model, optimizer, inputs, targets, rng, progress):\n"
            '    """One step; returns the loss."""\n'
            "    loss = loss_of(model(inputs, rng), targets)\n    loss.backward()\n"
            "    optimizer.step(learning_rate(progress))\n    return loss\n\n\n",
        ),
    ),
    "words about the metric": before(
        MAIN,
        "# val_bpb is what counts: lower is better.  evaluate_bpb asks for predictions.\n"
        '# ---\nNOTES = "see prepare.py for val_bpb"\n\n\n',
    ),
    "frequencies of bytes as a bias": before(
        LOOP,
        "    counts = np.bincount(data, minlength=VOCAB_SIZE) + 1.0\n"
        "    model.head.bias.data[...] = np.log(counts / counts.sum())\n",
    ),
    "a cooler prediction": edited(
        ASK, ASK.replace("model.predict", "lambda x: 1.02 * model.predict(x)")
    ),
}
