"""``ratchet runs``, ``show`` and ``diff`` on a session that has run."""

from __future__ import annotations

import argparse
import json
from types import SimpleNamespace

import pytest

from helpers.boxes import Box
from helpers.commands import Capsys
from helpers.trials import history, trial
from ratchet.cli import diff, show
from ratchet.cli.runs import main, select_trials, trials_table
from ratchet.cli.sessions import session_of
from ratchet.cli.show import experiment_lines
from ratchet.records.history import History
from ratchet.records.records import Verdict

CONFIG = ["--config", "task=tasks/fake", "rounds=3", "budget_steps=5"]


@pytest.fixture
def options(finished: Box) -> list[str]:
    return ["--root", str(finished.path), *CONFIG]


def test_the_table_has_every_experiment(finished: Box, options: list[str], capsys: Capsys) -> None:
    assert main(["default", *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = (finished.session / "results.tsv").read_text().splitlines()
    assert len(lines) == len(rows)
    assert lines[0].split() == ["#", "verdict", "val_loss", "delta", "P", "n", "MiB", "description"]
    assert [line.split()[0] for line in lines[1:]] == ["0", "1", "2", "3"]
    assert all(len(line) <= 80 for line in lines)
    for line, row in zip(lines[1:], rows[1:], strict=True):
        assert line.endswith(row.split("\t")[4])
    place = lines[0].index("description")
    assert all(line[place - 1] == " " != line[place] for line in lines)


def test_tables_for_tools_agree_with_the_records(
    finished: Box, options: list[str], capsys: Capsys
) -> None:
    assert main(["--json", *options]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["session"], found["metric"]) == ("default", "val_loss")
    judged = {ruling["number"]: ruling for ruling in finished.rulings()}
    for one in found["experiments"][1:]:
        ruling = judged[one["number"]]
        assert (one["metric"], one["delta"]) == (ruling["mean"], ruling["delta"])
        assert one["verdict"] == ruling["verdict"]
        assert one["commit"] == ruling["commit"]
        assert one["kept"] == (ruling["verdict"] in ("KEEP", "STRONG_KEEP"))
    assert main(["--tsv", *options]) == 0
    table = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert {len(row) for row in table} == {12}
    assert [row[0] for row in table[1:]] == [str(e["number"]) for e in found["experiments"]]


def test_one_experiment_is_shown_whole(finished: Box, options: list[str], capsys: Capsys) -> None:
    for ruling in finished.rulings():
        assert show.main([str(ruling["number"]), *options]) == 0
        shown = capsys.readouterr().out
        plain = " ".join(shown.split())
        assert ruling["verdict"] in shown
        assert " ".join(ruling["reason"].split()) in plain
        assert all(run["key"][:12] in shown for run in ruling["runs"])
        assert "+++ b/train.py" in shown
        assert f"log of run {ruling['runs'][-1]['key'][:12]}:" in shown
        text = shown[: shown.index("--- a/train.py")]
        assert all(len(line) <= 80 or " show " in line for line in text.splitlines())
    assert show.main(["0", *options]) == 0
    assert "baseline" in capsys.readouterr().out


def test_two_experiments_are_compared(finished: Box, options: list[str], capsys: Capsys) -> None:
    sources = {0: finished.git("show", "refs/ratchet/baseline:train.py")}
    for number in (1, 2, 3):
        sources[number] = finished.git("show", f"refs/ratchet/experiments/000{number}:train.py")
    for old, new in ((0, 1), (2, 3), (3, 3)):
        assert diff.main([str(old), str(new), *options]) == 0
        out, err = capsys.readouterr()
        gone = {line[1:] for line in out.splitlines() if line.startswith("-")} - {"-- a/train.py"}
        come = {line[1:] for line in out.splitlines() if line.startswith("+")} - {"++ b/train.py"}
        before, after = set(sources[old].splitlines()), set(sources[new].splitlines())
        assert (gone, come) == (before - after, after - before)
        assert f"from {old} to {new}: {len(come)} line" in err


@pytest.mark.parametrize("command", [["show", "9"], ["show", "-1"], ["diff", "0", "9"]])
def test_numbers_that_are_not_there(options: list[str], command: list[str], capsys: Capsys) -> None:
    main = {"show": show.main, "diff": diff.main}[command[0]]
    words = [*options[:2], *command[1:], *options[2:]] if command[1] != "-1" else ["-1", *options]
    assert main(words) == 64
    err = capsys.readouterr().err
    assert "expected an experiment from 0 (the baseline) to 3" in err or "-1" in err


def test_a_session_that_is_not_there(options: list[str], capsys: Capsys) -> None:
    assert main(["other", *options]) == 66
    assert "expected a started session, found none; there are: default" in capsys.readouterr().err


# ------------------------------------------------------------- choosing and cleaning

FOUND = [
    history(baseline=(3.0,)).start,
    trial(1, verdict=Verdict.CRASH),
    trial(2, verdict=Verdict.KEEP, mean=2.0, delta=-1.0, confidence=0.9, memory_mb=9.0),
    trial(3, mean=4.0, delta=1.0, confidence=0.1, memory_mb=1.0),
]


@pytest.mark.parametrize(
    ("wanted", "sign", "numbers"),
    [
        ({}, 1, [0, 1, 2, 3]),
        ({"kept": True}, 1, [0, 2]),
        ({"failed": True}, 1, [1]),
        ({"top": 2}, 1, [2, 0]),
        ({"top": 2}, -1, [3, 0]),
        ({"top": 9}, 1, [2, 0, 3]),
        ({"sort": "metric"}, 1, [2, 0, 3, 1]),
        ({"sort": "delta"}, -1, [3, 2, 0, 1]),
        ({"sort": "confidence"}, -1, [2, 3, 0, 1]),
        ({"sort": "memory", "top": 1}, -1, [3]),
    ],
)
def test_what_is_chosen(wanted: dict, sign: int, numbers: list[int]) -> None:
    plain = {"kept": False, "failed": False, "top": None, "sort": None}
    chosen = select_trials(FOUND, argparse.Namespace(**{**plain, **wanted}), sign)
    assert [one.number for one in chosen] == numbers


def test_texts_cannot_break_a_table() -> None:
    session = SimpleNamespace(
        task=SimpleNamespace(metric=SimpleNamespace(name="val_\x1b[2Jloss", unit=""))
    )
    nasty = trial(1, "other", "\x1b]0;x\x07a\u202e\nb\tc " + "w" * 200, mean=1e-7)
    lines = trials_table([FOUND[0], nasty], session, False)  # type: ignore[arg-type]
    assert len(lines) == 3
    assert all(len(line) <= 80 and "\x1b" not in line for line in lines)
    assert lines[-1].endswith("…")
    coloured = trials_table([FOUND[1]], session, True)  # type: ignore[arg-type]
    assert coloured[-1].startswith("\x1b[31m")
    assert list(diff.diff_lines("+a\n a", True)) == ["\x1b[32m+a\x1b[0m", " a"]


def test_a_session_on_its_way_can_be_read(copy: Box) -> None:
    rounds = sorted((copy.session / "rounds").glob("000[23]"))
    for folder in rounds:
        (folder / "steer.json").unlink()
    (copy.session / "confirm.json").unlink()
    session = session_of(None, copy.path, CONFIG[1:])
    found = History.read(session.paths)
    assert [one.number for one in found.judged] == [1]
    lost = "\n".join(experiment_lines(trial(1), session))
    assert "[the store no longer holds it]" in lost
