"""How a session stands, from its events alone, whatever state they are in."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from helpers.session_events import NOW, at, rounds, run, started, verdict
from ratchet.base.structs import replace
from ratchet.monitor.progress import (
    GRACE_SECONDS,
    HARNESS_SECONDS,
    Phase,
    SessionRunState,
    current_work,
    fold_events,
    phase_line,
    seconds_left,
    session_state,
    standing_facts,
)

AGAIN = "snakemake --cores 1"


def of(events: list[dict[str, Any]], second: float, owned: bool | None = True) -> dict[str, Any]:
    standing, now = fold_events(events), NOW + second
    left = seconds_left(events, standing, now)
    return standing_facts(standing, now, session_state(standing, now, owned, AGAIN), left)


def phases(events: list[dict[str, Any]]) -> list[str]:
    return [fold_events(events[: end + 1]).phase.value for end in range(len(events))]


def test_the_phases_of_a_session_in_order() -> None:
    end = [
        run(610, False, 1, role="confirm"),
        run(670, True, 1, role="confirm"),
        at(680, "confirmed", gain=0.1, low=0.05, high=0.15, detail=""),
        at(690, "reported", answer="better"),
    ]
    found = phases([*started(), *rounds("KEEP", "DISCARD", "CRASH", "MARGINAL"), *end])
    assert found[:7] == ["prepare", *["baseline"] * 5, "proposing"]
    assert found[7:11] == ["experiment", "judging", "judging", "proposing"]
    assert found[-5:] == ["confirming", "confirming", "confirming", "reporting", "reported"]


def test_where_it_is_in_the_second_round() -> None:
    events = [*started(), *rounds("KEEP"), run(310, False, 2)]
    found = of(events, 330)
    assert (found["state"], found["round"], found["rounds"]) == ("running", 2, 4)
    (work,) = found["current"]
    assert work["description"] == "edit 2"
    assert (work["elapsed_seconds"], work["budget_seconds"]) == (20.0, 60.0)
    assert (found["baseline"], found["best"], found["noise"]) == (0.6, 0.5, 0.01)
    assert found["counts"] == {"experiments": 1, "keep": 1, "discard": 0, "crash": 0}
    # Three more rounds of the first one's 90 seconds, four runs to confirm, 40 s gone.
    assert found["seconds_left"] == 3 * 90 + 4 * 60 - 40


def test_a_retest_is_judging_and_an_agent_is_proposing() -> None:
    events = [*started(), run(210, False, 1), run(270, True, 1), run(280, False, 1, replicate=1)]
    assert fold_events(events).phase is Phase.JUDGING
    asked = at(310, "agent_asked", round=2, slot=0, attempt=1, agent="codex", minutes=20.0)
    found = of([*started(), *rounds("KEEP"), asked], 370)
    assert found["phase"] == "proposing"
    assert found["current"][0]["elapsed_seconds"] == 60.0
    assert found["current"][0]["budget_seconds"] == 1200.0
    answered = {**asked, "event": "agent_answered"}
    assert of([*started(), *rounds("KEEP"), asked, answered], 370)["current"] == []


def test_a_session_that_nobody_runs_is_stale_and_says_how_to_go_on() -> None:
    found = of([*started(), run(210, False, 1)], 230, owned=False)
    assert found["state"] == "stale"
    assert found["why"] == f"nobody runs it, its last event is 20 s ago; go on with: {AGAIN}"


def test_a_run_that_should_have_ended_is_stale_and_not_before() -> None:
    events = [*started(), run(210, False, 1)]
    due = 210 + 300 + GRACE_SECONDS
    for owned in (True, None):
        assert of(events, due - 1, owned)["state"] == "running"
        assert of(events, due + 1, owned)["state"] == "stale"
    assert "see whether the machine hangs" in of(events, due + 1)["why"]
    assert "go on with" in of(events, due + 1, None)["why"]


def test_silence_between_runs_has_a_limit_too() -> None:
    events = [*started(), *rounds("KEEP")]
    assert of(events, 300 + HARNESS_SECONDS - 1)["state"] == "running"
    assert of(events, 300 + HARNESS_SECONDS + 1)["state"] == "stale"


def test_the_end_by_a_limit_and_going_on_after_it() -> None:
    ended = at(310, "stopped", reason="deadline", detail="the time limit is over", round=2)
    events = [*started(), *rounds("KEEP"), ended]
    found = of(events, 311)
    assert found["phase"] == "confirming"
    assert found["stop"] == {"reason": "deadline", "detail": "the time limit is over"}
    reported = at(400, "reported", answer="better")
    assert of([*events, reported], 9999, owned=False)["state"] == "finished"
    assert of([*events, reported], 9999, owned=False)["answer"] == "better"
    again = [*events, reported, at(500, "resumed", rounds=9)]
    assert of(again, 501, owned=True)["state"] == "running"
    assert of(again, 501, owned=False)["state"] == "finished", "it had nothing to do"
    going = of([*again, run(510, False, 2)], 511)
    assert (going["state"], going["stop"], going["rounds"]) == ("running", None, 9)


def test_a_failed_step_is_said_until_the_session_goes_on() -> None:
    failed = at(310, "failed", step="judge", error="StoreError", message="no room")
    found = of([*started(), failed], 311, owned=False)
    assert (found["state"], found["why"]) == ("failed", "judge: no room")
    assert of([*started(), failed, at(320, "resumed", rounds=4)], 321)["state"] == "running"


@pytest.mark.parametrize(("owned", "state"), [(True, "running"), (False, "failed")])
def test_one_that_is_refused_does_not_stop_the_one_that_runs(owned: bool, state: str) -> None:
    refused = at(310, "failed", step="start", error="FixedInputChangedError", message="changed")
    assert of([*started(), run(300, False, 1), refused], 311, owned)["state"] == state
    done = [*started(), at(300, "reported", answer="better"), refused]
    assert of(done, 311, owned=False)["state"] == "finished"


def test_a_session_by_hand_waits_for_the_next_edit() -> None:
    events = [*started(proposer="hand"), *rounds("KEEP")]
    assert of(events, 99999, owned=False)["state"] == "waiting"
    assert of([*events, run(310, False, 2)], 311, owned=False)["state"] == "stale"


def test_what_is_judged_again_counts_once_and_a_new_start_counts_anew() -> None:
    events = [*started(), *rounds("KEEP", "DISCARD"), verdict(900, 1, "DISCARD")]
    found = of(events, 901)
    assert found["counts"] == {"experiments": 2, "keep": 0, "discard": 2, "crash": 0}
    assert [entry["number"] for entry in found["verdicts"]] == [1, 2]
    assert of([*events, *started()], 901)["counts"]["experiments"] == 0


def test_alarms_are_kept() -> None:
    moved = at(395, "remeasured", round=3, number=1, alarm=True)
    found = of([*started(), *rounds("KEEP", "TAMPERED"), moved, moved | {"alarm": False}], 400)
    assert found["alarms"] == [
        "round 2: experiment 2 was tampered with",
        "round 3: the incumbent moved",
    ]
    assert found["counts"]["crash"] == 1


def test_folding_in_parts_is_folding_at_once() -> None:
    events = [*started(), *rounds("KEEP", "CRASH", "DISCARD")]
    for cut in range(len(events)):
        parts = fold_events(events[cut:], fold_events(events[:cut]))
        assert parts == fold_events(events)


def test_damaged_events_never_raise_and_change_little() -> None:
    """Any field of any event may hold anything that JSON can."""
    draw = random.Random(7)
    odd: list[Any] = [None, -1, 1e308, float("nan"), "", "x" * 99, [], {}, True, 10**400, "KEEP"]
    whole = [*started(), *rounds("KEEP", "CRASH", "DISCARD", "MARGINAL")]
    for _ in range(300):
        events = [dict(event) for event in whole]
        for event in draw.sample(events, 5):
            name = draw.choice(sorted(event))
            event[name] = draw.choice(odd)
            if draw.random() < 0.3:
                del event[name]
        events = [event for event in events if "event" in event]
        found = of(events, 700, draw.choice([True, False, None]))
        assert found["state"] in list(SessionRunState)
        assert json.dumps(found, allow_nan=False)


def test_an_unknown_event_is_a_sign_of_life_and_nothing_else() -> None:
    before, after = fold_events(started()), fold_events([*started(), at(999, "new_thing")])
    assert after.last == NOW + 999
    known = {"last": before.last, "last_event": before.last_event}
    assert replace(after, **known) == before


def test_a_tournament_and_its_competitors() -> None:
    """The tournament is silent while its competitors write journals of their own."""
    quiet = NOW + 200 + 2 * HARNESS_SECONDS
    standing = fold_events(started())
    assert session_state(standing, quiet, owned=True)[0] is SessionRunState.STALE
    standing.elsewhere(quiet - 5)
    assert session_state(standing, quiet, owned=True)[0] is SessionRunState.RUNNING
    assert session_state(standing, quiet, owned=False)[0] is SessionRunState.STALE
    told = at(900, "pollinated", number=1, leader="radical", offers=2)
    assert of([*started(), told], 5000)["answer"] == "radical leads after round 1"
    assert of([*started(), told, at(6000, "evolved", answer="radical won")], 9999)["page"] == (
        "evolve.html"
    )
    leg = at(900, "leg_finished", number=1, kept=2, mean=0.5, sd=0.1, runs=4)
    competitor = [*started()[2:], *rounds("KEEP"), leg]
    assert of(competitor, 99999, owned=None)["state"] == "waiting"
    assert of(competitor, 99999, owned=False)["state"] == "finished"
    assert of([*competitor, run(1000, False, 2)], 1001, owned=None)["state"] == "running"


def test_an_audit_runs_kept_changes_again_until_its_page_is_there() -> None:
    begun = [*started()[:2], run(10, False, 77, role="rerun", replicate=1, description="line 3")]
    found = of(begun, 40)
    assert (found["phase"], found["state"]) == ("running again", "running")
    assert phase_line(found) == "running kept changes again"
    assert current_work(found) == ["line 3, seed 2, 30 s of 60 s"]
    ended = [*begun, run(70, True, 77, role="rerun", replicate=1)]
    last = of([*ended, at(80, "audited", answer="1 of 2 kept changes hold")], 9999, owned=False)
    assert (last["state"], last["page"]) == ("finished", "audit.html")
    assert last["answer"] == "1 of 2 kept changes hold"
