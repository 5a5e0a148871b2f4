"""The command line ``autosteer``: the article's table, options, hostile logs."""

import json
from pathlib import Path

import pytest

from helpers.autojudge_logs import HEADER, REFERENCE, answer, call, needs_logs, printed
from helpers.commands import Capsys, Patch
from ratchet.records.session_repo import SessionRepo

TEXTS = {
    "architecture": "wider transformer",
    "hyperparams": "another schedule",
    "optimizer": "another optimizer",
    "regularization": "regularize",
}
COUNTS = {"architecture": (12, 8), "hyperparams": (18, 6), "optimizer": (8, 1)}
COUNTS["regularization"] = (4, 0)
TABLE = """Category analysis (last 50 experiments):
architecture: 12 tried | 8 kept (67%) | EXPLOIT
hyperparams: 18 tried | 6 kept (33%) | NEUTRAL
optimizer: 8 tried | 1 kept (12%) | AVOID
regularization: 4 tried | 0 kept (0%) | EXPLORE
"""
ANSWER = """Suggested next: architecture variations (high success rate)
Specific angles: attention head count, layer depth, skip connections
"""
RELEASED = {
    "": "strategy baseline_bpb best_bpb category_stats suggestions",
    "stats": "total keeps discards crashes success_rate_pct avg_improvement_pct",
    "suggestion": "rank kind title category risk expected_range_pct reasoning priority_score",
}


def row(number: int, value: float, status: str, text: str) -> str:
    return f"{number:07x}\t{value:.6f}\t44.0\t{status}\t{text}\n"


def example(metric: str = "val_bpb", sign: int = 1) -> str:
    """A log with the article's counts, mixed evenly; every keep gains the same."""
    left = {name: [i < kept for i in range(tried)] for name, (tried, kept) in COUNTS.items()}
    best, number = 1.0, 1
    text = HEADER.replace("val_bpb", metric) + row(0, sign * best, "keep", "baseline")
    while any(left.values()):
        for name, queue in left.items():
            if not queue:
                continue
            kept = queue.pop()
            best -= 0.002 if kept else 0.0
            value = best if kept else best + 0.004
            text += row(number, sign * value, "keep" if kept else "discard", f"{TEXTS[name]}")
            number += 1
    return text


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "results.tsv"
    path.write_text(example())
    return path


def test_the_published_example(log: Path, capsys: Capsys) -> None:
    out, err = printed(capsys, "autosteer --mode exploit --results", log)
    assert out.startswith(TABLE + ANSWER)
    assert "Noise floor ±" in out
    assert "assumed: val_bpb is taken to minimize" in err


def test_labels_do_not_hang_on_one_row(log: Path, capsys: Capsys) -> None:
    for status in ("keep", "discard", "crash"):
        log.write_text(example() + row(99, 0.9, status, "wider transformer"))
        assert call("autosteer --mode exploit --results", log) == 0
        labels = [line.split(" | ")[-1] for line in capsys.readouterr().out.splitlines()[1:5]]
        assert labels == ["EXPLOIT", "NEUTRAL", "AVOID", "EXPLORE"]
    # A log without a baseline loses no experiment.
    lines = example().splitlines(keepends=True)
    log.write_text("".join([lines[0], *lines[2:]]))
    assert printed(capsys, "autosteer --mode exploit --results", log)[0].startswith(TABLE)


def test_higher_is_better(tmp_path: Path, capsys: Capsys) -> None:
    path = tmp_path / "results.tsv"
    path.write_text(example("score", -1))
    found = answer(capsys, "autosteer --mode exploit --results", path)
    assert found["direction"] == "maximize"
    assert found["best_bpb"] > found["baseline_bpb"]
    assert found["suggestions"][0]["category"] == "architecture"


@pytest.mark.parametrize("mode", ["auto", "explore", "exploit"])
def test_the_same_log_gives_the_same_answer(log: Path, capsys: Capsys, mode: str) -> None:
    first, _ = printed(capsys, "autosteer --results", log, "--mode", mode)
    assert printed(capsys, "autosteer --results", log, "--strategy", mode.upper())[0] == first


def test_explore_looks_where_nobody_was(log: Path, capsys: Capsys) -> None:
    found = answer(capsys, "autosteer --mode explore --results", log)
    assert found["suggestions"][0]["category"] not in ("architecture", "hyperparams", "optimizer")
    assert found["suggestions"][0]["kind"] == "EXPLORE"


