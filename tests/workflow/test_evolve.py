"""Tournaments: competing strategies whose wins are re-tested before they spread."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.boxes import Box, git, make_box
from helpers.commands import Patch
from helpers.shared import copied, made_once
from ratchet.base.io import read_record
from ratchet.base.structs import replace
from ratchet.cli import autoevolve
from ratchet.cli.autoevolve import main, read
from ratchet.integrity.verify import verify_sessions
from ratchet.records.events import read_events
from ratchet.tournament.leg import play_leg
from ratchet.tournament.plan import Fate, Leg, Pollination
from ratchet.tournament.pollination import write_pollination

# What each one can try makes the tournament: two that set RATE otherwise, and
# one whose only change crashes and that has nothing more to propose then.
STRATEGIES = """
fast: {brief: far steps, only: [hyperparams], steps: large}
slow: {brief: "near <steps>", first: [activation], only: [activation, hyperparams], steps: small}
broken: {brief: always crashes, only: [other]}
"""
NAMES = ["fast", "slow", "broken"]
SETTINGS = {"confirm_replicates": 2, "seeds": "secret"}
PLAYED = {
    "strategies": json.dumps(NAMES),
    "evolve_rounds": 2,
    "evolve_runs": 4,
    "seeds": "secret",
    "proposer": "auto",
}


def arena(path: Path) -> Box:
    """A box with strategies of its own, in a checkout with uncommitted work."""
    box = make_box(path, **SETTINGS)
    (box.path / "config").mkdir()
    (box.path / "config" / "strategies.yaml").write_text(STRATEGIES)
    git(box.path, "init", "-q")
    # Two tournaments with one secret can be compared.
    box.session.mkdir(parents=True)
    (box.session / "seed-secret").write_text("not drawn\n")
    (box.path / "mine.txt").write_text("not committed")
    return box


def start(box: Box, words: list[str]) -> subprocess.Popen[str]:
    """Start the command in a process group of its own and do not wait."""
    return subprocess.Popen(
        [sys.executable, "-m", "ratchet.cli.autoevolve", *words],
        cwd=box.path,
        env={**os.environ, "RATCHET_HARNESS": str(box.harness)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Box, str]:
    """A tournament in the article's form, killed in a leg; and what the rest of it printed."""
    box = made_once(tmp_path_factory, "wörk place's", _played)
    return box, (box.path.parent / "printed").read_text()


def _played(path: Path) -> Box:
    box = arena(path)
    values = {**SETTINGS, "task": "tasks/fake", "budget_steps": 5, "worktrees": "bäume hier"}
    pairs = [f"{key}={value}" for key, value in values.items()]
    words = ["--strategies", *NAMES, "--rounds", "2", "--runs", "4", "--config", *pairs]
    first = start(box, words)
    log = box.path / "results" / "default.slow" / "events.jsonl"
    box.wait_for(lambda: log.exists() and '"verdict"' in log.read_text())
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    assert not (box.session / "evolve.json").exists()
    again = start(box, words)
    printed, said = again.communicate()
    assert again.returncode == 0, said
    (path.parent / "printed").write_text(printed)
    return box


def facts(box: Box) -> dict:
    return box.json("evolve.json")


def state(box: Box) -> dict[str, str]:
    """Digests of all that must be equal in equal tournaments."""
    found = {}
    for path in sorted((box.path / "results").rglob("*")):
        name = str(path.relative_to(box.path))
        if path.name in ("live.html", "index.html") or {"limits", "logs"} & set(path.parts):
            continue
        if path.suffix in (".json", ".tsv", ".html"):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    for folder in sorted((box.path / "results").glob("*/.git")):
        name = str(folder.relative_to(box.path))
        found[name] = git(folder, "for-each-ref", "--format=%(objectname) %(refname)")
    found.pop("results/default/evolve/settings.json", None)  # of autoevolve alone
    return found


