"""Start-up hook of runs whose task says ``seed: hook``: seeds move by RATCHET_SEED.

Python imports it by itself when this folder is on PYTHONPATH.  A candidate that
writes its seed down (``torch.manual_seed(42)``) then still differs from run to
run as the harness wants, without an edit.  Nothing is imported that the
candidate does not import: the functions are replaced once their module is there.

Covered: ``random.seed`` and ``random.Random``, ``numpy.random.seed``,
``default_rng`` and ``RandomState``, ``torch.manual_seed``,
``torch.cuda.manual_seed`` and ``manual_seed_all``, ``mlx.core.random.seed``.  A seed of
``None`` stays what it is.  Not covered: the method ``manual_seed`` of a ``torch.Generator``,
generators of other libraries, Python started with ``-S``, ``-E`` or ``-I``.
"""

import functools
import importlib.machinery
import os
import sys
import threading
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

OFFSET = int(os.environ.get("RATCHET_SEED", "0"))
# torch.manual_seed calls torch.cuda.manual_seed_all, with the moved seed.
_INSIDE = threading.local()


def moved(seed: Any, bits: int | None = None) -> Any:
    """A seed moved by the offset; what is neither number nor text stays."""
    if isinstance(seed, bool) or seed is None:
        return seed
    if isinstance(seed, str):
        return f"{seed}+{OFFSET}"
    if isinstance(seed, bytes | bytearray):
        return bytes(seed) + f"+{OFFSET}".encode()
    if isinstance(seed, list | tuple):
        return [*(moved(seed[0], bits), *seed[1:])] if seed else seed
    if hasattr(seed, "__index__"):
        try:
            number = seed.__index__() + OFFSET
        except TypeError:  # An array has the method, and no index.
            return moved(seed.tolist(), bits)
        return number if bits is None else number % (1 << bits)
    if isinstance(seed, float):
        return seed + OFFSET
    return seed


def moving(function: Callable[..., Any], bits: int | None = None, name: str = "seed") -> Any:
    """The function with its first argument moved; calls that it makes move nothing."""

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        if getattr(_INSIDE, "active", False):
            return function(*arguments, **named)
        if arguments:
            arguments = (moved(arguments[0], bits), *arguments[1:])
        elif name in named:
            named[name] = moved(named[name], bits)
        _INSIDE.active = True
        try:
            return function(*arguments, **named)
        finally:
            _INSIDE.active = False

    return call


def change_random(module: ModuleType) -> None:
    """Python's own generator: the class, then the function of the shared one."""
    changed: Any = module
    original = changed.Random.seed
    shared = changed.seed.__self__

    @functools.wraps(original)
    def seed(self: Any, a: Any = None, version: int = 2) -> None:
        original(self, moved(a), version)

    changed.Random.seed = seed
    changed.seed = shared.seed


def change_numpy(module: ModuleType) -> None:
    """The old interface and the new one of ``numpy.random``."""
    original: type = module.RandomState

    class Kind(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, original)

    class RandomState(original, metaclass=Kind):  # type: ignore[misc]
        __doc__ = original.__doc__

        def __init__(self, seed: Any = None) -> None:
            super().__init__(moved(seed, 32))

        def seed(self, seed: Any = None) -> None:
            super().seed(moved(seed, 32))

    changed: Any = module
    changed.RandomState = RandomState
    changed.seed = moving(module.seed, 32)
    changed.default_rng = moving(module.default_rng)


def change_torch(module: ModuleType) -> None:
    """The generator of the processor and those of the GPUs."""
    found: Any = module
    seeding = moving(found.manual_seed, 63)
    found.manual_seed = found.random.manual_seed = seeding
    cuda = getattr(found, "cuda", None)
    for name in ("manual_seed", "manual_seed_all"):
        if hasattr(cuda, name):
            setattr(cuda, name, moving(getattr(cuda, name), 63))


def change_mlx(module: ModuleType) -> None:
    """The shared generator of MLX."""
    found: Any = module
    found.random.seed = moving(found.random.seed, 63)


CHANGES: dict[str, Callable[[ModuleType], None]] = {
    "random": change_random,
    "numpy.random": change_numpy,
    "torch": change_torch,
    "mlx.core": change_mlx,
}


class Finder:
    """Finds the modules to change as everybody does, and changes them once they have run."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Spec from the other finders, with a loader that changes the module."""
        if name not in CHANGES:
            return None
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            spec: importlib.machinery.ModuleSpec | None = None
            if finder is not Finder and find is not None:
                spec = find(name, path, target)
            if spec is not None and spec.loader is not None:
                change_after(spec.loader, CHANGES[name])
                return spec
        return None


def change_after(loader: Any, change: Callable[[ModuleType], None]) -> None:
    """Have a loader change the module that it has run."""
    run = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        run(module)
        change(module)

    loader.exec_module = exec_module


def install() -> None:
    """Change what is imported already, and watch for the rest."""
    for name, change in CHANGES.items():
        if name in sys.modules:
            change(sys.modules[name])
    sys.meta_path.insert(0, Finder)


if OFFSET:
    install()
