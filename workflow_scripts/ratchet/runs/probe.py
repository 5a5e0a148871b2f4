"""Speed of the machine around one run with a budget in seconds, and whether that slowed it.

On a busy machine such a run learns less than it could.  Three signs are taken, since each
is blind where another sees; all figures are of two cores and runs of three seconds:

- A probe, which is a fixed piece of work on as many threads as the run has, before and
  after it, when no process of the candidate lives.  Its wall-clock time was 1.2 to 3 times
  its processor time (whose sd is 2 %) with two to five other programs beside it.
- What the kernel counts while the run goes on: the share of time in which something waited
  for a processor (.01 to .02, with one other program .01 to .25, with two busy loops .57 to
  .98), and the processors that others used.
- The steps and the GPU's clock of earlier runs of the same source: two runs of one source on
  a quiet machine differed by 2.5 % (sd) in their steps, and with two busy loops beside them
  by up to 19 %, although the budget counts processor time.

A candidate that likes another try could make itself wait, or print few steps.  Neither counts
unless others used more of the machine than usual, which it cannot make so.

The processor time of the probe tells nothing by itself, since it hardly changes then.  It is
what a first run, which has nothing before it, is compared with.
"""

import contextlib
import hashlib
import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from ratchet.base.structs import Frozen
from ratchet.base.text import median
from ratchet.records.records import Pace
from ratchet.runs.sandbox.cgroups import own_cgroup

SLOWER = 1.05
"""A machine slower by this factor than the session's usual is a busy one."""

SWINGS = 3.0
"""Standard deviations by which a probe must be above the usual one, where its spread is known:
a machine whose speed always varies is not slowed at every third run."""

NORMAL_SD = 1.4826
"""Standard deviation of a normal distribution in units of its median absolute deviation."""

FEWEST = 5
"""Earlier runs that tell the spread of the probe."""

WAITED = 0.2
"""Share of a run in which something waited for a processor, above the usual share."""

FOREIGN = 0.1
"""Processors that others used during a run, above the usual number."""

LATEST = 15
"""Runs of the session that say what is usual: a machine that stays slow becomes the usual."""

POWER_CAP = "power cap"
"""The one reason to throttle a GPU that is the candidate's own doing."""

STEPS = "num_steps"
"""The number of training steps, as scripts print it."""

BLOCKS = 5
BLOCK_BYTES = 16 << 20
"""Work of one block on each thread: 12 ms where BLAKE2 hashes 1.4 GB/s.  The median of the
blocks counts, so that one hiccup is none of the machine's speed; and a block is longer than
the scheduler's turns, so that whoever shares the processor is felt in most of them."""

PROBE_SECONDS = 0.3
"""The probe ends after this long, with the blocks that it has by then."""

LONGEST_WAIT_SECONDS = 60.0
WAIT_SECONDS = 1.0
_PIECE = bytes(1 << 20)


QUIET = threading.Lock()
"""Held while the probe works: views of a session in the same process wait."""


def probe_machine(threads: int) -> tuple[float, float]:
    """Wall-clock seconds of a block of fixed work, and processor seconds of one thread of it."""
    with QUIET:
        return _probe(threads)


def _probe(threads: int) -> tuple[float, float]:
    count = max(1, min(threads, len(os.sched_getaffinity(0))))
    hashlib.blake2b(_PIECE)  # the first call finds cold caches
    walls: list[float] = []
    began, used = time.perf_counter(), time.process_time()
    while not walls or (len(walls) < BLOCKS and time.perf_counter() - began < PROBE_SECONDS):
        start = time.perf_counter()
        others = [threading.Thread(target=_work) for _ in range(count - 1)]
        for other in others:
            other.start()
        _work()
        for other in others:
            other.join()
        walls.append(time.perf_counter() - start)
    return median(walls), (time.process_time() - used) / len(walls) / count


