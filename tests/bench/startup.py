"""Seconds from the return key to a verdict, beside the released autojudge and bare Python.

Both tools install a command called ``autojudge``, so each is run as a module; the
repeats take turns, so that a busy moment hits all of them::

    make bench
    .venv-bench/bin/python tests/bench/startup.py --results results.tsv --repeats 15

``whole`` is what a user waits, the interpreter included.  ``ready`` (imports until
the tool could judge) and ``work`` (reading, judging, printing) are measured within
processes of their own, without the interpreter's own start.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

LEAST_REPEATS = 7
RELEASED = "auto_judge"
OURS = "ratchet.cli.autojudge"

# Arguments: modules that are needed to judge, then the command line.
INSIDE = """
import importlib, sys, time
began = time.perf_counter()
for name in sys.argv[1].split(","):
    module = importlib.import_module(name)
ready = time.perf_counter()
sys.argv = ["autojudge", *sys.argv[2:]]
try:
    module.main()
except SystemExit:
    pass
sys.stdout.flush()
print("TIMES", ready - began, time.perf_counter() - ready, file=sys.stderr)
"""


@dataclass
class Contestant:
    """A command and its times in seconds; ``modules`` are what it needs to judge."""

    name: str
    command: list[str]
    modules: str = ""
    whole: list[float] = field(default_factory=list)
    ready: list[float] = field(default_factory=list)
    work: list[float] = field(default_factory=list)

    def run(self) -> None:
        """One turn: once as a user would, once with the clock inside."""
        began = time.perf_counter()
        done = child(self.command)
        self.whole.append(time.perf_counter() - began)
        if not self.modules:
            return
        if not done.stdout.strip():
            sys.exit(f"{self.name}: expected a verdict, found none:\n{done.stderr}")
        arguments = self.command[2:]
        done = child(["-c", INSIDE, self.modules, *arguments])
        times = [line for line in done.stderr.splitlines() if line.startswith("TIMES ")]
        if not times:
            sys.exit(f"{self.name}: expected times, found:\n{done.stderr}")
        _, ready, work = times[-1].split()
        self.ready.append(float(ready))
        self.work.append(float(work))


def child(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run Python with compiled modules kept, as any second call of a user has them."""
    settings = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=settings)


def session(rows: int = 126, seed: int = 8) -> str:
    """A log such as a night leaves: few keeps, noise 4e-4, some crashes."""
    luck = random.Random(seed)
    lines = ["commit\tval_bpb\tmemory_gb\tstatus\tdescription"]
    theta = best = 0.998
    lines.append(f"{0:07x}\t{theta:.6f}\t44.0\tkeep\tbaseline")
    for number in range(1, rows):
        commit = f"{luck.getrandbits(28):07x}"
        if luck.random() < 0.03:
            lines.append(f"{commit}\t0.000000\t0.0\tcrash\tidea {number}")
            continue
        better = luck.random() < 0.2
        effect = luck.expovariate(1 / 1e-3) if better else -luck.expovariate(1 / 3e-3)
        value = theta - effect + luck.gauss(0, 4e-4)
        kept = value < best
        if kept:
            best, theta = value, theta - effect
        status = "keep" if kept else "discard"
        lines.append(f"{commit}\t{value:.6f}\t44.0\t{status}\tidea {number}")
    return "\n".join(lines) + "\n"


def contestants(log: Path) -> list[Contestant]:
    """Bare Python, the released tool's verdict on the last row, and ours."""
    results = ["--results", str(log)]
    ours = ["-m", OURS, *results]
    judging = f"ratchet.logs.judging,{OURS}"
    return [
        Contestant("bare python -c pass", ["-c", "pass"]),
        Contestant(
            "released autojudge 1.0.1, last row", ["-m", RELEASED, *results], modules=RELEASED
        ),
        Contestant("ratchet autojudge, last row", ours, modules=judging),
        Contestant("ratchet autojudge --all", [*ours, "--all"], modules=judging),
    ]


def shown(times: list[float]) -> str:
    """Median and range in milliseconds."""
    if not times:
        return "-"
    low, middle, high = (1e3 * t for t in (min(times), statistics.median(times), max(times)))
    return f"{middle:.0f} ({low:.0f} to {high:.0f})"


def measure(log: Path, repeats: int) -> None:
    """Run all in turns and print the medians."""
    found = contestants(log)
    for each in found:  # so that nobody pays for a cold disk or for compiling
        each.run()
        each.whole, each.ready, each.work = [], [], []
    for _ in range(repeats):
        for each in found:
            each.run()
    rows = sum(1 for line in log.read_text(errors="replace").splitlines() if line.strip()) - 1
    print(
        f"{rows} rows, {repeats} repeats in turns; medians (lowest to highest) in milliseconds:\n"
        f"  {'':36}{'whole':>20}{'ready':>20}{'work':>20}"
    )
    for each in found:
        columns = "".join(f"{shown(times):>20}" for times in (each.whole, each.ready, each.work))
        print(f"  {each.name:36}{columns}")


def main() -> None:
    """Measure on a given log, or on a generated one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, help="a results.tsv (default: a generated one)")
    parser.add_argument("--repeats", type=int, default=9, help=f"at least {LEAST_REPEATS}")
    options = parser.parse_args()
    if options.repeats < LEAST_REPEATS:
        parser.error(f"--repeats: expected at least {LEAST_REPEATS}, found {options.repeats}")
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "results.tsv"
        if options.results is None:
            log.write_text(session())
        else:
            log.write_bytes(options.results.read_bytes())
        measure(log, options.repeats)


if __name__ == "__main__":
    main()
