"""``ratchet try``: a person's own edits through the chain, one round each."""

import contextlib
import io
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from helpers.boxes import DEFAULTS, Box
from helpers.edits import constant, declare, ruling
from helpers.player import Player, inside
from helpers.shared import copied
from ratchet.base.structs import replace
from ratchet.cli.main import main as ratchet
from ratchet.cli.tryout import TrialPlace, main
from ratchet.records.paths import SessionPaths
from ratchet.records.records import Outcome
from ratchet.records.store import RunRecord, Store
from ratchet.runs.run import execute_run
from ratchet.runs.spec import RunSpec
from ratchet.task.edits import replace_value


class Answer(NamedTuple):
    """What a call of the command gave."""

    returncode: int
    stdout: str
    stderr: str


def ratchet_try(box: Box, *words: str, **settings: object) -> Answer:
    """Call the command; what it has Snakemake do is played in this process too."""

    def play_round(place: TrialPlace, number: int) -> None:
        play({**place.given, "rounds": number}, "rounds")

    def play_baseline(place: TrialPlace, paths: SessionPaths, given: Mapping[str, object]) -> None:
        play(given, "baseline")

    def play(given: Mapping[str, object], part: str) -> None:
        player = Player(box.harness, {**values, **given})
        assert player.session(first=part, last=part) == 0, player.said.getvalue()

    values = {**DEFAULTS, **box.settings, **settings}
    pairs = [f"{key}={'null' if value is None else value}" for key, value in values.items()]
    out, err = io.StringIO(), io.StringIO()
    with (
        inside(box.path, {**box.environment, "RATCHET_HARNESS": str(box.harness)}),
        mock.patch.object(TrialPlace, "_run_round", play_round),
        mock.patch.object(TrialPlace, "_run_baseline", play_baseline),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = main([*words, "--config", *pairs])
    return Answer(code, out.getvalue(), err.getvalue())


def script(box: Box) -> Path:
    return box.path / "tasks" / "fake" / "train.py"


def edit(box: Box, **constants: object) -> None:
    for name, value in constants.items():
        text = replace_value("train.py", script(box).read_text(), name, value)
        assert text is not None
        script(box).write_text(text)


def test_an_edit_that_fails_the_guard_is_not_trained(box: Box) -> None:
    task = box.path / "tasks" / "fake" / "task.yaml"
    smoke = "import sys\nif 'WIDTH = 3' in open('train.py').read(): sys.exit('\\x1b[2Jodd width')"
    (task.parent / "smoke.py").write_text(smoke)
    keys = task.read_text().replace("[prepare.py]", "[prepare.py, smoke.py]")
    task.write_text(f"{keys}guard: [python, smoke.py]\n")
    box.play(last="baseline")
    made = box.runs()
    edit(box, WIDTH=3)
    answer = ratchet_try(box, "-m", "a width of three")
    assert answer.returncode == 1, answer.stderr
    assert answer.stdout.startswith("GUARD_FAILED\n  guard failed: exit status 1: odd width\n")
    assert len(box.runs()) == len(made) + 1, "the guard's run, and no training"


def test_an_edit_goes_through_the_chain_and_the_exit_code_is_its_verdict(box: Box) -> None:
    box.play(last="baseline")
    edit(box, RATE=0.8)
    kept = ratchet_try(box, "-m", "a larger rate")
    assert kept.returncode == 0, kept.stderr
    assert kept.stdout.startswith("STRONG_KEEP: val_loss 1.0")
    assert "experiment 1, hyperparams, +1 -1 lines, 1 change, commit " in kept.stdout
    assert "next: [" in kept.stdout
    # As if the round had been broken off.
    for name in ("steer", "verdict", "judge"):
        (box.session / f"rounds/0001/{name}.json").unlink()
    edit(box, DECAY=0.3, WIDTH=2)
    worse = ratchet_try(box, "-m", "decay\nand width", "--category", "regularization", "--json")
    assert worse.returncode == 1, worse.stderr
    first = "round 1 was begun with another edit (a larger rate); it is finished first"
    assert first in worse.stderr
    facts = json.loads(worse.stdout)
    assert not facts["kept"]
    assert facts["ruling"]["changes"] == 2
    assert facts["proposal"]["category"] == "regularization"
    assert facts["proposal"]["description"] == "decay and width"
    assert facts["proposal"]["proposer"] == "hand"
    assert facts["incumbent"]["number"] == 1
    assert [r["number"] for r in box.rulings()] == [1, 2]
    rows = (box.session / "results.tsv").read_text().splitlines()
    assert [row.split("\t")[3:] for row in rows[2:]] == [
        ["keep", "a larger rate"],
        ["discard", "decay and width"],
    ]


def test_what_there_is_to_refuse_and_to_put_back(box: Box) -> None:
    def refused(*words: str, code: int = 64) -> str:
        found = ratchet_try(box, *words)
        assert found.returncode == code
        return found.stderr

    assert "--cores 1 baseline --config session=default " in refused("-m", "x", code=66)
    box.play(last="baseline")
    assert refused()
    assert "train.py is what the incumbent has already" in refused("-m", "nothing")
    start = script(box).read_text()
    edit(box, DECAY=0.3)
    strange = refused("-m", "decay", "--category", "magic")
    assert "--category: expected one of architecture, " in strange
    assert "holds an edit that was never tried" in refused("--restore")
    assert script(box).read_text() != start
    assert ratchet_try(box, "-m", "decay").returncode == 1
    assert "is what experiment 1 was (DISCARD)" in refused("-m", "decay once more")
    assert ratchet_try(box, "--restore").returncode == 0
    assert script(box).read_text() == start
    edit(box, DECAY=0.1)
    (box.path / "tasks/fake/prepare.py").write_text("# changed\n")
    refused("-m", "cheating", code=65)
    assert len(box.runs()) == 2


def test_a_session_by_hand_ends_where_nothing_was_put_forward(box: Box) -> None:
    box.play(proposer="hand", last="rounds")
    assert box.json("rounds/0001/proposals.json")["stop"] == "exhausted"
    edit(box, RATE=0.8)
    assert ratchet_try(box, "-m", "a larger rate", proposer="hand").returncode == 0
    box.play(proposer="hand")
    assert [r["verdict"] for r in box.rulings()] == ["STRONG_KEEP"]
    assert box.json("confirm.json")["gain"] > 0.1
    assert "ratchet try" in (box.session / "report.html").read_text()


def test_an_edit_is_measured_once_more_and_judged_by_all_its_runs(box: Box) -> None:
    box.play(last="baseline")
    nothing = ratchet_try(box, "--again")
    assert nothing.returncode == 64
    assert "expected an edit that was tried by hand last, found none" in nothing.stderr
    edit(box, DECAY=0.02)
    first = ratchet_try(box, "-m", "a little decay", "--json", max_replicates=1)
    before = json.loads(first.stdout)["ruling"]
    assert len(before["runs"]) == 1
    commit = box.git("rev-parse", "refs/ratchet/experiments/0001")
    again = ratchet_try(box, "--again", "--json", max_replicates=1)
    facts = json.loads(again.stdout)
    assert facts["before"] == before
    assert facts["ruling"]["runs"][0] == before["runs"][0]
    assert facts["ruling"]["mean"] == sum(r["value"] for r in facts["ruling"]["runs"]) / 2
    assert facts["ruling"]["delta_sd"] < before["delta_sd"]
    assert (facts["proposal"]["number"], facts["proposal"]["commit"]) == (1, commit.strip())
    assert len(box.rulings()) == 1
    third = ratchet_try(box, "--again", max_replicates=1)
    fresh = box.rulings()[0]["runs"][2]["value"]
    assert third.stdout.startswith(f"experiment 1 once more: val_loss {fresh:.6g}. Before: ")
    assert "over 2 runs" in third.stdout.splitlines()[0]
    assert "over 3 runs" in third.stdout.splitlines()[1]
    assert len((box.session / "results.tsv").read_text().splitlines()) == 3
    assert ratchet(["verify", "--root", str(box.path)]) == 0
    # What is decided is what a session decides which has these three runs.
    assert "ratchet try --again" in ratchet_try(box, "-m", "decay once more").stderr
    assert ratchet_try(box, "--again", "-m", "why").returncode == 64
    guaranteed = ratchet_try(box, "--again", mode="guaranteed")
    assert "the judge alone asks for runs" in guaranteed.stderr
    assert len(box.rulings()[0]["runs"]) == 3


def test_a_keep_that_another_run_refutes_is_taken_back(box: Box) -> None:
    """The fresh run crashes, as some seeds do."""
    box.play(last="baseline")
    edit(box, RATE=0.8)
    assert ratchet_try(box, "-m", "a larger rate").returncode == 0
    assert box.git("rev-parse", "ratchet/default") != box.git("rev-parse", "refs/ratchet/baseline")
    with mock.patch("ratchet.runs.executor.execute_run", crashing(box)):
        again = ratchet_try(box, "--again", "--json")
    assert again.returncode == 1
    facts = json.loads(again.stdout)
    assert (facts["ruling"]["verdict"], facts["before"]["verdict"]) == ("CRASH", "STRONG_KEEP")
    assert facts["incumbent"]["number"] == 0
    assert box.git("rev-parse", "ratchet/default") == box.git("rev-parse", "refs/ratchet/baseline")
    assert "gave no metric (CRASH)" in ratchet_try(box, "--again").stderr


def crashing(box: Box):
    """An executor of runs that all crash."""

    def execute(spec: RunSpec, store: Store, place: Path) -> RunRecord:
        return replace(execute_run(spec, store, place), outcome=Outcome.CRASH, reason="unlucky")

    return execute


def test_a_verdict_is_the_same_by_hand_and_in_a_session(box: Box, tmp_path: Path) -> None:
    declare(box, constant("RATE", 0.8), constant("DECAY", 0.02))
    shutil.copytree(box.path, tmp_path / "by hand")
    other = Box((tmp_path / "by hand").resolve(), dict(box.settings))
    box.play(rounds=2, last="rounds")
    other.play(rounds=2, last="baseline")
    for trial in box.rulings():
        before = box.json(f"rounds/{trial['number'] - 1:04d}/steer.json")["incumbent"]
        proposal = box.json(f"rounds/{trial['number']:04d}/proposals.json")["proposals"][0]
        assert proposal["parent"] == before["source"]
        source = box.git("show", f"{proposal['commit']}:train.py")
        script(other).write_text(source)
        ratchet_try(other, "-m", proposal["description"], rounds=2)
    chance = {"commit"}
    ours, theirs = (
        [{k: v for k, v in r.items() if k not in chance} for r in each.rulings()]
        for each in (box, other)
    )
    assert ours == theirs


def test_an_edit_in_a_finished_session_opens_one_that_starts_from_its_champion(
    box: Box, tmp_path: Path
) -> None:
    declare(box, constant("RATE", 0.8), constant("WIDTH", 2))
    box.play(rounds=1)
    champion = ruling(box, "RATE 0.1 -> 0.8")
    assert box.json("confirm.json")["champion"] == champion["number"]
    files = {path: path.read_bytes() for path in box.session.rglob("*.json")}
    script(box).write_text(box.git("show", "ratchet/default:train.py"))
    unchanged = ratchet_try(box, "-m", "the champion")
    assert "is what the incumbent has already" in unchanged.stderr
    edit(box, DECAY=0.3)
    doubted = copied(box, tmp_path / "doubted")
    found = {**doubted.json("confirm.json"), "carries_over": False}
    (doubted.session / "confirm.json").write_text(json.dumps(found))
    words = "that champion is not confirmed: the gain does not carry over; read its code"
    assert words in ratchet_try(doubted, "-m", "decay").stderr
    # One that goes on again is not finished, whatever was confirmed before.
    extended = copied(box, tmp_path / "extended")
    extended.play(rounds=2, last="rounds")
    assert "expected an edit that was tried" in ratchet_try(extended, "--again", rounds=2).stderr
    assert "opens session 'default-2'" in ratchet_try(box, "--again").stderr
    assert not (box.path / "results/default-2").exists()
    tried = ratchet_try(box, "-m", "decay", "--json")
    assert tried.returncode == 1, tried.stderr
    assert "session 'default' is finished; the edit goes to a new one, 'default-2'" in tried.stderr
    assert "--config session=default-2 seed=2" in tried.stderr
    facts = json.loads(tried.stdout)
    assert (facts["proposal"]["number"], facts["incumbent"]["number"]) == (1, 0)
    later = box.path / "results/default-2"
    manifest = json.loads((later / "manifest.json").read_text())
    assert manifest["start"]["session"] == "default"
    assert facts["proposal"]["parent"] == box.json("rounds/0001/steer.json")["incumbent"]["source"]
    # The champion's runs were selected in the old session; the new one makes its own.
    baseline = json.loads((later / "baseline.json").read_text())["runs"]
    assert not {run["key"] for run in baseline} & {run["key"] for run in champion["runs"]}
    assert {path: path.read_bytes() for path in files} == files
    edit(box, DECAY=0.2)
    second = ratchet_try(box, "-m", "less decay", "--json")
    assert json.loads(second.stdout)["proposal"]["number"] == 2
    assert "session 'default' is finished; 'default-2' goes on from it" in second.stderr
    assert ratchet_try(box, "--restore").returncode == 0
    assert script(box).read_text() == box.git("show", "ratchet/default:train.py")
    for name in ("default", "default-2"):
        assert ratchet(["verify", name, "--root", str(box.path)]) == 0
    # And so on: the second session ends, and a third one follows.
    box.play(session="default-2", seed=2, rounds=2)
    versions = json.loads((later / "report.json").read_text())["provenance"]["versions"]
    assert versions["starts from"] == f"experiment {champion['number']} of session default"
    edit(box, DECAY=0.4)
    third = ratchet_try(box, "-m", "more decay")
    assert "the edit goes to a new one, 'default-3'" in third.stderr
