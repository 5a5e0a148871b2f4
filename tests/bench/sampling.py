"""What it costs to sample the machine during a run of five minutes.

The supervisor looks at its run five times a second in any case; a sample is what it keeps of that.
Here it takes all of them, the harness makes the table of the run from them and from looks at a
GPU twice a second, and reads it again for a report::

    PYTHONPATH=tests .venv-dev/bin/python tests/bench/sampling.py

Printed are seconds of processor time.  The targets are 1 % of five minutes and 0.05 s.  What the
driver of a GPU takes for an answer is not in it, since it needs one.
"""

import statistics
import sys
import time
from collections.abc import Callable

from helpers import REPO

sys.path.insert(0, str(REPO / "workflow_scripts"))
from ratchet.records.series import SAMPLES, Sample, parse_series, series_table
from ratchet.runs.hardware import GpuSample, machine_description, machine_samples
from ratchet.runs.process import UsageSamples
from ratchet.runs.throughput import samples_shown

SECONDS, LOOKS, GPU_LOOKS = 300, 5, 2


def cost(work: Callable[[], object], times: int = 7) -> float:
    """Median of the processor time of some work."""
    spent = []
    for _ in range(times):
        began = time.process_time()
        work()
        spent.append(time.process_time() - began)
    return statistics.median(spent)


def taken() -> UsageSamples:
    samples = UsageSamples()
    for number in range(SECONDS * LOOKS):
        samples.take(number / LOOKS, 0.99 * number / LOOKS, 900.0)
    return samples


if __name__ == "__main__":
    looks = [
        GpuSample(n / GPU_LOOKS, 41e3, 95.0, 650.0, 1755.0, 66.0, 4, frozenset({1}))
        for n in range(SECONDS * GPU_LOOKS)
    ]
    usage = taken().rows
    table = series_table(machine_samples(usage, looks))
    during = cost(taken)
    after = cost(lambda: series_table(machine_samples(usage, looks)))
    read = cost(lambda: samples_shown(parse_series(Sample, table, SAMPLES)))
    print(f"during the run: {during:.4f} s, {100 * during / SECONDS:.4f} % (target: 1 %)")
    print(f"after the run:  {after:.4f} s (target: 0.05 s)")
    print(f"for a report:   {read:.4f} s")
    print(f"once a session: {cost(lambda: machine_description('gpu')):.4f} s to name the machine")
    print(f"kept: {len(table)} bytes, {len(usage)} samples")
