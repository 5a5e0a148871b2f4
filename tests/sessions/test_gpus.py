"""Sessions on GPUs of several models."""

from pathlib import Path

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
    assert {event["device"]["uuid"] for event in box.events("run_started")} == {"GPU-0-landed"}
    box.settings["devices"] = [7]
    said = box.play(check=False)
    assert box.status == 64
    assert "devices: expected numbers or ids of the GPUs, found 7; there are 0: GPU-0-l" in said
    box.settings["devices"] = [1, 0]
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
