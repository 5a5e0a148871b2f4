"""Malformed files through all that reads candidates' files: no exception of ours, no long wait."""

import time

import pytest

from helpers import BYTELM, FAKE, load_task
from helpers.malformed import mutants, read_everywhere

YAML = b"lr: 1e-3\nmodel: {size: 3, a: [1, 2]}\na: 4\n"
JSON = b'{"lr": 0.1, "model": {"size": 3}, "a": 2}\n'
SEED = 20


@pytest.mark.parametrize(
    ("name", "base", "task", "count"),
    [
        ("train.py", (FAKE / "train.py").read_bytes(), FAKE, 100),
        ("train.py", (BYTELM / "train.py").read_bytes(), BYTELM, 20),
        ("c.yaml", YAML, None, 60),
        ("c.json", JSON, None, 60),
    ],
    ids=["fake", "bytelm", "yaml", "json"],
)
def test_no_malformed_file_breaks_what_reads_it(name, base, task, count) -> None:
    """A sample; ``tests/bench/malformed.py`` reads thousands."""
    space = () if task is None else tuple(load_task(task).search_space)
    seen = set()
    for number, data in enumerate(mutants(base, count, SEED, task is None)):
        began = time.process_time()
        new = data.decode("utf-8", errors="surrogateescape")
        found = read_everywhere(name, base.decode(), new, space, merge=number % 50 == 0)
        seen.add(found.unreadable if found.refused else None)
        assert time.process_time() - began < 30.0, data
    assert {True, None} <= seen