def _work() -> None:
    for _ in range(BLOCK_BYTES // len(_PIECE)):
        hashlib.blake2b(_PIECE)  # without the interpreter's lock


def wait_for_quiet(threads: int, budget_seconds: float) -> None:
    """Wait until the probe gets the processors that it asks for: a budget at most, or a minute."""
    limit = time.monotonic() + min(budget_seconds, LONGEST_WAIT_SECONDS)
    while time.monotonic() < limit:
        wall, processor = probe_machine(threads)
        if wall <= SLOWER * processor:
            return
        time.sleep(WAIT_SECONDS)


class MachineLoad(Frozen):
    """Counters of the machine at a moment, in seconds; ``None`` where the kernel has none."""

    moment: float
    waited: float | None
    worked: float | None

    @classmethod
    def now(cls, proc: Path = Path("/proc")) -> Self:
        """What the kernel has counted so far."""
        waited = worked = None
        own = own_cgroup(proc / "self")
        # Of this process's own group where it has one: others' waiting is not ours.
        for path in (*([own / "cpu.pressure"] if own else []), proc / "pressure" / "cpu"):
            with contextlib.suppress(OSError, ValueError, IndexError):
                waited = int(path.read_text().split("total=")[1].split()[0]) / 1e6
                break
        with contextlib.suppress(OSError, ValueError, IndexError):
            ticks = [*map(int, (proc / "stat").read_text().split("\n")[0].split()[1:9])]
            # All but idle time and waiting for disks.
            worked = (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")
        return cls(time.monotonic(), waited, worked)


class Watch:
    """The machine before and after one run; made when it is about to begin."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._before = probe_machine(threads)
        self._start = MachineLoad.now()

    def pace(self, answer: Mapping[str, Any]) -> Pace:
        """The machine's pace around a run that ended with this answer of its supervisor."""
        end, start = MachineLoad.now(), self._start
        lasted = max(end.moment - start.moment, 1e-3)
        waited = foreign = None
        if end.waited is not None and start.waited is not None:
            waited = round((end.waited - start.waited) / lasted, 3)
        if end.worked is not None and start.worked is not None:
            others = end.worked - start.worked - answer.get("cpu_seconds", 0.0)
            foreign = round(max(0.0, others / lasted), 3)
        told = answer.get("telemetry") or {}
        probe, processor = (
            round(sum(pair) / 2, 6)
            for pair in zip(self._before, probe_machine(self._threads), strict=True)
        )
        return Pace(
            probe_seconds=probe,
            probe_cpu_seconds=processor,
            waited=waited,
            foreign=foreign,
            clock_mhz=(told.get("sm_clock_mhz") or {}).get("mean"),
            throttled=tuple(name for name in told.get("throttled", ()) if name != POWER_CAP),
        )


def slowing(pace: Pace, past: Sequence[Pace], alike: Sequence[Pace]) -> str:
    """What slowed a run, in words; empty for nothing.

    ``past`` are the paces of the session's runs that count, the last one last, and
    ``alike`` those among them of the same source.
    """
    latest = past[-LATEST:]
    foreign = _usual(latest, "foreign") or 0.0
    crowded = pace.foreign is not None and pace.foreign > foreign + FOREIGN
    found = []
    usual = _usual(latest, "probe_seconds") or pace.probe_cpu_seconds
    apart = [abs(each.probe_seconds - usual) for each in latest]
    swing = SWINGS * NORMAL_SD * median(apart) if len(apart) >= FEWEST else 0.0
    if pace.probe_seconds > max(SLOWER * usual, usual + swing):
        found.append(f"a fixed piece of work took {pace.probe_seconds / usual:.2f} times as long")
    waited = WAITED + (_usual(latest, "waited") or 0.0)
    if crowded and pace.waited is not None and pace.waited > waited:
        found.append(f"others used {pace.foreign:.1f} processors and had it wait")
    if pace.throttled and not any(each.throttled for each in latest):
        found.append(f"the GPU was throttled ({', '.join(pace.throttled)})")
    for name, said in (("steps", "{:.6g} steps"), ("clock_mhz", "a GPU clock of {:.6g} MHz")):
        here, before = getattr(pace, name), _usual(alike, name)
        if name == "steps" and not crowded:
            continue
        if here is not None and before is not None and SLOWER * here < before:
            found.append(f"it had {said.format(here)}, the same code {before:.6g} before")
    return "; ".join(found)


def _usual(paces: Sequence[Pace], name: str) -> float | None:
    known = [value for pace in paces if (value := getattr(pace, name)) is not None]
    return median(known) if known else None
