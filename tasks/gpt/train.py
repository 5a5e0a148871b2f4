"""GPT pretraining on one GPU, or slowly on a CPU: the one file that experiments edit.

Run it after the preparation; it trains for the budget that the environment sets and
ends with the summary block::

    python prepare.py && python train.py

A decoder with rotary positions, normalised queries and keys, squared ReLU, and layers
that see the whole window or only the tokens just before; Muon moves the matrices, AdamW
the rest.  The constants are those of a GPU with 80 GB; presets set them for others.
"""

from __future__ import annotations

import gc
import math
import sys
from collections import deque
from collections.abc import Iterator

import torch
import torch.nn.functional as F  # noqa: N812
from runtime import (
    EVAL_LENGTH,
    SEED,
    VOCAB_SIZE,
    Budget,
    Memory,
    batches,
    evaluate_bpb,
    print_summary,
)
from torch import Tensor, nn

# Device
DEVICE = "auto"  # "cuda", "cpu", or "auto": the GPU if there is one
COMPILE = True  # compile model and optimizer, on a GPU only

# Model
DEPTH = 8  # blocks
WIDTH = 512  # numbers per token between the blocks
HEAD_DIM = 128  # numbers per attention head
MLP_RATIO = 4  # hidden width of a block's MLP, in units of WIDTH
WINDOW_PATTERN = "SSSL"  # layers in turn: S sees SHORT_WINDOW tokens, L all; the last is L
SHORT_WINDOW = 256  # tokens that an S layer sees, the current one included
ROPE_BASE = 10000.0  # wavelengths of the rotary positions grow up to this
LOGIT_CAP = 15.0  # bound the logits smoothly to +- this; 0 leaves them alone
EMBED_STD = 1.0  # standard deviation of the embedding at the start
HEAD_STD = 0.001  # the same for the output layer
FIRST_MIX = 0.1  # how much of the embedding each block gets again at the start

# Optimizer
MATRIX_LR = 0.03  # Muon, at the plateau of the schedule
EMBED_LR = 0.3  # AdamW, embedding
HEAD_LR = 0.004  # AdamW, output layer
SCALAR_LR = 0.02  # AdamW, the blocks' mixing weights
MOMENTUM = 0.95  # Muon's memory of the gradient
MUON_STEPS = 5  # steps towards the nearest orthogonal matrix
BETA1 = 0.8  # AdamW's memory of the mean gradient
BETA2 = 0.95  # AdamW's memory of the squared gradient
WEIGHT_DECAY = 0.1  # pull of the matrices towards zero, times the learning rate
GRAD_CLIP = 0.0  # largest norm of the whole gradient; 0 switches it off

# Schedule
WARMUP = 0.0  # part of the budget with a rising learning rate
COOLDOWN = 0.5  # part of the budget at the end with a falling one
FINAL_LR = 0.0  # where the cooldown ends, in units of the plateau

# Data and regularization
SEQ_LEN = 2048  # tokens per row
DEVICE_BATCH = 64  # rows on the device at once
ACCUMULATE = 4  # so many of them make an optimizer step
DROPOUT = 0.0  # part of a block's output that a step leaves out
SMOOTHING = 0.0  # part of the target that is spread over all tokens

LOG_EVERY = 0.1  # part of the budget between progress lines
WARM_STEPS = 2  # steps before the clock that compile and teach nothing

found = "cuda" if torch.cuda.is_available() else "cpu"
device = torch.device(found if DEVICE == "auto" else DEVICE)
on_gpu = device.type == "cuda"
# Cards without bf16 would emulate it, which is slower than plain 32 bits.
has_bf16 = on_gpu and torch.cuda.get_device_capability() >= (8, 0)
number = torch.bfloat16 if has_bf16 else torch.float32


def maybe_compiled(function):
    """The function compiled for the GPU, or as it is."""
    return torch.compile(function, dynamic=False) if COMPILE and on_gpu else function


def norm(x: Tensor) -> Tensor:
    """Normalisation before each block, of queries and keys, and before the head."""
    return F.rms_norm(x, (x.shape[-1],))


def activation(x: Tensor) -> Tensor:
    """The nonlinearity of the MLPs."""
    return F.relu(x).square()


