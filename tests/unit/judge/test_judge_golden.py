"""Call-by-call values: a sequence of our own and the dense reference's."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest

from helpers import SHARED
from ratchet.judge.judge import Assessment, Judge
from ratchet.judge.settings import Settings
from ratchet.records.records import Verdict

GOLDEN = SHARED / "judge" / "golden.json"


class Step(NamedTuple):
    """One candidate and what the judge said of it when the values were pinned."""

    ys: tuple[float, ...]
    threshold: float
    keep: bool
    verdict: Verdict
    confidence: float
    confidence_at_threshold: float
    gain: float
    delta: float
    delta_sd: float
    retest_value: float
    fresh_value: float
    noise_sd_after: float


# fmt: off
PINNED: list[Step | str | float] = [
    2.013, 1.998, 2.004,
    Step((1.752,), 0.0, True, Verdict.STRONG_KEEP, 0.997394141, 0.997394141, 0.250057917, -0.253,
         0.0150068978, 3.94428934e-12, 0.00749668451, 0.00961102878),
    Step((1.749,), 0.0, False, Verdict.DISCARD, 0.303538439, 0.303538439, -0.000300269383,
         -0.00519831837, 0.0207039016, 2.8555985e-06, 0.0249757325, 0.00811495035),
    "crash",
    Step((1.731, 1.744), 0.0, False, Verdict.MARGINAL, 0.519832823, 0.519832823, 0.00374574214,
         -0.0133012323, 0.0111594143, 0.0026376635, 0.022767606, 0.00911613923),
    Step((1.69, 1.702, 1.697), 0.02, True, Verdict.STRONG_KEEP, 0.996754619, 0.989292262,
         0.0473716499, -0.0490904494, 0.0092793275, 1.45331411e-09, 0.0228376179, 0.00832312924),
    Step((2.9,), 0.0, False, Verdict.DISCARD, 6.59191806e-25, 6.59191806e-25, -1.2024876,
         1.20286092, 0.0108351331, 0, 0, 0.00833390866),
    Step((1.701,), -0.004, True, Verdict.KEEP, 0.240525504, 0.786744478, -0.00157860012,
         0.00375799308, 0.0108825464, 0.000142514044, 0.0239817714, 0.00791805061),
    1.695,
    Step((1.693, 1.671), 0.0, True, Verdict.KEEP, 0.701107797, 0.701107797, 0.00786577577,
         -0.0157664324, 0.00735487218, 0, 0.0220549126, 0.0092875611),
]
# fmt: on


def check(found: Assessment, step: Step) -> None:
    assert found.verdict is step.verdict
    for name in step._fields[4:-1]:
        assert getattr(found, name) == pytest.approx(getattr(step, name), rel=1e-6, abs=1e-9), name


def test_pinned_sequence() -> None:
    judge = Judge(Settings.for_session("balanced", 60, 0.01))
    for step in PINNED:
        if isinstance(step, float):
            judge.incumbent(step)
        elif isinstance(step, str):
            judge.crash()
        else:
            check(judge.assess(step.ys, step.threshold), step)
            judge.commit(step.keep)
            assert judge.noise_sd == pytest.approx(step.noise_sd_after, rel=1e-6)
    assert judge.noise_interval() == pytest.approx((0.00512062263, 0.0158437886), rel=1e-6)
    assert judge.incumbent_mean == pytest.approx(1.68691199, rel=1e-7)
    assert judge.incumbent_sd == pytest.approx(0.00699876367, rel=1e-6)
    assert judge.expected_false_keeps == pytest.approx(0.517998964, rel=1e-6)


@pytest.mark.skipif(not GOLDEN.exists(), reason="the reference's values are not here")
def test_values_of_the_dense_reference() -> None:
    judge = Judge(Settings())
    for entry in json.loads(GOLDEN.read_text(encoding="utf-8")):
        if entry["op"] == "incumbent":
            judge.incumbent(entry["y"])
            assert judge.noise_sd == pytest.approx(entry["s_hat"], abs=1e-9)
        else:
            check_reference(judge, entry)


def check_reference(judge: Judge, entry: dict[str, Any]) -> None:
    ys = entry["ys"]
    found = [judge.assess(ys[:count]) for count in range(1, len(ys) + 1)][-1]
    assert found.verdict.value == entry["verdict"]
    assert found.confidence == pytest.approx(entry["confidence"], abs=1e-6)
    names = {"gain": "gain", "delta": "delta", "delta_sd": "noise_delta"}
    names |= {"retest_value": "evi", "fresh_value": "v_fresh"}
    for ours, theirs in names.items():
        assert getattr(found, ours) == pytest.approx(entry[theirs], abs=1e-9), ours
    judge.commit(entry["keep"])
    assert judge.noise_sd == pytest.approx(entry["s_hat_after"], abs=1e-9)
