"""Sessions in Python: data frames have the numbers of the files, and reading changes nothing."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest

import ratchet
from helpers import REPO
from helpers.boxes import Box
from helpers.shared import copied
from ratchet.base.errors import InputMissingError, UsageError
from ratchet.interface.sessions import Session
from ratchet.records.paths import StorePaths
from ratchet.records.series import CURVE, SAMPLES, CurvePoint, Sample, series_table

SAME = (
    *("round", "retry_of", "verdict", "status", "incumbent", "delta", "delta_low", "delta_high"),
    *("gain", "price", "memory_mb", "memory_ratio", "net_lines", "lines_added", "lines_removed"),
    *("near_miss", "commit", "source"),
)
"""Columns that are named in the report's facts as in the frame."""

OTHERS = {
    **{"value": "mean", "p_better": "confidence", "measured_runs": "n", "train_seconds": "seconds"},
    **{"outcome": "outcome", "description": "description"},
}


@pytest.fixture(params=["certified", "charged", "honest"])
def played(request: pytest.FixtureRequest) -> Box:
    box: Box = request.getfixturevalue(request.param)
    return box


def opened(box: Box) -> Session:
    return ratchet.open_session("default", root=box.path)


def plain(frame: Any) -> list[dict[str, Any]]:
    """Rows of a frame with None for what is missing."""
    whole = frame.reset_index().astype(object)
    rows: list[dict[str, Any]] = whole.where(whole.notna(), None).to_dict("records")
    return rows


def test_frames_have_the_numbers_of_the_report(played: Box) -> None:
    facts, session = played.json("report.json"), opened(played)
    base, *rows = plain(session.experiments.frame())
    assert len(rows) == len(facts["experiments"]) >= 8
    names = {**{name: name for name in SAME}, **OTHERS}
    for row, fact in zip(rows, facts["experiments"], strict=True):
        assert row["number"] == fact["number"]
        for name, other in names.items():
            expected = fact[other]
            expected = (expected or 0) if name == "measured_runs" else expected
            assert row[name] == expected, (row["number"], name)
        added = fact["contribution"] or {}
        assert row["standing"] == added.get("standing")
        assert [row[f"contribution{end}"] for end in ("", "_low", "_high")] == [
            added.get(name) for name in ("gain", "low", "high")
        ]
    assert base["value"] == facts["baseline"]["mean"] == session.baseline
    assert (base["verdict"], base["measured_runs"]) == ("BASELINE", facts["baseline"]["n"])
    ends = ("sd", "low", "high")
    noise = [facts["noise"][end] for end in ends]
    assert [getattr(session, f"noise_{end}") for end in ends] == noise
    assert plain(session.incumbents.frame()) == [
        {"index": place, "since": e["from"], **{n: e[n] for n in ("number", "mean", "sd")}}
        for place, e in enumerate(facts["incumbents"])
    ]
    found = session.champion
    assert found is not None and session.finished
    assert found.value == facts["best"]["value"]
    shown = {name: facts["confirmation"][name] for name in ("standing", "gain", "low", "high")}
    assert {name: getattr(found, name) for name in shown} == shown
    assert (found.unseen is None) == (facts["confirmation"]["unseen"] is None)


def test_frames_have_the_runs_of_the_report(played: Box) -> None:
    facts, session = played.json("report.json"), opened(played)
    runs = session.runs.frame()
    assert runs["key"].nunique() == facts["totals"]["runs"] == len(played.runs())
    assert runs["wall_seconds"].isna().sum() == 0
    unique = runs.drop_duplicates("key")
    total = facts["totals"]["wall_seconds"]
    assert unique["wall_seconds"].sum() == pytest.approx(total, rel=1e-12)
    known = {run["key"]: run for e in facts["experiments"] for run in e["runs"]}
    known |= {run["key"]: run for run in facts["baseline"]["runs"]}
    names = ("seed", "outcome", "value", "memory_mb", "train_seconds", "wall_seconds")
    for row in plain(runs):
        fact = known.get(row["key"])
        assert fact is None or {n: row[n] for n in names} == {n: fact[n] for n in names}
        if row["value"] is not None:
            assert row["value"] == row[f"printed.{session.metric}"]
    fresh = session.champion.runs  # type: ignore[union-attr]
    challenger = facts["confirmation"]["challenger"]["runs"]
    assert [(run.key, run.value) for run in fresh] == [(r["key"], r["value"]) for r in challenger]


