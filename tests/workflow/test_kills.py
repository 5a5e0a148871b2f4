"""SIGKILL at random moments: no finished run is lost or repeated, the end is the same.

`RATCHET_KILLS` says how many kills (default 6); 100 take some minutes.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from helpers.boxes import Box, make_box
from ratchet.verify import verify

KILLS = int(os.environ.get("RATCHET_KILLS", "6"))
PER_SESSION = 3
# Long enough for a kill to fall into a training, short enough to do many.
SLOW = {"budget_steps": None, "budget_seconds": 0.3, "rounds": 2, "confirm_replicates": 1}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Box, float]:
    """A session that nobody killed, and how many seconds it took."""
    box = make_box(tmp_path_factory.mktemp("undisturbed") / "box", **SLOW)
    began = time.monotonic()
    box.run()
    return box, time.monotonic() - began


def processes(box: Box) -> dict[int, str]:
    """Processes that work in the box, with what they are."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if Path(str((process / "cwd").readlink())).is_relative_to(box.path):
                line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                found[int(process.name)] = line
    return found


def entries(box: Box) -> dict[str, int]:
    """Finished runs, with the identity of their record on the disk."""
    found = (box.path / "store" / "runs").glob("*/*/run.json")
    return {path.parent.name: path.stat().st_ino for path in found}


def strike(box: Box, process, draw: random.Random) -> str:
    """Kill something of the session, and at last Snakemake itself; says what."""
    victims = processes(box)
    kind = draw.choice(["snakemake", "everything", "one"])
    if kind == "everything":
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    elif kind == "one" and victims:
        pid = draw.choice(sorted(victims))
        kind = victims[pid][:200]
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        time.sleep(draw.uniform(0, 0.5))
    process.kill()
    process.wait(timeout=60)
    return kind


def disturb(box: Box, draw: random.Random, seconds: float, most: int) -> int:
    """Start the session and kill it at random moments; returns how often it was hit."""
    for count in range(most):
        kept = entries(box)
        process = box.start()
        time.sleep(draw.uniform(0, seconds))
        if process.poll() is not None:
            return count
        events = [event["event"] for event in box.events()]
        what = strike(box, process, draw)
        print(f"kill after {len(events)} events ({(events or ['none'])[-1]}): {what}")
        box.wait_for(lambda: not processes(box), seconds=20)
        left = entries(box)
        assert all(left.get(key) == inode for key, inode in kept.items()), "a run was replaced"
        if (box.session / "manifest.json").exists():
            assert verify(box.path).deviations == [], "a kill is no deviation"
    return most


@pytest.mark.parametrize("number", range(max(1, KILLS // PER_SESSION)))
def test_a_killed_session_ends_as_if_nothing_had_happened(
    tmp_path: Path, undisturbed: tuple[Box, float], number: int
) -> None:
    reference, seconds = undisturbed
    draw = random.Random(f"kills {number}")
    left = PER_SESSION
    for attempt in range(10 * PER_SESSION):
        if not left:
            break
        box = make_box(tmp_path / f"box-{attempt}", **SLOW)
        hits = disturb(box, draw, 0.8 * seconds, left)
        left -= hits
        kept = entries(box)
        box.run()
        assert box.state() == reference.state()
        final = entries(box)
        assert all(final.get(key) == inode for key, inode in kept.items()), "a run was replaced"
        assert sorted(final) == reference.runs()
        finished = Counter(event["key"] for event in box.events("run_finished"))
        assert max(finished.values()) == 1, "a finished run was repeated"
        assert len(box.events("run_started")) <= len(final) + hits, "a kill cost more than a run"
        assert not processes(box)
        assert verify(box.path).deviations == []
    assert not left, "the session was always over before it was hit"
