"""The facts of a session: every form of the answer, and None staying None."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import report_records as sample
from ratchet.base.structs import replace
from ratchet.base.text import (
    DASH,
    DIFF_LIMIT,
    LOG_LIMIT,
    clean_text,
    decimals_for,
    format_duration,
    format_number,
    format_percent,
    head_text,
    one_line_label,
    tail_text,
)
from ratchet.records.records import (
    Confirmation,
    Direction,
    Outcome,
    Remeasurement,
    StopReason,
    Verdict,
)
from ratchet.report.facts import alarm_remark, build_facts, experiment_remarks


@pytest.fixture(scope="module")
def records():
    return sample.session()


def test_answer_confirmed(records):
    facts = build_facts(records)
    assert facts["answer"]["kind"] == "confirmed"
    assert facts["answer"]["sentence"] == (
        "val_bpb 3.412 → 2.929 (gain 0.483, 95 % interval 0.462 to 0.504, confirmed with "
        "3 fresh seeds each); 5 of 12 experiments kept, of which 3 would survive a stricter "
        "test; expected false keeps 0.4; 27 runs, 1.3 minutes of training; inputs intact."
    )


def _confirmed(records, **changes):
    return build_facts(
        sample.changed(records, confirmation=replace(records.history.confirmation, **changes))
    )


def test_answer_when_the_interval_holds_zero_or_is_missing(records):
    facts = _confirmed(records, gain=0.004, low=-0.017, high=0.025)
    assert facts["answer"]["kind"] == "not_confirmed"
    assert "−0.017 to 0.025 includes zero" in facts["answer"]["sentence"]
    facts = _confirmed(records, gain=-0.1, low=-0.12, high=-0.08)
    assert facts["answer"]["sentence"].startswith("Confirmed to be worse: val_bpb")
    facts = _confirmed(records, low=None, high=None)
    assert (
        "gain 0.483 with 3 fresh seeds each, too few for an interval"
        in (facts["answer"]["sentence"])
    )


def test_answer_when_confirmation_failed(records):
    facts = _confirmed(records, gain=None, low=None, high=None, detail="2 of 3 runs crashed")
    assert facts["answer"]["kind"] == "confirmation_failed"
    assert "confirmation failed: 2 of 3 runs crashed" in facts["answer"]["sentence"]
    assert facts["confirmation"]["gain"] is None


def test_answer_while_unfinished(records):
    early = sample.changed(
        records,
        confirmation=None,
        verdicts=records.history.verdicts[:5],
        states=records.history.states[:5],
        proposals=records.history.proposals[:6],
    )
    facts = build_facts(early)
    assert facts["answer"]["sentence"].startswith("Unfinished after 5 rounds: val_bpb 3.406 → ")
    assert facts["counts"]["judged"] == 5 and facts["counts"]["pending"] == 1
    assert facts["experiments"][5]["verdict"] is None
    start = build_facts(sample.changed(early, verdicts=(), states=(), proposals=()))
    assert "nothing kept so far; no experiment judged" in start["answer"]["sentence"]


def test_answer_when_nothing_was_kept(records):
    verdicts = tuple(
        replace(v, rulings=tuple(replace(r, verdict=Verdict.DISCARD) for r in v.rulings))
        for v in records.history.verdicts
    )
    facts = build_facts(
        sample.changed(records, verdicts=verdicts, confirmation=Confirmation(champion=0))
    )
    assert facts["answer"]["sentence"].startswith(
        "No improvement found: val_bpb stays at 3.406 (sd 0.013 over 3 baseline runs); "
        "0 of 12 experiments kept; 21 runs"
    )


@pytest.mark.parametrize("reason", list(StopReason))
def test_stopped_early(records, reason):
    last = replace(records.history.verdicts[-1], rulings=(), stop=reason, detail="at 2.93")
    stopped = sample.changed(records, verdicts=(*records.history.verdicts[:-1], last))
    facts = build_facts(stopped)
    assert facts["stop"]["reason"] == reason.value and facts["stop"]["round"] == 12
    assert f"; stopped early because {facts['stop']['text']}." in facts["answer"]["sentence"]
    assert facts["rounds"] == 11


def test_without_any_baseline_value_nothing_becomes_zero(records):
    broken = tuple(
        replace(r, value=None, outcome=Outcome.CRASH, memory_mb=None)
        for r in records.history.baseline.runs
    )
    facts = build_facts(
        sample.changed(
            records,
            baseline=replace(records.history.baseline, runs=broken),
            proposals=(),
            verdicts=(),
            states=(),
            confirmation=None,
            runs={},
        )
    )
    assert facts["answer"]["kind"] == "no_baseline"
    assert facts["baseline"] | {"runs": 0} == facts["baseline"] | {
        "mean": None, "sd": None, "n": 0, "failed": 3, "values": [], "runs": 0,
    }  # fmt: skip
    assert facts["noise"]["sd"] is None
    assert facts["totals"]["train_seconds"] is None and facts["totals"]["runs"] == 3


def test_crashes_and_missing_measurements_stay_none(records):
    facts = build_facts(records)
    crashed = facts["experiments"][3]
    assert crashed["status"] == "crash" and crashed["outcome"] == "crash"
    for name in ("mean", "delta", "delta_sd", "gain", "confidence", "memory_mb", "seconds"):
        assert crashed[name] is None
    assert "ValueError" in crashed["log_tail"]
    assert [(c["outcome"], len(c["experiments"])) for c in facts["crashes"]] == [
        ("crash", 1),
        ("timeout", 1),
    ]


def test_retest_has_its_runs(records):
    retested = build_facts(records)["experiments"][5]
    assert retested["n"] == 3 and len({r["key"] for r in retested["runs"]}) == 3
    assert retested["seconds"] == pytest.approx(sum(r["train_seconds"] for r in retested["runs"]))


def test_direction_maximise():
    facts = build_facts(sample.session(direction=Direction.MAXIMIZE))
    assert facts["metric"]["better"] == "higher"
    assert facts["confirmation"]["gain"] > 0
    assert facts["answer"]["kind"] == "confirmed"
    kept = [e for e in facts["experiments"] if e["status"] == "keep"]
    assert all(e["gain"] > 0 for e in kept) and kept[0]["delta"] > 0


def test_facts_are_plain_json_and_reproducible(records):
    facts = build_facts(records)
    packed = json.dumps(facts, sort_keys=True, allow_nan=False)
    assert json.loads(packed) == facts
    assert packed == json.dumps(build_facts(sample.session()), sort_keys=True)


def test_not_a_number_becomes_none(records):
    ruling = replace(records.history.verdicts[0].rulings[0], mean=float("nan"), gain=float("inf"))
    verdict = replace(records.history.verdicts[0], rulings=(ruling,))
    facts = build_facts(sample.changed(records, verdicts=(verdict, *records.history.verdicts[1:])))
    assert facts["experiments"][0]["mean"] is None and facts["experiments"][0]["gain"] is None


def test_a_run_used_twice_counts_once(records):
    both = replace(records.history.confirmation, baseline_runs=records.history.baseline.runs)
    assert build_facts(sample.changed(records, confirmation=both))["totals"]["runs"] == 24


def test_long_texts_are_cut_and_say_so(records):
    key = records.history.verdicts[0].rulings[0].runs[0].key
    logs = {**records.logs, key: "x" * 1_000_000 + "\nlast line"}
    proposal = replace(records.history.proposals[0].proposals[0], diff="+ line\n" * 100_000)
    group = replace(records.history.proposals[0], proposals=(proposal,))
    facts = build_facts(
        sample.changed(
            records,
            logs=logs,
            proposals=(group, *records.history.proposals[1:]),
        )
    )
    first = facts["experiments"][0]
    assert len(first["log_tail"].encode()) <= LOG_LIMIT + 80
    assert first["log_tail"].endswith("last line") and "1,000,010 characters" in first["log_tail"]
    assert len(first["diff"].encode()) <= DIFF_LIMIT + 80
    assert first["diff"].endswith("[cut: only the beginning of 700,000 characters is shown]")


def test_clean_makes_the_invisible_visible():
    assert clean_text("\x1b[31mred\x1b[0m\x00 a\u202eb\ufeff\u2028\x85") == (
        "red␀ a⟨U+202E⟩b⟨U+FEFF⟩⟨U+2028⟩⟨U+0085⟩"
    )
    assert clean_text("\x1b]8;;http://evil\x07link\x1b]8;;\x07") == "link"
    assert clean_text("\ud800") == "⟨U+D800⟩"
    assert clean_text("naïve — λ² 漢字 é") == "naïve — λ² 漢字 é"
    assert len(clean_text("a" + "\u0301" * 500)) < 12
    assert tail_text("10%\r50%\r100%\ndone\r\n", 100) == "100%\ndone"


@given(st.text())
def test_clean_settles_at_once(value):
    cleaned = clean_text(value)
    assert clean_text(cleaned) == cleaned
    assert "\x1b" not in cleaned and "\u202e" not in cleaned and "\r" not in cleaned
    cleaned.encode()
    one_line_label(value, 10), head_text(value, 10).encode(), tail_text(value, 10).encode()


def test_numbers_in_words():
    assert format_number(None) == DASH and format_number(float("nan")) == DASH
    assert format_number(-0.0001, 2, signed=True) == "0.00" and format_number(-1.5, 1) == "−1.5"
    assert format_percent(1.0) == "> 99.9 %" and format_percent(0.0) == "< 0.1 %"
    assert format_duration(84) == "1.4 minutes" and format_duration(7200) == "2.0 hours"
    assert decimals_for(0.0104, 3.4) == 3 and decimals_for(4e-4, 1.0) == 5
    assert decimals_for(None, None) == 4 and decimals_for(0.0, 250.0) == 1


def test_a_second_cut_remembers_the_whole_length():
    once = head_text("line\n" * 1000, 200)
    assert head_text(once, 50).endswith("only the beginning of 5,000 characters is shown]")
    assert head_text(once, 50).count("[cut") == 1
    once = tail_text("line\n" * 1000, 200)
    assert tail_text(once, 50).startswith("[cut: only the end of 5,000 characters is shown]")
    assert tail_text(once, 50).count("[cut") == 1
    assert head_text("[cut: only the end of ,, characters is shown]\nx", 99).endswith("x")


def with_rulings(records, number, **changes):
    """The records with another ruling on one experiment."""
    verdicts = tuple(
        replace(v, rulings=tuple(replace(r, **changes) for r in v.rulings))
        if v.round == number
        else v
        for v in records.history.verdicts
    )
    return sample.changed(records, verdicts=verdicts)


def test_prices_memory_and_second_tries_are_told(records):
    changed = with_rulings(
        records, 6, price=0.02, net_lines=20, memory_ratio=1.5, near_miss=True,
        pareto="DOMINATED", pareto_low=0.2, pareto_high=0.4,
    )  # fmt: skip
    again = replace(changed.history.proposals[6].proposals[0], retry_of=6)
    groups = [*changed.history.proposals]
    groups[6] = replace(groups[6], proposals=(again,))
    facts = build_facts(sample.changed(changed, proposals=tuple(groups)))
    missed, second, other = (facts["experiments"][i] for i in (5, 6, 7))
    assert (missed["near_miss"], missed["retried_as"], missed["retry_of"]) == (True, 7, None)
    assert (second["near_miss"], second["retried_as"], second["retry_of"]) == (False, None, 6)
    assert experiment_remarks(missed, 3) == [
        "Near miss: probably better, but another candidate of its round was kept; tried again as "
        "experiment 7.",
        "For a keep it had to be better by more than 0.0200 (20 code lines more, 1.50 times the "
        "memory).",
        "DOMINATED in metric and memory: with a probability of 0.20 to 0.40 nothing kept before "
        "is better without needing more memory.",
    ]
    assert experiment_remarks(second, 3) == [
        "The edit of experiment 6, tried again on another incumbent."
    ]
    assert experiment_remarks(other, 3) == []
    saved = {**other, "price": -0.004, "net_lines": -1, "memory_ratio": None}
    assert experiment_remarks(saved, 3) == [
        "It was allowed to cost up to 0.0040 (1 code line less)."
    ]


def check_of(records, number, **changes):
    """The records with a check of the incumbent before one round."""
    run = replace(records.history.baseline.runs[0], key=f"{number:064d}")
    found = Remeasurement(number=1, run=run, expected=3.0, sd=0.1, z=4.06, alarm=True)
    verdicts = [*records.history.verdicts]
    verdicts[number - 1] = replace(verdicts[number - 1], remeasured=replace(found, **changes))
    return sample.changed(records, verdicts=tuple(verdicts))


def test_checks_of_the_incumbent_and_their_runs(records):
    failed = replace(
        records.history.baseline.runs[0], key="f" * 64, value=None, outcome=Outcome.CRASH
    )
    changed = check_of(check_of(records, 3), 5, run=failed, z=None, alarm=False)
    more = replace(records.history.baseline.runs[0], key="e" * 64)
    verdicts = (
        replace(changed.history.verdicts[0], incumbent_runs=(more,)),
        *changed.history.verdicts[1:],
    )
    facts = build_facts(sample.changed(changed, verdicts=verdicts))
    assert [(c["round"], c["alarm"], c["z"]) for c in facts["remeasurements"]] == [
        (3, True, 4.06),
        (5, False, None),
    ]
    assert facts["remeasurements"][1]["value"] is None
    assert facts["totals"]["phases"]["incumbent"] == 3
    assert facts["totals"]["runs"] == build_facts(records)["totals"]["runs"] + 3
    assert alarm_remark(facts["remeasurements"][0], 2).startswith(
        "The incumbent moved: before round 3, experiment 1 was expected at 3.00 ± 0.10 and measured"
    )


def test_the_mode_and_its_promise_are_stated(records):
    assert (
        build_facts(records)["answer"]["standard"] == "Mode gain: a keep needs P(better) of 60.0 %"
    )
    judge = {"mode": "guaranteed", "keep_probability": 0.8, "false_keep_bound": 0.05}
    last = replace(records.history.verdicts[-1], error_spent=0.0123)
    facts = build_facts(
        sample.changed(records, judge=judge, verdicts=(*records.history.verdicts[:-1], last))
    )
    assert facts["judge"]["error_spent"] == 0.0123
    assert facts["answer"]["standard"] == (
        "Mode guaranteed: a keep needs P(better) of 80.0 % and a test; at most 0.05 false keeps "
        "are to be expected, 0.012 spent"
    )
    verdict = next(e["text"] for e in facts["method"] if e["term"] == "Verdict")
    assert "levels that sum to 0.05 over the session" in verdict
    assert "fresh" not in next(
        e["text"] for e in build_facts(records)["method"] if e["term"] == "Verdict"
    )


@pytest.mark.parametrize(
    ("line", "memory", "words"),
    [
        (0.001, 0.1, "a line of code cost 0.00100 and twice the memory 0.06931"),
        (0.0, 0.0, "both were free"),
        (None, None, "better by more than its price. What"),
    ],
)
def test_prices_are_stated(records, line, memory, words):
    judge = {**records.judge, "line_price": line, "memory_price": memory}
    entry = next(
        e
        for e in build_facts(sample.changed(records, judge=judge))["method"]
        if e["term"] == "Price"
    )
    assert words in entry["text"]


def test_gpu_sessions_count_gpu_hours(records):
    runs = {
        key: replace(
            d, metrics={"training_seconds": 360.0}, telemetry={"utilisation": {"mean": 93.0}}
        )
        for key, d in records.runs.items()
    }
    facts = build_facts(sample.changed(records, device="gpu", runs=runs))
    assert "27 runs, 2.7 GPU-hours; inputs intact." in facts["answer"]["sentence"]
    assert facts["timeline"]["gpu_utilisation"] == 93.0


def test_no_keep_survives_and_none_is_said(records):
    quiet = with_rulings(records, 1, delta=-0.001)
    for number in range(2, 13):
        quiet = with_rulings(quiet, number, delta=-0.001)
    facts = build_facts(quiet)
    assert facts["strict"]["survive"] == 0
    assert "kept, of which none would survive a stricter test" in facts["answer"]["sentence"]
