"""The start-up hook for seeds that a candidate writes down itself."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from ratchet.runs.run import HOOKS

# Ways to write a seed down, each with what is drawn after it.
DRAWS = [
    "import random; random.seed(42); print(random.random())",
    "random.seed('a'); print(random.random())",
    "random.seed(a=7); print(random.random())",
    "from random import Random; print(Random(42).random())",
    "from numpy.random import seed, rand; seed(42); print(rand())",
    "import numpy as np; np.random.seed(42); print(np.random.rand())",
    "print(np.random.default_rng(42).random())",
    "print(np.random.default_rng(seed=42).random())",
    "print(np.random.default_rng([4, 2]).random())",
    "print(np.random.default_rng(np.array([4, 2])).random())",
    "print(np.random.RandomState(42).rand())",
    "r = np.random.RandomState(1); r.seed(42); print(r.rand())",
]
if importlib.util.find_spec("torch") is not None:
    DRAWS += [
        "import torch; torch.manual_seed(42); print(torch.rand(1).item())",
        "torch.random.manual_seed(42); print(torch.rand(1).item())",
    ]


def draw(source: str, seed: int | None) -> str:
    variables = {**os.environ, "PYTHONPATH": str(HOOKS), "RATCHET_SEED": str(seed)}
    if seed is None:
        del variables["PYTHONPATH"]
    done = subprocess.run(
        [sys.executable, "-c", source], env=variables, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_written_seeds_follow_the_harness() -> None:
    source = "\n".join(DRAWS)
    bare, none, first, again, other = (draw(source, n).splitlines() for n in (None, 0, 1, 1, 2))
    assert (none, again) == (bare, first)
    for line, *drawn in zip(DRAWS, bare, first, other, strict=True):
        assert len(set(drawn)) == 3, line


def test_old_generators_are_still_of_their_class() -> None:
    source = (
        "import numpy as np, pickle\n"
        "print(isinstance(np.random.mtrand._rand, np.random.RandomState),"
        " isinstance(np.random.RandomState(1), np.random.RandomState),"
        " isinstance(3, np.random.RandomState))\n"
        "r = np.random.RandomState(1)\nprint(pickle.loads(pickle.dumps(r)).rand() == r.rand())"
    )
    assert draw(source, 3) == "True True False\nTrue\n"


def test_seeds_may_be_large_or_none_and_nothing_is_imported_beforehand() -> None:
    source = (
        "import sys; print(sorted({'numpy', 'torch', 'random'} & set(sys.modules)))\n"
        "import numpy as np; np.random.seed(2**32 - 1)\n"
        "import random; random.seed(None); print(random.random())"
    )
    hooked, again, bare = (draw(source, seed).splitlines() for seed in (99, 99, None))
    assert hooked[0] == again[0] == bare[0]
    assert hooked[1] != again[1]


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


TORCH = (
    "import torch; torch.manual_seed(10); torch.cuda.manual_seed(20); "
    "torch.random.manual_seed(30); torch.cuda.manual_seed_all(40); print(torch.seen)"
)
MLX = "import mlx.core as mx; mx.random.seed(42); mx.random.seed(None); print(mx.seen)"


def test_other_libraries_are_moved_once_on_every_device(tmp_path: Path) -> None:
    for name, content in FAKES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    path = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); "
    seen = [("all", 15), ("gpus", 15), ("one", 25), ("all", 35), ("gpus", 35), ("gpus", 45)]
    assert draw(path + TORCH, 5) == f"{seen}\n"
    assert draw(path + MLX, 5) == "[47, None]\n"
