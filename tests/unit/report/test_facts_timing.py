"""The timeline: times from the start, idle gaps, runs that were cut short."""

from __future__ import annotations

import datetime

from ratchet.report.facts import run_timeline

START = datetime.datetime(2026, 1, 1, 23, 59, 50, tzinfo=datetime.UTC)


def event(kind, seconds, number=1, seed=1, role="search", **more):
    time = (START + datetime.timedelta(seconds=seconds)).isoformat()
    return {"time": time, "event": kind, "number": number, "role": role, "seed": seed, **more}


def done(seconds, **about):
    return event("run_finished", seconds, outcome="ok", key="k", **about)


EVENTS = [
    event("session_started", 0),
    event("run_started", 10, number=0),
    done(20, number=0),
    event("run_started", 30),
    done(40),
    event("run_started", 35, seed=2),
    done(60, seed=2),
    event("run_started", 60, role="confirm"),
    done(80, role="confirm"),
]


def test_runs_and_gaps_from_the_start_over_midnight():
    found = run_timeline(EVENTS, None)
    assert [(r["lane"], r["start"], r["end"]) for r in found["runs"]] == [
        ("baseline", 10, 20),
        ("experiments", 30, 40),
        ("experiments", 35, 60),
        ("confirmation", 60, 80),
    ]
    assert found["seconds"] == 80 and found["idle_seconds"] == 20
    assert found["busy_share"] == 0.75 and found["interrupted"] == 0
    assert found["longest_gap"] == {"from": 0.0, "seconds": 10}


def test_what_is_noted_later_changes_nothing():
    later = [event("reported", 9_000), event("verdict", 9_100), event("session_started", 9_200)]
    assert run_timeline([*EVENTS, *later], None) == run_timeline(EVENTS, None)


def test_runs_that_a_stop_cut_short_are_counted():
    stopped = [event("run_started", 81), event("run_started", 90), done(95)]
    found = run_timeline([*EVENTS, *stopped, event("run_started", 96, seed=9)], 87.5)
    assert found["interrupted"] == 2 and found["gpu_utilisation"] == 87.5
    assert found["runs"][-1]["start"] == 90


def test_a_session_from_the_store_has_none():
    assert run_timeline([EVENTS[0]], None) is None and run_timeline([], None) is None


def test_odd_journals_do_no_harm():
    odd = [{"event": "run_started"}, {"event": "run_finished", "time": "yesterday"}, {}]
    naive = {**EVENTS[1], "time": "2026-01-02T00:00:00"}
    hostile = {**done(20, number="<b>"), "outcome": "\x1b[31m</script>"}
    assert run_timeline([*odd, *EVENTS, naive], None)["seconds"] == 80
    started = event("run_started", 12, number="<b>")
    (run,) = run_timeline([started, hostile], None)["runs"]
    assert run["number"] == 0 and "\x1b" not in run["outcome"]


def test_runs_that_landed_on_other_hardware_are_counted():
    landed = event("failed", 25, step="experiment", error="OtherHardwareError", message="Large 2")
    other = event("failed", 26, step="experiment", error="StoreError", message="disk")
    found = run_timeline([*EVENTS, landed, other], None)
    assert found["misplaced"] == 1
    assert run_timeline(EVENTS, None)["misplaced"] == 0
