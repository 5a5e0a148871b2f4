"""Curves in a report: short, and over those of the code that an experiment was built on."""

import json
import math
import re

import pytest

from helpers import report_records as sample
from helpers.pages import PLOTS, undraw
from ratchet.base.structs import replace
from ratchet.records.series import CurvePoint
from ratchet.report.curves import (
    FEWEST,
    LARGEST,
    MOST,
    OVERVIEW,
    POINTS,
    curve_facts,
    experiment_curves,
    overview_figure,
    small_picture,
)
from ratchet.report.facts import build_facts
from ratchet.report.render import page_limit, render_html


@pytest.fixture(scope="module")
def records():
    return sample.with_curves(sample.session())


@pytest.fixture(scope="module")
def facts(records):
    return build_facts(records)


def one_run(records, points):
    """Facts of the first baseline run's curve, where it is the only one."""
    key = records.history.baseline.runs[0].key
    return curve_facts(replace(records, curves={key: points})).get(key)


def test_a_curve_is_the_mean_of_stretches_and_begins_with_its_first_point(records):
    points = [CurvePoint(n, float(n), n / 10) for n in range(1, 10 * (MOST - 1) + 2)]
    found = one_run(records, points)
    assert len(found["step"]) == MOST
    assert (found["step"][:2], found["loss"][:2]) == ([1, 11], [1.0, 6.5])
    assert found["step"][-1] == points[-1].step and found["ended"] is None
    few = one_run(records, points[:5])
    assert (few["step"], few["loss"]) == ([1, 2, 3, 4, 5], [1.0, 2.0, 3.0, 4.0, 5.0])


def test_what_is_no_number_is_left_out_and_told(records):
    points = [CurvePoint(1, 2.0), CurvePoint(2, 3.0), CurvePoint(3, math.nan)]
    found = one_run(records, points)
    assert found == {"step": [1, 2], "loss": [2.0, 3.0], "seconds": None, "ended": "diverged"}
    assert one_run(records, [CurvePoint(1, math.inf)]) is None


def test_a_run_that_failed_says_how(records, facts):
    crashed = next(t for t in records.history.trials if t.number == 9)
    cut = [CurvePoint(step, 2.0, step / 10) for step in range(5)]
    told = curve_facts(replace(records, curves={crashed.runs[0].key: cut}))
    assert told[crashed.runs[0].key]["ended"] == "timeout"
    assert facts["curves"][crashed.runs[0].key]["ended"] == "diverged"


def test_the_more_runs_the_fewer_points_each():
    facts = build_facts(sample.with_curves(sample.session(300)))
    counts = {len(columns["step"]) for columns in facts["curves"].values()}
    assert counts == {max(FEWEST, POINTS // len(facts["curves"]))}


def test_an_experiment_is_compared_with_the_code_that_it_was_built_on(facts):
    shown = experiment_curves(facts, facts["experiments"])
    for e in facts["experiments"]:
        found = shown["of"][str(e["number"])]
        other = next((o for o in facts["experiments"] if o["number"] == e["parent"]), None)
        assert found["name"] == (f"#{other['number']}" if other else "baseline")
        for places, runs in (
            (found["own"], e["runs"]),
            (found["with"], (other or facts["baseline"])["runs"]),
        ):
            losses = [shown["runs"][place]["loss"] for place in places]
            assert losses == [facts["curves"][run["key"]]["loss"] for run in runs]
    assert len({e["parent"] for e in facts["experiments"]}) > 2
    step = shown["runs"][0]["step"]
    first = facts["experiments"][0]["runs"][0]["key"]
    assert [*shown["steps"][step]] == facts["curves"][first]["step"]


def test_the_beginning_does_not_flatten_the_rest(facts):
    shown = experiment_curves(facts, facts["experiments"])
    low, high, log = shown["of"]["1"]["axis"]
    start = facts["curves"][facts["experiments"][0]["runs"][0]["key"]]["loss"][0]
    assert start > 7 and high < 5 and low < 3.2 and not log


def test_losses_over_a_decade_have_a_logarithmic_axis(records):
    curves = {
        key: [CurvePoint(n, 10 * math.exp(-n / 10), n) for n in range(100)]
        for key in records.curves
    }
    facts = build_facts(replace(records, curves=curves))
    shown = experiment_curves(facts, facts["experiments"][:1])
    low, high, log = shown["of"]["1"]["axis"]
    assert log and 0 < low < 0.001 and 1 < high < 3
    lines = small_picture(shown, 1)
    assert [role for role, _ in lines] == ["discard", "keep"]


def test_the_overview_has_baseline_kept_and_best_at_equal_steps_and_seconds(facts):
    steps, seconds = (overview_figure(facts, OVERVIEW, over) for over in ("step", "seconds"))
    names = [row["side"] for row in steps["layer"][0]["data"]["values"]]
    found = list(dict.fromkeys(names))
    best = facts["best"]["number"]
    assert found[0] == "baseline" and found[-1].startswith(f"best: #{best} ")
    assert 3 <= len(found) <= 5
    ends = [max(r["x"] for r in s["layer"][0]["data"]["values"]) for s in (steps, seconds)]
    assert ends[0] == 200 and 2.5 < ends[1] < 4.5


def test_sessions_without_curves_have_no_section(monkeypatch):
    undraw(monkeypatch)
    facts = build_facts(sample.session())
    assert facts["curves"] == {}
    page = render_html(facts)
    assert 'id="curves"' not in page and 'class="panels curves"' not in page


def test_the_page_has_the_curves_once_and_a_small_picture_of_each(facts):
    page = render_html(facts)
    plots = json.loads(PLOTS.search(page)[1])
    assert set(plots["curves"]["of"]) == {str(e["number"]) for e in facts["experiments"]}
    for over in ("step", "seconds"):
        data = plots[f"curve_{over}"][0]["spec"]["data"]
        rows = [each["values"][0] for each in data if "values" in each]
        assert sorted("run" in row for row in rows) == [False, True]
    assert page.count('class="small"') == len(facts["experiments"])
    assert re.search(r'<polyline class="keep" points="0,0 \d', page)
    assert len(page.encode()) < 1_500_000


def test_a_large_session_with_curves_fits_its_page(monkeypatch):
    undraw(monkeypatch)
    facts = build_facts(sample.with_curves(sample.session(400), points=40))
    page = render_html(facts)
    assert page.count('class="panels curves"') == LARGEST and 'class="spark"' not in page
    assert f"the kept changes and the last ones, {LARGEST} in all" in page
    shown = experiment_curves(facts, facts["experiments"])["of"]
    assert {str(e["number"]) for e in facts["experiments"] if e["status"] == "keep"} < set(shown)
    assert "400" in shown and len(shown) == LARGEST
    assert len(page.encode()) + len(json.dumps(experiment_curves(facts, facts["experiments"]))) < (
        page_limit(400)
    )
