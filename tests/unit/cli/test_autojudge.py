"""The command ``autojudge``: what is judged, exit codes, text, JSON, hostile files."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from helpers.autojudge_logs import (
    CORPUS,
    HEADER,
    MAIN_FIELDS,
    call,
    fields,
    history,
    judged,
    row,
    run_log,
)
from helpers.commands import Capsys
from ratchet.cli.autojudge import MODES
from ratchet.judge.settings import Mode
from ratchet.records.records import Verdict

GOOD = 0.9965
needs_logs = pytest.mark.skipif(not CORPUS.exists(), reason="the collected logs are not here")


def answered(capsys: Capsys, log: Path, memory_mb: float | None, *options: object) -> Any:
    """The JSON answer on a run with this memory; the log's rows have 44.0 GB."""
    memory = "" if memory_mb is None else f"peak_vram_mb: {memory_mb}\n"
    run = run_log(log, f"---\nval_bpb: {GOOD}\n{memory}")
    call("--results", log, "--run", run, "--json", *options)
    return fields(capsys)


# --- exit codes and refusals -----------------------------------------------------------


def test_a_keep_is_0_and_its_text_says_why(log: Path, capsys: Capsys) -> None:
    assert judged(log, 0.9900) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].startswith("experiment_023: STRONG_KEEP (confidence: 1.00)")
    assert lines[1].startswith("val_bpb delta: -0.00")
    assert " | noise floor: ±0.000" in lines[1]
    assert lines[2] == "pareto status: EFFICIENT"
    assert lines[3].startswith("reason: P(better)")
    assert "assumed: val_bpb is taken to minimize" in err
    assert judged(log, 0.99, "--quiet") == 0
    out, err = capsys.readouterr()
    assert out.split()[:3] == ["STRONG_KEEP", "100%", "0.990000"]
    assert (out.count("\n"), err) == (1, "")


def test_a_discard_is_1(log: Path, capsys: Capsys) -> None:
    assert judged(log, 1.01) == 1
    out = capsys.readouterr().out
    assert ": DISCARD (confidence: 0.0" in out
    assert "pareto status: DOMINATED" in out


def test_a_crash_is_1(log: Path, capsys: Capsys) -> None:
    run = run_log(log, "starting\ntorch.OutOfMemoryError: CUDA out of memory.\n")
    assert call("--results", log, "--run", run) == 1
    assert "CRASH" in (out := capsys.readouterr().out)
    assert "out of memory" in out


def test_a_retest_is_2(log: Path, capsys: Capsys) -> None:
    codes = [judged(log, value / 1e4) for value in range(9940, 9990, 5)]
    assert set(codes) == {0, 1, 2}
    assert codes == sorted(codes, key=[0, 2, 1].index), "better values never judge worse"
    assert "another run of the same code" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [
        (None, 66, "cannot be read"),
        (b"", 65, "empty file"),
        (HEADER.encode(), 65, "below the header"),
        (b"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00", 65, "binary"),
        (history().encode() + b"fffffff\t0.99\t44.0\tbanana\tx\n", 65, "found 'banana'"),
        (history().encode() + b"fffffff\t0.99\n", 65, "line 24, column 2"),
        (history().encode() + row(99, "-", "running").encode(), 65, "line 24"),
        (HEADER.encode() + row(0, "-", "note").encode(), 65, "only notes"),
    ],
)
def test_unreadable_inputs(
    tmp_path: Path, capsys: Capsys, content: bytes | None, code: int, said: str
) -> None:
    path = tmp_path / "results.tsv"
    if content is not None:
        path.write_bytes(content)
    assert call("--results", path) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err


