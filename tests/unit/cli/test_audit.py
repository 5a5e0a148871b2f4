"""``ratchet audit`` on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.autojudge_logs import CORPUS, HEADER, history, row
from helpers.clones import Clone
from ratchet.cli import main as main_module
from ratchet.cli.audit import main
from ratchet.cli.audit_rerun import exit_code, told
from ratchet.logs.audit import MOST_SEEDS
from ratchet.logs.rerun_plan import AuditedCode, AuditPlan, KeptChange, KeptStanding

REFERENCE = CORPUS / "sessions" / "karpathy__autoresearch__mar8.tsv"
needs_logs = pytest.mark.skipif(
    not REFERENCE.exists(), reason="the collection of real logs is not here"
)


class Audited:
    """A log, and what the command says of it."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path = folder / "results.tsv"
        self.capsys = capsys

    def write(self, *rows: str, header: str = HEADER) -> None:
        self.path.write_text(header + "".join(rows))

    def call(self, *options: object) -> tuple[int, str, str]:
        """Exit code and both outputs."""
        code = main([str(option) for option in ("--results", self.path, *options)])
        return code, *self.capsys.readouterr()

    def facts(self, *options: object) -> Any:
        code, out, _ = self.call(*options, "--json")
        assert code == 0
        return json.loads(out)

    def refused(self, code: int, said: str, *options: object) -> None:
        found, out, err = self.call(*options)
        assert (found, out) == (code, "")
        assert said in err


@pytest.fixture
def log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Audited:
    """One large step, one that later rows take back, and rows that change nothing."""
    values = [(0.9980, "keep"), (0.9930, "keep"), (0.9926, "keep")]
    values += [(0.9930 + 1e-4 * k, "discard") for k in (1, -1, 2, 0, 3, -2, 1, 2)]
    log = Audited(tmp_path, capsys)
    rows = (row(n, v, s) for n, (v, s) in enumerate(values))
    log.write(*rows, row(11, "0.000000", "crash"))
    return log


def test_every_kept_change_is_listed(log: Audited) -> None:
    before, found = log.path.read_bytes(), log.facts()
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
    assert log.facts() == found  # equal logs have equal audits
    assert main_module.main(["audit", "--results", str(log.path)]) == 0
    assert log.path.read_bytes() == before


def test_text_is_readable(log: Audited) -> None:
    code, out, err = log.call()
    assert code == 0
    assert all(len(line) <= 80 for line in out.splitlines())
    assert out.startswith("12 experiments of val_bpb, 2 kept changes after the baseline\n")
    for text in ("noise floor: ±", "one by one: of 2", "together: all 2", "total gain: +0.00"):
        assert text in out
    assert "false keeps" in out
    assert err.startswith("ratchet audit: assumed: ")
    text = "\x1b[2J\x1b]0;x\x07wide\u202er \x9b31m"
    log.write(row(0, 0.998, "keep"), row(1, 0.990, "keep", text))
    code, out, err = log.call()
    assert code == 0 and "wide" in out
    assert not any(bad in out + err for bad in ("\x1b", "\x9b", "\u202e", "\x07"))


def test_the_noise_floor_says_where_it_is_from(log: Audited, tmp_path: Path) -> None:
    noise = log.facts()["noise"]
    assert noise["kind"] == "assumed"
    assert "no row is a run of unchanged code" in noise["source"]
    assert "3e-4 of the metric" in noise["source"]
    noise = log.facts("--noise-sd", 5e-4)["noise"]
    assert noise["kind"] == "stated"
    assert noise["sd"] == pytest.approx(5e-4, rel=0.02)
    assert noise["high"] < 1.06 * noise["low"] * 1.06
    replicates = tmp_path / "replicates.txt"
    replicates.write_text("# five seeds\n0.9979 0.9981,0.9975\n0.9983; 0.9978\n")
    noise = log.facts("--replicates", replicates)["noise"]
    assert noise["kind"] == "replicates"
    assert noise["stated"]["sd"] == pytest.approx(np.std([79, 81, 75, 83, 78], ddof=1) * 1e-4)
    assert noise["stated"]["low"] < noise["sd"] < noise["stated"]["high"]
    # Two runs that agree by accident do not make the floor of a noisy log.
    replicates.write_text("0.998000\n0.998010\n")
    noise = log.facts("--replicates", replicates)["noise"]
    assert noise["stated"]["sd"] < 1e-5
    assert noise["sd"] > 2 * noise["stated"]["sd"]
    log.write(log.path.read_text(), row(12, 0.9932, "discard", "re-run of the best"), header="")
    noise = log.facts()["noise"]
    assert noise["kind"] == "re-runs"
    assert "1 further run of the incumbent (line 14)" in noise["source"]


