"""``ratchet finalize``: what a session found, as branches and patches to be merged."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers import FAKE, REPO
from helpers.boxes import Box, git
from helpers.commands import Capsys
from helpers.recorded import Recorded
from helpers.repositories import make_cache, make_clone, state
from helpers.shared import copied
from ratchet.cli.finalize import main
from ratchet.cli.verify import main as verify
from ratchet.records.ownership import session_lock

TASK = ["--config", "task=tasks/fake"]


def backed(box: Box) -> Recorded:
    table = Recorded.load("fake", FAKE)
    box.backend, box.clock = table, table.clock
    return table


@pytest.fixture
def own(certified: Box, tmp_path: Path) -> Box:
    box = copied(certified, tmp_path / "copy of it")
    backed(box)
    return box


def finalize(box: Box, *words: str) -> int:
    assert box.backend is not None
    with box.backend():
        return main([*words, "--root", str(box.path), *TASK])


def answer(box: Box, capsys: Capsys, *words: str) -> dict[str, Any]:
    capsys.readouterr()
    assert finalize(box, "--json", *words) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def everything(box: Box) -> dict[str, object]:
    """All files below a box with their times; Git sets those of an object that it makes again."""
    files = [path for path in box.path.rglob("*") if path.is_file()]
    times = {path: path.stat().st_mtime_ns for path in files if "objects" not in path.parts}
    return {str(path): (path.read_bytes(), times.get(path)) for path in files}


def stored(box: Box, key: str) -> dict[str, Any]:
    record = json.loads((box.path / "store/runs" / key[:2] / key / "run.json").read_text())
    found: dict[str, Any] = record["record"]
    return found


def test_each_branch_begins_at_the_baseline_and_has_the_stored_value(
    own: Box, capsys: Capsys
) -> None:
    before = {name: own.json(name) for name in ("confirm.json", "report.json")}
    events, refs = own.events(), own.git("show-ref", "ratchet/default")
    found = answer(own, capsys)
    baseline = own.git("rev-parse", "refs/ratchet/baseline").strip()
    assert found["base"] == baseline
    numbers = [each["number"] for each in before["confirm.json"]["contributions"]]
    *branches, whole = found["branches"]
    assert [branch["experiment"] for branch in branches] == numbers
    for place, branch in enumerate(found["branches"], 1):
        commit = own.git("rev-parse", branch["name"]).strip()
        assert commit == branch["commit"]
        assert own.git("merge-base", commit, baseline).strip() == baseline
        count = own.git("rev-list", "--count", f"{baseline}..{commit}").strip()
        assert int(count) == len(branch["changes"])
        assert branch["value"] == stored(own, branch["run"])["metrics"]["val_loss"]
        code = own.git("show", f"{commit}:train.py")
        kept = own.path / "store/runs" / branch["run"][:2] / branch["run"] / "source/train.py"
        assert code == kept.read_text()
        message = own.git("show", "--no-patch", "--format=%B", commit)
        assert f"Value: val_loss {branch['value']!r}\nRun: {branch['run']}\n" in message
        assert f"the baseline has {found['baseline']:.6g}, the mean of" in " ".join(message.split())
        if branch is not whole:
            assert branch["name"].startswith(f"ratchet/default-final/{place:02d}-")
            gain = branch["contribution"]
            text = f"{gain['gain']:.4g} of val_loss (lower is better), 90 % interval "
            text += f"{gain['low']:.4g} to {gain['high']:.4g}; certified."
            assert text in " ".join(message.split())
    # All kept changes are certified, so all together are the champion.
    assert whole["name"] == "ratchet/default-final/all"
    champion = own.git("rev-parse", "ratchet/default^{tree}")
    assert own.git("rev-parse", f"{whole['commit']}^{{tree}}") == champion
    assert (found["champion"], whole["changes"]) == (True, numbers)
    assert before == {name: own.json(name) for name in before}
    assert (own.events(), own.git("show-ref", "ratchet/default")) == (events, refs)
    assert verify(["--root", str(own.path)]) == 0


def test_changes_of_the_same_lines_are_named_and_stand_on_one_another(
    own: Box, capsys: Capsys
) -> None:
    found = answer(own, capsys, "--no-runs")
    by_name = {b["description"]: b for b in found["branches"]}
    first, second = by_name["WIDTH 1 -> 2"], by_name["WIDTH 2 -> 3"]
    assert (first["conflicts"], second["conflicts"]) == ([], [first["experiment"]])
    assert second["changes"] == [first["experiment"], second["experiment"]]
    assert own.git("rev-parse", f"{second['name']}~1").strip() == first["commit"]
    places = [name.split("/")[-1][:2] for name in (second["name"], first["name"])]
    said = f"{places[0]} 'WIDTH 2 -> 3' touches the same lines as {places[1]} 'WIDTH 1 -> 2'; its"
    assert any(note.startswith(said) for note in found["notes"])
    message = own.git("show", "--no-patch", "--format=%B", second["commit"])
    assert f"on top of {places[1]} 'WIDTH 1 -> 2'" in " ".join(message.split())
    assert {branch["value"] for branch in found["branches"]} == {None}
    assert "not run (--no-runs)" in " ".join(message.split())
    assert not (own.session / "finalize").exists()


def test_patches_apply_to_a_checkout_of_the_baseline(own: Box, tmp_path: Path) -> None:
    assert finalize(own, "--no-runs") == 0
    checkout = tmp_path / "checkout"
    git(tmp_path, "clone", "--quiet", str(own.session / ".git"), str(checkout))
    git(
        checkout,
        "checkout",
        "--quiet",
        "-b",
        "mine",
        own.git("rev-parse", "refs/ratchet/baseline").strip(),
    )
    patches = sorted(str(path) for path in (own.session / "patches").iterdir())
    git(checkout, "am", "--quiet", *patches)
    assert len(patches) == len(own.json("confirm.json")["contributions"])
    whole = "origin/ratchet/default-final/all"
    assert git(checkout, "rev-parse", "mine^{tree}") == git(
        checkout, "rev-parse", f"{whole}^{{tree}}"
    )
    texts = [git(checkout, "log", "--format=%s%n%b", f"{whole}~{n}", "-1") for n in range(3)]
    assert texts == [git(checkout, "log", "--format=%s%n%b", f"mine~{n}", "-1") for n in range(3)]


def test_a_dry_run_writes_nothing(own: Box, capsys: Capsys) -> None:
    before = everything(own)
    assert finalize(own, "--dry-run") == 0
    said = capsys.readouterr().out
    assert "would be written as branches" in said
    assert re.search(r"final/all: run in the store\n", said)
    assert "run to be made" in said
    assert everything(own) == before


def test_a_second_call_changes_nothing(own: Box) -> None:
    assert finalize(own) == 0
    made = [
        json.loads(line)["event"] for line in own.session.joinpath("finalize/events.jsonl").open()
    ]
    assert made.count("run_finished") > 0
    before, table = everything(own), own.backend
    assert finalize(own) == 0
    after = everything(own)
    assert own.backend is table
    # The lock of the session names the process that had it last.
    assert {name for name in after if after[name] != before.get(name)} <= {
        str(session_lock(own.path, "default"))
    }
    assert before.keys() == after.keys()


def test_a_branch_of_somebody_else_is_not_replaced(own: Box, capsys: Capsys) -> None:
    found = answer(own, capsys, "--no-runs")
    name, made = found["branches"][0]["name"], found["branches"][0]["commit"]
    theirs = own.git("commit-tree", f"{made}^{{tree}}", "-p", made, "-m", "mine").strip()
    own.git("branch", "--force", name, theirs)
    assert finalize(own, "--no-runs") == 74
    said = capsys.readouterr().err
    assert f"branch {name} has other content (commit {theirs[:12]}); rename it" in said
    own.git("worktree", "add", "--quiet", str(own.path / "looking"), name)
    assert finalize(own, "--no-runs", "--force") == 74
    assert f"checked out in {own.path / 'looking'}" in capsys.readouterr().err
    assert own.git("rev-parse", name).strip() == theirs
    own.git("worktree", "remove", str(own.path / "looking"))
    assert finalize(own, "--no-runs", "--force") == 0
    assert f"{name} was at {theirs}" in capsys.readouterr().err
    assert own.git("rev-parse", name).strip() == made
    stray = own.session / "patches" / "0009-theirs.patch"
    stray.write_text("From: Somebody <a@b>\n")
    assert finalize(own, "--no-runs") == 74
    assert "is a patch of somebody else's" in capsys.readouterr().err
    assert stray.exists()


def standings(box: Box, *certified: int) -> None:
    """Leave these kept changes certified, and no other."""
    path = box.session / "confirm.json"
    found = json.loads(path.read_text())
    for each in found["contributions"]:
        each["standing"] = "certified" if each["number"] in certified else "uncertified"
    path.write_text(json.dumps(found))


def test_changes_without_certificate_are_left_out(own: Box, capsys: Capsys) -> None:
    numbers = [each["number"] for each in own.json("confirm.json")["contributions"]]
    standings(own, *numbers[:2])
    found = answer(own, capsys)
    assert [branch["experiment"] for branch in found["branches"]] == [*numbers[:2], None]
    assert found["branches"][-1]["changes"] == numbers[:2]
    assert found["champion"] is False
    assert sum("the champion also has experiment" in note for note in found["notes"]) == 5
    assert len(list((own.session / "patches").iterdir())) == 2
    # Its branches have other content now, as they would have if somebody had changed them.
    assert finalize(own, "--all", "--no-runs") == 74
    every = answer(own, capsys, "--all", "--no-runs", "--force")
    assert every["champion"] is True
    assert [branch["experiment"] for branch in every["branches"]] == [*numbers, None]


def test_without_certified_changes_it_says_what_to_type(own: Box, capsys: Capsys) -> None:
    def said() -> str:
        capsys.readouterr()
        assert finalize(own) == 1
        text = capsys.readouterr().out
        assert "ratchet finalize default --all" in text
        return text

    standings(own)
    assert "none of 7 kept changes is certified" in said()
    path = own.session / "confirm.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "contributions": []}))
    assert "no certification (certify: false)" in said()
    path.unlink()
    assert "let it finish: snakemake --cores 1 --config session=default" in said()
    assert not own.git("branch", "--list", "ratchet/default-final/*")


def test_branches_of_a_clone_stand_on_its_own_commit(
    tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, place = tmp_path / "home", tmp_path / "working folder"
    place.mkdir()
    make_cache(home)
    monkeypatch.setenv("HOME", str(home))
    clone = make_clone(home / "a clone")
    git(
        clone,
        "commit",
        "--quiet",
        "--amend",
        "--message",
        "theirs",
        "--date",
        "2024-05-01T00:00:00Z",
    )
    data = yaml.safe_load((REPO / "tasks" / "autoresearch" / "upstream.yaml").read_text())
    data["search_space"] = [
        {"constant": "DEPTH", "category": "architecture", "values": [9], "why": "deeper"}
    ]
    (place / "mine.yaml").write_text(yaml.safe_dump(data, sort_keys=False))
    task = "{repo: ~/a clone, definition: mine.yaml}"
    box = Box(place, {"budget_steps": None, "rounds": 1, "task": task})
    box.play(last="rounds")
    first = git(clone, "rev-parse", "HEAD").strip()
    (clone / "train.py").write_text("an edit of mine\n")
    before, config = state(clone), ["--root", str(place), "--config", f"task={task}"]
    assert main(["--all", "--json", *config]) == 0
    found = json.loads(capsys.readouterr().out)
    new = {name for name, kept in state(clone).items() if kept != before.get(name)}
    assert all(re.match(r"\.git/(objects|(logs/)?refs/heads/ratchet)/", name) for name in new)
    assert git(clone, "rev-parse", "HEAD").strip() == first == found["base"]
    branch, whole = found["branches"]
    assert branch["commit"] == whole["commit"]
    assert git(clone, "rev-parse", f"{branch['name']}~1").strip() == first
    assert git(clone, "diff", "--name-only", first, branch["name"]).split() == ["train.py"]
    assert "DEPTH = 9 " in git(clone, "show", f"{branch['name']}:train.py")
    assert branch["value"] == stored(box, branch["run"])["metrics"]["val_bpb"]
    git(clone, "worktree", "add", "--quiet", "--detach", str(tmp_path / "theirs"), first)
    (patch,) = (box.session / "patches").iterdir()
    git(tmp_path / "theirs", "am", "--quiet", str(patch))
    tree = git(clone, "rev-parse", f"{branch['name']}^{{tree}}")
    assert git(tmp_path / "theirs", "rev-parse", "HEAD^{tree}") == tree
