"""tasks/gpt: its definition, presets, search space, lock and page agree with each other."""

import ast
import difflib
import hashlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers import GPT as TASK
from helpers import REPO, load_task
from ratchet.base.errors import ConfigError
from ratchet.integrity.edit_checks import EditContract, edit_flags
from ratchet.task.edits import applicable_changes, find_value
from ratchet.task.presets import choose_preset, preset_sources

TRAIN = (TASK / "train.py").read_text()
README = (TASK / "README.md").read_text()
LOADED = load_task(TASK)
# train.py of karpathy/autoresearch at 228791f; `diff -U0` between it and ours is in tests/data.
UPSTREAM_SHA = "2954175f4ac42ad65164aef40910ef953789abcd05a5cc886ac9ba5a00814414"
DIFFERENCES = (REPO / "tests" / "data" / "gpt-upstream.diff").read_text()


def values(source: str, *names: str) -> list[Any]:
    """Values of constants of a source."""
    return [place.value for name in names if (place := find_value("train.py", source, name))]


def test_the_definition_names_every_file_of_the_task() -> None:
    others = {LOADED.brief, "task.yaml", "README.md", "measure.py"}
    there = {path.name for path in TASK.iterdir() if path.is_file()}
    assert {*LOADED.mutable, *LOADED.fixed, *others} == there
    assert LOADED.budget_seconds == 300.0 and LOADED.device == "gpu"
    assert LOADED.metric.name == "val_bpb" and LOADED.memory_name == "peak_vram_mb"


def test_auto_chooses_by_the_memory_of_the_gpu() -> None:
    sizes = (6, 8, 12, 16, 24, 40, 80, 141)
    memories = (6.4, 8.6, 12.9, 17.1, 25.7, 42.9, 85.5, 150.7)
    for memory_gb, size in zip(memories, sizes, strict=True):
        chosen = choose_preset("auto", LOADED.presets, memory_gb, "task.yaml")
        assert chosen.name == f"gpu-{size}gb"
    with pytest.raises(ConfigError, match="no GPU with"):
        choose_preset("auto", LOADED.presets, None, "task.yaml")
    embedded = {p.name for p in LOADED.presets if "RATCHET_CORPUS" in p.environment}
    assert embedded == {"gpu-offline", "cpu-tiny"}, "only presets decide which data are used"