def linear(inputs: int, outputs: int, std: float) -> nn.Parameter:
    """Weights (outputs, inputs) of a linear layer, uniform with a standard deviation."""
    return nn.Parameter(torch.empty(outputs, inputs).uniform_(-1.0, 1.0) * std * math.sqrt(3.0))


def apply(x: Tensor, weight: Tensor) -> Tensor:
    """Multiply by weights that are kept in 32 bits."""
    return F.linear(x, weight.to(x.dtype))


def near(queries: int, keys: int, window: int) -> Tensor:
    """Which keys each query sees, when both end at the same token."""
    here = torch.arange(keys - queries, keys, device=device)[:, None]
    there = torch.arange(keys, device=device)
    return (there <= here) & (there > here - window)


def attend(q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
    """Causal attention (B, H, T, D) over the last ``window`` tokens, itself included.

    A short window is computed in blocks of its length, each with the block before it.
    """
    rows, heads, length, dim = q.shape
    if window >= length:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    if length % window:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=near(length, length, window))
    count = length // window
    k, v = (F.pad(x, (0, 0, window, 0)).unfold(2, 2 * window, window).mT for x in (k, v))
    mask = near(window, 2 * window, window).repeat(count, 1, 1)
    mask[0, :, :window] = False  # Nothing is before the first block.
    out = F.scaled_dot_product_attention(
        q.reshape(rows, heads * count, window, dim),
        k.reshape(rows, heads * count, 2 * window, dim),
        v.reshape(rows, heads * count, 2 * window, dim),
        attn_mask=mask.repeat(heads, 1, 1),
    )
    return out.reshape(rows, heads, length, dim)


class Attention(nn.Module):
    """Self-attention of one block."""

    def __init__(self, window: int) -> None:
        super().__init__()
        self.window = window
        self.queries = linear(WIDTH, WIDTH, WIDTH**-0.5)
        self.keys = linear(WIDTH, WIDTH, WIDTH**-0.5)
        self.values = linear(WIDTH, WIDTH, WIDTH**-0.5)
        self.out = linear(WIDTH, WIDTH, 0.0)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
        rows, length, _ = x.shape
        weights = (self.queries, self.keys, self.values)
        q, k, v = (apply(x, w).view(rows, length, -1, HEAD_DIM).transpose(1, 2) for w in weights)
        q, k = norm(rotate(q, turn)), norm(rotate(k, turn))
        y = attend(q, k, v, self.window)
        return apply(y.transpose(1, 2).reshape(rows, length, WIDTH), self.out)


def rotate(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Turn pairs of numbers by angles that grow with the position."""
    cos, sin = (t[: x.shape[2]] for t in turn)
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos + b * sin, b * cos - a * sin], dim=-1)


class Mlp(nn.Module):
    """Two layers on each token by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.up = linear(WIDTH, MLP_RATIO * WIDTH, WIDTH**-0.5)
        self.down = linear(MLP_RATIO * WIDTH, WIDTH, 0.0)

    def forward(self, x: Tensor) -> Tensor:
        return apply(activation(apply(x, self.up)), self.down)


class Block(nn.Module):
    """Attention and MLP on the residual stream."""

    def __init__(self, window: int) -> None:
        super().__init__()
        self.attention = Attention(window)
        self.mlp = Mlp()
        self.keep = nn.Parameter(torch.ones(()))
        self.first = nn.Parameter(torch.full((), FIRST_MIX))

    def forward(self, x: Tensor, x0: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
        x = self.keep.to(x.dtype) * x + self.first.to(x.dtype) * x0
        x = x + F.dropout(self.attention(norm(x), turn), DROPOUT, self.training)
        return x + F.dropout(self.mlp(norm(x)), DROPOUT, self.training)


class Gpt(nn.Module):
    """Tokens (B, T) to the loss, or to the logits at some positions (B, P, VOCAB_SIZE)."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.randn(VOCAB_SIZE, WIDTH) * EMBED_STD)
        self.blocks = nn.ModuleList(Block(window) for window in windows())
        self.head = nn.Parameter(torch.randn(VOCAB_SIZE, WIDTH) * HEAD_STD)
        places = torch.arange(max(SEQ_LEN, EVAL_LENGTH)).float()
        speeds = ROPE_BASE ** -torch.linspace(0, 1, HEAD_DIM // 2 + 1)[:-1]
        angles = torch.outer(places, speeds)
        self.register_buffer("cos", angles.cos().to(number), persistent=False)
        self.register_buffer("sin", angles.sin().to(number), persistent=False)

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Mean loss in nats per token."""
        logits = self.logits(self.trunk(inputs))
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), label_smoothing=SMOOTHING)

    def trunk(self, inputs: Tensor) -> Tensor:
        """What the model makes of each token and those before it (B, T, WIDTH)."""
        x = norm(F.embedding(inputs, self.embedding).to(number))
        x0 = x
        for block in self.blocks:
            x = block(x, x0, (self.cos, self.sin))
        return norm(x)

    def logits(self, x: Tensor) -> Tensor:
        """Scores of the next token."""
        logits = apply(x, self.head).float()
        return LOGIT_CAP * torch.tanh(logits / LOGIT_CAP) if LOGIT_CAP else logits

    def predict(self, inputs: Tensor, positions: Tensor) -> Tensor:
        """What the evaluator calls: logits at some positions of each row."""
        x = self.trunk(inputs)
        return self.logits(x.gather(1, positions[..., None].expand(-1, -1, WIDTH)))


