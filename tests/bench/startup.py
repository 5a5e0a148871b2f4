"""Seconds from the return key to a verdict, beside the released autojudge and bare Python.

Both tools install a command called ``autojudge``, so each is called by its module; the
repeats take turns, so that a busy moment hits all of them::

    make bench
    .venv-bench/bin/python tests/bench/startup.py --results results.tsv --repeats 15

Shown is what a user waits, the interpreter's own start included.
"""

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LEAST_REPEATS = 7


def waited(arguments: list[str]) -> float:
    """Milliseconds of a call of Python, with compiled modules kept as users have them."""
    settings = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=settings
    )
    took = 1e3 * (time.perf_counter() - began)
    if arguments[1] != "pass" and not done.stdout.strip():
        sys.exit(f"{arguments[1]}: expected a verdict, found none:\n{done.stderr}")
    return took


def session(rows: int = 126) -> str:
    """A log such as a night leaves: every sixth experiment is kept, some crash."""
    luck = random.Random(8)
    lines = ["commit\tval_bpb\tmemory_gb\tstatus\tdescription"]
    best = 0.998
    for number in range(rows):
        value = best + (luck.gauss(1e-3, 1e-3) if number else 0.0)
        row = f"{value:.6f}\t44.0\t{'keep' if value <= best else 'discard'}"
        if number and luck.random() < 0.03:
            row = "0.000000\t0.0\tcrash"
        else:
            best = min(best, value)
        lines.append(f"{number:07x}\t{row}\tidea {number}")
    return "\n".join(lines) + "\n"


def measure(log: Path, repeats: int) -> None:
    """Run all in turns and print the medians."""
    results = ["--results", str(log)]
    ours = ["-c", "from ratchet.cli.autojudge import main; main()", *results]
    contestants = {
        "bare python -c pass": ["-c", "pass"],
        "released autojudge 1.0.1, last row": ["-m", "auto_judge", *results],
        "ratchet autojudge, last row": ours,
        "ratchet autojudge --all": [*ours, "--all"],
    }
    for command in contestants.values():
        waited(command)  # so that nobody pays for a cold disk or for compiling
    turns = [[waited(command) for command in contestants.values()] for _ in range(repeats)]
    print(f"{repeats} repeats in turns; medians (lowest to highest) in milliseconds:")
    for name, times in zip(contestants, zip(*turns, strict=True), strict=True):
        middle = statistics.median(times)
        print(f"  {name:36}{middle:6.0f} ({min(times):.0f} to {max(times):.0f})")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, help="a results.tsv (default: a generated one)")
    parser.add_argument("--repeats", type=int, default=9, help=f"at least {LEAST_REPEATS}")
    options = parser.parse_args()
    if options.repeats < LEAST_REPEATS:
        parser.error(f"--repeats: expected at least {LEAST_REPEATS}, found {options.repeats}")
    with tempfile.TemporaryDirectory() as folder:
        generated = Path(folder) / "results.tsv"
        generated.write_text(session())
        measure(options.results or generated, options.repeats)
