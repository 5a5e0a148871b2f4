"""``ratchet try``: a person's own edits through the chain, one round each."""

import contextlib
import io
import json
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from helpers import FAKE
from helpers.boxes import DEFAULTS, Box, make_box
from helpers.player import Player, inside
from helpers.recorded import Recorded
from ratchet.cli.tryout import TrialPlace, main
from ratchet.records.paths import StorePaths
from ratchet.records.store import Store
from ratchet.task.edits import replace_value


class Answer(NamedTuple):
    """What a call of the command gave."""

    returncode: int
    stdout: str
    stderr: str


def ratchet_try(box: Box, *words: str, **settings: object) -> Answer:
    """Call the command; its round is played in this process too."""

    def play(place: TrialPlace, number: int) -> None:
        given = {**values, "rounds": number}
        assert Player(box.harness, given).session(first="rounds", last="rounds") == 0

    values = {**DEFAULTS, **box.settings, **settings}
    pairs = [f"{key}={'null' if value is None else value}" for key, value in values.items()]
    out, err = io.StringIO(), io.StringIO()
    with (
        inside(box.path, {**box.environment, "RATCHET_HARNESS": str(box.harness)}),
        mock.patch.object(TrialPlace, "_run_round", play),
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

    assert "run: snakemake --cores 1 baseline" in refused("-m", "x", code=66)
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
    assert len(box.runs()) == 4


def test_a_session_by_hand_ends_where_nothing_was_put_forward(box: Box) -> None:
    box.play(proposer="hand", last="rounds")
    assert box.json("rounds/0001/proposals.json")["stop"] == "exhausted"
    edit(box, RATE=0.8)
    assert ratchet_try(box, "-m", "a larger rate", proposer="hand").returncode == 0
    box.play(proposer="hand")
    assert [r["verdict"] for r in box.rulings()] == ["STRONG_KEEP"]
    assert box.json("confirm.json")["gain"] > 0.1
    assert "ratchet try" in (box.session / "report.html").read_text()


def test_a_run_has_one_verdict_by_hand_and_in_a_tournament(tmp_path: Path) -> None:
    """Beside the same incumbent, which the reason names."""
    box, names = make_box(tmp_path / "box"), ("conservative", "radical")
    table = Recorded.load("fake", FAKE)
    box.backend, box.clock = table, table.clock
    for name in names:
        box.play(session=name, last="baseline")
    box.play_tournament(strategies=f"[{', '.join(names)}]", evolve_rounds=1, evolve_runs=3)
    reasons = []
    for name in names:
        rounds = box.path / f"results/default.{name}/rounds"
        (made,) = json.loads((rounds / "0001/proposals.json").read_text())["proposals"]
        (theirs,) = json.loads((rounds / "0001/verdict.json").read_text())["rulings"]
        script(box).write_bytes(
            Store(StorePaths(box.path / "store")).get(made["files"]["train.py"])
        )
        with table():
            done = ratchet_try(box, "-m", "x", "--json", session=name)
        mine = json.loads(done.stdout)["ruling"]
        assert {**mine, "commit": ""} == {**theirs, "commit": ""}
        assert " than the baseline over " in mine["reason"]
        reasons += json.loads((rounds / "0002/verdict.json").read_text())["rulings"]
    assert any(" than experiment 1 over " in ruling["reason"] for ruling in reasons)
