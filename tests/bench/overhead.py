"""What the harness costs per experiment, beside a bare loop.

Runs a session of the default task in a temporary folder, with one run per
experiment, and then the same sources with the same seeds and budget as a plain
``for`` loop over ``python train.py``, on the same machine in the same call::

    make bench
    PYTHONPATH=tests .venv-dev/bin/python tests/bench/overhead.py --rounds 8 --seconds 3

Printed are seconds outside the training budget: interpreter start, evaluation
and, for Ratchet, everything that the workflow does around a run.
"""

import argparse
import datetime
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from helpers.boxes import Box

# The budget that the target speaks of: overhead below 1 % of five minutes.
FULL_BUDGET_SECONDS = 300.0


def waited(box: Box, **settings: object) -> float:
    """Wall-clock seconds of a session from its start to its end."""
    began = time.monotonic()
    box.run(**settings)
    return time.monotonic() - began


def at(event: dict) -> float:
    return datetime.datetime.fromisoformat(event["time"]).timestamp()


def bare_loop(box: Box, keys: list[str], seconds: float) -> list[float]:
    """Wall-clock seconds of each run of a bare loop over the same sources."""
    manifest, store = box.json("manifest.json"), box.path / "store"
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environment = {**os.environ, **one, "RATCHET_BUDGET_SECONDS": str(seconds)}
    times = []
    for key in keys:
        run, place = store / "runs" / key[:2] / key, box.path / "bare" / key
        (place / "data").mkdir(parents=True)
        data = [*manifest["data"], *manifest["evaluation"]]
        for folder, entries in ((place, manifest["fixed"]), (place / "data", data)):
            for entry in entries:
                sha = entry["sha256"]
                shutil.copy(store / "blobs/sha256" / sha[:2] / sha, folder / entry["path"])
        shutil.copy(run / "source" / "train.py", place / "train.py")
        inputs = json.loads((run / "run.json").read_text())["inputs"]
        environment["RATCHET_SEED"] = str(inputs["seed"])
        began = time.monotonic()
        with (place / "run.log").open("wb") as log:
            words = [sys.executable, "train.py"]
            subprocess.run(words, cwd=place, env=environment, stdout=log, stderr=log, check=True)
        times.append(time.monotonic() - began)
    return times


def measure(rounds: int, seconds: float) -> None:
    with tempfile.TemporaryDirectory() as name:
        box = Box(
            Path(name).resolve(),
            {
                "task": "tasks/bytelm",
                "rounds": rounds,
                "budget_seconds": seconds,
                "budget_steps": None,
                "max_replicates": 1,
                "confirm_replicates": 1,
            },
        )
        total, again = waited(box), waited(box)
        found = box.events()
        skipped = waited(box, rounds=rounds + 20, target=99)
        ends = [at(e) for e in found if e["event"] in ("baseline", "round_finished")]
        outside = [b - a - seconds for a, b in itertools.pairwise(ends)]
        runs = [e for e in found if e["event"] == "run_finished" and e["role"] == "search"]
        keys = [e["key"] for e in runs if e["number"] > 0]
        bare = [wall - seconds for wall in bare_loop(box, keys, seconds)]
    ours, theirs = statistics.median(outside), statistics.median(bare)
    print(f"{rounds} experiments of {seconds:g} s, medians (lowest to highest), seconds:")
    row("bare loop, outside the budget", bare)
    row("Ratchet, outside the budget", outside)
    harness = ours - theirs
    share = 100 * harness / FULL_BUDGET_SECONDS
    print(f"  {'harness per experiment':34s} {harness:6.2f}   {share:.2f} % of a 300 s budget")
    print(f"  {'whole session':34s} {total:6.2f}")
    print(f"  {'second call, nothing to do':34s} {again:6.2f}")
    print(f"  {'each round after the end':34s} {(skipped - again) / 20:6.2f}")


def row(name: str, values: list[float]) -> None:
    low, high = min(values), max(values)
    print(f"  {name:34s} {statistics.median(values):6.2f}   ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    measure(options.rounds, options.seconds)
