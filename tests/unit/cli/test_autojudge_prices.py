"""What lines and memory must bring; whose rows count; the mode that needs runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from helpers.autojudge_logs import HEADER, call, fields, history, row, run_log

GOOD = 0.9965


def answered(
    capsys: pytest.CaptureFixture[str], log: Path, memory_mb: float | None, *options: object
) -> Any:
    """The JSON answer on a run with this memory; the log's rows have 44.0 GB."""
    memory = "" if memory_mb is None else f"peak_vram_mb: {memory_mb}\n"
    run = run_log(log, f"---\nval_bpb: {GOOD}\n{memory}")
    call("--results", log, "--run", run, "--json", *options)
    return fields(capsys)


def test_more_memory_must_pay_for_itself(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
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


def test_memory_of_price_0_or_unknown_is_free(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    free = answered(capsys, log, 2 * 45056, "--memory-price", 0)
    assert free["threshold"] == 0
    assert "memory" not in free["reason"]
    unknown = answered(capsys, log, None)
    assert (unknown["threshold"], unknown["memory_ratio"]) == (0, None)
    assert unknown["confidence"] == free["confidence"]


@pytest.mark.parametrize("memory_mb", [45056 * 1.019, 45056 * 0.981])
def test_small_differences_of_memory_are_none(
    log: Path, capsys: pytest.CaptureFixture[str], memory_mb: float
) -> None:
    assert answered(capsys, log, memory_mb, "--memory-price", 1)["threshold"] == 0


def test_one_step_of_the_last_decimal_is_none(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log.write_text(log.read_text().replace("\t44.0\t", "\t0.1\t"))
    assert answered(capsys, log, 0.19 * 1024)["threshold"] == 0
    assert answered(capsys, log, 0.26 * 1024)["threshold"] > 0


def test_another_unit_of_memory_is_not_priced(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log.write_text(log.read_text().replace("\t44.0\t", "\t45056.0\t"))
    assert answered(capsys, log, 45056)["memory_ratio"] is None


def test_less_memory_may_cost_only_what_the_user_says(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert answered(capsys, log, 22528)["threshold"] == 0
    found = answered(capsys, log, 22528, "--memory-price", 1)
    # At most half a noise floor, however dear memory is.
    assert found["threshold"] == pytest.approx(-0.5 * found["noise_floor"])
    assert "memory -50 % may cost" in found["reason"]


def test_credit_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Keeps that each saved memory have used up what a session may give away."""
    path = tmp_path / "results.tsv"
    text = HEADER + row(0, 0.998, "keep", "baseline")
    for number in range(1, 9):
        value, memory = 0.998 - 1e-5 * number, 44.0 * 0.8**number
        text += f"{number:07x}\t{value:.6f}\t{memory:.1f}\tkeep\tsmaller {number}\n"
    path.write_text(text)
    assert answered(capsys, path, 1024, "--memory-price", 1)["threshold"] == 0


def test_lines_have_a_price(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    twenty = answered(capsys, log, 45056, "--lines", 20)
    assert twenty["threshold"] > 0
    assert "lines +20 must bring" in twenty["reason"]
    stated = answered(capsys, log, 45056, "--lines", 20, "--line-price", 1e-4)
    assert stated["threshold"] == pytest.approx(2e-3)
    fewer = answered(capsys, log, 45056, "--lines", -20)
    assert fewer["threshold"] == pytest.approx(-0.5 * fewer["noise_floor"])
    assert "lines -20 may cost" in fewer["reason"]


def test_a_dear_change_is_not_kept(log: Path) -> None:
    run = run_log(log, "---\nval_bpb: 0.9960\npeak_vram_mb: 45056\n")
    assert call("--results", log, "--run", run) == 0
    assert call("--results", log, "--run", run, "--lines", 400) == 1


def test_past_rows_are_priced_by_nobody(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call("--results", log, "--all", "--json")
    plain = fields(capsys)
    log.write_text(log.read_text().replace("\t44.0\tdiscard", "\t88.0\tdiscard"))
    call("--results", log, "--all", "--json")
    assert fields(capsys)["rows"] == plain["rows"]


@pytest.mark.parametrize(
    "options",
    [
        ["--line-price", "1e-4"],
        ["--lines", "3", "--line-price", "-1"],
        ["--memory-price", "nan"],
        ["--memory-price", "inf"],
        ["--all", "--lines", "3"],
        ["--lines", "1.5"],
        ["--agent", "nobody"],
    ],
)
def test_prices_without_a_meaning_are_64(log: Path, options: list[str]) -> None:
    assert call("--results", log, *options) == 64


@pytest.mark.parametrize("options", [[], ["--all"]])
def test_guaranteed_says_what_it_needs(
    log: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    assert call("--results", log, "--mode", "guaranteed", *options) == 64
    said = capsys.readouterr().err
    assert "fresh runs" in said
    assert "snakemake --cores 1 --config mode=guaranteed" in said


def test_one_agent_of_several(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
