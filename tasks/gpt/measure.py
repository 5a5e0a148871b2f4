"""A table of what a session's baseline runs measured, for ``README.md``.

Standard library alone; run it with any Python after the baseline, on the machine that
made it::

    snakemake --cores 1 baseline --config task=tasks/gpt preset=auto session=measured \\
        baseline_replicates=5
    python tasks/gpt/measure.py results/measured

It prints Markdown: mean and standard deviation over the seeds of everything that the runs
printed, tokens per second, and the seconds of start-up (everything before the clock:
imports, compilation, warm steps) and of the evaluation.  Exit code 66 without a baseline.
"""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
import sys
from pathlib import Path
from typing import Any

EXIT_MISSING = 66


def records(session: Path, store: Path) -> list[dict[str, Any]]:
    """The stored records of the baseline's runs that ended well."""
    baseline = json.loads((session / "baseline.json").read_text())
    keys = [run["key"] for run in baseline["runs"] if run["outcome"] == "ok"]
    paths = [store / "runs" / key[:2] / key / "run.json" for key in keys]
    return [json.loads(path.read_text())["record"] for path in paths]


def measured(record: dict[str, Any]) -> dict[str, float]:
    """What one run measured."""
    printed, found = dict(record["metrics"]), record["evaluation"]
    seconds = printed["training_seconds"]
    if seconds > 0:
        printed["tokens_per_second"] = printed["total_tokens_M"] * 1e6 / seconds
    printed["startup_seconds"] = found["trained_wall_seconds"] - seconds
    printed["evaluation_seconds"] = found["seconds"]
    return printed


def table(runs: list[dict[str, float]]) -> str:
    """Mean and standard deviation of everything that all runs have."""
    rows = ["| | mean | sd |", "|---|---|---|"]
    for name in runs[0]:
        values = [run[name] for run in runs if name in run]
        if len(values) == len(runs):
            spread = f"{statistics.stdev(values):.6f}" if len(values) > 1 else ""
            rows.append(f"| {name} | {statistics.mean(values):.6f} | {spread} |")
    return "\n".join(rows)


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Print what a baseline measured.")
    parser.add_argument("session", type=Path, help="folder of the session, results/NAME")
    parser.add_argument("--store", type=Path, help="default: store beside results")
    given = parser.parse_args(arguments)
    session = given.session.resolve()
    store = given.store or session.parent.parent / "store"
    try:
        runs = [measured(record) for record in records(session, store)]
        manifest = json.loads((session / "manifest.json").read_text())
    except OSError as error:
        print(
            f"measure.py: {error.filename}: cannot be read ({error.strerror}); expected a session "
            "with a baseline; type: snakemake --cores 1 baseline --config task=tasks/gpt "
            f"preset=auto session={session.name} baseline_replicates=5",
            file=sys.stderr,
        )
        return EXIT_MISSING
    if not runs:
        print(f"measure.py: {session}: no run of its baseline ended well", file=sys.stderr)
        return EXIT_MISSING
    hardware = manifest["hardware"]
    place = ", ".join([*hardware.get("gpus", []), hardware["cpu"]])
    preset = (manifest.get("preset") or {}).get("name", "none")
    date = datetime.date.fromtimestamp((session / "baseline.json").stat().st_mtime)
    print(f"{date:%Y-%m}, {place}, preset {preset}, {len(runs)} seeds:\n\n{table(runs)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
