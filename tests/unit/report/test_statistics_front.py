"""The Pareto front of metric and memory, and its plot."""

from __future__ import annotations

import pytest

from helpers import report_records as sample
from ratchet.records.records import Direction
from ratchet.report.facts import build_facts
from ratchet.report.figures import pareto_figure
from ratchet.report.statistics import front_facts


def entry(number, mean, memory, status="keep"):
    return {"number": number, "mean": mean, "memory_mb": memory, "status": status}


BASE = {"mean": 3.0, "runs": [{"memory_mb": 10.0}, {"memory_mb": 12.0}, {"memory_mb": None}]}


def test_front_and_what_dominates_the_rest():
    tried = [
        entry(1, 2.9, 11.0),
        entry(2, 2.5, 20.0, "discard"),
        entry(3, 2.95, 5.0),
        entry(4, 2.6, 25.0),
        entry(5, None, 4.0, "crash"),
        entry(6, 2.4, None),
    ]
    found = front_facts(tried, BASE, 1)
    assert found["front"] == [3, 1, 2]
    assert {p["number"]: p["by"] for p in found["points"]} == {
        0: 1, 1: None, 2: None, 3: None, 4: 2,
    }  # fmt: skip
    assert found["points"][0] == {
        "number": 0, "metric": 3.0, "memory_mb": 11.0, "status": "baseline", "by": 1,
    }  # fmt: skip


def test_higher_is_better_and_ties():
    found = front_facts([entry(1, 0.5, 8.0), entry(2, 0.5, 8.0), entry(3, 0.4, 8.0)], BASE, -1)
    assert found["front"] == [1, 0]
    assert [p["by"] for p in found["points"]] == [None, None, 1, 1]


def classes(spec):
    layer = next(each for each in spec["layer"] if each["mark"]["type"] == "point")
    return {row["number"] or 0: row for row in layer["data"]["values"]}


@pytest.mark.parametrize("direction", list(Direction))
def test_the_plot_names_front_and_dominated(direction):
    facts = build_facts(sample.session(direction=direction))
    spec = pareto_figure(facts)
    rows = classes(spec)
    for number in facts["front"]["front"]:
        assert rows[number]["class"] == "on the front"
    beaten = [p for p in facts["front"]["points"] if p["by"] is not None and p["number"] in rows]
    assert beaten and all("dominated by" in rows[p["number"]]["tip"] for p in beaten)
    words = [each for each in spec["layer"] if each["mark"]["type"] == "text"]
    assert any(row["text"].startswith(("#", "baseline")) for row in words[0]["data"]["values"])
    stairs = spec["layer"][0]["data"]["values"]
    assert [row["x"] for row in stairs] == sorted(row["x"] for row in stairs)


def test_no_plot_without_memory():
    facts = build_facts(sample.session(0))
    assert pareto_figure({**facts, "front": {"front": [], "points": []}}) is None
