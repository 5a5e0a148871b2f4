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
    if "torch" in name and importlib.util.find_spec("torch") is None:
        pytest.skip("no torch here")
    bare, none, first, again, other = (draw(DRAWS[name], seed) for seed in (None, 0, 1, 1, 2))
    assert (none, again) == (bare, first)
    assert len({bare, first, other}) == 3


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


def test_seeds_that_are_large_or_none() -> None:
    assert draw("import numpy as np; np.random.seed(2**32 - 1); print('fine')", 99) == "fine\n"
    source = "import random; random.seed(None); print(random.random())"
    assert draw(source, 1) != draw(source, 1)


# Libraries that may not be here: what their functions are given is shown.
FAKES = {
    "torch/__init__.py": (
        "from torch import cuda, random\nfrom torch.random import manual_seed\n"
        "from torch.cuda import seen\n"
    ),
    "torch/random.py": (
        "def manual_seed(seed):\n    import torch\n"
        "    torch.seen.append(('all', seed))\n    torch.cuda.manual_seed_all(seed)\n"
    ),
    "torch/cuda.py": (
        "seen = []\ndef manual_seed(seed): seen.append(('one', seed))\n"
        "def manual_seed_all(seed): seen.append(('gpus', seed))\n"
    ),
    "mlx/core.py": ("import types\nseen = []\nrandom = types.SimpleNamespace(seed=seen.append)\n"),
}


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        (
            "import torch; torch.manual_seed(10); torch.cuda.manual_seed(20); "
            "torch.random.manual_seed(30); torch.cuda.manual_seed_all(40); print(torch.seen)",
            [("all", 15), ("gpus", 15), ("one", 25), ("all", 35), ("gpus", 35), ("gpus", 45)],
        ),
        (
            "import mlx.core as mx; mx.random.seed(42); mx.random.seed(None); print(mx.seen)",
            [47, None],
        ),
    ],
    ids=["torch", "mlx"],
)
def test_other_libraries_are_moved_once_on_every_device(
    tmp_path: Path, source: str, shown: object
) -> None:
    for name, content in FAKES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    path = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); "
    assert draw(path + source, 5) == f"{shown}\n"
