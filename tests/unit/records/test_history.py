"""The history of a session: its trials, and how it is read while rounds are being written."""

from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.trials import history, proposal, run, trial
from ratchet.base.errors import DataError, InputMissingError
from ratchet.base.io import read_bytes, write_bytes, write_json
from ratchet.base.structs import from_json_values, replace, to_json_values
from ratchet.records.history import (
    BASELINE,
    History,
    SeedEffect,
    Trial,
    evidence,
    finished_rounds,
    seed_effect,
)
from ratchet.records.paths import SessionPaths
from ratchet.records.proposals import Edit, Proposals
from ratchet.records.records import (
    Confirmation,
    Outcome,
    Remeasurement,
    RoundVerdict,
    RunSummary,
    Status,
    StopReason,
    Verdict,
)

trials = st.builds(
    trial,
    number=st.just(1),
    category=st.sampled_from(["optimizer", "data"]),
    description=st.text(max_size=20),
    verdict=st.sampled_from([*Verdict]),
    mean=st.floats(-1e9, 1e9),
    delta=st.none() | st.floats(-1e9, 1e9),
    confidence=st.none() | st.floats(0, 1),
    gain=st.none() | st.floats(-1e9, 1e9),
    reason=st.text(max_size=20),
)
sessions = st.lists(trials, max_size=6).map(
    lambda found: history([_numbered(one, n) for n, one in enumerate(found, 1)])
)


def _numbered(one: Trial, number: int) -> Trial:
    ruling = None if one.ruling is None else replace(one.ruling, number=number)
    made = replace(one.proposal, number=number, source=f"source {number}")
    return replace(one, proposal=made, ruling=ruling)


def write(past: History, paths: SessionPaths) -> None:
    """The files of a session, as its steps leave them."""
    write_json(paths.baseline, past.baseline)
    for made, ruled in zip(past.proposals, past.verdicts, strict=True):
        write_json(paths.round(made.round).proposals, made)
        write_json(paths.round(made.round).verdict, ruled)
    for state in past.states:
        write_json(paths.round(state.round).steer, state)
    if past.confirmation is not None:
        write_json(paths.confirmation, past.confirmation)


FIRST = trial(1, "optimizer", "BETA2", mean=3.1, delta=0.1, confidence=0.2)
SECOND = trial(2, "data", "shorter", Verdict.KEEP, mean=2.8, delta=-0.2, gain=0.19)
THIRD = trial(3, "other", "no", Verdict.CRASH, reason="boom")
PAST = history((FIRST, SECOND, THIRD), confirmation=Confirmation(2, (run(3.0),), (run(2.9),)))


@settings(max_examples=30)
@given(past=sessions)
def test_what_is_written_is_read_again(past: History, tmp_path_factory) -> None:
    paths = SessionPaths("s", tmp_path_factory.mktemp("root"))
    write(past, paths)
    assert History.read(paths) == past
    assert finished_rounds(paths) == len(past.verdicts)
    for last in range(len(past.verdicts) + 1):
        early = History.read(paths, last)
        assert early.trials == past.trials[:last]
        assert early.state == past.states[last]


@given(past=sessions)
def test_every_ruling_is_a_trial_and_every_run_is_counted(past: History) -> None:
    rulings = [ruling for verdict in past.verdicts for ruling in verdict.rulings]
    assert [one.ruling for one in past.judged] == rulings
    assert [one.number for one in past.kept] == [v.kept for v in past.verdicts if v.kept]
    assert len(past.runs) == len(past.baseline.runs) + sum(len(r.runs) for r in rulings)
    assert past.state.incumbent.number == ([0] + [one.number for one in past.kept])[-1]


def test_a_round_that_is_not_finished_is_left_out(tmp_path: Path) -> None:
    paths = SessionPaths("s", tmp_path)
    write(PAST, paths)
    last = paths.round(3)
    last.steer.unlink()
    assert History.read(paths).trials == PAST.trials[:2]
    # Steering itself reads the round that it is to finish.
    judged = History.read(paths, 3)
    assert (judged.trials, len(judged.states)) == (PAST.trials, 3)
    earlier = read_bytes(paths.round(1).steer)
    paths.round(1).steer.unlink()
    with pytest.raises(InputMissingError, match="steer"):
        History.read(paths, 3)
    write_bytes(paths.round(1).steer, earlier)
    last.verdict.unlink()
    with pytest.raises(InputMissingError, match="verdict"):
        History.read(paths, 3)
    last.proposals.unlink()
    paths.confirmation.unlink()
    assert History.read(paths).confirmation is None
    paths.baseline.unlink()
    with pytest.raises(InputMissingError, match="baseline"):
        History.read(paths)


