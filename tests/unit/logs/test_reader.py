"""Reading logs of other people: dialects, what is assumed, what is refused, and run logs."""

import csv
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers.autojudge_logs import CORPUS, HEADER, PACKAGES
from ratchet.base.errors import DataError
from ratchet.base.text import one_line
from ratchet.logs.reader import read_run, read_table
from ratchet.logs.table import LogRow, RowStatus, Table
from ratchet.records.records import Direction, Status
from ratchet.records.results_table import TableRow, format_table_row, table_header


def read(text: str | bytes, **options: Any) -> Table:
    return read_table(text.encode() if isinstance(text, str) else text, "log.tsv", **options)


def assumed(table: Table, text: str) -> bool:
    return any(text in said for said in table.assumptions)


def test_reading_and_analysing_a_log_loads_no_session() -> None:
    heavy = ("ratchet.session", "ratchet.task.repository", "ratchet.base.git", "scipy")
    light = f"import sys, ratchet.logs.analysis; assert not set({heavy}) & set(sys.modules)"
    quick = "import sys, ratchet.cli.autojudge; assert 'numpy' not in sys.modules"
    for code in (light, quick):
        done = subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONPATH": str(PACKAGES)}, check=False
        )
        assert done.returncode == 0, code


def three(separator: str, end: str = "\n") -> str:
    rows = (
        ("commit", "val_bpb", "memory_gb", "status", "description"),
        ("a1b2c3d", "0.9979", "44.0", "keep", "baseline"),
        ("b2c3d4e", "0.9921", "44.1", "keep", "wider"),
        ("c3d4e5f", "1.0020", "60.2", "discard", "deeper"),
    )
    return "".join(separator.join(row) + end for row in rows)


def test_rows_of_two_widths() -> None:
    rows = ["a\t3.2\tkeep\tbase", "b\t3.1\tkeep\twider", "c\t3.3\tdiscard\tdeeper"]
    other = [f"d{n}\t3.0\t44\tkeep\tx" for n in range(4)]
    table = read("\n".join(["commit\tval_loss\tstatus\tdescription", *rows, *other]))
    assert [row.commit for row in table.rows] == ["a", "b", "c"]
    assert [problem.line for problem in table.problems if problem.unread] == [5, 6, 7, 8]
    again = ["commit\tval_loss\tmemory_gb\tstatus\tdescription", *other]
    table = read("\n".join(["commit\tval_loss\tstatus\tdescription", *rows, *again]))
    assert [row.value for row in table.rows] == [3.2, 3.1, 3.3, 3.0, 3.0, 3.0, 3.0]
    assert not table.problems


def test_a_file_states_its_direction() -> None:
    table = read("# metric_direction: higher_is_better\nrun\tmetric\tstatus\n1\t2\tkeep\n")
    assert (table.metric, table.direction) == ("metric", Direction.MAXIMIZE)


@pytest.mark.parametrize("separator", ["\t", ",", ";", " | ", "   ", " "])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\r\r\n"])
def test_separators_and_line_ends(separator: str, end: str) -> None:
    table = read(three(separator, end))
    assert [(r.line, r.value, r.memory_gb, r.status, r.description) for r in table.rows] == [
        (2, 0.9979, 44.0, "keep", "baseline"),
        (3, 0.9921, 44.1, "keep", "wider"),
        (4, 1.002, 60.2, "discard", "deeper"),
    ]
    assert (table.metric, table.direction, table.problems) == ("val_bpb", "minimize", ())


