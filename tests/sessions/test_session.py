"""A whole session: what it finds, what it leaves, that it can be replayed."""

from __future__ import annotations

import json
import sys

from helpers.boxes import FAKE, Box


def test_finds_the_improvements_that_are_there(finished: Box) -> None:
    kept = [r for r in finished.rulings() if r["verdict"] in ("KEEP", "STRONG_KEEP")]
    confirmation = finished.json("confirm.json")
    assert len(kept) >= 1
    assert confirmation["gain"] > 0.1
    assert confirmation["low"] < confirmation["gain"] < confirmation["high"]


def test_leaves_the_files_that_people_and_tools_read(finished: Box) -> None:
    rows = (finished.session / "results.tsv").read_text().splitlines()
    assert rows[0].split("\t") == ["commit", "val_loss", "memory_gb", "status", "description"]
    assert len(rows) == 1 + 1 + 3
    assert all(len(row.split("\t")) == 5 for row in rows)
    assert (finished.session / "progress.png").read_bytes().startswith(b"\x89PNG")
    page = (finished.session / "report.html").read_text()
    assert page.startswith("<!doctype html>")
    assert finished.json("report.json")["answer"]["sentence"].split(";")[0] in page
    log = (finished.session / "progress.log").read_text()
    assert "round 3/3" in log
    assert "baseline" in log


def test_every_candidate_is_a_commit_and_kept_ones_are_the_branch(finished: Box) -> None:
    rows = (finished.session / "results.tsv").read_text().splitlines()[1:]
    kept = [row.split("\t")[0] for row in rows if row.split("\t")[3] == "keep"]
    branch = finished.git("log", "--format=%h", "--abbrev=7", "ratchet/default").split()
    assert branch[::-1] == kept
    reachable = finished.git("log", "--all", "--format=%h", "--abbrev=7").split()
    assert sorted(reachable) == sorted(row.split("\t")[0] for row in rows)
    source = finished.git("show", "ratchet/default:train.py")
    assert source != (FAKE / "train.py").read_text()
    assert "prepare.py" in finished.git("ls-tree", "--name-only", "ratchet/default")


def test_same_inputs_give_the_same_bytes(finished: Box, box: Box) -> None:
    box.play()
    assert box.state() == finished.state()


def test_another_seed_is_another_session_with_runs_of_its_own(finished: Box, box: Box) -> None:
    box.play(seed=2)
    assert not set(box.runs()) & set(finished.runs())


def test_a_second_session_in_the_same_folder_shares_the_store(copy: Box) -> None:
    before = copy.runs()
    copy.play(session="again")
    again = copy.path / "results" / "again"
    assert copy.runs() == before
    assert (again / "results.tsv").read_bytes() == (copy.session / "results.tsv").read_bytes()


def test_several_candidates_a_round_keep_at_most_the_best(box: Box) -> None:
    box.play(rounds=2, candidates=3)
    for number in (1, 2):
        verdict = box.json(f"rounds/000{number}/verdict.json")
        words = [ruling["verdict"] for ruling in verdict["rulings"]]
        assert len(words) == 3
        assert sum(word in ("KEEP", "STRONG_KEEP") for word in words) <= 1
    rows = (box.session / "results.tsv").read_text().splitlines()
    assert len(rows) == 1 + 1 + 6
    assert box.json("confirm.json")["gain"] is not None


def test_a_maximised_metric_is_maximised(box: Box) -> None:
    task = box.path / "tasks" / "fake"
    definition = (task / "task.yaml").read_text()
    (task / "task.yaml").write_text(definition.replace("minimize", "maximize"))
    source = (task / "train.py").read_text()
    (task / "train.py").write_text(source.replace("{loss:.6f}", "{3 - loss:.6f}"))
    box.play()
    values = [r["mean"] for r in box.rulings() if r["verdict"].endswith("KEEP")]
    baseline = box.json("rounds/0000/steer.json")["incumbent"]["mean"]
    assert values == sorted(values)
    assert values[0] > baseline
    assert box.json("confirm.json")["gain"] > 0.1


def test_an_exhausted_search_space_ends_the_session(box: Box) -> None:
    path = box.path / "tasks" / "fake" / "task.yaml"
    text = path.read_text()
    space = "search_space:\n  - {constant: WIDTH, category: architecture, values: [3], why: w}\n"
    path.write_text(text[: text.index("search_space:")] + space)
    said = box.play(rounds=3)
    assert "no more experiments: every declared change has been tried" in said
    assert [r["number"] for r in box.rulings()] == [1]
    assert "every declared change" in (box.session / "report.html").read_text()


def test_the_locked_split_never_reaches_a_run(finished: Box, box: Box) -> None:
    manifest = finished.json("manifest.json")
    assert [entry["path"] for entry in manifest["locked"]] == ["audit.txt"]
    source = (box.path / "tasks/fake/train.py").read_text()
    looking = 'import sys\nfrom pathlib import Path\nprint(sorted(map(str, Path().rglob("*"))))\n'
    (box.path / "tasks/fake/train.py").write_text(looking + source)
    box.play(rounds=1, confirm_replicates=1)
    for log in (box.path / "store" / "runs").rglob("run.log"):
        assert "numbers.txt" in log.read_text()
        assert "audit.txt" not in log.read_text()


def test_a_report_can_be_made_again_from_the_records(copy: Box) -> None:
    before = (copy.session / "report.html").read_bytes()
    (copy.session / "report.html").unlink()
    copy.play()
    assert (copy.session / "report.html").read_bytes() == before


def test_runs_hold_their_source_and_the_preimage_of_their_key(finished: Box) -> None:
    for path in (finished.path / "store/runs").glob("*/*"):
        entry = json.loads((path / "run.json").read_text())
        assert entry["key"] == path.name
        named = {"sources", "fixed", "data", "seed", "budget_steps", "environment_sha256"}
        assert {*named, "hardware"} <= set(entry["inputs"])
        assert (path / "source" / "train.py").exists()
        assert (path / "run.json").stat().st_mode & 0o222 == 0
    assert finished.json("manifest.json")["versions"]["python"] == sys.version.split()[0]


def test_each_round_leaves_exact_edits_that_were_not_tried(finished: Box) -> None:
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


def test_what_is_proposed_was_suggested(finished: Box) -> None:
    facts = finished.json("report.json")["steering"]
    assert [one["place"] for one in facts["followed"]] == [1, 1, 1]
    assert all(one["exactly"] for one in facts["followed"])
    assert "What to try next" in (finished.session / "report.html").read_text()
