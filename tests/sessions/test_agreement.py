"""Every view of a session, and of its log, says the same of an experiment."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from helpers.autojudge_logs import answer, printed
from helpers.boxes import Box
from helpers.commands import Capsys
from helpers.pages import Page
from ratchet.cli.sessions import session_of
from ratchet.proposers.program_md import next_version
from ratchet.proposers.prompts import BRIEF, TRIED, agent_papers
from ratchet.records.history import History

CONFIG = ["task=tasks/fake", "rounds=12", "budget_steps=5", "memory_price=0.2"]
FIELDS = ("confidence", "delta", "gain", "verdict")
Known = dict[int, dict[str, Any]]


@pytest.fixture
def truth(charged: Box) -> Known:
    """The rulings by number."""
    found = {ruling["number"]: ruling for ruling in charged.rulings()}
    kept = [e["price"] for e in found.values() if e["verdict"] in ("KEEP", "STRONG_KEEP")]
    assert len(kept) >= 2 and any(e["price"] for e in found.values())
    assert None in {e["confidence"] for e in found.values()}, "none has crashed"
    return found


def test_values_for_tools_are_the_rulings(charged: Box, truth: Known, capsys: Capsys) -> None:
    root = ["--root", charged.path]
    config = [*root, "--config", *CONFIG]
    views: dict[str, list[dict[str, Any]]] = {
        "events": charged.events("verdict"),
        "report": charged.json("report.json")["experiments"],
        "status": answer(capsys, "ratchet status", *root)["verdicts"],
        "runs": answer(capsys, "ratchet runs", *config)["experiments"][1:],
        "show": [
            one["ruling"] | one
            for number in truth
            for one in (answer(capsys, f"ratchet show {number}", *config),)
        ],
        "export": [
            one["fields"] | {"number": one["number"]}
            for one in json.loads(printed(capsys, "ratchet export --to json", *config)[0])[
                "experiments"
            ][1:]
        ],
    }
    times = [
        [(one["number"], one[training], one["wall_seconds"]) for one in views[name]]
        for name, training in (
            ("report", "seconds"),
            ("runs", "train_seconds"),
            ("export", "train_seconds"),
        )
    ]
    assert times[0] == times[1] == times[2]
    assert all(wall > 0 for _, _, wall in times[0])
    kept = {n for n, ruling in truth.items() if ruling["verdict"] in ("KEEP", "STRONG_KEEP")}
    for name, found in views.items():
        assert sorted(one["number"] for one in found) == sorted(truth), name
        for one in found:
            for key in FIELDS:
                assert key not in one or one[key] == truth[one["number"]][key], (name, one, key)
            if isinstance(one.get("kept"), bool):
                assert one["kept"] == (one["number"] in kept), (name, one)
            if "status" in one:
                assert (one["status"] == "keep") == (one["number"] in kept), (name, one)


def test_printed_tables_are_the_rulings(charged: Box, truth: Known, capsys: Capsys) -> None:
    config = ["--root", charged.path, "--config", *CONFIG]
    session = session_of(None, charged.path, CONFIG)
    history = History.read(session.paths)
    papers = {name: text.decode() for name, text in agent_papers(session, history).items()}
    page = (charged.session / "report.html").read_text()
    cell = re.compile(r'<tr id="e(\d+)">.*?<td class="c-confidence n"[^>]*>([^<]*)')
    tables = {
        "runs": re.findall(r"(?m)^ *(\d+) .*?\S+ +\S+ +\S+ +([\d.–]+) +\d+ +[\d.–]+ ",
                           printed(capsys, "ratchet runs", *config)[0]),
        "report": cell.findall(page),
        "live": re.findall(r'<td class="n">(\d+)<td class="v .*?<td class="n">([^<]*)<',
                           (charged.session / "live.html").read_text()),
        "brief": re.findall(r"(?m)^### (\d+) .*\n+-.*?, P\([^)]*\) ([\d.]+)", papers[BRIEF]),
        "tried": re.findall(r"(?m)^(\d+)\t\w+\t[^\t]*\t[^\t]*\t([^\t]*)\t", papers[TRIED]),
        "program": re.findall(r"(?m)^- (\d+) \[.*?, P\([^)]*\) ([<>&lt; .\d]+)",
                              next_version(session, history)),
    }  # fmt: skip
    for name, found in tables.items():
        assert found, name
        for number, text in found:
            p = truth.get(int(number), {"confidence": None})["confidence"]
            assert_says(text, p, (name, number, text))
    log = (charged.session / "progress.log").read_text()
    said = re.findall(r"round +\d+/12 +#(\d+) .*? P ([\d.]+)", log)
    assert len(said) == sum(one["confidence"] is not None for one in truth.values())
    for number, text in said:
        assert_says(text, truth[int(number)]["confidence"], ("log", number, text))


def assert_says(text: str, p: float | None, where: object) -> None:
    """A printed probability is this one, as far as its digits go."""
    number = re.search(r"[\d.]+", text)
    assert (number is None) is (p is None), where
    if number is not None and p is not None:
        value = float(number[0]) / (100 if "%" in text else 1)
        assert value == pytest.approx(p, abs=0.0051), where


def test_a_price_is_named_where_it_decides(charged: Box, truth: Known, capsys: Capsys) -> None:
    config = ["--root", charged.path, "--config", *CONFIG]
    for number, ruling in truth.items():
        if ruling["confidence"] is not None:
            name = "P(worth its price)" if ruling["price"] else "P(better)"
            shown = " ".join(printed(capsys, f"ratchet show {number}", *config)[0].split())
            assert f"{name} {ruling['confidence']:.3f}" in ruling["reason"]
            assert shown.count(f", {name} ") == 1


def test_the_best_is_what_was_measured(charged: Box, truth: Known, capsys: Capsys) -> None:
    """It stays where nothing is kept, while the judge's estimate moves."""
    best, estimates = charged.json("baseline.json")["runs"], []
    measured = sum(run["value"] for run in best) / len(best)
    moved = 0
    for event in charged.events("verdict"):
        if event["verdict"] in ("KEEP", "STRONG_KEEP"):
            measured = truth[event["number"]]["mean"]
        elif estimates and event["estimate"] != estimates[-1]:
            moved += 1
        assert event["best"] == pytest.approx(measured, rel=1e-12)
        estimates.append(event["estimate"])
    assert moved
    state = charged.json("rounds/0012/steer.json")["incumbent"]
    status = answer(capsys, "ratchet status", "--root", charged.path)
    facts = charged.json("report.json")["best"]
    assert (state["measured"], state["mean"]) == (status["best"], status["estimate"])
    assert (state["measured"], state["mean"]) == (facts["value"], facts["estimate"])
    row = (charged.session / "results.tsv").read_text().splitlines()[1 + state["number"]]
    assert row.split("\t")[1] == f"{state['measured']:.6f}"


