"""``ratchet runs``, ``show``, ``diff``, ``report`` and ``program`` on a session that has run."""

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from helpers.boxes import Box
from helpers.commands import Capsys, Patch
from helpers.trials import history, trial
from ratchet.cli import diff, doctor, program, report, show, tryout
from ratchet.cli.main import main as main_of_all
from ratchet.cli.runs import main, select_trials, trials_table
from ratchet.cli.sessions import session_of
from ratchet.cli.show import experiment_lines
from ratchet.proposers.program_md import next_version
from ratchet.records.history import History
from ratchet.records.paths import SessionPaths
from ratchet.records.records import Verdict

CONFIG = ["--config", "task=tasks/fake", "rounds=3", "budget_steps=5"]


def rows(box: Box) -> list[str]:
    """Rows of results.tsv below its header."""
    return (box.session / "results.tsv").read_text().splitlines()[1:]


@pytest.fixture
def options(finished: Box) -> list[str]:
    return ["--root", str(finished.path), *CONFIG]


def test_the_table_has_every_experiment(finished: Box, options: list[str], capsys: Capsys) -> None:
    assert main(["default", *options]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["#", "verdict", "val_loss", "delta", "P", "n", "MiB", "description"]
    place = head.index("description")
    for number, (line, row) in enumerate(zip(lines, rows(finished), strict=True)):
        assert line.split()[0] == str(number)
        assert line.endswith(row.split("\t")[4])
        assert line[place - 1] == " " != line[place]
        assert len(line) <= 80


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
    reported = finished.json("report.json")["experiments"]
    for one, told in zip(found["experiments"][1:], reported, strict=True):
        assert one["wall_seconds"] == told["wall_seconds"] > 0
        assert one["train_seconds"] == told["seconds"]
    session = session_of(None, finished.path, CONFIG[1:])
    head, *wide = trials_table(History.read(session.paths).judged, session, False, 100)
    assert head.split("MiB")[1].split() == ["train", "s", "wall", "s", "description"]
    last = found["experiments"][-1]
    assert f"  {last['train_seconds']:.1f}  " in wide[-1] and len(wide[-1]) <= 100
    assert f"  {last['wall_seconds']:.1f}  " in wide[-1]
    assert main(["--tsv", *options]) == 0
    table = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert {len(row) for row in table} == {16}
    assert [row[0] for row in table[1:]] == [str(e["number"]) for e in found["experiments"]]


def test_one_experiment_is_shown_whole(finished: Box, options: list[str], capsys: Capsys) -> None:
    for ruling in finished.rulings():
        assert show.main([str(ruling["number"]), *options]) == 0
        shown = capsys.readouterr().out
        plain = " ".join(shown.split())
        assert ruling["verdict"] in shown
        assert " ".join(ruling["reason"].split()) in plain
        assert all(run["key"][:12] in shown for run in ruling["runs"])
        assert re.search(r"(?m)^time .*[\d.]+ s$", shown)
        assert re.search(r"(?m)^machine .*CPU \d+ %", shown)
        assert "+++ b/train.py" in shown
        assert f"log of run {ruling['runs'][-1]['key'][:12]}:" in shown
        assert f"default/report.html#exp-{ruling['number']}\n" in shown
        text = shown[: shown.index("--- a/train.py")]
        assert all(
            len(line) <= 80 or " show " in line or "#exp-" in line for line in text.splitlines()
        )
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


@pytest.mark.parametrize(
    ("command", "words", "code", "said"),
    [
        (show.main, ["9"], 64, "expected an experiment from 0 (the baseline) to 3"),
        (show.main, ["-1"], 64, "-1"),
        (diff.main, ["0", "9"], 64, "expected an experiment from 0 (the baseline) to 3"),
        (main, ["other"], 66, "expected a started session, found none; there are: default"),
        (report.main, ["nobody"], 66, "there are: default"),
    ],
)
def test_what_is_not_there_is_named(
    options: list[str], command: object, words: list[str], code: int, said: str, capsys: Capsys
) -> None:
    assert command([*words, *options]) == code
    assert said in capsys.readouterr().err


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
        ({"kept": True}, 1, [2]),
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
        task=SimpleNamespace(metric=SimpleNamespace(name="val_\x1b[2Jloss", unit="")),
        replayed={},
    )
    nasty = trial(1, "other", "\x1b]0;x\x07a\u202e\nb\tc " + "w" * 200, mean=1e-7)
    lines = trials_table([FOUND[0], nasty], session, False)  # type: ignore[arg-type]
    assert len(lines) == 3
    assert all(len(line) <= 80 and "\x1b" not in line for line in lines)
    assert lines[-1].endswith("…")
    coloured = trials_table([FOUND[1]], session, True)  # type: ignore[arg-type]
    assert coloured[-1].startswith("\x1b[31m")
    assert list(diff.diff_lines("+a\n a", True)) == ["\x1b[32m+a\x1b[0m", " a"]


def test_a_finished_sessions_report_is_found_and_made_again(
    finished: Box, options: list[str], tmp_path: Path, capsys: Capsys
) -> None:
    own = finished.session / "report.html"
    assert report.main(["default", *options]) == 0
    assert capsys.readouterr().out == f"{own}\n"
    page = tmp_path / "night.html"
    assert report.main(["-o", str(page), *options]) == 0
    assert page.read_bytes() == own.read_bytes()
    assert capsys.readouterr().out.endswith(f"{page}\n")
    # A session's page is a report of ours too, yet it is sealed.
    assert report.main(["-o", str(own), "--force", *options]) == 74
    assert "are sealed" in capsys.readouterr().err
    assert page.read_bytes() == own.read_bytes()


