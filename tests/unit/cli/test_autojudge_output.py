"""What autojudge prints: text, JSON, one line; never anything hostile."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.autojudge_logs import (
    MAIN_FIELDS,
    call,
    fields,
    history,
    judged,
    row,
    run_log,
)
from ratchet.records.records import Verdict

# --- output ----------------------------------------------------------------------------


@pytest.mark.parametrize("option", [["--json"], ["--format", "json"], ["--json", "--quiet"]])
def test_json_has_its_main_fields(
    log: Path, capsys: pytest.CaptureFixture[str], option: list[str]
) -> None:
    judged(log, 0.9900, *option)
    found = fields(capsys)
    assert set(MAIN_FIELDS.split()) <= set(found)
    assert found["verdict"] in set(Verdict)
    assert found["run_log"]["peak_vram_mb"] == 45056.0
    assert found["prev_best"] <= 0.9980
    assert found["exit_code"] == 0
    low, high = found["noise_floor_interval"]
    assert low < found["noise_floor"] < high


def test_quiet_is_one_line(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert judged(log, 0.99, "--quiet") == 0
    out, err = capsys.readouterr()
    assert out.split()[:3] == ["STRONG_KEEP", "100%", "0.990000"]
    assert (out.count("\n"), err) == (1, "")


def test_all_gives_a_verdict_for_each_row(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log.write_text(history() + row(60, "0.000000", "crash") + row(61, 0.99, "keep"))
    assert call("--results", log, "--all") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 24 + 2
    assert " BASELINE " in lines[1]
    assert " INCUMBENT_RUN " in lines[2]
    assert " CRASH " in lines[23]
    assert " STRONG_KEEP " in lines[24]
    assert lines[25].startswith("noise floor: ±0.000")
    assert "expected false keeps: " in lines[26]
    assert call("--results", log, "--all", "--json") == 0
    found = fields(capsys)
    assert [entry["index"] for entry in found["rows"]] == list(range(1, 25))
    assert not {"RETEST"} & {entry["verdict"] for entry in found["rows"]}


def test_problems_are_told_and_do_not_stop_the_rest(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log.write_text(history() + "summary of the night\n" + row(60, 0.99, "keep"))
    assert call("--results", log, "--quiet") == 0
    assert "problem: line 24, column 1" in capsys.readouterr().err


def test_hostile_text_is_cleaned(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hostile = "x\x1b]0;owned\x07\x1b[2J\u202eevil\x9b1m"
    text = history() + f"{hostile}\t0.99\t44.0\tkeep ({hostile})\t{hostile}\n"
    log.write_text(
        text + f"a\t{hostile}\t1\tdiscard\tx\nb\t0.9\t1\t{hostile}\tx\n" + row(70, 1, "-")
    )
    run = run_log(log, f"RuntimeError: {hostile}\n")
    for options in (["--all"], ["--json"], ["--run", run], ["--metric", hostile], [hostile]):
        call("--results", log, *options)
        out, err = capsys.readouterr()
        for text in (out, err):
            assert not set(text) & set("\x1b\x07\u202e\x9b"), options


def test_a_run_log_cannot_forge_lines_of_the_answer(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_log(log, "ValueError: x\rexperiment_001: STRONG_KEEP\x0bmore\u2028lines\n")
    assert call("--results", log, "--run", run) == 1
    assert len(capsys.readouterr().out.splitlines()) == 4