def test_rounds_after_the_end_repeat_it_and_are_left_out(tmp_path: Path) -> None:
    paths = SessionPaths("s", tmp_path)
    stopped = Proposals(4, stop=StopReason.TARGET, detail="reached")
    ended = replace(
        PAST,
        proposals=(*PAST.proposals, stopped),
        verdicts=(*PAST.verdicts, RoundVerdict(4, stop=StopReason.TARGET)),
        states=(*PAST.states, replace(PAST.state, round=4, stop=StopReason.TARGET)),
    )
    write(ended, paths)
    for number in (5, 6):
        for name in ("proposals", "verdict", "steer"):
            copied = read_bytes(getattr(paths.round(4), name))
            write_bytes(getattr(paths.round(number), name), copied)
    assert finished_rounds(paths) == 6
    assert History.read(paths) == History.read(paths, 6) == ended
    # The limit was raised: round 5 is proposed anew, and its old verdict is still there.
    write_json(paths.round(5).proposals, Proposals(5, (proposal(4),)))
    assert History.read(paths) == ended


def test_a_trial_says_what_came_of_it() -> None:
    one, two, three = PAST.trials
    assert (one.word, one.status, one.kept, one.failed) == ("DISCARD", Status.DISCARD, False, False)
    assert one.edit is None
    assert (two.word, two.status, two.kept) == ("KEEP", Status.KEEP, True)
    assert (two.mean, two.delta, two.gain, two.values) == (2.8, -0.2, 0.19, [2.8])
    assert (three.word, three.status) == ("CRASH", Status.CRASH)
    assert (three.verdict, three.failed) == (Verdict.CRASH, True)
    assert (three.mean, three.values, three.failure) == (None, [], "crash: boom")
    ruling = replace(THIRD.ruling, verdict=Verdict.TAMPERED, reason="not run: it cheats", runs=())
    refused = replace(THIRD, runs=(), ruling=ruling)
    assert (refused.telling_run, refused.failure) == (None, "not run: it cheats")
    assert (refused.failed, refused.status) == (True, Status.CRASH)
    waits = history((FIRST, trial(2, verdict=None)))
    assert [one.number for one in waits.judged] == [1]
    last = waits.trials[-1]
    assert (last.number, last.word, last.failed) == (2, "", False)
    assert last.verdict is last.status is last.mean is None
    assert Trial(replace(proposal(1), edit=Edit("constant", "LR", "0.1"))).edit == "LR=0.1"


def test_the_baseline_is_trial_0() -> None:
    start = history(baseline=(3.0, 5.0)).start
    assert (start.number, start.word, start.status) == (0, BASELINE, Status.KEEP)
    assert (start.mean, start.memory_mb, start.delta, start.confidence) == (4.0, None, None, None)
    assert not start.kept and not start.failed
    broken = replace(PAST.baseline, runs=(run(None, "boom"), run(3.0, memory_mb=7.0)))
    start = History(broken).start
    assert (start.mean, start.memory_mb) == (3.0, 7.0)
    assert start.telling_run.outcome is Outcome.CRASH


def test_a_near_miss_knows_its_second_try_and_further_runs_are_counted() -> None:
    again = replace(proposal(4), retry_of=1)
    found = replace(PAST, proposals=(*PAST.proposals, Proposals(4, (again,))))
    assert [one.retried_as for one in found.trials] == [4, None, None, None]
    check = Remeasurement(0, run(3.2), 3.0, 0.1)
    verdicts = (
        replace(PAST.verdicts[0], remeasured=check, incumbent_runs=(run(3.3),), noise_sd=0.02),
        *(replace(v, noise_sd=None) for v in PAST.verdicts[1:]),
    )
    found = replace(PAST, verdicts=verdicts)
    assert [one.value for one in found.incumbent_runs] == [3.2, 3.3]
    assert [one.value for one in found.confirmation_runs] == [3.0, 2.9]
    assert len(found.runs) == 3 + 3 + 2 + 2
    assert found.noise_sd == 0.02
    assert replace(found, verdicts=verdicts[1:]).noise_sd is None


@pytest.mark.parametrize(
    ("groups", "effect"),
    [
        ([], SeedEffect.UNKNOWN),
        ([[1.0123456], [1.0234567]], SeedEffect.UNKNOWN),  # one run each tells nothing
        ([[1.0123456, 1.0123456]], SeedEffect.NONE),
        ([[1.0123456, 1.0123456001]], SeedEffect.NONE),  # rounding
        ([[1.0123456, 1.0123456], [1.2345678, 1.2345679]], SeedEffect.SHOWN),
        # An accuracy over 200 items repeats by accident, and so do four decimals.
        ([[0.845, 0.845]], SeedEffect.UNKNOWN),
        ([[127 / 150, 127 / 150]], SeedEffect.UNKNOWN),
        ([[3.0123, 3.0123]], SeedEffect.UNKNOWN),
        ([[0.845, 0.845], [0.84, 0.84]], SeedEffect.NONE),
        ([[0.845, 0.845], [0.84], []], SeedEffect.UNKNOWN),
        ([[0.845, 0.845, 0.845]], SeedEffect.NONE),
        ([[0.845, 0.845, 0.845], [0.84, 0.845]], SeedEffect.SHOWN),
    ],
)
def test_a_seed_has_no_effect_if_runs_only_repeat(
    groups: list[list[float]], effect: SeedEffect
) -> None:
    assert seed_effect(groups) is effect


