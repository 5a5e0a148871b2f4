"""Edits that would bend the measurement, in whole sessions of the fake task."""

from __future__ import annotations

import shutil
from pathlib import Path

from helpers.boxes import Box, make_box
from helpers.edits import NOISE, alternative, change, declare, is_kept, ruling
from helpers.shared import copied, shared_box
from ratchet.base.io import digest_bytes, source_digest
from ratchet.records.records import Role, run_seed

PRINT = 'print(f"val_loss:         {loss:.6f}")\n'


@shared_box
def bent(path: Path) -> Box:
    """One edit prints a metric of its own, one draws another lot, one only notes something."""
    box = make_box(path, rounds=3, confirm_replicates=1)
    declare(
        box,
        alternative("printer", "optimizer", PRINT, 'print("val_loss: 0.001")\n'),
        alternative("lot", "data", NOISE, "noise = random.Random(SEED + 1).gauss(0, 0.01)\n"),
        alternative("sleeper", "other", "shape = 1.0\n", "shape = 0.99\ntime.sleep(0.01)\n"),
    )
    box.play()
    return box


def test_a_printed_metric_of_its_own_is_not_even_run(bent: Box) -> None:
    found = ruling(bent, "printer")
    assert found["verdict"] == "TAMPERED"
    assert found["reason"].startswith("not run: train.py:")
    assert "prints val_loss or a summary of its own" in found["reason"]
    assert found["runs"] == []
    number = found["number"]
    assert all(event["number"] != number for event in bent.events("run_started"))
    assert [e["number"] for e in bent.events("refused") if e["number"] == number] == [number]
    rows = (bent.session / "results.tsv").read_text().splitlines()
    assert rows[1 + number].split("\t")[3] == "crash"
    page = (bent.session / "report.html").read_text()
    assert "prints val_loss or a summary of its own" in page
    assert "not run      printer" in (bent.session / "progress.log").read_text()


def test_an_edit_of_the_seed_alone_is_not_run(bent: Box) -> None:
    found = ruling(bent, "lot")
    assert found["verdict"] == "TAMPERED"
    assert "changes nothing but how random numbers start" in found["reason"]


def test_a_note_is_shown_and_decides_nothing(bent: Box) -> None:
    found = ruling(bent, "sleeper")
    assert found["verdict"] not in ("TAMPERED", "CRASH")
    assert len(found["notes"]) == 1
    assert "waits, or sets a clock" in found["notes"][0]
    assert "Noticed in the edit: train.py:" in (bent.session / "report.html").read_text()


def test_a_replay_refuses_the_same_and_runs_nothing(bent: Box, tmp_path: Path) -> None:
    again = copied(bent, tmp_path / "copy")
    shutil.rmtree(again.session)
    again.play()
    assert again.state() == bent.state()
    assert again.events("run_finished") == []


def test_a_jump_beyond_everything_seen_waits_for_a_fresh_run(box: Box) -> None:
    box.settings |= {"rounds": 1, "confirm_replicates": 1, "max_replicates": 1}
    declare(box, alternative("leap", "optimizer", "shape = 1.0", "shape = 0.1"))
    box.play()
    found = ruling(box, "leap")
    assert found["quarantined"]
    assert len(found["runs"]) == 2
    assert "a fresh run confirmed it" in found["reason"]
    assert is_kept(found)
    page = (box.session / "report.html").read_text()
    assert "Quarantined: larger than everything seen before" in page


def test_a_jump_that_a_fresh_run_does_not_show_is_not_kept(box: Box) -> None:
    """The improvement depends on the seed of the first run, as luck or a trick would."""
    box.settings |= {"rounds": 1, "confirm_replicates": 1}
    lucky = "shape = 0.1 if SEED == FIRST else 1.0"
    change(box, "from prepare import DATA,", "from prepare import DATA, FIRST,")
    declare(box, alternative("luck", "optimizer", "shape = 1.0", lucky))
    fixed = box.path / "tasks/fake/prepare.py"
    text = fixed.read_text()
    fixed.write_text(f"{text}\nFIRST = 0\n")
    # The candidate's seed follows from its source alone, so it can be planted.
    source = (box.path / "tasks/fake/train.py").read_text().replace("shape = 1.0", lucky)
    digest = source_digest({"train.py": digest_bytes(source.encode())})
    first = run_seed(1, digest, Role.SEARCH, 0)
    fixed.write_text(f"{text}\nFIRST = {first}\n")
    box.play()
    found = ruling(box, "luck")
    assert found["quarantined"]
    assert len(found["runs"]) == 2
    assert "a fresh run did not confirm it" in found["reason"]
    assert found["verdict"] == "DISCARD"
    assert box.json("rounds/0001/verdict.json")["kept"] is None