def test_ruled_tables_commented_headers_and_rows_that_look_like_comments() -> None:
    table = read("| commit | val_loss | status |\n|---|---:|:--|\n| a1 | 3.2 | **keep** |\n")
    assert [(row.value, row.status) for row in table.rows] == [(3.2, RowStatus.KEEP)]
    table = read("# my runs\n" + HEADER + "\n#7\t0.99\t44\tkeep\tx\n# note\n")
    assert [(row.line, row.commit) for row in table.rows] == [(4, "#7")]
    assert assumed(table, "2 comment lines")
    table = read("step loss kept\n---- ---- ----\n1 0.9 True\n2 0.8 no\n")
    assert [row.status for row in table.rows] == [RowStatus.KEEP, RowStatus.DISCARD]
    rows = [f"c{n}\t{1 - n / 100}\t44\tkeep\tx" for n in range(7)]
    table = read("\n".join(rows))
    assert (table.metric, table.direction, len(table.rows)) == ("metric", "minimize", 7)
    assert assumed(table, "there is no header")
    assert read(rows[0], metric="val_acc").direction == "maximize"
    table = read("# " + HEADER + "a1\t0.99\t44\tkeep\tx\n")
    assert (table.metric, table.rows[0].memory_gb) == ("val_bpb", 44.0)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_encodings(encoding: str) -> None:
    table = read(three("\t").replace("wider", "wíder").encode(encoding))
    assert table.rows[1].description == "wíder"


def test_latin_1_and_colours_are_assumptions() -> None:
    table = read(three("\t").replace("wider", "w\xedder \x1b[31mred\x1b[0m").encode("latin-1"))
    assert table.rows[1].description == "wíder red"
    assert assumed(table, "Latin-1") and assumed(table, "colours")


ALIGNED = """commit    val_bpb   memory_gb  status    description
a1b2c3d   0.9979    44.0       keep      the baseline run
b2c3d4e   0.9921    44.1       discard   wider  by half
All 2 experiments are complete, see above.
"""
QUOTED = 'commit,acc,status,description\na1,0.91,keep,"wider, ""much"" wider"\n'
SURPLUS = "commit,val_loss,status,description\na1,3.2,keep,wider, deeper, slower\n"
JSON_LINES = """{"type":"config","name":"x","metricName":"fps_drop","bestDirection":"lower"}
{"run":1,"metric":10,"metrics":{"memory_mb":2048},"status":"keep","description":"b"}
{"run":2,"metric":null,"status":"checks_failed","description":"c"}
[1, 2]
{"run":3,"metric":9.5,"status":"discard","descr"""
COMMENTED = "# my runs\n" + HEADER + "\n7\t0.99\t44\tkeep\tx\n# note\n" + HEADER
FLAGS = "run,acc,kept\n1,0.5,True\n2,0.4,False\n3,0.6,yes\n"
VERDICTS = "run\tpnl\tverdict\n0\t5\tBASELINE\n1\t4\tREJECT\n2\tN/A\tSKIPPED\n"
NAMED = "run\tmetric\tvalue\tstatus\n1\tacc\t0.5\tkeep\n2\tacc\t0.6\tkeep\n3\tms\t7\tkeep\n"
AGENTS = "a\t1\t1\tkeep\tgpu0: base\nb\t2\t1\tdiscard\tagent1: x\nc\t2\t1\tdiscard\tagent2: y\n"
BAD_ROWS = "a\t0.9\t1\tkeep\tb\nb\tsee\t1\tbanana\tx\nc\t0.7\nd\t0.6\t1\tkeep\n"


@pytest.mark.parametrize(
    ("text", "field", "values", "metric", "places", "said"),
    [
        (ALIGNED, "description", ["the baseline run", "wider  by half"], "val_bpb", [(4, 4)], ""),
        (QUOTED, "description", ['wider, "much" wider'], "acc", [], ""),
        (SURPLUS, "description", ["wider,deeper,slower"], "val_loss", [], "joined the description"),
        (JSON_LINES, "status", ["note", "keep", "crash"], "fps_drop", [(4, 1), (5, 1)], ""),
        (JSON_LINES, "value", [None, 10.0, None], "fps_drop", [(4, 1), (5, 1)], ""),
        (JSON_LINES, "memory_gb", [None, 2.0, None], "fps_drop", [(4, 1), (5, 1)], ""),
        (COMMENTED, "commit", ["7"], "val_bpb", [], "2 comment lines"),
        (COMMENTED, "line", [4], "val_bpb", [], "1 repetitions"),
        (FLAGS, "status", ["keep", "discard", "keep"], "acc", [], ""),
        (VERDICTS, "status", ["baseline", "discard", "note"], "pnl", [], ""),
        (NAMED, "value", [0.5, 0.6, None], "acc", [], ""),
        (NAMED, "status", ["keep", "keep", "note"], "acc", [], ""),
        (HEADER + AGENTS, "agent", ["gpu0", "agent1", "agent2"], "val_bpb", [], "3 agents"),
        (HEADER + BAD_ROWS, "commit", ["a", "d"], "val_bpb", [(3, 4), (4, 2)], ""),
    ],
)
def test_dialects(
    text: str, field: str, values: list[Any], metric: str, places: list[Any], said: str
) -> None:
    table = read(text)
    assert [getattr(row, field) for row in table.rows] == values
    assert table.metric == metric
    assert table.direction == ("maximize" if metric in ("acc", "pnl") else "minimize")
    unread = [problem for problem in table.problems if problem.unread]
    assert [(problem.line, problem.column) for problem in unread] == places
    assert table.line_count == len(values) + len(places)
    assert assumed(table, said) or not said


