"""What a mirror costs: sending a session of many runs, an idle call, and bringing it back.

    PYTHONPATH=tests .venv-dev/bin/python tests/bench/mirroring.py --runs 1000

The session of the fake task is real; further runs are copies of its own under other seeds, named by
records that repeat its rounds.  The target is a folder on the same disk.
"""

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from helpers.boxes import Box, make_box
from helpers.recorded import play_fake
from ratchet.base.io import digest, read_json, write_json
from ratchet.mirror.mirror import Mirror
from ratchet.mirror.restore import restore_session
from ratchet.records.paths import SessionPaths
from ratchet.records.store import RECORD, run_key


def grown(box: Box, runs: int) -> None:
    """Give the session rounds and runs of its own kind until it has so many runs."""
    paths = SessionPaths("default", box.path)
    first = read_json(paths.store.run(box.runs()[0]) / RECORD)
    model = paths.store.run(first["key"])
    rounds = sorted(paths.rounds.glob("*"))[-1]
    for number in range(len(box.runs()), runs):
        inputs = {**first["inputs"], "seed": 10_000_000 + number}
        key = run_key(inputs)
        folder = paths.store.run(key)
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(model, folder)
        (folder / RECORD).unlink()
        entry = {**first, "inputs": inputs, "key": key}
        entry.pop("digest")
        write_json(folder / RECORD, {**entry, "digest": digest(entry)})
        there = paths.rounds / f"{1000 + number:04d}"
        shutil.copytree(rounds, there)
        with paths.events.open("a", encoding="utf-8") as stream:
            line = {"time": "2026-01-01T00:00:00+00:00", "event": "run_finished", "key": key}
            stream.write(json.dumps(line) + "\n")


def timed(what: str, act: Callable[[], object]) -> None:
    started = time.monotonic()
    result = act()
    print(f"{what:<28}{time.monotonic() - started:7.1f} s   {result}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        box = play_fake(make_box(base / "box", rounds=6, task="tasks/fake"))
        grown(box, options.runs)
        address, paths = str(base / "mirror"), SessionPaths("default", box.path)

        def push() -> str:
            sent = mirror.push()
            return f"{sent.runs} runs, {sent.files} parts, {sent.bytes / 1e6:.1f} MB"

        mirror = Mirror(address, paths)
        timed("first call", push)
        timed("again, the same process", push)
        mirror = Mirror(address, paths)
        timed("again, another process", push)
        size = (base / "mirror/sessions/default/index.json.gz").stat().st_size
        print(f"{'size of the index':<28}{size / 1e3:7.0f} kB")

        def restore() -> str:
            got = restore_session(address, "default", base / "fresh", time.time() + 1e6)
            assert not got.left_out
            return f"{got.runs} runs, all digests checked"

        timed("brought back", restore)


if __name__ == "__main__":
    main()
