"""Whether a session is intact, and the flags of its edits and runs."""

from __future__ import annotations

import pytest

from helpers import report_records as sample
from ratchet.base.structs import replace
from ratchet.records.records import Verdict
from ratchet.report.facts import build_facts
from ratchet.report.inputs import Integrity


@pytest.fixture(scope="module")
def records():
    return sample.session()


def test_intact_and_silent(records):
    sound = build_facts(records)["soundness"]
    assert sound["intact"] is True and sound["flags"] == []
    assert sound["checked"] == ["every input", "every run"]


def test_deviations_are_in_the_answer(records):
    broken = Integrity(("every input",), tuple(f"file {i}\x1b[0m: changed" for i in range(60)))
    facts = build_facts(sample.changed(records, integrity=broken))
    assert facts["answer"]["sentence"].endswith("; NOT INTACT: 60 deviations.")
    assert facts["soundness"]["deviations"][0] == "file 0: changed"
    assert len(facts["soundness"]["deviations"]) == 50


def test_nothing_is_claimed_where_nothing_was_hashed(records):
    facts = build_facts(sample.changed(records, integrity=None))
    assert facts["soundness"]["intact"] is None
    assert "intact" not in facts["answer"]["sentence"].lower()


def test_flags_of_edits_and_runs(records):
    first = replace(
        records.history.verdicts[0].rulings[0], quarantined=True, notes=("draws a seed",)
    )
    cheat = replace(
        records.history.verdicts[1].rulings[0], verdict=Verdict.TAMPERED, reason="printed it"
    )
    verdicts = [*records.history.verdicts]
    verdicts[0] = replace(verdicts[0], rulings=(first,))
    verdicts[1] = replace(verdicts[1], rulings=(cheat,))
    key = records.history.baseline.runs[0].key
    details = replace(records.runs[key], isolation="none", unenforced=("memory limit",))
    changed = sample.changed(records, verdicts=tuple(verdicts), runs={**records.runs, key: details})
    flags = [(f["number"], f["text"]) for f in build_facts(changed)["soundness"]["flags"]]
    assert flags == [
        (None, "not enforced on this machine: memory limit"),
        (None, "runs were ordinary processes, not isolated"),
        (1, "quarantined: larger than everything seen before"),
        (1, "draws a seed"),
        (2, "TAMPERED: printed it"),
    ]