def test_frames_have_the_rows_of_results_tsv(played: Box) -> None:
    head, *lines = (played.session / "results.tsv").read_text("utf-8").splitlines()
    session = opened(played)
    assert head.split("\t")[1] == session.metric
    rows = plain(session.experiments.frame())
    told = [
        [row["commit"][:7], f"{row['value'] or 0:.6f}", row["status"], row["description"]]
        for row in rows
        if row["verdict"] is not None
    ]
    assert told == [[cells[n] for n in (0, 1, 3, 4)] for cells in map(_cells, lines)]
    missing = [row["number"] for row in rows if row["value"] is None]
    assert all(lines[number].split("\t")[1] == "0.000000" for number in missing)


def _cells(line: str) -> list[str]:
    return line.split("\t")


def test_reading_writes_nothing(certified: Box) -> None:
    def state() -> dict[str, tuple[int, int]]:
        files = [path for path in certified.path.rglob("*") if path.is_file()]
        return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in files}

    before, session = state(), opened(certified)
    assert session.champion is not None
    texts = (session.champion.diff(), session.runs[0].log(), session.experiments[2].diff())
    assert all(texts) and repr(session)
    frames = [each.frame() for each in (session.experiments, session.runs, session.incumbents)]
    assert all(len(frame) for frame in frames)
    assert len(session.champion.contributions.frame()) == session.champion.kept
    assert state() == before


def test_objects_lead_to_each_other(certified: Box) -> None:
    session = opened(certified)
    assert session.champion is not None
    best = session.champion.experiment
    assert best is session.experiment(best.number) and best.kept
    assert {run.experiment for run in best.runs} == {best.number}
    assert best.parent is not None and session.experiment(best.parent).kept
    first = session.experiments[1:3]
    assert first.frame().index.tolist() == [1, 2]
    code = session.experiment(0).files()["train.py"]
    assert code != session.champion.files()["train.py"]
    changed = [e for e in session.experiments if e.constants]
    assert changed and all(name in code for e in changed for name in e.constants)
    left = [run.left_out for run in session.runs if run.phase == "certification"]
    assert left and all(left)
    order = session.importance().frame()["importance"].tolist()
    assert order == sorted(order, reverse=True) and sum(order) == pytest.approx(1)
    with pytest.raises(UsageError, match=r"expected an experiment from 0 .* found 99"):
        session.experiment(99)


