"""The command line ``ratchet report``: anybody's log as a page, and what it refuses."""

import hashlib
import json
import random
import re
import time
from pathlib import Path

import pytest

from helpers.autojudge_logs import HEADER, answer, call, history, row
from helpers.commands import Capsys, Patch
from helpers.pages import HOSTILE, Page, check_inert, undraw, without_scripts
from ratchet.records.session_repo import SessionRepo

OURS = "progress verdicts experiments pareto crashes noise steering log method"
MISSING = "confirmation integrity provenance timeline program agents"


def page_of(folder: Path, text: str, *options: object, name: str = "results.tsv") -> str:
    log, page = folder / name, folder / "page.html"
    log.write_text(text)
    assert call("ratchet report --results", log, "-o", page, *options) == 0
    return page.read_text()


@pytest.fixture
def undrawn(monkeypatch: Patch) -> None:
    undraw(monkeypatch)


def crash(number: int, words: str = "too large", status: str = "crash") -> str:
    return f"{number:07x}\t0.000000\t0.0\t{status}\t{words}\n"


def inside(page: str, number: int) -> str:
    """Details of one experiment."""
    return page.partition(f'<noscript id="n{number}">')[2].partition("</noscript>")[0]


def test_a_log_becomes_a_page_that_promises_nothing(tmp_path: Path, capsys: Capsys) -> None:
    text = history(20) + crash(90, "batch of 4096", "OOM")
    text += row(91, 0.9900, "keep", "much wider")
    page = page_of(tmp_path, text)
    out, err = capsys.readouterr()
    found = Page(page)
    assert set(OURS.split()) <= set(found.values("id"))
    links = [link[1:] for link in found.values("href")]
    assert not set(MISSING.split()) & {*found.values("id"), *links}
    assert "by the judge's estimate, not confirmed" in out.replace("\n", " ")
    assert "the best kept measurement, 0.9900, was selected and flatters" in out
    assert out.splitlines()[-1] == str(tmp_path / "page.html")
    assert "assumed: line 3 is read as further runs of the incumbent" in err
    assert hashlib.sha256(text.encode()).hexdigest() in page
    assert "a log that Ratchet judged and did not run" in found.text
    assert "What a log cannot show Confirmation with fresh seeds, hashes of code" in found.text
    assert "estimated from 1 further run of the incumbent (line 3)" in found.text
    assert re.search(r"<td>oom<td class=\"n\">1<td><a href=\"#exp-22\">#22</a> batch of 4096", page)
    assert not {"Training s", "Price", "Round"} & set(found.words)
    assert str(tmp_path) not in page


@pytest.mark.usefixtures("undrawn")
def test_verdicts_are_those_of_autojudge(tmp_path: Path, capsys: Capsys) -> None:
    page = page_of(tmp_path, history(30) + row(70, 0.996, "keep") + crash(71), "--mode", "strict")
    said = answer(capsys, "autojudge --all --strict --results", tmp_path / "results.tsv")
    rows = dict(re.findall(r'<tr id="e(\d+)">.*?class="v \w+">(?:<i[^>]*>.</i>)?([\w ]+)<', page))
    names = {"BASELINE": "baseline", "INCUMBENT_RUN": "incumbent again"}
    assert len(rows) == 34
    for one in said["rows"]:
        verdict = names.get(one["verdict"], one["verdict"].replace("_", " "))
        assert rows[str(one["index"])] == verdict
    assert f"expected false keeps {said['expected_false_keeps']:.1f}" in page


def test_the_same_log_gives_the_same_bytes_anywhere(tmp_path: Path, monkeypatch: Patch) -> None:
    first = page_of(tmp_path, history(8))
    other = tmp_path / "elsewhere"
    other.mkdir()
    (other / "results.tsv").write_text(history(8))
    monkeypatch.chdir(other)
    assert call("ratchet report --results", "results.tsv") == 0
    assert (other / "report.html").read_text() == first
    assert sorted(path.name for path in other.iterdir()) == ["report.html", "results.tsv"]


