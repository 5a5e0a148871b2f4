"""A session whose task lets its runs start compiled."""

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import yaml

from helpers.boxes import Box, make_box
from helpers.edits import constant, declare
from helpers.shared import copied, shared_box
from ratchet.base.structs import replace
from ratchet.cli.plan import outlook_of
from ratchet.cli.sessions import read_settings, task_of
from ratchet.monitor.outlook import Closing
from ratchet.records.events import read_events
from ratchet.records.paths import SessionPaths, StorePaths
from ratchet.records.store import Store
from ratchet.steps.limits import session_pace

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
    # People are told before it.
    told = [event["event"] for event in events if event["event"].startswith("warm_up")]
    assert told == ["warm_up_started", "warm_up"] * 2
    store = Store(StorePaths(compiled.path / "store"))
    for event in made:
        record = store.lookup(event["key"])
        assert record is not None and record.compile_cache == "warm"
        assert "found" in (store.paths.run(event["key"]) / "run.log").read_text()


def test_the_deadline_and_the_plan_count_compiling_and_waiting(
    compiled: Box, tmp_path: Path
) -> None:
    """At the pace of runs alone, nights of compiling and of waiting would end too late."""
    box = copied(compiled, tmp_path / "box")
    paths = SessionPaths("default", box.path)
    alone = session_pace(paths, 1)
    assert alone is not None and alone.warm_up > 0
    closing = Closing(certification=3, confirmation=2)
    # The experiment, three variants and the smaller champion are new.
    without = closing.after_experiment(replace(alone, warm_up=0.0))
    assert closing.after_experiment(alone) == pytest.approx(without + 5 * alone.warm_up)
    known = list(read_events(paths.events))
    first = next(each for each in known if each["event"] == "run_started")
    begun = datetime.fromisoformat(first["time"])
    asked = {**first, "event": "run_waiting", "time": (begun - timedelta(hours=1)).isoformat()}
    warm = {**first, "event": "warm_up", "files": 1, "wall_seconds": 600.0}
    lines = "".join(json.dumps(each) + "\n" for each in (asked, warm, *known))
    paths.events.write_text(lines)
    waited = session_pace(paths, 1)
    assert waited is not None and waited.warm_up == pytest.approx(200, rel=0.1)
    runs = waited.runs
    assert runs * waited.mean == pytest.approx(runs * alone.mean + 3000, abs=1)
    chosen = read_settings(box.path, ["session=next", "task=tasks/fake", "budget_steps=5"])
    found = outlook_of(chosen, task_of(chosen, box.path), box.path)
    each = {part.name: part.each or 0.0 for part in found.parts}
    assert each["experiments"] - each["confirmation"] == pytest.approx(waited.warm_up)
    assert "compiling new code" in found.source


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
