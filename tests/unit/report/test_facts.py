"""The facts of a session: every form of the answer, and None staying None."""

import datetime
import json
import shlex
import subprocess
import sys

import pytest

from helpers import report_records as sample
from helpers.clones import Clone
from ratchet.base.structs import replace
from ratchet.base.text import DIFF_LIMIT, LOG_LIMIT
from ratchet.records.proposals import Proposals
from ratchet.records.records import (
    Confirmation,
    Direction,
    Outcome,
    Remeasurement,
    StopReason,
    Verdict,
)
from ratchet.report.answer import alarm_remark, experiment_remarks
from ratchet.report.facts import (
    build_facts,
    run_again_commands,
    run_again_preparation,
    run_timeline,
)
from ratchet.report.inputs import Integrity, Recipe
from ratchet.task.task import Seeding


def test_a_confirmed_answer(facts):
    assert facts["answer"]["kind"] == "confirmed"
    assert facts["answer"]["sentence"] == (
        "val_bpb 3.412 → 2.929 (confirmed with 3 fresh seeds each: gain 0.483, 95 % interval "
        "0.462 to 0.504; the task has no unseen data); 5 of 12 experiments kept, of which 3 would "
        "survive a stricter test; expected false keeps 0.4; 27 runs, 1.3 minutes of training; "
        "inputs intact."
    )


REPEATED = "gain 0.483; the task has no unseen data; 3 fresh seeds each, which repeat each other"


@pytest.mark.parametrize(
    ("gain", "low", "high", "kind", "words"),
    [
        (0.004, -0.017, 0.025, "not_confirmed", "the interval includes zero, 3 fresh seeds each"),
        (-0.1, -0.12, -0.08, "worse", "Confirmed to be worse: val_bpb"),
        (0.483, None, None, "no_interval", REPEATED),
        (None, None, None, "confirmation_failed", "confirmation failed: 2 of 3 runs crashed"),
    ],
)
def test_answers_of_a_confirmation(records, gain, low, high, kind, words):
    changed = replace(records.history.confirmation, gain=gain, low=low, high=high)
    changed = replace(changed, detail="" if gain else "2 of 3 runs crashed")
    facts = build_facts(sample.changed(records, confirmation=changed))
    assert facts["answer"]["kind"] == kind and words in facts["answer"]["sentence"]
    assert facts["confirmation"]["gain"] == changed.gain


def audited(records, *values: float, carries_over: bool | None = None):
    """The records with a gain on unseen data, its interval, and whether the gain carries over."""
    found = records.history.confirmation
    runs = {
        name: tuple(replace(run, audit=run.value + 0.05) for run in getattr(found, name))
        for name in ("baseline_runs", "champion_runs")
    }
    gain, low, high = values
    carried = {"carries_over": carries_over, "carry_chance": 0.5 if carries_over else 1e-5}
    audit = {"audit_gain": gain, "audit_low": low, "audit_high": high}
    found = replace(found, **runs, **audit, **(carried if carries_over is not None else {}))
    return sample.changed(records, confirmation=found)


@pytest.mark.parametrize(
    ("values", "carries", "kind", "words"),
    [
        (
            (0.47, 0.45, 0.49), True, "confirmed",
            "val_bpb 3.462 → 2.979 on unseen data (confirmed with 3 fresh seeds each: "
            "gain on unseen data 0.470, 95 % interval 0.450 to 0.490; in the search 0.483, "
            "0.462 to 0.504); 5 of",
        ),
        (
            (0.01, -0.02, 0.04), None, "not_confirmed",
            "Not confirmed: val_bpb 3.462 → 2.979 on unseen data (gain on unseen data 0.010, 95 % "
            "interval −0.020 to 0.040; in the search 0.483, 0.462 to 0.504; the interval includes",
        ),
        (
            (0.05, 0.03, 0.07), False, "not_carried_over",
            "Not confirmed: the gain does not carry over: 0.483 (95 % interval 0.462 to 0.504) in "
            "the search, 0.050 (0.030 to 0.070) on unseen data (gain in val_bpb with 3",
        ),
        ((-0.2, -0.3, -0.1), None, "worse", "Confirmed to be worse: val_bpb 3.462 → 2.979 on"),
    ],
)  # fmt: skip
def test_unseen_data_decide_where_there_are_such(records, values, carries, kind, words):
    facts = build_facts(audited(records, *values, carries_over=carries))
    assert facts["answer"]["kind"] == facts["confirmation"]["standing"] == kind
    assert facts["answer"]["sentence"].startswith(words)
    found = facts["confirmation"]
    assert (found["gain"], found["low"], found["high"]) == values
    assert found["search"]["gain"] == pytest.approx(0.483, abs=1e-3)
    assert found["unseen"]["challenger"]["mean"] == pytest.approx(2.979, abs=1e-3)


