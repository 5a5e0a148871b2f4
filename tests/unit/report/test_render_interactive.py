"""Figures for the script: compiled to Vega, themed, zoomed, and of texts as data only."""

from __future__ import annotations

import json

import pytest

from helpers import report_records as sample
from ratchet.report.facts import build_facts
from ratchet.report.figures import (
    FOREST_WIDE,
    PARETO_WIDE,
    PROGRESS_NARROW,
    PROGRESS_WIDE,
    SCHEDULE_NARROW,
    forest_figure,
    pareto_figure,
    progress_figure,
    schedule_figure,
)
from ratchet.report.render import interactive_figure

FIGURES = (
    (progress_figure, PROGRESS_NARROW),
    (forest_figure, FOREST_WIDE),
    (pareto_figure, PARETO_WIDE),
    (schedule_figure, SCHEDULE_NARROW),
)


@pytest.fixture(scope="module")
def facts():
    return build_facts(sample.session())


@pytest.mark.parametrize(("make", "frame"), FIGURES)
def test_each_figure_zooms_shows_tips_and_takes_the_page_s_colours(facts, make, frame):
    plot = interactive_figure(make(facts, frame), frame)
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
    spec = interactive_figure(progress_figure(changed, PROGRESS_WIDE), PROGRESS_WIDE)["spec"]
    assert "alert(1)" in json.dumps(spec["data"])
    without = {key: value for key, value in spec.items() if key != "data"}
    assert "alert(1)" not in json.dumps(without)
