"""What mattered: the line of kept changes, and figures of the constants that were set."""

import pytest

from helpers import report_records as sample
from helpers.pages import check_inert, undraw, without_scripts
from ratchet.base.structs import replace
from ratchet.records.records import Contribution, Standing
from ratchet.report.facts import build_facts
from ratchet.report.influence import (
    LINES,
    PARALLEL_NARROW,
    PARALLEL_WIDE,
    SLICE,
    parallel_figure,
    slice_figure,
)
from ratchet.report.render import CODES, render_html


@pytest.fixture(scope="module")
def facts():
    return build_facts(sample.with_settings(sample.session()))


def rows(spec, mark="point"):
    return [
        row
        for layer in spec["layer"]
        if layer["mark"]["type"] == mark
        for row in layer["data"]["values"]
    ]


def test_each_experiment_hangs_on_the_code_that_it_was_built_on(records, facts):
    kept = [trial.number for trial in records.history.kept]
    assert [code["number"] for code in facts["lineage"]] == [0, *kept]
    assert sorted([n for code in facts["lineage"] for n in code["tried"]] + kept) == [*range(1, 13)]
    for code, after in zip(facts["lineage"], [*kept, 13], strict=True):
        assert all(code["number"] < number < after for number in code["tried"])
    # What was tried again on an older code hangs there.
    old = sample.proposed(records, (12,), parent=records.history.start.proposal.source)
    told = build_facts(old)
    assert told["lineage"][0]["tried"] == [12]
    assert told["experiments"][11]["parent"] == 0


def test_the_page_shows_what_each_kept_change_is_worth(records, monkeypatch):
    undraw(monkeypatch)
    first, second, *_ = (trial.number for trial in records.history.kept)
    made = (
        Contribution(first, 0.2, 0.1, 0.3, 0.99, Standing.CERTIFIED),
        Contribution(second, 0.01, -0.1, 0.1, 0.5, Standing.PASSENGER),
    )
    confirmed = replace(records.history.confirmation, contributions=made)
    certified = sample.changed(records, confirmation=confirmed)
    page = render_html(build_facts(certified))
    parsed = check_inert(without_scripts(page))
    assert '+0.200 <span class="quiet">(+0.100 to +0.300)</span> certified' in page
    assert "passenger, removed</p>" in page and page.count('<li class="passenger">') == 1
    assert {link[1:] for link in parsed.values("href")} <= set(parsed.values("id"))
    tips = [tip for tip in parsed.values("title") if tip.startswith("#4 ")]
    assert tips == ["#4 two layers with a shared key projection: CRASH"]


def test_a_long_line_is_folded_and_many_failures_are_counted(monkeypatch):
    undraw(monkeypatch)
    records = sample.session(60)
    page = render_html(build_facts(records))
    early = len(records.history.kept) - CODES
    assert f"<summary>The baseline and the first {early} kept changes</summary>" in page
    alike = sample.proposed(records, range(1, 61), parent=records.history.start.proposal.source)
    facts = build_facts(alike)
    refused = len(facts["lineage"][0]["tried"])
    assert refused == 60 - len(records.history.kept) > 12
    assert f"<summary>{refused} not kept: " in render_html(facts)


LANDSCAPE_WORDS = (
    "<code>MIXED&lt;b&gt;</code>",
    '70 % <span class="quiet">(50 to 90)</span><td>smaller<td>0.01 to 0.02<td>0.013',
    '<td><span class="quiet">perhaps chance</span><td>True, False<td>True',
    "From 10 measured settings, 1 more failed.",
)


def test_constants_are_on_the_page_with_how_sure_they_are(facts, monkeypatch):
    undraw(monkeypatch)
    page = render_html(facts)
    for words in LANDSCAPE_WORDS:
        assert words in page, words
    assert "MIXED<b>" not in without_scripts(page)
    assert 'id="constants"' not in render_html(build_facts(sample.session()))


def test_a_slice_has_every_setting_where_its_constant_stood(facts):
    spec = slice_figure(facts, SLICE, 0)
    found = rows(spec)
    settings = facts["constants"]["settings"]
    assert len(found) == len(settings) == facts["constants"]["points"]
    assert spec["layer"][-1]["encoding"]["x"]["scale"]["type"] == "log"
    at = {each["number"]: each["at"][0] for each in settings}
    assert all(row["x"] == at[row["number"] or 0] for row in found)
    incumbent = [row for row in found if row["class"] == "incumbent"]
    assert [row["number"] for row in incumbent] == [facts["best"]["number"]]
    values = {each["number"]: each["value"] for each in settings}
    for row in found:
        value = values[row["number"] or 0]
        assert row["y"] < value if row["class"] == "further up" else row["y"] == value
    assert {"tried", "kept", "further up"} < {row["class"] for row in found}
    sizes = slice_figure(facts, SLICE, 1)["layer"][-1]["encoding"]["x"]["axis"]
    assert sizes["values"] == [16, 32, 64]
    choices = slice_figure(facts, SLICE, 2)
    assert {row["x"] for row in rows(choices)} == {0, 1}
    assert slice_figure(facts, SLICE, 3) is None
    assert slice_figure({**facts, "constants": None}, SLICE, 0) is None


def test_parallel_lines_go_from_constant_to_constant_to_the_metric(facts):
    spec = parallel_figure(facts, PARALLEL_WIDE)
    lines = rows(spec, "line")
    settings = facts["constants"]["settings"]
    assert len(lines) == 4 * len(settings)
    by_number = {each["number"]: each for each in settings}
    metric = {row["number"]: row["y"] for row in lines if row["x"] == 3}
    best = min(by_number, key=lambda number: by_number[number]["value"])
    assert metric[best] == 1.0 and min(metric.values()) == 0.0
    rate = {row["number"]: row["y"] for row in lines if row["x"] == 0}
    ordered = sorted(by_number, key=lambda number: by_number[number]["at"][0])
    assert [rate[n] for n in ordered] == sorted(rate.values())
    third = {row["number"] for row in lines if row["class"] != "others"}
    assert best in third and len(third) in (4, 5)
    narrow = parallel_figure(facts, PARALLEL_NARROW)
    assert max(row["x"] for row in rows(narrow, "line")) == 2


def test_of_many_settings_a_part_is_drawn(facts):
    one, found = facts["constants"]["settings"][0], facts["constants"]
    many = [{**one, "number": n, "value": n / 100} for n in range(1000)]
    spec = parallel_figure({**facts, "constants": {**found, "settings": many}}, PARALLEL_WIDE)
    numbers = {row["number"] for row in rows(spec, "line")}
    assert LINES / 2 < len(numbers) <= LINES + 1 and {0, facts["best"]["number"]} <= numbers
