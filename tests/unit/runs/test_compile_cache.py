"""Compile caches: filled by a warm-up without data, copied for each run, bounded, checked."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from helpers.candidates import needs
from helpers.run_plans import launch, plan, store
from ratchet.base.structs import replace
from ratchet.integrity.run_checks import RunTrace, off_budget
from ratchet.records.records import Evaluation, Outcome
from ratchet.records.store import RunRecord
from ratchet.runs import compile_cache
from ratchet.runs.compile_cache import (
    FILES,
    FOLDER,
    IN_USE_SECONDS,
    LISTING,
    CompileCache,
    CompileCaches,
    cache_key,
    collect_cache,
)
from ratchet.runs.run import compiled_cache
from ratchet.runs.sandbox.sandbox import SandboxKind
from ratchet.task.task import Plausible

# Compiles where nothing is compiled yet, then trains: keeps what it learned beside the kernels.
COMPILER = """
import os, pathlib, sys
place = pathlib.Path(os.environ["TORCHINDUCTOR_CACHE_DIR"])
assert pathlib.Path(os.environ["TRITON_CACHE_DIR"]).is_dir()
kernel, weights = place / "ab" / "kernel.so", place / "weights.bin"
print("found" if kernel.exists() else "compiled")
print("weights", weights.read_bytes() if weights.exists() else None)
kernel.parent.mkdir(exist_ok=True)
kernel.write_bytes(b"code")
weights.write_bytes(pathlib.Path("data/train.bin").read_bytes())
print("steps", os.environ.get("RATCHET_BUDGET_STEPS"), "seconds",
      os.environ.get("RATCHET_BUDGET_SECONDS"), "seed", os.environ["RATCHET_SEED"])
