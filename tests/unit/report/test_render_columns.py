"""The table's columns: texts, what they are sorted by, and which are shown."""

from __future__ import annotations

from helpers import report_records as sample
from ratchet.report.facts import build_facts
from ratchet.report.render import COLUMNS, LOGGED, WORDED, column_cells, column_style


def test_every_experiment_has_every_column():
    facts = build_facts(sample.session())
    for e in facts["experiments"]:
        found = column_cells(e, facts["metric"]["decimals"])
        assert [key for key, *_ in found] == [key for key, *_ in COLUMNS]
    first = {key: (text, order) for key, text, order in column_cells(facts["experiments"][0], 3)}
    assert first["delta"][0].startswith("−0.2") and first["delta"][1] < -0.2
    assert first["lines"] == ("+2 −1", 1) and first["strict"] == ("survives", None)
    assert first["commit"][0] == facts["experiments"][0]["commit"][:10]
    crashed = {k: (t, o) for k, t, o in column_cells(facts["experiments"][3], 3)}
    assert crashed["mean"] == ("–", -1e99) and crashed["strict"][0] == "–"


def test_boxes_show_columns_without_a_script():
    rules = column_style()
    for key, _, _ in COLUMNS:
        assert f"main:has(#c-{key}:checked) .c-{key}{{display:table-cell}}" in rules
    every = (*COLUMNS, *LOGGED)
    assert {key for key, _, _ in every} > WORDED