def test_the_answer_while_unfinished(records):
    history = records.history
    judged = {"verdicts": history.verdicts[:5], "states": history.states[:5]}
    proposals = history.proposals[:6]
    early = sample.changed(records, confirmation=None, proposals=proposals, **judged)
    facts = build_facts(early)
    assert facts["answer"]["sentence"].startswith("Unfinished after 5 rounds: val_bpb 3.406 → ")
    assert facts["counts"]["judged"] == 5 and facts["counts"]["pending"] == 1
    assert facts["experiments"][5]["verdict"] is None
    start = build_facts(sample.changed(early, verdicts=(), states=(), proposals=()))
    assert "nothing kept so far; no experiment judged" in start["answer"]["sentence"]


def test_the_answer_when_nothing_was_kept(records):
    none = sample.ruled(records, range(1, 13), verdict=Verdict.DISCARD)
    facts = build_facts(sample.changed(none, confirmation=Confirmation(champion=0)))
    assert facts["answer"]["sentence"].startswith(
        "No improvement found: val_bpb stays at 3.406 (sd 0.013 over 3 baseline runs); "
        "0 of 12 experiments kept; 21 runs"
    )
    quiet = build_facts(sample.ruled(records, range(1, 13), delta=-0.001))
    assert quiet["strict"]["survive"] == 0
    assert "kept, of which none would survive a stricter test" in quiet["answer"]["sentence"]


def test_where_nobody_could_be_asked_the_first_line_says_so(records):
    detail = "the agent x cannot be asked; its tool said: “no”"
    stopped = Proposals(1, stop=StopReason.AGENT_UNUSABLE, detail=detail)
    none = {"verdicts": (), "states": (), "confirmation": None}
    answer = build_facts(sample.changed(records, proposals=(stopped,), **none))["answer"]
    assert answer["headline"] == "Nothing was tried: the agent could not be asked"
    assert "its tool said: “no”" in answer["rest"]


@pytest.mark.parametrize("reason", list(StopReason))
def test_stopped_early(records, reason):
    facts = build_facts(sample.in_round(records, 12, rulings=(), stop=reason, detail="at 2.93"))
    assert facts["stop"]["reason"] == reason.value and facts["stop"]["round"] == 12
    assert f"; stopped early because {facts['stop']['text']}." in facts["answer"]["sentence"]
    assert facts["rounds"] == 11


def test_the_mode_and_its_promise_are_stated(records, facts):
    def verdict(shown):
        return next(entry["text"] for entry in shown["method"] if entry["term"] == "Verdict")

    assert (
        facts["answer"]["standard"]
        == "Mode gain: a keep needs an expected gain and P(better) of 60.0 %"
    )
    assert "levels that sum to" not in verdict(facts)
    judge = {"mode": "guaranteed", "keep_probability": 0.8, "false_keep_bound": 0.05}
    spent = sample.in_round(records, 12, error_spent=0.0123)
    facts = build_facts(sample.changed(spent, judge=judge))
    assert facts["judge"]["error_spent"] == 0.0123
    assert facts["answer"]["standard"] == (
        "Mode guaranteed: a keep needs an expected gain and P(better) of 80.0 % and a test; "
        "at most 0.05 false keeps are to be expected, 0.012 spent"
    )
    assert "levels that sum to 0.05 over the session" in verdict(facts)


