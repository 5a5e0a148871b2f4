"""What tests/unit/test_gpt_torch.py looks at, measured by the interpreter of the task.

Run by that test, in a folder of its own: prints one line of JSON.  Its arguments are the
configured source of ``train.py`` and a JSON file with edited sources to try.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import http.server
import importlib.util
import io
import json
import os
import re
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

HERE = Path.cwd()
torch.set_num_threads(1)


def digests(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def prepared() -> dict[str, Any]:
    """The offline corpus twice, in many threads and in one."""
    import corpus

    import prepare

    settings = prepare.Settings(corpus="embedded", vocab_size=1024)
    facts = prepare.prepare(settings, HERE / "data")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    prepare.prepare(settings, HERE / "again")
    texts = corpus.documents()
    held_back = {*texts["val"], *texts["audit"]}
    sizes = {name: sum(len(t.encode()) for t in texts[name]) for name in texts}
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(HERE / "data" / "tokenizer.json"))
    text = "def f(x):\n    return 'ä→🙂', 12345  # <|bos|>\r\n\x00"
    return {
        "same": digests(HERE / "data") == digests(HERE / "again"),
        "files": sorted(digests(HERE / "data")),
        "facts": facts,
        "sizes": sizes,
        "documents": {name: len(texts[name]) for name in texts},
        "shared": len({t for t in texts["train"] if len(t) > 1000} & held_back),
        "round_trip": tokenizer.decode(tokenizer.encode(text).ids) == text,
        "token_bytes": int(np.fromfile(HERE / "data" / "token_bytes.bin", "<u2").sum()),
    }


def from_web() -> dict[str, Any]:
    """Shards that are made here, served here, and prepared."""
    import shards

    import prepare

    site = HERE / "site"
    site.mkdir()
    texts = {n: [f"shard {n} tells story {i} " * 9 for i in range(60)] for n in (0, 1, 6541, 6542)}
    for number, some in texts.items():
        pq.write_table(pa.table({"text": [*some, None, ""]}), site / shards.name_of(number))
    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": print_nothing})
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(quiet, directory=str(site))
    )
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    settings = prepare.Settings(
        corpus="web",
        train_shards=2,
        vocab_size=300,
        cache=HERE / "cache",
        url=f"http://127.0.0.1:{server.server_address[1]}",
    )
    facts = prepare.prepare(settings, HERE / "web")
    server.shutdown()
    (HERE / "cache" / shards.name_of(0)).write_bytes(b"no parquet")
    manifest = HERE / "cache" / "manifest.json"
    known = json.loads(manifest.read_text())
    entry = shards.describe(HERE / "cache" / shards.name_of(0))
    known[f"{settings.url}/{shards.name_of(0)}"] = entry
    manifest.write_text(json.dumps(known))
    try:
        prepare.prepare(dataclasses.replace(settings, train_shards=1), HERE / "web2")
        refused = ""
    except prepare.PreparationError as error:
        refused = str(error)
    return {
        "facts": facts,
        "bytes": {name: sum(map(len, texts[name])) for name in texts},
        "refused": refused,
    }


def print_nothing(*_: Any) -> None:
    """Instead of the server's log."""


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def attention(train: ModuleType) -> dict[str, float]:
    """Largest difference from attention with a mask that is written down position by position."""
    found = {}
    for length, window in ((64, 16), (64, 64), (64, 100), (48, 48), (50, 16), (64, 1), (32, 32)):
        q, k, v = (torch.randn(2, 3, length, 8) for _ in range(3))
        mask = torch.tensor(
            [[0 <= i - j < window for j in range(length)] for i in range(length)], dtype=torch.bool
        )
        scores = (q @ k.mT / 8**0.5).masked_fill(~mask, float("-inf"))
        expected = scores.softmax(-1) @ v
        change = (train.attend(q, k, v, window) - expected).abs().max()
        found[f"{length} {window}"] = float(change)
    return found


