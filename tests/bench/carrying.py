"""Whether gains carry over to unseen data: honest edits of the default task, and leaks.

Trains every declared edit, measured on validation and audit data (half an hour), and tests
every pair of them as a confirmation does: baseline and champion of a session.  Then the
champion's validation metric alone is lowered, as by a candidate that knows these data::

    PYTHONPATH=tests .venv-dev/bin/python tests/bench/carrying.py --steps 300 --seeds 3
"""

import argparse
import itertools
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

from helpers import BYTELM
from helpers.recorded import record
from ratchet.base.structs import replace
from ratchet.judge.confirmation import FALSE_ALARMS, LEAST_CARRIED, FreshRuns, chance_of_carrying

FELT = 0.04
"""Bits per byte, twice the noise between seeds, from which a ratio of gains means something."""

LEAKS = (0.05, 0.1, 0.2, 0.3, 0.5)
SIZES = (32768, 32768)
Codes = Mapping[str, FreshRuns]


def fresh_runs(runs: Sequence[Mapping[str, Any]], usual: Mapping[str, Any]) -> FreshRuns | None:
    """The runs of one code; ``None`` where one failed."""
    found = [{**usual, **run["record"]}["evaluation"] for run in runs]
    if any(each is None or each["audit"] is None for each in found):
        return None
    values = ([each[name] for each in found] for name in ("value", "audit", "audit_parts"))
    return FreshRuns(*values)


def gains(before: FreshRuns, after: FreshRuns) -> tuple[float, float]:
    """The gain in the search and the gain on unseen data."""
    return (
        fmean(before.search) - fmean(after.search),
        fmean(before.unseen) - fmean(after.unseen),
    )


def compare_honest(codes: Codes, noise_sd: float) -> None:
    single = [gains(codes[""], code) for name, code in codes.items() if name]
    ratios = [unseen / search for search, unseen in single if abs(search) >= FELT]
    print(
        f"{len(ratios)} edits that change the metric by {FELT} or more carry over by "
        f"{min(ratios):.2f} to {max(ratios):.2f}, median {median(ratios):.2f}"
    )
    pairs = itertools.permutations(codes.values(), 2)
    tested = [chance_of_carrying(*pair, noise_sd, SIZES) for pair in pairs]
    chances = [chance for chance in tested if chance is not None]
    alarms = sum(chance < FALSE_ALARMS for chance in chances)
    print(f"{len(chances)} pairs: {alarms} accused, least probability {min(chances):.3f}")


def compare_leaks(codes: Codes, noise_sd: float) -> None:
    print("leak, bits per byte: champions of whose gain less than a third carries over, found")
    for leak in LEAKS:
        chances = []
        for name, code in codes.items():
            after = replace(code, search=[value - leak for value in code.search])
            search, unseen = gains(codes[""], after)
            if name and search > 0 and unseen < LEAST_CARRIED / 2 * search:
                chances.append(chance_of_carrying(codes[""], after, noise_sd, SIZES))
        found = sum(chance is not None and chance < FALSE_ALARMS for chance in chances)
        print(f"  {leak:<5} {found} of {len(chances)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=300, help="budget of each run")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each edit")
    parser.add_argument("--noise-sd", type=float, default=0.02, help="noise floor of one run")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        table = record(BYTELM, options.steps, options.seeds, False, Path(name).resolve())
    codes = {}
    for entry in table["candidates"]:
        runs = fresh_runs(entry["runs"][: options.seeds], table["record"])
        if runs is not None:
            codes[" ".join(entry["edits"])] = runs
    compare_honest(codes, options.noise_sd)
    compare_leaks(codes, options.noise_sd)


if __name__ == "__main__":
    main()