def test_higher_is_better(log: Audited) -> None:
    rows = "a\t0.80\tkeep\nb\t0.90\tkeep\nc\t0.901\tdiscard\nd\t0.897\tdiscard\n"
    log.write(rows, header="commit\tval_accuracy\tstatus\n")
    found = log.facts()
    (change,) = found["changes"]
    assert change["better"] > 0.9
    assert change["step"] == pytest.approx(0.1)
    assert change["gain"] > 0.05
    assert found["direction"] == "maximize"


def test_nothing_kept(log: Audited) -> None:
    log.write(row(0, 0.998, "keep"), row(1, 0.999, "discard"))
    assert "nothing was kept after the baseline" in log.call()[1]
    found = log.facts()
    assert found["changes"] == [] == found["together"]
    assert (found["expected_true"], found["least_true"], found["most_true"]) == (0, 0, 0)
    assert (found["total"], found["printed"]) == (0, 0)
    assert found["all_hold"] == pytest.approx(1) == found["together_hold"]
    log.write(row(0, "0.000000", "crash"), row(1, "0.000000", "crash"))
    log.refused(65, "line 1, column 1: expected a row with a metric")


def test_one_agent_alone(log: Audited) -> None:
    rows = (f"{i}\ta{i % 2}\t{0.99 - 0.005 * i:.4f}\tkeep\n" for i in range(6))
    log.write(*rows, header="commit\tagent\tval_bpb\tstatus\n")
    assert len(log.facts()["changes"]) == 5
    assert len(log.facts("--agent", "a1")["changes"]) == 2
    assert log.call("--agent", "nobody")[0] == 64


def test_any_scale(log: Audited) -> None:
    """A metric in other units is judged alike."""
    found = []
    header, *lines = history().replace("val_bpb", "loss").splitlines()
    for scale in (1.0, 1e-6, 1e6):
        cells = [line.split("\t") for line in lines]
        rows = ["\t".join([c[0], repr(float(c[1]) * scale), *c[2:]]) + "\n" for c in cells]
        log.write(*rows, header=header + "\n")
        found.append([change["better"] for change in log.facts()["changes"]])
    assert found[1] == pytest.approx(found[0], abs=1e-6)
    assert found[2] == pytest.approx(found[0], abs=1e-6)


