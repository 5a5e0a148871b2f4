"""What steering leaves for the next round, in whole sessions."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from helpers.boxes import Box
from ratchet.config import parse_config, read_config
from ratchet.proposers.prompts import brief_of_round
from ratchet.records.events import Journal
from ratchet.records.history import History
from ratchet.session import Session


def opened(box: Box, monkeypatch: pytest.MonkeyPatch) -> Session:
    monkeypatch.chdir(box.path)
    values = {**read_config(box.harness / "config" / "config.yaml"), **box.settings}
    values |= {"task": "tasks/fake", "rounds": 3, "budget_steps": 5, "confirm_replicates": 2}
    settings = parse_config(values, box.harness / "config" / "schema.yaml", "test")
    return Session.open(settings, Path(), box.harness, Journal(Path(os.devnull)))


def test_each_round_leaves_exact_edits_that_were_not_tried(finished: Box) -> None:
    tried: set[str] = set()
    for number in range(4):
        if number:
            (proposal,) = finished.json(f"rounds/{number:04d}/proposals.json")["proposals"]
            tried.add(proposal["description"])
        state = finished.json(f"rounds/{number:04d}/steer.json")
        edits = [s["title"] for s in state["suggestions"] if s["kind"] == "edit"]
        assert edits, state
        assert not tried & set(edits)
        assert state["noise_sd"] > 0


def test_what_is_proposed_was_suggested(finished: Box) -> None:
    facts = finished.json("report.json")["steering"]
    assert [one["place"] for one in facts["followed"]] == [1, 1, 1]
    assert all(one["exactly"] for one in facts["followed"])
    assert "What to try next" in (finished.session / "report.html").read_text()


def test_the_brief_tells_what_was_tried(finished: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    session = opened(finished, monkeypatch)
    first, last = (brief_of_round(session, History.read(session.paths, n)) for n in (0, 3))
    assert "Incumbent: the baseline" in first
    assert "What was tried" not in first
    for ruling in finished.rulings():
        assert f"| {ruling['number']} | " in last
    assert "val_loss (nats), lower is better" in last
    assert "Budget of each run: 5 steps" in last
    assert brief_of_round(session, History.read(session.paths)) == last


def test_a_crash_is_warned_of(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    box.play(rounds=11)
    crashed = [r for r in box.rulings() if r["verdict"] == "CRASH"]
    assert crashed
    avoid = box.json("rounds/0011/steer.json")["avoid"]
    assert any(f"(experiment {crashed[0]['number']}) crashed" in note for note in avoid)
    assert any(note.startswith("RATE: every declared value was tried") for note in avoid)
    session = opened(box, monkeypatch)
    text = brief_of_round(session, History.read(session.paths))
    assert re.search(r"crashed at 0\.0\d+ GB; the largest that ran took 0\.\d+ GB", text)