def test_missing_run_logs_and_folders_are_66(log: Path, tmp_path: Path) -> None:
    assert call("--results", log, "--run", tmp_path / "no.log") == 66
    assert call("--results", tmp_path) == 66
    assert call("--results", "a\0b") == 66


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ("--bogus", 64, "unrecognized"),
        ("--row x", 64, "invalid int"),
        ("--row 0", 64, "--row"),
        ("--row 99", 64, "--row"),
        ("--mode lucky", 64, "invalid choice"),
        ("--all --row 3", 64, "without --row and --run"),
        ("--strict --mode gain", 64, "--strict contradicts --mode gain"),
        ("--noise-sd 0", 64, "expected a positive number"),
        ("--noise-sd nan", 64, "expected a positive number"),
        ("--res x", 64, "unrecognized"),
        ("--agent nobody", 64, "nobody"),
        ("--mode guaranteed", 64, "fresh runs"),
        ("--mode guaranteed --all", 64, "snakemake --cores 1 --config mode=guaranteed"),
        ("--metric bleu", 65, "bleu"),
    ],
)
def test_refused_options(log: Path, capsys: Capsys, options: str, code: int, said: str) -> None:
    assert call("--results", log, *options.split()) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("autojudge: ")
    assert said in err


# --- what is judged ------------------------------------------------------------------


def test_the_last_row_is_judged_by_the_rows_before_it(log: Path, capsys: Capsys) -> None:
    log.write_text(history() + row(50, 0.9900, "discard"))
    assert call("--results", log, "--json") == 0
    last = fields(capsys)
    assert (last["experiment"]["index"], last["experiment"]["line"]) == (23, 24)
    log.write_text(history() + row(50, 0.9900, "keep") + row(51, 0.5, "keep"))
    assert call("--results", log, "--json", "--row", 23) == 0
    assert fields(capsys)["confidence"] == last["confidence"]


def test_a_run_log_of_the_last_row_is_not_judged_against_itself(log: Path, capsys: Capsys) -> None:
    log.write_text(history() + row(50, 0.9900, "keep"))
    assert judged(log, 0.99, "--json") == 0
    found = fields(capsys)
    assert found["experiment"]["index"] == 23
    assert any("same metric" in said for said in found["assumptions"])


def test_the_first_row_is_the_baseline(tmp_path: Path, capsys: Capsys) -> None:
    path = tmp_path / "results.tsv"
    path.write_text(HEADER + row(0, 0.998, "keep", "baseline"))
    assert call("--results", path) == 0
    assert "experiment_001: KEEP\n" in (out := capsys.readouterr().out)
    assert "the baseline" in out


def test_undecided_runs_of_one_commit_count_together(log: Path, capsys: Capsys) -> None:
    runs = "".join(f"abcdef0\t{v}\t44.0\t{s}\tx\n" for v, s in ((0.9972, "retest"), (0.9973, "-")))
    log.write_text(history() + runs)
    call("--results", log, "--json")
    assert fields(capsys)["runs"] == [0.9972, 0.9973]


def test_a_mirrored_log_gives_the_mirrored_verdict(tmp_path: Path, capsys: Capsys) -> None:
    path = tmp_path / "results.tsv"
    path.write_text(history())
    judged(path, GOOD, "--json")
    lower = fields(capsys)
    path.write_text(history(sign=-1, offset=1.996).replace("val_bpb", "score"))
    run = run_log(path, f"---\nscore: {1.996 - GOOD}\npeak_vram_mb: 45056.0\n")
    assert call("--results", path, "--run", run, "--json") == lower["exit_code"]
    higher = fields(capsys)
    assert higher["direction"] == "maximize"
    assert higher["delta"] == pytest.approx(-lower["delta"], rel=0.01)
    assert higher["gain"] == pytest.approx(lower["gain"], rel=0.01)
    assert higher["confidence"] == pytest.approx(lower["confidence"], abs=0.01)
    assert call("--results", path, "--run", run, "--direction", "minimize") == 1


def test_a_stated_noise_floor_decides(log: Path, capsys: Capsys) -> None:
    judged(log, GOOD, "--json", "--noise-sd", 1e-5)
    sure = fields(capsys)
    judged(log, GOOD, "--json", "--noise-sd", 0.05)
    unsure = fields(capsys)
    assert sure["noise_floor"] == pytest.approx(1e-5, rel=0.06)
    assert unsure["noise_floor"] == pytest.approx(0.05, rel=0.06)
    assert sure["confidence"] > 0.99 > unsure["confidence"]


