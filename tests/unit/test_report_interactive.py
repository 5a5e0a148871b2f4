"""Figures for the script: compiled to Vega, themed, zoomed, and of texts as data only."""

from __future__ import annotations

import json

import pytest

from helpers import report_records as sample
from ratchet.report import figures, forest, pareto, schedule
from ratchet.report.facts import build
from ratchet.report.interactive import interactive

FIGURES = (
    (figures.progress, figures.NARROW),
    (forest.forest, forest.WIDE),
    (pareto.pareto, pareto.WIDE),
    (schedule.schedule, schedule.NARROW),
)


@pytest.fixture(scope="module")
def facts():
    return build(sample.session())


@pytest.mark.parametrize(("make", "frame"), FIGURES)
def test_each_figure_zooms_shows_tips_and_takes_the_page_s_colours(facts, make, frame):
    plot = interactive(make(facts, frame), frame)
    packed = json.dumps(plot["spec"])
    assert plot["aside"] == frame.left + frame.right
    assert "vega.github.io/schema/vega/" in plot["spec"]["$schema"]
    assert any(signal["name"] == plot["zoom"] for signal in plot["spec"]["signals"])
    assert "event.ctrlKey" in packed and '"tooltip": {"value": "tip"}' in packed
    assert "var(--" in packed and "#17784a" not in packed
    marks = [mark for mark in plot["spec"]["marks"] if mark["type"] != "group"]
    assert {mark["type"]: mark.get("clip", False) for mark in marks if mark["type"] == "text"} in (
        {"text": False},
        {},
    )


def test_texts_of_candidates_are_data(facts):
    hostile = "');alert(1)//</script>${x}"
    first = {**facts["experiments"][0], "description": hostile}
    changed = {**facts, "experiments": [first, *facts["experiments"][1:]]}
    spec = interactive(figures.progress(changed, figures.WIDE), figures.WIDE)["spec"]
    assert "alert(1)" in json.dumps(spec["data"])
    without = {key: value for key, value in spec.items() if key != "data"}
    assert "alert(1)" not in json.dumps(without)
