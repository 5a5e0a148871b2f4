"""What it costs to record a run of five minutes: its curve, and samples of its machine.

Plays a log of 3,000 lines through the supervisor in a few seconds, with the times of its output
noted and without, and reads the curve afterwards.  Then it takes all samples of the run, makes
its table from them and from looks at a GPU twice a second, and reads it for a report::

    PYTHONPATH=tests .venv-dev/bin/python tests/bench/recording.py

Printed are seconds of processor time: while the run lasts, in which every line comes alone as it
would in five minutes, and after it.  The targets are 1 % of five minutes and 0.05 s.  What the
driver of a GPU takes for an answer is not in it, since it needs one.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from helpers import REPO

sys.path.insert(0, str(REPO / "workflow_scripts"))
from ratchet.monitor.live_curve import LIVE_LINES
from ratchet.records.series import SAMPLES, Sample, parse_series, series_table, thinned
from ratchet.runs.curve import KEPT_POINTS, Clock, divergence, printed_curve
from ratchet.runs.hardware import GpuSample, machine_description, machine_samples
from ratchet.runs.process import UsageSamples
from ratchet.runs.supervisor import CappedLog, Stamps
from ratchet.runs.throughput import samples_shown

SECONDS = 300
LOOKS, GPU_LOOKS = 5, 2
"""Looks of the supervisor and of the sampler of a GPU, in a second."""
LINE = (
    "\rstep {:05d} ({:.1f}%) | loss: {:.6f} | lrm: 1.00 | dt: 100ms | tok/sec: 1,690,000 | "
    "mfu: 39.8% | epoch: 1 | remaining: 200s    "
)


def lines(count: int) -> list[bytes]:
    """Lines of progress as upstream prints them."""
    each = (LINE.format(n, 100 * n / count, 9.0 - 6.0 * n / count) for n in range(count))
    return [line.encode() for line in each]


def cost(work: Callable[[], object], times: int = 7) -> float:
    """Median of the processor time of some work."""
    spent = []
    for _ in range(times):
        began = time.process_time()
        work()
        spent.append(time.process_time() - began)
    return statistics.median(spent)


def written(path: Path, output: list[bytes], noted: bool) -> Stamps:
    """Write a log as the supervisor does, line by line."""
    log, stamps = CappedLog(str(path), 1 << 20), Stamps()
    for number, line in enumerate(output):
        log.write(line)
        if noted:
            stamps.add(log.taken, round(SECONDS * number / len(output), 3))
    log.close()
    return stamps


def measure_curve(count: int) -> None:
    """Print what the log of a run with so many lines costs."""
    output = lines(count)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "run.log"
        without = cost(lambda: written(path, output, noted=False))
        during = cost(lambda: written(path, output, noted=True)) - without
        stamps = written(path, output, noted=True)
        clock = Clock(stamps.entries)

        def read() -> None:
            curve = thinned(printed_curve(path.read_bytes(), clock), KEPT_POINTS)
            (Path(name) / "curve.tsv").write_text(series_table(curve))
            divergence(curve)

        after = cost(read)
        look = cost(lambda: printed_curve(path.read_bytes(), None, "", LIVE_LINES))
        size = (Path(name) / "curve.tsv").stat().st_size
    print(f"curve of {count} lines, {sum(map(len, output)) / 1000:.0f} kB in {SECONDS} s")
    tell(during, after)
    print(f"each look at it, for a terminal or the page: {look:.4f} s")
    print(f"kept: {size} bytes, {len(stamps.entries)} times of output")


def tell(during: float, after: float) -> None:
    """Print both costs beside their targets."""
    print(f"during the run: {during:.4f} s, {100 * during / SECONDS:.4f} % (target: 1 %)")
    print(f"after the run:  {after:.4f} s (target: 0.05 s)")


def taken() -> UsageSamples:
    """Samples of the run's processes, as the supervisor takes them."""
    samples = UsageSamples()
    for number in range(SECONDS * LOOKS):
        samples.take(number / LOOKS, 0.99 * number / LOOKS, 900.0)
    return samples


def measure_samples() -> None:
    """Print what the samples of a run cost."""
    looks = [
        GpuSample(n / GPU_LOOKS, 41e3, 95.0, 650.0, 1755.0, 66.0, 4, frozenset({1}))
        for n in range(SECONDS * GPU_LOOKS)
    ]
    usage = taken().rows
    table = series_table(machine_samples(usage, looks))
    read = cost(lambda: samples_shown(parse_series(Sample, table, SAMPLES)))
    print(f"\nsamples of {SECONDS} s")
    tell(cost(taken), cost(lambda: series_table(machine_samples(usage, looks))))
    print(f"for a report:   {read:.4f} s")
    print(f"once a session: {cost(lambda: machine_description('gpu')):.4f} s to name the machine")
    print(f"kept: {len(table)} bytes, {len(usage)} samples")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=3_000)
    measure_curve(parser.parse_args().lines)
    measure_samples()