def test_it_runs_unattended_and_everybody_gets_an_equal_share(played: tuple[Box, str]) -> None:
    box, printed = played
    found = facts(box)
    rows = {row["competitor"]: row for row in found["leaderboard"]}
    assert set(rows) == set(NAMES)
    assert [row["rank"] for row in found["leaderboard"]] == [1, 2, 3]
    means = [row["mean"] for row in found["leaderboard"]]
    assert means == sorted(means)
    # A round may end with more retests than were left of the share.
    assert all(row["stop"] or 8 <= row["runs"] <= 8 + 3 for row in rows.values())
    assert all(row["low"] < row["mean"] < row["high"] for row in rows.values())
    assert rows["fast"]["trajectory"][0]["runs"] == 0
    confirmation = found["champion"]["confirmation"]
    assert confirmation["low"] > 0
    assert len(confirmation["baseline_runs"]) == 2
    assert printed.splitlines()[1].split()[:2] == ["1", found["champion"]["competitor"]]
    assert "won in val_loss; confirmed: gain 0." in printed
    assert found["champion"]["gain"]["standing"] == "confirmed"
    assert verify_sessions(box.path).deviations == []
    # One that crashes and then proposes nothing stops nobody, and takes over what others found.
    legs = [box.json(f"evolve/{n:04d}/leg-2.json") for n in range(3)]
    assert (legs[1]["runs"], legs[1]["stop"]) == (1, "exhausted")
    assert rows["broken"]["crashes"] == 1
    assert legs[2]["kept"] == rows["broken"]["adopted_wins"] > 0


def test_wins_are_re_tested_where_they_go_and_conflicts_are_not_forced(
    played: tuple[Box, str],
) -> None:
    box, _ = played
    found = facts(box)
    passed = {(p["donor"], p["recipient"], p["description"]): p for p in found["pollinations"]}
    square = passed["slow", "fast", "square"]
    assert square["fate"] == "kept"
    assert square["retest"]["runs"] >= 1
    assert square["retest"]["confidence"] > 0.6
    kept = [e for e in found["lineage"]["fast"] if e["origin"] == square["origin"]]
    assert [e["proposer"] for e in kept] == ["pollination"]
    assert kept[0]["experiment"] == square["retest"]["experiment"]
    paths = box.path.glob("results/default.fast/rounds/*/proposals.json")
    proposals = [one for path in paths for one in json.loads(path.read_text())["proposals"]]
    (mine,) = [one for one in proposals if one["origin"] == square["origin"]]
    assert mine["description"] == f"square (win of slow, its experiment {square['origin'][-1]})"
    conflicts = [p for p in found["pollinations"] if p["fate"] == "conflict"]
    assert conflicts
    assert all("both set RATE" in p["detail"] and "retest" not in p for p in conflicts)
    given = {row["competitor"]: row["wins_adopted_elsewhere"] for row in found["leaderboard"]}
    adopted = sum(row["adopted_wins"] for row in found["leaderboard"])
    assert sum(given.values()) == adopted > 0


def test_equal_code_is_trained_once_and_the_page_says_who_did_what(played: tuple[Box, str]) -> None:
    box, _ = played
    events = [e for path in box.path.glob("results/*/events.jsonl") for e in read_events(path)]
    keys = Counter(event["key"] for event in events if event["event"] == "run_finished")
    assert max(keys.values()) == 1
    starts = {path.read_text() for path in box.path.glob("results/*/baseline.json")}
    assert len(starts) == 1
    page = (box.session / "evolve.html").read_text()
    assert "near &lt;steps&gt;" in page
    assert "conflict, not forced" in page


def test_competitors_share_the_secret_of_the_tournament(played: tuple[Box, str]) -> None:
    box, _ = played
    paths = sorted((box.path / "results").glob("*/seed-secret"))
    assert len(paths) == 1 + len(NAMES)
    assert {path.read_text() for path in paths} == {"not drawn\n"}
    assert {path.stat().st_mode & 0o777 for path in paths if "." in path.parent.name} == {0o600}


def test_worktrees_show_the_incumbents_and_the_checkout_is_untouched(
    played: tuple[Box, str],
) -> None:
    box, _ = played
    folder = box.path / "bäume hier" / "default.fast"
    assert "shape = 0.9" in (folder / "train.py").read_text()
    assert git(folder, "status", "--porcelain") == ""
    assert (box.path / "mine.txt").read_text() == "not committed"
    assert "shape = 1.0" in (box.path / "tasks" / "fake" / "train.py").read_text()


def test_killed_in_a_leg_it_went_on_and_ended_with_the_bytes_of_one_in_one_go(
    played: tuple[Box, str], tmp_path: Path
) -> None:
    undisturbed = arena(tmp_path / "box")
    undisturbed.play_tournament(**PLAYED)
    assert state(played[0]) == state(undisturbed)


