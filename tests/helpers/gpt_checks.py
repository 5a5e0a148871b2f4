"""Checks of tasks/gpt with PyTorch, which tests/unit/tasks/test_gpt_torch.py has run.

The interpreter of the task runs them, in a folder with the configured ``train.py``; a later
one needs the data of the first.  Prints one line of JSON: for each check what was wrong, or
an empty text.  Its argument is a JSON file: the names of the task's data, and edited sources.
"""

import contextlib
import dataclasses
import functools
import hashlib
import http.server
import io
import json
import os
import re
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tokenizers import Tokenizer

HERE = Path.cwd()
GIVEN = json.loads(Path(sys.argv[1]).read_text())
WIDTH, DEPTH, HEADS, LENGTH, VOCAB = 64, 2, 2, 64, 1024


def digests(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def check_the_preparation_is_deterministic_and_complete() -> None:
    """In many threads and in one."""
    import corpus

    import prepare

    settings = prepare.Settings(corpus="embedded", vocab_size=VOCAB)
    facts = prepare.prepare(settings, HERE / "data")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    prepare.prepare(settings, HERE / "again")
    assert digests(HERE / "data") == digests(HERE / "again")
    assert set(digests(HERE / "data")) == set(GIVEN["data"])
    texts = corpus.documents()
    assert not {t for t in texts["train"] if len(t) > 1000} & {*texts["val"], *texts["audit"]}
    tokenizer = Tokenizer.from_file(str(HERE / "data" / "tokenizer.json"))
    text = "def f(x):\n    return 'ä→🙂', 12345  # <|bos|>\r\n\x00"
    assert tokenizer.decode(tokenizer.encode(text).ids) == text
    assert (facts["vocab_size"], facts["bos"]) == (VOCAB, VOCAB - 1)
    assert int(np.fromfile(HERE / "data" / "token_bytes.bin", "<u2").sum()) >= VOCAB
    for name, split in facts["splits"].items():
        # The evaluator's table of bytes adds up to the very text.
        assert split["bytes"] == sum(len(t.encode()) for t in texts[name])
        assert split["documents"] == len(texts[name])


def check_shards_become_splits_and_broken_ones_are_refused() -> None:
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
    size = {number: sum(map(len, some)) for number, some in texts.items()}
    found = {name: (s["documents"], s["bytes"]) for name, s in facts["splits"].items()}
    assert found == {
        "train": (120, size[0] + size[1]),
        "val": (60, size[6542]),
        "audit": (60, size[6541]),
    }
    assert facts["corpus"] == "web"
    assert set(facts["sources"]) == {shards.name_of(number) for number in texts}
    broken, manifest = HERE / "cache" / shards.name_of(0), HERE / "cache" / "manifest.json"
    broken.write_bytes(b"no parquet")
    entry = {f"{settings.url}/{broken.name}": shards.describe(broken)}
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | entry))
    try:
        prepare.prepare(dataclasses.replace(settings, train_shards=1), HERE / "web2")
        said = ""
    except prepare.PreparationError as error:
        said = str(error)
    assert "expected a parquet file with a column `text`" in said


def print_nothing(*_: Any) -> None:
    """Instead of the server's log."""


def setup() -> dict[str, Any]:
    """The names of train.py before its training loop: a model that has not learnt anything."""
    source = Path("train.py").read_text().partition("# Training loop")[0]
    names: dict[str, Any] = {"__name__": "train"}
    os.environ["RATCHET_BUDGET_STEPS"] = "1"
    exec(compile(source, "train.py", "exec"), names)
    return names


def shaken() -> Any:
    """A model whose weights are all drawn, those that start as zeros too."""
    torch.manual_seed(1)
    model = setup()["model"].eval()
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.2)
    return model


