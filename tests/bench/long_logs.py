"""CPU seconds of what reads a log, and bytes of its pages, by the number of its rows.

Each log is made up: an author keeps a fifth of all experiments, one in fourteen crashes::

    make bench
    .venv-dev/bin/python tests/bench/long_logs.py --rows 100 1000 10000 50000

The time is that of whole commands, the interpreter's start and the reading of the log included.
"""

import argparse
import random
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROWS = 100, 1_000, 10_000
KEPT, CRASHED = 0.2, 0.07
SD = 4e-4
IDEAS = "learning rate", "weight decay", "wider MLP", "warmup", "batch size", "rotary base", "GELU"


def long_log(rows: int, seed: int = 1) -> str:
    """A log whose first experiments improve the metric more than its last ones."""
    luck, truth = random.Random(seed), 1.0
    lines = ["commit\tval_bpb\tmemory_gb\tstatus\tdescription"]
    for number in range(rows):
        commit, memory = f"{luck.getrandbits(28):07x}", f"{luck.gauss(44, 2):.1f}"
        idea = f"{luck.choice(IDEAS)} {luck.random():.3f} -> {luck.random():.3f}"
        kind = luck.random() if number else CRASHED
        if kind < CRASHED:
            lines.append(f"{commit}\t0.000000\t0.0\tcrash\t{idea}")
            continue
        value, status = truth + abs(luck.gauss(0, 6 * SD)) + luck.gauss(0, SD), "discard"
        if kind < CRASHED + KEPT:
            truth -= max(luck.gauss(SD, SD), 0) / (1 + number / 50)
            value, status = truth - abs(luck.gauss(0, SD)), "keep"
        lines.append(f"{commit}\t{value:.6f}\t{memory}\t{status}\t{idea}")
    return "\n".join(lines) + "\n"


def cpu_seconds(arguments: Sequence[str]) -> float:
    """Processor seconds of a command of ours."""
    program = "import sys; from ratchet.cli.main import main; sys.exit(main())"
    name, *rest = arguments
    if name != "ratchet":
        program = program.replace("cli.main", f"cli.{name}")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", program, *rest], capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode > 2:
        sys.exit(f"{' '.join(arguments)}: {done.stderr}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(sizes: Sequence[int], folder: Path) -> None:
    """One line for each size."""
    log, report, audit = (folder / name for name in ("results.tsv", "report.html", "audit.html"))
    given = ["--results", str(log)]
    commands = {
        "autojudge": ["autojudge", *given],
        "--all": ["autojudge", *given, "--all", "--json"],
        "autosteer": ["autosteer", *given],
        "audit": ["ratchet", "audit", *given],
        "its page": ["ratchet", "audit", *given, "--html", str(audit)],
        "report": ["ratchet", "report", *given, "-o", str(report)],
    }
    heads = [f"{name + ' s':>11}" for name in commands]
    print(f"{'rows':>7}{''.join(heads)}{'report MB':>11}{'audit MB':>11}")
    for rows in sizes:
        log.write_text(long_log(rows))
        times = [f"{cpu_seconds(command):11.1f}" for command in commands.values()]
        weights = [f"{page.stat().st_size / 1e6:11.2f}" for page in (report, audit)]
        print(f"{rows:7}{''.join(times)}{''.join(weights)}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS)
    with tempfile.TemporaryDirectory() as made:
        measure(parser.parse_args().rows, Path(made))
