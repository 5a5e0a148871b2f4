"""The champion compared with the baseline at another scale, after its confirmation."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers import FAKE
from helpers.boxes import Box, make_box
from helpers.commands import Capsys
from helpers.recorded import Recorded
from helpers.shared import copied, shared_box
from ratchet.base.errors import EXIT_USAGE
from ratchet.base.io import write_json
from ratchet.cli.main import main as ratchet
from ratchet.cli.verify import main as verify
from ratchet.records.history import History
from ratchet.records.paths import SessionPaths
from ratchet.records.records import Transfer
from ratchet.records.store import read_entry
from ratchet.records.transferred import transferred_gain

LONGER = {"budget_steps": 15}


def rehearsed(path: Path, **settings: object) -> Box:
    """A box whose training is looked up."""
    box = make_box(path, **settings)
    table = Recorded.load("fake", FAKE)
    box.backend, box.clock = table, table.clock
    return box


@shared_box
def searched(path: Path) -> Box:
    """A finished session, in which nobody asked for another scale."""
    box = rehearsed(path, rounds=4, confirm_replicates=3, max_replicates=1)
    box.play()
    return box


def later(searched: Box, path: Path, **settings: object) -> Box:
    """A copy of a finished session that is played once more with other settings."""
    box = copied(searched, path / "box")
    table = Recorded.load("fake", FAKE)
    box.backend, box.clock = table, table.clock
    box.settings |= settings
    return box


def made(box: Box, role: str = "transfer") -> list[dict[str, Any]]:
    return [event for event in box.events("run_finished") if event["role"] == role]


def inputs(box: Box, run: dict[str, Any]) -> dict[str, Any]:
    path = box.path / "store" / "runs" / run["key"][:2] / run["key"] / "run.json"
    return read_entry(path)["inputs"]


def test_a_finished_session_is_compared_at_another_scale_and_nothing_else_is_run(
    searched: Box, tmp_path: Path, capsys: Capsys
) -> None:
    box = later(searched, tmp_path, transfer=LONGER)
    before, runs = box.state(), len(box.runs())
    box.play("confirm")
    found = box.json("transfer.json")
    assert {k: v for k, v in box.state().items() if k in before and k != "runs"} == {
        k: v for k, v in before.items() if k != "runs"
    }
    assert len(made(box)) == len(box.runs()) - runs == 6
    sides = [found["measured"][side] for side in ("baseline_runs", "champion_runs")]
    assert {inputs(box, run)["budget_steps"] for side in sides for run in side} == {15}
    assert [run["seed"] for run in sides[0]] == [run["seed"] for run in sides[1]]
    assert not {run["seed"] for run in sides[0]} & {run["seed"] for run in made(box, "confirm")}
    assert found["scale"]["ratio"] == 3

    facts, clause = box.json("report.json"), "the gain holds at 3 times the budget (15 steps)"
    told = facts["transfer"]
    assert (told["standing"], told["gain"]) == ("holds", found["measured"]["gain"])
    assert told["low"] > 0
    assert told["share"] == pytest.approx(told["gain"] / facts["confirmation"]["gain"])
    assert clause in facts["answer"]["sentence"]
    assert clause in (box.session / "progress.log").read_text("utf-8")
    assert facts["totals"]["phases"]["transfer"] == 6
    page = (box.session / "report.html").read_text(encoding="utf-8")
    assert "Another scale</h2>" in page and "The gain holds at 3 times" in page

    assert ratchet(["status", "--root", str(box.path), "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert status["transferred"]["standing"] == "holds"
    assert verify(["--root", str(box.path)]) == 0


def known(box: Box) -> Transfer | None:
    """What the session's history has of another scale."""
    return History.read(SessionPaths("default", box.path)).transfer


def test_a_replay_finds_its_runs_and_a_scale_that_nobody_wants_any_more_stays_known(
    searched: Box, tmp_path: Path
) -> None:
    box = later(searched, tmp_path, transfer=LONGER)
    box.play("confirm", "transfer")
    first, runs = box.json("transfer.json"), box.runs()
    for name in ("transfer.json", "transfer/plan.json", "transfer/run-0.json", "confirm.json"):
        (box.session / name).unlink()
    box.play("confirm", "transfer")
    assert (box.json("transfer.json"), box.runs()) == (first, runs)
    box.play("confirm", "transfer", transfer=None)
    assert known(box) is not None
    # A session that went on has another confirmation, of which this tells nothing.
    box.play("rounds", "confirm", transfer=None, rounds=5)
    assert known(box) is None


def test_without_a_champion_there_is_nothing_to_compare(tmp_path: Path) -> None:
    box = rehearsed(tmp_path / "box", rounds=1, mode="guaranteed", max_replicates=3)
    box.play(last="transfer", transfer=LONGER)
    assert box.json("confirm.json")["champion"] == 0
    assert (made(box), box.json("transfer/plan.json")["manifest"]) == ([], None)
    found = known(box)
    assert found is not None and found.measured.detail == "nothing was kept"
    assert transferred_gain(found)["standing"] == "nothing_to_transfer"
    assert box.events("transferred") == box.events("transferring") == []


def test_more_runs_than_are_allowed_are_not_made(searched: Box, tmp_path: Path) -> None:
    used = searched.json("report.json")["totals"]["runs"]
    box = later(searched, tmp_path, max_runs=used + 5, transfer=LONGER)
    box.play("transfer", "transfer")
    assert made(box) == []
    (told,) = box.events("transferred")
    assert told["standing"] == "transfer_failed"
    assert f"exceed max_runs, {used + 5}" in told["detail"]
    box.play("transfer", "transfer", max_runs=used + 6)
    assert len(made(box)) == 6