def windows() -> list[int]:
    """How many tokens each layer sees; the last layer sees all."""
    longest = max(SEQ_LEN, EVAL_LENGTH)
    letters = [WINDOW_PATTERN[i % len(WINDOW_PATTERN)] for i in range(DEPTH - 1)] + ["L"]
    return [SHORT_WINDOW if letter == "S" else longest for letter in letters]


def flops_per_token(model: Gpt) -> float:
    """Operations of a step per token: 6 for each weight, 12 for each pair that attends."""
    weights = sum(p.numel() for p in model.parameters() if p.ndim == 2) - model.embedding.numel()
    return 6.0 * weights + 12.0 * WIDTH * sum(min(window, SEQ_LEN) for window in windows())


@maybe_compiled
def orthogonal(momentum: Tensor, grads: Tensor) -> Tensor:
    """Muon's directions for matrices of one shape (N, R, C); moves the momentum, too."""
    momentum.lerp_(grads, 1.0 - MOMENTUM)
    x = grads.lerp(momentum, MOMENTUM).to(number)
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(MUON_STEPS):
        # Newton-Schulz steps move all singular values towards 1.
        gram = x @ x.mT
        x = 3.4445 * x + (2.0315 * gram @ gram - 4.775 * gram) @ x
    x = x.mT if tall else x
    return x.float() * max(1.0, x.shape[1] / x.shape[2]) ** 0.5


class Muon:
    """Momentum made orthogonal, for all matrices of the blocks."""

    def __init__(self, matrices: list[nn.Parameter]) -> None:
        shapes = sorted({tuple(p.shape) for p in matrices})
        self.groups = [[p for p in matrices if tuple(p.shape) == shape] for shape in shapes]
        self.momenta = [torch.zeros((len(g), *g[0].shape), device=device) for g in self.groups]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move the matrices; ``rate`` is relative to the plateau."""
        scale = rate * MATRIX_LR
        for group, momentum in zip(self.groups, self.momenta, strict=True):
            update = orthogonal(momentum, torch.stack([p.grad for p in group]))
            torch._foreach_mul_(group, 1.0 - scale * WEIGHT_DECAY)
            torch._foreach_add_(group, list(update.unbind()), alpha=-scale)


class Optimizer:
    """Muon for the matrices, AdamW for embedding, head and mixing weights."""

    def __init__(self, model: Gpt) -> None:
        self.parameters = list(model.parameters())
        scalars = [p for p in model.blocks.parameters() if p.ndim < 2]
        self.muon = Muon([p for p in model.blocks.parameters() if p.ndim == 2])
        # Wider layers want smaller steps; the rates are meant for a width of 768.
        wide = (WIDTH / 768) ** -0.5
        rates = [
            (EMBED_LR * wide, [model.embedding]),
            (HEAD_LR * wide, [model.head]),
            (SCALAR_LR, scalars),
        ]
        groups = [{"params": params, "lr": lr, "plateau": lr} for lr, params in rates]
        betas = (BETA1, BETA2)
        self.adam = torch.optim.AdamW(groups, betas=betas, eps=1e-10, weight_decay=0.0, fused=True)

    def step(self, rate: float) -> None:
        """One step at a part of the plateau's rates; forgets the gradients."""
        if GRAD_CLIP:
            torch.nn.utils.clip_grad_norm_(self.parameters, GRAD_CLIP)
        for group in self.adam.param_groups:
            group["lr"] = rate * group["plateau"]
        self.adam.step()
        self.muon.step(rate)
        for p in self.parameters:
            p.grad = None

    def state(self) -> Iterator[Tensor]:
        """All tensors that are kept between steps."""
        yield from self.muon.momenta
        for kept in self.adam.state.values():
            yield from (t for t in kept.values() if isinstance(t, Tensor))

    def forget(self) -> None:
        """Start anew."""
        self.adam.state.clear()
        for momentum in self.muon.momenta:
            momentum.zero_()


