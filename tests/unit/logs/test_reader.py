"""Logs round trip, arbitrary bytes, run logs, and real logs where they are at hand."""

from __future__ import annotations

import csv

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers import SHARED
from ratchet.base.errors import DataError
from ratchet.base.text import one_line
from ratchet.logs.reader import decode_text, read_run, read_table
from ratchet.logs.table import LogRow, RowStatus, Table
from ratchet.records.records import Direction, Status
from ratchet.records.results_table import TableRow, format_table_row, table_header

CORPUS = SHARED / "corpus"
HEADER = "commit\tval_bpb\tmemory_gb\tstatus\tdescription\n"


def read(text: str | bytes, **options: object) -> Table:
    data = text.encode() if isinstance(text, str) else text
    return read_table(data, "log.tsv", **options)  # type: ignore[arg-type]


# --- what we write is read back whole ------------------------------------------------

own_rows = st.lists(
    st.builds(
        TableRow,
        commit=st.text("0123456789abcdef", min_size=7, max_size=40),
        metric=st.none() | st.floats(-1e6, 1e6).filter(lambda x: abs(x) >= 1e-6),
        memory_mb=st.none() | st.floats(1, 1e6),
        status=st.sampled_from(Status),
        description=st.text(max_size=60),
    ),
    min_size=1,
    max_size=12,
)


@given(own_rows, st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True))
@settings(max_examples=150, deadline=None)
@example([TableRow("abcdef0", None, None, Status.KEEP, '"#\u2028')], "status")
def test_our_own_format_loses_nothing(rows: list[TableRow], metric: str) -> None:
    lines = [table_header(metric), *map(format_table_row, rows)]
    table = read("\n".join(lines) + "\n", direction=Direction.MINIMIZE)
    assert table.metric == metric
    assert table.line_count == len(table.rows) == len(rows)
    for number, (row, found) in enumerate(zip(rows, table.rows, strict=True), 2):
        memory = float(lines[number - 1].split("\t")[2])
        assert found == LogRow(
            line=number,
            commit=row.commit[:7],
            value=None if row.metric is None else float(f"{row.metric:.6f}"),
            memory_gb=memory or None,
            status=RowStatus(row.status.value),
            status_text=row.status.value,
            description=one_line(row.description),
            agent=found.agent,
        )


tables = st.lists(
    st.lists(
        st.sampled_from(
            ["commit", "status", "keep", "0.5", "val_bpb", "", "-", "nan", "#", '"', "{", "x y"]
        )
        | st.text(max_size=5),
        max_size=6,
    ),
    max_size=8,
)


@given(tables, st.sampled_from(["\t", ",", " ", "|", ";", "  "]), st.sampled_from(["\n", "\r\n"]))
@settings(max_examples=400, deadline=None)
def test_no_text_raises_anything_else(rows: list[list[str]], separator: str, end: str) -> None:
    text = end.join(separator.join(row) for row in rows)
    try:
        table = read(text.encode("utf-8", "surrogatepass"))
    except DataError:
        return
    lines = [row.line for row in table.rows] + [p.line for p in table.problems if p.unread]
    assert len(lines) == len(set(lines)) == table.line_count


@given(st.binary(max_size=300), st.sampled_from([b"", HEADER.encode(), b"\xff\xfe", b'{"a":1}\n']))
@settings(max_examples=400, deadline=None)
def test_no_bytes_raise_anything_else(data: bytes, start: bytes) -> None:
    for call in (lambda: read(start + data), lambda: read_run(start + data, "run.log", "val_bpb")):
        try:
            call()
        except DataError as error:
            assert str(error)


# --- run logs ------------------------------------------------------------------------


def run(text: str) -> tuple[float | None, float | None]:
    found = read_run(text.encode(), "run.log", "val_bpb")
    return found.value, found.memory_gb


def test_run_log_summary() -> None:
    assert run("step 1\r\x1b[Kstep 2\n---\nval_bpb:  0.98\npeak_vram_mb: 2048.0\n") == (0.98, 2.0)
    found = read_run("---\nval_bpb: 0.98\n".encode("utf-16"), "run.log", "val_bpb")
    assert found.value == 0.98


def test_run_log_without_summary_block() -> None:
    found = read_run(b"eval: val_bpb=1.2, x\nFINAL: val_bpb=0.9, done\n", "run.log", "val_bpb")
    assert found.value == 0.9
    assert "line 2" in found.assumptions[0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "---\nval_bpb: nan\n",
        "starting\nKilled\n",
        "eval: val_bpb=1.2, x\nTraceback (most recent call last):\nRuntimeError: boom\n",
        "torch.OutOfMemoryError: CUDA out of memory.\n",
    ],
)
def test_run_log_of_a_crash(text: str) -> None:
    found = read_run(text.encode(), "run.log", "val_bpb")
    assert found.value is None
    assert found.evidence


def test_a_run_log_of_another_metric_is_no_crash() -> None:
    with pytest.raises(DataError, match="found val_acc"):
        run("---\nval_acc: 0.5\n")


# --- real logs, where they are at hand -----------------------------------------------


def sessions() -> list[dict[str, str]]:
    listing = CORPUS / "sessions.tsv"
    if not listing.exists():
        return []
    with listing.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


@pytest.mark.skipif(not sessions(), reason="the collection of real logs is not here")
def test_each_collected_log_is_read_whole_or_refused_with_a_reason() -> None:
    for listed in sessions():
        data = (CORPUS / "sessions" / listed["file"]).read_bytes()
        try:
            table = read_table(data, listed["file"])
        except DataError as error:
            assert "line" in str(error) and "column" in str(error)
            continue
        assert table.line_count == int(listed["rows"]), listed["file"]
        assert all(row.line > 0 for row in table.rows)


@pytest.mark.skipif(not sessions(), reason="the collection of real logs is not here")
def test_each_collected_run_log_is_read_or_refused() -> None:
    with (CORPUS / "runlogs.tsv").open(newline="", encoding="utf-8") as file:
        listed = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    for entry in listed:
        data = (CORPUS / "runlogs" / entry["file"]).read_bytes()
        _, _, expected = entry["metrics_found"].partition("val_bpb=")
        try:
            found = read_run(data, entry["file"], "val_bpb")
        except DataError:
            assert not expected
            continue
        if expected:
            assert found.value == float(expected.split(";")[0]), entry["file"]


def test_decoding_names_the_place_of_a_zero_byte() -> None:
    with pytest.raises(DataError, match="line 2, character 3"):
        decode_text(b"abc\nde\x00f and a long tail of text", "x")