def test_a_repository_tells_what_changes_cost(log: Audited, tmp_path: Path) -> None:
    clone = Clone(tmp_path / "clone")
    texts = ("depth = 8\n", "depth = 9\n", "depth = 9\nwarmup = 100\nclip = 1.0\n")
    commits = [clone.commit({"train.py": text})[:7] for text in texts]
    values = zip([*commits, "fffffff"], (0.998, 0.990, 0.985, 0.980), strict=True)
    log.write(*(f"{c}\t{v}\t44.0\tkeep\tdepth 8 to 9\n" for c, v in values))
    first, second, lost = log.facts("--repo", clone.folder)["changes"]
    assert (first["lines"], first["files"], first["category"]) == (0, 1, "architecture")
    assert (second["lines"], second["files"]) == (2, 1)
    assert (lost["lines"], lost["files"]) == (None, None)
    shown = log.call("--repo", clone.folder)[1]
    assert " code change\n" in shown
    assert "   +2 depth 8 to 9" in shown
    assert log.call("--repo", tmp_path / "none")[0] == 66


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--noise-sd", "0"], 64, "expected a positive number"),
        (["--noise-sd", "nan"], 64, "expected a positive number"),
        (["--noise-sd", "1", "--replicates", "x"], 64, "not allowed with"),
        (["--replicates", "missing.txt"], 66, "cannot be read"),
        (["--metric", "bogus"], 65, "line 1, column 1: expected a column"),
        (["--bogus"], 64, "see ratchet audit --help"),
        (["--force"], 64, "--force needs a file to replace: add --html FILE"),
        (["--run"], 64, "add --repo CLONE"),
        (["--seeds", "3"], 64, "--seeds is of re-runs: add --run"),
        (["--only", "abc"], 64, "--only is of re-runs: add --run"),
        (["--dry-run"], 64, "--dry-run is of re-runs: add --run"),
    ],
)
def test_mistakes(log: Audited, options: list[str], code: int, said: str) -> None:
    log.refused(code, said, *options)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0.99\n0.98 fast\n", "line 2, column 6: expected a metric of one run, found 'fast'"),
        ("0.99 nan\n", "line 1, column 6"),
        ("# none\n0.99\n", "line 1, column 1: expected at least 2 metrics"),
        ("0.99 0.99\n", "agree exactly"),
    ],
)
def test_replicates_that_are_none(log: Audited, tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "replicates.txt"
    path.write_text(text)
    log.refused(65, said, "--replicates", path)


def test_a_page_is_written_where_it_may_be(log: Audited, tmp_path: Path) -> None:
    page = tmp_path / "audit.html"
    code, out, _ = log.call("--html", page)
    assert (code, out.splitlines()[-1]) == (0, str(page))
    first = page.read_bytes()
    assert b"expected to be no improvement" in first
    assert log.call("--html", page)[0] == 0  # a page of ours is replaced
    assert page.read_bytes() == first
    other = tmp_path / "notes.html"
    other.write_text("mine")
    for path, said in (
        (other, "name another with --html"),
        (log.path, "is what the report is made of"),
        (tmp_path, "is a folder"),
        (tmp_path / "none" / "x.html", "no such folder"),
    ):
        log.refused(74, said, "--html", path)
    assert other.read_text() == "mine"
    assert log.call("--html", other, "--force")[0] == 0
    assert other.read_bytes() == first


# --- running kept changes again ----------------------------------------------------------

CODES = tuple(AuditedCode(letter * 64, {}, letter) for letter in "ab")


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--seeds", "1"], 64, "--seeds: expected at least 2, found 1"),
        (["--top", "0"], 64, "--top: expected at least 1, found 0"),
        (["--task", "nowhere"], 66, "nowhere: holds no task.yaml"),
        (["--session", "../x"], 64, "a name of letters, digits"),
        (["--session", "night"], 64, "found one with rounds of its own"),
        (["--config", "preset=cpu-tiny"], 64, "--run: expected no preset"),
        (["--direction", "maximize"], 64, "a task that is to maximize"),
    ],
)
def test_mistakes_about_re_runs(
    log: Audited, tmp_path: Path, options: list[str], code: int, said: str
) -> None:
    night = tmp_path / "results" / "night"
    night.mkdir(parents=True)
    (night / "manifest.json").write_text("{}")
    clone = Clone(tmp_path / "clone")
    clone.commit({"train.py": "a = 1"})
    log.refused(code, said, "--root", tmp_path, "--run", "--repo", clone.folder, *options)
    assert [path.name for path in tmp_path.rglob("results/**/*")] == ["night", "manifest.json"]


@pytest.mark.parametrize(
    ("standings", "code"),
    [
        ({"holds": 3}, 0),
        ({"does not hold": 1, "undecided": 1}, 1),
        ({"not run": 1}, 1),
        ({"undecided": 1}, 2),
    ],
)
def test_the_exit_code_is_the_verdict_on_all(standings: dict[str, int], code: int) -> None:
    counts = {standing.value: standings.get(standing.value, 0) for standing in KeptStanding}
    assert exit_code({"counts": counts}) == code


def test_what_will_be_run_is_said_with_its_price() -> None:
    changes = (
        KeptChange(3, "abc", "x", 4, "a" * 64, "b" * 64, parent_line=2),
        KeptChange(5, "abd", "x", 3, "b" * 64, "a" * 64, parent_commit="f" * 40),
        KeptChange(7, "abe\x1b", "x", 9, unable="it is lost"),
    )
    lines = told(AuditPlan("0", {}, 8, CODES, changes), 900.0)
    assert lines[:3] == [
        "to run again: 2 of 8 kept changes, 3 to 4 seeds for each side; 8 runs of 2 codes, about "
        "2.0 hours of training",
        "line 3 (abc) against line 2, 4 seeds",
        "line 5 (abd) against ffffffffffff, 3 seeds",
    ]
    assert lines[3].endswith("cannot be run: it is lost")
    assert "hours" not in told(AuditPlan("0", {}, 8, CODES, changes), None)[0]


# --- real logs, where they are at hand --------------------------------------------------


@needs_logs
def test_the_reference_session(log: Audited) -> None:
    log.path = REFERENCE
    found = log.facts("--noise-sd", 5e-4)
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
    found = log.facts()
    noise = found["noise"]
    assert noise["kind"] == "re-runs"
    assert "line 16" in noise["source"]
    assert 2e-4 < noise["low"] < noise["sd"] < noise["high"] < 8e-4
    assert 4 < found["expected_false_keeps"] < 9


@needs_logs
def test_each_collected_log_is_audited_or_refused(log: Audited) -> None:
    refused = []
    for path in sorted((CORPUS / "sessions").iterdir()):
        log.path = path
        code, out, err = log.call("--json")
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
