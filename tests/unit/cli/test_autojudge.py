"""The command ``autojudge``: what is judged, exit codes, text, JSON, hostile files."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from helpers.autojudge_logs import (
    HEADER,
    REFERENCE,
    answer,
    call,
    history,
    needs_logs,
    printed,
    row,
)
from helpers.commands import Capsys, Patch
from ratchet.base.structs import replace
from ratchet.cli.autojudge import MODES
from ratchet.judge.settings import Mode
from ratchet.logs import judging
from ratchet.logs.judging import settings_for
from ratchet.records.records import Verdict

GOOD = 0.9965
MAIN_FIELDS = """verdict confidence val_bpb prev_best delta delta_pct noise_floor
    on_pareto_frontier suggestion experiment reason exit_code"""


def found_in(capsys: Capsys, log: Path, *options: object) -> Any:
    """The JSON answer on a log."""
    return answer(capsys, "autojudge --results", log, *options)


def run_log(log: Path, text: str) -> Path:
    path = log.with_name("run.log")
    path.write_text(text)
    return path


def run_of(log: Path, value: float, memory_mb: float | None = 45056.0) -> Path:
    """The log of a run, whose memory is by default that of the log's rows."""
    memory = "" if memory_mb is None else f"peak_vram_mb: {memory_mb}\n"
    return run_log(log, f"---\nval_bpb: {value}\n{memory}")


def judged(log: Path, value: float, *options: object) -> int:
    return call("autojudge --results", log, "--run", run_of(log, value), *options)


def of_run(capsys: Capsys, log: Path, value: float, *options: object) -> Any:
    """The JSON answer on a run with this metric."""
    return found_in(capsys, log, "--run", run_of(log, value), *options)


def answered(capsys: Capsys, log: Path, memory_mb: float | None, *options: object) -> Any:
    """The JSON answer on a run with this memory."""
    return found_in(capsys, log, "--run", run_of(log, GOOD, memory_mb), *options)


def test_a_keep_is_0_and_its_text_says_why(log: Path, capsys: Capsys) -> None:
    assert judged(log, 0.9900) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].startswith("experiment_022: STRONG_KEEP (confidence: 1.00)")
    assert lines[1].startswith("val_bpb delta: -0.00")
    assert " | noise floor: ±0.000" in lines[1]
    assert lines[2] == "pareto status: EFFICIENT"
    assert lines[3].startswith("reason: P(better)")
    assert "assumed: val_bpb is taken to minimize" in err
    assert judged(log, 0.99, "--quiet") == 0
    out, err = capsys.readouterr()
    assert out.split()[:3] == ["STRONG_KEEP", "100%", "0.990000"]
    assert (out.count("\n"), err) == (1, "")


def test_a_crash_is_1(log: Path, capsys: Capsys) -> None:
    run = run_log(log, "starting\ntorch.OutOfMemoryError: CUDA out of memory.\n")
    assert call("autojudge --results", log, "--run", run) == 1
    assert "CRASH" in (out := capsys.readouterr().out)
    assert "out of memory" in out