def learning_rate(progress: float) -> float:
    """Part of the plateau's rate: linear warm-up, plateau, linear cooldown."""
    rise = min(1.0, (progress + 1e-3) / WARMUP) if WARMUP else 1.0
    fall = min(1.0, (1.0 - progress) / COOLDOWN) if COOLDOWN else 1.0
    return rise * (FINAL_LR + (1.0 - FINAL_LR) * fall)


def warm_up(model: nn.Module, optimizer: Optimizer, memory: Memory) -> None:
    """Compile everything on made-up tokens; a rate of 0 leaves the weights as they are."""
    with memory.counting():
        for _ in range(WARM_STEPS):
            tokens = torch.randint(VOCAB_SIZE, (2, DEVICE_BATCH, SEQ_LEN), device=device)
            model(tokens[0], tokens[1]).backward()
            optimizer.step(0.0)
    optimizer.forget()
    torch.manual_seed(SEED)
    if on_gpu:
        torch.cuda.synchronize()
    gc.freeze()


def train(model: nn.Module, optimizer: Optimizer, budget: Budget) -> None:
    """Take steps until the budget is used."""
    rows = batches(DEVICE_BATCH, SEQ_LEN, device)
    inputs, targets = next(rows)
    ended: deque[torch.cuda.Event] = deque()
    next_log = LOG_EVERY
    while not budget.done():
        for _ in range(ACCUMULATE):
            loss = model(inputs, targets)
            (loss / ACCUMULATE).backward()
            inputs, targets = next(rows)
        optimizer.step(learning_rate(budget.progress()))
        budget.step()
        if on_gpu:
            # The host may be one step ahead, so that the device never waits for it.
            ended.append(torch.cuda.Event())
            ended[-1].record()
            if len(ended) > 1:
                ended.popleft().synchronize()
        if budget.progress() >= next_log:
            next_log += LOG_EVERY
            nats = loss.item()
            print(f"step {budget.steps}: loss {nats:.4f} nats per token", flush=True)
            if not math.isfinite(nats):
                sys.exit("the loss is not finite")
    if on_gpu:
        torch.cuda.synchronize()
    budget.stop()


def main() -> None:
    """Train until the budget is used, evaluate, print the summary."""
    torch.set_float32_matmul_precision("high")
    torch.manual_seed(SEED)
    model = Gpt().to(device)
    optimizer = Optimizer(model)
    memory = Memory(model, device)
    compiled = maybe_compiled(model)
    warm_up(compiled, optimizer, memory)
    budget = Budget.from_environment()
    train(compiled, optimizer, budget)
    model.eval()
    print_summary(
        evaluate_bpb(model.predict, device),
        budget,
        tokens=budget.steps * ACCUMULATE * DEVICE_BATCH * SEQ_LEN,
        flops_per_token=flops_per_token(model),
        peak_mb=memory.peak_mb(optimizer.state()),
        parameters=sum(p.numel() for p in model.parameters()),
        depth=DEPTH,
        device=device,
    )


if __name__ == "__main__":
    main()
