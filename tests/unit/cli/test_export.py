"""``ratchet export`` on the command line."""

import csv
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.autojudge_logs import CORPUS, HEADER, REFERENCE, call, needs_logs, printed
from helpers.commands import Capsys, Patch
from helpers.trials import history, trial
from ratchet.base.errors import DataError
from ratchet.base.structs import replace, to_json_values
from ratchet.base.text import one_line
from ratchet.cli import export
from ratchet.cli.export import (
    SHEET_FORMATS,
    ExportedExperiment,
    Sheet,
    exported_experiment,
    sheet_of,
    to_csv,
    to_json,
    to_results_tsv,
)
from ratchet.logs.reader import read_table
from ratchet.records.records import Direction, Verdict
from ratchet.trackers import tracker
from ratchet.trackers.tracked import TrackedRun

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
    assert made.read_text().splitlines()[1].startswith("0,2,a1,0.99,44.0,keep,")
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
    failed = {Verdict.CRASH, Verdict.TAMPERED, Verdict.GUARD_FAILED}
    assert {v for v, status in words.items() if status == "crash"} == failed
    keeps = {v for v, status in words.items() if status == "keep"}
    assert keeps == {Verdict.KEEP, Verdict.STRONG_KEEP}
    crashed = exported_experiment(trial(1, verdict=Verdict.CRASH))
    assert crashed.value is None and crashed.memory_gb is None
    entry = exported_experiment(history(baseline=(3.0, 5.0)).start)
    assert (entry.number, entry.value, entry.status) == (0, 4.0, "keep")
    assert (entry.fields["verdict"], entry.fields["proposer"]) == ("BASELINE", "")
    assert len(entry.fields["runs"]) == 2


class Sent:
    """Stands in for a tracker and writes down what it is told."""

    runs: dict[str, TrackedRun]

    def __init__(self, project: str, group: str) -> None:
        Sent.about = project, group

    def send(self, run: TrackedRun) -> None:
        Sent.runs[run.id] = run

    def close(self) -> None: ...


@pytest.fixture
def sent(monkeypatch: Patch) -> dict[str, TrackedRun]:
    """Runs that a tracker got, by id."""
    Sent.runs = {}
    monkeypatch.setattr(tracker, "tracker_module", lambda name: SimpleNamespace(Tracker=Sent))
    monkeypatch.setattr(export, "require_tracker", lambda name: None)
    return Sent.runs


def test_a_tracker_gets_a_run_for_each_row_once(
    sent: dict[str, TrackedRun], log: Path, capsys: Capsys
) -> None:
    for _ in range(2):
        assert call("ratchet export --results", log, "--to", "wandb") == 0
        assert "sent 3 runs to wandb" in capsys.readouterr().err
    first, crashed, last = sent.values()
    assert Sent.about[0] == "ratchet-log"
    assert first.summary == {"val_bpb": 0.99, "memory_gb": 44.0, "status": "keep"}
    assert (first.config["commit"], first.config["log.mfu"]) == ("a1", "39.8")
    assert crashed.summary == {"status": "crash"} and crashed.failed and not last.failed
    assert "\x1b" not in str(crashed)


def test_a_tracker_writes_into_a_new_folder_alone(
    sent: dict[str, TrackedRun], log: Path, tmp_path: Path, monkeypatch: Patch, capsys: Capsys
) -> None:
    for name in ("WANDB_MODE", "WANDB_DIR"):  # what is set is undone afterwards
        monkeypatch.setenv(name, "")
    out = tmp_path / "out"
    assert call("ratchet export --results", log, "--to", "wandb", "-o", out) == 0
    assert (os.environ["WANDB_MODE"], os.environ["WANDB_DIR"]) == ("offline", str(out))
    assert call("ratchet export --results", log, "--to", "wandb", "-o", out) == 74
    assert "exists already" in capsys.readouterr().err and len(sent) == 3


def test_a_tracker_that_fails_is_an_error_of_the_command(
    sent: dict[str, TrackedRun], log: Path, monkeypatch: Patch, capsys: Capsys
) -> None:
    def fail(self: Sent, run: TrackedRun) -> None:
        raise RuntimeError("no such\nproject")

    monkeypatch.setattr(Sent, "send", fail)
    assert call("ratchet export --results", log, "--to", "mlflow") == 74
    assert "--to mlflow: RuntimeError: no such project" in capsys.readouterr().err


def of(text: str) -> Sheet:
    data = text.encode()
    return sheet_of(read_table(data, "log.tsv", direction=Direction.MINIMIZE), data, "log.tsv")