@pytest.mark.parametrize(
    "marker", ["", "-", "nan", "inf", "-inf", "DIVERGED", "N/A", "OOM", "none", "0.000000"]
)
def test_crash_markers(marker: str) -> None:
    table = read(HEADER + f"a\t0.9\t1\tkeep\tb\nb\t{marker}\t0.0\tcrash\tx\n")
    assert table.rows[1].value is None and table.rows[1].memory_gb is None
    assert not table.problems


@pytest.mark.parametrize("cell", ["0.11d", "1,234", "1_000", "0x1p3", "1e999", "٣", "0.9 ± 0.1"])
def test_a_number_is_never_guessed(cell: str) -> None:
    table = read(HEADER + f"a\t0.9\t1\tkeep\tb\nb\t{cell}\t1\tdiscard\tx\n")
    assert table.rows[1].value is None
    (problem,) = table.problems
    assert (problem.line, problem.column, problem.unread) == (3, 2, False)


@pytest.mark.parametrize(
    ("metric", "status", "values"),
    [
        ("err", "keep", [0.5, 0.0, 0.0]),
        ("err", "discard", [0.5, None, None]),
        ("acc", "discard", [0.5, 0.0, 0.0]),
    ],
)
def test_a_zero_is_a_metric_where_zeros_are_kept_or_higher_is_better(
    metric: str, status: str, values: list[float | None]
) -> None:
    rows = f"a\t0.5\tkeep\nb\t0.0\t{status}\nc\t0.0\tdiscard\n"
    table = read(f"commit\t{metric}\tstatus\n{rows}")
    assert [row.value for row in table.rows] == values
    assert assumed(table, "metric of 0") == (None in values)


def test_texts_cannot_reach_the_terminal() -> None:
    table = read(HEADER + "a\x07b\t0.9\t1\tke\x1b[2Jep\tgo\u202eod\x9b31m\n")
    assert table.rows[0].status is RowStatus.KEEP
    for text in (table.rows[0].commit, table.rows[0].description, table.rows[0].status_text):
        assert text == one_line(text)


def test_metric_is_chosen_by_name_or_by_the_user() -> None:
    text = "step,train_loss,val_acc,status\n1,3.0,0.5,keep\n2,2.9,0.4,discard\n"
    table = read(text)
    assert (table.metric, table.direction) == ("val_acc", Direction.MAXIMIZE)
    chosen = read(text, metric="TRAIN_LOSS")
    assert (chosen.metric, chosen.direction) == ("train_loss", Direction.MINIMIZE)
    with pytest.raises(DataError, match="expected a column 'bleu'"):
        read(text, metric="bleu")