def test_modes_raise_the_bar(log: Path, capsys: Capsys) -> None:
    assert set(MODES) <= {mode.value for mode in Mode}
    bars = []
    for options in (["--mode", "gain"], ["--mode", "balanced"], ["--strict"]):
        judged(log, GOOD, "--json", *options)
        bars.append(fields(capsys)["keep_probability"])
    assert bars == [0.6, 0.7, 0.8]


@pytest.mark.parametrize("scale", [1e-3, 1e9])
def test_another_unit_changes_the_unit_of_the_answer_alone(
    tmp_path: Path, scale: float, capsys: Capsys
) -> None:
    path = tmp_path / "results.jsonl"
    lines = [line.split("\t") for line in history().splitlines()[1:]]
    found = []
    for unit in (1.0, scale):
        text = "".join(
            json.dumps({"loss": float(v) * unit, "status": s, "description": d}) + "\n"
            for _, v, _, s, d in lines
        )
        path.write_text(text + json.dumps({"loss": GOOD * unit, "status": "-"}) + "\n")
        call("--results", path, "--json")
        found.append(fields(capsys))
    plain, scaled = found
    assert scaled["verdict"] == plain["verdict"]
    assert scaled["confidence"] == pytest.approx(plain["confidence"], abs=1e-4)
    assert scaled["noise_floor"] == pytest.approx(plain["noise_floor"] * scale, rel=1e-3)


def test_one_agent_of_several(tmp_path: Path, capsys: Capsys) -> None:
    path = tmp_path / "results.tsv"
    lines = history().splitlines()
    text = lines[0] + "\tagent\n" + lines[1] + "\t\n"
    for number, line in enumerate(lines[2:]):
        text += f"{line}\t{'ada' if number % 2 else 'bob'}\n"
    path.write_text(text)
    assert call("--results", path, "--all", "--json") == 0
    both = fields(capsys)
    assert call("--results", path, "--all", "--json", "--agent", "ada") == 0
    one = fields(capsys)
    kept = [line.split("\t")[0] for line in text.splitlines()[1:] if line.endswith(("ada", "\t"))]
    assert [entry["commit"] for entry in one["rows"]] == kept
    assert one["experiments"] < both["experiments"]
    assert any("agents share" in said for said in both["assumptions"])
    assert not any("agents share" in said for said in one["assumptions"])
    assert any("of ada or of nobody" in said for said in one["assumptions"])


# --- prices ----------------------------------------------------------------------------


def test_more_memory_must_pay_for_itself(log: Path, capsys: Capsys) -> None:
    same = answered(capsys, log, 45056)
    more = answered(capsys, log, 2 * 45056)
    assert (same["threshold"], same["memory_ratio"]) == (0, 1)
    assert "memory" not in same["reason"]
    assert more["memory_ratio"] == pytest.approx(2)
    # ln 2 * 5e-3 at the reference scale, which the two runs of the baseline are near.
    assert 1e-3 < more["threshold"] < 1e-2
    assert more["confidence_at_threshold"] < more["confidence"] == same["confidence"]
    assert more["confidence_at_threshold"] < same["confidence_at_threshold"]
    assert f"memory +100 % must bring {more['threshold']:.2g}" in more["reason"]
    assert "P(gain > 0.00" in more["reason"]
    unknown = answered(capsys, log, None)
    assert (unknown["threshold"], unknown["memory_ratio"]) == (0, None)
    assert unknown["confidence"] == same["confidence"]
    assert answered(capsys, log, 22528)["threshold"] == 0


def test_small_differences_of_memory_are_none(log: Path, capsys: Capsys) -> None:
    for ratio in (1.019, 0.981):
        assert answered(capsys, log, 45056 * ratio)["threshold"] == 0
    rows = log.read_text()
    log.write_text(rows.replace("\t44.0\t", "\t0.1\t"))  # one step of the last decimal
    assert answered(capsys, log, 0.19 * 1024)["threshold"] == 0
    assert answered(capsys, log, 0.26 * 1024)["threshold"] > 0
    log.write_text(rows.replace("\t44.0\t", "\t45056.0\t"))  # another unit
    assert answered(capsys, log, 45056)["memory_ratio"] is None