def check_sliding_windows_are_those_of_a_mask() -> None:
    """A mask that is written down position by position."""
    attend = setup()["flash_attn_func"]
    for length, back in ((64, 32), (64, 64), (64, 63), (64, 62), (50, 16), (64, 1), (32, 0)):
        q, k, v = (torch.randn(2, length, 3, 8) for _ in range(3))
        mask = torch.tensor(
            [[0 <= i - j <= back for j in range(length)] for i in range(length)], dtype=torch.bool
        )
        scores = torch.einsum("bihd,bjhd->bhij", q, k) / 8**0.5
        shares = scores.masked_fill(~mask, float("-inf")).softmax(-1)
        expected = torch.einsum("bhij,bjhd->bihd", shares, v)
        change = float((attend(q, k, v, True, (back, 0)) - expected).abs().max())
        assert change < 1e-5


def check_a_prediction_sees_no_later_token() -> None:
    model = shaken()
    tokens = torch.randint(VOCAB, (2, LENGTH))
    places = torch.arange(LENGTH).expand(2, -1)
    other = tokens.clone()
    other[:, 40:] = torch.randint(VOCAB, other[:, 40:].shape)
    with torch.no_grad():
        usual = model.predict(tokens, places)
        change = (usual - model.predict(other, places)).abs()
        few = model.predict(tokens, places[:, 5:9])
        assert float((usual - model(tokens)).abs().max()) < 1e-4
    assert float(change[:, :40].max()) == 0.0
    assert float(change[:, 40:].amax((0, 2)).min()) > 0.01
    assert float((few - usual[:, 5:9]).abs().max()) < 1e-4


def check_a_prefix_is_predicted_as_its_window_is() -> None:
    """Filled up with BOS to each of the lengths that the evaluator sends."""
    import runtime
    from prefixes import FILLED

    model = shaken()
    tokens = torch.randint(VOCAB, (2, LENGTH))
    for part in FILLED:
        length = LENGTH // part
        place = torch.full((2, 1), length - 3)
        cut = tokens[:, :length].clone()
        cut[:, length - 2 :] = runtime.BOS
        with torch.no_grad():
            change = model.predict(cut, place) - model.predict(tokens, place)
        assert float(change.abs().max()) < 1e-4


def check_muon_makes_matrices_orthogonal() -> None:
    """What a step without decay adds to matrices of zeros."""
    step = setup()["muon_step_fused"]
    rate, none = torch.tensor(1.0), torch.tensor(0.0)
    for rows, columns in ((64, 64), (256, 64), (64, 256)):
        wide = -1 if rows >= columns else -2
        grads = torch.randn(3, rows, columns)
        moved, momentum = torch.zeros_like(grads), torch.zeros_like(grads)
        squares = torch.zeros_like(grads.sum(wide, keepdim=True))
        memory = torch.tensor(0.95)
        step(grads.clone(), moved, momentum, squares, memory, rate, none, memory, 5, wide)
        assert float((momentum - 0.05 * grads).abs().max()) < 1e-6
        assert float((moved * grads).sum() / moved.norm() / grads.norm()) < -0.7
        values = torch.linalg.svdvals(moved)
        # Neurons get steps of one size, which leaves the directions a little less orthogonal.
        assert float(values.max()) < 1.4
        assert float(values.min()) > (0.0 if rows == columns else 0.6)


def check_nothing_is_learnt_before_the_clock() -> None:
    """The steps that compile, with whatever the weights are."""
    source = Path("train.py").read_text()
    before, clock = source.index("# Training loop"), source.index("# GC management")
    names = setup()
    weights = [p.detach().clone() for p in names["model"].parameters()]
    steps = source[before:clock].replace("if COMPILE else 0", "")
    assert steps != source[before:clock]
    exec(compile(steps, "train.py", "exec"), names)
    after = list(names["model"].parameters())
    assert all(torch.equal(a, b) for a, b in zip(weights, after, strict=True))
    assert all(p.grad is None for p in after)
    optimizer = names["optimizer"]
    assert not optimizer.state
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(after)
    muon = [p for g in optimizer.param_groups if g["kind"] == "muon" for p in g["params"]]
    assert len(muon) == len(list(names["model"].transformer.h.parameters()))


