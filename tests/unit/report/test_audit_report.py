"""The page of an audit."""

from pathlib import Path
from typing import Any

import pytest

from helpers.autojudge_logs import HEADER, answer, call, history, row
from helpers.commands import Capsys
from helpers.pages import HOSTILE, check_inert, without_scripts
from ratchet.base.structs import to_json_values
from ratchet.logs.rerun_plan import (
    AuditVerdicts,
    Distance,
    HeldChange,
    KeptStanding,
    count_standings,
)
from ratchet.records.records import Outcome, RunSummary
from ratchet.report.audit_report import (
    FIGURES,
    MOST_LISTED,
    MOST_TABLED,
    audit_facts,
    render_audit,
)
from ratchet.report.render import content_policy, page_scripts


def facts_of(folder: Path, text: str, capsys: Capsys, *options: str) -> dict[str, Any]:
    log = folder / "results.tsv"
    log.write_text(text)
    found: dict[str, Any] = answer(capsys, "ratchet audit --results", log, *options)
    return found


@pytest.fixture
def facts(tmp_path: Path, capsys: Capsys) -> dict[str, Any]:
    kept = ((0.9979, "first"), (0.99, HOSTILE), (0.9899, "luck"), (0.9897, "lost"))
    rows = "".join(row(60 + n, value, "keep", said) for n, (value, said) in enumerate(kept))
    return facts_of(tmp_path, history(8) + rows, capsys)


def run(seed: int, value: float | None) -> RunSummary:
    outcome = Outcome.OK if value is not None else Outcome.CRASH
    return RunSummary("k" * 64, seed, outcome, "" if value else HOSTILE, value, None)


def reruns(facts: dict[str, Any]) -> dict[str, Any]:
    """Verdicts on the log's kept changes, one of every standing."""
    *first, holds, fails, lost = (change["line"] for change in facts["changes"])
    before, after = (tuple(run(seed, value) for seed in (1, 2)) for value in (0.99, 0.98))
    unsure = 2, "", 1e-3, -1e-3, 3e-3, 0.7, 5e-4, 3e-4, 2
    held = [HeldChange(line, "abc", HOSTILE, KeptStanding.UNDECIDED, *unsure) for line in first]
    held += [
        HeldChange(
            holds, "abc", HOSTILE, KeptStanding.HOLDS, 2, "",
            0.01, 0.009, 0.011, 0.99, 0.01, 3e-4,
            parent_line=2, parent_runs=before, child_runs=after, notes=(HOSTILE,),
        ),
        HeldChange(
            fails, "abd", "luck", KeptStanding.FAILS, 2, "", 0.0, None, None, 0.2, 0.0, 3e-4
        ),
        HeldChange(
            lost, "abe", "lost", KeptStanding.NOT_RUN, 2, HOSTILE, parent_commit="f" * 40,
            parent_runs=before[:1], child_runs=(run(1, None),),
        ),
    ]  # fmt: skip
    found = AuditVerdicts(
        "again", HOSTILE, "val_bpb", "a machine", len(held), tuple(held), count_standings(held),
        9, 3e-4, 4, Distance(0.01, 0.009, 0.011, 2, fails),
    )  # fmt: skip
    return {**facts, "reruns": {**to_json_values(found), "sentence": found.sentence}}


def test_of_many_changes_a_part_is_shown(facts: dict[str, Any]) -> None:
    one = facts["changes"][0]
    changes = [
        {**one, "line": n, "gain": n * 1e-7, "seeds": n % 7 or None, "given_log": n / 4000}
        for n in range(2, 3002)
    ]
    again = reruns(facts)["reruns"] | {"changes": []}
    page = render_audit({**facts, "changes": changes, "together": range(2, 900), "reruns": again})
    assert len(page.encode()) < 3_000_000
    assert page.count('<tr id="line-') == MOST_TABLED and '<tr id="line-3001"' in page
    assert "The table has the 1000 changes of the largest effect, of 3000" in page
    assert "Drawn are the 60 changes of the largest effect" in page
    assert f"and {898 - MOST_LISTED} more" in page


def checked(page: str) -> str:
    """The page's own text, once it is clear that nothing in it can run or be loaded."""
    assert content_policy(page_scripts()) in page.replace("&#39;", "'")
    found = check_inert(without_scripts(page))
    assert "onerror=alert" in found.text and "{{7*7}}" in found.text
    return page[page.index("<body>") : page.index('<script type="application/json"')]


def test_the_page_says_what_the_terminal_says(
    facts: dict[str, Any], tmp_path: Path, capsys: Capsys
) -> None:
    page = render_audit(facts)
    body = checked(page)
    assert page == render_audit(facts)
    count = len(facts["changes"])
    assert f"of {count} kept changes are expected to be no improvement" in body
    assert "Nothing was run again." in body and "Re-runs" not in body
    assert f"{facts['noise']['source']}" in body
    for change in facts["changes"]:
        assert f'id="line-{change["line"]}"' in body
    assert call("ratchet audit --results", tmp_path / "results.tsv") == 0
    shown = capsys.readouterr().out
    for text in (f"{facts['expected_true']:.1f}", f"{facts['expected_false_keeps']:.1f}"):
        assert text in shown and text in body


def test_every_standing_of_a_re_run_is_shown(facts: dict[str, Any]) -> None:
    found = reruns(facts)
    body = checked(render_audit(found))
    assert found["reruns"]["sentence"] in body
    for standing in KeptStanding:
        assert f"</i>{standing.value}</span>" in body
    assert "+0.0090 to +0.0110" in body.replace("0.00900", "0.0090").replace("0.01100", "0.0110")
    assert "ffffffffffff" in body
    assert "a machine" in body


def test_figures_are_drawn_from_rows_that_agree_with_the_facts(facts: dict[str, Any]) -> None:
    for with_runs in (False, True):
        shown = audit_facts(reruns(facts) if with_runs else facts)
        drawn = {name: make(shown, wide) for name, (make, wide, _) in FIGURES.items()}
        assert all(spec is not None for spec in drawn.values())
        points = _rows(drawn["gains"])
        runs = [c for c in shown["changes"] if c["again"] and c["again"]["gain"] is not None]
        assert len(points) == len(shown["changes"]) + len(runs)
        doubts = _rows(drawn["doubts"])
        assert {row["row"] for row in doubts} == set(range(len(shown["changes"])))
        assert all(0 <= row["value"] <= 1 for row in doubts)


def _rows(spec: Any) -> list[dict[str, Any]]:
    """The rows of a figure's points."""
    layers = [each for each in spec["layer"] if each["mark"]["type"] == "point"]
    found: list[dict[str, Any]] = layers[0]["data"]["values"]
    return found


def test_nothing_kept(tmp_path: Path, capsys: Capsys) -> None:
    text = HEADER + row(0, 0.998, "keep") + row(1, 0.999, "discard")
    page = render_audit(facts_of(tmp_path, text, capsys))
    assert "Nothing was kept after the baseline" in page
    assert 'id="gains"' not in page