entries = st.builds(
    ExportedExperiment,
    number=st.just(0),
    line=st.none(),
    commit=st.text("0123456789abcdef", min_size=7, max_size=39),
    value=st.none() | st.floats(-1e12, 1e12).filter(bool),
    memory_gb=st.none() | st.floats(1e-6, 1e4),
    status=st.sampled_from(["keep", "discard", "crash"]),
    description=st.text(max_size=40).map(one_line),
)
sheets = st.builds(
    lambda metric, found: Sheet(
        "s", metric, "minimize", tuple(replace(e, number=n) for n, e in found)
    ),
    st.sampled_from(["val_bpb", "val_loss", "rmse"]),
    st.lists(entries, min_size=1, max_size=8).map(enumerate).map(list),
)
fields = st.dictionaries(
    st.sampled_from(["mfu", "a,b", 'c"d', "runs"]),
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
)


@given(sheets)
@settings(max_examples=60, deadline=None)
def test_results_tsv_is_read_back_whole(sheet: Sheet) -> None:
    text = to_results_tsv(sheet).text
    lines = text.splitlines()
    assert all(len(line.split("\t")) == 5 for line in lines)
    found = of(text)
    assert found.metric == sheet.metric
    kept = ("commit", "value", "memory_gb", "status", "description")
    assert [[getattr(e, name) for name in kept] for e in found.entries] == [
        [getattr(e, name) for name in kept] for e in sheet.entries
    ]


@given(sheets, st.lists(fields, min_size=8, max_size=8))
@settings(max_examples=60, deadline=None)
def test_csv_holds_every_value(sheet: Sheet, more: list[dict[str, Any]]) -> None:
    pairs = zip(sheet.entries, more, strict=False)
    filled = tuple(replace(entry, fields=extra) for entry, extra in pairs)
    text = to_csv(replace(sheet, entries=filled)).text
    rows = list(csv.DictReader(text.split("\n")[:-1]))
    assert len(rows) == len(filled)
    for entry, row in zip(filled, rows, strict=True):
        assert row[sheet.metric] == ("" if entry.value is None else repr(entry.value))
        assert row["memory_gb"] == ("" if entry.memory_gb is None else repr(entry.memory_gb))
        assert (row["commit"], row["description"]) == (entry.commit, entry.description)
        for name, value in entry.fields.items():
            if value is None:
                assert row[name] == ""
            elif isinstance(value, bool):
                assert row[name] == str(value).lower()
            elif isinstance(value, float):
                assert float(row[name]) == value
            else:
                assert row[name] == one_line(str(value))


@given(sheets)
@settings(max_examples=60, deadline=None)
def test_json_is_the_sheet(sheet: Sheet) -> None:
    found = json.loads(to_json(sheet).text)
    assert found["experiments"] == [to_json_values(entry) for entry in sheet.entries]
    assert (found["session"], found["metric"]) == (sheet.name, sheet.metric)


def test_a_missing_value_is_empty_but_in_results_tsv() -> None:
    sheet = of(HEADER + 'a1\t0.9\t44.0\tkeep\tbase, "quoted"\nb2\t0.000000\t0.0\tcrash\toom\n')
    crashed = sheet.entries[1]
    assert crashed.value is None and crashed.memory_gb is None
    assert to_results_tsv(sheet).text.splitlines()[2] == "b2\t0.000000\t0.0\tcrash\toom"
    row = list(csv.DictReader(to_csv(sheet).text.splitlines()))[1]
    assert row["val_bpb"] == row["memory_gb"] == row["agent"] == ""
    assert json.loads(to_json(sheet).text)["experiments"][1]["value"] is None
    found = of(to_csv(sheet).text).entries  # a CSV can be imported again
    assert [(e.value, e.status) for e in found] == [(0.9, "keep"), (None, "crash")]
    assert found[0].description == 'base, "quoted"'
    # A true zero is no missing value.
    zero = of("commit\tval_acc\tmemory_gb\tstatus\tdescription\na\t0.0\t1.0\tkeep\tbase\n")
    assert zero.entries[0].value == of(to_results_tsv(zero).text).entries[0].value == 0


def test_values_keep_their_digits_and_hashes_are_short() -> None:
    full = "0123456789abcdef0123456789abcdef01234567"
    entry = ExportedExperiment(1, None, full, 0.12345678901, 0.0512, "keep", "x")
    text = to_results_tsv(Sheet("s", "loss", "minimize", (entry,))).text
    assert text.splitlines()[1] == "0123456\t0.12345678901\t0.0512\tkeep\tx"
    assert full in to_csv(Sheet("s", "loss", "minimize", (entry,))).text


