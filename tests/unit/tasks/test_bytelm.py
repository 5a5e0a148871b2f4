"""The embedded task tasks/bytelm: corpus, budget, evaluator, model, search space."""

import hashlib
import importlib.metadata
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from helpers import BYTELM, import_modules
from helpers.candidates import STEPS, TASK, TRAIN, Arena, edited
from helpers.commands import Patch
from ratchet.task.edits import applicable_changes, apply_declared, find_value

DIGESTS = {
    "train.bin": "d0602cd3480d6906865ce682e751d96275b1e4ce736bcc8b2698253eda25f410",
    "val.bin": "c9a949251cfd6c29a5c0ce8ae27fff9016dc6bb34c28dc737d9be446bf05f0b3",
    "audit.bin": "93fe4482c336ea8c587b120fa899db2091f2e097469eb7e9d583c34b2fd60cf6",
}
KEYS = ["val_bpb", "training_seconds", "total_seconds", "peak_mem_mb"]
KEYS += ["num_steps", "total_tokens_M", "num_params_M", "depth"]


def test_splits_are_as_pinned_and_share_no_file(data: Path, prepare: ModuleType) -> None:
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in data.iterdir()}
    assert found == DIGESTS == prepare.SPLIT_SHA256
    sizes = {name: (data / name).stat().st_size for name in DIGESTS}
    total = sum(sizes.values())
    assert 3.5e6 < total < 4.5e6
    for name in ("val.bin", "audit.bin"):
        assert 0.05 < sizes[name] / total < 0.08
    contents = {name: (data / name).read_bytes() for name in DIGESTS}
    seen = dict.fromkeys(DIGESTS, 0)
    for package, version in prepare.PACKAGES.items():
        for path, content in prepare.read_sources(package, version).items():
            assert "tests" not in path.split("/")
            home = prepare.split_of(path)
            seen[home] += len(content)
            assert content in contents[home]
            if len(content) > 1000:  # Short files may well be equal.
                assert not any(content in contents[n] for n in DIGESTS if n != home)
    assert seen == sizes


@pytest.fixture
def installed(prepare: ModuleType, tmp_path: Path, monkeypatch: Patch) -> Path:
    """A copy of the two packages that a test may spoil, for the preparation to find."""
    for package in ("docutils", "networkx"):
        for record in importlib.metadata.distribution(package).files or ():
            if record.parts[0].startswith(package) and "__pycache__" not in record.parts:
                target = tmp_path / record
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(str(record.locate()), target)

    def distribution(name: str) -> importlib.metadata.Distribution:
        for found in importlib.metadata.distributions(name=name, path=[str(tmp_path)]):
            return found
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(prepare.importlib.metadata, "distribution", distribution)
    return tmp_path


SOURCE, TOLD = "networkx/convert.py", "networkx-*.dist-info"
# What is done to an installed file (the text there and another one, or nothing to keep of
# it), the exit status, and what is said.
SPOILED: list[tuple[str, tuple[str, str] | None, int, list[str]]] = [
    (SOURCE, ("import", "import "), 65, ["convert.py", "expected sha256", "networkx==3.6.1"]),
    (SOURCE, None, 66, ["convert.py", "cannot be read", "networkx==3.6.1"]),
    (f"{TOLD}/METADATA", ("Version: 3.6.1", "Version: 3.5"), 65, ["version 3.6.1", "found 3.5"]),
    ("docutils-*.dist-info", None, 66, ["docutils: not installed", "0.22.4", "found none"]),
    # A file that its RECORD knows nothing of: only the final digest can tell.
    (f"{TOLD}/RECORD", (SOURCE, "networkx/none.txt"), 65, ["train.bin: expected sha256", "found"]),
]


@pytest.mark.parametrize(("place", "change", "code", "said"), SPOILED)
def test_a_wrong_source_is_named(prepare, installed, capsys, place, change, code, said) -> None:
    (path,) = installed.glob(place)
    if change is not None:
        assert change[0] in path.read_text()
        path.write_text(path.read_text().replace(*change, 1))
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    assert prepare.main(["--out", str(installed / "out")]) == code
    message = capsys.readouterr().err
    assert [word for word in (*said, "type: python -m pip install") if word not in message] == []
    assert not (installed / "out").exists()


