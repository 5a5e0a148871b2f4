"""What honest PyTorch programs ask of the kernel: run in a sandbox, with PyTorch on a CPU or a GPU.

Prints a line for each part: its name, and ``works`` or the class of its error.
"""

import contextlib
import os
import sys
import time
from collections.abc import Callable

import torch
import torch.multiprocessing as mp
from torch.utils.data import DataLoader, TensorDataset


def double(tensor: torch.Tensor) -> None:
    tensor *= 2


def share(strategy: str) -> None:
    """A tensor in shared memory, changed by another process."""
    mp.set_sharing_strategy(strategy)
    tensor = torch.ones(1000).share_memory_()
    process = mp.get_context("fork").Process(target=double, args=(tensor,))
    process.start()
    process.join()
    if float(tensor.sum()) != 2000.0:
        raise RuntimeError("the other process changed nothing")


def fill(queue: mp.Queue, over: mp.Event) -> None:
    queue.put(torch.full((1000,), 3.0))
    over.wait()


def queue(strategy: str, start: str) -> None:
    """A tensor made by another process, handed over in a queue."""
    mp.set_sharing_strategy(strategy)
    context = mp.get_context(start)
    between, over = context.Queue(), context.Event()
    process = context.Process(target=fill, args=(between, over))
    process.start()
    try:
        if float(between.get(timeout=100).sum()) != 3000.0:
            raise RuntimeError("the tensor is another one")
    finally:
        over.set()
        process.join()


def load(**options: object) -> None:
    """Batches made by workers, in shared memory."""
    loader = DataLoader(
        TensorDataset(torch.arange(64.0)), batch_size=8, num_workers=2, timeout=100, **options
    )
    if sum(float(batch.sum()) for (batch,) in loader) != 2016.0:
        raise RuntimeError("the batches are others")


def compile_step() -> None:
    """A compiled training step."""
    model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.GELU(), torch.nn.Linear(8, 1))
    step = torch.compile(lambda x: model(x).square().mean())
    step(torch.ones(4, 8)).backward()


def threads() -> None:
    """Matrices and a pool of threads."""
    torch.set_num_threads(2)
    (torch.ones(500, 500) @ torch.ones(500, 500)).sum().item()


def pin() -> None:
    """Pinned memory, and a loader that pins its batches in a thread."""
    if not torch.ones(8).pin_memory().to("cuda", non_blocking=True).is_cuda:
        raise RuntimeError("nothing was copied")
    load(pin_memory=True)


def train_on_gpu() -> None:
    """A compiled step on a GPU, and a tensor of it that another process changes."""
    model = torch.nn.Linear(64, 64).cuda()
    step = torch.compile(lambda x: model(x).square().mean())
    step(torch.ones(4, 64, device="cuda")).backward()
    torch.cuda.synchronize()


PARTS: dict[str, Callable[[], None]] = {
    "threads": threads,
    "shared tensors": lambda: share("file_descriptor"),
    "shared tensors by name": lambda: share("file_system"),
    "queue, forked": lambda: queue("file_descriptor", "fork"),
    "queue, spawned": lambda: queue("file_descriptor", "spawn"),
    "queue by name": lambda: queue("file_system", "fork"),
    "loader": load,
    "loader, spawned": lambda: load(multiprocessing_context="spawn", persistent_workers=True),
    "compile": compile_step,
    "pinned memory": pin,
    "gpu": train_on_gpu,
}


def main() -> None:
    mp.set_sharing_strategy("file_descriptor")
    for name in os.environ["PARTS"].split(";"):
        began = time.monotonic()
        try:
            PARTS[name]()
            said = "works"
        except Exception as error:
            with contextlib.suppress(Exception):
                print(error, file=sys.stderr)
            said = type(error).__name__
        mp.set_sharing_strategy("file_descriptor")
        print(f"{name}: {said} ({time.monotonic() - began:.1f} s)", flush=True)
    print("val: 1")


if __name__ == "__main__":
    main()
