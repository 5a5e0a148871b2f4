"""Somebody's log, audited from Python as the command audits it."""

from pathlib import Path

import pytest

import ratchet
from helpers.autojudge_logs import answer
from helpers.commands import Capsys
from ratchet.base.errors import DataError, InputMissingError, UsageError

LOG = """commit\tval_bpb\tmemory_gb\tstatus\tdescription
a1f3c20\t0.997900\t44.0\tkeep\tbaseline
b2e4d31\t0.993200\t44.2\tkeep\tincrease LR to 0.04
c3d5e42\t1.005000\t44.0\tdiscard\tswitch to GeLU
d4c6f53\t0.000000\t0.0\tcrash\tdouble model width
e5b7a64\t0.992800\t44.2\tkeep\twarm-up of 100 steps
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "results.tsv"
    path.write_text(LOG)
    return path


def test_it_is_what_the_command_says(log: Path, capsys: Capsys) -> None:
    found = ratchet.audit_log(log)
    told = answer(capsys, f"ratchet audit --results {log}")
    assert (found.metric, found.direction) == (told["metric"], told["direction"])
    assert found.noise_sd == told["noise"]["sd"]
    assert (found.expected_true, found.total) == (told["expected_true"], told["total"])
    frame = found.changes.frame()
    assert frame.index.tolist() == [change["index"] for change in told["changes"]] == [1, 4]
    names = {"p_better": "confidence", "p_given_log": "given_log", "gain": "gain", "low": "low"}
    for name, own in names.items():
        assert frame[name].tolist() == [change[own] for change in told["changes"]]


def test_rows_are_the_logs_and_a_crash_has_no_value(log: Path) -> None:
    rows = ratchet.audit_log(log).rows.frame()
    assert rows["status"].tolist() == ["keep", "keep", "discard", "crash", "keep"]
    assert rows["value"].isna().tolist() == [False, False, False, True, False]
    assert rows["description"][2] == "switch to GeLU"
    assert rows["line"].tolist() == [2, 3, 4, 5, 6]


def test_what_the_log_does_not_say_can_be_said(log: Path) -> None:
    assert ratchet.audit_log(log, noise_sd=0.002).noise_source.startswith("stated as 0.002")
    assert ratchet.audit_log(log, metric="memory_gb", direction="minimize").metric == "memory_gb"


def test_mistakes_are_named(log: Path) -> None:
    with pytest.raises(UsageError, match="direction: expected minimize or maximize, found 'up'"):
        ratchet.audit_log(log, direction="up")
    with pytest.raises(UsageError, match="noise_sd: expected a number above 0, found 0"):
        ratchet.audit_log(log, noise_sd=0)
    with pytest.raises(InputMissingError):
        ratchet.audit_log(log.with_name("nothing.tsv"))
    log.write_text("")
    with pytest.raises(DataError):
        ratchet.audit_log(log)
