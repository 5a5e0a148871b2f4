"""The command line ``ratchet power``: sources of noise, tables, pictures, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from helpers.autojudge_logs import answer, call, printed
from helpers.commands import Capsys, Patch
from ratchet.base.io import write_json
from ratchet.cli.power import CURVES, curves
from ratchet.records.paths import SessionPaths
from ratchet.records.records import RoundVerdict
from ratchet.simulation.power import SEEDS

POWER = "ratchet power --experiments 3 --sessions 2"


def facts(capsys: Capsys, *options: object) -> Any:
    return answer(capsys, POWER, *options)


def test_a_stated_noise_floor(capsys: Capsys) -> None:
    found = facts(capsys, "--noise-sd", 0.0004, "--value", -0.5)
    assert found["noise"]["sd"] == 0.0004
    assert found["warnings"] == []
    assert [row["seeds"] for row in found["detectable"]] == list(SEEDS)
    three = found["detectable"][2]
    assert three["known"]["sds"] == pytest.approx(2.0302, abs=1e-4)
    assert three["known"]["metric"] == pytest.approx(2.0302 * 4e-4, rel=1e-4)
    assert three["known"]["percent"] == pytest.approx(100 * 2.0302 * 4e-4 / 0.5, rel=1e-4)
    assert found["detectable"][0]["estimated"] == {"sds": None, "metric": None, "percent": None}
    assert [row["sds"] for row in found["seeds_needed"]] == pytest.approx([0.5, 1, 2, 3, 5])
    assert len(found["false_keeps"]) == 11


def test_replicates_know_little(capsys: Capsys) -> None:
    out, err = printed(capsys, POWER, "--replicates", 0.9979, 0.9981, 0.9975)
    assert out.startswith("noise floor: ±0.000306 (95 % interval 0.000159 to 0.00192)\n")
    assert "known only within a factor of 0.52 to 6.3" in err
    assert facts(capsys, "--replicates", -3.0, -3.5)["noise"]["value"] == -3.25


def test_the_noise_floor_of_a_log(log: Path, capsys: Capsys) -> None:
    judged = answer(capsys, "autojudge --all --results", log)
    found = facts(capsys, "--results", log)["noise"]
    assert found["sd"] == judged["noise_floor"]
    assert [found["low"], found["high"]] == judged["noise_floor_interval"]
    assert found["value"] == judged["incumbent"]


def test_the_noise_floor_of_a_session(tmp_path: Path, monkeypatch: Patch, capsys: Capsys) -> None:
    monkeypatch.chdir(tmp_path)
    paths = SessionPaths("night")
    for number, sd in ((1, 0.002), (2, 0.001), (3, None)):
        verdict = RoundVerdict(
            number, noise_sd=sd, noise_low=5e-4, noise_high=3e-3, incumbent_mean=2.5
        )
        write_json(paths.round(number).verdict, verdict)
    found = facts(capsys, "--session", "night")["noise"]
    assert (found["sd"], found["high"], found["value"], found["level"]) == (0.001, 3e-3, 2.5, 0.9)
    assert found["source"] == "of session night after round 2"
    paths.round(3).verdict.write_text("{")
    assert call(POWER, "--session", "night") == 65


def test_effects_in_any_unit(capsys: Capsys) -> None:
    options = [item for text in ("2sd", "0.002", "0.1%") for item in ("--effect", text)]
    found = facts(capsys, "--noise-sd", 0.001, "--value", 4, *options)["seeds_needed"]
    assert [row["sds"] for row in found] == pytest.approx([2, 2, 4])
    assert [row["metric"] for row in found] == pytest.approx([0.002, 0.002, 0.004])
    assert [row["percent"] for row in found] == pytest.approx([0.05, 0.05, 0.1])
    assert [row["known"] for row in found] == [4, 4, 1]


def test_the_text_fits_a_terminal(log: Path, capsys: Capsys) -> None:
    long = log.rename(log.with_name("x" * 200 + ".tsv"))
    for source in (["--results", long], ["--noise-sd", 1.23456e-7, "--value", 123456.789]):
        assert call(POWER, *source, "--effect", "1e-12") == 0
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines)) <= 80
        assert lines == [line.rstrip() for line in lines]
        assert any(line.split()[:2] == ["20", "0.79"] for line in lines)


@pytest.mark.parametrize(("suffix", "starts"), [("svg", b"<svg"), ("PNG", b"\x89PNG")])
def test_pictures_are_the_same_each_time(tmp_path: Path, suffix: str, starts: bytes) -> None:
    path = tmp_path / f"power curves.{suffix}"
    made = [
        path.read_bytes() for _ in range(2) if call(POWER, "--noise-sd", 1, "--plot", path) == 0
    ]
    assert made[0].startswith(starts)
    assert made[0] == made[1]


def test_a_page_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "power.html"
    assert call(POWER, "--noise-sd", 0.01, "--plot", path) == 0
    page = path.read_text()
    assert "<svg" in page
    assert "keep if better than the best so far" in page
    assert "<script" not in page
    assert "default-src 'none'" in page
    assert 'href="http' not in page and 'src="http' not in page


def test_curves_rise_with_effect_and_seeds(capsys: Capsys) -> None:
    spec = curves(facts(capsys, "--noise-sd", 1.0))
    _, lines, _, labels = spec["layer"]
    series: dict[tuple[str, str], list[float]] = {}
    for row in lines["data"]["values"]:
        series.setdefault((row["seeds"], row["noise"]), []).append(row["y"])
    assert len(series) == 2 * len(CURVES) - 1  # one run estimates no noise
    for points in series.values():
        assert points == sorted(points)
        assert points[0] == pytest.approx(0.05, abs=1e-6)
    assert [row["text"] for row in labels["data"]["values"]] == [str(n) for n, _ in CURVES]


def test_a_picture_that_cannot_be_written(tmp_path: Path, capsys: Capsys) -> None:
    (tmp_path / "file").write_text("")
    assert call(POWER, "--noise-sd", 1, "--plot", tmp_path / "file" / "power.svg") == 74
    assert "cannot be written" in capsys.readouterr().err
    (tmp_path / "folder.svg").mkdir()
    assert call(POWER, "--noise-sd", 1, "--plot", tmp_path / "folder.svg") == 74
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.svg"]