def test_every_preset_can_be_applied_and_fits_by_the_formula() -> None:
    table = {
        cells[0].strip("` "): [cell.strip().replace(",", "") for cell in cells[1:]]
        for line in README.splitlines()
        if (cells := line.strip("|").split("|")) and line.startswith(("| `gpu", "| `cpu"))
    }
    for preset in LOADED.presets:
        applied = preset_sources(LOADED, preset.constants, preset.name)["train.py"].decode()
        depth, ratio, head = values(applied, "DEPTH", "ASPECT_RATIO", "HEAD_DIM")
        rows, step = values(applied, "DEVICE_BATCH_SIZE", "TOTAL_BATCH_SIZE")
        row = int(preset.environment.get("RATCHET_EVAL_LENGTH", "2048"))
        width, tokens = depth * ratio, row * rows
        assert width % head == step % tokens == 0
        vocab = int(preset.environment.get("RATCHET_VOCAB_SIZE", "8192"))
        words = vocab * width
        weights, looked_up = 12 * depth * width**2, (1 + (depth + 1) // 2) * words
        per_token = 40 * depth * width + 12 * vocab
        needed = 1e9 + 30 * weights + 18 * words + 8 * looked_up + tokens * per_token
        needed /= 1e9
        if preset.name == "cpu-tiny":
            assert preset.name not in table
            continue
        assert needed < 0.7 * preset.min_memory_gb
        assert table[preset.name] == [
            f"{preset.min_memory_gb:g}",
            *map(str, (depth, width, row, rows, step)),
            f"{(weights + words + looked_up) / 1e6:.1f}",
            f"{needed:.1f}",
        ]
    assert len(table) == len(LOADED.presets) - 1


def test_the_search_space_is_wide_every_edit_parses_and_no_alternative_is_flagged() -> None:
    categories = [change.category for change in LOADED.search_space]
    assert set(categories) == {
        *("hyperparams", "optimizer", "architecture", "activation"),
        *("embedding", "regularization", "data", "efficiency"),
    }
    assert len(categories) >= 20
    drafts = applicable_changes(LOADED.search_space, {"train.py": TRAIN})
    found = {draft.edit.name: draft.contents["train.py"] for draft in drafts}
    tried = [c.name for c in LOADED.search_space if c.values or not c.is_constant]
    assert set(found) == set(tried)
    default = ast.dump(ast.parse(TRAIN))
    for name, source in found.items():
        assert ast.dump(ast.parse(source)) != default, name
    contract = EditContract(LOADED.fixed, "val_bpb", LOADED.printed)
    alternatives = [change.name for change in LOADED.search_space if not change.is_constant]
    assert len(alternatives) >= 10
    for name in alternatives:
        assert not edit_flags({"train.py": TRAIN}, {"train.py": found[name]}, contract), name


def upstream() -> str:
    """Upstream's train.py: this one with the differences taken back."""
    lines, out, place = TRAIN.splitlines(keepends=True), list[str](), 0
    for _, start, count, body in hunks():
        begin = start - 1 if count else start
        out += lines[place:begin] + [line[1:] + "\n" for line in body if line[0] == "-"]
        assert lines[begin : begin + count] == [line[1:] + "\n" for line in body if line[0] == "+"]
        place = begin + count
    return "".join(out + lines[place:])


def hunks() -> Iterator[tuple[str, int, int, list[str]]]:
    """Each difference: its head, its first line and its lines here, and all its lines."""
    for part in DIFFERENCES.split("\n@@ ")[1:]:
        head, *body = part.rstrip("\n").split("\n")
        start, _, count = head.partition("+")[2].split(" ")[0].partition(",")
        yield head, int(start), int(count or 1), body


def test_the_differences_to_upstream_are_all_there_are_and_each_has_a_reason() -> None:
    """With them taken back the file is upstream's to the byte."""
    assert hashlib.sha256(upstream().encode()).hexdigest() == UPSTREAM_SHA
    table = README.partition("## What differs from upstream")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")][
        1:
    ]
    assert all(len(row) == 3 and row[2].endswith(".") for row in rows)
    words = [re.findall(r"`([^`]+)`", " ".join(row[:2])) for row in rows]
    texts = ["\n".join(body) for _, _, _, body in hunks()]
    blank = [text for text in texts if not re.search(r"\w", text)]
    assert [
        t for t in texts if t not in blank and not any(w in t for ws in words for w in ws)
    ] == []
    assert [ws for ws in words if not any(w in t for t in texts for w in ws)] == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("\nDEPTH = 8  ", "\nDEPTH = 12 "),
        ("\nASPECT_RATIO = 64 ", "\nASPECT_RATIO = 48 "),
        ('\nWINDOW_PATTERN = "SSSL"', '\nWINDOW_PATTERN = "L"'),
        ("\nMATRIX_LR = 0.04 ", "\nMATRIX_LR = 0.06 "),
        ("\nADAM_BETAS = (0.8, 0.95)", "\nADAM_BETAS = (0.9, 0.95)"),
        ("F.relu(x).square()", "F.gelu(x)"),
        ("step / 300", "step / 200"),
        ("short_window = long_window // 2", "short_window = long_window // 4"),
    ],
)
def test_an_edit_made_for_upstreams_file_applies(tmp_path: Path, old: str, new: str) -> None:
    before = upstream()
    assert old in before
    after = before.replace(old, new)
    lines = (text.splitlines(keepends=True) for text in (before, after))
    patch = "".join(difflib.unified_diff(*lines, "a/train.py", "b/train.py"))
    (tmp_path / "train.py").write_text(TRAIN)
    command = ["git", "apply", "-"]
    subprocess.run(command, cwd=tmp_path, input=patch, text=True, check=True)
    assert (tmp_path / "train.py").read_text() == TRAIN.replace(old, new)


def test_the_mutable_file_downloads_nothing() -> None:
    tree = ast.parse(TRAIN)
    modules = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    modules |= {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    roots = {str(module).split(".")[0] for module in modules}
    assert roots == {"dataclasses", "gc", "math", "os", "time", "torch", "runtime"}


def test_the_lock_is_for_gpus_and_pins_the_sources_of_the_corpus() -> None:
    lock = (REPO / "envs" / "gpt.lock").read_text()
    wanted = re.findall(r"^([a-z]\S*==\S+)$", (REPO / "envs" / "gpt.in").read_text(), re.M)
    assert not re.search(r"^-e|\+cpu", lock, re.M)
    assert re.search(r"^nvidia-cudnn-cu13==.*sys_platform == 'linux'", lock, re.M)
    # The corpus is made from the very wheels of the lock.
    packages = re.search(r"PACKAGES = (\{.*\})", (TASK / "corpus.py").read_text())
    pinned = {f"{name}=={version}" for name, version in ast.literal_eval(packages[1]).items()}
    assert pinned <= set(wanted)
    assert {name.partition("==")[0] for name in pinned} == set(LOADED.hidden)
