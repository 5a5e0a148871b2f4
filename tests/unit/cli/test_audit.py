"""``ratchet audit`` on the command line."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.autojudge_logs import CORPUS, HEADER, history, row
from helpers.clones import Clone
from ratchet.cli import main as main_module
from ratchet.cli.audit import main
from ratchet.logs.audit import MOST_SEEDS

REFERENCE = CORPUS / "sessions" / "karpathy__autoresearch__mar8.tsv"
needs_logs = pytest.mark.skipif(
    not REFERENCE.exists(), reason="the collection of real logs is not here"
)


def call(*options: object) -> int:
    return main([str(option) for option in options])


def facts(capsys: pytest.CaptureFixture[str], *options: object) -> Any:
    assert call(*options, "--json") == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """One large step, one that later rows take back, and rows that change nothing."""
    path = tmp_path / "results.tsv"
    values = [(0.9980, "keep"), (0.9930, "keep"), (0.9926, "keep")]
    values += [(0.9930 + 1e-4 * k, "discard") for k in (1, -1, 2, 0, 3, -2, 1, 2)]
    text = HEADER + "".join(row(n, v, s) for n, (v, s) in enumerate(values))
    path.write_text(text + row(11, "0.000000", "crash"))
    return path


def test_every_kept_change_is_listed(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = facts(capsys, "--results", log)
    assert [change["line"] for change in found["changes"]] == [3, 4]
    sure, lucky = found["changes"]
    assert sure["better"] > 0.99 > 0.6 > lucky["better"]
    assert lucky["better"] < lucky["then"]
    assert (sure["commit"], sure["value"], sure["index"]) == ("0000001", 0.993, 2)
    assert sure["step"] == pytest.approx(0.005)
    assert found["experiments"] == 12
    assert found["together"] == [3]
    assert found["expected_false_keeps"] == pytest.approx(2 - sure["better"] - lucky["better"])
    assert found["noise"]["low"] < found["noise"]["sd"] < found["noise"]["high"]
    assert found["problems"] == []
    assert any("minimize" in note for note in found["assumptions"])


def test_text_is_readable(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--results", log) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert lines[0] == "12 experiments of val_bpb, 2 kept changes after the baseline"
    for text in ("noise floor: ±", "one by one: of 2", "together: all 2", "total gain: +0.00"):
        assert text in out
    assert "false keeps" in out
    assert err.startswith("ratchet audit: assumed: ")


def test_the_noise_floor_says_where_it_is_from(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise = facts(capsys, "--results", log)["noise"]
    assert noise["kind"] == "assumed"
    assert "no row is a run of unchanged code" in noise["source"]
    assert "3e-4 of the metric" in noise["source"]
    noise = facts(capsys, "--results", log, "--noise-sd", 5e-4)["noise"]
    assert noise["kind"] == "stated"
    assert noise["sd"] == pytest.approx(5e-4, rel=0.02)
    assert noise["high"] < 1.06 * noise["low"] * 1.06
    replicates = tmp_path / "replicates.txt"
    replicates.write_text("# five seeds\n0.9979 0.9981,0.9975\n0.9983; 0.9978\n")
    noise = facts(capsys, "--results", log, "--replicates", replicates)["noise"]
    assert noise["kind"] == "replicates"
    assert noise["stated"]["sd"] == pytest.approx(np.std([79, 81, 75, 83, 78], ddof=1) * 1e-4)
    assert noise["stated"]["low"] < noise["sd"] < noise["stated"]["high"]
    rerun = tmp_path / "rerun.tsv"
    rerun.write_text(log.read_text() + row(12, 0.9932, "discard", "re-run of the best"))
    noise = facts(capsys, "--results", rerun)["noise"]
    assert noise["kind"] == "re-runs"
    assert "1 further run of the incumbent (line 14)" in noise["source"]


def test_replicates_far_from_the_log_yield_to_it(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two runs that agree by accident do not make the floor of a noisy log."""
    replicates = tmp_path / "replicates.txt"
    replicates.write_text("0.998000\n0.998010\n")
    noise = facts(capsys, "--results", log, "--replicates", replicates)["noise"]
    assert noise["stated"]["sd"] < 1e-5
    assert noise["sd"] > 2 * noise["stated"]["sd"]


