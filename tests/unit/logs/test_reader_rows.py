"""Reading logs of other people: dialects, what is assumed, what is refused."""

from __future__ import annotations

import pytest

from helpers import SHARED
from ratchet.base.errors import DataError
from ratchet.base.text import one_line
from ratchet.logs.columns import direction_of, memory_of, number_of, status_of
from ratchet.logs.experiments import incumbent_runs
from ratchet.logs.reader import read_table
from ratchet.logs.table import RowStatus, Table
from ratchet.records.records import Direction

CORPUS = SHARED / "corpus"
HEADER = "commit\tval_bpb\tmemory_gb\tstatus\tdescription\n"


def read(text: str | bytes, **options: object) -> Table:
    data = text.encode() if isinstance(text, str) else text
    return read_table(data, "log.tsv", **options)  # type: ignore[arg-type]


def three(separator: str, end: str = "\n") -> str:
    rows = (
        ("commit", "val_bpb", "memory_gb", "status", "description"),
        ("a1b2c3d", "0.9979", "44.0", "keep", "baseline"),
        ("b2c3d4e", "0.9921", "44.1", "keep", "wider"),
        ("c3d4e5f", "1.0020", "60.2", "discard", "deeper"),
    )
    return "".join(separator.join(row) + end for row in rows)


@pytest.mark.parametrize("separator", ["\t", ",", ";", " | ", "   ", " "])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\r\r\n"])
def test_separators_and_line_ends(separator: str, end: str) -> None:
    table = read(three(separator, end))
    assert [row.value for row in table.rows] == [0.9979, 0.9921, 1.002]
    assert [row.memory_gb for row in table.rows] == [44.0, 44.1, 60.2]
    assert [row.status.value for row in table.rows] == ["keep", "keep", "discard"]
    assert [row.description for row in table.rows] == ["baseline", "wider", "deeper"]
    assert [row.line for row in table.rows] == [2, 3, 4]
    assert (table.metric, table.direction) == ("val_bpb", Direction.MINIMIZE)
    assert not table.problems


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_encodings(encoding: str) -> None:
    table = read(three("\t").replace("wider", "wíder").encode(encoding))
    assert table.rows[1].description == "wíder"


def test_latin_1_and_colours_are_assumptions() -> None:
    text = three("\t").replace("wider", "w\xedder \x1b[31mred\x1b[0m")
    table = read(text.encode("latin-1"))
    assert table.rows[1].description == "wíder red"
    assert any("Latin-1" in said for said in table.assumptions)
    assert any("colours" in said for said in table.assumptions)


def test_aligned_columns_with_spaces_in_cells() -> None:
    table = read(
        "commit    val_bpb   memory_gb  status    description\n"
        "a1b2c3d   0.9979    44.0       keep      the baseline run\n"
        "b2c3d4e   0.9921    44.1       discard   wider  by half\n"
        "All 2 experiments are complete, see above.\n"
    )
    assert [row.description for row in table.rows] == ["the baseline run", "wider  by half"]
    (problem,) = table.problems
    assert (problem.line, problem.column, problem.unread) == (4, 4, True)
    assert table.line_count == 3


def test_piped_table() -> None:
    table = read("| commit | val_loss | status |\n|---|---:|:--|\n| a1 | 3.2 | **keep** |\n")
    assert (table.rows[0].value, table.rows[0].status) == (3.2, RowStatus.KEEP)


def test_quoted_commas() -> None:
    table = read('commit,acc,status,description\na1,0.91,keep,"wider, ""much"" wider"\n')
    assert table.rows[0].description == 'wider, "much" wider'
    assert table.direction is Direction.MAXIMIZE


def test_surplus_cells_join_the_description() -> None:
    table = read("commit,val_loss,status,description\na1,3.2,keep,wider, deeper, slower\n")
    assert table.rows[0].description == "wider,deeper,slower"
    assert any("joined the description" in said for said in table.assumptions)


def test_json_lines() -> None:
    table = read(
        '{"type":"config","name":"x","metricName":"fps_drop","bestDirection":"lower"}\n'
        '{"run":1,"metric":10,"metrics":{"memory_mb":2048},"status":"keep","description":"b"}\n'
        '{"run":2,"metric":null,"status":"checks_failed","description":"c"}\n'
        "[1, 2]\n"
        '{"run":3,"metric":9.5,"status":"discard","descr'
    )
    assert (table.metric, table.direction) == ("fps_drop", Direction.MINIMIZE)
    assert [row.status.value for row in table.rows] == ["note", "keep", "crash"]
    assert (table.rows[1].value, table.rows[1].memory_gb) == (10.0, 2.0)
    assert [problem.line for problem in table.problems] == [4, 5]


