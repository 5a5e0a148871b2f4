"""tasks/gpt: model, optimizer, preparation and whole runs, with PyTorch on a CPU.

The harness has no PyTorch.  ``RATCHET_GPT_PYTHON`` names an interpreter that has the
packages of envs/gpt.in (PyTorch's CPU build will do); everything is measured there, by
one process (``gpt_checks.py``), and judged here.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from typing import Any

import pytest

from helpers import HELPERS
from helpers.gpt_modules import SPEC, TASK, configured, edits

PYTHON = os.environ.get("RATCHET_GPT_PYTHON")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not PYTHON, reason="RATCHET_GPT_PYTHON names no interpreter with the packages of gpt.in"
    ),
]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    folder = tmp_path_factory.mktemp("gpt")
    assert PYTHON is not None
    done = subprocess.run([PYTHON, "-c", "import torch"], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"{PYTHON} has no PyTorch")
    (folder / "train.py").write_text(configured("cpu-tiny"))
    (folder / "edits.json").write_text(json.dumps(edits(configured("cpu-tiny"))))
    variables = {k: v for k, v in os.environ.items() if not k.startswith("RATCHET_")}
    preset = SPEC["presets"]["cpu-tiny"]["environment"]
    done = subprocess.run(
        [PYTHON, str(HELPERS / "gpt_checks.py"), "train.py", "edits.json"],
        cwd=folder,
        env={
            **variables,
            **{k: v for k, v in preset.items() if k.startswith("RATCHET_EVAL")},
            "PYTHONPATH": str(TASK),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    values: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return values


def test_the_preparation_is_deterministic_and_complete(found: Mapping[str, Any]) -> None:
    made = found["prepared"]
    assert made["same"] is True
    named = {name for names in SPEC["data"].values() for name in names}
    assert set(made["files"]) == named
    assert made["round_trip"] is True and made["shared"] == 0
    assert (made["facts"]["vocab_size"], made["facts"]["bos"]) == (1024, 1023)
    assert made["token_bytes"] > 1023
    for name, split in made["facts"]["splits"].items():
        # The evaluator's table of bytes adds up to the very text.
        assert split["bytes"] == made["sizes"][name]
        assert split["documents"] == made["documents"][name]


def test_shards_become_splits_and_broken_ones_are_refused(found: Mapping[str, Any]) -> None:
    made, size = found["web"], found["web"]["bytes"]
    splits = made["facts"]["splits"]
    documents = {name: split["documents"] for name, split in splits.items()}
    assert documents == {"train": 120, "val": 60, "audit": 60}
    whole = {"train": size["0"] + size["1"], "val": size["6542"], "audit": size["6541"]}
    assert {name: split["bytes"] for name, split in splits.items()} == whole
    assert made["facts"]["corpus"] == "web"
    assert set(made["facts"]["sources"]) == {
        f"shard_{number}.parquet" for number in ("00000", "00001", "06541", "06542")
    }
    assert "expected a parquet file with a column `text`" in made["refused"]


def test_sliding_windows_are_those_of_a_mask(found: Mapping[str, Any]) -> None:
    assert len(found["attention"]) == 7
    assert max(found["attention"].values()) < 1e-5
    # A prediction sees no later token.
    assert found["causality"]["before"] == 0.0
    assert found["causality"]["after"] > 0.01
    assert found["causality"]["positions"] < 1e-4


def test_muon_makes_matrices_orthogonal(found: Mapping[str, Any]) -> None:
    for shape in ("64 64", "256 64", "64 256"):
        low, high = found["muon"][shape]
        # The quintic steps stop around 1; square random matrices have tiny values, too.
        assert high < 1.3 and low > (0.0 if shape == "64 64" else 0.6)
        assert found["muon"][f"agreement {shape}"] > 0.7
        assert found["muon"][f"momentum {shape}"] < 1e-6


def test_nothing_is_learnt_before_the_clock(found: Mapping[str, Any]) -> None:
    warm = found["warm"]
    assert warm["unchanged"] is True
    assert (warm["momentum"], warm["state"]) == (0.0, 0)
    assert warm["moved_by_muon"] == warm["matrices"]
    assert warm["moved_by_muon"] + warm["moved_by_adam"] == warm["parameters"]
    assert warm["memory_mb"] > 2 * warm["weights_mb"]


def test_operations_are_counted_by_the_formula_of_the_readme(found: Mapping[str, Any]) -> None:
    width, depth, vocab = 64, 2, 1024
    weights = depth * 12 * width**2 + vocab * width
    assert found["warm"]["flops"] == 6 * weights + 12 * width * (16 + 64)
    flops = found["peak_flops"]
    assert flops["NVIDIA H200"] == flops["NVIDIA H100 80GB HBM3"] == 989.5e12
    assert flops["NVIDIA H100 PCIe"] == 756.5e12
    assert flops["NVIDIA A100-SXM4-40GB"] == 312e12
    lovelace = [flops[f"NVIDIA {name}"] for name in ("L4", "L40", "L40S")]
    assert lovelace == [121e12, 181e12, 362e12]
    assert flops["NVIDIA GeForce RTX 4090"] == 165.2e12
    for unknown in ("NVIDIA GeForce RTX 4090 Laptop GPU", "NVIDIA GeForce RTX 3060"):
        assert flops[unknown] is None


def test_memory_is_about_what_the_formula_of_the_readme_says(found: Mapping[str, Any]) -> None:
    width, depth, ratio, vocab, tokens = 64, 2, 4, 1024, 4 * 64
    blocks, ends = depth * (4 + 2 * ratio) * width**2, 2 * vocab * width
    # In 32 bits a vector takes twice as much, and there is neither a copy nor CUDA.
    kept = tokens * (2 * depth * width * (28 + 4 * ratio) + 12 * vocab)
    formula = (12 * blocks + 16 * ends + kept) / 2**20
    assert 0.8 < found["runs"][0]["peak_vram_mb"] / formula < 1.05


def test_equal_seeds_give_equal_runs_and_training_learns(found: Mapping[str, Any]) -> None:
    one, again, other = found["runs"]
    times = {"training_seconds", "total_seconds"}
    assert {k: one[k] for k in one if k not in times} == {
        k: again[k] for k in again if k not in times
    }
    assert one["val_bpb"] != other["val_bpb"]
    numbers = ("val_bpb", "peak_vram_mb", "total_tokens_M", "num_steps", "num_params_M", "depth")
    assert set(one) == {*times, *numbers}
    assert one["total_tokens_M"] == pytest.approx(4 * 4 * 64 / 1e6)
    # Even odds for all 1024 tokens cost 3.8 bits per byte.
    assert found["longer"]["val_bpb"] < 3.2 < 3.7 < found["runs"][0]["val_bpb"]


def test_every_edit_of_the_search_space_runs(found: Mapping[str, Any]) -> None:
    failed = {name: value for name, value in found["edits"].items() if isinstance(value, str)}
    assert failed == {}
    assert len(found["edits"]) > 25
    assert all(2.0 < value < 4.0 for value in found["edits"].values())