@pytest.mark.parametrize(
    ("line", "memory", "excess", "words"),
    [
        (0.001, 0.1, 0.0, "a line of code cost 0.00100, and twice the memory cost 0.06931. What"),
        (0.001, 0.0, 0.1, "twice the memory was free; above the ceiling it cost 0.06931 more. W"),
        (0.0, 0.0, 0.0, "a line of code was free, and twice the memory was free. What"),
        (None, None, None, "the price alone decided, the verdict says so first. What"),
    ],
)
def test_prices_are_stated(records, line, memory, excess, words):
    prices = {"line_price": line, "memory_price": memory, "excess_price": excess}
    judge = {**records.judge, **prices}
    method = build_facts(sample.changed(records, judge=judge))["method"]
    assert words in next(entry["text"] for entry in method if entry["term"] == "Price")


def test_an_entry_of_the_method_is_one_paragraph_whatever_names_it(records):
    odd = build_facts(replace(records, metric="x\n\n## Hidden\nnothing"))
    terms = [entry["term"] for entry in build_facts(records)["method"]]
    assert [entry["term"] for entry in odd["method"]] == terms and "Hidden" not in terms
    assert all("\n" not in entry["text"] and entry["text"] for entry in odd["method"])


def test_without_any_baseline_value_nothing_becomes_zero(records):
    broken = tuple(
        replace(r, value=None, outcome=Outcome.CRASH, memory_mb=None)
        for r in records.history.baseline.runs
    )
    baseline = replace(records.history.baseline, runs=broken)
    nothing = {"proposals": (), "verdicts": (), "states": (), "confirmation": None, "runs": {}}
    facts = build_facts(sample.changed(records, baseline=baseline, **nothing))
    assert facts["answer"]["kind"] == "no_baseline"
    assert facts["baseline"] | {"runs": 0} == facts["baseline"] | {
        "mean": None, "sd": None, "n": 0, "failed": 3, "values": [], "runs": 0,
    }  # fmt: skip
    assert facts["noise"]["sd"] is None
    assert facts["totals"]["train_seconds"] is None and facts["totals"]["runs"] == 3


def test_crashes_and_missing_measurements_stay_none(records, facts):
    crashed = facts["experiments"][3]
    assert crashed["status"] == "crash" and crashed["outcome"] == "crash"
    for name in ("mean", "delta", "delta_sd", "gain", "confidence", "memory_mb", "seconds"):
        assert crashed[name] is None
    assert "ValueError" in crashed["log_tail"]
    classes = [(c["outcome"], len(c["experiments"])) for c in facts["crashes"]]
    assert classes == [("crash", 1), ("timeout", 1)]
    odd = build_facts(sample.ruled(records, [1], mean=float("nan"), gain=float("inf")))
    assert odd["experiments"][0]["mean"] is None and odd["experiments"][0]["gain"] is None


def test_a_retest_has_its_runs_and_a_run_used_twice_counts_once(records, facts):
    retested = facts["experiments"][5]
    assert retested["n"] == 3 and len({r["key"] for r in retested["runs"]}) == 3
    assert retested["seconds"] == pytest.approx(sum(r["train_seconds"] for r in retested["runs"]))
    both = replace(records.history.confirmation, baseline_runs=records.history.baseline.runs)
    assert build_facts(sample.changed(records, confirmation=both))["totals"]["runs"] == 24


def test_higher_may_be_better():
    facts = build_facts(sample.session(direction=Direction.MAXIMIZE))
    assert facts["metric"]["better"] == "higher" and facts["answer"]["kind"] == "confirmed"
    assert facts["confirmation"]["gain"] > 0
    kept = [e for e in facts["experiments"] if e["status"] == "keep"]
    assert all(e["gain"] > 0 for e in kept) and kept[0]["delta"] > 0


def test_facts_are_plain_json_and_reproducible(facts):
    packed = json.dumps(facts, sort_keys=True, allow_nan=False)
    assert json.loads(packed) == facts
    assert packed == json.dumps(build_facts(sample.session()), sort_keys=True)