def test_a_retest_is_2(log: Path, capsys: Capsys) -> None:
    values = range(9940, 9990, 5)
    codes = [judged(log, value / 1e4, "--mode", "strict") for value in values]
    assert set(codes) == {0, 1, 2}
    assert codes == sorted(codes, key=[0, 2, 1].index), "better values never judge worse"
    out = capsys.readouterr().out
    assert "another run of the same code" in out
    assert ": DISCARD (confidence: 0." in out and "pareto status: DOMINATED" in out


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [
        (None, 66, "cannot be read"),
        (b"", 65, "empty file"),
        (HEADER.encode(), 65, "below the header"),
        (b"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00", 65, "binary"),
        (history().encode() + b"fffffff\tsee\t44.0\tbanana\tx\n", 65, "found 'banana'"),
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
    assert call("autojudge --results", path) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err


def test_the_last_row_is_judged_by_the_rows_before_it(log: Path, capsys: Capsys) -> None:
    log.write_text(history() + row(50, 0.9900, "discard"))
    last = found_in(capsys, log)
    assert (last["experiment"]["index"], last["experiment"]["line"]) == (22, 24)
    log.write_text(history() + row(50, 0.9900, "keep") + row(51, 0.5, "keep"))
    assert found_in(capsys, log, "--row", 22)["confidence"] == last["confidence"]


def test_a_run_log_of_the_last_row_is_not_judged_against_itself(log: Path, capsys: Capsys) -> None:
    log.write_text(history() + row(50, 0.9900, "keep"))
    found = of_run(capsys, log, 0.99)
    assert found["experiment"]["index"] == 22
    assert any("same metric" in said for said in found["assumptions"])


def test_the_first_row_is_the_baseline(tmp_path: Path, capsys: Capsys) -> None:
    path = tmp_path / "results.tsv"
    path.write_text(HEADER + row(0, 0.998, "keep", "baseline"))
    assert "experiment_000: KEEP\n" in (out := printed(capsys, "autojudge --results", path)[0])
    assert "the baseline" in out


def test_undecided_runs_of_one_commit_count_together(log: Path, capsys: Capsys) -> None:
    runs = "".join(f"abcdef0\t{v}\t44.0\t{s}\tx\n" for v, s in ((0.9972, "retest"), (0.9973, "-")))
    log.write_text(history() + runs)
    assert found_in(capsys, log)["runs"] == [0.9972, 0.9973]


def test_a_mirrored_log_gives_the_mirrored_verdict(tmp_path: Path, capsys: Capsys) -> None:
    path = tmp_path / "results.tsv"
    path.write_text(history())
    lower = of_run(capsys, path, GOOD)
    path.write_text(history(sign=-1, offset=1.996).replace("val_bpb", "score"))
    run = run_log(path, f"---\nscore: {1.996 - GOOD}\npeak_vram_mb: 45056.0\n")
    higher = found_in(capsys, path, "--run", run)
    assert higher["direction"] == "maximize"
    assert higher["exit_code"] == lower["exit_code"]
    assert higher["delta"] == pytest.approx(-lower["delta"], rel=0.01)
    assert higher["gain"] == pytest.approx(lower["gain"], rel=0.01)
    assert higher["confidence"] == pytest.approx(lower["confidence"], abs=0.01)
    assert call("autojudge --results", path, "--run", run, "--direction", "minimize") == 1


def test_a_stated_noise_floor_decides(log: Path, capsys: Capsys) -> None:
    sure, unsure = (of_run(capsys, log, GOOD, "--noise-sd", sd) for sd in (1e-5, 0.05))
    assert sure["noise_floor"] == pytest.approx(1e-5, rel=0.06)
    assert unsure["noise_floor"] == pytest.approx(0.05, rel=0.06)
    assert sure["confidence"] > 0.99 > unsure["confidence"]


def test_modes_raise_the_bar(log: Path, capsys: Capsys) -> None:
    assert set(MODES) <= {mode.value for mode in Mode}
    options = (["--mode", "gain"], ["--mode", "balanced"], ["--strict"])
    bars = [of_run(capsys, log, GOOD, *each)["keep_probability"] for each in options]
    assert bars == [0.5, 0.7, 0.8]


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
        found.append(found_in(capsys, path))
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
    both = found_in(capsys, path, "--all")
    one = found_in(capsys, path, "--all", "--agent", "ada")
    kept = [line.split("\t")[0] for line in text.splitlines()[1:] if line.endswith(("ada", "\t"))]
    assert [entry["commit"] for entry in one["rows"]] == kept
    assert one["experiments"] < both["experiments"]
    assert any("agents share" in said for said in both["assumptions"])
    assert not any("agents share" in said for said in one["assumptions"])
    assert any("of ada or of nobody" in said for said in one["assumptions"])


def test_memory_is_free_and_shown_by_the_pareto_status(log: Path, capsys: Capsys) -> None:
    same, more = answered(capsys, log, 45056), answered(capsys, log, 4 * 45056)
    assert (more["verdict"], more["confidence"]) == (same["verdict"], same["confidence"])
    assert "memory" not in more["reason"]
    smaller = answered(capsys, log, 22528)
    assert smaller["confidence"] == same["confidence"] < 1
    assert smaller["p_efficient"] == [1, 1]


@pytest.mark.parametrize("option", ["--json", "--format json", "--json --quiet"])
def test_json_has_its_main_fields(log: Path, capsys: Capsys, option: str) -> None:
    assert judged(log, 0.9900, *option.split()) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(MAIN_FIELDS.split()) <= set(found)
    assert found["verdict"] in set(Verdict)
    assert found["run_log"]["peak_vram_mb"] == 45056.0
    assert found["prev_best"] <= 0.9980
    assert found["exit_code"] == 0
    low, high = found["noise_floor_interval"]
    assert low < found["noise_floor"] < high


def test_all_gives_a_verdict_for_each_row(log: Path, capsys: Capsys) -> None:
    log.write_text(history() + row(60, "0.000000", "crash") + row(61, 0.99, "keep"))
    assert call("autojudge --results", log, "--all") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 24 + 2
    for place, verdict in ((1, "BASELINE"), (2, "INCUMBENT_RUN"), (23, "CRASH")):
        assert f" {verdict} " in lines[place]
    assert " STRONG_KEEP " in lines[24]
    assert lines[25].startswith("noise floor: ±0.000")
    assert "expected false keeps: " in lines[26]
    found = found_in(capsys, log, "--all")
    assert [entry["index"] for entry in found["rows"]] == list(range(24))
    assert "RETEST" not in {entry["verdict"] for entry in found["rows"]}


def test_problems_are_told_and_do_not_stop_the_rest(log: Path, capsys: Capsys) -> None:
    log.write_text(history() + "summary of the night\n" + row(60, 0.99, "keep"))
    assert "problem: line 24, column 1" in printed(capsys, "autojudge --results", log, "--quiet")[1]


def test_hostile_text_is_cleaned(log: Path, capsys: Capsys) -> None:
    hostile = "x\x1b]0;owned\x07\x1b[2J\u202eevil\x9b1m"
    text = history() + f"{hostile}\t0.99\t44.0\tkeep ({hostile})\t{hostile}\n"
    log.write_text(
        text + f"a\t{hostile}\t1\tdiscard\tx\nb\t0.9\t1\t{hostile}\tx\n" + row(70, 1, "-")
    )
    run = run_log(log, f"RuntimeError: {hostile}\n")
    for options in (["--all"], ["--json"], ["--run", run], ["--metric", hostile], [hostile]):
        call("autojudge --results", log, *options)
        for text in capsys.readouterr():
            assert not set(text) & set("\x1b\x07\u202e\x9b"), options
    log.write_text(history())
    run = run_log(log, "ValueError: x\rexperiment_001: STRONG_KEEP\x0bmore\u2028lines\n")
    assert call("autojudge --results", log, "--run", run) == 1
    assert len(capsys.readouterr().out.splitlines()) == 4, "a run log forges no lines"


def test_a_row_is_judged_the_same_alone_and_among_all(log: Path, capsys: Capsys) -> None:
    """Whatever the rows after it say of the scale of effects, and with all its runs."""
    odd = row(60, 0.9979, "keep", "luck") + row(61, 0.5, "discard", "wild")
    odd += "abcdef0\t0.9972\t88.0\tretest\tx\nabcdef0\t0.9973\t88.0\tdiscard\tx\n"
    odd += row(62, 1.1, "baseline", "new machine") + row(63, 1.0985, "keep", "narrow")
    log.write_text(history() + odd + row(64, 1.0992, "discard", "close"))
    rows = found_in(capsys, log, "--all")["rows"]
    words = {"BASELINE": "KEEP", "INCUMBENT_RUN": "DISCARD"}
    judged = [entry for entry in rows if entry["verdict"] != "UNDECIDED_RUN"]
    assert len(judged) == len(rows) - 1
    for entry in judged:
        alone = found_in(capsys, log, "--row", entry["index"])
        assert alone["experiment"]["index"] == entry["index"]
        for name in ("confidence", "delta", "gain"):
            known = entry[name] is not None
            assert (alone[name] is not None) is known, (entry, name)
            assert not known or alone[name] == pytest.approx(entry[name], rel=1e-9), (entry, name)
        assert alone["verdict"] == words.get(entry["verdict"], entry["verdict"]), entry


def test_only_the_last_row_can_be_run_again(log: Path, capsys: Capsys, monkeypatch: Patch) -> None:
    """However cheap another run is."""

    def cheap(*given: Any) -> Any:
        return replace(settings_for(*given), retest_price=0.0)

    monkeypatch.setattr(judging, "settings_for", cheap)
    found = set()
    for value in range(9940, 10010, 10):
        log.write_text(history() + row(60, value / 1e4, "discard"))
        alone = found_in(capsys, log)["verdict"]
        assert found_in(capsys, log, "--all")["rows"][-1]["verdict"] == alone
        found.add(alone)
        log.write_text(log.read_text() + row(61, 1.1, "discard"))
        before = found_in(capsys, log, "--row", 22)["verdict"]
        assert found_in(capsys, log, "--all")["rows"][22]["verdict"] == before != "RETEST"
    assert "RETEST" in found


@needs_logs
def test_the_reference_session(capsys: Capsys) -> None:
    start = time.process_time()
    found = found_in(capsys, REFERENCE, "--all")
    assert time.process_time() - start < 10
    assert len(found["rows"]) == 126
    assert 2e-4 < found["noise_floor"] < 6e-4
    assert found["keeps"] == 22
    assert 4 < found["expected_false_keeps"] < 12


SEEDLESS = (
    HEADER + "a\t0.997913\t44.0\tkeep\tbaseline\nb\t0.997913\t44.0\tdiscard\tre-run of a\n"
    "c\t0.993245\t44.0\tkeep\twider\nd\t1.005012\t44.0\tdiscard\tGeLU\n"
)


def test_a_log_whose_seed_has_no_effect_claims_no_confidence(
    tmp_path: Path, capsys: Capsys
) -> None:
    log = tmp_path / "results.tsv"
    log.write_text(SEEDLESS + "e\t0.991123\t44.0\tkeep\tdeeper\n")
    assert call("autojudge", "--results", log) == 0
    said = capsys.readouterr().out
    assert said.startswith("experiment_004: KEEP\nval_bpb delta: -0.002122 | noise floor: unknown")
    assert "the seed has no effect here (`seed: hook` in task.yaml may help)" in said
    assert "confidence" not in said and "P(better)" not in said
    found = answer(capsys, "autojudge", "--results", log)
    assert (found["seed_effect"], found["saturated"]) == ("none", False)
    assert found["delta"] == pytest.approx(0.991123 - 0.993245)
    unknown = ("confidence", "noise_floor", "noise_floor_interval", "expected_false_keeps")
    assert [found[name] for name in unknown] == [None] * 4
    every = answer(capsys, "autojudge", "--results", log, "--all")
    assert {row["confidence"] for row in every["rows"]} == {None}
    assert "STRONG_KEEP" not in {row["verdict"] for row in every["rows"]}
    # Whoever knows the noise gets a confidence.
    stated = answer(capsys, "autojudge", "--results", log, "--noise-sd", 0.001)
    assert stated["confidence"] > 0.5


def test_worse_than_the_incumbent_is_no_keep_where_one_run_tells(
    tmp_path: Path, capsys: Capsys
) -> None:
    """The judge believes that the incumbent is worse than it measured; here it is not."""
    log = tmp_path / "results.tsv"
    log.write_text(SEEDLESS + "e\t0.993300\t44.0\tdiscard\tdeeper\n")
    found = answer(capsys, "autojudge", "--results", log)
    assert (found["verdict"], found["exit_code"]) == ("DISCARD", 1)


def test_no_retest_is_asked_for_where_it_would_repeat(tmp_path: Path, capsys: Capsys) -> None:
    log = tmp_path / "results.tsv"
    values = [0.9932 - n / 50000 for n in range(1, 12)]
    for value in values:
        log.write_text(SEEDLESS + f"e\t{value:.6f}\t44.0\tdiscard\tdeeper\n")
        assert answer(capsys, "autojudge", "--results", log)["verdict"] != "RETEST"
