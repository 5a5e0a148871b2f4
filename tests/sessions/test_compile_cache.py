"""A session whose task lets its runs start compiled."""

from pathlib import Path

import yaml

from helpers.boxes import Box, make_box
from helpers.edits import constant, declare
from helpers.shared import shared_box
from ratchet.records.events import read_events
from ratchet.records.paths import StorePaths
from ratchet.records.store import Store

COMPILING = """
from pathlib import Path as Place
kernel = Place(os.environ.get("TORCHINDUCTOR_CACHE_DIR", ".")) / "kernel"
print("found" if kernel.exists() else "compiled")
kernel.write_text("made")
"""


def compiling(box: Box, **keys: object) -> Box:
    """Have the task of a box compile, and keep what it compiled."""
    folder = box.path / "tasks" / "fake"
    source = (folder / "train.py").read_text()
    place = "numbers = sum("
    (folder / "train.py").write_text(source.replace(place, COMPILING + place))
    # A file of zeros has no numbers to add up: as most warm-ups do, this one ends badly.
    path = folder / "task.yaml"
    task = {**yaml.safe_load(path.read_text()), "compile_cache": {"blank": ["numbers.txt"]}, **keys}
    path.write_text(yaml.safe_dump(task, sort_keys=False))
    return box


@shared_box
def compiled(path: Path) -> Box:
    """A session of one edit that is kept, and is confirmed."""
    box = make_box(path, rounds=1)
    declare(box, constant("RATE", 0.4))
    compiling(box).play(last="confirm")
    return box


def test_all_runs_of_a_source_start_from_one_warm_up(compiled: Box) -> None:
    events = list(read_events(compiled.session / "events.jsonl"))
    made = [event for event in events if event["event"] == "run_finished"]
    keys = {event["cache"] for event in events if event["event"] == "warm_up"}
    # Baseline and candidate: two sources, however many runs.
    assert len(keys) == 2 == len({event["source"] for event in made})
    assert sum(event["event"] == "warm_up" for event in events) == 2 < len(made)
    store = Store(StorePaths(compiled.path / "store"))
    for event in made:
        record = store.lookup(event["key"])
        assert record is not None and record.compile_cache == "warm"
        assert "found" in (store.paths.run(event["key"]) / "run.log").read_text()


def test_keys_and_results_are_those_without_a_cache(compiled: Box, tmp_path: Path) -> None:
    """Byte for byte, of runs that are made again in another folder."""
    cold = make_box(tmp_path / "box", rounds=1)
    declare(cold, constant("RATE", 0.4))
    compiling(cold).play(last="confirm", compile_cache_gb=0)
    made = [
        {e["key"]: e["value"] for e in read_events(box.session / "events.jsonl") if "value" in e}
        for box in (compiled, cold)
    ]
    assert made[0] == made[1] and made[0]
    store = Store(StorePaths(cold.path / "store"))
    for key in made[1]:
        record, log = store.lookup(key), (store.paths.run(key) / "run.log").read_text()
        assert record is not None and record.compile_cache == "" and "compiled" in log
    assert not store.paths.caches.exists()


def test_a_task_that_compiles_nothing_has_one_warm_up(tmp_path: Path) -> None:
    box = make_box(tmp_path / "box", rounds=1)
    declare(box, constant("RATE", 0.4))
    compiling(box)
    source = box.path / "tasks" / "fake" / "train.py"
    source.write_text(source.read_text().replace('kernel.write_text("made")', ""))
    box.play(last="rounds")
    events = list(read_events(box.session / "events.jsonl"))
    assert [event["files"] for event in events if event["event"] == "warm_up"] == [0]
    store = Store(StorePaths(box.path / "store"))
    records = [store.lookup(e["key"]) for e in events if e["event"] == "run_finished"]
    assert len(records) > 1 and {r.compile_cache for r in records if r} == {"empty"}