def test_a_budget_is_read_from_the_environment(prepare: ModuleType, monkeypatch: Patch) -> None:
    for name in ("RATCHET_BUDGET_SECONDS", "RATCHET_BUDGET_STEPS"):
        monkeypatch.delenv(name, raising=False)
    assert prepare.Budget.from_environment().seconds == 3.0
    monkeypatch.setenv("RATCHET_BUDGET_STEPS", "2")
    budget = prepare.Budget.from_environment()
    progress = []
    while not budget.done():
        progress.append(budget.progress())
        budget.step()
    assert (progress, budget.progress(), budget.steps) == ([0.0, 0.5], 1.0, 2)
    monkeypatch.setenv("RATCHET_BUDGET_SECONDS", "1")
    with pytest.raises(ValueError, match="not both"):
        prepare.Budget.from_environment()


def test_a_budget_counts_processor_time_from_its_first_use(prepare, monkeypatch) -> None:
    now = [100.0]
    monkeypatch.setattr(prepare.time, "process_time", lambda: now[0])
    budget = prepare.Budget(seconds=2.0)
    now[0] = 150.0
    assert not budget.done()
    now[0] = 151.0
    budget.step()
    assert (budget.progress(), budget.training_seconds) == (0.5, 1.0)
    now[0] = 160.0
    assert budget.done()
    assert budget.progress() == 1.0


LESSONS = import_modules(BYTELM, ["autograd", "channel", "prepare", "lessons"])["lessons"]


@pytest.mark.parametrize(
    ("usual", "each", "left"),
    [
        ("0.128", 0.0002, 2.0),
        # Twice as dear as the baseline's: 512 questions, and 64 to try it.
        ("0.128", 0.0004, 2.0 - 0.128 * 9 / 8),
        ("0.128", 1.0, 1.0),
        (None, 1.0, 2.0),
    ],
)
def test_a_dear_model_trains_for_less(
    prepare: ModuleType, monkeypatch: Patch, usual: str | None, each: float, left: float
) -> None:
    now, asked = [0.0], []

    def predict(prefixes: np.ndarray) -> np.ndarray:
        asked.append(prefixes.shape)
        now[0] += each
        return np.zeros((len(prefixes), 256))

    monkeypatch.setattr(prepare.time, "process_time", lambda: now[0])
    monkeypatch.setattr(prepare, "load_split", lambda _: np.zeros(100_000, np.uint8))
    monkeypatch.delenv("RATCHET_EVALUATION_SECONDS", raising=False)
    if usual is not None:
        monkeypatch.setenv("RATCHET_EVALUATION_SECONDS", usual)
    budget = prepare.Budget(seconds=2.0)
    budget.reserve(predict)
    assert budget.seconds == pytest.approx(left)
    # As the evaluator asks about one group of rows.
    assert asked == ([] if usual is None else [(88, t) for t in range(1, 65)])
    assert prepare.ASKED_ROWS == 64 + LESSONS.ROWS
    steps = prepare.Budget(steps=3)
    steps.reserve(predict)
    assert steps.max_steps == 3


WINDOWS = 512
LENGTH = 512 * 65


def bits(table: np.ndarray, windows: np.ndarray) -> float:
    """The metric of a table of byte pairs by the definition, one position at a time."""
    total = 0.0
    for byte, target in zip(windows[:, :-1].ravel(), windows[:, 1:].ravel(), strict=True):
        exact = table[byte].astype(np.float64)
        total -= math.log2(np.exp(exact[target]) / np.exp(exact).sum())
    return total / windows[:, 1:].size


def test_evaluator_agrees_with_the_definition(prepare: ModuleType) -> None:
    rng = np.random.default_rng(3)
    split = rng.integers(0, 256, 40_000, dtype=np.uint8)
    table = rng.standard_normal((256, 256)).astype(np.float32) * 3.0
    windows = prepare.evaluation_windows(split)
    assert windows.shape == (WINDOWS, 65)
    assert windows[-1, -1] == split[-1]
    found = prepare.evaluate_bpb(lambda x: table[x[:, -1]], split)
    assert found == pytest.approx(bits(table, windows), abs=1e-5)
    # Adding a constant to all logits, even a large one, changes no probability.
    shifted = prepare.evaluate_bpb(lambda x: table[x[:, -1]] + 1e3, split)
    assert shifted == pytest.approx(found, abs=1e-3)


