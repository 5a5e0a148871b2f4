"""What ``train.py`` uses of the task: data, seed, budget, evaluation, summary.

Fixed file; there is nothing to run.

Environment: ``RATCHET_DATA`` (folder of the prepared files, default ``data`` beside
this file), ``RATCHET_SEED`` (default 1337), one of ``RATCHET_BUDGET_SECONDS``
(wall-clock seconds of training, default 300) and ``RATCHET_BUDGET_STEPS`` (optimizer
steps), and what ``scoring.Scale`` reads.  ``RATCHET_EVALUATOR_FD`` is set where the
evaluator has the validation data; then there is no ``val.bin`` here.
``RATCHET_COMPILE_CACHE`` is a folder for compiled kernels that outlasts a run (by hand:
``~/.cache/ratchet-gpt/compiled``); a run under a harness has none, since what one run
leaves for the next could be anything.
"""

from __future__ import annotations

import json
import os
import queue
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import channel
import numpy as np
import scoring
import torch
from channel import Logits, Tokens
from packing import Packer
from torch import Tensor

STARTED = time.perf_counter()
SEED = int(os.environ.get("RATCHET_SEED", "1337"))
DEFAULT_BUDGET_SECONDS = 300.0
EVALUATOR = "RATCHET_EVALUATOR_FD"
# Batches that are packed ahead of the device.
AHEAD = 4
MIB = 2**20

# Dense bf16 operations per second with 32-bit sums, as the maker's data sheets say, by
# words of the device's name; the first that fits counts.
PEAK_FLOPS = {
    "B200": 2250e12,
    "H200 NVL": 835.5e12,
    "H200": 989.5e12,
    "GH200": 989.5e12,
    "H100 NVL": 835.5e12,
    "H100 PCIe": 756.5e12,
    "H100": 989.5e12,
    "A100": 312e12,
    "A30": 165e12,
    "A10G": 70e12,
    "A10": 125e12,
    "L40S": 362e12,
    "L40": 181e12,
    "L4": 121e12,
    "RTX 5090": 209.5e12,
    "RTX 4090": 165.2e12,
    "RTX 3090": 71e12,
}

Predict: TypeAlias = Callable[[Tensor, Tensor], Tensor]


def _keep_compiled() -> None:
    """Say where compiled kernels are kept, if they may outlast this run."""
    by_hand = None if EVALUATOR in os.environ else "~/.cache/ratchet-gpt/compiled"
    folder = os.environ.get("RATCHET_COMPILE_CACHE") or by_hand
    if folder:
        place = Path(folder).expanduser()
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(place / "inductor"))
        os.environ.setdefault("TRITON_CACHE_DIR", str(place / "triton"))


_keep_compiled()  # The compiler looks once, when something is compiled first.


def data_folder() -> Path:
    """Where the data files are: ``RATCHET_DATA``, or ``data`` beside this file."""
    return Path(os.environ.get("RATCHET_DATA") or Path(__file__).resolve().parent / "data")


def _there(name: str) -> Path:
    path = data_folder() / name
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: not found; make it with: python prepare.py --out {path.parent}"
        )
    return path


FACTS: dict[str, Any] = json.loads(_there("data.json").read_text())
VOCAB_SIZE: int = FACTS["vocab_size"]
BOS: int = FACTS["bos"]
# Tokens of a row, in training and of the evaluator's windows.
MAX_SEQ_LEN = scoring.Scale.from_environment().length


def load_tokens(split: str = "train") -> Tokens:
    """All tokens of a split, not read before they are used."""
    return np.memmap(_there(f"{split}.bin"), dtype="<u2", mode="r")


def make_dataloader(
    rows: int, length: int, device: torch.device
) -> Iterator[tuple[Tensor, Tensor, int]]:
    """Endless packed inputs and targets (rows, length), and the epoch; the order follows the seed.

    For a GPU a thread packs ahead into pinned memory, and the copies do not wait.
    """
    packer = Packer(load_tokens(), BOS, length + 1, np.random.default_rng(SEED))
    made = ((torch.from_numpy(packer.batch(rows)), packer.epoch) for _ in iter(int, 1))
    for batch, epoch in _ahead(made) if device.type == "cuda" else made:
        there = batch.to(device, non_blocking=True)
        yield there[:, :-1].contiguous(), there[:, 1:].contiguous(), epoch