def check_operations_are_counted_by_the_formula_of_the_readme() -> None:
    import runtime

    weights = DEPTH * 12 * WIDTH**2 + VOCAB * WIDTH + 32 * HEADS  # one layer has gates
    found = setup()["model"].estimate_flops()
    assert found == 6 * weights + 12 * WIDTH * (LENGTH // 2 + LENGTH)
    for name, teraflops in PEAK_TERAFLOPS.items():
        flops = None if teraflops is None else teraflops * 1e12
        assert runtime.named_flops(f"NVIDIA {name}") == flops


def check_model_and_optimizer_compile_without_a_break() -> None:
    """Traced as for a GPU, and run as they are traced: no compiler is needed."""
    source = Path("train.py").read_text()
    traced = source.replace("COMPILE = False", "COMPILE = True")
    traced = traced.replace("dynamic=False", 'dynamic=False, backend="aot_eager", fullgraph=True')
    traced = traced.replace("fullgraph=True, fullgraph=True", "fullgraph=True")
    assert traced.count("aot_eager") == 2
    plain, compiled = run(source, 3), run(traced, 3)
    assert abs(plain["val_bpb"] - compiled["val_bpb"]) < 1e-4


PEAK_TERAFLOPS = {
    "H200": 989.5,
    "H100 80GB HBM3": 989.5,
    "H100 PCIe": 756.5,
    "A100-SXM4-40GB": 312,
    "L4": 121,
    "L40": 181,
    "L40S": 362,
    "GeForce RTX 4090": 165.2,
    "GeForce RTX 4090 Laptop GPU": None,
    "GeForce RTX 3060": None,
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


def check_equal_seeds_give_equal_runs_and_training_learns() -> None:
    source = Path("train.py").read_text()
    one, again, other = (run(source, 4, seed) for seed in (1, 1, 2))
    times = {"training_seconds", "total_seconds"}
    assert {k: one[k] for k in one if k not in times} == {
        k: again[k] for k in again if k not in times
    }
    assert one["val_bpb"] != other["val_bpb"]
    numbers = ("val_bpb", "peak_vram_mb", "total_tokens_M", "num_steps", "num_params_M", "depth")
    assert set(one) == {*times, *numbers}
    assert abs(one["total_tokens_M"] - 4 * 4 * 64 / 1e6) < 1e-9
    # Even odds for all 1024 tokens cost 3.8 bits per byte.
    longer = run(source, 120)
    assert longer["val_bpb"] < 3.2 < 3.6 < one["val_bpb"]

    # Memory is about what the README's formula says.  In 32 bits a vector takes twice as
    # much, and there is neither a copy nor CUDA.
    blocks, words = DEPTH * 12 * WIDTH**2, 3 * VOCAB * WIDTH
    kept = 4 * 64 * (2 * 40 * DEPTH * WIDTH + 12 * VOCAB)
    formula = (12 * blocks + 16 * words + kept) / 2**20
    assert 0.8 < one["peak_vram_mb"] / formula < 1.05


def check_every_edit_of_the_search_space_runs() -> None:
    found: dict[str, float | str] = {}
    for name, text in GIVEN["edits"].items():
        try:
            found[name] = run(text, 2)["val_bpb"]
        except Exception as error:
            found[name] = repr(error)
    assert len(found) > 25
    assert [n for n, v in found.items() if isinstance(v, str) or not 2.0 < v < 4.0] == []


def main() -> None:
    torch.set_num_threads(1)
    os.environ["RATCHET_DATA"] = str(HERE / "data")
    wrong = {}
    for name, check in [*globals().items()]:
        if name.startswith("check_"):
            wrong[name] = ""
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    check()
            except Exception as error:
                told = traceback.TracebackException.from_exception(error, capture_locals=True)
                wrong[name] = "".join(told.format())
    print(json.dumps(wrong))


if __name__ == "__main__":
    main()