def test_a_table_without_header_is_refused() -> None:
    with pytest.raises(DataError, match=r"line 1, column 1: expected a header .* write one above"):
        read("a1b2c3d\t0.9979\t44.0\tkeep\tbaseline\nb2c3d4e\t1.01\t44.1\tdiscard\twider\n")


def test_comments_blank_lines_and_repeated_headers() -> None:
    table = read("# my runs\n" + HEADER + "\n#7\t0.99\t44\tkeep\tx\n# note\n" + HEADER)
    assert [(row.line, row.commit) for row in table.rows] == [(4, "#7")]
    assert any("2 comment lines" in said for said in table.assumptions)
    assert any("1 repetitions" in said for said in table.assumptions)


def test_commented_header() -> None:
    table = read("# " + HEADER + "a1\t0.99\t44\tkeep\tx\n")
    assert (table.metric, table.rows[0].memory_gb) == ("val_bpb", 44.0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("KEEP", "keep"),
        ("kept", "keep"),
        ("BEST", "keep"),
        ("accepted (lower loss)", "keep"),
        ("confirmed-keep", "keep"),
        ("improved: yes", "keep"),
        ("REJECTED (slower, no keep)", "discard"),
        ("not kept", "discard"),
        ("revert", "discard"),
        ("NEUTRAL", "discard"),
        ("parked", "discard"),
        ("OOM", "crash"),
        ("timed-out", None),
        ("timeout", "crash"),
        ("NO_JSON", "crash"),
        ("checks_failed: lint", "crash"),
        ("baseline", "baseline"),
        ("running", "pending"),
        ("RETEST", "pending"),
        ("-", "pending"),
        ("", "pending"),
        ("note", "note"),
        ("keep discard", None),
        ("0.9979", None),
        ("banana", None),
    ],
)
def test_status_words(text: str, expected: str | None) -> None:
    found = status_of(text)
    assert (found and found.value) == expected


def test_flags_and_verdicts_instead_of_a_status() -> None:
    table = read("run,acc,kept\n1,0.5,True\n2,0.4,False\n3,0.6,yes\n")
    assert [row.status.value for row in table.rows] == ["keep", "discard", "keep"]
    table = read("run\tpnl\tverdict\n0\t5\tBASELINE\n1\t4\tREJECT\n2\tN/A\tSKIPPED\n")
    assert [row.status.value for row in table.rows] == ["baseline", "discard", "note"]
    table = read("run\tpnl\tchosen\n0\t5\tkeep\n1\t4\tdiscard\n")
    assert any("'chosen' is the status" in said for said in table.assumptions)


@pytest.mark.parametrize(
    "marker", ["", "-", "nan", "inf", "-inf", "DIVERGED", "N/A", "OOM", "none", "0.000000"]
)
def test_crash_markers(marker: str) -> None:
    table = read(HEADER + f"a\t0.9\t1\tkeep\tb\nb\t{marker}\t0.0\tcrash\tx\n")
    assert table.rows[1].value is None
    assert table.rows[1].memory_gb is None
    assert not table.problems


@pytest.mark.parametrize("cell", ["0.11d", "1,234", "1_000", "0x1p3", "1e999", "٣", "0.9 ± 0.1"])
def test_a_number_is_never_guessed(cell: str) -> None:
    table = read(HEADER + f"a\t0.9\t1\tkeep\tb\nb\t{cell}\t1\tdiscard\tx\n")
    assert table.rows[1].value is None
    (problem,) = table.problems
    assert (problem.line, problem.column, problem.unread) == (3, 2, False)


def test_numbers_and_units() -> None:
    assert [number_of(c) for c in ("**0.5**", "33.7%", "+1e-3", "1,234.5")] == [
        0.5,
        33.7,
        0.001,
        1234.5,
    ]
    assert memory_of("2048", "peak_vram_mb") == 2.0
    assert memory_of("2048 MB", "memory_gb") == 2.0
    assert memory_of("44.0GB", "memory") == 44.0
    assert memory_of("0.0", "memory_gb") is None


def test_a_zero_is_a_metric_where_zeros_are_kept_or_higher_is_better() -> None:
    rows = "a\t0.5\tkeep\nb\t0.0\t{}\nc\t0.0\tdiscard\n"
    kept = read("commit\terr\tstatus\n" + rows.format("keep"))
    assert [row.value for row in kept.rows] == [0.5, 0.0, 0.0]
    lost = read("commit\terr\tstatus\n" + rows.format("discard"))
    assert [row.value for row in lost.rows] == [0.5, None, None]
    assert any("metric of 0" in said for said in lost.assumptions)
    higher = read("commit\tacc\tstatus\n" + rows.format("discard"))
    assert [row.value for row in higher.rows] == [0.5, 0.0, 0.0]


