"""``ratchet compare``, and diffs across sessions, on sessions that have run."""

import json
import os
from pathlib import Path

import pytest

from helpers.boxes import Box
from helpers.commands import Capsys, Patch
from ratchet.base.errors import UsageError
from ratchet.cli import compare, diff
from ratchet.cli.diff import Side, choose_sides
from ratchet.report import comparison_page

CONFIG = ["--config", "task=tasks/fake", "rounds=3", "budget_steps=5"]


@pytest.fixture
def options(finished: Box) -> list[str]:
    return ["--root", str(finished.path), *CONFIG]


def test_sessions_of_two_clones_are_compared(
    finished: Box, copy: Box, options: list[str], capsys: Capsys
) -> None:
    words = ["default", str(copy.session)]
    assert compare.main([*words, *options, "--json", "--reach", "0.1"]) == 0
    facts = json.loads(capsys.readouterr().out)
    names = [row["name"] for row in facts["sessions"]]
    assert names == ["box/default#1", "copy/default#2"]
    rows = (finished.session / "results.tsv").read_text().splitlines()[2:]
    report = finished.json("report.json")
    for row in facts["sessions"]:
        assert row["experiments"] == len(rows) == 3
        assert row["kept"] == sum(line.split("\t")[3] == "keep" for line in rows)
        assert (row["runs"], row["best"]) == (report["totals"]["runs"], report["best"]["value"])
        assert row["confirmed"]["gain"] == report["confirmation"]["gain"]
        seconds = report["totals"]["wall_seconds"]
        assert row["hours"] == pytest.approx(seconds / 3600)
    assert facts["differ"] == []
    assert compare.main([*words, *options]) == 0
    out, err = capsys.readouterr()
    assert max(map(len, out.splitlines())) <= 80
    assert "runs and time to reach" in out and "-o compare.html" in err


def test_the_page_lies_where_it_is_asked_for(
    copy: Box, options: list[str], tmp_path: Path, capsys: Capsys, monkeypatch: Patch
) -> None:
    shown: dict[str, str] = {}
    monkeypatch.setattr(
        comparison_page, "render_comparison", lambda _, links: shown.update(links) or "page"
    )
    page, words = tmp_path / "compare.html", ["default", str(copy.session), *options]
    assert compare.main([*words, "-o", str(page)]) == 0
    assert page.read_text() == "page"
    assert f"the page is {page}" in capsys.readouterr().err
    link = shown["copy/default#2"]
    assert (page.parent / link).samefile(copy.session / "report.html")
    assert compare.main([*words, "-o", str(copy.session / "x.html")]) == 74
    assert "that folder is a session's" in capsys.readouterr().err


def test_a_session_lists_itself_in_the_page_of_all(finished: Box) -> None:
    page = (finished.path / "results" / "index.html").read_text()
    assert 'href="default/report.html"' in page
    assert "finished" in page and 'http-equiv="refresh"' not in page


def test_sessions_with_other_budgets_are_refused(
    copy: Box, options: list[str], capsys: Capsys
) -> None:
    path = copy.session / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["frozen"]["budget_steps"] = 7
    path.write_text(json.dumps(manifest))
    assert compare.main(["default", str(copy.session), *options]) == 65
    assert "the same budget of a run, found steps 5 and steps 7" in capsys.readouterr().err


def test_code_of_two_sessions_is_compared(
    finished: Box, copy: Box, options: list[str], capsys: Capsys
) -> None:
    there = os.path.relpath(copy.session)
    assert diff.main(["default:0", f"{there}:3", *options]) == 0
    across, err = capsys.readouterr()
    assert "from 0 to 3: " in err or "from default:0 to default:3: " in err
    assert diff.main(["0", "3", *options]) == 0
    assert capsys.readouterr().out == across
    assert diff.main([f"{there}:0", "3", *options, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["old_session"], facts["new_session"]) == ("default", "default")
    assert facts["diff"] == across.rstrip("\n") + "\n"
    assert diff.main(["default", there, *options]) == 0
    assert capsys.readouterr().out == "", "the best of each are the same"


@pytest.mark.parametrize(
    ("words", "named", "sides"),
    [
        ("", None, [(None, 0), (None, None)]),
        ("night", None, [("night", 0), ("night", None)]),
        ("0 7", None, [(None, 0), (None, 7)]),
        ("3 7 night", None, [("night", 3), ("night", 7)]),
        ("3 7", "night", [("night", 3), ("night", 7)]),
        ("a:12 b:7", None, [("a", 12), ("b", 7)]),
        ("a:12 7", None, [("a", 12), (None, 7)]),
        ("7 a:12 night", None, [("night", 7), ("a", 12)]),
        ("a b", None, [("a", None), ("b", None)]),
        ("a b:7", None, [("a", None), ("b", 7)]),
        ("../x/results/a:1 2", None, [("../x/results/a", 1), (None, 2)]),
    ],
)
def test_two_sides_are_chosen(
    words: str, named: str | None, sides: list[tuple[str | None, int | None]]
) -> None:
    assert choose_sides(words.split(), named) == tuple(Side(*side) for side in sides)


@pytest.mark.parametrize(
    "words", ["1", "1 2 3", "a:1", "a b c", "a b 1 2", "a:1 b:2 c:3", "a:1 2 b c"]
)
def test_other_numbers_of_sides_are_refused(words: str) -> None:
    with pytest.raises(UsageError, match="expected two experiments"):
        choose_sides(words.split())