class LateLoss:
    """Losses read a step late, so that the host is a step ahead and the device never waits."""

    def __init__(self) -> None:
        self._before: tuple[Tensor, torch.cuda.Event | None] | None = None

    def read(self, loss: Tensor) -> float:
        """The loss given the time before; at the first time, this one."""
        event = torch.cuda.Event() if loss.is_cuda else None
        kept = loss.to("cpu", non_blocking=True)
        if event is not None:
            event.record()
        (value, copied), self._before = self._before or (kept, event), (kept, event)
        if copied is not None:
            copied.synchronize()
        return value.item()


def _ahead(made: Iterable[tuple[Tensor, int]]) -> Iterator[tuple[Tensor, int]]:
    ready: queue.Queue[tuple[Tensor, int] | BaseException] = queue.Queue(AHEAD)

    def work() -> None:
        try:
            for batch, epoch in made:
                ready.put((batch.pin_memory(), epoch))
        except BaseException as error:  # It is raised where the batch is awaited.
            ready.put(error)

    threading.Thread(target=work, daemon=True).start()
    while True:
        found = ready.get()
        if isinstance(found, BaseException):
            raise found
        yield found


class Budget:
    """How long training may take: wall-clock seconds, or a number of optimizer steps.

    The clock starts with the first call of :meth:`done` or :meth:`progress`, so building
    and compiling the model cost nothing; every step after that counts.
    """

    def __init__(self, seconds: float | None = None, steps: int | None = None) -> None:
        if (seconds is None) == (steps is None):
            raise ValueError("a budget is either seconds or steps, and not both")
        self.seconds = seconds
        self.max_steps = steps
        self.steps = 0
        self._start: float | None = None
        self._used = 0.0

    @classmethod
    def from_environment(cls) -> Budget:
        """The budget that the environment sets; 300 seconds without one."""
        seconds = os.environ.get("RATCHET_BUDGET_SECONDS")
        steps = os.environ.get("RATCHET_BUDGET_STEPS")
        if seconds and steps:
            raise ValueError("set RATCHET_BUDGET_SECONDS or RATCHET_BUDGET_STEPS, and not both")
        if steps:
            return cls(steps=int(steps))
        return cls(seconds=float(seconds or DEFAULT_BUDGET_SECONDS))

    def progress(self) -> float:
        """Used part of the budget, 0 to 1; with a step budget independent of time."""
        if self._start is None:
            self._start = time.perf_counter()
        if self.max_steps is not None:
            return min(1.0, self.steps / self.max_steps)
        assert self.seconds is not None
        return min(1.0, (time.perf_counter() - self._start) / self.seconds)

    def done(self) -> bool:
        """Whether training has to stop."""
        return self.progress() >= 1.0

    def step(self) -> None:
        """Count one optimizer step."""
        self.steps += 1

    def stop(self) -> None:
        """Stop the clock, once the device has finished the last step."""
        if self._start is not None:
            self._used = time.perf_counter() - self._start

    def __str__(self) -> str:
        return f"{self.seconds:g} s" if self.max_steps is None else f"{self.max_steps} steps"

    @property
    def training_seconds(self) -> float:
        """Seconds from the start of the clock to its stop."""
        return self._used