def test_unknown_status_and_short_rows_are_problems_with_a_place() -> None:
    table = read(HEADER + "a\t0.9\t1\tkeep\tb\nb\t0.8\t1\tbanana\tx\nc\t0.7\nd\t0.6\t1\tkeep\n")
    assert [row.commit for row in table.rows] == ["a", "d"]
    assert [(p.line, p.column, p.unread) for p in table.problems] == [(3, 4, True), (4, 2, True)]
    assert "banana" in str(table.problems[0])
    assert table.line_count == 4


def test_metric_in_a_column_of_its_own() -> None:
    table = read(
        "run\tmetric\tvalue\tstatus\n1\tacc\t0.5\tkeep\n2\tacc\t0.6\tkeep\n3\tms\t7\tkeep\n"
    )
    assert (table.metric, table.direction) == ("acc", Direction.MAXIMIZE)
    assert [row.value for row in table.rows] == [0.5, 0.6, None]
    assert table.rows[2].status is RowStatus.NOTE


def test_metric_is_chosen_by_name_or_by_the_user() -> None:
    text = "step,train_loss,val_acc,status\n1,3.0,0.5,keep\n2,2.9,0.4,discard\n"
    table = read(text)
    assert (table.metric, table.direction) == ("val_acc", Direction.MAXIMIZE)
    assert any("not train_loss" in said for said in table.assumptions)
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
    against = read("commit\tval_loss\tstatus\n" + rows)
    assert against.direction is Direction.MINIMIZE
    assert any("other way" in said for said in against.assumptions)


def test_direction_by_name() -> None:
    names = {"val_bpb": "minimize", "success_rate": "maximize", "tg_tok_s": "maximize"}
    assert {name: direction_of(name) for name in names} == names
    assert direction_of("glork") is None


def test_several_agents() -> None:
    rows = "a\t1\t1\tkeep\tgpu0: base\nb\t2\t1\tdiscard\tagent1: x\nc\t2\t1\tdiscard\tagent2: y\n"
    table = read(HEADER + rows)
    assert [row.agent for row in table.rows] == ["gpu0", "agent1", "agent2"]
    assert any("3 agents" in said for said in table.assumptions)


def test_runs_of_the_incumbent() -> None:
    rows = (
        "a\t1.0\t1\tbaseline\tbase\nb\t1.1\t1\tbaseline\tbase again\nc\t0.9\t1\tkeep\twider\n"
        "d\t0.9\t1\tdiscard\trandom seed 42 to 137\ne\t0.8\t1\tkeep\tseed 3\n"
        "f\t0.9\t1\tdiscard\tseed-edcd01\ng\t0.9\t1\tdiscard\tre-run of c\n"
        "h\t0\t1\tcrash\tre-run of c\n"
    )
    found = incumbent_runs(read(HEADER + rows).rows)
    assert found == [True, True, False, True, False, False, True, False]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"\n \r\n", "empty"),
        (b"\xef\xbb\xbf", "empty"),
        (HEADER.encode(), "below the header"),
        (b"# only\n# comments\n", "only comments"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "binary"),
        (b"step,loss\n1,2\n", "expected a header"),
        (b"commit,status\na,keep\n", "column of numbers"),
        (b"dear diary,\ntoday I trained\n", "expected a header"),
        (b"[" * 100_000, "expected a header"),
        (b'{"a":' * 100_000, "JSON object"),
        (HEADER.encode() + b"a\t1\t1\tkept?\tx\nb\t1\t1\tkept!\tx\nc\t1\n", None),
    ],
)
def test_what_is_no_log_is_refused_or_read(data: bytes, message: str | None) -> None:
    if message is None:
        assert len(read(data).rows) == 2
        return
    with pytest.raises(DataError, match=message) as caught:
        read(data)
    assert "log.tsv" in str(caught.value)


def test_a_line_of_a_megabyte() -> None:
    table = read(HEADER + "a\t0.9\t1\tkeep\t" + "x" * 2**20 + "\n")
    assert len(table.rows[0].description) == 2**20


def test_texts_cannot_reach_the_terminal() -> None:
    table = read(HEADER + "a\x07b\t0.9\t1\tke\x1b[2Jep\tgo\u202eod\x9b31m\n")
    assert table.rows[0].status is RowStatus.KEEP
    for text in (table.rows[0].commit, table.rows[0].description, table.rows[0].status_text):
        assert text == one_line(text)
