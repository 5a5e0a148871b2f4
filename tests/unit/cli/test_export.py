"""``ratchet export`` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers.autojudge_logs import call, printed
from helpers.commands import Capsys
from helpers.trials import history, trial
from ratchet.cli.export import exported_experiment
from ratchet.records.records import Verdict

LOG = (
    "commit\tval_bpb\tmemory_gb\tmfu\tstatus\tdescription\n"
    "a1\t0.99\t44.0\t39.8\tkeep\tbaseline\n"
    "b2\t\t\t\tcrash\tOOM\x1b[2J\n"
    "c3\t0.98\t44.1\t40\tkeep\twider\n"
)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.tsv"
    path.write_text(LOG)
    return path


def test_a_log_goes_to_standard_output(log: Path, capsys: Capsys) -> None:
    out, err = printed(capsys, "ratchet export --results", log, "--to", "results.tsv")
    assert out.splitlines()[1:] == [
        "a1\t0.990000\t44.0\tkeep\tbaseline",
        "b2\t0.000000\t0.0\tcrash\tOOM",
        "c3\t0.980000\t44.1\tkeep\twider",
    ]
    assert "left out: 1 columns that results.tsv does not have (log.mfu)" in err
    out, _ = printed(capsys, "ratchet export --to json --results", log)
    assert len(json.loads(out)["experiments"]) == 3


def test_a_file_is_written_once(log: Path, tmp_path: Path, capsys: Capsys) -> None:
    made = tmp_path / "new" / "made.csv"
    assert call("ratchet export --results", log, "--to", "csv", "-o", made) == 0
    assert made.read_text().splitlines()[1].startswith("1,2,a1,0.99,44.0,keep,")
    before = made.read_bytes()
    assert call("ratchet export --results", log, "--to", "json", "-o", made) == 74
    assert "exists already" in capsys.readouterr().err
    assert call("ratchet export --results", log, "--to", "json", "-o", log) == 74
    assert (made.read_bytes(), log.read_text()) == (before, LOG)
    assert call("ratchet export --results", log, "--to", "json", "-o", log / "x") == 74


def test_an_experiment_of_a_session_keeps_everything() -> None:
    made = trial(1, "data", "wider", Verdict.MARGINAL, mean=0.25, gain=0.5, memory_mb=512.0)
    entry = exported_experiment(made)
    assert (entry.value, entry.memory_gb, entry.status) == (0.25, 0.5, "discard")
    assert (entry.commit, entry.number) == ("commit 1", 1)
    assert entry.fields["gain"] == 0.5
    assert entry.fields["price"] is None
    assert entry.fields["verdict"] == "MARGINAL"
    assert entry.fields["runs"][0]["seed"] == 1
    assert json.loads(json.dumps(entry.fields)) == entry.fields


def test_verdicts_are_the_words_of_results_tsv() -> None:
    words = {v: exported_experiment(trial(1, verdict=v)).status for v in Verdict}
    failed = {Verdict.CRASH, Verdict.TAMPERED}
    assert {v for v, status in words.items() if status == "crash"} == failed
    keeps = {v for v, status in words.items() if status == "keep"}
    assert keeps == {Verdict.KEEP, Verdict.STRONG_KEEP}
    crashed = exported_experiment(trial(1, verdict=Verdict.CRASH))
    assert crashed.value is None and crashed.memory_gb is None
    entry = exported_experiment(history(baseline=(3.0, 5.0)).start)
    assert (entry.number, entry.value, entry.status) == (0, 4.0, "keep")
    assert (entry.fields["verdict"], entry.fields["proposer"]) == ("BASELINE", "")
    assert len(entry.fields["runs"]) == 2
