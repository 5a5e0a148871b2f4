"""Candidates on two GPUs at a time, which Snakemake starts."""

from __future__ import annotations

from pathlib import Path

from helpers import REPO
from helpers.gpus import gpu_box, overlaps, works


def test_candidates_of_a_round_run_side_by_side(tmp_path: Path) -> None:
    box, _ = gpu_box(tmp_path / "side", meet=True, rounds=1, candidates=2, max_replicates=1)
    box.settings |= {"confirm_replicates": 1, "baseline_replicates": 2}
    box.run("--cores", "2", "--profile", str(REPO / "profiles/multi-gpu"))
    found = works(box)
    names = {"GPU-0-side", "GPU-1-side"}
    # The baseline's replicates, and the round's candidates, of which none is kept.
    assert len(found) == 4
    together = overlaps(found)
    assert len(together) == 2
    for side_by_side in together:
        assert {work.device for work in side_by_side} == names
    for work in found:
        assert work.record["outcome"] == "ok"
        assert work.record["telemetry"]["uuid"] == work.device
        assert work.record["telemetry"]["foreign"] == []
        assert work.record["telemetry"]["memory_mb"]["max"] == 3072
    assert len(box.rulings()) == 2