def test_direction_of_an_unknown_metric_is_asked_for() -> None:
    rows = "a\t1\tkeep\nb\t2\tkeep\nc\t3\tkeep\n"
    with pytest.raises(DataError, match=r"'glork' does not say which way .* --direction minimize"):
        read("commit\tglork\tstatus\n" + rows)
    known = read("commit\tglork\tstatus\n" + rows, direction=Direction.MAXIMIZE)
    assert known.direction is Direction.MAXIMIZE
    with pytest.raises(DataError, match=r"says minimize, yet .* the other way .* --direction"):
        read("commit\tval_loss\tstatus\n" + rows)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"\n \r\n", "empty"),
        (b"\xef\xbb\xbf", "empty"),
        (HEADER.encode(), "below the header"),
        (b"# only\n# comments\n", "only comments"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "binary"),
        (b"abc\nde\x00f and a long tail of text", "line 2, character 3"),
        (b"a1b2c3d,0.9979,44.0,keep,baseline\n", "1, column 1: expected a header .* write one"),
        (b"a1b2c3d\t0.9979\t44.0\tkeep\tbaseline\n", "'metric' does not say .* --direction"),
        (b"commit,status\na,keep\n", "column of numbers"),
        (b"run,pnl,chosen\n0,5,apple\n1,4,pear\n", "column that says what was kept"),
        (b"dear diary,\ntoday I trained\n", "expected a header"),
        (b"[" * 100_000, "expected a header"),
        (b'{"a":' * 100_000, "JSON object"),
    ],
)
def test_what_is_no_log_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read(data)
    assert "log.tsv" in str(caught.value)


def test_a_line_of_a_megabyte() -> None:
    table = read(HEADER + "a\t0.9\t1\tkeep\t" + "x" * 2**20 + "\n")
    assert len(table.rows[0].description) == 2**20


cells = st.sampled_from(
    ["commit", "status", "keep", "0.5", "val_bpb", "", "-", "nan", "#", '"', "{", "x y"]
) | st.text(max_size=5)
tables = st.lists(st.lists(cells, max_size=6), max_size=8)


@given(tables, st.sampled_from(["\t", ",", " ", "|", ";", "  "]), st.sampled_from(["\n", "\r\n"]))
@settings(max_examples=250, deadline=None)
def test_no_text_raises_anything_else(rows: list[list[str]], separator: str, end: str) -> None:
    text = end.join(separator.join(row) for row in rows)
    try:
        table = read(text.encode("utf-8", "surrogatepass"))
    except DataError:
        return
    lines = [row.line for row in table.rows] + [p.line for p in table.problems if p.unread]
    assert len(lines) == len(set(lines)) == table.line_count


@given(st.binary(max_size=300), st.sampled_from([b"", HEADER.encode(), b"\xff\xfe", b'{"a":1}\n']))
@settings(max_examples=250, deadline=None)
def test_no_bytes_raise_anything_else(data: bytes, start: bytes) -> None:
    for call in (lambda: read(start + data), lambda: read_run(start + data, "run.log", "val_bpb")):
        try:
            call()
        except DataError as error:
            assert str(error)


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
        assert found == LogRow(
            line=number,
            commit=row.commit[:7],
            value=None if row.metric is None else float(f"{row.metric:.6f}"),
            memory_gb=float(lines[number - 1].split("\t")[2]) or None,
            status=RowStatus(row.status.value),
            status_text=row.status.value,
            description=one_line(row.description),
            agent=found.agent,
        )


def test_run_log_with_and_without_summary() -> None:
    text = "step 1\r\x1b[Kstep 2\n---\nval_bpb:  0.98\npeak_vram_mb: 2048.0\n"
    for data in (text.encode(), text.encode("utf-16")):
        found = read_run(data, "run.log", "val_bpb")
        assert (found.value, found.memory_gb) == (0.98, 2.0)
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
        read_run(b"---\nval_acc: 0.5\n", "run.log", "val_bpb")


def test_the_best_so_far_is_not_this_run() -> None:
    text = b"epoch 3 | val_bpb: 1.2\nBest val_bpb: 0.98\n"
    assert read_run(text, "run.log", "val_bpb").value == 1.2
    with pytest.raises(DataError, match=r"found 'Best so far: val_bpb: 0\.98'"):
        read_run(b"Best so far: val_bpb: 0.98\n", "run.log", "val_bpb")


@pytest.mark.skipif(not CORPUS.exists(), reason="the collection of real logs is not here")
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