@pytest.mark.parametrize("length", [LENGTH, LENGTH + 1, 50_000, 246_496, 306_767])
def test_no_byte_is_in_two_windows(prepare: ModuleType, length: int) -> None:
    starts = prepare.evaluation_starts(length)
    assert (starts[0], starts[-1]) == (0, length - 65)
    assert (np.diff(starts) >= 65).all()
    with pytest.raises(ValueError, match="too few"):
        prepare.evaluation_starts(LENGTH - 1)


def test_a_byte_is_shown_when_its_prediction_is_there(prepare: ModuleType) -> None:
    """A model may keep what it computed: the same rows come again, one byte longer."""
    split = np.random.default_rng(1).integers(0, 256, LENGTH, dtype=np.uint8)
    seen = np.zeros((0, 0), dtype=np.uint8)

    def predict(x: np.ndarray) -> np.ndarray:
        nonlocal seen
        rows, known = x.shape
        if known > 1:
            np.testing.assert_array_equal(x[:, :-1], seen)
        seen = x
        assert rows == 64 and 1 <= known <= 64
        return np.zeros((rows, 256))

    assert prepare.evaluate_bpb(predict, split) == pytest.approx(8.0)


def test_the_metric_by_hand(prepare, data, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("RATCHET_DATA", str(data))
    found = prepare.evaluate_bpb(lambda x: np.full((len(x), 256), -7.0, dtype=np.float32))
    assert found == pytest.approx(8.0, abs=1e-12), "even odds for 256 bytes"
    monkeypatch.setenv("RATCHET_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"python prepare\.py --out"):
        prepare.load_split("train")


def test_evaluator_refuses_what_is_no_logits(prepare: ModuleType) -> None:
    split = np.zeros(LENGTH, dtype=np.uint8)
    for wrong in ((64,), (64, 1, 256), (63, 256), (64, 255)):
        with pytest.raises(ValueError, match="expected"):
            prepare.evaluate_bpb(lambda _, shape=wrong: np.zeros(shape), split)
    for bad in (np.nan, np.inf, -np.inf):
        logits = np.zeros((64, 256))
        logits[3, 7] = bad
        assert math.isnan(prepare.evaluate_bpb(lambda _, y=logits: y, split))


def test_changing_the_inputs_in_place_changes_nothing(prepare: ModuleType) -> None:
    split = np.random.default_rng(0).integers(0, 256, LENGTH, dtype=np.uint8)
    kept = split.copy()

    def model(x: np.ndarray) -> np.ndarray:
        x[:] = 0
        return np.zeros((len(x), 256))

    assert prepare.evaluate_bpb(model, split) == pytest.approx(8.0)
    np.testing.assert_array_equal(split, kept)


@pytest.mark.parametrize("labels", ["", "CONTEXT=16", "attention-in-mixer bigram-logits DEPTH=2"])
def test_the_last_position_alone_is_what_the_whole_model_says(
    arena: Arena, data: Path, tmp_path: Path, labels: str
) -> None:
    """What is evaluated is what was trained: byte by byte, with what a model keeps."""
    text = TRAIN
    for label in labels.split():
        draft = apply_declared(TASK.search_space, {"train.py": text}, label)
        assert draft is not None
        text = draft.contents["train.py"]
    for name in TASK.fixed:
        shutil.copyfile(TASK.folder / name, tmp_path / name)
    (tmp_path / "train.py").write_text(text)
    check = (
        "import numpy as np, train\n"
        "rng = np.random.default_rng(1)\n"
        "model = train.Model(rng)\n"
        "for p in train.parameters_of(model):\n"
        "    p.data += rng.standard_normal(p.shape).astype(np.float32) * 0.1\n"
        "for _ in range(2):\n"
        "    x = rng.integers(0, 256, (5, 64), dtype=np.uint8)\n"
        "    whole = model(x).data\n"
        "    for t in range(64):\n"
        "        assert np.abs(model.predict(x[:, : t + 1]) - whole[:, t]).max() < 1e-4, t\n"
    )
    environment = {**os.environ, "RATCHET_DATA": str(data), "OPENBLAS_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", check], cwd=tmp_path, env=environment, check=True)


def printed(log: str) -> dict[str, str]:
    return dict(re.findall(r"^(\w+): +(\S+)$", log.split("---\n")[-1], re.MULTILINE))


def by_hand(folder: Path, data: Path) -> str:
    """What the default candidate prints where no harness runs it."""
    for name in (*TASK.fixed, "train.py"):
        shutil.copyfile(TASK.folder / name, folder / name)
    environment = {
        **{k: os.environ[k] for k in ("PATH", "LD_LIBRARY_PATH") if k in os.environ},
        "OPENBLAS_NUM_THREADS": "1",
        "RATCHET_DATA": str(data),
        "RATCHET_SEED": "1",
        "RATCHET_BUDGET_STEPS": str(STEPS),
    }
    words = [sys.executable, "train.py"]
    return subprocess.check_output(words, cwd=folder, env=environment, text=True)


def test_training_learns_and_is_reproducible(arena: Arena, data: Path, tmp_path: Path) -> None:
    first, again = (arena.attempt(TRAIN, whole=True).log for _ in range(2))
    other = arena.attempt(TRAIN, seed=2, whole=True).log
    block = printed(first)
    assert list(block) == KEYS
    assert all(math.isfinite(float(value)) for value in block.values())
    assert float(block["val_bpb"]) < 6.0
    assert (block["num_steps"], block["depth"]) == (str(STEPS), "1")
    timeless = [
        (
            re.findall(r"(?m)^step .*$", log),
            {k: float(value) for k, value in printed(log).items() if not k.endswith("_seconds")},
        )
        for log in (first, again, by_hand(tmp_path, data), other)
    ]
    assert timeless[0] == timeless[1] == timeless[2] != timeless[3]
    assert printed(other)["val_bpb"] != block["val_bpb"]
    assert printed(other)["peak_mem_mb"] == block["peak_mem_mb"]
    assert len(first.split("---\n")[0].splitlines()) <= 10


def test_the_search_space_is_broad_and_each_change_is_one() -> None:
    drafts = list(applicable_changes(TASK.search_space, {"train.py": TRAIN}))
    assert len(drafts) == sum(len(c.values) + (not c.is_constant) for c in TASK.search_space)
    assert 35 <= len(drafts) <= 50
    for change in TASK.search_space:
        if change.is_constant:
            place = find_value("train.py", TRAIN, change.name)
            assert {type(value) for value in change.values} <= {type(place.value)}, change
    assert sum(not change.is_constant for change in TASK.search_space) >= 6
    assert len({change.category for change in TASK.search_space}) >= 7


# Changes that stack on each other.
STACKS = [
    "cosine-schedule nesterov-momentum orthogonal-updates xavier-init layer-norm gated-block "
    "attention-in-mixer relu-squared bigram-logits frequency-bias neighbouring-windows "
    "DEPTH=2",
    "gelu DROPOUT=0.1 SMOOTHING=0.05 SEQ_LEN=128 GRAD_CLIP=0.0",
    "tanh no-hidden-bias",
]


@pytest.mark.parametrize("labels", STACKS)
def test_a_sample_of_changes_runs(arena: Arena, labels: str) -> None:
    files: Mapping[str, str] = {"train.py": TRAIN}
    for label in labels.split():
        draft = apply_declared(TASK.search_space, files, label)
        assert draft is not None, label
        files = draft.contents
    assert arena.attempt(files["train.py"], budget_steps=3).value > 0


def test_a_model_may_have_no_block_and_bounded_logits(arena: Arena) -> None:
    bounded = edited("LOGIT_CAP = 0.0 ", "LOGIT_CAP = 15.0 ")
    source = edited("DEPTH = 1 ", "DEPTH = 0 ", bounded)
    attempt = arena.attempt(source, budget_steps=3)
    assert attempt.value > 0
    assert printed(attempt.log)["depth"] == "0"