ODD = history(12) + row(60, 0.9979, "keep", "luck") + row(61, 0.97, "discard", "overlooked")
ODD += row(51, 1.1, "baseline", "new machine") + "abc\tno number\t1\tkeep\tx\n"
ODD_SAID = [
    "though the judge would not have: experiment 14 .",
    "Not kept, though the judge would have: experiment 15 .",
    "line 18: a later baseline is a new incumbent, measured as the ones before it",
    "What could not be understood line 19, column 2:",
]
SPEEDS = "agent\tcommit\tloss\tspeed\tstatus\tdescription\n" + "".join(
    f"{'ab'[n % 2]}\t{n:07x}\t{1 + n}\t{50 - n}\tdiscard\tx{n}\n" for n in range(8)
)
SPEEDS_SAID = [
    "speed, higher is better",
    "Nothing kept: speed stays at 49",
    "4 runs in 4 lines",
    "only the 4 rows of b or of nobody, of 8",
    "stated as 0.01, taken as known within 5 %",
]


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        (ODD, "--mode strict", ODD_SAID),
        (SPEEDS, "--metric speed --direction maximize --agent b --noise-sd 0.01", SPEEDS_SAID),
    ],
)
def test_what_is_special_of_a_log_is_told(
    tmp_path: Path, text: str, options: str, said: list[str]
) -> None:
    found = Page(page_of(tmp_path, text, *options.split())).text
    assert [words for words in said if words not in found] == []


@pytest.mark.parametrize(
    ("run", "number", "said"),
    [
        ("step 1\n---\nval_bpb: 0.990000\n", 7, "of experiment 7: they have the same metric"),
        ("step 1\n---\nval_bpb: 0.5\n", None, "of no row and not shown: it has val_bpb 0.5"),
        ("CUDA out of memory\n", 8, "of experiment 8: it failed, as the last row did"),
    ],
)
@pytest.mark.usefixtures("undrawn")
def test_a_run_log_is_shown_with_its_row(
    tmp_path: Path, run: str, number: int | None, said: str
) -> None:
    (tmp_path / "run.log").write_text("first line\n" + run)
    good = history(5) + row(80, 0.99, "keep")
    page = page_of(tmp_path, good + crash(81), "--run-log", tmp_path / "run.log")
    assert f"the run log is {said}" in page
    shown = [n for n in range(10) if "first line" in inside(page, n)]
    assert shown == ([number] if number else [])
    assert hashlib.sha256(f"first line\n{run}".encode()).hexdigest() in page
    if number == 8:  # what failed is not the log of a row with a metric
        page = page_of(tmp_path, good, "--run-log", tmp_path / "run.log")
        assert "of no row and not shown: it has no metric, and the last row has one" in page
        assert "first line" not in page


@pytest.mark.usefixtures("undrawn")
def test_diffs_are_from_the_repository(tmp_path: Path) -> None:
    repo = SessionRepo(tmp_path / "repo", "s")
    repo.create()
    start = repo.commit({"train.py": b"depth = 4\n"}, "a", 0, None, "refs/heads/x")
    edit = {"train.py": b"depth = 8\nrate = 1\n"}
    deeper = repo.commit(edit, "b", 1, start, "refs/heads/y")
    text = HEADER + f"{start[:7]}\t0.998\t44.0\tkeep\tbaseline\n"
    text += f"{deeper[:7]}\t0.990\t44.0\tkeep\tdeeper\nfedcba9\t0.999\t44.0\tdiscard\tlost\n"
    page = page_of(tmp_path, text, "--repo", repo.folder)
    assert "<del>-depth = 4</del><ins>+depth = 8\n+rate = 1</ins>" in inside(page, 1).replace(
        "</del>\n", "</del>"
    )
    assert "+2 −1" in page
    assert "Diff" not in inside(page, 0) + inside(page, 2)
    assert "Of 1 row the repository had the commit." in page
    without = page_of(tmp_path, text)
    assert "the repository had" not in without and "+2 −1" not in without


