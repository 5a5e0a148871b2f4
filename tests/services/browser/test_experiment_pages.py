"""Addresses of experiments, the code of any two of them, and a comparison, in a browser."""

import itertools
import json
import random
from collections import Counter
from pathlib import Path

import pytest

from helpers import report_records as sample
from helpers import trials
from helpers.chromium import HOSTILE, Browser
from ratchet.base.structs import replace
from ratchet.records.records import Direction, Verdict
from ratchet.report.code_table import code_table, version_of
from ratchet.report.comparison import ComparedSession, compare_sessions
from ratchet.report.comparison_page import render_comparison
from ratchet.report.facts import build_facts
from ratchet.report.inputs import Facts
from ratchet.report.render import render_html

COUNT = 12


def texts() -> list[str]:
    """Code of the baseline and of every experiment: lines go, come and repeat."""
    chance, lines = random.Random(3), [f"x{i % 40} = {i}" for i in range(120)]
    found = ["\n".join(lines)]
    for number in range(1, COUNT + 1):
        own = list(lines)
        for _ in range(chance.randrange(1, 12)):
            place = chance.randrange(len(own))
            own[place : place + chance.randrange(3)] = ["pass"] * chance.randrange(3)
        found.append("\n".join([*own, HOSTILE if number == 5 else f"# {number}"]))
    return found


@pytest.fixture(scope="module")
def table() -> Facts:
    records, code = sample.session(), texts()
    numbers = {sample.sha(f"file {number}"): number for number in range(1, COUNT + 1)}
    return code_table(
        records.history, lambda files: {n: code[numbers.get(sha, 0)] for n, sha in files.items()}
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, table: Facts) -> Path:
    left_out = {**table, "versions": {**table["versions"]}, "left_out": [7]}
    del left_out["versions"]["7"]
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render_html(build_facts(replace(sample.session(), code=left_out))))
    return path


def compare(browser: Browser, old: int, new: int) -> tuple[Counter[str], Counter[str]]:
    """Lines that the page says go and come between two experiments."""
    lists = "const [a, b] = document.querySelectorAll('.pair select');"
    browser.run(f"(() => {{{lists} a.value = '{old}'; b.value = '{new}'; b.onchange();}})()")
    lines = [
        f"JSON.stringify([...document.querySelectorAll('pre.code {tag}')].map(e => e.textContent))"
        for tag in ("del", "ins")
    ]
    gone, come = (Counter(line[1:] for line in json.loads(browser.run(each))) for each in lines)
    return gone, come


def test_the_code_of_any_two_experiments_is_compared(
    browser: Browser, page: Path, table: Facts
) -> None:
    browser.open(page)
    for old, new in ((0, 1), (3, 11), (5, 2), (12, 0)):
        before, after = (Counter(version_of(table, n)["train.py"]) for n in (old, new))
        gone, come = compare(browser, old, new)
        assert gone and before - gone + come == after
        assert sum((gone & come).values()) < 12, "what stays is not said to go"
    assert compare(browser, 4, 4) == (Counter(), Counter())
    assert "#4 and #4 are the same" in browser.text("#compare")
    compare(browser, 0, 12)
    browser.click("#compare > button")
    assert browser.run("document.getElementById('compare').hidden") is True


def test_code_that_is_left_out_is_named(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.click("#e7 input")
    browser.click("#e3 input")
    assert "ratchet diff 7 3 shows it" in browser.text("#compare")


@pytest.mark.parametrize(("width", "dark"), [(1200, False), (400, True)])
def test_the_diff_fits_the_window(browser: Browser, page: Path, width: int, dark: bool) -> None:
    browser.open(page, width=width, dark=dark)
    compare(browser, 0, 5)
    assert browser.run("document.documentElement.scrollWidth") == width
    assert browser.run("window.owned") is None


@pytest.mark.parametrize("anchor", ["exp-9", "e9", "d9"])
def test_an_address_opens_its_experiment(browser: Browser, page: Path, anchor: str) -> None:
    browser.open(page)
    browser.run(f"window.location.hash = '{anchor}'")
    browser.until("document.querySelector('#e9 + tr .inside') !== null")
    assert browser.run("document.querySelector('#e9').classList.contains('marked')")
    assert browser.run("document.querySelectorAll('#table .marked').length") == 1
    top = browser.run("document.querySelector('#e9').getBoundingClientRect().top")
    assert -2 <= top <= browser.run("window.innerHeight")
    assert "Copy link" in browser.text("#e9 + tr .inside")


def test_links_change_the_address(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.click("#crashes a")
    assert browser.run("window.location.hash") == "#exp-4"
    browser.click("#e2 .address")
    assert browser.run("window.location.hash") == "#exp-2"
    browser.run("history.back()")
    browser.until("document.querySelector('#table .marked')?.id === 'e4'")


def test_an_address_opens_without_scripts_too(browser: Browser, page: Path) -> None:
    browser.open(page, scripts=False)
    assert browser.run("document.getElementById('exp-9').closest('tr').id") == "e9"


@pytest.mark.parametrize(("width", "dark"), [(1200, False), (400, True)])
def test_a_comparison_opens_calmly(
    browser: Browser, tmp_path: Path, width: int, dark: bool
) -> None:
    def session(name: str, means: list[float]) -> ComparedSession:
        made = [
            trials.trial(n, description=HOSTILE, verdict=Verdict.KEEP, mean=mean, gain=0.1)
            for n, mean in enumerate(means, start=1)
        ]
        history = trials.history(made)
        return ComparedSession(
            name=name,
            manifest=sample.manifest(),
            metric="val_bpb",
            unit=None,
            direction=Direction.MINIMIZE,
            mode="gain",
            budget={"seconds": 300.0, "steps": None},
            history=history,
            walls={run.key: 300.0 for run in history.runs},
            texts=lambda _: {},
        )

    names = ["monday", "tuesday", "a-session-with-a-long-name"]
    ends = ([2.5, 2.0], [2.8, 2.1, 2.05], [2.9, 2.04])
    facts = compare_sessions([session(*each) for each in zip(names, ends, strict=True)])
    path = tmp_path / "compare.html"
    path.write_text(render_comparison(facts, dict.fromkeys(names, "")))
    browser.open(path, width=width, dark=dark)
    assert browser.run("document.documentElement.scrollWidth") == width
    assert browser.run("window.owned") is None
    for plot in ("by_runs", "by_hours"):
        query = f"[...document.querySelectorAll('[data-plot={plot}] svg text')]"
        browser.until(f"document.querySelector('[data-plot={plot}] svg') !== null")
        boxes = browser.run(
            f"JSON.stringify({query}.filter(t => ['monday', 'tuesday'].includes(t.textContent)"
            " || t.textContent.startsWith('a-sess')).map(t => t.getBoundingClientRect().toJSON()))"
        )
        found = sorted(json.loads(boxes), key=lambda box: box["top"])[::2]  # each has a halo
        assert len(found) == 3
        for above, below in itertools.pairwise(found):
            assert above["bottom"] <= below["top"] + 4, "names at the ends of lines are apart"
        right = browser.run(
            f"document.querySelector('[data-plot={plot}]').getBoundingClientRect().right"
        )
        assert max(box["right"] for box in found) <= right
