"""Sessions on somebody's repository, which stays as it is; a task whose surface is YAML."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from helpers.boxes import REPO, Box
from helpers.edits import is_kept, ruling
from helpers.repositories import git, make_cache, make_clone, state
from ratchet.cli.main import main

LIMITS = {"budget_steps": None, "confirm_replicates": 1, "baseline_replicates": 2, "rounds": 2}


@pytest.fixture
def outside(tmp_path: Path) -> Box:
    """A working folder without a task, and a home with a cache."""
    home, place = tmp_path / "home", tmp_path / "working folder"
    place.mkdir()
    make_cache(home)
    return Box(place, dict(LIMITS), {"HOME": str(home)})


def define(outside: Box) -> None:
    """Upstream's definition with a bound on the size, and the larger model tried first."""
    data = yaml.safe_load((REPO / "tasks" / "autoresearch" / "upstream.yaml").read_text())
    data["constraints"].append({"name": "num_params_M", "max": 60})
    data["search_space"] = [
        {"constant": "DEPTH", "category": "architecture", "values": [10, 9, 7], "why": "deeper"}
    ]
    (outside.path / "mine.yaml").write_text(yaml.safe_dump(data, sort_keys=False))


def test_an_unmodified_clone_runs_and_stays_as_it_is(outside: Box, tmp_path: Path) -> None:
    clone = make_clone(tmp_path / "home" / "a clone")
    first = git(clone, "rev-parse", "HEAD").strip()
    before = state(clone)
    cache = tmp_path / "home" / ".cache" / "autoresearch"
    define(outside)
    task = "{repo: ~/a clone, definition: mine.yaml}"
    outside.play(task=task)

    assert state(clone) == before
    assert sorted(p.name for p in cache.iterdir()) == ["data", "tokenizer"]
    manifest = outside.json("manifest.json")
    assert manifest["origin"]["commit"] == first
    (entry,) = manifest["caches"]
    assert (entry["folder"], entry["files"], entry["bytes"]) == ("~/.cache/autoresearch", 2, 7)
    assert manifest["python"]["packages_sha256"]
    rows = (outside.session / "results.tsv").read_text().splitlines()
    assert rows[0].split("\t")[1] == "val_bpb"
    assert len(rows) == 1 + 1 + 2
    rulings = outside.rulings()
    baseline = outside.json("baseline.json")["runs"]
    runs = [run for found in rulings for run in found["runs"]]
    assert all(run["outcome"] == "ok" for run in [*runs, *baseline])
    # The seed that the code writes down is moved, so that no two runs are the same lot.
    assert baseline[0]["value"] != baseline[1]["value"]
    assert baseline[0]["value"] == pytest.approx(1.04, abs=0.01)
    assert baseline[0]["memory_mb"] == pytest.approx(45860.2)

    large, fitting = ruling(outside, "DEPTH 8 -> 10"), ruling(outside, "DEPTH 8 -> 9")
    assert large["verdict"] == "DISCARD"
    assert large["delta"] < -0.05
    assert len(large["runs"]) == 1
    assert large["pareto"] is None
    assert "num_params_M is 63, expected num_params_M at most 60" in large["reason"]
    assert is_kept(fitting)

    tree = outside.git("ls-tree", "--name-only", "refs/ratchet/baseline").split()
    assert tree == ["prepare.py", "program.md", "train.py"]
    assert outside.git("show", "refs/ratchet/baseline:train.py") == (clone / "train.py").read_text()
    assert first in (outside.session / "report.html").read_text()

    # The clone's branch moves on and is edited; the session goes on with its own commit.
    (clone / "train.py").write_text("raise SystemExit(1)\n")
    git(clone, "commit", "--quiet", "--all", "--message", "broken")
    (clone / "train.py").write_text("also broken\n")
    known = outside.runs()
    outside.play(task=task, rounds=3)
    assert outside.json("manifest.json") == manifest
    assert set(outside.runs()) > set(known)
    assert all(run["outcome"] == "ok" for found in outside.rulings() for run in found["runs"])
    assert main(["verify", "--root", str(outside.path)]) == 0


def test_a_task_with_a_yaml_surface_stops_at_its_target(tmp_path: Path) -> None:
    box = Box(tmp_path, {**LIMITS, "task": "tasks/textclf", "rounds": 6}, harness=REPO)
    box.play()
    stopped = box.json("confirm.json")
    assert stopped["gain"] > 0.02
    states = [json.loads(p.read_text()) for p in sorted(box.session.glob("rounds/*/steer.json"))]
    assert states[-1]["stop"] == "target"
    assert "the target 0.83 is reached" in states[-1]["detail"]
    assert states[-1]["incumbent"]["mean"] >= 0.83
    kept = [found for found in box.rulings() if is_kept(found)]
    assert kept
    assert all(found["delta"] > 0 for found in kept)
    assert len(box.rulings()) < 6
    old = (REPO / "tasks/textclf/config.yaml").read_text().splitlines()
    new = box.git("show", "ratchet/default:config.yaml").splitlines()
    changed = [(a, b) for a, b in zip(old, new, strict=True) if a != b]
    assert len(changed) == len(kept)
    assert all(a.split(":")[0] == b.split(":")[0] and "#" in b for a, b in changed)
    assert "accuracy" in (box.session / "report.html").read_text()
