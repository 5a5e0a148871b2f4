"""`ratchet verify` on a store, and as a command; whole sessions are tests of the workflow."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from helpers import REPO
from ratchet.base.io import digest, digest_bytes, to_json
from ratchet.cli.main import main
from ratchet.integrity.verify import (
    Findings,
    check_store,
    harness_of,
    session_names,
)
from ratchet.records.paths import StorePaths
from ratchet.records.records import Outcome
from ratchet.records.session_repo import protect_folder
from ratchet.records.store import LOG, RunRecord, Store

RECORD = RunRecord(Outcome.OK, "", 0, None, 1.5, 1.25, 80.0, {"val": 0.5, "bad": None})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with two blobs, a run, an answer and its protecting repository."""
    made = Store(StorePaths(tmp_path / "store"))
    protect_folder(made.paths.root)
    source = made.put(b"x = 1\n")
    made.put(b"")

    def execute(folder: Path) -> RunRecord:
        (folder / LOG).write_text("---\nval: 0.5\n")
        (folder / "source").mkdir()
        (folder / "source" / "train.py").write_text("x = 1\n")
        return RECORD

    made.run({"sources": {"train.py": source}, "seed": 7}, execute)
    made.memo("proposals", {"q": [1, "é"]}, lambda: {"a": 1.5})
    return made


def check(store: Store) -> Findings:
    findings = Findings(store.paths.root.parent)
    check_store(store.paths, findings)
    return findings


def files(store: Store) -> list[Path]:
    """Everything with a content."""
    found = sorted(path for path in store.paths.root.rglob("*") if path.is_file())
    return [path for path in found if path.stat().st_size]


def test_an_intact_store(store: Store, tmp_path: Path) -> None:
    assert check(Store(StorePaths(tmp_path / "none"))).deviations == []
    found = check(store)
    assert found.deviations == []
    assert found.notes == []
    assert found.checked >= len(files(store))


def test_every_flipped_byte_of_every_file_is_found_and_named(store: Store) -> None:
    for path in files(store):
        whole = path.read_bytes()
        path.chmod(0o644)
        for number, place in enumerate(range(0, len(whole), max(1, len(whole) // 40))):
            bit = 0x20 if number % 2 else 0x01
            changed = bytearray(whole)
            changed[place] ^= bit
            path.write_bytes(changed)
            named = {deviation.path for deviation in check(store).deviations}
            name = path.relative_to(store.paths.root.parent).as_posix()
            assert name in named, (name, place, bit, named)
        path.write_bytes(whole)
    assert check(store).deviations == []


@pytest.mark.parametrize("name", ["run.json", "run.log", "metrics.json", "source/train.py"])
def test_a_missing_file_of_a_run_is_named(store: Store, name: str) -> None:
    (path,) = store.paths.root.glob(f"runs/*/*/{name}")
    path.unlink()
    (deviation,) = check(store).deviations
    assert deviation.path.endswith(name)
    assert deviation.found == "no such file"
    assert "snakemake --cores 1 -F" in str(deviation)


def test_what_does_not_belong_is_named(store: Store) -> None:
    (run,) = store.paths.root.glob("runs/*/*")
    strays = [run / "more.txt", run.parent / "file", store.paths.root / "blobs/sha256/ab/abc"]
    strays.append(store.paths.root / "runs" / "note")
    strays.append(store.paths.root / "proposals" / "ab" / "x.json")
    for path in strays:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    named = {deviation.path for deviation in check(store).deviations}
    assert named == {path.relative_to(store.paths.root.parent).as_posix() for path in strays}


def test_work_in_progress_and_what_is_not_known_are_no_deviation(store: Store) -> None:
    root = store.paths.root
    (root / "partial" / "run-x").mkdir(parents=True)
    (root / "blobs" / "sha256" / "ab").mkdir(exist_ok=True)
    (root / "blobs" / "sha256" / "ab" / ".x.partial").write_text("half")
    (root / "README").write_text("mine")
    (root / "damaged").mkdir()
    (root / "damaged" / "old-0").write_text("")
    found = check(store)
    assert found.deviations == []
    assert len(found.notes) == 2


def test_an_entry_forged_with_new_digests_is_found_by_its_key(store: Store) -> None:
    """Another source than the key says, with every digest in the record made to fit."""
    (path,) = store.paths.root.glob("runs/*/*/run.json")
    source = path.parent / "source" / "train.py"
    for file in (path, source):
        file.chmod(0o644)
    source.write_text("x = 2\n")
    entry = json.loads(path.read_text())
    entry["files"]["source/train.py"] = digest_bytes(b"x = 2\n")
    entry.pop("digest")
    path.write_bytes(to_json({**entry, "digest": digest(entry)}))
    (deviation,) = check(store).deviations
    assert deviation.path.endswith("source/train.py")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 66, "holds no session"),
        (["night"], 66, "holds no session"),
        (["--wrong"], 64, "--wrong"),
    ],
)
def test_what_cannot_be_checked_is_named(
    tmp_path: Path, words: list[str], code: int, said: str, capsys
) -> None:
    (tmp_path / "results" / "empty").mkdir(parents=True)
    assert main(["verify", *words, "--root", str(tmp_path)]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("ratchet verify: ")
    assert said in err
    assert session_names(tmp_path) == []


@pytest.mark.parametrize(
    ("origin", "task"),
    [(None, "tasks/bytelm"), (object(), {"repo": "~/clone"}), (object(), "tasks/mine")],
)
def test_the_harness_is_found_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, origin: object, task: object
) -> None:
    """By its locks, or by its definitions of repositories; what a folder has itself counts."""
    monkeypatch.delenv("RATCHET_HARNESS", raising=False)
    values = {"environment": "uv.lock" if origin else "envs/bytelm.lock"}
    manifest = SimpleNamespace(origin=origin, frozen={"task": task}, values=values)
    own = tmp_path / "tasks" / "mine" / "task.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("")
    expected = tmp_path if task == "tasks/mine" else REPO
    assert harness_of(manifest, tmp_path) == expected
