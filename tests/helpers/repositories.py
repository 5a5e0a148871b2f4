"""A stand-in for somebody's clone of an autoresearch repository, with a trainer that is quick.

Names, log format, untracked files and cache are upstream's; the code is ours.
"""

import venv
from pathlib import Path

from helpers.boxes import git as git
from helpers.clones import Clone

PREPARE = '''"""One-time preparation: data and tokenizer go to ~/.cache/autoresearch."""

import os

TIME_BUDGET = 300
CACHE_DIR = os.path.join(os.path.expanduser("~"), ".cache", "autoresearch")


def load(name):
    with open(os.path.join(CACHE_DIR, name)) as stream:
        return float(stream.read())


def evaluate_bpb(model):
    return model + load("data/shard_00000.txt") - load("tokenizer/tokenizer.txt")

'''
TRAIN = '''"""Autoresearch pretraining script. Usage: uv run train.py"""

import random
import sys

import made_up

from prepare import TIME_BUDGET, evaluate_bpb

ASPECT_RATIO = 64       # model_dim = depth * ASPECT_RATIO
MATRIX_LR = 0.04        # learning rate for matrix parameters
WEIGHT_DECAY = 0.2
DEPTH = 8               # number of layers

random.seed(42)
for step in range(3):
    sys.stdout.write(f"\\rstep {step:05d} ({33 * step:.1f}%) | loss: 3.1{step} | val_bpb: 9.9")
    sys.stdout.flush()
print()
noise = random.gauss(0, 0.0005)
model = 0.7 + (DEPTH - 10) ** 2 / 50 + abs(MATRIX_LR - 0.05) + noise * made_up.VALUE
try:
    open(__import__("os").path.expanduser("~/.cache/autoresearch/mine"), "w").write("mine")
except OSError:
    pass
print("---")
print(f"val_bpb:          {evaluate_bpb(model):.6f}")
print(f"training_seconds: {TIME_BUDGET + 0.1:.1f}")
print("total_seconds:    325.9")
print(f"peak_vram_mb:     {45060.2 + 100 * DEPTH:.1f}")
print("mfu_percent:      39.80")
print("total_tokens_M:   499.6")
print("num_steps:        953")
print(f"num_params_M:     {6.3 * DEPTH:.1f}")
print(f"depth:            {DEPTH}")
'''
LOCK = """version = 1
requires-python = ">=3.10"

[[package]]
name = "autoresearch"
version = "0.1.0"
source = { virtual = "." }
dependencies = [
    { name = "made-up" },
    { name = "elsewhere", marker = "sys_platform == 'win32'" },
]

[[package]]
name = "elsewhere"
version = "3.0"
source = { registry = "an index" }

[[package]]
name = "made-up"
version = "1.5"
source = { registry = "an index" }
"""
TRACKED = {
    "train.py": TRAIN,
    "prepare.py": PREPARE,
    "program.md": "# autoresearch\n\nLower val_bpb. You may edit train.py alone.\n",
    "pyproject.toml": '[project]\nname = "autoresearch"\nversion = "0.1.0"\n',
    "uv.lock": LOCK,
    ".gitignore": ".venv/\nresults.tsv\nrun.log\n",
    ".python-version": "3.10\n",
}
UNTRACKED = {
    "results.tsv": "commit\tval_bpb\tmemory_gb\tstatus\tdescription\n"
    "a1b2c3d\t0.997900\t44.0\tkeep\tbaseline\n",
    "run.log": "an old log\nval_bpb: 0.1\n",
    "notes.txt": "mine\n",
}


def make_clone(folder: Path) -> Path:
    """A clone with a commit, files of its user and an environment of its own."""
    Clone(folder).commit(TRACKED)
    for name, text in UNTRACKED.items():
        (folder / name).write_text(text)
    make_environment(folder / ".venv")
    return folder


def make_environment(folder: Path) -> Path:
    """An environment with one made-up package in it, outside of all others."""
    venv.create(folder, with_pip=False)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "made_up.py").write_text("VALUE = 1.0\n")
    told = packages / "Made_Up-1.5.dist-info"
    told.mkdir()
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: Made_Up\nVersion: 1.5\n")
    return folder


def make_cache(home: Path) -> Path:
    """What the preparation leaves in a home."""
    cache = home / ".cache" / "autoresearch"
    for name, text in {"data/shard_00000.txt": "0.5", "tokenizer/tokenizer.txt": "0.25"}.items():
        (cache / name).parent.mkdir(parents=True)
        (cache / name).write_text(text)
    return cache


def state(folder: Path) -> dict[str, object]:
    """All of a clone that a program could change: bytes, times, and what git says of it."""
    found: dict[str, object] = {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }
    return {**found, "status": git(folder, "status", "--porcelain", "--ignored")}