def test_long_texts_are_cut_and_say_so(records):
    key = records.history.verdicts[0].rulings[0].runs[0].key
    long = sample.proposed(records, [1], diff="+ line\n" * 100_000)
    logs = {**records.logs, key: "x" * 1_000_000 + "\nlast line"}
    first = build_facts(sample.changed(long, logs=logs))["experiments"][0]
    assert len(first["log_tail"].encode()) <= LOG_LIMIT + 80
    assert first["log_tail"].endswith("last line") and "1,000,010 characters" in first["log_tail"]
    assert len(first["diff"].encode()) <= DIFF_LIMIT + 80
    assert first["diff"].endswith("[cut: only the beginning of 700,000 characters is shown]")


def test_prices_memory_and_second_tries_are_told(records):
    changed = sample.ruled(
        records, [6], price=0.02, near_miss=True,
        pareto="DOMINATED", pareto_low=0.2, pareto_high=0.4,
    )  # fmt: skip
    facts = build_facts(sample.proposed(changed, [7], retry_of=6))
    missed, second, other = (facts["experiments"][i] for i in (5, 6, 7))
    assert (missed["near_miss"], missed["retried_as"], missed["retry_of"]) == (True, 7, None)
    assert (second["near_miss"], second["retried_as"], second["retry_of"]) == (False, None, 6)
    assert experiment_remarks(missed, 3) == [
        "Near miss: probably better, but another candidate of its round was kept; tried again as "
        "experiment 7.",
        "For a keep it had to be better by more than 0.0200.",
        "DOMINATED in metric and memory: with a probability of 0.20 to 0.40 nothing kept before "
        "is better without needing more memory.",
    ]
    again = "The edit of experiment 6, tried again: on another incumbent."
    assert experiment_remarks(second, 3) == [again]
    assert experiment_remarks(other, 3) == []
    saved = {**other, "price": -0.004}
    assert experiment_remarks(saved, 3) == ["It was allowed to cost up to 0.0040."]


def test_checks_of_the_incumbent_and_their_runs(records, facts):
    run = records.history.baseline.runs[0]
    alarm = Remeasurement(1, replace(run, key="3" * 64), expected=3.0, sd=0.1, z=4.06, alarm=True)
    crash = replace(run, key="f" * 64, value=None, outcome=Outcome.CRASH)
    changed = sample.in_round(records, 3, remeasured=alarm)
    changed = sample.in_round(changed, 5, remeasured=replace(alarm, run=crash, z=None, alarm=False))
    more = build_facts(sample.in_round(changed, 1, incumbent_runs=(replace(run, key="e" * 64),)))
    checks = more["remeasurements"]
    assert [(c["round"], c["alarm"], c["z"]) for c in checks] == [(3, True, 4.06), (5, False, None)]
    assert checks[1]["value"] is None
    assert more["totals"]["phases"]["incumbent"] == 3
    assert more["totals"]["runs"] == facts["totals"]["runs"] + 3
    assert alarm_remark(checks[0], 2).startswith(
        "The incumbent moved: before round 3, experiment 1 was expected at 3.00 ± 0.10 and measured"
    )


def test_gpu_sessions_count_gpu_hours(records):
    busy = {"metrics": {"training_seconds": 360.0}, "telemetry": {"utilisation": {"mean": 93.0}}}
    runs = {key: replace(record, **busy) for key, record in records.runs.items()}
    facts = build_facts(sample.changed(records, device="gpu", runs=runs))
    assert "27 runs, 2.7 GPU-hours; inputs intact." in facts["answer"]["sentence"]
    assert facts["timeline"]["gpu_utilisation"] == 93.0


def test_intact_and_silent(records, facts):
    sound = facts["soundness"]
    assert sound["intact"] is True and sound["flags"] == []
    assert sound["checked"] == ["every input", "every run"]
    unknown = build_facts(sample.changed(records, integrity=None))
    assert unknown["soundness"]["intact"] is None
    assert "intact" not in unknown["answer"]["sentence"].lower()