def causality(train: ModuleType) -> dict[str, float]:
    """How much logits change at and before a place where later tokens change, and after it."""
    torch.manual_seed(1)
    model = train.Gpt().eval()
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.2)
    tokens = torch.randint(train.VOCAB_SIZE, (2, train.SEQ_LEN))
    places = torch.arange(train.SEQ_LEN).expand(2, -1)
    other = tokens.clone()
    other[:, 40:] = torch.randint(train.VOCAB_SIZE, other[:, 40:].shape)
    with torch.no_grad():
        change = (model.predict(tokens, places) - model.predict(other, places)).abs()
        few = model.predict(tokens, places[:, 5:9])
        same = (few - model.predict(tokens, places)[:, 5:9]).abs().max()
    return {
        "before": float(change[:, :40].max()),
        "after": float(change[:, 40:].amax((0, 2)).min()),
        "positions": float(same),
    }


def muon(train: ModuleType) -> dict[str, Any]:
    """Singular values of Muon's directions, by shape."""
    found = {}
    for rows, columns in ((64, 64), (256, 64), (64, 256)):
        grads = torch.randn(3, rows, columns)
        momentum = torch.zeros_like(grads)
        update = train.orthogonal(momentum, grads)
        values = torch.linalg.svdvals(update) / max(1.0, rows / columns) ** 0.5
        found[f"{rows} {columns}"] = [float(values.min()), float(values.max())]
        agreement = (update * grads).sum() / update.norm() / grads.norm()
        found[f"agreement {rows} {columns}"] = float(agreement)
        found[f"momentum {rows} {columns}"] = float((momentum - 0.05 * grads).abs().max())
    return found


def warm(train: ModuleType) -> dict[str, Any]:
    """Whether the steps before the clock leave anything behind."""
    torch.manual_seed(train.SEED)
    model = train.Gpt()
    before = [p.clone() for p in model.parameters()]
    optimizer = train.Optimizer(model)
    memory = train.Memory(model, train.device)
    train.warm_up(model, optimizer, memory)
    after = list(model.parameters())
    matrices = [p for p in model.blocks.parameters() if p.ndim == 2]
    return {
        "unchanged": all(torch.equal(a, b) for a, b in zip(before, after, strict=True)),
        "momentum": float(max(m.abs().max() for m in optimizer.muon.momenta)),
        "state": len(optimizer.adam.state),
        "moved_by_muon": sum(len(group) for group in optimizer.muon.groups),
        "matrices": len(matrices),
        "moved_by_adam": sum(len(g["params"]) for g in optimizer.adam.param_groups),
        "parameters": len(after),
        "memory_mb": memory.peak_mb(optimizer.state()),
        "weights_mb": sum(p.nbytes for p in after) / 2**20,
        "flops": train.flops_per_token(model),
    }


def run(source: str, steps: int, seed: int = 1) -> dict[str, float]:
    """The summary of a whole run, evaluated by hand."""
    os.environ["RATCHET_BUDGET_STEPS"] = str(steps)
    import runtime

    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        runtime.SEED = seed
        exec(compile(source, "train.py", "exec"), {"__name__": "__main__"})
    rows = re.findall(r"^(\w+): +(\S+)$", said.getvalue().partition("---")[2], re.M)
    return {key: float(value) for key, value in rows}


def main() -> None:
    source, edits = Path(sys.argv[1]).read_text(), json.loads(Path(sys.argv[2]).read_text())
    found: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        found["prepared"] = prepared()
        found["web"] = from_web()
        os.environ["RATCHET_DATA"] = str(HERE / "data")
        train = load(Path(sys.argv[1]))
        import runtime

        found["peak_flops"] = {name: runtime.named_flops(name) for name in DEVICES}
        found["attention"] = attention(train)
        found["causality"] = causality(train)
        found["muon"] = muon(train)
        found["warm"] = warm(train)
        found["runs"] = [run(source, 4, seed) for seed in (1, 1, 2)]
        found["longer"] = run(source, 120)
        found["edits"] = {}
        for name, text in edits.items():
            try:
                found["edits"][name] = run(text, 2)["val_bpb"]
            except Exception as error:
                found["edits"][name] = repr(error)
    print(json.dumps(found))


DEVICES = [
    "NVIDIA H200",
    "NVIDIA H100 80GB HBM3",
    "NVIDIA H100 PCIe",
    "NVIDIA A100-SXM4-40GB",
    "NVIDIA A10",
    "NVIDIA L4",
    "NVIDIA L40",
    "NVIDIA L40S",
    "NVIDIA GeForce RTX 4090",
    "NVIDIA GeForce RTX 4090 Laptop GPU",
    "NVIDIA GeForce RTX 3060",
]


if __name__ == "__main__":
    main()
