"""Several sessions at once in one folder, with one store, on two GPUs that are made up."""

import json
import signal
from collections import Counter
from pathlib import Path

from helpers.boxes import Box
from helpers.commands import Capsys
from helpers.gpus import gpu_box, overlaps, works
from ratchet.cli import status
from ratchet.integrity.verify import verify_sessions
from ratchet.records.ownership import running_sessions
from ratchet.records.paths import StorePaths
from ratchet.records.store import Store

NAMES = "night", "dusk", "dawn"


def finished(box: Box) -> Counter[str]:
    """How often each run was made to its end, in all sessions of the folder."""
    sessions = [box.beside(path.name) for path in (box.path / "results").iterdir() if path.is_dir()]
    return Counter(event["key"] for each in sessions for event in each.events("run_finished"))


def sessions_box(path: Path) -> Box:
    box, _ = gpu_box(path, rounds=1, confirm_replicates=1, baseline_replicates=2, candidates=1)
    box.settings |= {"max_replicates": 1}
    return box


def test_three_at_once_share_runs_and_devices_and_one_is_killed(
    tmp_path: Path, capsys: Capsys
) -> None:
    """Night and dusk ask for the same runs, dawn draws other seeds."""
    box = sessions_box(tmp_path / "box")
    night, dusk, dawn = (box.beside(name) for name in NAMES)
    dawn.settings["seed"] = 7
    said = tmp_path / "said"
    began = {
        each.name: each.start(f"results/{each.name}/baseline.json", said=said)
        for each in (night, dusk, dawn)
    }
    twins = {"night": (night, dusk), "dusk": (dusk, night)}

    def awaits(name: str) -> bool:
        one, twin = twins[name]
        why = f"waits for session {twin.name}, which trains the same run"
        return any(event["why"] == why for event in one.events("run_waiting"))

    waiter = box.wait_for(lambda: next(filter(awaits, twins), ""))
    holder = twins[waiter][1]
    assert running_sessions(box.path).keys() <= set(NAMES)
    assert status.main(["--all", "--root", str(box.path)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].split() == ["session", "state", "round", "best", "gain", "on", "since", "pid"]
    assert sorted(line.split()[0] for line in shown[1:]) == sorted(NAMES)
    began[holder.name].kill()
    assert began[holder.name].wait(60) == -signal.SIGKILL
    for name in {*NAMES} - {holder.name}:
        assert began[name].wait(300) == 0, said.read_text()
    assert status.main(["--all", "--json", "--root", str(box.path)]) == 0
    told = {each["session"]: each for each in json.loads(capsys.readouterr().out)["sessions"]}
    assert told[holder.name]["state"] == "stale" and told[holder.name]["pid"] is None
    holder.play(last="baseline")
    found = works(box)
    assert {work.device for work in found} == {"GPU-0-box", "GPU-1-box"}
    assert all(one.device != two.device for one, two in overlaps(found))
    times = finished(box)
    assert set(times.values()) == {1}, "no run twice"
    assert sorted(times) == box.runs()
    assert night.json("baseline.json") == dusk.json("baseline.json")
    assert dawn.json("baseline.json") != dusk.json("baseline.json")
    assert not verify_sessions(box.path, NAMES).deviations
    store = Store(StorePaths(box.path / "store"))
    store.clear_partial()
    assert not [*store.paths.locks.iterdir(), *store.paths.partial.iterdir()]
