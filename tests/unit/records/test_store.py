"""The store: whole entries, found again, never executed twice, never trusted blindly."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ratchet.base.errors import InputMissingError, StoreError
from ratchet.base.io import lock_file, to_json
from ratchet.records.ownership import Owner
from ratchet.records.paths import StorePaths
from ratchet.records.records import Outcome
from ratchet.records.store import ALIVE, LOG, RunRecord, Store, run_key

MATERIAL = {"sources": {"train.py": "abc"}, "seed": 7}
RECORD = RunRecord(Outcome.OK, "", 0, None, 1.5, 1.25, 80.0, {"val": 0.5, "bad": None})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(StorePaths(tmp_path / "store"))


def execute(folder: Path) -> RunRecord:
    (folder / LOG).write_text("---\nval: 0.5\n")
    (folder / "source").mkdir()
    (folder / "source" / "train.py").write_text("x = 1\n")
    return RECORD


def never(_: Path) -> RunRecord:
    raise AssertionError("a finished run was executed again")


def test_a_finished_run_is_never_executed_again(store: Store) -> None:
    key, record, executed = store.run(MATERIAL, execute)
    assert (record, executed) == (RECORD, True)
    assert store.run(MATERIAL, never) == (key, RECORD, False)
    assert key == run_key(MATERIAL)
    assert store.lookup(key) == RECORD
    assert not list(store.paths.partial.iterdir())
    # The key depends on every part.
    changes = ({}, {"seed": 8}, {"sources": {"train.py": "abd"}}, {"budget": {"seconds": 3}})
    assert len({run_key({**MATERIAL, **change}) for change in changes}) == 4


def test_a_failed_execution_leaves_nothing(store: Store) -> None:
    def fail(folder: Path) -> RunRecord:
        (folder / LOG).write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        store.run(MATERIAL, fail)
    assert store.lookup(run_key(MATERIAL)) is None
    assert not list(store.paths.partial.iterdir())
    assert store.run(MATERIAL, execute)[2]


@pytest.mark.parametrize("gone", [False, True])
@pytest.mark.parametrize("name", ["run.json", "metrics.json", LOG, "source/train.py"])
def test_a_damaged_entry_is_set_aside(store: Store, name: str, gone: bool) -> None:
    key, _, _ = store.run(MATERIAL, execute)
    path = store.paths.run(key) / name
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    if gone:
        path.unlink()
    # Who only reads moves nothing.
    assert store.peek(key) is None and store.paths.run(key).exists()
    assert store.lookup(key) is None
    (aside,) = store.paths.damaged.iterdir()
    assert gone or (aside / name).read_bytes() == data
    # An entry under another key is not believed.
    key, _, executed = store.run(MATERIAL, execute)
    assert executed
    other = run_key({**MATERIAL, "seed": 8})
    store.paths.run(other).parent.mkdir(parents=True, exist_ok=True)
    store.paths.run(key).rename(store.paths.run(other))
    assert store.lookup(other) is None


RACER = """
import sys, time
from pathlib import Path
from ratchet.records.ownership import Owner
from ratchet.records.paths import StorePaths
from ratchet.records.records import Outcome
from ratchet.records.store import RunRecord, Store

def slow(folder):
    with open(sys.argv[2], "a") as ledger:
        ledger.write("executed\\n")
    time.sleep(0.3)
    (folder / "run.log").write_text("log")
    return RunRecord(Outcome.OK, "", 0, None, 1.5, 1.25, 80.0, {"val": 0.5, "bad": None})