@needs_logs
@pytest.mark.parametrize("mode", ["auto", "explore", "exploit"])
def test_the_reference_session_exploits_before_it_avoids(capsys: Capsys, mode: str) -> None:
    found = answer(capsys, "autosteer --num-suggestions 20 --results", REFERENCE, "--mode", mode)
    labels = {name: stats["label"] for name, stats in found["category_stats"].items()}
    for listed in (found["ranking"], [one["category"] for one in found["suggestions"]]):
        words = [labels[name] for name in listed]
        before, _, after = " ".join(words).rpartition("EXPLOIT")
        assert after and "AVOID" not in before


def test_quiet_has_a_line_for_each_suggestion(log: Path, capsys: Capsys) -> None:
    out, err = printed(capsys, "autosteer -q --mode exploit --num-suggestions 3 --results", log)
    lines = out.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("1. [EXPLOIT] architecture variations: attention head count")
    assert err == ""


def test_json_holds_what_the_released_tool_has(log: Path, capsys: Capsys) -> None:
    assert call("autosteer --results", log, "--format", "json", "--no-color") == 0
    found = json.loads(capsys.readouterr().out)
    assert set(RELEASED[""].split()) <= set(found)
    assert set(RELEASED["stats"].split()) <= set(found["category_stats"]["architecture"])
    assert len(found["suggestions"]) == 5
    for suggestion in found["suggestions"]:
        assert set(RELEASED["suggestion"].split()) <= set(suggestion)
    stats = found["category_stats"]["optimizer"]
    assert (stats["total"], stats["keeps"], stats["discards"], stats["crashes"]) == (8, 1, 7, 0)
    assert found["detectable"]["3"] < found["detectable"]["1"]


def test_crashes_and_used_up_constants_are_named(log: Path, capsys: Capsys) -> None:
    more = [row(60 + n, 0.99, "discard", f"softcap 15 to {n}") for n in (10, 20, 30)]
    more.append("000007f\t0.000000\t0.0\tcrash\tdepth 40 (OOM)\n")
    log.write_text(example() + "".join(more))
    out, _ = printed(capsys, "autosteer --results", log)
    assert "Do not repeat: 'depth 40 (OOM)' (experiment 46) crashed; the largest that ran" in out
    assert "Used up: softcap: the last 3 tries (10, 20, 30) were all discarded" in out


def test_descriptions_cannot_move_the_terminal(log: Path, capsys: Capsys) -> None:
    log.write_text(example() + row(70, 0.0, "crash", "a\x1b[2Jb\u202ec\x07"))
    out, err = printed(capsys, "autosteer --results", log)
    assert all(line.isprintable() for line in (out + err).splitlines())


def test_diffs_come_before_words(tmp_path: Path, capsys: Capsys) -> None:
    repo = SessionRepo(tmp_path / "repo", "s")
    repo.create()
    old = repo.commit({"train.py": b"LR = 1\nDROPOUT = 0\n"}, "a", 0, None, "refs/heads/x")
    new = repo.commit({"train.py": b"LR = 1\nDROPOUT = 1\n"}, "b", 1, old, "refs/heads/y")
    text = HEADER + f"{old[:7]}\t1.0\t1.0\tkeep\tbaseline\n"
    text += f"{new[:7]}\t0.9\t1.0\tkeep\tnew learning rate\n"
    text += "0123456\t0.9\t1.0\tdiscard\tnew learning rate\n"
    text += "--output=x\t0.9\t1.0\tdiscard\tnew learning rate\n"
    log = tmp_path / "results.tsv"
    log.write_text(text)
    said = answer(capsys, "autosteer --results", log)
    assert [e["category"] for e in said["experiments"]] == ["hyperparams"] * 3
    shown = answer(capsys, "autosteer --results", log, "--repo", repo.folder)
    found = [e["category"] for e in shown["experiments"]]
    assert found == ["regularization", "hyperparams", "hyperparams"]


def test_the_log_may_lie_in_the_repository(log: Path, capsys: Capsys, monkeypatch: Patch) -> None:
    repo = SessionRepo(log.parent / ".git", "s")
    repo.create()
    empty = log.parent / "elsewhere"
    empty.mkdir()
    monkeypatch.chdir(empty)
    out, _ = printed(capsys, "autosteer --mode exploit --repo-dir", log.parent)
    assert out.startswith(TABLE)


def test_short_logs_and_logs_without_metrics_are_enough(log: Path, capsys: Capsys) -> None:
    for text in (row(0, 1.0, "keep", "baseline"), row(0, 1.0, "keep", "x") * 2):
        log.write_text(HEADER + text)
        assert "Specific angles: " in printed(capsys, "autosteer --results", log)[0]
    crashed = "".join(f"{n:07x}\t0.000000\t0.0\tcrash\tgelu {n}\n" for n in range(6))
    log.write_text(HEADER + crashed)
    out, err = printed(capsys, "autosteer --results", log)
    assert "activation: 6 tried | 0 kept (0%)" in out
    assert "no noise floor" in err