def test_deviations_are_in_the_answer(records):
    broken = Integrity(("every input",), tuple(f"file {i}\x1b[0m: changed" for i in range(60)))
    facts = build_facts(sample.changed(records, integrity=broken))
    assert facts["answer"]["sentence"].endswith("; NOT INTACT: 60 deviations.")
    assert facts["soundness"]["deviations"][0] == "file 0: changed"
    assert len(facts["soundness"]["deviations"]) == 50


def test_flags_of_edits_and_runs(records):
    changed = sample.ruled(records, [1], quarantined=True, notes=("draws a seed",))
    changed = sample.ruled(changed, [2], verdict=Verdict.TAMPERED, reason="printed it")
    key = records.history.baseline.runs[0].key
    loose = replace(records.runs[key], isolation="none", unenforced=("memory limit",))
    changed = sample.changed(changed, runs={**records.runs, key: loose})
    flags = [(f["number"], f["text"]) for f in build_facts(changed)["soundness"]["flags"]]
    assert flags == [
        (None, "not enforced on this machine: memory limit"),
        (None, "runs were ordinary processes, not isolated"),
        (1, "quarantined: larger than everything seen before"),
        (1, "draws a seed"),
        (2, "TAMPERED: printed it"),
    ]


def test_what_an_isolation_held_is_said_once(records):
    keys = list(records.runs)
    runs = {k: replace(r, isolation="landlock", holds="closed: a") for k, r in records.runs.items()}
    runs[keys[0]] = replace(runs[keys[0]], isolation="bubblewrap", holds="closed: b")
    found = build_facts(sample.changed(records, runs=runs))["provenance"]
    assert found["isolation"] == ["bubblewrap", "landlock"]
    assert found["held"] == ["bubblewrap: closed: b", "landlock: closed: a"]


ODD = Recipe(
    folder="results/it's mine",
    command=("python", "train me.py", "$(touch owned)"),
    data={"train.bin": "store/a b", "deep/val.bin": "store/c"},
    variables={"RATCHET_BUDGET_STEPS": "7", "NOTE": "two words; touch owned"},
)
EXPERIMENT = {"number": 3, "commit": "c" * 40, "runs": [{"seed": 5}, {"seed": 6}]}


def test_commands_quote_what_is_odd():
    show, run = run_again_commands(ODD, EXPERIMENT)
    words = ["git", "-C", "results/it's mine", "show", "refs/ratchet/experiments/0003"]
    assert shlex.split(show) == words and run == "again 0003 5"
    assert run_again_commands(ODD, {**EXPERIMENT, "commit": None}) == []
    assert len(run_again_commands(ODD, {**EXPERIMENT, "runs": []})) == 1


