"""The command line ``autojudge``: exit codes, text, JSON, hostile files."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers.autojudge_logs import (
    CORPUS,
    HEADER,
    PACKAGES,
    call,
    fields,
    history,
    judged,
    row,
    run_log,
)
from ratchet.cli import autojudge
from ratchet.cli.autojudge import MODES
from ratchet.judge.settings import Mode

# --- exit codes ----------------------------------------------------------------------


def test_keep_is_0(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert judged(log, 0.9900) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].startswith("experiment_023: STRONG_KEEP (confidence: 1.00)")
    assert lines[1].startswith("val_bpb delta: -0.00")
    assert " | noise floor: ±0.000" in lines[1]
    assert lines[2] == "pareto status: EFFICIENT"
    assert lines[3].startswith("reason: P(better)")
    assert "assumed: val_bpb is taken to minimize" in err


def test_discard_is_1(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert judged(log, 1.01) == 1
    out = capsys.readouterr().out
    assert ": DISCARD (confidence: 0.0" in out
    assert "pareto status: DOMINATED" in out


def test_crash_is_1(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_log(log, "starting\ntorch.OutOfMemoryError: CUDA out of memory.\n")
    assert call("--results", log, "--run", run) == 1
    assert "CRASH" in (out := capsys.readouterr().out)
    assert "out of memory" in out


def test_retest_is_2(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content: bytes | None,
    code: int,
    said: str,
) -> None:
    path = tmp_path / "results.tsv"
    if content is not None:
        path.write_bytes(content)
    assert call("--results", path) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err


def test_missing_run_log_and_folders(log: Path, tmp_path: Path) -> None:
    assert call("--results", log, "--run", tmp_path / "no.log") == 66
    assert call("--results", tmp_path) == 66
    assert call("--results", "a\0b") == 66


@pytest.mark.parametrize(
    "options",
    [
        ["--bogus"],
        ["extra"],
        ["--row", "x"],
        ["--row", "0"],
        ["--row", "99"],
        ["--mode", "lucky"],
        ["--direction", "up"],
        ["--format", "xml"],
        ["--window", "5"],
        ["--all", "--row", "3"],
        ["--strict", "--mode", "gain"],
        ["--noise-sd", "0"],
        ["--noise-sd", "nan"],
        ["--res", "x"],
    ],
)
def test_wrong_options_are_64(
    log: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    assert call("--results", log, *options) == 64
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("autojudge: ")


def test_an_unknown_metric_is_65(log: Path) -> None:
    assert call("--results", log, "--metric", "bleu") == 65


def test_an_internal_error_is_70(
    log: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(autojudge, "choose_experiment", broken)
    assert call("--results", log) == 70
    assert "ZeroDivisionError" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_are_0(option: str) -> None:
    assert call(option) == 0


# --- what is judged ------------------------------------------------------------------


def test_the_last_row_is_judged_by_the_rows_before_it(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log.write_text(history() + row(50, 0.9900, "discard"))
    assert call("--results", log, "--json") == 0
    last = fields(capsys)
    assert (last["experiment"]["index"], last["experiment"]["line"]) == (23, 24)
    log.write_text(history() + row(50, 0.9900, "keep") + row(51, 0.5, "keep"))
    assert call("--results", log, "--json", "--row", 23) == 0
    again = fields(capsys)
    assert again["confidence"] == last["confidence"]


def test_a_run_log_of_the_last_row_is_not_judged_against_itself(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log.write_text(history() + row(50, 0.9900, "keep"))
    assert judged(log, 0.99, "--json") == 0
    found = fields(capsys)
    assert found["experiment"]["index"] == 23
    assert any("same metric" in said for said in found["assumptions"])


def test_the_first_row_is_the_baseline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "results.tsv"
    path.write_text(HEADER + row(0, 0.998, "keep", "baseline"))
    assert call("--results", path) == 0
    assert "experiment_001: KEEP\n" in (out := capsys.readouterr().out)
    assert "the baseline" in out


def test_undecided_runs_of_one_commit_count_together(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = "".join(f"abcdef0\t{v}\t44.0\t{s}\tx\n" for v, s in ((0.9972, "retest"), (0.9973, "-")))
    log.write_text(history() + runs)
    call("--results", log, "--json")
    assert fields(capsys)["runs"] == [0.9972, 0.9973]


def test_higher_is_better(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The mirrored log gives the mirrored verdict."""
    path = tmp_path / "results.tsv"
    path.write_text(history())
    judged(path, 0.9965, "--json")
    lower = fields(capsys)
    text = history(sign=-1, offset=1.996).replace("val_bpb", "score")
    path.write_text(text)
    run = run_log(path, f"---\nscore: {1.996 - 0.9965}\npeak_vram_mb: 45056.0\n")
    assert call("--results", path, "--run", run, "--json") == lower["exit_code"]
    higher = fields(capsys)
    assert higher["direction"] == "maximize"
    assert higher["delta"] == pytest.approx(-lower["delta"], rel=0.01)
    assert higher["gain"] == pytest.approx(lower["gain"], rel=0.01)
    assert higher["confidence"] == pytest.approx(lower["confidence"], abs=0.01)
    assert call("--results", path, "--run", run, "--direction", "minimize") == 1


