"""Categories of changes: by code, by words, and as a careful reader gave them."""

import csv
import hashlib

import pytest

from helpers import BYTELM, REPO, SHARED, load_task
from ratchet.logs.reader import read_table
from ratchet.steering.categories import category_of_code, classify_change, untried_angles
from ratchet.steering.code_diff import code_differences
from ratchet.task.edits import applicable_changes

SESSIONS = SHARED / "corpus" / "sessions"
REFERENCE = ("karpathy__autoresearch__mar8.tsv",)
HELD_OUT = (
    "Djordje-Stojanovic__TrainRTX5070__2.tsv",
    "karpathy__autoresearch__10.tsv",
    "karpathy__autoresearch__15.tsv",
    "AndErem314__autoresearch-mini-M4__1.tsv",
)


def labels() -> dict[str, str]:
    """Categories by a reader, written down before the rules; by digest of the text."""
    with (REPO / "tests" / "data" / "categories.tsv").open() as lines:
        return {row["sha256"]: row["category"] for row in csv.DictReader(lines, delimiter="\t")}


def agreement(sessions: tuple[str, ...]) -> tuple[int, int]:
    known, same, total = labels(), 0, 0
    for name in sessions:
        for row in read_table((SESSIONS / name).read_bytes(), name).rows:
            digest = hashlib.sha256(row.description.encode()).hexdigest()[:12]
            same += classify_change(row.description) == known[digest]
            total += 1
    return same, total


@pytest.mark.skipif(not SESSIONS.is_dir(), reason="the logs are not at hand")
@pytest.mark.parametrize(
    ("sessions", "rows", "share"), [(REFERENCE, 126, 0.9), (HELD_OUT, 62, 0.8)]
)
def test_sessions_are_mostly_read_as_a_careful_reader_does(
    sessions: tuple[str, ...], rows: int, share: float
) -> None:
    same, total = agreement(sessions)
    assert total == rows
    assert same >= share * total


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("baseline", "other"),
        ("random seed 1 to 2", "other"),
        ("embedding LR 0.3 to 0.6", "hyperparams"),
        ("embedding learning rate up (with weight decay)", "hyperparams"),
        ("weight decay on the embedding", "regularization"),
        ("larger embedding", "embedding"),
        ("Adam with a higher learning_rate", "hyperparams"),
        ("Adam beta2 0.99", "optimizer"),
        ("swap AdamW for Lion", "optimizer"),
        ("SwiGLU in the MLP", "activation"),
        ("deeper and narrower", "architecture"),
        ("activation checkpointing", "efficiency"),
        ("BatchNorm after each conv", "architecture"),
        ("batch size 8 to 16", "hyperparams"),
        ("shuffle the documents", "data"),
        ("agent3: softcap 15", "regularization"),
        ("Hypothesis: dropout helps. Evidence: batch noise", "regularization"),
        ("(dropout)", "regularization"),
        ("tweak", "other"),
        ("", "other"),
        ("\x1b[2J\u202edropout\n", "regularization"),
    ],
)
def test_words(text: str, category: str) -> None:
    assert classify_change(text) == category


def test_a_task_has_the_first_word() -> None:
    own = {"EMBED_LR_FACTOR": "embedding", "tiling": "kernels", "embed": "vectors"}
    assert classify_change("EMBED_LR_FACTOR 1.0 -> 4.0", own=own) == "embedding"
    assert classify_change("other tiling of the matmul", own=own) == "kernels"
    assert classify_change("embedded", own=own) == "embedding", "whole words only"
    changed = {"train.py": "EMBED_LR_FACTOR = 1"}, {"train.py": "EMBED_LR_FACTOR = 4"}
    assert classify_change("", *changed, own) == "embedding"


OLD = '''
"""A model."""
WIDTH = 8
LEARNING_RATE = 1e-3  # fast

class Block:
    def __call__(self, x):
        """One block."""
        h = relu(norm(x) @ self.up)
        return x + h @ self.down

class AdamW:
    def step(self, rate):
        for p in self.parameters:
            p.data -= rate * p.grad

def setup(model):
    return AdamW(model, lr=0.1, betas=(0.9, 0.95), weight_decay=0.1)
'''


def edit(find: str, replace: str) -> tuple[dict[str, str], dict[str, str]]:
    assert OLD.count(find) == 1
    return {"train.py": OLD}, {"train.py": OLD.replace(find, replace)}


@pytest.mark.parametrize(
    ("find", "replace", "category"),
    [
        ("WIDTH = 8", "WIDTH = 16", "architecture"),
        ("LEARNING_RATE = 1e-3", "LEARNING_RATE = 2e-3", "hyperparams"),
        ("lr=0.1", "lr=0.2", "hyperparams"),
        ("(0.9, 0.95)", "(0.9, 0.99)", "optimizer"),
        ("weight_decay=0.1", "weight_decay=0.2", "regularization"),
        ("relu(", "gelu(", "activation"),
        ("rate * p.grad", "rate * p.grad / norm(p.grad)", "optimizer"),
        ("def setup", "def dropout(x):\n    return x\n\ndef setup", "regularization"),
        ("@ self.up)", "@ self.up + self.skip)", "architecture"),
    ],
)
def test_code_comes_before_words(find: str, replace: str, category: str) -> None:
    old, new = edit(find, replace)
    assert category_of_code(old, new) == category
    assert classify_change("shuffle the data", old, new) == category


@pytest.mark.parametrize("text", ["def (", "x = '\0'", "(" * 5000, "\ud800"])
def test_unreadable_code_leaves_it_to_words(text: str) -> None:
    assert code_differences(text, OLD) is None
    assert classify_change("dropout", {"a.py": text}, {"a.py": OLD}) == "regularization"
    assert classify_change("dropout", {"a.md": "gelu"}, {"a.md": "relu"}) == "regularization"


def test_the_default_task_is_mostly_read_as_it_declares() -> None:
    """Its labels were given by the task's author, for other purposes."""
    task = load_task(BYTELM, REPO)
    old = {"train.py": (task.folder / "train.py").read_text()}
    drafts = list(applicable_changes(task.search_space, old))
    same = sum(category_of_code(old, d.contents) == d.category for d in drafts)
    assert len(drafts) > 30
    assert same >= 0.8 * len(drafts)


def test_tried_angles_are_left_out() -> None:
    assert untried_angles("architecture", [])[:3] == [
        "attention head count",
        "layer depth",
        "skip connections",
    ]
    left = untried_angles("architecture", ["DEPTH 8 -> 12", "n_head=4"])
    assert left[0] == "skip connections"
    assert untried_angles("kernels", []) == []