print("---")
print("val: 1")
"""
KINDS = [
    pytest.param(kind, marks=needs(kind))
    for kind in (SandboxKind.NONE, SandboxKind.LANDLOCK, SandboxKind.BUBBLEWRAP)
]


def caches(root: Path, limit_bytes: float = 1e9) -> CompileCaches:
    return CompileCaches(store(root), limit_bytes)


def warmed(root: Path, source: str = COMPILER, **changes: Any) -> tuple[CompileCache, Any]:
    """What runs of a source start from, and what is told of the warm-up."""
    wanted = plan(root, source, **changes)
    return compiled_cache(wanted, caches(root), ["train.bin"], root / "store" / "warm-up")


def started_from(
    root: Path, cache: CompileCache, name: str, source: str = COMPILER, **changes: Any
) -> tuple[RunRecord, list[str]]:
    """A run that starts from a cache, and the lines of its log."""
    record, log = launch(root, source, f"store/{name}", compiled=cache, **changes)
    assert record.outcome is Outcome.OK, log
    return record, log.splitlines()


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_run_learned_never_reaches_the_next(tmp_path: Path, kind: SandboxKind) -> None:
    """Weights in the cache are those of a warm-up that saw zeros, in every run anew."""
    (tmp_path / "store").mkdir()
    cache, told = warmed(tmp_path, isolation=kind.value)
    assert (cache.state, told["files"]) == ("warm", 2)
    assert not (tmp_path / "store" / "warm-up").exists()
    zeros = bytes(len(b"some data"))
    for name in ("first", "second"):
        record, said = started_from(tmp_path, cache, name, isolation=kind.value)
        assert record.compile_cache == "warm"
        assert said[:2] == ["found", f"weights {zeros!r}"]
    assert (cache.folder / FILES / "inductor" / "weights.bin").read_bytes() == zeros


def test_a_source_is_compiled_once_and_no_other_starts_from_it(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    first, told = warmed(tmp_path)
    again, nothing = warmed(tmp_path, seed=8, budget_seconds=None, budget_steps=7)
    assert again == first and told and not nothing
    other, _ = warmed(tmp_path, COMPILER + "# another")
    assert other.key != first.key


def test_a_cache_that_went_meanwhile_ends_no_run(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    cache, _ = warmed(tmp_path)
    cache.folder.rename(tmp_path / "away")
    _, said = started_from(tmp_path, cache, "run")
    assert said[0] == "compiled"


def test_the_key_names_kernel_makers_and_no_seed_or_budget(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    inputs = plan(tmp_path, COMPILER).inputs
    key = cache_key(inputs, "none")
    assert cache_key({**inputs, "seed": 9, "budget_seconds": 2.0, "renewal": 1}, "none") == key
    others = [
        cache_key({**inputs, name: value}, "none")
        for name, value in [("threads", 2), ("packages_sha256", "a"), ("hardware", {"gpu": "b"})]
    ]
    assert len({key, cache_key(inputs, "landlock"), *others}) == 5


def test_what_a_warm_up_saw_serves_nobody_who_hides_it(tmp_path: Path) -> None:
    """A task whose `blank` or `hidden` was mended starts from nothing that saw too much."""
    (tmp_path / "store").mkdir()
    place = tmp_path / "store" / "warm-up"
    data = {"train.bin": b"some data", "more": b"more"}
    seeing, _ = compiled_cache(
        plan(tmp_path, COMPILER, data=data), caches(tmp_path), ["more"], place
    )
    assert (seeing.folder / FILES / "inductor" / "weights.bin").read_bytes() == b"some data"
    cache, told = warmed(tmp_path, data=data)
    assert told["files"] == 2
    zeros = bytes(len(b"some data"))
    assert (cache.folder / FILES / "inductor" / "weights.bin").read_bytes() == zeros
    assert warmed(tmp_path, data=data, hidden=("docutils",))[0].key != cache.key


def test_a_warm_up_has_little_budget_and_a_seed_that_tells_nothing(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    source = COMPILER + "place.joinpath('told').write_text(repr(dict(os.environ)))"
    cache, _ = warmed(tmp_path, source, budget_seconds=300.0, timeout_seconds=310.0)
    told = (cache.folder / FILES / "inductor" / "told").read_text()
    assert "'RATCHET_SEED': '0'" in told and "'RATCHET_BUDGET_SECONDS': '1.0'" in told
    assert "EVALUATOR" not in told


@pytest.mark.parametrize(
    "ending", ["import time; time.sleep(60)", "import shutil; shutil.rmtree(place)"]
)
def test_a_warm_up_that_hangs_or_leaves_nothing_leaves_runs_cold(
    tmp_path: Path, ending: str
) -> None:
    (tmp_path / "store").mkdir()
    cache, _ = warmed(tmp_path, f"{COMPILER}\n{ending}", timeout_seconds=2.0)
    assert (cache.state, cache.files) == ("empty", {})
    record, said = started_from(tmp_path, cache, "run")
    assert (record.compile_cache, said[0]) == ("empty", "compiled")


def test_one_that_fails_for_want_of_an_evaluation_counts(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    assert warmed(tmp_path, f"{COMPILER}\nraise OSError('no evaluator')")[0].state == "warm"


@pytest.mark.parametrize("damage", ["other bytes", "no file", "listing", "path"])
def test_a_damaged_entry_is_named_and_made_again(tmp_path: Path, damage: str) -> None:
    (tmp_path / "store").mkdir()
    cache, _ = warmed(tmp_path)
    kernel = cache.folder / FILES / "inductor" / "ab" / "kernel.so"
    kernel.chmod(0o644)
    listing = json.loads((cache.folder / LISTING).read_text())
    if damage == "other bytes":
        kernel.write_bytes(b"evil")
    elif damage == "no file":
        kernel.unlink()
    elif damage == "listing":
        (cache.folder / LISTING).write_text("{")
    else:
        (cache.folder / LISTING).write_text(json.dumps({**listing, "files": {"../x": "0"}}))
    again, told = warmed(tmp_path)
    assert str(cache.folder) in told["damaged"] and again.files == cache.files
    assert len(list(store(tmp_path).paths.damaged.iterdir())) == 1
    assert warmed(tmp_path) == (again, {})


def test_only_regular_files_with_plain_names_are_taken(tmp_path: Path) -> None:
    place, secret = tmp_path / "work" / FOLDER, tmp_path / "secret"
    (place / "inductor").mkdir(parents=True)
    secret.mkdir()
    (secret / "key").write_text("secret")
    (place / "triton").write_text("where a folder should be")
    (place / "beside").mkdir()
    for file in (place / "beside.so", place / "beside" / "kernel.so"):
        file.write_text("code")
    top, place = place, place / "inductor"
    (place / "kernel.so").write_text("code")
    (place / "stale.lock").write_text("")
    for name in ("with blank", ".hidden", "ünicode", "-rf", "n" * 201):
        (place / name).write_text("odd")
    (place / "link").symlink_to(secret / "key")
    (place / "folder").symlink_to(secret, target_is_directory=True)
    (place / "twice").hardlink_to(secret / "key")
    os.mkfifo(place / "pipe")
    deep = place.joinpath(*["d"] * 12)
    deep.mkdir(parents=True)
    (deep / "file").write_text("deep")
    assert set(collect_cache(top.parent, tmp_path / "made")) == {"inductor/kernel.so"}
    assert [path.name for path in (tmp_path / "made").rglob("*.so")] == ["kernel.so"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_in_a_folder_s_place_stops_no_run(tmp_path: Path, kind: SandboxKind) -> None:
    (tmp_path / "store").mkdir()
    hostile = f"{COMPILER}\nimport shutil\nshutil.rmtree(place)\nplace.write_bytes(b'no folder')"
    cache, _ = warmed(tmp_path, hostile, isolation=kind.value)
    assert (cache.state, cache.files) == ("empty", {})
    record, said = started_from(tmp_path, cache, "run", hostile, isolation=kind.value)
    assert (record.compile_cache, said[0]) == ("empty", "compiled")


def test_of_a_cache_that_is_a_link_or_too_large_nothing_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real" / "triton").mkdir(parents=True)
    (tmp_path / "real" / "triton" / "a").write_text("12345")
    (tmp_path / FOLDER).symlink_to(tmp_path / "real")
    assert collect_cache(tmp_path, tmp_path / "made") == {}
    (tmp_path / FOLDER).unlink()
    (tmp_path / "real").rename(tmp_path / FOLDER)
    assert set(collect_cache(tmp_path, tmp_path / "made")) == {"triton/a"}
    monkeypatch.setattr(compile_cache, "MOST_BYTES", 4)
    assert collect_cache(tmp_path, tmp_path / "made") == {}
    monkeypatch.setattr(compile_cache, "MOST_BYTES", 5)
    monkeypatch.setattr(compile_cache, "MOST_FILES", 0)
    assert collect_cache(tmp_path, tmp_path / "made") == {}


def test_the_longest_unused_goes_first_and_what_is_in_use_stays(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    made = [warmed(tmp_path, f"{COMPILER}# {number}")[0] for number in range(3)]
    size = sum(path.lstat().st_size for path in made[0].folder.rglob("*"))
    caches(tmp_path, 1).trim()
    assert all(each.folder.is_dir() for each in made)
    for age, each in enumerate(made):
        used = each.folder.stat().st_mtime - (age + 2) * IN_USE_SECONDS
        os.utime(each.folder / LISTING, (used, used))
    caches(tmp_path, 2.5 * size).trim()
    assert [each.folder.is_dir() for each in made] == [True, True, False]


def test_runs_with_a_cache_are_held_to_those_of_the_baseline_that_had_one() -> None:
    limits, seconds = Plausible(tolerance=0.1), 10.0
    baseline = [RunTrace(1, trained=10.0, cache=True), RunTrace(2, trained=40.0)]
    warm, cold = RunTrace(3, trained=30.0, cache=True), RunTrace(4, trained=30.0)
    assert off_budget(baseline, [cold], limits, seconds) is None
    assert "used 30 s" in str(off_budget(baseline, [warm], limits, seconds))
    assert off_budget(baseline[:1], [cold], limits, seconds) is None
    # A session that began before there were caches is not without a budget.
    assert off_budget(baseline[1:], [warm], limits, seconds) is None
    greedy = RunTrace(5, trained=90.0, cache=True)
    assert "used 90 s" in str(off_budget(baseline[1:], [greedy], limits, seconds))


def test_a_start_is_what_comes_before_the_evaluation_and_is_no_training(tmp_path: Path) -> None:
    summary = "print('---')\nprint('val: 1')\nprint('training_seconds: 2')"
    record, _ = launch(tmp_path, summary)
    assert record.start_seconds is None
    served = Evaluation(1.0, 9, 9, 1.0, 0.1, 3.0, 7.0, 0.1)
    assert replace(record, evaluation=served).start_seconds == 5.0
    untimed = {name: value for name, value in record.metrics.items() if name == "val"}
    assert replace(record, evaluation=served, metrics=untimed).start_seconds is None