Store(StorePaths(Path(sys.argv[1]))).run({"sources": {"train.py": "abc"}, "seed": 7}, slow)
"""


def test_processes_racing_for_one_key_end_with_one_whole_entry(store: Store, tmp_path) -> None:
    ledger = tmp_path / "ledger"
    command = [sys.executable, "-c", RACER, str(store.paths.root), str(ledger)]
    racers = [subprocess.Popen(command) for _ in range(4)]
    assert [racer.wait(60) for racer in racers] == [0] * 4
    assert ledger.read_text() == "executed\n"
    assert store.lookup(run_key(MATERIAL)) == RECORD


def test_without_working_locks_the_first_to_publish_counts(store: Store) -> None:
    def overtaken(_: Path) -> RunRecord:
        store.paths.run(run_key(MATERIAL)).parent.mkdir(parents=True)
        with store.partial_folder("run-") as theirs:
            store._publish(theirs, run_key(MATERIAL), MATERIAL, execute(theirs))
        return RunRecord(Outcome.OK, "", 0, None, 9.0, 9.0, 9.0, {})

    assert store.run(MATERIAL, overtaken)[1] == RECORD


def test_what_lies_there_damaged_makes_way_for_a_run(store: Store) -> None:
    """The key is held meanwhile, so that who asks for it once more would wait for ever."""

    def overtaken(folder: Path) -> RunRecord:
        place = store.paths.run(run_key(MATERIAL))
        place.mkdir(parents=True)
        (place / "run.json").write_text("half")
        return execute(folder)

    def too_long(*_: object) -> None:
        raise TimeoutError

    old = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(20)
    try:
        assert store.run(MATERIAL, overtaken)[1:] == (RECORD, True)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)
    assert len([*store.paths.damaged.iterdir()]) == 1


def test_blobs_come_back_and_a_damaged_one_is_named_and_can_be_put_again(store: Store) -> None:
    for data in (b"", b"content"):
        sha = store.put(data)
        assert store.get(sha) == data
        assert store.put(data) == sha
    path = store.paths.blob(sha)
    assert path.stat().st_mode & 0o222 == 0
    path.chmod(0o644)
    path.write_bytes(b"cOntent")
    with pytest.raises(StoreError, match=f"expected sha256 {sha}, found"):
        store.get(sha)
    assert store.put(b"content") == sha
    assert store.get(sha) == b"content"
    with pytest.raises(StoreError, match="no such file"):
        store.get("0" * 64)


@pytest.mark.parametrize("text", ["{", to_json({"answer": 3, "digest": "x"}).decode(), "[]", "{}"])
def test_an_answer_is_given_once_until_it_is_damaged(store: Store, text: str) -> None:
    answers = iter([{"n": 1}, {"n": 2}, {"n": 3}])
    found = [store.memo("kind", {"q": n}, lambda: next(answers)) for n in (1, 1)]
    assert found == [{"n": 1}, {"n": 1}]
    (path,) = (store.paths.root / "kind").rglob("*.json")
    path.write_text(text)
    assert store.memo("kind", {"q": 1}, lambda: next(answers)) == {"n": 2}
    assert (next(store.paths.damaged.iterdir())).read_text() == text
    assert store.memo("kind", {"q": 2}, lambda: next(answers)) == {"n": 3}


def test_partial_folders_of_the_dead_alone_are_cleared(store: Store) -> None:
    with store.partial_folder("prepare-") as mine:
        Store(store.paths).clear_partial()
        assert mine.is_dir()
        # A network file system passes on locks of files that are open for writing alone.
        sign = mine.with_name(mine.name + ALIVE)
        with pytest.raises(BlockingIOError), lock_file(sign, wait=False):
            pass
        assert sign.is_file()
    assert not list(store.paths.partial.iterdir())
    (store.paths.partial / "run-dead" / "work").mkdir(parents=True)
    (store.paths.partial / f"run-dead{ALIVE}").touch()
    (store.paths.partial / f"run-half-cleared{ALIVE}").touch()
    store.clear_partial()
    assert not list(store.paths.partial.iterdir())


def test_a_key_is_one_s_own_until_the_lock_ends(store: Store) -> None:
    """Also where the holder takes and leaves other locks meanwhile."""
    at_work, told, order = threading.Event(), threading.Event(), list[str]()

    def slow(folder: Path) -> RunRecord:
        with store.locked("another"):
            store.memo("digests", 1, lambda: 2)
        at_work.set()
        assert told.wait(30)
        time.sleep(0.05)
        order.append("made")
        return execute(folder)

    def waits(key: str, owner: Owner) -> None:
        order.append(f"waits for {owner}")
        assert key == run_key(MATERIAL)
        told.set()

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(store.run, MATERIAL, slow, "night")
        assert at_work.wait(30)
        store.clear_partial()
        second = pool.submit(Store(store.paths).run, MATERIAL, never, "day", waits)
        assert (first.result()[2], second.result()[2]) == (True, False)
    assert order == [f"waits for {os.getpid()}, session night", "made"]
    assert not list(store.paths.locks.iterdir())


def test_locks_go_with_their_holders_and_exclude_each_other(store: Store) -> None:
    """Their files come and go under the feet of those who wait."""
    inside, most, stop = [0], [0], time.monotonic() + 0.4

    def contend(_: int) -> int:
        turns = 0
        while time.monotonic() < stop:
            with store.locked("key"):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                time.sleep(0.001)
                inside[0] -= 1
                turns += 1
        return turns

    with ThreadPoolExecutor(4) as pool:
        turns = list(pool.map(contend, range(4)))
    assert most == [1]
    assert sum(turns) > 4
    assert not list(store.paths.locks.iterdir())


def test_a_killed_holder_leaves_a_lock_that_anybody_takes(store: Store) -> None:
    program = (
        "import os, sys; from pathlib import Path; from ratchet.records.store import *\n"
        "with Store(StorePaths(Path(sys.argv[1]))).locked('key', 'night'): os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(store.paths.root)], check=False)
    assert done.returncode == -9
    assert (store.paths.locks / "key").read_text().endswith(", session night\n")
    with store.locked("key"):
        store.clear_partial()
        assert (store.paths.locks / "key").exists(), "a living one's file stays"
    (store.paths.locks / "of the dead").touch()
    store.clear_partial()
    assert not list(store.paths.locks.iterdir())


def test_a_run_that_is_published_meanwhile_is_not_taken_for_a_damaged_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, key = [0], run_key(MATERIAL)
    peek = Store.peek

    def late(self: Store, key: str) -> RunRecord | None:
        looks[0] += 1
        found = peek(self, key)
        if looks[0] == 1:
            monkeypatch.setattr(Store, "peek", peek)
            store.run(MATERIAL, execute)
        return found

    monkeypatch.setattr(Store, "peek", late)
    assert store.lookup(key) == RECORD
    assert not store.paths.damaged.exists()


def test_a_file_is_kept_by_name(store: Store, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    entry = store.fingerprint(tmp_path / "f", "data/f")
    assert (entry.path, entry.bytes) == ("data/f", 3)
    assert store.get(entry.sha256) == b"abc"
    with pytest.raises(InputMissingError, match="cannot be read"):
        store.fingerprint(tmp_path / "none", "none")