def test_a_stated_noise_floor_decides(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    judged(log, 0.9965, "--json", "--noise-sd", 1e-5)
    sure = fields(capsys)
    judged(log, 0.9965, "--json", "--noise-sd", 0.05)
    unsure = fields(capsys)
    assert sure["noise_floor"] == pytest.approx(1e-5, rel=0.06)
    assert unsure["noise_floor"] == pytest.approx(0.05, rel=0.06)
    assert sure["confidence"] > 0.99 > unsure["confidence"]


def test_modes_raise_the_bar(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert set(MODES) <= {mode.value for mode in Mode}
    bars = []
    for options in (["--mode", "gain"], ["--mode", "balanced"], ["--strict"]):
        judged(log, 0.9965, "--json", *options)
        bars.append(fields(capsys)["keep_probability"])
    assert bars == [0.6, 0.7, 0.8]


@pytest.mark.parametrize("scale", [1e-3, 100.0, 1e9])
def test_any_scale(tmp_path: Path, scale: float, capsys: pytest.CaptureFixture[str]) -> None:
    """Another unit changes the unit of the answer and nothing else."""
    path = tmp_path / "results.jsonl"
    lines = [line.split("\t") for line in history().splitlines()[1:]]
    found = []
    for unit in (1.0, scale):
        text = "".join(
            json.dumps({"loss": float(v) * unit, "status": s, "description": d}) + "\n"
            for _, v, _, s, d in lines
        )
        path.write_text(text + json.dumps({"loss": 0.9965 * unit, "status": "-"}) + "\n")
        call("--results", path, "--json")
        found.append(fields(capsys))
    plain, scaled = found
    assert scaled["verdict"] == plain["verdict"]
    assert scaled["confidence"] == pytest.approx(plain["confidence"], abs=1e-4)
    assert scaled["noise_floor"] == pytest.approx(plain["noise_floor"] * scale, rel=1e-3)


# --- cost --------------------------------------------------------------------------------


def test_usage_imports_nothing_heavy() -> None:
    code = (
        "import sys; from ratchet.cli.autojudge import main; "
        "main(['--all', '--row', '1']); "
        "sys.exit(bool({'numpy', 'scipy', 'pandas', 'yaml'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(PACKAGES)})
    assert done.returncode == 0


@pytest.mark.skipif(not CORPUS.exists(), reason="the collection of real logs is not here")
def test_the_reference_session(capsys: pytest.CaptureFixture[str]) -> None:
    path = CORPUS / "sessions" / "karpathy__autoresearch__mar8.tsv"
    start = time.process_time()
    assert call("--results", path, "--all", "--json") == 0
    assert time.process_time() - start < 10
    found = fields(capsys)
    assert len(found["rows"]) == 126
    assert 2e-4 < found["noise_floor"] < 6e-4
    assert found["keeps"] == 22
    assert 4 < found["expected_false_keeps"] < 12


@pytest.mark.skipif(not CORPUS.exists(), reason="the collection of real logs is not here")
def test_each_collected_log_is_judged_or_refused(capsys: pytest.CaptureFixture[str]) -> None:
    paths = sorted((CORPUS / "sessions").iterdir())
    assert len(paths) == 34
    for path in paths:
        assert call("--results", path, "--json") in (0, 1, 2, 65), path.name
        assert call("--results", path, "--all") in (0, 65), path.name
        assert "internal" not in capsys.readouterr().err
