"""The code of all experiments in a page: what is stored gives every file back."""

import json

from hypothesis import given
from hypothesis import strategies as st

from helpers import trials
from ratchet.base.structs import replace
from ratchet.base.text import LINE_LIMIT
from ratchet.records.history import History
from ratchet.records.records import Verdict
from ratchet.report.code_table import code_table, version_of

LINES = st.lists(st.sampled_from(["", "a = 1", "a = 2", "def f():", "    return a"]), max_size=12)
FILES = st.dictionaries(st.sampled_from(["train.py", "model.py"]), LINES, max_size=2)


def session(versions: list[dict[str, str]], kept: set[int]) -> tuple[History, dict[str, str]]:
    """A session whose experiments have these files, each from the last that was kept."""
    blobs = {f"{n} {name}": text for n, one in enumerate(versions) for name, text in one.items()}
    made, parent = [], trials.BASE
    for number, files in enumerate(versions[1:], start=1):
        verdict = Verdict.KEEP if number in kept else Verdict.DISCARD
        one = trials.trial(number, verdict=verdict)
        shas = {name: f"{number} {name}" for name in files}
        one = replace(one, proposal=replace(one.proposal, files=shas, parent=parent))
        made.append(one)
        parent = one.proposal.source if number in kept else parent
    found = trials.history(made)
    base = replace(found.baseline, files={name: f"0 {name}" for name in versions[0]})
    return replace(found, baseline=base), blobs


@given(st.lists(FILES, min_size=1, max_size=6), st.sets(st.integers(1, 5)))
def test_every_version_is_given_back(versions: list[dict[str, list[str]]], kept: set[int]) -> None:
    texts = [{name: "\n".join(lines) for name, lines in one.items()} for one in versions]
    history, blobs = session(texts, kept)
    table = code_table(history, lambda files: {n: blobs[sha] for n, sha in files.items()})
    stored = json.loads(json.dumps(table))
    for number, files in enumerate(texts):
        found = {name: "\n".join(lines) for name, lines in version_of(stored, number).items()}
        assert found == files
    assert table["left_out"] == []


def test_past_the_limit_the_kept_stay() -> None:
    texts = [{"train.py": "start"}, *({"train.py": f"{n}\n" * 100} for n in range(1, 7))]
    history, blobs = session(texts, {5})
    table = code_table(history, lambda files: {n: blobs[sha] for n, sha in files.items()}, 2000)
    assert "5" in table["versions"]
    assert table["left_out"] and 5 not in table["left_out"]
    assert {*map(int, table["versions"]), *table["left_out"]} == set(range(1, 7))
    assert len(json.dumps(table["versions"])) < 2000
    nothing = code_table(history, lambda files: {n: blobs[sha] for n, sha in files.items()}, 10)
    assert (nothing["files"], nothing["left_out"]) == ({}, [0, 5, 1, 2, 3, 4, 6])


def test_hostile_text_is_cleaned_and_cut() -> None:
    history, blobs = session([{"train.py": "a"}, {"train.py": f"\x1b[2J\u202e{'x' * 9999}"}], set())
    table = code_table(history, lambda files: {n: blobs[sha] for n, sha in files.items()})
    (line,) = version_of(table, 1)["train.py"]
    assert "\x1b" not in line and "\u202e" not in line
    assert len(line) < LINE_LIMIT + 60