def test_they_work_in_a_shell(tmp_path):
    """With a repository, data and a command that says what it was given."""
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "a b").write_text("train")
    (tmp_path / "store" / "c").write_text("val")
    code = (
        "import os, sys; e = os.environ; print(e['RATCHET_SEED'], e['NOTE'], sys.argv[1:], "
        "open(e['RATCHET_DATA'] + '/deep/val.bin').read(), e['RATCHET_BUDGET_STEPS'])"
    )
    clone = Clone(tmp_path / ODD.folder)
    clone.git("update-ref", "refs/ratchet/experiments/0003", clone.commit({"train me.py": code}))
    lines = [*run_again_preparation(ODD), *run_again_commands(ODD, EXPERIMENT)[1:], "echo done"]
    script = "\n".join(["set -e", f'python() {{ {shlex.quote(sys.executable)} "$@"; }}', *lines])
    done = subprocess.run(
        ["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "5 two words; touch owned ['$(touch owned)'] val 7\ndone\n"
    assert (tmp_path / "again/data/train.bin").read_text() == "train"
    assert not list(tmp_path.rglob("owned"))


def test_the_seed_reaches_the_code_as_the_task_says():
    def line(seeding):
        return "\n".join(run_again_preparation(replace(ODD, seeding=seeding))[-2:])

    assert line(Seeding(argument="--seed={seed}")).endswith(' --seed="$2"); }')
    assert line(Seeding(argument="my seed={seed}!")).endswith(" 'my seed='\"$2\"'!'); }")
    assert '  export MY_SEED="$2"' in line(Seeding(variable="MY_SEED"))
    assert "sets SEED to the seed" in line(Seeding(constant="SEED"))
    hooked = run_again_preparation(Recipe("results/x", ("python",), hook=True))
    assert hooked[0] == "mkdir -p again/data" and "ratchet.runs.seed_hook" in hooked[-2]


START = datetime.datetime(2026, 1, 1, 23, 59, 50, tzinfo=datetime.UTC)


def event(kind, seconds, number=1, seed=1, role="search", **more):
    time = (START + datetime.timedelta(seconds=seconds)).isoformat()
    return {"time": time, "event": kind, "number": number, "role": role, "seed": seed, **more}


def done(seconds, **about):
    return event("run_finished", seconds, outcome="ok", key="k", **about)


EVENTS = [
    event("session_started", 0),
    *(event("run_started", 10, number=0), done(20, number=0)),
    *(event("run_started", 30), done(40)),
    *(event("run_started", 35, seed=2), done(60, seed=2)),
    *(event("run_started", 60, role="confirm"), done(80, role="confirm")),
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
    assert found["busy_share"] == 0.75
    assert found["interrupted"] == found["misplaced"] == 0
    assert found["longest_gap"] == {"from": 0.0, "seconds": 10}
    later = [event("reported", 9_000), event("verdict", 9_100), event("session_started", 9_200)]
    assert run_timeline([*EVENTS, *later], None) == found, "what is noted later changes nothing"
    assert run_timeline([EVENTS[0]], None) is None and run_timeline([], None) is None


def test_calls_of_an_agent_and_the_share_of_the_search() -> None:
    def call(kind, seconds, **about):
        return event(kind, seconds, round=1, slot=0, attempt=1, **about)

    asked = [call("agent_asked", 22), call("agent_answered", 33, timed_out=False)]
    found = run_timeline([*EVENTS[:3], *asked, *EVENTS[3:], call("agent_asked", 81)], None)
    assert found["calls"] == [
        {"number": 0, "lane": "agent", "start": 22, "end": 33, "outcome": "answered"}
    ]
    assert found["search_share"] == 1.0, "from 30 to 60 seconds some run was always at work"
    assert found["interrupted"] == 0, "an unanswered call is no run"
    late = [call("agent_asked", 22), call("agent_answered", 33), event("run_started", 65), done(70)]
    assert run_timeline([*EVENTS, *late], None)["search_share"] == 35 / 40
    assert run_timeline(EVENTS, None)["search_share"] is None, "nobody was waited for"


def test_runs_that_were_cut_short_or_landed_elsewhere_are_counted():
    stopped = [event("run_started", 81), event("run_started", 90), done(95)]
    found = run_timeline([*EVENTS, *stopped, event("run_started", 96, seed=9)], 87.5)
    assert found["interrupted"] == 2 and found["gpu_utilisation"] == 87.5
    assert found["runs"][-1]["start"] == 90
    landed = event("failed", 25, step="experiment", error="OtherHardwareError", message="Large 2")
    other = event("failed", 26, step="experiment", error="StoreError", message="disk")
    assert run_timeline([*EVENTS, landed, other], None)["misplaced"] == 1


def test_odd_journals_do_no_harm():
    odd = [{"event": "run_started"}, {"event": "run_finished", "time": "yesterday"}, {}]
    naive = {**EVENTS[1], "time": "2026-01-02T00:00:00"}
    hostile = {**done(20, number="<b>"), "outcome": "\x1b[31m</script>"}
    assert run_timeline([*odd, *EVENTS, naive], None)["seconds"] == 80
    started = event("run_started", 12, number="<b>")
    (run,) = run_timeline([started, hostile], None)["runs"]
    assert run["number"] == 0 and "\x1b" not in run["outcome"]
