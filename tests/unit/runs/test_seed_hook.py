"""The start-up hook for seeds that a candidate writes down itself."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ratchet.runs.run import HOOKS

DRAWS = {
    "random.seed": "import random; random.seed(42); print(random.random())",
    "random.seed of a text": "import random; random.seed('a'); print(random.random())",
    "random.seed by name": "import random; random.seed(a=7); print(random.random())",
    "random.Random": "from random import Random; print(Random(42).random())",
    "numpy.random.seed": "import numpy as np; np.random.seed(42); print(np.random.rand())",
    "imported by name": "from numpy.random import seed, rand; seed(42); print(rand())",
    "default_rng": "import numpy as np; print(np.random.default_rng(42).random())",
    "default_rng by name": "import numpy as np; print(np.random.default_rng(seed=42).random())",
    "of a list": "import numpy as np; print(np.random.default_rng([4, 2]).random())",
    "of an array": "import numpy as np; print(np.random.default_rng(np.array([4, 2])).random())",
    "RandomState": "import numpy as np; print(np.random.RandomState(42).rand())",
    "RandomState.seed": (
        "import numpy as np; r = np.random.RandomState(1); r.seed(42); print(r.rand())"
    ),
}
TORCH = {
    "torch": "import torch; torch.manual_seed(42); print(torch.rand(1).item())",
    "torch.random": "import torch; torch.random.manual_seed(42); print(torch.rand(1).item())",
}


def draw(source: str, seed: int | None) -> str:
    variables = {**os.environ, "PYTHONPATH": str(HOOKS), "RATCHET_SEED": str(seed)}
    if seed is None:
        del variables["PYTHONPATH"]
    done = subprocess.run(
        [sys.executable, "-c", source], env=variables, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", DRAWS)
def test_a_written_seed_follows_the_harness(name: str) -> None:
    bare, first, again, other = (draw(DRAWS[name], seed) for seed in (None, 1, 1, 2))
    assert first == again
    assert len({bare, first, other}) == 3
    assert draw(DRAWS[name], 0) == bare


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="no torch here")
@pytest.mark.parametrize("name", TORCH)
def test_a_written_seed_of_torch_follows_the_harness(name: str) -> None:
    bare, first, again, other = (draw(TORCH[name], seed) for seed in (None, 1, 1, 2))
    assert first == again
    assert len({bare, first, other}) == 3


FAKE_TORCH = {
    "__init__.py": (
        "from torch import cuda, random\nfrom torch.random import manual_seed\n"
        "from torch.cuda import seen\n"
    ),
    "random.py": (
        "def manual_seed(seed):\n    import torch\n"
        "    torch.seen.append(('all', seed))\n    torch.cuda.manual_seed_all(seed)\n"
    ),
    "cuda.py": (
        "seen = []\ndef manual_seed(seed): seen.append(('one', seed))\n"
        "def manual_seed_all(seed): seen.append(('gpus', seed))\n"
    ),
}


def test_torch_is_moved_once_on_every_device(tmp_path: Path) -> None:
    for name, content in FAKE_TORCH.items():
        path = tmp_path / "torch" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    source = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import torch\ntorch.manual_seed(10)\ntorch.cuda.manual_seed(20)\n"
        "torch.cuda.manual_seed_all(30)\nprint(torch.seen)"
    )
    assert draw(source, 5) == "[('all', 15), ('gpus', 15), ('one', 25), ('gpus', 35)]\n"


def test_nothing_is_imported_that_the_candidate_does_not_import() -> None:
    source = "import sys; print(sorted({'numpy', 'torch', 'random'} & set(sys.modules)))"
    assert draw(source, 3) == draw(source, None)


def test_old_generators_are_still_of_their_class() -> None:
    source = (
        "import numpy as np, pickle\n"
        "print(isinstance(np.random.mtrand._rand, np.random.RandomState),"
        " isinstance(np.random.RandomState(1), np.random.RandomState),"
        " isinstance(3, np.random.RandomState))\n"
        "r = np.random.RandomState(1)\nprint(pickle.loads(pickle.dumps(r)).rand() == r.rand())"
    )
    assert draw(source, 3) == "True True False\nTrue\n"


def test_large_seeds_stay_in_range() -> None:
    source = "import numpy as np; np.random.seed(2**32 - 1); print('fine')"
    assert draw(source, 99) == "fine\n"


def test_a_seed_of_none_stays_random() -> None:
    source = "import random; random.seed(None); print(random.random())"
    assert draw(source, 1) != draw(source, 1)


STUB = """
import types
seen = []
{body}
"""
STUBS = {
    "torch": (
        "def manual_seed(seed):\n    seen.append(seed)\n    cuda.manual_seed_all(seed)\n"
        "cuda = types.SimpleNamespace(manual_seed=seen.append, manual_seed_all=seen.append)\n"
        "random = types.SimpleNamespace(manual_seed=manual_seed)\n",
        "import torch; torch.manual_seed(42); torch.cuda.manual_seed(42); print(torch.seen)",
        "[49, 49, 49]",
    ),
    "mlx/core": (
        "random = types.SimpleNamespace(seed=seen.append)\n",
        "import mlx.core as mx; mx.random.seed(42); mx.random.seed(None); print(mx.seen)",
        "[49, None]",
    ),
}


@pytest.mark.parametrize("name", STUBS)
def test_libraries_that_are_not_here_are_moved_once(name: str, tmp_path: Path) -> None:
    body, source, shown = STUBS[name]
    place = tmp_path / f"{name}.py"
    place.parent.mkdir(exist_ok=True)
    place.write_text(STUB.format(body=body))
    path = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); "
    assert draw(path + source, 7).strip() == shown
