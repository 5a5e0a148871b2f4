"""Three sessions at once in one folder, on two GPUs that are made up, and kills of any of them.

A session is killed with -9 at a moment drawn at random and started again, until there were so
many kills and all have ended.  Then no run may have been made twice, no two runs may have had
one device at a time, and records and store must be whole::

    PYTHONPATH=tests .venv-dev/bin/python tests/bench/together.py --kills 20

Printed are the kills by what the session was doing, and what was found.
"""

import argparse
import random
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path

from helpers import REPO
from helpers.boxes import Box
from helpers.edits import constant, declare
from helpers.gpus import gpu_box, overlaps, works
from ratchet.integrity.verify import verify_sessions
from ratchet.records.paths import StorePaths
from ratchet.records.store import Store

NAMES = "night", "dusk", "dawn"


EDITS = (
    constant("RATE", 0.12, 0.2, 0.3, 0.5),
    constant("WIDTH", 2, 3, 4),
    constant("DECAY", 0.1, 0.2, 0.3),
)
MULTI = str(REPO / "profiles" / "multi-gpu")


class Played:
    """A session that is started again whenever it is killed."""

    def __init__(self, box: Box) -> None:
        self.box, self.said = box, box.path / f"said-{box.name}"
        self.start()

    def start(self) -> None:
        """Start it, or go on with it."""
        self.known = len(self.box.events())
        words = "--cores", "2", "--profile", MULTI
        self.process = self.box.start(*words, said=self.said)

    def kill(self) -> str:
        """Kill Snakemake alone, as a machine short of memory does; what was done at that time."""
        new = self.box.events()[self.known :]
        self.process.kill()
        self.process.wait()
        self.start()
        return new[-1]["event"] if new else "starting"

    def is_over(self) -> bool:
        """Whether it has ended by itself."""
        code = self.process.poll()
        assert code in (None, 0), f"{self.box.name}: {code}:\n{self.said.read_text()[-3000:]}"
        return code == 0


def play(box: Box, kills: int, chance: random.Random) -> Counter[str]:
    """Play all sessions to their end; what was killed, by what it was doing."""
    sessions = {name: box.beside(name) for name in NAMES}
    sessions["dawn"].settings["seed"] = 7
    running, killed = [Played(each) for each in sessions.values()], Counter[str]()
    while running:
        time.sleep(chance.uniform(0.1, 8.0))
        running = [each for each in running if not each.is_over()]
        # One that has got somewhere since it was started, and now and then one that has not.
        busy = [each for each in running if len(each.box.events()) > each.known + 1]
        if killed.total() < kills and (busy or (running and chance.random() < 0.2)):
            killed[chance.choice(busy or running).kill()] += 1
    return killed


def check(box: Box) -> list[str]:
    """What is wrong in the end."""
    events = [e for name in NAMES for e in box.beside(name).events("run_finished")]
    times, found, faults = Counter(e["key"] for e in events), works(box), list[str]()
    faults += [f"run {key} was made {count} times" for key, count in times.items() if count > 1]
    faults += [f"run {key} is lost" for key in times.keys() - set(box.runs())]
    faults += [f"{a} and {b} shared a device" for a, b in overlaps(found) if a.device == b.device]
    faults += map(str, verify_sessions(box.path, NAMES).deviations)
    twins = {(box.beside(name).session / "results.tsv").read_bytes() for name in NAMES[:2]}
    faults += ["equal sessions have other results"] if len(twins) > 1 else []
    store = Store(StorePaths(box.path / "store"))
    store.clear_partial()
    left = [*store.paths.locks.iterdir(), *store.paths.partial.iterdir()]
    return faults + [f"{path} was left" for path in left]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="together-"))
    box, _ = gpu_box(folder / "box", rounds=options.rounds, candidates=2, confirm_replicates=1)
    declare(box, *EDITS)
    began, chance = time.monotonic(), random.Random(options.seed)
    killed = play(box, options.kills, chance)
    faults = check(box)
    told = [event["why"] for name in NAMES for event in box.beside(name).events("run_waiting")]
    waited = sum("which trains the same run" in why for why in told)
    devices = Counter(work.device for work in works(box))
    print(f"{killed.total()} kills in {time.monotonic() - began:.0f} s: {dict(killed)}")
    print(f"{len(box.runs())} runs on {dict(devices)}; {waited} times one was waited for")
    print("\n".join(faults) or "none was made twice or lost, no device was shared, all verify")
    if faults:
        raise SystemExit(1)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