def test_higher_is_better(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "log.tsv"
    text = "commit\tval_accuracy\tstatus\tdescription\na\t0.80\tkeep\tbaseline\n"
    path.write_text(text + "b\t0.90\tkeep\tbetter\nc\t0.901\tdiscard\tno\nd\t0.897\tdiscard\tno\n")
    found = facts(capsys, "--results", path)
    (change,) = found["changes"]
    assert change["better"] > 0.9
    assert change["step"] == pytest.approx(0.1)
    assert change["gain"] > 0.05
    assert found["direction"] == "maximize"


def test_nothing_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "log.tsv"
    path.write_text(HEADER + row(0, 0.998, "keep") + row(1, 0.999, "discard"))
    assert call("--results", path) == 0
    assert "nothing was kept after the baseline" in capsys.readouterr().out
    assert facts(capsys, "--results", path)["changes"] == []


def test_one_agent_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "log.tsv"
    lines = [f"{i}\ta{i % 2}\t{0.99 - 0.005 * i:.4f}\tkeep\tx" for i in range(6)]
    path.write_text("\n".join(["commit\tagent\tval_bpb\tstatus\tdescription", *lines]) + "\n")
    assert len(facts(capsys, "--results", path)["changes"]) == 5
    assert len(facts(capsys, "--results", path, "--agent", "a1")["changes"]) == 2
    assert call("--results", path, "--agent", "nobody") == 64


def test_a_repository_tells_what_changes_cost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repo = tmp_path / "clone"
    repo.mkdir()

    def git(*words: str) -> str:
        who = ["-c", "user.name=x", "-c", "user.email=x@x"]
        done = subprocess.run(["git", *who, *words], cwd=repo, capture_output=True, check=True)
        return done.stdout.decode().strip()

    git("init", "-q")
    commits = []
    for text in ("depth = 8\n", "depth = 9\n", "depth = 9\nwarmup = 100\nclip = 1.0\n"):
        (repo / "train.py").write_text(text)
        git("add", ".")
        git("commit", "-q", "-m", "x")
        commits.append(git("rev-parse", "--short=7", "HEAD"))
    log = tmp_path / "log.tsv"
    values = zip([*commits, "fffffff"], (0.998, 0.990, 0.985, 0.980), strict=True)
    log.write_text(HEADER + "".join(f"{c}\t{v}\t44.0\tkeep\tdepth 8 to 9\n" for c, v in values))
    first, second, lost = facts(capsys, "--results", log, "--repo", repo)["changes"]
    assert (first["lines"], first["files"], first["category"]) == (0, 1, "architecture")
    assert (second["lines"], second["files"]) == (2, 1)
    assert (lost["lines"], lost["files"]) == (None, None)
    assert call("--results", log, "--repo", repo) == 0
    shown = capsys.readouterr().out
    assert " code change\n" in shown
    assert "   +2 depth 8 to 9" in shown
    assert call("--results", log, "--repo", tmp_path / "none") == 66


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--noise-sd", "0"], 64, "expected a positive number"),
        (["--noise-sd", "nan"], 64, "expected a positive number"),
        (["--noise-sd", "1", "--replicates", "x"], 64, "not allowed with"),
        (["--replicates", "missing.txt"], 66, "cannot be read"),
        (["--metric", "bogus"], 65, "line 1, column 1: expected a column"),
        (["--bogus"], 64, "see ratchet audit --help"),
    ],
)
def test_mistakes(
    log: Path, options: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("--results", log, *options) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0.99\n0.98 fast\n", "line 2, column 6: expected a metric of one run, found 'fast'"),
        ("0.99 nan\n", "line 1, column 6"),
        ("# none\n0.99\n", "line 1, column 1: expected at least 2 metrics"),
        ("0.99 0.99\n", "agree exactly"),
    ],
)
def test_replicates_that_are_none(
    log: Path, tmp_path: Path, text: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "replicates.txt"
    path.write_text(text)
    assert call("--results", log, "--replicates", path) == 65
    assert said in capsys.readouterr().err


def test_a_log_without_metric_names_line_and_column(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "log.tsv"
    path.write_text(HEADER + row(0, "0.000000", "crash") + row(1, "0.000000", "crash"))
    assert call("--results", path) == 65
    assert "line 1, column 1: expected a row with a metric" in capsys.readouterr().err


def test_hostile_text_is_cleaned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "log.tsv"
    text = "\x1b[2J\x1b]0;x\x07wide\u202er \x9b31m"
    path.write_text(HEADER + row(0, 0.998, "keep") + row(1, 0.990, "keep", text))
    assert call("--results", path) == 0
    out, err = capsys.readouterr()
    assert "wide" in out
    assert not any(bad in out + err for bad in ("\x1b", "\x9b", "\u202e", "\x07"))


def test_a_page_is_written_where_it_may_be(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "audit.html"
    assert call("--results", log, "--html", page) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(page)
    first = page.read_bytes()
    assert b"expected to be no improvement" in first
    assert call("--results", log, "--html", page) == 0  # a page of ours is replaced
    assert page.read_bytes() == first
    other = tmp_path / "notes.html"
    other.write_text("mine")
    for path in (other, log, tmp_path, tmp_path / "none" / "x.html"):
        assert call("--results", log, "--html", path) == 74
    assert "name another with --html" in capsys.readouterr().err
    assert other.read_text() == "mine"
    assert call("--results", log, "--html", other, "--force") == 0
    assert other.read_bytes() == first


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--run"], 64, "add --repo CLONE"),
        (["--seeds", "3"], 64, "--seeds is of re-runs: add --run"),
        (["--only", "abc"], 64, "--only is of re-runs: add --run"),
        (["--dry-run"], 64, "--dry-run is of re-runs: add --run"),
        (["--run", "--repo", ".", "--seeds", "1"], 64, "--seeds: expected at least 2, found 1"),
        (["--run", "--repo", ".", "--top", "0"], 64, "--top: expected at least 1, found 0"),
        (["--run", "--repo", ".", "--task", "nowhere"], 66, "nowhere: holds no task.yaml"),
        (["--run", "--repo", ".", "--session", "../x"], 64, "a name of letters, digits"),
        (
            ["--run", "--repo", ".", "--config", "preset=cpu-tiny"],
            64,
            "--run: expected no preset",
        ),
        (["--run", "--repo", ".", "--direction", "maximize"], 64, "a task that is to maximize"),
        (["--force"], 64, "--force needs a file to replace: add --html FILE"),
    ],
)
def test_mistakes_about_re_runs(
    log: Path,
    tmp_path: Path,
    options: list[str],
    code: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    clone = Clone(tmp_path / "clone")
    clone.commit({"train.py": "a = 1"})
    given = [str(clone.folder) if option == "." else option for option in options]
    place = ["--root", str(tmp_path)] if "--run" in options else []
    assert call("--results", log, *place, *given) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert not (tmp_path / "results").exists()


def test_a_session_of_another_kind_is_left_alone(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "results" / "night").mkdir(parents=True)
    (tmp_path / "results" / "night" / "manifest.json").write_text("{}")
    clone = Clone(tmp_path / "clone")
    given = ["--root", tmp_path, "--run", "--repo", clone.folder, "--session", "night"]
    assert call("--results", log, *given) == 64
    assert "found one with rounds of its own" in capsys.readouterr().err


def test_equal_logs_have_equal_audits(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert facts(capsys, "--results", log) == facts(capsys, "--results", log)
    before = log.read_bytes()
    assert main_module.main(["audit", "--results", str(log)]) == 0
    assert log.read_bytes() == before


def test_any_scale(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A metric in other units is judged alike."""
    found = []
    for scale in (1.0, 1e-6, 1e6):
        path = tmp_path / f"{scale:g}.tsv"
        lines = history().splitlines()
        cells = [line.split("\t") for line in lines[1:]]
        rows = ["\t".join([c[0], repr(float(c[1]) * scale), *c[2:]]) for c in cells]
        path.write_text("\n".join([lines[0].replace("val_bpb", "loss"), *rows]) + "\n")
        found.append([c["better"] for c in facts(capsys, "--results", path)["changes"]])
    assert found[1] == pytest.approx(found[0], abs=1e-6)
    assert found[2] == pytest.approx(found[0], abs=1e-6)


# --- real logs, where they are at hand --------------------------------------------------


@needs_logs
def test_the_reference_session_with_a_stated_noise_floor(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = facts(capsys, "--results", REFERENCE, "--noise-sd", 5e-4)
    assert len(found["changes"]) == 22
    assert found["surviving"] == {"gain": 13, "balanced": 9, "strict": 6, "strong": 3}
    assert found["together"] == [3, 4, 10]
    assert found["together_hold"] > 0.99
    assert found["all_hold"] < 1e-3
    assert 6 < found["expected_false_keeps"] < 8
    assert (found["least_true"], found["most_true"]) == (12, 18)
    assert found["printed"] == pytest.approx(0.028214)
    assert found["total_low"] < found["total"] < found["printed"] < found["total_high"]
    wanted = {c["line"]: c["seeds"] for c in found["changes"] if c["seeds"]}
    assert wanted[106] == 3
    assert max(wanted.values()) <= MOST_SEEDS


@needs_logs
def test_the_reference_session_with_no_noise_given(capsys: pytest.CaptureFixture[str]) -> None:
    found = facts(capsys, "--results", REFERENCE)
    noise = found["noise"]
    assert noise["kind"] == "re-runs"
    assert "line 16" in noise["source"]
    assert 2e-4 < noise["low"] < noise["sd"] < noise["high"] < 8e-4
    assert 4 < found["expected_false_keeps"] < 9


@needs_logs
def test_each_collected_log_is_audited_or_refused(capsys: pytest.CaptureFixture[str]) -> None:
    paths = sorted((CORPUS / "sessions").iterdir())
    assert len(paths) == 34
    refused = []
    for path in paths:
        code = call("--results", path, "--json")
        out, err = capsys.readouterr()
        if code == 65:
            assert "line" in err and "column" in err, path.name
            refused.append(path.name)
            continue
        assert code == 0, path.name
        found = json.loads(out)
        assert found["noise"]["low"] <= found["noise"]["sd"] <= found["noise"]["high"]
        assert all(0 <= change["better"] <= 1 for change in found["changes"]), path.name
        false = len(found["changes"]) - sum(c["better"] for c in found["changes"])
        assert found["expected_false_keeps"] == pytest.approx(false, abs=1e-6)
    assert refused == ["AndrewK404__autoresearch-v2__1.tsv", "karpathy__autoresearch__1.tsv"]
