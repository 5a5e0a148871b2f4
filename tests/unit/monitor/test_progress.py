"""How a session stands, from its events alone, whatever state they are in."""

import json
import random
from typing import Any

import pytest

from helpers.session_events import NOW, at, rounds, run, started, verdict
from ratchet.base.structs import replace
from ratchet.monitor.progress import (
    GRACE_SECONDS,
    HARNESS_SECONDS,
    SessionRunState,
    current_work,
    fold_events,
    phase_line,
    seconds_left,
    session_state,
    standing_facts,
    standing_rows,
    tried_counts,
    work_age,
    work_name,
)

AGAIN = "snakemake --cores 1"

COUNTS = dict.fromkeys(("experiments", "keep", "discard", "crash", "diverged"), 0)


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


def test_another_scale_is_a_phase_between_confirmation_and_report() -> None:
    told = {"standing": "holds", "scale": {"words": "at 3 times the budget (180 s)"}, "level": 0.95}
    told |= {"gain": 0.1, "low": 0.05, "high": 0.15, "data": "search", "unseen": None}
    told |= {"search": {"gain": 0.1, "low": 0.05, "high": 0.15}, "detail": ""}
    told |= {"share": 1.0, "share_low": 0.5, "share_high": 1.5}
    judged = [{**e, "transfer_weight": 12.0} for e in rounds(*["KEEP"] * 4)]
    events = [
        *started(transfer_runs=4),
        *judged,
        *(run(610 + 60 * n, True, 1, role="confirm", replicate=n) for n in range(4)),
        at(900, "confirmed", gain=0.1, low=0.05, high=0.15, detail=""),
        at(910, "transferring", scale="at 3 times the budget (180 s)", runs=4),
        run(920, False, 0, role="transfer"),
        run(1100, True, 0, role="transfer", wall_seconds=180.0),
        at(1700, "transferred", **told),
        at(1710, "reported", answer="better"),
    ]
    assert phases(events)[-7:-1] == ["confirming", *["transferring"] * 4, "reporting"]
    # Four runs of three times the budget, by the pace of the search and then by their own.
    assert of(events[:-5], 900)["seconds_left"] == 12 * 60
    assert of(events[:-2], 1100)["seconds_left"] == 3 * 180
    assert of(events[:-6], 890)["seconds_left"] == 12 * 60
    assert phase_line(of(events[:-4], 911)) == "comparing the champion at another scale"
    (work,) = current_work(of(events[:-3], 930))
    assert work.startswith("baseline at another scale, fresh seed 1")
    # A quarter of an hour in which data are prepared is no sign that it died.
    assert of(events[:-4], 910 + 2 * HARNESS_SECONDS)["state"] == "running"
    done = of(events, 1711)
    assert done["transferred"]["standing"] == "holds"
    assert ("scale", "the gain holds at 3 times the") in [
        (name, text[:29]) for name, text in standing_rows(done)
    ]
    # A search that goes on has no such comparison yet.
    assert of([*events, run(1800, False, 5)], 1801)["transferred"] is None


FIRST = [*started(), *rounds("KEEP")]
TRAINING = [*started(), run(210, False, 1)]
RETESTED = [*TRAINING, run(270, True, 1), run(280, False, 1, replicate=1)]
ASKED = [*FIRST, at(310, "agent_asked", round=2, slot=0, attempt=1, agent="codex", minutes=20.0)]
AHEAD = [*TRAINING, at(215, "agent_asked", round=2, slot=0, attempt=1, agent="codex", minutes=20.0)]
WAITING = at(320, "agent_waiting", round=2, slot=0, attempt=1, agent="codex", why="it is down")
WAITING |= {"words": "HTTP 503", "seconds": 600.0, "left_seconds": 7000.0}
DUE = 210 + 300 + GRACE_SECONDS
QUIET = 300 + HARNESS_SECONDS
STOPPED = [
    *FIRST,
    at(310, "stopped", reason="deadline", detail="the time limit is over", round=2),
]
LATER = [*STOPPED, at(400, "reported", answer="better"), at(500, "resumed", rounds=9)]
GOING = [*LATER, run(510, False, 2)]
FAILED = [*started(), at(310, "failed", step="judge", error="StoreError", message="no room")]
REFUSED = at(310, "failed", step="start", error="FixedInputChangedError", message="changed")
DONE = [*started(), at(300, "reported", answer="better"), REFUSED]
BY_HAND = [*started(proposer="hand"), *rounds("KEEP")]
# A tournament is silent while its competitors, who own no folder, write journals of their own.
CUP = [*started(), at(900, "pollinated", number=1, leader="radical", offers=2)]
WON = [*CUP, at(6000, "evolved", answer="radical won")]
LEG = [*started()[2:], *rounds("KEEP")]
LEG += [at(900, "leg_finished", number=1, kept=2, mean=0.5, sd=0.1, runs=4)]
AGAIN_RUN = [*started()[:2], run(10, False, 77, role="rerun", replicate=1, description="line 3")]
AUDITED = [*AGAIN_RUN, run(70, True, 77, role="rerun", replicate=1)]
AUDITED += [at(80, "audited", answer="1 of 2 kept changes hold")]
NOBODY = f"nobody runs it, its last event is 20 s ago; go on with: {AGAIN}"
STOP = {"reason": "deadline", "detail": "the time limit is over"}


