"""What was measured against budget and print, without any process."""

from __future__ import annotations

import json

import pytest

from ratchet.base.structs import replace, to_json_values
from ratchet.records.records import Evaluation
from ratchet.runs.outcome import implausible_times, verify_evaluation
from ratchet.runs.spec import RunSpec
from ratchet.task.task import Plausible

FOUND = Evaluation(2.9, 32768, 40, 0.2, 0.004, 3.1, 3.5, 0.2)
LIMITS = Plausible(0.5, 1.25, 1.0, 0.5)
SPEC = RunSpec((), {}, {}, {}, 1, 3.0, None, 20.0, 1, "val", plausible=LIMITS)
BOUND = replace(SPEC, plausible=replace(LIMITS, evaluation_fraction=0.25))
STEPS = replace(SPEC, budget_seconds=None, budget_steps=9)
ANY = replace(SPEC, plausible=None)
ON_GPU = replace(SPEC, device="gpu")


@pytest.mark.parametrize(
    ("changes", "spec", "words"),
    [
        ({}, SPEC, None),
        ({"trained_cpu_seconds": 1.5}, SPEC, None),
        ({"trained_cpu_seconds": 1.4}, SPEC, "trained 1.4 of 3 CPU seconds"),
        ({"trained_cpu_seconds": 4.75}, SPEC, None),
        ({"trained_cpu_seconds": 9.0}, SPEC, "trained 9 CPU seconds, the budget is 3"),
        ({"evaluating_cpu_seconds": 0.98}, SPEC, None),
        ({"evaluating_cpu_seconds": 1.2}, SPEC, "used 1.2 CPU seconds for an evaluation"),
        ({"trained_cpu_seconds": 90.0}, STEPS, None),
        ({"trained_cpu_seconds": 90.0}, ANY, None),
        ({"trained_cpu_seconds": 90.0}, ON_GPU, None),
        ({"trained_wall_seconds": 9.0}, ON_GPU, "trained 9 seconds"),
        # Replies that sleep: 0.16 s by their own times, 0.04 s by what they use.
        ({"usual_cpu_seconds": 0.04, "evaluating_cpu_seconds": 0.62}, SPEC, None),
        ({"usual_cpu_seconds": 0.04, "evaluating_cpu_seconds": 0.63}, SPEC, "used 0.63 CPU"),
        # Evenly slow replies explain no more than their part of the budget.
        ({"usual_cpu_seconds": 2.0, "evaluating_cpu_seconds": 2.0}, SPEC, None),
        ({"usual_cpu_seconds": 2.0, "evaluating_cpu_seconds": 1.25}, BOUND, None),
        ({"usual_cpu_seconds": 2.0, "evaluating_cpu_seconds": 1.3}, BOUND, "used 1.3 CPU seconds"),
    ],
)
def test_times_against_the_budget(
    changes: dict[str, float], spec: RunSpec, words: str | None
) -> None:
    said = implausible_times(spec, replace(FOUND, **changes))
    assert said is None if words is None else said is not None and said.startswith(words)


ANSWER = {
    "ready": True,
    "asked": {"cpu_seconds": 3.1, "wall_seconds": 3.3},
    "answered": {"cpu_seconds": 3.2, "wall_seconds": 3.5},
    "result": {"value": 2.5, "tokens": 9, "batches": 40, "seconds": 0.2, "reply_seconds": 0.004},
    "failed": None,
    "exit_code": 0,
}


@pytest.mark.parametrize(
    ("printed", "value", "agree"),
    [
        (2.5, 2.5, True),
        (2.50024, 2.5, True),
        (2.5003, 2.5, False),
        (float("nan"), None, True),
        (2.5, None, False),
        (float("nan"), 2.5, False),
        (float("inf"), 2.5, False),
    ],
)
def test_printed_against_measured(printed: float, value: float | None, agree: bool) -> None:
    answer = {**ANSWER, "result": {**ANSWER["result"], "value": value}}  # type: ignore[dict-item]
    evaluation, tampered = verify_evaluation(SPEC, answer, {"val": printed})
    assert (tampered is None) == agree
    assert evaluation is not None
    assert evaluation.value == value


@pytest.mark.parametrize(
    ("progress", "usual"),
    [
        ([], None),
        ([3.11, 3.12], None),
        ([3.12, 3.14, 3.16], 0.08),
        # One part of eight, then half of them, were used for something else.
        ([5.1, 5.11, 5.12, 5.13, 5.14, 5.15, 5.16], 0.08),
        ([3.6, 4.1, 4.6, 5.1, 5.11, 5.12, 5.13], 0.08),
    ],
)
def test_the_usual_part_of_an_evaluation(progress: list[float], usual: float | None) -> None:
    last = round((progress or [3.1])[-1] + 0.01, 3) if len(progress) != 3 else 3.2
    answered = {"cpu_seconds": last, "wall_seconds": 3.5}
    answer = {**ANSWER, "answered": answered, "progress": progress}
    evaluation, _ = verify_evaluation(SPEC, answer, {"val": 2.5})
    assert evaluation is not None
    assert evaluation.usual_cpu_seconds == usual


def test_a_run_that_prints_nothing_is_not_judged() -> None:
    assert verify_evaluation(SPEC, {"asked": None}, {}) == (None, None)
    assert verify_evaluation(SPEC, None, {}) == (None, None)
    assert json.loads(json.dumps(to_json_values(FOUND))) == to_json_values(FOUND)
