"""Speed of the machine: what is measured around a run, and what is said to have slowed it."""

from pathlib import Path

import pytest

from helpers.run_plans import launch
from ratchet.base.structs import replace
from ratchet.records.records import Pace
from ratchet.runs import probe
from ratchet.runs.probe import LATEST, MachineLoad, Watch, probe_machine, slowing, wait_for_quiet

QUIET = Pace(0.012, 0.012, waited=0.02, foreign=0.05, clock_mhz=1900.0, steps=1000.0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        ({"probe_seconds": 0.0125}, ""),
        ({"probe_seconds": 0.013}, "a fixed piece of work took 1.08 times as long"),
        ({"waited": 0.6, "foreign": 1.6}, "others used 1.6 processors and had it wait"),
        # Its own processes wait for each other, or others work where nobody waits.
        ({"waited": 0.9}, ""),
        ({"foreign": 40.0}, ""),
        ({"waited": None, "foreign": None}, ""),
        ({"throttled": ("hardware slowdown",)}, "the GPU was throttled (hardware slowdown)"),
        ({"steps": 940.0, "foreign": 0.5}, "it had 940 steps, the same code 1000 before"),
        ({"steps": 960.0, "foreign": 0.5}, ""),
        ({"steps": None, "foreign": 0.5}, ""),
        # What it prints is its own word, as long as nobody else is at work.
        ({"steps": 0.0}, ""),
        (
            {"clock_mhz": 1500.0, "probe_seconds": 0.024},
            "a fixed piece of work took 2.00 times as long; "
            "it had a GPU clock of 1500 MHz, the same code 1900 before",
        ),
    ],
)
def test_signs_of_a_busy_machine(changes: dict, said: str) -> None:
    assert slowing(replace(QUIET, **changes), [QUIET] * 3, [QUIET] * 2) == said


def test_only_runs_of_the_same_source_have_the_same_steps_and_clock() -> None:
    heavy = replace(QUIET, steps=200.0, clock_mhz=1000.0)
    assert slowing(heavy, [QUIET] * 3, []) == ""


def test_the_usual_is_the_median_of_the_latest_runs() -> None:
    busy = replace(QUIET, probe_seconds=0.03, waited=0.9, foreign=1.7, throttled=("a",))
    odd = [QUIET, busy, QUIET]
    assert slowing(replace(busy, throttled=()), odd, []).count(";") == 1
    assert slowing(busy, [QUIET] * 50 + [busy] * (LATEST // 2), []) != ""
    assert slowing(busy, [QUIET] * 50 + [busy] * (LATEST // 2 + 1), []) == ""


def test_a_machine_whose_speed_always_varies_is_slowed_by_more_than_that() -> None:
    factors = [0.93, 1.08, 1.0, 0.95, 1.06, 1.02, 0.97]
    past = [replace(QUIET, probe_seconds=0.012 * factor) for factor in factors]
    assert slowing(replace(QUIET, probe_seconds=0.0132), past[:4], []) != ""
    assert slowing(replace(QUIET, probe_seconds=0.0132), past, []) == ""
    assert slowing(replace(QUIET, probe_seconds=0.016), past, []) != ""


def test_before_the_first_run_the_machine_is_taken_to_be_free() -> None:
    assert slowing(QUIET, [], []) == ""
    assert "1.25 times" in slowing(replace(QUIET, probe_seconds=0.015), [], [])
    assert "processors" in slowing(replace(QUIET, waited=0.5, foreign=1.0), [], [])
    # A slow processor is none that others use.
    assert slowing(replace(QUIET, probe_seconds=0.1, probe_cpu_seconds=0.1), [], []) == ""


def test_the_probe_does_the_same_work_on_each_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks: list[None] = []
    monkeypatch.setattr(probe, "_work", lambda: blocks.append(None))
    monkeypatch.setattr(probe.os, "sched_getaffinity", lambda _: range(3))
    for threads, used in ((1, 1), (2, 2), (8, 3)):
        blocks.clear()
        probe_machine(threads)
        assert len(blocks) == probe.BLOCKS * used
    # However slow the machine is, the probe ends.
    clock = iter(range(100))
    monkeypatch.setattr(probe.time, "perf_counter", lambda: float(next(clock)))
    blocks.clear()
    assert probe_machine(1)[0] == 1.0
    assert len(blocks) == 1


def test_the_probe_takes_time() -> None:
    wall, processor = probe_machine(1)
    assert wall > 0
    assert processor > 0


def test_counters_of_the_kernel(tmp_path: Path) -> None:
    assert MachineLoad.now(tmp_path).waited is None
    assert MachineLoad.now(tmp_path).worked is None
    (tmp_path / "pressure").mkdir()
    (tmp_path / "pressure" / "cpu").write_text(
        "some avg10=0.15 avg60=13.64 avg300=11.66 total=52702215\n"
        "full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"
    )
    (tmp_path / "stat").write_text("cpu  100 20 30 64700 121 3 5 42 9 9\ncpu0 1 2 3\n")
    found = MachineLoad.now(tmp_path)
    assert found.waited == 52.702215
    assert found.worked == 2.0
    # A control group has its own.
    group = tmp_path / "groups" / "mine"
    group.mkdir(parents=True)
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "cgroup").write_text("0::/mine\n")
    (tmp_path / "self" / "mounts").write_text(f"x {tmp_path}/groups cgroup2 rw 0 0\n")
    (group / "cpu.pressure").write_text("some avg10=0.00 total=5000000\n")
    assert MachineLoad.now(tmp_path).waited == 5.0


def test_the_candidates_own_load_is_not_foreign(monkeypatch: pytest.MonkeyPatch) -> None:
    loads = iter([MachineLoad(10.0, 1.0, 100.0), MachineLoad(20.0, 3.0, 115.0)])
    monkeypatch.setattr(MachineLoad, "now", lambda: next(loads))
    probes = iter([(0.010, 0.010), (0.030, 0.011)])
    monkeypatch.setattr(probe, "probe_machine", lambda _: next(probes))
    throttled = ["power cap", "hardware power brake"]
    told = {"sm_clock_mhz": {"mean": 1500.5}, "throttled": throttled}
    found = Watch(1).pace({"cpu_seconds": 12.0, "telemetry": told})
    assert found == Pace(
        0.02, 0.0105, 0.2, 0.3, clock_mhz=1500.5, throttled=("hardware power brake",)
    )


def test_only_a_budget_in_seconds_is_watched(tmp_path: Path) -> None:
    source = "print('val: 0.25')\nprint('num_steps: 7')\n"
    timed, _ = launch(tmp_path, source)
    assert timed.pace is not None
    assert timed.pace.probe_seconds > 0
    assert timed.pace.slowed == ""
    counted, _ = launch(tmp_path, source, "steps", budget_seconds=None, budget_steps=3)
    assert counted.pace is None


def test_a_repeated_run_waits_until_it_gets_its_processors(monkeypatch) -> None:
    now = [0.0]
    monkeypatch.setattr(probe.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(probe.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    walls = iter([0.03, 0.03, 0.012])
    monkeypatch.setattr(probe, "probe_machine", lambda _: (next(walls), 0.012))
    wait_for_quiet(1, 10.0)
    assert now[0] == 2.0
    monkeypatch.setattr(probe, "probe_machine", lambda _: (0.03, 0.012))
    for budget, waited in ((3.0, 3.0), (300.0, 60.0)):
        now[0] = 0.0
        wait_for_quiet(1, budget)
        assert now[0] == waited