def test_what_five_columns_cannot_hold_is_told() -> None:
    text = "run\tloss\tmfu\tstatus\tagent\tdescription\n"
    text += "1\t0.9\t40\tbaseline\tx\ta\n2\t\t\tpending\ty\tb\n3\t0.8\t41\tmaybe?\tx\tc\n"
    made = to_results_tsv(of(text))
    lines = made.text.splitlines()
    assert lines[1:] == [
        "1\t0.900000\t0.0\tkeep\ta",
        "2\t0.000000\t0.0\tpending\tb",
        "3\t0.800000\t0.0\tpending\tc",
    ]
    said = "\n".join(made.left_out)
    assert "line 4, column 4: expected a status" in said
    assert "log.mfu" in said and "agent" in said
    assert "2 rows have the status 'pending'" in said


def test_every_cell_of_a_log_is_a_field() -> None:
    sheet = of("loss\t\tmfu\tmfu\tstatus\n0.9\tz\t4\t5\tkeep\n")
    cells = {"loss": "0.9", "column 2": "z", "mfu": "4", "mfu (4)": "5", "status": "keep"}
    assert sheet.entries[0].fields == {f"log.{name}": cell for name, cell in cells.items()}
    long = of("run\tloss\tstatus\n1\t0.9\tkeep\tmore\teven more\n").entries[0].fields
    assert (long["log.column 4"], long["log.column 5"]) == ("more", "even more")


def test_json_lines_keep_their_nested_values() -> None:
    nested = {"a": [1, {"b": "x\x1b[2J"}]}
    line = {"run": 1, "loss": 0.5, "status": "keep", "asi": nested, "n": None}
    sheet = of(json.dumps(line) + "\n" + json.dumps({**line, "x": float("nan")}) + "\n")
    assert sheet.entries[0].fields["log.asi"] == {"a": [1, {"b": "x [2J"}]}
    assert sheet.entries[0].fields["log.n"] is None
    assert sheet.entries[1].fields["log.x"] == "nan"
    row, _ = csv.DictReader(to_csv(sheet).text.splitlines())
    assert json.loads(row["log.asi"]) == {"a": [1, {"b": "x [2J"}]}


@needs_logs
def test_the_reference_session_is_written_as_it_was() -> None:
    data = REFERENCE.read_bytes()
    made = to_results_tsv(sheet_of(read_table(data, "log"), data, "log"))
    assert made.text.encode() == data
    assert made.left_out == ()


def listed() -> dict[str, int]:
    """The collected logs with the number of their rows."""
    if not REFERENCE.exists():
        return {}
    with (CORPUS / "sessions.tsv").open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return {row["file"]: int(row["rows"]) for row in rows}


def numbers(fields: Any) -> set[float]:
    """All numbers that stand in a row's cells, and megabytes as gigabytes."""
    if isinstance(fields, dict):
        return set().union(*map(numbers, fields.values()))
    try:
        value = float(str(fields).strip("%*` ").replace(",", "").removesuffix("GB"))
    except ValueError:
        return set()
    return {value, value / 1024}


@pytest.mark.parametrize(("file", "rows"), listed().items())
def test_each_collected_log_is_imported_whole(file: str, rows: int) -> None:
    """Every row is there or named with line and column; no value is dropped or invented."""
    data = (CORPUS / "sessions" / file).read_bytes()
    try:
        table = read_table(data, file)
    except DataError as error:
        assert "line" in str(error) and "column" in str(error)
        return
    sheet = sheet_of(table, data, file)
    unread = [problem for problem in table.problems if problem.unread]
    assert len(sheet.entries) + len(unread) == rows == table.line_count
    assert all(problem.line > 0 and problem.column > 0 for problem in table.problems)
    noted = {problem.line for problem in table.problems}
    for entry in sheet.entries:
        assert entry.fields, f"line {entry.line} has lost its cells"
        known = numbers(dict(entry.fields))
        assert {entry.value, entry.memory_gb} - {None} <= known, f"line {entry.line}"
        cell = entry.fields.get(f"log.{table.metric}", entry.fields.get("log.metric"))
        if entry.value is None and entry.line not in noted:
            # No number, or a zero that is told to be none.
            told = any("0 were not kept" in note for note in table.assumptions)
            zero = numbers(cell) == {0.0}
            status = entry.status in ("crash", "note")
            own = cell == "0.000000"
            assert not numbers(cell) or (zero and (told or status or own)), f"line {entry.line}"
    for name in SHEET_FORMATS:
        made = SHEET_FORMATS[name](sheet)
        assert all(any(str(p) in note for note in made.left_out) for p in unread) or name == "json"
    assert len(to_results_tsv(sheet).text.splitlines()) == 1 + len(sheet.entries)
    assert len(list(csv.reader(to_csv(sheet).text.splitlines()))) == 1 + len(sheet.entries)
    whole = json.loads(to_json(sheet).text)
    assert [e["value"] for e in whole["experiments"]] == [row.value for row in table.rows]
    assert whole["problems"] == [str(problem) for problem in table.problems]