def evaluate_bpb(predict: Predict, device: torch.device) -> float:
    """Bits per byte on the validation split; nan if a logit is not finite.

    ``predict`` maps tokens (B, T) and positions (B, P) to logits (B, P, VOCAB_SIZE): the
    scores of the token that follows each position.  Under a harness the evaluator, a
    process of its own, has the data, asks for the logits and computes the metric, once
    per run; by hand everything happens here.
    """

    def answer(windows: Tokens, positions: Tokens) -> Logits:
        asked = (torch.from_numpy(x.astype(np.int64)).to(device) for x in (windows, positions))
        with torch.inference_mode():
            logits = predict(*asked).float()
            # Far below the best nothing matters; half precision has room for this much.
            logits = (logits - logits.amax(dim=-1, keepdim=True)).clamp(min=-3e4)
            return logits.half().cpu().numpy()

    evaluator = os.environ.get(EVALUATOR)
    if evaluator is not None:
        return channel.evaluate_remotely(answer, VOCAB_SIZE, int(evaluator))
    table = np.fromfile(_there("token_bytes.bin"), dtype="<u2")
    asked = scoring.questions(load_tokens("val"), table, scoring.Scale.from_environment())
    nats = []
    for i in range(0, len(asked.windows), scoring.WINDOWS_AT_ONCE):
        part = slice(i, i + scoring.WINDOWS_AT_ONCE)
        logits = answer(asked.windows[part], asked.positions[part])
        if not scoring.finite(logits):
            return float("nan")
        found = scoring.losses(scoring.log_softmax(logits), asked.targets[part])
        nats.append(float(np.where(asked.target_bytes[part] > 0, found, 0.0).sum()))
    return scoring.bits_per_byte(nats, int(asked.target_bytes.sum()))


class Memory:
    """The most memory that a run needs, in MiB.

    On a GPU what its allocator reports.  On a CPU it is counted, so that equal runs
    have equal numbers: parameters, gradients, the optimizer's state and what a step of
    ``rows`` rows, not compiled, keeps for its backward pass.
    """

    def __init__(self, model: torch.nn.Module, device: torch.device, rows: int) -> None:
        self.device = device
        self.parameters = list(model.parameters())
        self.kept: dict[int, int] = {}
        if device.type != "cuda":
            tokens = torch.zeros((rows, MAX_SEQ_LEN), dtype=torch.int64, device=device)
            with torch.autograd.graph.saved_tensors_hooks(self._keep, lambda tensor: tensor):
                model(tokens, tokens)

    def _keep(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if all(storage.data_ptr() != p.untyped_storage().data_ptr() for p in self.parameters):
            self.kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    def peak_mb(self, optimizer: torch.optim.Optimizer) -> float:
        """MiB, with the tensors of the optimizer's state."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / MIB
        weights = 2 * sum(p.nbytes for p in self.parameters)
        state = [
            t.nbytes for s in optimizer.state.values() for t in s.values() if torch.is_tensor(t)
        ]
        return (weights + sum(state) + sum(self.kept.values())) / MIB


def peak_flops(device: torch.device) -> float | None:
    """What the device can do per second; ``None`` if it is not in the table."""
    if device.type != "cuda":
        return None
    return named_flops(torch.cuda.get_device_name(device))


def named_flops(name: str) -> float | None:
    """The same by the device's name; versions for laptops and others are not known."""
    for words, flops in PEAK_FLOPS.items():
        if re.search(rf"\b{words}\b(?! (D|Ti|SUPER|Laptop)\b)", name):
            return flops
    return None


def print_summary(
    val_bpb: float,
    budget: Budget,
    tokens: int,
    flops_per_token: float,
    peak_mb: float,
    parameters: int,
    depth: int,
    device: torch.device,
) -> None:
    """Print the block that is read after a run, as ``key: value`` lines after ``---``."""
    peak, seconds = peak_flops(device), budget.training_seconds
    rows = {
        "val_bpb": f"{val_bpb:.6f}",
        "training_seconds": f"{seconds:.1f}",
        "total_seconds": f"{time.perf_counter() - STARTED:.1f}",
        "peak_vram_mb": f"{peak_mb:.1f}",
        "total_tokens_M": f"{tokens / 1e6:.6f}",
        "num_steps": str(budget.steps),
        "num_params_M": f"{parameters / 1e6:.6f}",
        "depth": str(depth),
    }
    if peak is not None and seconds > 0:
        rows["mfu_percent"] = f"{100 * flops_per_token * tokens / seconds / peak:.2f}"
    print("---")
    for key, value in rows.items():
        print(f"{key + ':':<18}{value}")