def test_a_session_on_its_way_can_be_read_and_has_a_report_of_its_rounds(
    copy: Box, tmp_path: Path, capsys: Capsys
) -> None:
    paths = SessionPaths("default", copy.path)
    for path in (paths.confirmation, paths.report_html, paths.round(3).steer):
        path.unlink()
    session = session_of(None, copy.path, CONFIG[1:])
    assert [one.number for one in History.read(session.paths).judged] == [1, 2]
    lost = "\n".join(experiment_lines(trial(1), session))
    assert "[the store no longer holds it]" in lost
    options = ["--root", str(copy.path), *CONFIG]
    assert report.main(options) == 66
    assert "ratchet report default -o report.html" in capsys.readouterr().err
    page = tmp_path / "so-far.html"
    assert report.main(["-o", str(page), *options]) == 0
    assert capsys.readouterr().out.startswith("Unfinished after 2 rounds: ")
    assert '<tr id="e2">' in page.read_text() and '<tr id="e3">' not in page.read_text()


def test_commands_of_the_report_show_an_edit_and_run_it_again(copy: Box) -> None:
    facts = copy.json("report.json")
    tried = next(e for e in facts["experiments"] if e["status"] == "keep")
    python = f'python() {{ {shlex.quote(sys.executable)} "$@"; }}'
    lines = ["set -e", python, *facts["preparation"], *tried["commands"]]
    done = subprocess.run(
        ["sh", "-c", "\n".join(lines)],
        cwd=copy.path,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "HOME": str(copy.path)},
        check=True,
    )
    assert tried["diff"].splitlines()[-1] in done.stdout
    printed = dict(line.split(":", 1) for line in done.stdout.splitlines() if line.count(":") == 1)
    assert float(printed[facts["metric"]["name"]]) == tried["runs"][0]["value"]


def test_a_changed_record_is_found_when_the_report_is_made(copy: Box) -> None:
    path = copy.session / "rounds" / "0001" / "proposals.json"
    record = json.loads(path.read_text())
    record["proposals"][0]["description"] = "something else"
    path.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
    copy.play(first="report")
    sound = copy.json("report.json")["soundness"]
    assert sound["intact"] is False
    assert sound["deviations"] == ["rounds/0001/proposals.json: not the bytes that were sealed"]
    assert "NOT INTACT: 1 deviation" in (copy.session / "report.html").read_text()


def test_the_next_version_says_what_the_session_found(copy: Box, capsys: Capsys) -> None:
    folder, options = copy.path / "tasks" / "fake", ["--root", str(copy.path), *CONFIG]
    frozen, before = (folder / "program.md").read_bytes(), copy.state()
    assert program.main(["update", *options]) == 0
    said = capsys.readouterr().err
    written = folder / "program-v2.md"
    assert f"wrote {written}" in said
    assert "`brief: program-v2.md`" in said
    text = written.read_text()
    found = [row.split("\t")[4] for row in rows(copy)[1:]]
    assert len(found) == 3
    for words in (
        *("### Session `default`", "3 experiments", "by fresh runs of both"),
        *("## What to try next", *found),
    ):
        assert words in text

    # The same session gives the same text, here and as a function.
    session = session_of(None, copy.path, CONFIG[1:])
    assert next_version(session, History.read(session.paths)) == text
    assert program.main(["update", *options]) == 0
    assert "holds this version already" in capsys.readouterr().err
    assert not (folder / "program-v3.md").exists()
    # Somebody's own second version is left alone.
    written.write_text("mine\n")
    assert program.main(["update", "default", *options]) == 0
    assert (folder / "program-v3.md").read_text() == text
    assert written.read_text() == "mine\n"
    assert program.main(["update", "--print", *options]) == 0
    assert capsys.readouterr().out == text

    brief = str(folder / "program.md")
    assert program.main(["update", "--output", brief, "--force", *options]) == 64
    assert "is the brief of the session and frozen" in capsys.readouterr().err
    for force in ([], ["--force"]):
        assert program.main(["new", *force, *options]) == 64
        assert "it is frozen" in capsys.readouterr().err
    assert (folder / "program.md").read_bytes() == frozen
    assert copy.state() == before


def test_a_new_brief_knows_the_session_and_is_clean(
    options: list[str], capsys: Capsys, tmp_path: Path
) -> None:
    path = tmp_path / "new.md"
    assert program.main(["new", "--output", str(path), *options]) == 0
    text = path.read_text()
    assert "Session `default` measured `val_loss`" in text
    assert "The budget of each run is 5 steps of training" in text
    assert "3 experiments" in text
    assert program.main(["check", str(path), *options]) == 0
    assert capsys.readouterr().out == ""
    assert program.main(["check", str(path), *options, "memory_ceiling_mb=300"]) == 1
    assert "missing: expected the memory ceiling of 300 MiB" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        *("status default", "runs default", "show default", "show 1 default", "show default 1"),
        *("diff default", "diff 0 1 session=default", "report default", "verify default"),
        *("export default --to csv", "space default", "program update default --print"),
        *("status session=default", "runs --config session=default", "show 1 --session default"),
    ],
)
def test_every_command_takes_a_bare_name(finished: Box, words: str, monkeypatch: Patch) -> None:
    monkeypatch.chdir(finished.path)
    assert main_of_all(words.split()) == 0
    other = [word.replace("default", "nobody") for word in words.split()]
    assert main_of_all(other) == 66


def test_bare_names_are_settings_and_numbers_are_numbers(capsys: Capsys) -> None:
    for parse in (doctor._parse, tryout._parse):
        assert parse(["night", "--config", "rounds=2"]).config == ['session="night"', "rounds=2"]
    assert show.main(["1", "2"]) == diff.main(["7"]) == show.main(["a", "b"]) == 64
    assert "expected 0 or 1 numbers of experiments" in capsys.readouterr().err