SIZES = {
    "small": {"constants": {"DECAY": 0.3}},
    "large": {
        "constants": {"WIDTH": 5, "RATE": 0.3},
        "environment": {"RATCHET_NUMBERS": "2 3 4"},
        "budget": {"steps": 50},
    },
}
LARGE = {"transfer": {"preset": "large"}}


def sized(path: Path, champion: str = "", **settings: object) -> Box:
    """A session of a task with two sizes; it tries other values of WIDTH alone."""
    box = make_box(path, preset="small", rounds=2, budget_steps=None, budget_seconds=None)
    box.settings |= settings
    task = box.path / "tasks" / "fake"
    values = yaml.safe_load((task / "task.yaml").read_text("utf-8"))
    values |= {"presets": SIZES, "budget": {"steps": 5}}
    values["search_space"] = [
        each for each in values["search_space"] if each.get("values") == [2, 3, 4]
    ]
    (task / "task.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    prepare = (task / "prepare.py").read_text("utf-8")
    numbers = 'os.environ.get("RATCHET_NUMBERS", "1 2 3") + "\\n"'
    (task / "prepare.py").write_text(prepare.replace('"1 2 3\\n"', numbers), encoding="utf-8")
    if champion:
        script = task / "train.py"
        script.write_text(f"{script.read_text('utf-8')}{champion}\n", encoding="utf-8")
    return box


def test_another_preset_changes_both_codes_but_for_what_the_champion_found(tmp_path: Path) -> None:
    box = sized(tmp_path / "box", **LARGE)
    box.play()
    plan, started = box.json("transfer/plan.json"), box.json("manifest.json")
    assert plan["kept_constants"] == ["WIDTH"]
    assert plan["scale"]["budget_steps"] == 50 and plan["scale"]["ratio"] == 10
    assert plan["scale"]["timeout_seconds"] == 300

    def lines(sha: str) -> set[str]:
        text = (box.path / "store/blobs/sha256" / sha[:2] / sha).read_text("utf-8")
        return {line for line in text.splitlines() if line.startswith(("RATE", "WIDTH", "DECAY"))}

    # DECAY goes back to the task's own, which the preset of the session had changed.
    assert lines(plan["baseline"]["train.py"]) == {"RATE = 0.3", "WIDTH = 5", "DECAY = 0.0"}
    (width,) = lines(plan["champion_files"]["train.py"]) - {"RATE = 0.3", "DECAY = 0.0"}
    assert width in {"WIDTH = 2", "WIDTH = 3", "WIDTH = 4"}
    assert plan["manifest"]["data"] != started["data"]
    runs = box.json("transfer.json")["measured"]["champion_runs"]
    data = {entry["path"]: entry["sha256"] for entry in plan["manifest"]["data"]}
    assert len(runs) == 3 and all(inputs(box, run)["data"] == data for run in runs)
    assert inputs(box, runs[0])["variables"]["RATCHET_NUMBERS"] == "2 3 4"
    # A width of 5 is better than what the champion found at the smaller size.
    told = box.json("report.json")["transfer"]
    assert told["standing"] in ("does_not_hold", "unclear") and told["gain"] < 0
    assert "with preset large at 10 times the budget (50 steps)" in told["scale"]["words"]
    page = (box.session / "report.html").read_text("utf-8")
    assert "own edits set WIDTH" in page
    assert verify(["--root", str(box.path)]) == 0


def test_a_champion_that_fails_at_the_other_scale_is_a_result(tmp_path: Path) -> None:
    room = (
        'if os.environ.get("RATCHET_NUMBERS") and WIDTH < 5:\n'
        '    raise MemoryError("no room for this")'
    )
    box = sized(tmp_path / "box", room, **LARGE)
    box.play(last="transfer")
    found, (told,) = box.json("transfer.json")["measured"], box.events("transferred")
    assert {run["outcome"] for run in found["baseline_runs"]} == {"ok"}
    assert {run["outcome"] for run in found["champion_runs"]} == {"oom_host"}
    assert told["standing"] == "transfer_failed"
    assert "the champion's run with seed" in told["detail"]
    assert "is not known: the champion's run" in (box.session / "progress.log").read_text("utf-8")


def test_an_edited_file_that_no_longer_tells_a_preset_s_own_values_is_named(tmp_path: Path) -> None:
    box = sized(tmp_path / "box")
    box.play(last="confirm")
    script = box.path / "tasks/fake/train.py"
    script.write_text(f"{script.read_text('utf-8')}# mine\n", encoding="utf-8")
    said = box.play("transfer", "transfer", check=False, **LARGE)
    assert "train.py as the session started from it" in said and "DECAY" in said


def test_a_run_of_another_scale_in_the_record_is_found(
    searched: Box, tmp_path: Path, capsys: Capsys
) -> None:
    box = later(searched, tmp_path, transfer=LONGER)
    box.play("transfer", "transfer")
    found = box.json("transfer.json")
    found["measured"]["champion_runs"] = box.json("confirm.json")["champion_runs"]
    write_json(box.session / "transfer.json", found)
    assert verify(["--root", str(box.path)]) == 1
    assert "expected a run with budget_steps 15, found 5 of run" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"transfer": {"budget_steps": 5}}, "expected another scale than the search's"),
        ({"transfer": {"preset": "huge"}}, "expected one of"),
    ],
)
def test_a_scale_that_is_none_is_refused_before_anything_is_run(
    tmp_path: Path, settings: dict[str, Any], words: str
) -> None:
    box = make_box(tmp_path / "box", **settings)
    said = box.play(check=False)
    assert box.status == EXIT_USAGE
    assert "transfer" in said and words in said
    assert not (box.session / "manifest.json").exists()
