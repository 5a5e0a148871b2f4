"""Certification of what a session kept."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest
import yaml

from helpers import FAKE, load_task
from helpers.boxes import Box, make_box
from helpers.edits import constant, declare, is_kept
from helpers.recorded import Edits, Recorded, Row
from ratchet.base.io import source_digest
from ratchet.base.structs import replace
from ratchet.cli.verify import main
from ratchet.records.records import Outcome, Role, run_seed
from ratchet.records.store import RunRecord, Store
from ratchet.runs.spec import RunSpec

RUNS = 6
REAL, PASSENGERS, OTHERS = 3, 3, 24
EFFECT, LUCK, HARM, SD = 4.0, 3.0, -2.0, 0.01
"""Of a real change, of the passengers while they are tried, and of all others, in noise sds."""


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Box, Recorded]:
    return play(tmp_path_factory.mktemp("certified") / "box")


def play(path: Path) -> tuple[Box, Recorded]:
    box = make_box(path, task="tasks/fake", rounds=12, certify=True)
    table = Recorded.load("fake", FAKE)
    box.backend, box.clock = table, table.clock
    box.play()
    return box, table


def kept(box: Box) -> list[int]:
    return [ruling["number"] for ruling in box.rulings() if is_kept(ruling)]


def test_fresh_runs_leave_kept_changes_out(played: tuple[Box, Recorded]) -> None:
    box, table = played
    certified = box.json("certify.json")
    made = [run for run in certified["runs"] if run["run"]]
    assert RUNS <= len(made) <= RUNS + 1
    assert {number for run in made for number in run["left_out"]} <= set(kept(box))
    assert any(len(run["left_out"]) > 1 for run in made)
    assert table.runs == len(box.runs()) == len(box.events("run_started"))
    assert main(["--root", str(box.path)]) == 0


def test_each_kept_change_has_a_contribution(played: tuple[Box, Recorded]) -> None:
    box, _ = played
    found = box.json("confirm.json")["contributions"]
    assert [each["number"] for each in found] == kept(box)
    assert all(each["low"] <= each["gain"] <= each["high"] for each in found)
    assert "certified" in [each["standing"] for each in found]
    facts = box.json("report.json")
    standings = {e["number"]: e["contribution"] for e in facts["experiments"] if e["contribution"]}
    assert standings == {each["number"]: each for each in found}
    certified = [each["standing"] for each in found].count("certified")
    assert facts["counts"]["certified"] == certified <= facts["counts"]["kept"]
    assert f"{certified} certified" in facts["answer"]["sentence"]
    page = (box.session / "report.html").read_text(encoding="utf-8")
    assert "What each kept change contributes" in page
    assert f"{certified} of {len(found)} kept" in (box.session / "progress.log").read_text("utf-8")


def test_a_replay_certifies_the_same(played: tuple[Box, Recorded]) -> None:
    box, table = played
    names = ("certify.json", "confirm.json", "certify/plan.json")
    before, runs = [box.json(name) for name in names], table.runs
    for name in names:
        (box.session / name).unlink()
    box.play("confirm")
    assert [box.json(name) for name in names] == before
    assert table.runs == runs


def test_nothing_kept_is_nothing_to_certify(box: Box) -> None:
    declare(box, constant("BEHAVIOUR", "crash"))
    box.play(rounds=1, certify=True)
    assert len(box.rulings()) == 1 and kept(box) == []
    assert box.json("certify.json")["runs"] == []
    assert box.json("confirm.json")["contributions"] == []
    assert box.json("report.json")["counts"]["certified"] is None


@dataclass
class Planted(Recorded):
    """Changes of a known effect; passengers measure well as long as they are tried."""

    tried: set[str] = field(default_factory=set)
    fresh: dict[Edits, str] = field(default_factory=dict)
    searching: bool = False
    fragile: bool = False
    seed: int = 1

    def execute(self, spec: RunSpec, store: Store, folder: Path) -> RunRecord:
        source = source_digest(spec.sources)
        seeds = {run_seed(self.seed, source, Role.SEARCH, again) for again in range(5)}
        self.searching = spec.seed in seeds
        found = super().execute(spec, store, folder)
        if not spec.guard:
            return found
        edits = self.edits({name: store.get(sha) for name, sha in spec.sources.items()})
        failed = len(edits) == REAL == [_kind(edit) for edit in edits].count("REAL")
        outcome = Outcome.GUARD_FAILED if failed else Outcome.OK
        return replace(found, outcome=outcome, reason="exit status 1")

    def _look(self, edits: Edits, draw: Random) -> tuple[Row, float | None]:
        kinds = [_kind(edit) for edit in edits]
        if self.fragile and len(kinds) == REAL == kinds.count("REAL") and not self.searching:
            failed = (row for found in self.rows.values() for row in found if row.value is None)
            return next(failed), None
        gain = EFFECT * kinds.count("REAL") + HARM * kinds.count("OTHER") + draw.gauss(0, 1)
        if self.searching and edits:
            if edits not in self.fresh:
                self.fresh[edits] = next(iter(edits - self.tried))
                self.tried |= edits
            luck = {"PASSENGER": LUCK, "REAL": 0.5}.get(_kind(self.fresh[edits]), 0.0)
            gain += luck
        return self.rows[frozenset()][0], 1.0 - SD * gain


def _kind(edit: str) -> str:
    return re.split(r"_\d", edit)[0]


def planted(path: Path, seed: int, fragile: bool = False, guarded: bool = False) -> dict[str, int]:
    """Changes by kind that the search kept, and that the certification removed."""
    numbers = [("REAL", REAL), ("PASSENGER", PASSENGERS), ("OTHER", OTHERS)]
    names = [f"{kind}_{n}" for kind, count in numbers for n in range(count)]
    Random(seed).shuffle(names)
    box = make_box(path, rounds=len(names), certify=True, seed=seed, max_replicates=2)
    task = box.path / "tasks" / "fake"
    values = yaml.safe_load((task / "task.yaml").read_text("utf-8"))
    values["search_space"] = [
        {"constant": name, "category": "other", "why": "It helps.", "values": [1]} for name in names
    ]
    if guarded:
        values["guard"] = ["python", "prepare.py"]
    (task / "task.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    source = "".join(f"{name} = 0\n" for name in names) + (task / "train.py").read_text("utf-8")
    (task / "train.py").write_text(source, encoding="utf-8")
    table = Planted(load_task(task), Recorded.load("fake", FAKE).rows)
    table.seed, table.fragile = seed, fragile
    box.backend, box.clock = table, table.clock
    box.play(last="confirm")
    trials = {ruling["number"]: ruling for ruling in box.rulings()}
    described = {
        proposal["number"]: _kind(proposal["edit"]["name"])
        for path in sorted((box.session / "rounds").glob("*/proposals.json"))
        for proposal in yaml.safe_load(path.read_text("utf-8"))["proposals"]
    }
    removed = box.json("certify.json")["removed"]
    counts = {f"{kind} kept": 0 for kind, _ in numbers} | {f"{k} removed": 0 for k, _ in numbers}
    for number, ruling in trials.items():
        counts[f"{described[number]} kept"] += is_kept(ruling)
        counts[f"{described[number]} removed"] += number in removed
    return counts


def test_passengers_are_removed_unless_the_smaller_champion_fails(tmp_path: Path) -> None:
    found = planted(tmp_path / "sound", 3)
    assert (found["REAL kept"], found["REAL removed"]) == (REAL, 0)
    assert found["PASSENGER kept"] == found["PASSENGER removed"] == PASSENGERS
    assert planted(tmp_path / "fragile", 3, fragile=True)["PASSENGER removed"] == 0
    fragile = Box((tmp_path / "fragile").resolve())
    assert "the champion fails" in fragile.json("certify.json")["detail"]
    assert fragile.json("confirm.json")["gain"] is not None


def test_passengers_stay_where_the_guard_needs_them(tmp_path: Path) -> None:
    assert planted(tmp_path / "box", 3, guarded=True)["PASSENGER removed"] == 0
    detail = Box((tmp_path / "box").resolve()).json("certify.json")["detail"]
    assert detail == "without what adds nothing it fails its guard: exit status 1"