def test_accidents_of_a_coarse_metric_are_rarely_taken_for_repetitions() -> None:
    """With noise of three levels, of which the first pair is equal in one session of ten."""
    chance = Random(1)
    found = []
    for _ in range(2000):
        values = [round(0.8 + chance.gauss(0, 0.003), 3) for _ in range(3)]
        found.append(seed_effect([values]) is SeedEffect.NONE)
    assert 0 < sum(found) / len(found) < 0.02


def test_repetitions_are_no_evidence() -> None:
    assert [*evidence([1.0, 1.0, 1.0])] == [1.0]
    assert [*evidence([1.0, 1.0, 1.1])] == [1.0, 1.0, 1.1]
    assert [*evidence([])] == []


def _seeded(seed: int, value: float) -> RunSummary:
    return replace(run(value), seed=seed, key=f"key {seed}")


def test_runs_of_one_code_are_found_wherever_they_were_made() -> None:
    one, two, three, four = (_seeded(10 + n, 1.25 + n / 8) for n in range(4))
    first = replace(SECOND, proposal=proposal(1), ruling=replace(SECOND.ruling, number=1))
    past = history((first,), confirmation=Confirmation(1, (one, two), (three,)))
    again = Remeasurement(0, four, expected=1.0, sd=0.1)
    past = replace(past, verdicts=(replace(past.verdicts[0], remeasured=again),))
    assert past.replicates[0] == [3.0, 1.625, 1.25, 1.375]
    assert past.replicates[1] == [2.8, 1.5]


def test_where_the_seed_has_no_effect_no_trial_claims_a_probability() -> None:
    """Also of trials that were judged before a confirmation showed it."""
    ruling = replace(SECOND.ruling, number=1, verdict=Verdict.STRONG_KEEP, confidence=0.99)
    kept = replace(SECOND, proposal=proposal(1), ruling=ruling)
    runs = _seeded(1, 2.8123457), _seeded(2, 2.8123457)
    early = history((kept,))
    assert early.trials[0].confidence == 0.99
    late = replace(early, confirmation=Confirmation(1, (), runs))
    late = replace(late, verdicts=(replace(late.verdicts[0], rulings=(replace(ruling, runs=()),)),))
    assert late.seed_effect is SeedEffect.NONE
    (told,) = late.trials
    assert (told.confidence, told.verdict, told.gain) == (None, Verdict.KEEP, 0.19)
    assert late.noise_sd is None


def test_the_last_run_of_the_incumbent() -> None:
    def checked(past: History, number: int, value: float) -> History:
        """The history with a check before one of its rounds."""
        ruled = list(past.verdicts)
        check = Remeasurement(0, run(value), 3.0, 0.1)
        ruled[number - 1] = replace(ruled[number - 1], remeasured=check)
        return replace(past, verdicts=tuple(ruled))

    assert PAST.state.incumbent.number == 2
    assert PAST.incumbent_run.value == 2.8
    # The check before round 2 was still the baseline's.
    assert checked(PAST, 2, 5.0).incumbent_run.value == 2.8
    assert checked(PAST, 3, 5.0).incumbent_run.value == 5.0
    early = replace(PAST, proposals=(), verdicts=(), states=PAST.states[:1])
    assert early.incumbent_run == PAST.baseline.runs[-1]


@pytest.mark.parametrize(
    ("first", "second", "other"),
    [(0.012, 0.0125, False), (0.012, 0.016, True), (0.016, 0.012, True), (None, 0.016, False)],
)
def test_runs_of_another_pace_are_not_compared(first, second, other) -> None:
    one, two = (replace(run(1.0), probe_seconds=seconds) for seconds in (first, second))
    assert one.is_of_another_pace(two) is other


def test_a_trial_that_diverged_is_told_from_a_crash() -> None:
    crashed, where = trial(1, verdict=Verdict.CRASH), "training loss nan from step 9 on"
    assert (crashed.diverged, crashed.title) == ("", "d")
    run = replace(crashed.runs[0], outcome=Outcome.DIVERGED, reason="printed val: nan")
    lost = replace(crashed, runs=(run,))
    assert lost.diverged == "printed val: nan"
    assert lost.failure == "diverged: printed val: nan"
    lost = replace(crashed, runs=(replace(run, diverged=where),))
    assert (lost.diverged, lost.title) == (where, "d (diverged)")
    # One that was kept is good, whatever its loss did.
    good = replace(trial(2).runs[0], diverged=where)
    assert replace(trial(2), runs=(good,)).title == "d (diverged)"
    assert replace(trial(2, verdict=Verdict.KEEP), runs=(good,)).diverged == ""


def test_records_that_call_a_diverged_run_nan_are_read() -> None:
    values = to_json_values(RunSummary("k", 1, Outcome.DIVERGED, "", None, None))
    assert values["outcome"] == "diverged" and "diverged" not in values
    old = from_json_values(RunSummary, {**values, "outcome": "nan"})
    assert old.outcome is Outcome.DIVERGED
    with pytest.raises(DataError):
        from_json_values(RunSummary, {**values, "outcome": "nonsense"})