def test_its_log_has_the_same_numbers_and_counts(
    charged: Box, truth: Known, capsys: Capsys, tmp_path: Path
) -> None:
    log = charged.session / "results.tsv"
    names = {p["number"]: p["description"] for p in proposals(charged)}
    kept = [n for n, ruling in truth.items() if ruling["verdict"] in ("KEEP", "STRONG_KEEP")]
    every = answer(capsys, "autojudge --all --results", log)
    page = answer(capsys, "ratchet report -o", tmp_path / "log.html", "--results", log)
    audit = answer(capsys, "ratchet audit --results", log)
    own = charged.json("report.json")["counts"]
    counts = every["keeps"], page["counts"]["kept"], len(audit["changes"]), own["kept"]
    assert set(counts) == {len(kept)}
    assert every["experiments"] == audit["experiments"] == page["counts"]["judged"] == len(truth)
    assert [one["index"] for one in audit["changes"]] == kept
    assert every["expected_false_keeps"] == page["counts"]["expected_false_keeps"]
    at_the_time = {one["index"]: one["confidence"] for one in every["rows"]}
    for row, shown in zip(every["rows"], page["experiments"], strict=True):
        number = row["index"]
        assert number == shown["number"]
        assert row["description"] == shown["description"] == names.get(number, "baseline")
        assert (shown["confidence"] is None) is (row["confidence"] is None)
        assert row["confidence"] is None or shown["confidence"] == pytest.approx(
            row["confidence"], abs=1e-4
        )
    for one in audit["changes"]:
        assert at_the_time[one["index"]] == pytest.approx(one["confidence"], abs=1e-4)
    first = Page((tmp_path / "log.html").read_text()).text
    assert f"kept {len(kept)} of {own['judged']} changes" in first


def proposals(box: Box) -> list[dict[str, Any]]:
    """All proposals of a session."""
    paths = sorted((box.session / "rounds").glob("*/proposals.json"))
    return [one for path in paths for one in json.loads(path.read_text())["proposals"]]
