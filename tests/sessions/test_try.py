"""``ratchet try``: a person's own edits through the chain, one round each."""

import json

from helpers.boxes import Box
from helpers.hand_edits import ratchet_try, script
from ratchet.task.edits import replace_value


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