@pytest.fixture
def copy(played: tuple[Box, str], tmp_path: Path) -> Box:
    return copied(played[0], tmp_path / "cöpy of")


Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(copy: Box, monkeypatch: Patch, capfd: pytest.CaptureFixture[str]) -> Call:
    """Calls of the command in the copy: exit code, standard output and standard error."""
    monkeypatch.chdir(copy.path)
    monkeypatch.setenv("RATCHET_HARNESS", str(copy.harness))
    return lambda *words: (main(words), *capfd.readouterr())


def test_the_whole_configuration_of_the_leader_can_be_passed_on_instead(copy: Box) -> None:
    here = autoevolve.arena(copy.path, "default")
    here = replace(here, config=replace(here.config, pollination="best"))
    write_pollination(here, 1)
    found = read_record(Pollination, here.paths.pollination(1))
    others = [name for name in NAMES if name != found.leader]
    assert [q.competitor for q in found.queues if q.wins] == others
    play_leg(here, 2, NAMES.index(others[0]), None, lambda: 0.0)
    played_leg = read_record(Leg, here.paths.leg(2, NAMES.index(others[0])))
    (graft,) = played_leg.grafts
    assert graft.fate is Fate.OFFERED
    tried = here.open(NAMES.index(others[0])).proposals(graft.round or 0).proposals
    assert tried[0].description.startswith(f"the whole configuration of {found.leader}")
    assert dict(tried[0].files) == dict(found.queue(others[0])[0].files)


def test_the_commands_of_the_released_tool_read_and_clean_up(copy: Box, call: Call) -> None:
    def say(*words: str) -> str:
        code, out, err = call(*words)
        assert code == 0, err
        return out

    leader = facts(copy)["leaderboard"][0]["competitor"]
    assert f"{leader}: " in say("status")
    assert say("-q", "status").startswith(f"Leader: {leader}, best: ")
    assert "wins passed on" in say("leaderboard", "--detailed")
    assert json.loads(say("leaderboard", "--json")) == facts(copy)
    rows = [line.split("\t") for line in say("export", "--format", "tsv").splitlines()]
    assert rows[0][:4] == ["agent_id", "agent_strategy", "commit", "val_bpb"]
    assert {row[1] for row in rows[1:]} == set(NAMES)
    agents = json.loads(say("export"))["agents"]
    assert [agent["strategy"] for agent in agents] == NAMES
    assert agents[2]["experiments"][1]["status"] == "crash"
    offered = say("pollinate", "--dry-run", "default").splitlines()
    wins = copy.json("evolve/0002/pollination.json")["queues"]
    assert len(offered) == sum(len(queue["wins"]) for queue in wins)
    before = state(copy)
    tree = copy.path / "bäume hier" / "default.slow"
    (tree / "nötes.txt").write_text("mine")
    assert call("cleanup")[0] == 64
    assert tree.exists()
    say("cleanup", "--yes", "--export-first")
    assert not list((copy.path / "bäume hier").iterdir())
    kept = copy.path / "results" / "default.slow" / "from-worktree" / "nötes.txt"
    assert kept.read_text() == "mine"
    assert state(copy) == before
    assert json.loads((copy.path / "evolve-default-export.json").read_text())["agents"] == agents


def test_competitors_are_set_up_by_command(copy: Box, call: Call) -> None:
    git(copy.path, "add", "-f", "tasks")
    git(copy.path, "commit", "-qm", "mine")
    git(copy.path, "branch", "-M", "base")
    setup = ["init", "--tag", "other", "--base-branch", "base"]
    pairs = ["--config", "task=tasks/fake", "budget_steps=5"]
    script = copy.path / "tasks" / "fake" / "train.py"
    before = script.read_text()
    script.write_text(before + "# work in progress\n")
    code, _, err = call(*setup, "--agents", "1", *pairs)
    assert code == 64
    assert "is not as in base" in err
    assert not (copy.path / "results" / "other").exists()
    script.write_text(before)
    code, out, err = call(*setup, "--agents", "1", *pairs)
    assert code == 0, err
    assert out.startswith("architecture-first")
    tree = copy.path / "results" / "other.architecture-first" / "worktree"
    assert (tree / "train.py").read_text() == before
    assert read(copy.path, "other")["champion"] is None
    code, _, err = call(*setup, "--agents", "2", *pairs)
    assert code == 64
    assert "choose another --tag" in err