def test_a_run_shows_its_device_or_what_it_waits_for() -> None:
    waits = {**run(310, False, 2), "event": "run_waiting", "why": "waits for\na GPU: it is used"}
    known = of([*FIRST, waits], 310 + 3600)
    assert known["state"] == "running", "a wait may take hours"
    (text,) = current_work(known)
    assert text.startswith("experiment 2: ")
    assert text.endswith(", waits for a GPU: it is used, 60 min")
    # It has its device while its code compiles, which may take longer than any other silence.
    compiles = {**run(315, False, 2), "event": "warm_up_started"}
    known = of([*FIRST, waits, compiles], 315 + HARNESS_SECONDS + 600)
    assert known["state"] == "running"
    (text,) = current_work(known)
    assert text.endswith(", compiling first, 25 min")
    begun = {**run(320, False, 2), "device": {"index": 1, "uuid": "GPU-1", "name": "H200"}}
    (text,) = current_work(of([*FIRST, waits, begun], 330))
    assert ", GPU 1, 10 s" in text
    (text,) = current_work(of([*FIRST, {**begun, "device": "odd"}], 330))
    assert "GPU" not in text


def test_an_agent_that_is_waited_for_has_a_clock() -> None:
    answered = {**ASKED[-1], "event": "agent_answered"}
    (work,) = of([*ASKED, answered, WAITING], 500)["current"]
    assert work_name(work) == "codex is waited for, it is down (“HTTP 503”)"
    assert work_age(work) == "3 min of 10 min"
    assert of([*ASKED, WAITING], 320 + 599)["state"] == "running"
    (again,) = of([*ASKED, WAITING, {**ASKED[-1], "attempt": 1}], 500)["current"]
    assert again["description"] == "codex is asked for round 2"


@pytest.mark.parametrize(
    ("events", "second", "owned", "facts"),
    [
        (RETESTED, 290, True, {"phase": "judging", "state": "running"}),
        (ASKED, 370, True, {"phase": "proposing", "state": "running"}),
        ([*ASKED, {**ASKED[-1], "event": "agent_answered"}], 370, True, {"current": []}),
        # Who is asked for a later round does not move the session there.
        (AHEAD, 230, True, {"phase": "experiment", "round": 1}),
        ([*AHEAD, run(270, True, 1)], 280, True, {"phase": "judging", "round": 1}),
        (TRAINING, 230, False, {"state": "stale", "why": NOBODY}),
        # A run that should have ended is stale, and not before.
        (TRAINING, DUE - 1, True, {"state": "running"}),
        (TRAINING, DUE - 1, None, {"state": "running"}),
        (TRAINING, DUE + 1, True, {"state": "stale", "why": "see whether the machine hangs"}),
        (TRAINING, DUE + 1, None, {"state": "stale", "why": "go on with"}),
        # Silence between runs has a limit too.
        (FIRST, QUIET - 1, True, {"state": "running"}),
        (FIRST, QUIET + 1, True, {"state": "stale"}),
        # The end by a limit, and going on after it.
        (STOPPED, 311, True, {"phase": "confirming", "stop": STOP}),
        (LATER[:-1], 9999, False, {"state": "finished", "answer": "better"}),
        (LATER, 501, True, {"state": "running"}),
        (LATER, 501, False, {"state": "finished"}),
        (GOING, 511, True, {"state": "running", "stop": None, "rounds": 9}),
        # A failed step is said until the session goes on.
        (FAILED, 311, False, {"state": "failed", "why": "judge: no room"}),
        ([*FAILED, at(320, "resumed", rounds=4)], 321, True, {"state": "running"}),
        # One that is refused does not stop the one that runs.
        ([*TRAINING, REFUSED], 311, True, {"state": "running"}),
        ([*TRAINING, REFUSED], 311, False, {"state": "failed"}),
        (DONE, 311, False, {"state": "finished"}),
        # A session by hand waits for the next edit.
        (BY_HAND, 99999, False, {"state": "waiting"}),
        ([*BY_HAND, run(310, False, 2)], 311, False, {"state": "stale"}),
        (CUP, 5000, True, {"answer": "radical leads after round 1"}),
        (WON, 9999, True, {"page": "evolve.html"}),
        (LEG, 99999, None, {"state": "waiting"}),
        (LEG, 99999, False, {"state": "finished"}),
        ([*LEG, run(1000, False, 2)], 1001, None, {"state": "running"}),
        (AGAIN_RUN, 40, True, {"phase": "running again", "state": "running"}),
        (AUDITED, 9999, False, {"state": "finished", "page": "audit.html"}),
        (AUDITED, 9999, False, {"answer": "1 of 2 kept changes hold"}),
    ],
)
def test_how_a_session_stands(
    events: list[dict[str, Any]], second: float, owned: bool | None, facts: dict[str, Any]
) -> None:
    found = of(events, second, owned)
    for name, value in facts.items():
        assert value in found[name] if name == "why" else value == found[name], name


