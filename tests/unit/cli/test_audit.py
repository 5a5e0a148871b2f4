"""``ratchet audit`` on the command line."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.autojudge_logs import HEADER, REFERENCE, answer, call, history, needs_logs, row
from helpers.clones import Clone
from helpers.commands import Capsys
from ratchet.cli.audit_rerun import exit_code, told
from ratchet.logs.audit import MOST_SEEDS
from ratchet.logs.rerun_plan import AuditedCode, AuditPlan, KeptChange, KeptStanding


class Audited:
    """A log, and what the command says of it."""

    def __init__(self, folder: Path, capsys: Capsys) -> None:
        self.path = folder / "results.tsv"
        self.capsys = capsys

    def write(self, *rows: str, header: str = HEADER) -> None:
        self.path.write_text(header + "".join(rows))

    def call(self, *options: object) -> tuple[int, str, str]:
        """Exit code and both outputs."""
        code = call("ratchet audit --results", self.path, *options)
        return code, *self.capsys.readouterr()

    def facts(self, *options: object) -> Any:
        return answer(self.capsys, "ratchet audit --results", self.path, *options)

    def refused(self, code: int, said: str, *options: object) -> None:
        found, out, err = self.call(*options)
        assert (found, out) == (code, "")
        assert said in err


@pytest.fixture
def log(tmp_path: Path, capsys: Capsys) -> Audited:
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
    assert sure["given_log"] > 0.99 > 0.6 > lucky["given_log"]
    assert lucky["given_log"] < lucky["confidence"]
    assert (sure["commit"], sure["value"], sure["index"]) == ("0000001", 0.993, 1)
    assert sure["step"] == pytest.approx(0.005)
    assert found["experiments"] == 11
    assert found["together"] == [3]
    assert found["expected_false_keeps"] == pytest.approx(
        2 - sure["given_log"] - lucky["given_log"]
    )
    assert found["noise"]["low"] < found["noise"]["sd"] < found["noise"]["high"]
    assert found["problems"] == []
    assert any("minimize" in note for note in found["assumptions"])
    assert log.facts() == found  # equal logs have equal audits
    assert log.path.read_bytes() == before


def test_text_is_readable(log: Audited) -> None:
    code, out, err = log.call()
    assert code == 0
    assert all(len(line) <= 80 for line in out.splitlines())
    assert out.startswith("11 experiments of val_bpb, 2 kept changes after the baseline\n")
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
    assert change["given_log"] > 0.9
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


def test_any_scale(log: Audited) -> None:
    """A metric in other units is judged alike."""
    found = []
    header, *lines = history().replace("val_bpb", "loss").splitlines(keepends=True)
    cells = [line.split("\t", 2) for line in lines]
    for scale in (1.0, 1e-6, 1e6):
        rows = (f"{name}\t{float(value) * scale!r}\t{rest}" for name, value, rest in cells)
        log.write(*rows, header=header)
        found.append([change["given_log"] for change in log.facts()["changes"]])
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
    page.write_text("mine")
    for path, said in ((page, "name another with --html"), (log.path, "is what the report is")):
        log.refused(74, said, "--html", path)
    assert page.read_text() == "mine"
    code, out, _ = log.call("--html", page, "--force")
    assert (code, out.splitlines()[-1]) == (0, str(page))
    assert "expected to be no improvement" in page.read_text()


CODES = tuple(AuditedCode(letter * 64, {}, letter) for letter in "ab")


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


@needs_logs
def test_the_reference_session(log: Audited) -> None:
    log.path = REFERENCE
    found = log.facts("--noise-sd", 5e-4)
    assert len(found["changes"]) == 22
    assert found["surviving"] == {"gain": 17, "balanced": 11, "strict": 9, "strong": 3}
    assert found["together"] == [3, 4, 10]
    assert found["together_hold"] > 0.99
    assert found["all_hold"] < 1e-3
    assert 6 < found["expected_false_keeps"] < 8
    assert (found["least_true"], found["most_true"]) == (12, 18)
    assert found["printed"] == pytest.approx(0.028214)
    assert found["total_low"] < found["total"] < found["printed"] < found["total_high"]
    wanted = {c["line"]: c["seeds"] for c in found["changes"] if c["seeds"]}
    assert wanted[106] == 2
    assert max(wanted.values()) <= MOST_SEEDS
    found = log.facts()
    noise = found["noise"]
    assert noise["kind"] == "re-runs"
    assert "line 16" in noise["source"]
    assert 2e-4 < noise["low"] < noise["sd"] < noise["high"] < 8e-4
    assert 4 < found["expected_false_keeps"] < 9


def test_a_log_whose_reruns_repeat_takes_the_noise_from_elsewhere(
    log: Audited, tmp_path: Path
) -> None:
    path = tmp_path / "repeated.tsv"
    path.write_text(
        HEADER + "a\t0.997913\t44.0\tkeep\tbaseline\nb\t0.997913\t44.0\tdiscard\tre-run of a\n"
        "c\t0.993245\t44.0\tkeep\twider\n"
    )
    found = answer(log.capsys, "ratchet audit", "--results", path)
    assert found["noise"]["sd"] > 1e-5 and found["noise"]["kind"] == "assumed"
    assert "line 3 only repeats a value" in found["noise"]["source"]
    assert any("the seed has no effect here" in note for note in found["assumptions"])
    path.write_text(HEADER + row(0, 0.997913, "keep") + row(1, 0.997913, "keep"))
    assert call("ratchet audit", "--results", path) == 0
    assert "no kept change differs from its incumbent, so" in log.capsys.readouterr().out
    assert call("ratchet audit", "--results", path, "--noise-sd", "0.001") == 0
