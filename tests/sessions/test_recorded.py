"""Tables of recorded runs: they know the edits that their tasks declare."""

import pytest

from helpers import BYTELM, FAKE
from helpers.recorded import Recorded, candidates

TASKS = {"fake": FAKE, "bytelm": BYTELM}


@pytest.mark.parametrize("name", TASKS)
def test_a_table_knows_each_declared_edit_of_its_task(name: str) -> None:
    table = Recorded.load(name, TASKS[name])
    start = {n: (TASKS[name] / n).read_bytes() for n in table.task.mutable}
    assert table.edits(start) == frozenset()
    for labels, texts in candidates(table.task, together=name == "fake"):
        found = table.edits({n: text.encode() for n, text in texts.items()})
        assert found == set(labels)
        table.mean(found)  # which fails for an edit that was not recorded
    free = {"train.py": start["train.py"] + b"print()\n"}
    with pytest.raises(LookupError, match="not declared"):
        table.edits(free)
