"""A whole session: what it finds, what it leaves, that it can be repeated."""

import json
import sys
from pathlib import Path

from helpers.boxes import FAKE, Box
from helpers.edits import constant, declare, is_kept


def test_finds_improvements_and_leaves_files_that_people_and_tools_read(finished: Box) -> None:
    assert any(map(is_kept, finished.rulings()))
    confirmation = finished.json("confirm.json")
    assert confirmation["gain"] > 0.1
    assert confirmation["low"] < confirmation["gain"] < confirmation["high"]
    rows = (finished.session / "results.tsv").read_text().splitlines()
    assert rows[0].split("\t") == ["commit", "val_loss", "memory_gb", "status", "description"]
    assert [len(row.split("\t")) for row in rows] == [5] * (1 + 1 + 3)
    assert (finished.session / "progress.png").read_bytes().startswith(b"\x89PNG")
    drawing = (finished.session / "progress.svg").read_text()
    assert drawing.startswith("<svg") and "experiments kept" in drawing
    assert "  progress.svg\n" in (finished.session / "SHA256SUMS").read_text()
    facts = finished.json("report.json")
    assert facts["soundness"]["intact"] is True
    page = (finished.session / "report.html").read_text().replace("\xa0", " ")
    assert page.startswith("<!doctype html>")
    assert facts["answer"]["sentence"].split(";")[0] in page
    log = (finished.session / "progress.log").read_text()
    assert "baseline" in log and "round 3/3" in log


def test_every_candidate_is_a_commit_and_kept_ones_are_the_branch(finished: Box) -> None:
    rows = (finished.session / "results.tsv").read_text().splitlines()[1:]
    kept = [row.split("\t")[0] for row in rows if row.split("\t")[3] == "keep"]
    branch = finished.git("log", "--format=%h", "--abbrev=7", "ratchet/default").split()
    assert branch[::-1] == kept
    reachable = finished.git("log", "--all", "--format=%h", "--abbrev=7").split()
    assert sorted(reachable) == sorted(row.split("\t")[0] for row in rows)
    assert finished.git("show", "ratchet/default:train.py") != (FAKE / "train.py").read_text()
    assert "prepare.py" in finished.git("ls-tree", "--name-only", "ratchet/default")


def test_same_inputs_give_the_same_bytes(finished: Box, box: Box) -> None:
    box.play(last="confirm")
    assert box.state() == finished.state()


def test_the_default_task_is_trained(tmp_path: Path) -> None:
    box = Box(tmp_path, {"task": "tasks/bytelm", "budget_steps": 20, "rounds": 1})
    box.play(last="rounds", baseline_replicates=2, max_replicates=2)
    (found,) = box.rulings()
    assert all(run["outcome"] == "ok" for run in found["runs"])
    # 20 steps are few, yet below the 8 bits of guessing.
    assert box.json("rounds/0001/steer.json")["incumbent"]["mean"] < 8
    assert [entry["path"] for entry in box.json("manifest.json")["locked"]] == ["audit.bin"]


def test_a_second_session_in_the_same_folder_shares_the_store(copy: Box) -> None:
    before = copy.runs()
    copy.play(session="again", last="confirm")
    again = copy.path / "results" / "again"
    assert copy.runs() == before
    assert (again / "results.tsv").read_bytes() == (copy.session / "results.tsv").read_bytes()


def test_an_exhausted_search_space_ends_the_session(box: Box) -> None:
    declare(box, constant("WIDTH", 3))
    said = box.play(rounds=3)
    assert "no more experiments: every declared change has been tried" in said
    assert [r["number"] for r in box.rulings()] == [1]
    assert "every declared change" in (box.session / "report.html").read_text()


def test_a_target_ends_the_session_and_lifting_it_goes_on(finished: Box, box: Box) -> None:
    assert "no more experiments: the target 1.35 is reached" in box.play(target=1.35)
    assert len(box.rulings()) < 3
    assert "target" in box.json("report.json")["answer"]["sentence"]
    box.play(last="confirm")
    ours, theirs = box.state(), finished.state()
    # The early champion was confirmed too.
    assert set(theirs.pop("runs").split()) <= set(ours.pop("runs").split())
    assert ours == theirs


def test_runs_hold_their_source_and_the_preimage_of_their_key(finished: Box) -> None:
    for path in (finished.path / "store/runs").glob("*/*"):
        entry = json.loads((path / "run.json").read_text())
        assert entry["key"] == path.name
        assert set(entry["inputs"]["data"]) == {"numbers.txt"}, "the locked split is not there"
        named = {"sources", "fixed", "data", "seed", "budget_steps", "environment_sha256"}
        assert {*named, "hardware"} <= set(entry["inputs"])
        assert (path / "source" / "train.py").exists()
        assert (path / "run.json").stat().st_mode & 0o222 == 0
    manifest = finished.json("manifest.json")
    assert [entry["path"] for entry in manifest["locked"]] == ["audit.txt"]
    assert manifest["versions"]["python"] == sys.version.split()[0]


def test_each_round_leaves_exact_edits_that_are_followed(finished: Box) -> None:
    tried: set[str] = set()
    for number in range(4):
        if number:
            (proposal,) = finished.json(f"rounds/{number:04d}/proposals.json")["proposals"]
            tried.add(proposal["description"])
        state = finished.json(f"rounds/{number:04d}/steer.json")
        edits = [s["title"] for s in state["suggestions"] if s["kind"] == "edit"]
        assert edits, state
        assert not tried & set(edits)
        assert state["noise_sd"] > 0
    followed = finished.json("report.json")["steering"]["followed"]
    assert [(one["place"], one["exactly"]) for one in followed] == [(1, True)] * 3
    assert "What to try next" in (finished.session / "report.html").read_text()