def test_a_session_is_found_by_name_by_folder_and_from_below(
    certified: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_name = opened(certified)
    below = certified.path / "tasks" / "fake"
    monkeypatch.chdir(below)
    for found in (ratchet.open_session(), ratchet.open_session(certified.session)):
        assert found.folder.resolve() == certified.session
        assert len(found.experiments) == len(by_name.experiments)
    with pytest.raises(InputMissingError, match="found none; there are: default; run one:"):
        ratchet.open_session("night", root=certified.path)
    with pytest.raises(InputMissingError, match="found none; there are: default; run one:"):
        ratchet.open_session("night")
    with pytest.raises(InputMissingError, match="expected the name of a session, or its folder"):
        ratchet.open_session(below)


def add(box: Box, key: str, name: str, text: str) -> None:
    """Add a table to a run, as one that was made with it has it."""
    folder = StorePaths(box.path / "store").run(key)
    folder.chmod(0o755)
    (folder / name).write_text(text)


def test_what_is_not_there_yet_is_missing_and_not_zero(certified: Box, tmp_path: Path) -> None:
    box = copied(certified, tmp_path / "box")
    for name in ("confirm.json", "certify.json", "report.json"):
        (box.session / name).unlink()
    shutil.rmtree(box.session / "rounds" / "0006")
    first = json.loads((box.session / "baseline.json").read_text())["runs"][0]["key"]
    points = [CurvePoint(1, 2.5, 0.5), CurvePoint(2, math.nan, None, 64.0)]
    add(box, first, CURVE, series_table(points))
    add(box, first, SAMPLES, series_table([Sample(0.0, 99.5, gpu_percent=None)]))
    lost = opened(box).experiment(3).runs[0].key
    shutil.rmtree(StorePaths(box.path / "store").run(lost))

    session = opened(box)
    assert (session.rounds, session.finished, len(session.experiments)) == (5, False, 6)
    champion = session.champion
    assert champion is not None and champion.standing is champion.gain is champion.low is None
    assert len(champion.contributions.frame()) == 0
    experiments, runs = session.experiments.frame(), session.runs.frame()
    assert experiments["value"].isna().tolist() == [False, True, *[False] * 4]
    assert experiments["contribution"].isna().all()
    assert experiments["wall_seconds"].isna().tolist() == [False] * 3 + [True] + [False] * 2
    assert runs.set_index("key").loc[lost, ["wall_seconds", "peak_rss_mb"]].isna().all()
    assert session.experiment(3).runs[0].log() == ""

    curves = session.curves.frame()
    assert [curve.run.key for curve in session.curves] == [first] == curves["key"].unique().tolist()
    assert curves["step"].tolist() == [1, 2]
    assert curves["loss"].tolist()[0] == 2.5 and math.isnan(curves["loss"].tolist()[1])
    assert curves["seconds"].isna().tolist() == [False, True]
    assert curves["tokens"].isna().tolist() == [True, False]
    assert session.curves[0].frame().index.tolist() == [1, 2]
    (watched,) = plain(session.samples.frame())
    assert (watched["cpu_percent"], watched["gpu_percent"]) == (99.5, None)
    assert (watched["experiment"], watched["phase"]) == (0, "baseline")


def test_the_notebook_runs_without_a_warning(certified: Box, tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat", reason="no nbformat: make env-dev")
    client = pytest.importorskip("nbclient", reason="no nbclient: make env-dev")
    pytest.importorskip("ipykernel", reason="no ipykernel: make env-dev")
    pytest.importorskip("matplotlib", reason="no matplotlib: make env-dev")
    notebook = nbformat.read(REPO / "docs" / "analysis.ipynb", as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code), "clear its outputs"
    (settings,) = (c for c in code if "parameters" in c.metadata.get("tags", ()))
    box = copied(certified, tmp_path / "a box")
    for run in opened(box).runs:
        points = [CurvePoint(step, 2.0 / step, 0.1 * step) for step in (1, 2, 3)]
        add(box, run.key, CURVE, series_table(points))
    settings.source = f"SESSION, ROOT, LOG = 'default', {str(box.path)!r}, None"

    client.NotebookClient(notebook, timeout=600, kernel_name="python3").execute()

    outputs = {cell.id: cell.outputs for cell in code}
    said = {
        key: [o.text for o in made if o.output_type == "stream"] for key, made in outputs.items()
    }
    errors = [o.text for made in outputs.values() for o in made if o.get("name") == "stderr"]
    assert errors == []
    drawn = [
        key for key, made in outputs.items() if any("image/png" in o.get("data", {}) for o in made)
    ]
    assert drawn == ["best", "curves", "importance", "champion", "log-figure"]
    assert said["champion"][0].startswith("confirmed: a gain of ")
    assert "of 4 kept changes are better" in said["log"][0]
    assert "+RATE = " in said["diff"][0]
