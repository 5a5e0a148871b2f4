"""The facts of a log that Ratchet did not write, and the words for them."""

import argparse
from pathlib import Path
from typing import Any

import pytest

from helpers.autojudge_logs import HEADER, history, row
from ratchet.cli.main import read_log
from ratchet.logs.analysis import analyzed
from ratchet.logs.judging import Rules
from ratchet.report.facts import FORMAT
from ratchet.report.log_report import log_facts
from ratchet.report.render import COLUMNS, column_cells, experiment_columns


def facts_of(folder: Path, text: str, **known: Any) -> dict[str, Any]:
    log = folder / "results.tsv"
    log.write_text(text)
    options = ("metric", "direction", "status", "label", "agent")
    known = dict.fromkeys(options) | {"rules": Rules()} | known
    every, data = read_log(argparse.Namespace(results=log, **known))
    return log_facts(analyzed(every, (log.name, data), known["rules"]))


def test_decisions_are_the_authors_and_verdicts_the_judges(tmp_path: Path) -> None:
    text = history(12) + row(60, 0.9979, "keep", "luck") + row(61, 0.9700, "discard", "overlooked")
    text += "0000063\t0.000000\t0.0\ttimeout (600 s)\tslow\n"
    facts = facts_of(tmp_path, text, rules=Rules("strict"))
    by_number = {e["number"]: e for e in facts["experiments"]}
    first, again, luck, overlooked, failed = (by_number[n] for n in (0, 1, 14, 15, 16))
    assert (first["role"], first["verdict"], first["mean"]) == ("baseline", None, 0.998)
    assert (again["role"], again["verdict"]) == ("incumbent again", None)
    assert (luck["status"], luck["called"], luck["logged"]) == ("keep", "discard", "keep")
    assert (overlooked["status"], overlooked["verdict"]) == ("discard", "STRONG_KEEP")
    assert (failed["status"], failed["verdict"], failed["outcome"]) == ("crash", "CRASH", "timeout")
    assert failed["mean"] is None and failed["memory_mb"] is None
    assert luck["memory_mb"] == 44.0 * 1024
    assert luck["delta_low"] < luck["delta"] < luck["delta_high"]
    assert facts["format"] == FORMAT
    assert facts["counts"]["judged"] == 15 and facts["counts"]["crashed"] == 1
    assert facts["log"]["differ"] == {"doubted": [14], "missed": [15]}
    assert facts["log"]["best"] == {"number": 14, "value": 0.9979}
    assert facts["baseline"]["values"] == [0.998, 0.9983]
    assert [group["outcome"] for group in facts["crashes"]] == ["timeout"]


def test_the_incumbent_is_followed_row_by_row(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, history(6) + row(60, 0.99, "keep"))
    line = facts["incumbents"]
    assert [(p["from"], p["number"]) for p in line[:3]] == [(0, 0), (1, 0), (2, 0)]
    assert (line[-1]["from"], line[-1]["number"]) == (8, 8)
    assert line[0]["mean"] == pytest.approx(0.998) and line[-1]["mean"] < 0.992
    assert line[1]["sd"] < line[0]["sd"]


def test_higher_may_be_better(tmp_path: Path) -> None:
    text = history(10, sign=-1, offset=3).replace("val_bpb", "accuracy")
    facts = facts_of(tmp_path, text + row(70, 2.1, "keep"))
    last = facts["experiments"][-1]
    assert facts["metric"]["direction"] == "maximize"
    assert last["delta"] > 0.09 and last["gain"] > 0.09
    assert facts["answer"]["headline"].startswith("accuracy 2.001")
    assert facts["log"]["best"] == {"number": 12, "value": 2.1}


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("", "nothing_kept", "Nothing kept: val_bpb stays at 1.0"),
        (row(1, 0.9, "keep"), "estimated", "→"),
        (row(1, 1.2, "keep"), "not_confirmed", "No gain by the judge's estimate"),
    ],
)
def test_answers(tmp_path: Path, text: str, kind: str, words: str) -> None:
    found = facts_of(tmp_path, HEADER + row(0, 1.0, "keep", "baseline") + text)["answer"]
    assert found["kind"] == kind
    assert words in found["headline"]
    assert found["sentence"].startswith(found["headline"])
    assert found["rest"][0].isupper() and found["rest"].endswith(".")


@pytest.mark.parametrize(
    ("text", "rules", "source", "guess"),
    [
        (history(5), Rules("auto", 0.002), "stated as 0.002", None),
        (history(5), Rules(), "estimated from 1 further run of the incumbent (line 3)", "2 runs"),
        (HEADER + row(0, 1.0, "keep") + row(1, 1.001, "discard"), Rules(), "assumed from", "3e-4"),
    ],
)
def test_where_the_noise_floor_is_from(
    tmp_path: Path, text: str, rules: Rules, source: str, guess: str | None
) -> None:
    log = facts_of(tmp_path, text, rules=rules)["log"]
    assert source in log["noise"]
    assert (log["guess"] is None) if guess is None else (guess in log["guess"])


def test_columns_that_no_row_fills_are_left_out(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, history(3))
    found = [key for key, *_ in experiment_columns(facts)]
    assert found[:2] == ["logged", "category"] and "memory" in found and "line" in found
    unlogged = {column.key for column in COLUMNS if not column.logged}
    assert unlogged and not {"agent", "lines", "changes", *unlogged} & set(found)
    cells = column_cells(facts["experiments"][2], 4, experiment_columns(facts))
    assert [key for key, *_ in cells] == found
    assert cells[0] == ("logged", "discard", None)
    poor = facts_of(tmp_path, "val_bpb\tstatus\tdescription\n1.0\tkeep\tx\n0.9\tkeep\ty\n")
    assert not {"memory", "commit"} & {key for key, *_ in experiment_columns(poor)}


def test_remarks_are_no_experiments(tmp_path: Path) -> None:
    text = history(2) + "-\t-\t-\tnote\tgood night\n" + "zzz\tbad\t1\tkeep\tx\n"
    facts = facts_of(tmp_path, text)
    log, last = facts["log"], facts["experiments"][-1]
    assert (log["rows"], log["notes"], log["lines"]) == (5, 1, 6)
    assert (log["unread"], log["problems_in_all"]) == (0, 1)
    # What its author kept without a metric is no result.
    assert (last["number"], last["verdict"], last["outcome"]) == (5, "CRASH", "no metric")
    assert last["logged"] == "keep" and facts["counts"]["kept"] == 0


def test_values_that_repeat_are_remarked_upon_and_tell_no_noise(tmp_path: Path) -> None:
    text = HEADER + row(0, 0.997913, "keep") + row(1, 0.997913, "discard", "re-run")
    text += row(2, 0.993245, "keep") + row(3, 0.993245, "keep")
    facts = facts_of(tmp_path, text)
    assert facts["remarks"][0].startswith("Line 3, 5: the same value as its incumbent's")
    assert facts["noise"]["sd"] > 1e-5
    last = facts["experiments"][-1]
    assert (last["verdict"], last["delta"], last["confidence"]) == ("DISCARD", 0, None)
    assert last["reason"].startswith("the same value as its incumbent's")
    assert facts["log"]["differ"]["doubted"] == [3]
    same = HEADER + "".join(row(n, 1.0, "discard" if n else "keep") for n in range(4))
    assert facts_of(tmp_path, same)["remarks"][-1].startswith("Saturated: every value is the same")
