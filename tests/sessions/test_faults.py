"""Damaged runs and records, candidates that misbehave, a baseline that does not train."""

from __future__ import annotations

from helpers.boxes import Box


def test_a_damaged_run_is_set_aside_and_made_again(copy: Box) -> None:
    before = copy.state()
    victim = next(iter((copy.path / "store" / "runs").glob("*/*/run.log")))
    victim.chmod(0o644)
    victim.write_text(victim.read_text().replace("val_loss", "val_loss "))
    (copy.session / "report.html").unlink()
    copy.play()
    assert copy.state() == before
    assert len(list((copy.path / "store" / "damaged").iterdir())) == 1


def test_a_damaged_input_stops_the_session_with_its_name(copy: Box) -> None:
    digest = next(e["sha256"] for e in copy.json("manifest.json")["fixed"])
    blob = copy.path / "store" / "blobs" / "sha256" / digest[:2] / digest
    blob.chmod(0o644)
    blob.write_bytes(blob.read_bytes() + b"# more\n")
    said = copy.play(check=False, rounds=5)
    assert copy.status != 0
    assert digest in said
    assert "damaged" in said
    assert "Traceback" not in said


def test_torn_lines_are_repaired(copy: Box) -> None:
    table = copy.session / "results.tsv"
    whole = table.read_bytes()
    table.write_bytes(whole[:-9])
    with (copy.session / "events.jsonl").open("a") as events:
        events.write('{"time": "2026')
    copy.play()
    assert table.read_bytes() == whole
    assert copy.events("reported")


MISBEHAVIOUR = {
    "crash": ("crash", "RuntimeError: boom"),
    "hang": ("timeout", "stopped after 4 s"),
    "silent": ("no_metric", "without printing val_loss"),
    "nan": ("nan", "val_loss: nan"),
    "flood": ("ok", ""),
    "fork": ("ok", ""),
    "tamper": ("tampered", "prepare.py"),
    "suicide": ("crash", "SIGTERM"),
}


def test_misbehaving_candidates_are_recorded_and_the_session_goes_on(box: Box) -> None:
    path = box.path / "tasks" / "fake" / "task.yaml"
    text = path.read_text()
    values = ", ".join(MISBEHAVIOUR)
    space = f"""search_space:
  - {{constant: BEHAVIOUR, category: other, values: [{values}], why: misbehave}}
  - {{constant: WIDTH, category: architecture, values: [4], why: behave}}
"""
    path.write_text(text[: text.index("search_space:")] + space)
    # Under isolation the fixed file is read-only, and the cheat a crash.
    settings = {"confirm_replicates": 1, "max_replicates": 1, "isolation": "none"}
    box.play(rounds=3, candidates=3, timeout_seconds=4, **settings)
    assert not box.trainers()
    rulings = {ruling["number"]: ruling for ruling in box.rulings()}
    assert len(rulings) == 9
    seen = set()
    for proposal in [p for n in (1, 2, 3) for p in proposals(box, n)]:
        ruling = rulings[proposal["number"]]
        value = proposal["edit"]["value"].strip("'")
        outcome, words = MISBEHAVIOUR.get(value, ("ok", ""))
        seen.add(value)
        assert ruling["runs"][0]["outcome"] == outcome, value
        assert words in ruling["runs"][0]["reason"]
        assert ruling["verdict"] in {
            "ok": ("DISCARD", "MARGINAL", "KEEP", "STRONG_KEEP"),
            "tampered": ("TAMPERED",),
        }.get(outcome, ("CRASH",))
    assert seen == {*MISBEHAVIOUR, "4"}
    logs = list((box.path / "store" / "runs").rglob("run.log"))
    assert max(log.stat().st_size for log in logs) < 1.1 * 2**20
    page = (box.session / "report.html").read_text()
    assert "RuntimeError: boom" in page
    assert "TAMPERED" in page


def proposals(box: Box, number: int) -> list[dict]:
    return box.json(f"rounds/{number:04d}/proposals.json")["proposals"]


def test_a_baseline_that_does_not_train_says_why(box: Box) -> None:
    source = box.path / "tasks" / "fake" / "train.py"
    source.write_text(source.read_text().replace('BEHAVIOUR = "train"', 'BEHAVIOUR = "crash"'))
    said = box.play(check=False)
    assert box.status != 0
    assert "the baseline of task fake does not train" in said
    assert "RuntimeError: boom" in said
    assert "run.log" in said
    assert "Traceback" not in said
