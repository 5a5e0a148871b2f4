"""The timeline's figure."""

from __future__ import annotations

from helpers import report_records as sample
from ratchet.report.facts import build_facts
from ratchet.report.figures import schedule_figure


def test_a_bar_for_every_run_in_the_row_of_its_purpose():
    facts = build_facts(sample.session())
    bars, words = schedule_figure(facts)["layer"]
    rows = bars["data"]["values"]
    assert len(rows) == len(facts["timeline"]["runs"])
    assert [row["text"] for row in words["data"]["values"]] == ["baseline", "experiments"]
    assert {row["lane"]: row["top"] for row in rows} == {"baseline": 0.15, "experiments": 1.15}
    assert bars["encoding"]["x"]["axis"]["title"] == "seconds since the start"
    assert rows[0]["from"] == 1.0 and rows[0]["to"] == 5.0
    assert rows[3]["tip"] == "experiments, ok, 4.0 seconds" and rows[3]["number"] == 1


def test_long_sessions_are_in_hours_and_none_is_drawn_without_runs():
    facts = build_facts(sample.session())
    long = {**facts["timeline"], "seconds": 7200.0}
    bars = schedule_figure({**facts, "timeline": long})["layer"][0]
    assert bars["encoding"]["x"]["axis"]["title"] == "hours since the start"
    assert bars["data"]["values"][0]["to"] == round(5 / 3600, 6)
    assert schedule_figure({**facts, "timeline": None}) is None
