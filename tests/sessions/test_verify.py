"""`ratchet verify` on whole sessions: quiet while all is well, and never blind."""

import json
import os
import random
import shutil
import subprocess
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest

from helpers.boxes import Box, make_box
from ratchet.base.io import write_json
from ratchet.cli.main import main
from ratchet.integrity.seal import begin_workflow, finish_workflow
from ratchet.integrity.verify import QUICK_BYTES, Findings, glance_at_session, verify_sessions
from ratchet.records.paths import SessionPaths


def sealed(box: Box) -> Box:
    """The box with its session sealed, as the report leaves it."""
    finish_workflow(SessionPaths("default", box.path))
    return box


def deviations(box: Box) -> set[str]:
    return {deviation.path for deviation in found(box).deviations}


def found(box: Box) -> Findings:
    """Inputs of a box lie in it, so it is its own harness for them."""
    return verify_sessions(box.path)


@pytest.fixture
def own(copy: Box) -> Box:
    """A sealed copy with the environment's lock in the working folder."""
    lock = str(copy.json("manifest.json")["values"]["environment"])
    place = copy.path / lock
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(copy.harness / lock, place)
    return sealed(copy)


def test_a_finished_session_is_intact(own: Box, capsys) -> None:
    assert main(["verify", "default", "--root", str(own.path)]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "intact" in said.err
    assert "whether a gain is real is what the report says" in said.err
    assert "note" not in said.err
    source = own.path / "tasks" / "fake" / "train.py"
    source.write_text(source.read_text() + "# mine\n")
    assert deviations(own) == set()
    assert any("goes on with its own copy" in note for note in found(own).notes)


def first(box: Box, pattern: str) -> Path:
    return next(path for path in sorted(box.path.glob(pattern)) if path.stat().st_size)


DAMAGES = {
    "a verdict": "results/default/rounds/0002/verdict.json",
    "the table": "results/default/results.tsv",
    "the report": "results/default/report.html",
    "the journal": "results/default/events.jsonl",
    "a stored run": "store/runs/*/*/run.json",
    "a run's log": "store/runs/*/*/run.log",
    "a blob": "store/blobs/sha256/*/*",
    "the history": "results/default/.git/refs/ratchet/experiments/0002",
    "the seal": "results/default/SHA256SUMS",
}


def test_a_finished_session_that_is_run_again_is_checked_in_passing(own: Box) -> None:
    """As the workflow does when it is started; what is quick sees what `verify` sees."""
    paths = SessionPaths("default", own.path)

    def seen() -> set[str]:
        return {deviation.path for deviation in glance_at_session(paths).deviations}

    assert seen() == set()
    for name, pattern in DAMAGES.items():
        path = first(own, pattern)
        whole, mode = path.read_bytes(), path.stat().st_mode
        path.chmod(0o644)
        path.write_bytes(whole[:-2] + bytes([whole[-2] ^ 1]) + whole[-1:])
        named = path.relative_to(own.path).as_posix()
        assert named in seen() & deviations(own), (name, seen(), deviations(own))
        path.unlink()
        if name != "the seal":  # without one nothing says that the session is finished
            assert any(named.startswith(each) for each in seen() & deviations(own)), name
        path.write_bytes(whole)
        path.chmod(mode)
    assert seen() == deviations(own) == set()
    # A session that goes on is not looked at.
    begin_workflow(paths)
    first(own, DAMAGES["a verdict"]).write_text("{")
    assert seen() == set()


def test_large_data_are_hashed_again_if_they_were_written_since(own: Box) -> None:
    paths = SessionPaths("default", own.path)
    manifest = own.json("manifest.json")
    data = [paths.store.blob(entry["sha256"]) for entry in manifest["data"]]
    (blob, *_) = data
    blob.chmod(0o644)
    before = blob.stat().st_mtime
    blob.write_bytes(b"\0" * (QUICK_BYTES + 1))
    assert {d.path for d in glance_at_session(paths).deviations}
    os.utime(blob, (before, before))
    assert glance_at_session(paths).deviations == []
    assert deviations(own)


def kept_files(box: Box) -> list[Path]:
    """Every file outside the store that something rests on, and that is not empty."""
    inputs = [box.path / "tasks" / "fake" / name for name in ("prepare.py", "program.md")]
    inputs += [box.path / "tasks" / "fake" / "task.yaml", *(box.path / "envs").iterdir()]
    # Nothing rests on a worktree, which shows what is in the history.
    left_out = [box.session / name for name in ("logs", "worktree", ".git/worktrees")]
    below = [
        path
        for path in box.session.rglob("*")
        if not any(path.is_relative_to(each) for each in left_out)
    ]
    for view in ("live.html", ".summary"):  # nothing rests on them
        below.remove(box.session / view)
    return [path for path in sorted(inputs + below) if path.is_file() and path.stat().st_size]


def test_one_flipped_byte_in_any_file_is_reported_with_its_name(own: Box) -> None:
    paths = kept_files(own)
    kinds = {path.suffix for path in paths}
    assert {".json", ".tsv", ".html", ".png", ".lock", ".jsonl", ".py", ""} <= kinds
    draw = random.Random(7)
    for path in paths:
        whole, mode = path.read_bytes(), path.stat().st_mode
        path.chmod(0o644)
        changed = bytearray(whole)
        place, bit = draw.randrange(len(whole)), 1 << draw.randrange(8)
        if path.is_relative_to(own.session / ".git" / "objects"):
            # A middle byte: some bits at the end of compressed data mean nothing.
            place, bit = len(whole) // 2, 1
        changed[place] ^= bit
        path.write_bytes(changed)
        named = deviations(own)
        assert path.relative_to(own.path).as_posix() in named, (path, named)
        path.write_bytes(whole)
        path.chmod(mode)
    assert deviations(own) == set()


def test_each_deviation_is_one_line_with_what_to_do(own: Box, capsys) -> None:
    prepare = own.path / "tasks" / "fake" / "prepare.py"
    prepare.write_text(prepare.read_text() + "# more\n")
    (own.session / "rounds" / "0002" / "verdict.json").write_text("{")
    (own.session / "confirm.json").unlink()
    assert main(["verify", "--root", str(own.path)]) == 1
    out, err = capsys.readouterr()
    assert f"{len(out.splitlines())} deviations" in err
    by_name = {line.split(": ")[0]: line for line in out.splitlines()}
    assert set(by_name) == {
        "tasks/fake/prepare.py",
        "results/default/rounds/0002/verdict.json",
        "results/default/confirm.json",
    }
    assert "cp store/blobs/sha256/" in by_name["tasks/fake/prepare.py"]
    assert "-F --config session=default" in by_name["results/default/confirm.json"]
    assert all("expected" in line and "found" in line for line in out.splitlines())
    assert main(["verify", "default", "--root", str(own.path), "--quiet", "--json"]) == 1
    out, err = capsys.readouterr()
    assert err == ""
    as_json = json.loads(out)
    assert as_json["intact"] is False
    assert {d["path"] for d in as_json["deviations"]} == set(by_name)
    assert {"path", "expected", "found", "todo"} == set(as_json["deviations"][0])


def test_what_the_advice_says_helps(own: Box) -> None:
    before = own.state()
    (own.session / "rounds" / "0002" / "verdict.json").unlink()
    log = next((own.path / "store" / "runs").glob("*/*/run.log"))
    log.chmod(0o644)
    log.write_text("forged")
    prepare = own.path / "tasks" / "fake" / "prepare.py"
    prepare.write_text("print('bent')\n")
    advice = next(d.todo for d in found(own).deviations if d.path.endswith("prepare.py"))
    subprocess.run(advice.partition(": ")[2], shell=True, cwd=own.path, check=True)
    own.play()
    sealed(own)
    assert own.state() == before
    assert deviations(own) == set()
    assert any("damaged" in note for note in found(own).notes)


def test_a_verdict_that_contradicts_the_store_needs_no_seal(copy: Box) -> None:
    path = copy.session / "rounds" / "0002" / "verdict.json"
    verdict = json.loads(path.read_text())
    run = verdict["rulings"][0]["runs"][0]
    run["value"] = (run["value"] or 1.0) - 0.5
    write_json(path, verdict)
    SessionPaths("default", copy.path).seal.unlink()
    assert deviations(copy) == {"results/default/rounds/0002/verdict.json"}
    lost = f"store/runs/{run['key'][:2]}/{run['key']}"
    shutil.rmtree(copy.path / lost)
    assert f"{lost}/run.json" in deviations(copy)


def test_history_that_was_bent_is_named(own: Box) -> None:
    other = own.git("rev-parse", "refs/ratchet/baseline").strip()
    own.git("update-ref", "refs/ratchet/experiments/0002", other)
    own.git("update-ref", "-d", "refs/ratchet/experiments/0003")
    prefix = "results/default/.git/refs/ratchet/experiments"
    assert {f"{prefix}/0002", f"{prefix}/0003"} <= deviations(own)
    shutil.rmtree(own.session / ".git")
    assert deviations(own) == {"results/default/.git"}
    (own.session / "manifest.json").unlink()
    assert "results/default/manifest.json" in deviations(own)


def test_packing_the_history_is_no_deviation(own: Box) -> None:
    own.git("gc", "--quiet")
    assert deviations(own) == set()
    own.git("remote", "add", "mine", "https://example.org/mine.git")
    assert deviations(own) == set()
    (pack,) = (own.session / ".git" / "objects" / "pack").glob("*.pack")
    pack.chmod(0o644)
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 1
    pack.write_bytes(data)
    assert pack.relative_to(own.path).as_posix() in deviations(own)


def test_a_session_on_its_way_gives_no_false_alarm(tmp_path: Path) -> None:
    box = make_box(tmp_path / "box", rounds=1, confirm_replicates=1)
    box.play()
    paths = SessionPaths("default", box.path)
    sealed(box)
    box.play(rounds=2)
    assert deviations(box) <= {"results/default/SHA256SUMS"}
    begin_workflow(paths, [paths.confirmation, paths.report_html])
    (box.session / "confirm.json").unlink()
    lost = box.session / "rounds" / "0001" / "steer.json"
    lost.unlink()
    begun = urlsafe_b64encode(b"results/default/rounds/0001/steer.json").decode()
    (box.path / ".snakemake" / "incomplete").mkdir(parents=True, exist_ok=True)
    (box.path / ".snakemake" / "incomplete" / begun).write_text("{}")
    said = found(box)
    assert said.deviations == []
    assert any("not at its end" in note for note in said.notes)
    assert any("being made again" in note for note in said.notes)
    assert any("not sealed yet" in note for note in said.notes)
