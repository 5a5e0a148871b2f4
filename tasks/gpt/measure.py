"""Tables of what a session's runs measured, for ``README.md``.

Standard library alone; run it with any Python on the machine that made the session::

    snakemake --cores 1 --config task=tasks/gpt preset=auto session=measured rounds=12 \\
        baseline_replicates=5
    python tasks/gpt/measure.py results/measured

It prints Markdown: mean and standard deviation over the baseline's seeds of everything that
the runs printed, tokens per second, and the seconds of start-up (everything before the clock:
imports, compilation) and of the evaluation.  Then, of all runs up to then, the start-up of
the first and of later runs, which share of the time no run was under way, and what the
harness takes between two runs.  Exit code 66 without a baseline.
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
    return [record(key, store) for key in keys]


def record(key: str, store: Path) -> dict[str, Any]:
    """A run's record in the store."""
    path = store / "runs" / key[:2] / key / "run.json"
    found: dict[str, Any] = json.loads(path.read_text())["record"]
    return found


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


def session_table(session: Path, store: Path) -> str:
    """What all runs of a session tell together, in the order in which they began."""
    spans: dict[str, list[float]] = {}
    ended_well = []
    for line in (session / "events.jsonl").read_text().splitlines():
        event = json.loads(line)
        time = datetime.datetime.fromisoformat(event["time"]).timestamp()
        if event["event"] == "run_started":
            spans[event["key"]] = [time]
        elif event["event"] == "run_finished" and len(spans.get(event["key"], ())) == 1:
            spans[event["key"]].append(time)
            ended_well += [event["key"]] if event["outcome"] == "ok" else []
    runs = [measured(record(key, store)) for key in spans if key in ended_well]
    rows = {"runs that ended well": str(len(runs))}
    startups = [run["startup_seconds"] for run in runs]
    if startups:
        rows["start-up of the first run, s"] = f"{startups[0]:.1f}"
    if startups[1:]:
        rows["start-up of later runs, s (median)"] = f"{statistics.median(startups[1:]):.1f}"
    whole = sorted(span for span in spans.values() if len(span) == 2)
    if len(whole) > 1:
        gaps, busy_until = [], whole[0][1]
        for began, ended in whole[1:]:
            if began > busy_until:
                gaps.append(began - busy_until)
            busy_until = max(busy_until, ended)
        taken = busy_until - whole[0][0]
        trained = sum(run["training_seconds"] for run in runs)
        rows["share of the time without a run"] = f"{sum(gaps) / taken:.3f}"
        rows["seconds of training per second"] = f"{trained / taken:.3f}"
        if gaps:
            rows["seconds between runs (median)"] = f"{statistics.median(gaps):.1f}"
    cells = [f"| {name} | {value} |" for name, value in rows.items()]
    return "\n".join(["| all runs | |", "|---|---|", *cells])


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
        together = session_table(session, store)
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
    print(f"\n{together}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
