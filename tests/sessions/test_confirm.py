"""What a session says of its champion: by unseen data where the task has such."""

import contextlib
import json
from pathlib import Path

import pytest

from helpers import BYTELM
from helpers.autojudge_logs import call, printed
from helpers.boxes import Box, make_box
from helpers.commands import Capsys
from helpers.recorded import Recorded, play_default
from helpers.shared import shared_box
from ratchet.base.structs import replace
from ratchet.records.store import RunRecord, Store
from ratchet.runs.spec import RunSpec

CHEAT = "no-hidden-bias"


@shared_box
def cheated(path: Path) -> Box:
    """A session with an edit that knows the data of the search."""
    return play_default(path, {CHEAT: 2.0})


def test_the_gain_on_unseen_data_is_the_headline(honest: Box) -> None:
    facts = honest.json("report.json")
    found, answer = facts["confirmation"], facts["answer"]
    assert (found["standing"], found["data"], found["carries_over"]) == (
        "confirmed",
        "unseen",
        True,
    )
    raw = honest.json("confirm.json")
    assert (found["gain"], found["low"]) == (raw["audit_gain"], raw["audit_low"])
    assert (found["search"]["gain"], found["search"]["low"]) == (raw["gain"], raw["low"])
    assert found["gain"] != found["search"]["gain"]
    before, after = (found["unseen"][side]["mean"] for side in ("baseline", "challenger"))
    assert before - after == pytest.approx(found["gain"])
    assert (
        answer["headline"].endswith(" on unseen data") and f" → {after:.3f}" in answer["headline"]
    )
    assert "Confirmed with 3 fresh seeds each: gain on unseen data " in answer["rest"]
    assert "; in the search " in answer["rest"]
    page = (honest.session / "report.html").read_text(encoding="utf-8")
    assert "<dt>Gain on unseen data<dd>" in page and "<td>unseen<td>champion" in page
    said = (honest.session / "progress.log").read_text(encoding="utf-8")
    assert "  confirmed: gain on unseen data " in said


def test_a_gain_that_does_not_carry_over_is_said_first_everywhere(
    cheated: Box, capsys: Capsys
) -> None:
    words = "ot confirmed: the gain does not carry over: "
    facts = cheated.json("report.json")
    found, answer = facts["confirmation"], facts["answer"]
    assert answer["kind"] == found["standing"] == "not_carried_over"
    assert answer["sentence"].startswith(f"N{words}") and answer["headline"].startswith(f"N{words}")
    assert found["carry_chance"] < 1e-3 and found["search"]["gain"] > found["gain"] + 1.9
    for part in (found["search"], found["unseen"]):
        interval = f"{part['low']:.3f} to {part['high']:.3f}".replace("-", "−")
        assert f"{part['gain']:.3f} (" in answer["headline"] and interval in answer["headline"]
    page = (cheated.session / "report.html").read_text(encoding="utf-8")
    assert f'<p class="core">N{words}' in page and "answer not_carried_over" in page
    assert "fits the data of the search, and little else; read its code." in page
    said = (cheated.session / "progress.log").read_text(encoding="utf-8")
    assert f"n{words}" in said and f"N{words}" in said
    assert "  confirmed: " not in said
    with contextlib.chdir(cheated.path):
        out, _ = printed(capsys, "ratchet status")
        assert f"N{words}" in " ".join(out.split())
        confirmed = json.loads(printed(capsys, "ratchet status --json")[0])["confirmed"]
        assert (confirmed["standing"], confirmed["data"]) == ("not_carried_over", "unseen")
        exported = json.loads(printed(capsys, "ratchet export --to json")[0])
        assert exported["champion_gain"]["standing"] == "not_carried_over"
        assert exported["champion_gain"]["gain"] == found["gain"]
        _, err = printed(capsys, "ratchet export --to results.tsv")
        assert f"the champion's gain (n{words}" in err
        brief, _ = printed(capsys, "ratchet program update --print")
        assert f"by fresh runs of both n{words}" in brief and "read its code before" in brief


def test_the_confirmation_alone_reads_unseen_data(cheated: Box) -> None:
    made = cheated.events("run_finished")
    reads = [(event["role"], event["key"]) for event in cheated.events("audit_read")]
    assert reads == [(e["role"], e["key"]) for e in made if e["role"] == "confirm"]
    assert len(reads) == 2 * 3 and {"search", "certify"} <= {event["role"] for event in made}


def test_a_task_without_unseen_data_says_so(finished: Box, capsys: Capsys) -> None:
    facts = finished.json("report.json")
    found = facts["confirmation"]
    assert (found["standing"], found["data"], found["unseen"]) == ("confirmed", "search", None)
    assert "; the task has no unseen data" in facts["answer"]["sentence"]
    page = (finished.session / "report.html").read_text(encoding="utf-8")
    assert page.count("the task has no unseen data") >= 3
    said = (finished.session / "progress.log").read_text(encoding="utf-8")
    assert "; the task has no unseen data" in said
    with contextlib.chdir(finished.path):
        assert call("ratchet export --to json") == 0
    assert json.loads(capsys.readouterr().out)["champion_gain"]["unseen"] is None


class Unread(Recorded):
    """Runs with edits that give no value on the unseen data."""

    def execute(self, spec: RunSpec, store: Store, folder: Path) -> RunRecord:
        record = super().execute(spec, store, folder)
        edits = self.edits({name: store.get(sha) for name, sha in spec.sources.items()})
        if not edits or record.evaluation is None:
            return record
        return replace(record, evaluation=replace(record.evaluation, audit=None))


def test_a_champion_without_a_value_on_unseen_data_is_not_confirmed(tmp_path: Path) -> None:
    box = make_box(tmp_path / "box", task=str(BYTELM), rounds=1, budget_steps=40)
    table = Unread.load("bytelm", BYTELM)
    table.memorized = dict.fromkeys((edit for edits in table.rows for edit in edits), 2.0)
    box.backend, box.clock = table, table.clock
    box.play()
    answer = box.json("report.json")["answer"]
    assert answer["kind"] == "confirmation_failed"
    assert "gave no value on the unseen data" in answer["sentence"]
    assert box.json("confirm.json")["gain"] is None


def test_a_replay_confirms_the_same(honest: Box, tmp_path: Path) -> None:
    again = play_default(tmp_path / "again", {})
    assert again.json("confirm.json") == honest.json("confirm.json")


def test_a_tournament_s_champion_is_confirmed_on_unseen_data(tmp_path: Path) -> None:
    box = make_box(tmp_path / "box", task=str(BYTELM), budget_steps=40, confirm_replicates=3)
    table = Recorded.load("bytelm", BYTELM)
    table.memorized = dict.fromkeys((edit for edits in table.rows for edit in edits), 1.0)
    box.backend, box.clock = table, table.clock
    said = box.play_tournament(strategies="[conservative, radical]", evolve_rounds=1, evolve_runs=3)
    champion = box.json("evolve.json")["champion"]
    assert champion["gain"]["standing"] == "not_carried_over"
    assert "won in val_bpb; not confirmed: the gain does not carry over: " in said
    assert "does not carry over" in (box.session / "evolve.html").read_text(encoding="utf-8")
