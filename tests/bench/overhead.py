"""What the harness costs per experiment, beside a bare shell loop.

Runs a session of the default task in a temporary folder, with one run per
experiment, and then the same sources with the same seeds and budget as a plain
``for`` loop over ``python train.py``, on the same machine in the same call::

    make bench
    .venv-dev/bin/python tests/bench/overhead.py --rounds 8 --seconds 3

Printed are seconds outside the training budget: interpreter start, evaluation
and, for Ratchet, everything that the workflow does around a run.
"""

from __future__ import annotations

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

REPO = Path(__file__).resolve().parents[2]
SNAKEMAKE = str(Path(sys.executable).parent / "snakemake")
# The budget that the target speaks of: overhead below 1 % of five minutes.
FULL_BUDGET_SECONDS = 300.0


def snakemake(folder: Path, **settings: object) -> float:
    """Run one session to its end; returns wall-clock seconds."""
    pairs = [f"{key}={value}" for key, value in settings.items()]
    command = [SNAKEMAKE, "-s", str(REPO / "Snakefile"), "--cores", "1", "--config", *pairs]
    began = time.monotonic()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return time.monotonic() - began


def events(folder: Path) -> list[dict]:
    path = folder / "results" / "default" / "events.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def at(event: dict) -> float:
    return datetime.datetime.fromisoformat(event["time"]).timestamp()


def shell_loop(folder: Path, keys: list[str], seconds: float) -> list[float]:
    """Wall-clock seconds of each run of a bare loop over the same sources."""
    manifest = json.loads((folder / "results/default/manifest.json").read_text())
    work = folder / "bare"
    for number, key in enumerate(keys):
        run = folder / "store" / "runs" / key[:2] / key
        place = work / f"{number:03d}"
        (place / "data").mkdir(parents=True)
        for entry in manifest["fixed"]:
            shutil.copy(blob(folder, entry["sha256"]), place / entry["path"])
        for entry in manifest["data"]:
            shutil.copy(blob(folder, entry["sha256"]), place / "data" / entry["path"])
        shutil.copy(run / "source" / "train.py", place / "train.py")
        inputs = json.loads((run / "run.json").read_text())["inputs"]
        (place / "seed").write_text(str(inputs["seed"]))
    script = (
        "for d in */; do cd $d; s=$(date +%s.%N); "
        'RATCHET_SEED=$(cat seed) "$PYTHON" train.py > run.log 2>&1; '
        "echo \"$(date +%s.%N) $s\" | awk '{print $1 - $2}'; cd ..; done"
    )
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    settings = {"PYTHON": sys.executable, "RATCHET_BUDGET_SECONDS": str(seconds), **one}
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=work,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=True,
    )
    return [float(line) for line in done.stdout.split()]


def blob(folder: Path, sha256: str) -> Path:
    return folder / "store" / "blobs" / "sha256" / sha256[:2] / sha256


def measure(rounds: int, seconds: float) -> None:
    settings = {
        "rounds": rounds,
        "budget_seconds": seconds,
        "max_replicates": 1,
        "confirm_replicates": 1,
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        total = snakemake(folder, **settings)
        again = snakemake(folder, **settings)
        found = events(folder)
        skipped = snakemake(folder, **{**settings, "rounds": rounds + 20, "target": 99})
        ends = [at(e) for e in found if e["event"] in ("baseline", "round_finished")]
        outside = [b - a - seconds for a, b in itertools.pairwise(ends)]
        runs = [e for e in found if e["event"] == "run_finished" and e["role"] == "search"]
        keys = [e["key"] for e in runs if e["number"] > 0]
        bare = [wall - seconds for wall in shell_loop(folder, keys, seconds)]
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
