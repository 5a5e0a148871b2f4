"""Sessions on GPUs: another model, a GPU that is shared, none at all."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from helpers.boxes import Box
from helpers.gpus import gpu_box, works


def test_a_run_that_lands_on_another_model_is_made_where_its_own_is(tmp_path: Path) -> None:
    """As a cluster's job may: it runs nothing there, says so, and is sent again."""
    box, fake = gpu_box(tmp_path / "landed", rounds=1, max_replicates=1, candidates=1)
    box.settings |= {"confirm_replicates": 1, "baseline_replicates": 2}
    (fake / "names").write_text("Large 2,Small 1")
    box.play(last="baseline")
    kept = box.runs()
    assert box.json("manifest.json")["hardware"]["gpus"] == ["Large 2"]
    assert [work.device for work in works(box)] == ["GPU-0-landed"] * 2, "of two models, one"
    (fake / "names").write_text("Small 1,Small 1")
    said = box.play(check=False)
    assert box.status != 0
    assert "Large 2, this machine has" in said
    assert "measurements of the two cannot be compared" in said
    assert box.runs() == kept
    assert "OtherHardwareError" in {event["error"] for event in box.events("failed")}
    (fake / "names").write_text("Small 1,Large 2")
    box.play()
    found = [work for work in works(box) if work.device == "GPU-1-landed"]
    assert len(found) == len(box.runs()) - len(kept)
    assert box.rulings()[0]["runs"]
    page = (box.session / "report.html").read_text()
    assert "1 run landed on other hardware than the session's and was not started there." in page


def test_a_run_that_shared_its_gpu_is_made_again(tmp_path: Path) -> None:
    box, fake = gpu_box(tmp_path / "shared", rounds=1, max_replicates=1, candidates=1)
    box.settings |= {"confirm_replicates": 1, "baseline_replicates": 2}
    box.environment["CUDA_VISIBLE_DEVICES"] = "0"
    foreign = fake / "foreign-0"
    foreign.touch()

    def leave() -> None:
        while not (contended := [w for w in outcomes(box) if w == "contended"]):
            time.sleep(0.05)
        assert contended
        foreign.unlink()

    leaving = threading.Thread(target=leave, daemon=True)
    leaving.start()
    box.play(last="rounds")
    leaving.join(5)
    said = outcomes(box)
    assert "contended" in said
    assert said[-1] == "ok"
    (event,) = [e for e in box.events("run_finished") if e["outcome"] == "contended"][:1]
    assert "process 1 used Made-up 9000 too" in event["reason"]
    assert event["value"] is None
    runs = [*box.json("baseline.json")["runs"], *(r for x in box.rulings() for r in x["runs"])]
    assert len(runs) == 3
    assert {run["outcome"] for run in runs} == {"ok"}
    assert event["key"] not in {run["key"] for run in runs}


def outcomes(box: Box) -> list[str]:
    """How the runs ended so far, in order."""
    return [event["outcome"] for event in box.events("run_finished")]