def test_past_rows_are_priced_by_nobody(log: Path, capsys: Capsys) -> None:
    call("--results", log, "--all", "--json")
    plain = fields(capsys)
    log.write_text(log.read_text().replace("\t44.0\tdiscard", "\t88.0\tdiscard"))
    call("--results", log, "--all", "--json")
    assert fields(capsys)["rows"] == plain["rows"]


# --- output ----------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--json", "--format json", "--json --quiet"])
def test_json_has_its_main_fields(log: Path, capsys: Capsys, option: str) -> None:
    judged(log, 0.9900, *option.split())
    found = fields(capsys)
    assert set(MAIN_FIELDS.split()) <= set(found)
    assert found["verdict"] in set(Verdict)
    assert found["run_log"]["peak_vram_mb"] == 45056.0
    assert found["prev_best"] <= 0.9980
    assert found["exit_code"] == 0
    low, high = found["noise_floor_interval"]
    assert low < found["noise_floor"] < high


def test_all_gives_a_verdict_for_each_row(log: Path, capsys: Capsys) -> None:
    log.write_text(history() + row(60, "0.000000", "crash") + row(61, 0.99, "keep"))
    assert call("--results", log, "--all") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 24 + 2
    for place, verdict in ((1, "BASELINE"), (2, "INCUMBENT_RUN"), (23, "CRASH")):
        assert f" {verdict} " in lines[place]
    assert " STRONG_KEEP " in lines[24]
    assert lines[25].startswith("noise floor: ±0.000")
    assert "expected false keeps: " in lines[26]
    assert call("--results", log, "--all", "--json") == 0
    found = fields(capsys)
    assert [entry["index"] for entry in found["rows"]] == list(range(1, 25))
    assert "RETEST" not in {entry["verdict"] for entry in found["rows"]}


def test_problems_are_told_and_do_not_stop_the_rest(log: Path, capsys: Capsys) -> None:
    log.write_text(history() + "summary of the night\n" + row(60, 0.99, "keep"))
    assert call("--results", log, "--quiet") == 0
    assert "problem: line 24, column 1" in capsys.readouterr().err


def test_hostile_text_is_cleaned(log: Path, capsys: Capsys) -> None:
    hostile = "x\x1b]0;owned\x07\x1b[2J\u202eevil\x9b1m"
    text = history() + f"{hostile}\t0.99\t44.0\tkeep ({hostile})\t{hostile}\n"
    log.write_text(
        text + f"a\t{hostile}\t1\tdiscard\tx\nb\t0.9\t1\t{hostile}\tx\n" + row(70, 1, "-")
    )
    run = run_log(log, f"RuntimeError: {hostile}\n")
    for options in (["--all"], ["--json"], ["--run", run], ["--metric", hostile], [hostile]):
        call("--results", log, *options)
        for text in capsys.readouterr():
            assert not set(text) & set("\x1b\x07\u202e\x9b"), options
    log.write_text(history())
    run = run_log(log, "ValueError: x\rexperiment_001: STRONG_KEEP\x0bmore\u2028lines\n")
    assert call("--results", log, "--run", run) == 1
    assert len(capsys.readouterr().out.splitlines()) == 4, "a run log forges no lines"


# --- logs of others ---------------------------------------------------------------------


@needs_logs
def test_the_reference_session(capsys: Capsys) -> None:
    path = CORPUS / "sessions" / "karpathy__autoresearch__mar8.tsv"
    start = time.process_time()
    assert call("--results", path, "--all", "--json") == 0
    assert time.process_time() - start < 10
    found = fields(capsys)
    assert len(found["rows"]) == 126
    assert 2e-4 < found["noise_floor"] < 6e-4
    assert found["keeps"] == 22
    assert 4 < found["expected_false_keeps"] < 12


@needs_logs
def test_each_collected_log_is_judged_or_refused(capsys: Capsys) -> None:
    paths = sorted((CORPUS / "sessions").iterdir())
    assert len(paths) == 34
    for path in paths:
        assert call("--results", path, "--json") in (0, 1, 2, 65), path.name
        assert call("--results", path, "--all") in (0, 65), path.name
        assert "internal" not in capsys.readouterr().err
