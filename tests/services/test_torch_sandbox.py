"""Honest PyTorch programs go on working in every sandbox, with its filter of system calls.

``RATCHET_GPT_PYTHON`` names an interpreter that has PyTorch, as for tasks/gpt.
"""

import functools
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from helpers import HELPERS
from helpers.candidates import STRONGEST, needs
from helpers.commands import Patch
from helpers.run_plans import launch, plan, store
from ratchet.records.records import Outcome
from ratchet.runs.compile_cache import CompileCaches
from ratchet.runs.run import compiled_cache
from ratchet.runs.sandbox import sandbox
from ratchet.runs.sandbox.sandbox import SandboxKind
from ratchet.task.environment import ask_interpreter

PYTHON = os.environ.get("RATCHET_GPT_PYTHON")
PROGRAM = (HELPERS / "torch_programs.py").read_text(encoding="utf-8")
SHARING = (
    *("shared tensors", "shared tensors by name", "queue, forked", "queue, spawned"),
    *("queue by name", "loader", "loader, spawned"),
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not PYTHON, reason="RATCHET_GPT_PYTHON names no interpreter"),
]
KINDS = [
    pytest.param(kind, marks=needs(kind))
    for kind in (SandboxKind.NONE, SandboxKind.LANDLOCK, SandboxKind.BUBBLEWRAP)
]
every_kind = pytest.mark.parametrize("kind", KINDS)


@functools.cache
def torch_says(expression: str) -> bool:
    """What an expression gives in the interpreter that has PyTorch."""
    assert PYTHON is not None
    code = f"import sys, torch; sys.exit(not ({expression}))"
    return subprocess.run([PYTHON, "-c", code], capture_output=True, check=False).returncode == 0


def results(root: Path, kind: SandboxKind, *parts: str, **changes: object) -> dict[str, str]:
    """What became of each part of the program."""
    if not torch_says("True"):
        pytest.skip(f"{PYTHON} has no PyTorch")
    (root / "store").mkdir()
    record, log = launch(
        root,
        PROGRAM,
        "store/run",
        isolation=kind.value,
        python=ask_interpreter(str(PYTHON)),
        variables={"PARTS": ";".join(parts)},
        timeout_seconds=800.0,
        threads=2,
        **changes,
    )
    assert record.outcome is Outcome.OK, (record, log)
    found = dict(line.split(": ", 1) for line in log.splitlines() if line.startswith(parts))
    assert set(found) == set(parts), log
    return {name: said.split(" (")[0] for name, said in found.items()}


@every_kind
def test_tensors_are_shared_between_processes(tmp_path: Path, kind: SandboxKind) -> None:
    if kind is SandboxKind.LANDLOCK and sandbox.namespaces_fault() is not None:
        pytest.skip("no namespaces can be made")
    parts = ("threads", *SHARING)
    assert results(tmp_path, kind, *parts) == dict.fromkeys(parts, "works")


@needs(SandboxKind.LANDLOCK)
def test_landlock_alone_has_threads_and_no_shared_memory(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    """What SECURITY.md says that it costs."""
    monkeypatch.setattr(sandbox, "namespaces_fault", lambda: "switched off")
    said = results(tmp_path, SandboxKind.LANDLOCK, "threads", *SHARING)
    refused = {name for name, word in said.items() if word in ("PermissionError", "RuntimeError")}
    assert (said["threads"], refused) == ("works", set(SHARING))


@needs(SandboxKind.LANDLOCK)
@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++")
def test_landlock_alone_compiles(tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr(sandbox, "namespaces_fault", lambda: "switched off")
    assert results(tmp_path, SandboxKind.LANDLOCK, "compile") == {"compile": "works"}


@every_kind
def test_a_gpu_is_there_with_pinned_memory(tmp_path: Path, kind: SandboxKind) -> None:
    if not torch_says("torch.cuda.is_available()"):
        pytest.skip("PyTorch sees no GPU")
    parts = ("pinned memory", "gpu")
    assert results(tmp_path, kind, *parts, device="gpu") == dict.fromkeys(parts, "works")


# Prints the sum that a compiled step gives, and whether it had to be compiled.
STEP = """
import os, pathlib, torch
from torch._dynamo.utils import counters
torch.manual_seed(0)
weight = torch.randn(8, 8, requires_grad=True)
compiled = torch.compile(lambda x: (x @ weight).relu().square().mean(), dynamic=False)
loss = compiled(torch.randn(4, 8))
loss.backward()
said = f"{loss.item():.17g} {weight.grad.sum().item():.17g}"
first = pathlib.Path(os.environ["TORCHINDUCTOR_CACHE_DIR"]) / "first"
hits, misses = (counters["inductor"][f"fxgraph_cache_{word}"] for word in ("hit", "miss"))
print("hits", hits, "misses", misses, "equal", first.exists() and first.read_text() == said)
first.write_text(said)
print("---")
print("val: 1")
"""


@pytest.mark.skipif(STRONGEST is SandboxKind.NONE, reason="no sandbox works")
@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++")
def test_a_step_is_compiled_once_and_gives_the_same_again(tmp_path: Path) -> None:
    """Bubblewrap and namespaces show a run the same files, and have the same filter."""
    if not torch_says("True"):
        pytest.skip(f"{PYTHON} has no PyTorch")
    (tmp_path / "store").mkdir()
    changes = {"isolation": STRONGEST.value, "python": ask_interpreter(Path(str(PYTHON)))}
    wanted = plan(tmp_path, STEP, timeout_seconds=800.0, **changes)
    caches, place = CompileCaches(store(tmp_path), 1e9), tmp_path / "store" / "warm-up"
    compiled, _ = compiled_cache(wanted, caches, ["train.bin"], place)
    assert any("fxgraph" in name for name in compiled.files)
    changes |= {"timeout_seconds": 800.0, "compiled": compiled}
    record, log = launch(tmp_path, STEP, "store/run", **changes)
    assert record.outcome is Outcome.OK, log
    hits, misses, equal = log.split()[1:6:2]
    assert int(hits) > 0 and (misses, equal) == ("0", "True"), log