def test_hostile_words_execute_nothing(tmp_path: Path, capsys: Capsys) -> None:
    lines = [
        f"{HOSTILE}\t{1 - n / 100}\t44.0\tkeep ({HOSTILE})\t{HOSTILE} {'x' * 100_000}\n"
        for n in range(6)
    ]
    run = tmp_path / "run.log"
    run.write_bytes(f"{HOSTILE}{'y' * 1_000_000}\n{HOSTILE}\nval_bpb: 0.95\n".encode())
    page = page_of(
        tmp_path, HEADER + "".join(lines), "--run-log", run, name="<img src=x onerror=alert(4)>.tsv"
    )
    out, err = capsys.readouterr()
    assert not {"\x1b", "\u202e", "\0"} & set(out + err)
    # What stands inside noscript is text to a browser with scripts and elements without.
    found = check_inert(without_scripts(page))
    assert "{{7*7}}" in found.text
    assert "alert(1)" in found.text
    assert len(page) < 2_000_000
    run.write_bytes(b"\0" + run.read_bytes())
    (tmp_path / "results.tsv").write_text(history(2))
    assert call("ratchet report --results", tmp_path / "results.tsv", "--run-log", run) == 65


def test_the_page_of_a_long_log_is_of_bearable_size_and_says_what_it_leaves_out(
    tmp_path: Path,
) -> None:
    noise = random.Random(3)
    best, text = 0.998, HEADER + row(0, 0.998, "keep", "baseline")
    for number in range(1, 1001):
        value = best + abs(noise.gauss(0.001, 0.002)) + noise.gauss(0, 4e-4)
        text += row(number, value, "keep" if value < best else "discard", f"depth {number} ->")
        best = min(best, value)
    began = time.process_time()
    page = page_of(tmp_path, text)
    assert time.process_time() - began < 60, "CPU seconds"
    assert len(page) < 3_000_000
    assert page.count('<tr id="e') == 700
    assert "Of 1,001 experiments the table has 700" in page
    numbers = re.findall(r'href="#exp-(\d+)"', page)
    assert len(numbers) > 700
    for number in numbers:
        assert f'<tr id="e{number}"' in page, "each experiment that it names is there"


def test_only_reports_are_replaced(tmp_path: Path, capsys: Capsys) -> None:
    log, page = tmp_path / "log.tsv", tmp_path / "page.html"
    log.write_text(history(3))
    page.write_text("<!doctype html><title>my thesis</title>")
    assert call("ratchet report --results", log, "-o", page) == 74
    assert "exists and is no report of this program" in capsys.readouterr().err
    assert "my thesis" in page.read_text()
    assert call("ratchet report --results", log, "-o", page, "--force") == 0
    first = page.read_bytes()
    log.write_text(history(4))
    assert call("ratchet report --results", log, "-o", page) == 0
    assert page.read_bytes() != first
    sealed = tmp_path / "night"
    sealed.mkdir()
    (sealed / "manifest.json").write_text("{}")
    for output, said in (
        (log, "is what the report is made of"),
        (tmp_path, "is a folder"),
        (tmp_path / "no" / "x.html", "no such folder"),
        (sealed / "x.html", "are sealed"),
        ("x\0y", "cannot be written"),
    ):
        assert call("ratchet report --results", log, "-o", output, "--force") == 74
        assert said in capsys.readouterr().err
    assert log.read_text() == history(4)


def test_all_facts_for_tools(tmp_path: Path, capsys: Capsys) -> None:
    page = page_of(tmp_path, history(3), "--json")
    headline = json.loads(capsys.readouterr().out)["answer"]["headline"]
    assert headline.startswith("Nothing kept") and headline in Page(page).text