def test_where_it_is_in_the_second_round() -> None:
    found = of([*FIRST, run(310, False, 2)], 330)
    assert (found["state"], found["round"], found["rounds"]) == ("running", 2, 4)
    (work,) = found["current"]
    assert work["description"] == "edit 2"
    assert (work["elapsed_seconds"], work["budget_seconds"]) == (20.0, 60.0)
    assert (found["baseline"], found["best"], found["noise"]) == (0.6, 0.5, 0.01)
    assert found["counts"] == COUNTS | {"experiments": 1, "keep": 1}
    # Three more rounds of the first one's 90 seconds, four runs to confirm, 40 s gone.
    assert found["seconds_left"] == 3 * 90 + 4 * 60 - 40


def test_what_is_at_work_is_told_with_its_time() -> None:
    (asked,) = of(ASKED, 370)["current"]
    assert (asked["elapsed_seconds"], asked["budget_seconds"]) == (60.0, 1200.0)
    rerun = of(AGAIN_RUN, 40)
    assert phase_line(rerun) == "running kept changes again"
    assert current_work(rerun) == ["line 3, seed 2, 30 s of 60 s"]


def test_events_of_competitors_are_signs_of_life() -> None:
    quiet = NOW + 200 + 2 * HARNESS_SECONDS
    standing = fold_events(started())
    assert session_state(standing, quiet, owned=True)[0] is SessionRunState.STALE
    standing.elsewhere(quiet - 5)
    assert session_state(standing, quiet, owned=True)[0] is SessionRunState.RUNNING
    assert session_state(standing, quiet, owned=False)[0] is SessionRunState.STALE


def test_what_is_judged_again_counts_once_and_a_new_start_counts_anew() -> None:
    lost = {"diverged": "training loss nan from step 9 on"}
    events = [*started(), *rounds("KEEP", "DISCARD"), verdict(900, 1, "CRASH", **lost)]
    found = of(events, 901)
    assert found["counts"] == COUNTS | {"experiments": 2, "discard": 1, "crash": 1, "diverged": 1}
    assert tried_counts(found) == "2: 0 kept, 1 discarded, 1 crashed, 1 of them diverged"
    assert found["verdicts"][0]["description"] == "edit 1 (diverged)"
    assert [entry["number"] for entry in found["verdicts"]] == [1, 2]
    assert of([*events, *started()], 901)["counts"]["experiments"] == 0


def test_a_run_that_is_made_again_is_counted_apart() -> None:
    again = [run(310, False, 1), run(340, True, 1, again=True)]
    events = [*started(), *again, *rounds("KEEP")]
    found = of(events, 400)
    assert found["runs"] == 3
    assert found["repeated"] == 1
    assert ("busy", "1 slowed run made again") in standing_rows(found)
    assert "busy" not in dict(standing_rows(of([*started(), *rounds("KEEP")], 400)))


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


def test_several_proposers_have_a_line_of_their_records() -> None:
    told = [("declared", "KEEP"), ("tpe", "DISCARD"), ("declared", "CRASH"), ("tpe", "STRONG_KEEP")]
    events = started()
    for number, (name, word) in enumerate(told, 1):
        events.append(verdict(200 + 100 * number, number, word, proposer=name))
    found = of(events, 700)
    assert found["proposers"] == [
        {"name": "declared", "tried": 2, "kept": 1},
        {"name": "tpe", "tried": 2, "kept": 1},
    ]
    assert ("kept by", "declared 1 of 2, tpe 1 of 2") in standing_rows(found)
    alone = of(events[:-3], 700)
    assert "kept by" not in dict(standing_rows(alone))
